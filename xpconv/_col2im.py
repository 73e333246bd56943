"""Gradients of images by col2im: each window's share of all its pixels in one product, added up where windows overlap.

    shares (n·O, K·C) = dz (n·O, F) @ weight (F, K·C)

The correlation that gives a stride phase's gradient reads the gradient of each window several times, and the zeros
around it as well; here each window is multiplied once. That pays where there are fewer channels than filters, where
images are hardly larger than windows, and where windows hardly overlap: one product takes the place of one for each
phase.

Source: T. Chen et al., "Caffe: convolutional architecture for fast feature embedding" (Y. Jia et al., ACM MM 2014), for
the name; V. Dumoulin, F. Visin, arXiv 1603.07285, for the arithmetic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv import _options
from xpconv._backend import Namespace, Traits
from xpconv._buffers import Held
from xpconv._channels import intervals
from xpconv._cost import RATES, THIN
from xpconv._geometry import Geometry, Interval
from xpconv._plan import ALONE, PARTS, UFUNC_BUFFERS, Plan
from xpconv._run import Jobs, run
from xpconv._workspace import Arithmetic, Workspace
from xpconv.algorithms._work import padded_products

Array = Any

TILE = 1 << 21  # bytes of a tile's shares: they are written once and read once, and should stay in the cache
PHASE = 40e-6  # seconds that each phase takes beside what its plan predicts
APART = 1.3  # how much longer several phases take, since threads wait for each other at the end of each
TURNED = 3e-9  # seconds for each number of the weight, which is laid out anew
PIECE = 17e-9  # seconds for each contiguous piece of the shares that is added
LEAST_FLOPS = 4_000_000  # in a tile


@dataclass(frozen=True)
class Cut:
    """How the images are cut, and what that is predicted to cost."""

    images: int
    rows: int  # of the gradient, along its first axis
    workers: int
    seconds: float  # for one worker


def cut_for(geometry: Geometry, plans: list[Plan], traits: Traits, dtypes: Arithmetic, itemsize: int) -> Cut | None:
    """Cut the images, if that is predicted to take less time than the plans of the phases, and there is room."""
    if geometry.groups > 1 or not traits.buffers or dtypes.exact is not None or geometry.positions == 0:
        return None
    options = _options.current()
    found = _cut(geometry, itemsize, options.room, options.threads, traits.kind)
    if found is None:
        return None
    phases = sum(c.seconds for plan in plans for c in plan.candidates if c.algorithm == plan.algorithm)
    phases = phases * (APART if len(plans) > 1 else 1) + PHASE * len(plans)
    return found if found.seconds < phases else None


@lru_cache(maxsize=1024)
def _cut(geometry: Geometry, itemsize: int, room: int, threads: int, kind: str) -> Cut | None:
    size, stride, span = geometry.input[0], geometry.stride[0], geometry.span[0]
    columns = geometry.taps * geometry.channels
    across = math.prod(geometry.output[1:])  # windows beside each other
    wide = math.prod(_extents(geometry)[1:]) * geometry.channels  # numbers in a row of the padded gradient

    def windows(rows: int) -> int:
        """Count the windows along the first axis that reach so many rows."""
        return min(-(-(rows + span - 1) // stride), geometry.output[0])

    def needs(images: int, rows: int) -> int:
        count = windows(rows)
        share = count * across * columns + ((count - 1) * stride + span) * wide
        return (images * share + count * across * images * geometry.filters) * itemsize + UFUNC_BUFFERS

    fixed = geometry.filters * columns * itemsize
    enough = min(TILE, (room - fixed) // 4)
    rows = size
    while rows > 1 and needs(1, rows) > enough:
        rows = -(-rows // 2)
    if needs(1, rows) > room - fixed:
        return None
    flops = 2 * windows(rows) * across * columns * geometry.filters
    images = 1
    if rows == size:
        most = max(-(-geometry.batch // PARTS), -(-LEAST_FLOPS // flops))
        while images < min(geometry.batch, most) and needs(2 * images, rows) <= enough:
            images *= 2
    bands, blocks = -(-size // rows), -(-geometry.batch // images)
    rates = RATES["cpu"]
    pixels = geometry.batch * bands * windows(rows) * across
    pieces = _pieces(geometry)
    moved = 4 * columns * pixels + 4 * geometry.batch * size * wide
    thin = 1 + THIN / (images * windows(rows) * across)  # each tile reads the weight
    weight = geometry.filters * columns
    seconds = (
        itemsize / 4 * pixels * padded_products(1, geometry.filters, columns) * thin * rates.multiply_add
        + itemsize * (moved + bands * blocks * weight) * rates.byte
        + weight * TURNED
        + pixels * pieces * PIECE
        + bands * blocks * (pieces * _apart(geometry) + 5) * rates.call
    )
    workers = max(1, min(threads, (room - fixed) // needs(images, rows))) if seconds >= ALONE else 1
    return Cut(images, rows, workers, seconds)


def _extents(geometry: Geometry) -> tuple[int, ...]:
    """Give the pixels from the first that a window reaches to the last, for each axis."""
    return tuple(geometry.slab_size(axis, n) for axis, n in enumerate(geometry.output))


def _apart(geometry: Geometry) -> int:
    """Count the sets of windows along the last axis that do not overlap: every so-many-th."""
    return 1 if geometry.dilation[-1] > 1 else -(-geometry.kernel[-1] // geometry.stride[-1])


def _pieces(geometry: Geometry) -> int:
    """Count the contiguous pieces of a window's shares."""
    return geometry.taps if geometry.dilation[-1] > 1 else math.prod(geometry.kernel[:-1])


def input_grad(
    dz: Array, w: Array, b: Array | None, geometry: Geometry, cut: Cut, xp: Namespace, traits: Traits,
    dtypes: Arithmetic, target: Array,
) -> None:  # fmt: skip
    """(N, *O, F), (*K, C, F) -> (N, *I, C) + b, into `target`."""
    weight = np.reshape(w, (-1, geometry.filters)).T  # (F, K·C)
    bias = None if b is None else b.astype(dtypes.sums, copy=False)
    with Held() as held:
        if weight.strides[-1] != weight.itemsize or weight.dtype != dtypes.factors:
            laid = held.empty(weight.shape, dtypes.factors)
            np.copyto(laid, weight)
            weight = laid
        items = list(itertools.product(intervals(geometry.batch, cut.images), intervals(geometry.input[0], cut.rows)))

        def compute(item: tuple[Interval, Interval], work: Workspace) -> None:
            images, rows = (slice(*interval) for interval in item)
            _band(dz[images], weight, bias, geometry, item[1], work, target[images, rows])

        run([Jobs(compute, items)], xp, traits, dtypes.sums, cut.workers, geometry.flops, False, dtypes)


def _band(
    dz: Array, weight: Array, bias: Array | None, geometry: Geometry, rows: Interval, work: Any, target: Array
) -> None:
    """Give some rows of some images: (n, *O, F) -> (n, rows, *I, C)."""
    stride, span, before = geometry.stride[0], geometry.span[0], geometry.padding[0][0]
    first = max(-(-(rows[0] + before - span + 1) // stride), 0)
    last = min(-(-(rows[1] + before) // stride), geometry.output[0])
    if first >= last:
        target[...] = 0 if bias is None else bias
        return
    output = (last - first, *geometry.output[1:])
    images, columns = dz.shape[0], weight.shape[-1]
    factors = work.copy("gradient", dz[:, first:last], (images * math.prod(output), geometry.filters))
    shares = work.matmul("shares", factors, weight)
    extents = tuple(geometry.slab_size(axis, n) for axis, n in enumerate(output))
    parts = shares.reshape(images, *output, *geometry.kernel, geometry.channels)
    starts = (rows[0] + before - first * stride, *(pads[0] for pads in geometry.padding[1:]))
    if _fits(target, extents, starts) and all(s >= n for s, n in zip(geometry.stride, geometry.span, strict=True)):
        if target.shape[1:-1] != extents or geometry.stride != geometry.kernel:
            target[...] = 0 if bias is None else bias
        for source, place in _overlaps(parts, target, geometry):
            if bias is None:
                np.copyto(place, source, casting="same_kind")
            else:
                repeated = np.tile(bias, source.shape[-1] // geometry.channels)
                np.add(source, repeated, out=place, casting="same_kind")
        return
    whole = work.buffer("whole", (images, *extents, geometry.channels), work.sums)

    def add_up() -> Array:
        work.do(whole.fill, 0)
        for source, place in _overlaps(parts, whole, geometry):
            work.do(np.add, place, source, out=place)
        return whole

    work.again(("shares", images, output, columns), add_up)
    # where the padding is cut off, or pixels lie that no window reaches
    inner, outer = [slice(None)], [slice(None)]
    for start, size, extent in zip(starts, target.shape[1:-1], extents, strict=True):
        low, high = max(start, 0), min(start + size, extent)
        inner.append(slice(low, max(high, low)))
        outer.append(slice(low - start, max(high, low) - start))
    place = target[tuple(outer)]
    if place.shape != target.shape:
        target[...] = 0 if bias is None else bias
    work.store(target, tuple(outer), whole[tuple(inner)], bias)


def _fits(target: Array, extents: tuple[int, ...], starts: tuple[int, ...]) -> bool:
    """Say whether all that the windows reach lies in the target, from its first pixel on, its rows in one piece."""
    inside = all(n <= size for n, size in zip(extents, target.shape[1:-1], strict=True)) and not any(starts)
    return inside and target.strides[-2:] == (target.shape[-1] * target.itemsize, target.itemsize)


def _overlaps(parts: Array, whole: Array, geometry: Geometry) -> Iterator[tuple[Array, Array]]:
    """Say what is added where: (n, *O, *K, C), (n, *extent, C) -> views of equal shape, without overlap in each.

    Neighbouring taps of the last axis lie side by side in both, so windows that do not overlap are added at once.
    """
    output, stride, rank = parts.shape[1 : 1 + geometry.rank], geometry.stride, geometry.rank
    apart, length = _apart(geometry), geometry.kernel[-1] * geometry.channels
    if geometry.dilation[-1] > 1:
        for tap, offset in geometry.offsets():
            yield (
                parts[(..., *tap, slice(None))],
                whole[(slice(None), *geometry.tap_slices(offset, output), slice(None))],
            )
        return
    parts = parts.reshape(*parts.shape[: 2 * rank], length)
    for tap in itertools.product(*map(range, geometry.kernel[:-1])):
        lead = (
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, geometry.dilation, output, stride, strict=False)
        )
        rows = whole[(slice(None), *lead)]  # (n, *O[:-1], extent, C)
        for first in range(min(apart, output[-1])):
            count = len(range(first, output[-1], apart))
            start = rows[..., first * stride[-1] :, :]
            place = np.lib.stride_tricks.as_strided(
                start,
                (*start.shape[:-2], count, length),
                (*start.strides[:-2], apart * stride[-1] * start.strides[-2], start.itemsize),
            )
            yield parts[(..., slice(first, None, apart), *tap, slice(None))], place
