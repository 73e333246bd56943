"""Pooling on one tile: running maxima and sums axis by axis, and which tap is the maximum.

A maximum or a sum over a window is separable, so a window of kh x kw taps costs kh + kw operations for a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from xpconv._arrays.old import arange, host_array
from xpconv._shapes.geometry import Geometry, Ints, Region
from xpconv._work.workspace import Workspace

Array = Any


def window_reduce(work: Workspace, function: str, slab: Array, geometry: Geometry, output: Ints) -> Array:
    """(n, *slab, C) -> (n, *output, C): combine the taps of each window with "maximum" or "add"."""
    for axis in reversed(range(geometry.rank)):
        lead = (slice(None),) * (axis + 1)
        tail = (slice(None),) * (slab.ndim - axis - 2)
        step, spread, count = geometry.stride[axis], geometry.dilation[axis], output[axis]
        total = None
        for start in range(0, spread * geometry.kernel[axis], spread):
            tap = slab[(*lead, slice(start, start + (count - 1) * step + 1, step), *tail)]
            total = tap if total is None else work.call(f"reduced {axis}", function, total, tap)
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


def tap_inside(geometry: Geometry, region: Region, axis: int, tap: int) -> bool:
    """Say whether a tap lies inside the input, along an axis, for every window of a region."""
    start, stop = region[axis + 1]
    offset = tap * geometry.dilation[axis] - geometry.padding[axis][0]
    first, last = (n * geometry.stride[axis] + offset for n in (start, stop - 1))
    return first >= 0 and last < geometry.input[axis]


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


def maxima(
    work: Workspace, slab: Array, geometry: Geometry, region: Region, ties: str, real: bool
) -> dict[Ints, Array]:
    """Give for each tap the windows (n, *output, C) whose maximum it holds, as a boolean array.

    Of equal maxima `ties` "first" marks the first only, "all" marks all. The first NaN of a window is its only
    maximum. A tap outside the input is none, so a window without a tap inside has no maximum.
    """
    output = tuple(stop - start for start, stop in region[1:])
    best = window_reduce(work, "maximum", slab, geometry, output)
    bounds = [] if is_interior(geometry, region) else inside_taps(work, geometry, region, False, slab)
    found: dict[Ints, Array] = {}
    taken, seen = None, None  # windows that have their maximum; windows that have shown a NaN
    for tap, value in tap_values(slab, geometry, output):
        hit = work.call(f"hit {tap}", "equal", value, best)
        if real:
            # a NaN equals nothing: in its window only the first NaN is added
            nan = work.call("nan", "not_equal", value, value)
            if ties != "first":
                new = (
                    nan
                    if seen is None
                    else work.call("new", "logical_and", nan, work.call("unseen", "logical_not", seen))
                )
                seen = work.call("seen", "logical_or", nan, nan if seen is None else seen)
                nan = new
            hit = work.call(f"hit {tap}", "logical_or", hit, nan)
        for axis, (k, (first, last)) in enumerate(zip(tap, bounds, strict=False)):
            if tap_inside(geometry, region, axis, k):
                continue
            hit = work.call(f"hit {tap}", "logical_and", hit, (first <= k) & (last >= k))
        if ties == "first":
            if taken is not None:
                hit = work.call(f"hit {tap}", "logical_and", hit, work.call("free", "logical_not", taken))
            taken = work.call("taken", "logical_or", hit, hit if taken is None else taken)
        found[tap] = hit
    return found


def plane_index(work: Workspace, hits: dict[Ints, Array], geometry: Geometry, region: Region, dtype: Any) -> Array:
    """Give each window's maximum as a flat index of the unpadded plane; -1 where it has none."""
    xp = work.xp
    steps = [math.prod(geometry.input[axis + 1 :]) for axis in range(geometry.rank)]
    number: Any = 0  # one tap at most is hit, so the sum is its number, counted from 1
    offsets = []
    for index, (tap, offset) in enumerate(geometry.offsets(), start=1):
        number = number + xp.astype(hits[tap], dtype) * index
        offsets.append(sum(o * s for o, s in zip(offset, steps, strict=True)))
    table = host_array(xp, [0, *offsets], dtype, number)
    flat = xp.reshape(xp.take(table, xp.reshape(number, (-1,)), axis=0), number.shape)
    for axis, (start, stop) in enumerate(region[1:]):
        first = (arange(xp, stop - start, dtype, number) + start) * geometry.stride[axis] - geometry.padding[axis][0]
        shape = (1,) * (axis + 1) + (stop - start,) + (1,) * (geometry.rank - axis)
        flat = flat + xp.reshape(first * steps[axis], shape)
    return xp.where(number > 0, flat, xp.full_like(flat, -1))
