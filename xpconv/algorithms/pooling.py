"""Pooling on one tile: running maxima and sums axis by axis, and which tap is the maximum.

A maximum or a sum over a window is separable, so a window of kh x kw taps costs kh + kw operations for a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from xpconv._backend import arange, constant, host_array
from xpconv._geometry import Geometry, Ints, Region
from xpconv._workspace import Workspace

Array = Any


def window_reduce(
    operation: Callable[[str, Array, Array], Array], slab: Array, geometry: Geometry, output: Ints
) -> Array:
    """(n, *slab, C) -> (n, *output, C): combine the taps of each window with an associative operation."""
    for axis in reversed(range(geometry.rank)):
        lead = (slice(None),) * (axis + 1)
        tail = (slice(None),) * (slab.ndim - axis - 2)
        step, spread, count = geometry.stride[axis], geometry.dilation[axis], output[axis]
        total = None
        for start in range(0, spread * geometry.kernel[axis], spread):
            tap = slab[(*lead, slice(start, start + (count - 1) * step + 1, step), *tail)]
            total = tap if total is None else operation(f"reduced {axis}", total, tap)
        slab = total
    return slab


def inside_taps(
    work: Workspace, geometry: Geometry, region: Region, padded: bool, like: Array
) -> list[tuple[Array, Array]]:
    """Give for each axis the first and the last tap of each window that lie inside the input, shaped to broadcast.

    With `padded` the leading and trailing padding count as inside.
    """
    bounds = []
    for axis, (start, stop) in enumerate(region[1:]):
        (before, after), size = geometry.padding[axis], geometry.input[axis]
        low, high = (-before, size + after) if padded else (0, size)
        windows = arange(work.xp, stop - start, work.xp.int32, like) + start
        position = windows * geometry.stride[axis] - before  # of the first tap
        spread, last_tap = geometry.dilation[axis], geometry.kernel[axis] - 1
        first = work.xp.clip((low - position + spread - 1) // spread, 0, None)
        last = work.xp.clip((high - 1 - position) // spread, None, last_tap)
        shape = (1,) * (axis + 1) + (stop - start,) + (1,) * (geometry.rank - axis)
        bounds.append((work.xp.reshape(first, shape), work.xp.reshape(last, shape)))
    return bounds


def is_interior(geometry: Geometry, region: Region) -> bool:
    """Say whether every tap of every window of a region lies inside the input."""
    reaches = [geometry.reach(axis, *interval) for axis, interval in enumerate(region[1:])]
    return all(low >= 0 and high <= size for (low, high), size in zip(reaches, geometry.input, strict=True))


def count_taps(work: Workspace, geometry: Geometry, region: Region, padded: bool, like: Array) -> Array:
    """Count each window's taps inside, at least 1, in the workspace's dtype: what an average divides by."""
    total = None
    for first, last in inside_taps(work, geometry, region, padded, like):
        count = work.xp.clip(last - first + 1, 0, None)
        total = count if total is None else total * count
    return work.xp.astype(work.xp.clip(total, 1, None), work.dtype)


def tap_values(slab: Array, geometry: Geometry, output: Ints) -> Iterator[tuple[Ints, Array]]:
    """Give each tap with its pixels (n, *output, C), views of the slab."""
    for tap, offset in geometry.offsets():
        yield tap, slab[(slice(None), *geometry.tap_slices(offset, output), slice(None))]


def first_maximum(
    work: Workspace, slab: Array, geometry: Geometry, region: Region, real: bool
) -> tuple[Array, Array, Callable[[Ints], Array | None]]:
    """Give each window's maximum, the number of its first tap that holds it, and which taps are inside.

    The first NaN of a window is its maximum. A window without a tap inside has the fill and the number -1. The third
    result maps a tap to a mask that broadcasts, or None where all windows have that tap inside.
    """
    xp = work.xp
    output = tuple(stop - start for start, stop in region[1:])
    number_dtype = xp.int8 if geometry.taps < 128 else xp.int32
    bounds = [] if is_interior(geometry, region) else inside_taps(work, geometry, region, False, slab)

    def inside(tap: Ints) -> Array | None:
        mask = None
        for k, (first, last) in zip(tap, bounds, strict=False):
            axis_mask = (first <= k) & (last >= k)
            mask = axis_mask if mask is None else mask & axis_mask
        return mask

    best, number = None, None
    for index, (tap, value) in enumerate(tap_values(slab, geometry, output)):
        here = inside(tap)
        if best is None or number is None:
            best = value
            number = xp.zeros_like(value, dtype=number_dtype)
            if here is not None:
                number = xp.where(here, number, number - 1)
            continue
        # a NaN is not below anything, and nothing after it is larger
        larger = ~(value <= best) & (best == best) if real else value > best
        if here is not None:
            larger = here & (larger | (number < 0))
        number = xp.where(larger, constant(xp, (), index, number), number)
        best = xp.maximum(best, value)
    return best, number, inside


def plane_index(work: Workspace, number: Array, geometry: Geometry, region: Region, dtype: Any) -> Array:
    """Turn numbers of taps into flat indices of the unpadded plane; -1 stays."""
    xp = work.xp
    steps = [math.prod(geometry.input[axis + 1 :]) for axis in range(geometry.rank)]
    offsets = [sum(o * s for o, s in zip(offset, steps, strict=True)) for _, offset in geometry.offsets()]
    table = host_array(xp, offsets, dtype, number)
    taken = xp.reshape(xp.astype(xp.clip(number, 0, None), dtype), (-1,))
    flat = xp.reshape(xp.take(table, taken, axis=0), number.shape)
    for axis, (start, stop) in enumerate(region[1:]):
        first = (arange(xp, stop - start, dtype, number) + start) * geometry.stride[axis] - geometry.padding[axis][0]
        shape = (1,) * (axis + 1) + (stop - start,) + (1,) * (geometry.rank - axis)
        flat = flat + xp.reshape(first * steps[axis], shape)
    if is_interior(geometry, region):
        return flat
    return xp.where(number < 0, xp.full_like(flat, -1), flat)
