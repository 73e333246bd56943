"""A block of a convolution of larger images, with the bits that it has in the whole.

A sum's last bits depend on where in a matrix its pixel lies, and on the shape of the matrix: libraries sum the products
of rows at the end of a matrix, and some of every other few rows, in another order. So a block makes the very calls that
the whole makes: all tiles of the whole that it meets, each in full. A pixel of a tile that the block has no need of is
computed from zeros where its own pixels are not there, which changes no other pixel; with an algorithm that mixes the
pixels of small tiles of its own (`Plan.step`) it takes those whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from xpconv._arrays.call import Call
from xpconv._arrays.types import Array
from xpconv._convolution.correlate import perform_part
from xpconv._convolution.tile import Task
from xpconv._engine.results import Result
from xpconv._plan.record import Plan
from xpconv._shapes.cuts import filter_blocks
from xpconv._shapes.geometry import Interval


class Spot(NamedTuple):
    """Where a block lies in the tiles that it meets, along the batch or a spatial axis."""

    before: int  # pixels of padding before those that there are; along the batch, images that are not there
    extent: int  # of the tiles, in outputs
    kept: Interval  # of these, what the block is


Spots = tuple[tuple[Spot, ...], ...]  # of each part of a plan, of the batch and each spatial axis


def needed(plan: Plan, axis: int, own: Interval) -> Interval:
    """Give the outputs of a spatial axis whose pixels a range of them depends on."""
    start, stop = own
    for part in plan.whole:
        if part.step:
            step = part.step[axis]
            start, stop = min(start, own[0] // step * step), max(stop, -(-own[1] // step) * step)
    return start, min(stop, plan.geometry.output[axis])


def spots(plan: Plan, axis: int, own: Interval, first: int) -> tuple[Spot, ...]:
    """Place a range of a spatial axis's outputs, for each part of a plan; `first`: the first padded pixel there is."""
    geometry, found = plan.geometry, []
    for part in plan.whole:
        start, extent = _tiles(part.tile[axis + 1], geometry.output[axis], own)
        before = geometry.padding[axis][0] + first - start * geometry.stride[axis]
        found.append(Spot(before, extent, (own[0] - start, own[1] - start)))
    return tuple(found)


def image_spots(plan: Plan, own: Interval) -> tuple[Spot, ...]:
    """Place a range of images, for each part of a plan."""
    found = []
    for part in plan.whole:
        start, extent = _tiles(part.tile[0], plan.geometry.batch, own)
        found.append(Spot(own[0] - start, extent, (own[0] - start, own[1] - start)))
    return tuple(found)


def _tiles(tile: int, count: int, own: Interval) -> Interval:
    start = own[0] // tile * tile
    return start, min(-(-own[1] // tile) * tile, count) - start


def correlate_inside(call: Call, plan: Plan, x: Array, w: Array, b: Array | None, places: Spots) -> Array:
    """(n, *pixels, C), (*K, C/G, F), (F,) -> (n, *block, F): a block of what `plan` computes, from the pixels it needs.

    The pixels are those of the image; in a padding mode with pixels of the image, those of the padded image.
    """
    cuts = filter_blocks(plan.geometry, len(plan.whole)) if plan.parts else [None]
    found = []
    for part, cut, spots in zip(plan.whole, cuts, places, strict=True):
        pixels, weight, bias = x, w, b
        if cut is not None:
            pixels, weight, bias = x[..., cut.inputs], w[cut.weights], None if b is None else b[cut.filters]
        found.append(_of_part(call, part, pixels, weight, bias, spots))
    return found[0] if len(found) == 1 else call.xp.concat(found, axis=-1)


def _of_part(call: Call, part: Plan, x: Array, w: Array, b: Array | None, spots: Sequence[Spot]) -> Array:
    images, *spatial = spots
    x = _among(call, x, images)
    geometry = replace(
        part.geometry,
        input=tuple(x.shape[1:-1]),
        padding=tuple((spot.before, 0) for spot in spatial),
        mode="zeros",
        whole=part.geometry,
    )
    extent = tuple(spot.extent for spot in spots)
    result = Result.of(call, (*extent, geometry.filters))
    own = replace(part, geometry=geometry, workers=min(part.workers, call.options.threads))
    perform_part(Task(call, own, x, w, b, extent=extent), result)
    return result.array()[(*(slice(*spot.kept) for spot in spots), slice(None))]


def _among(call: Call, x: Array, images: Spot) -> Array:
    """Put images of zeros around those that there are, where a tile holds more."""
    if images.extent == x.shape[0]:
        return x
    ends = images.before, images.extent - images.before - x.shape[0]
    blank = [call.space.zeros((n, *x.shape[1:]), x.dtype) for n in ends]
    return call.xp.concat([blank[0], x, blank[1]], axis=0)
