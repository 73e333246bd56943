"""The engine of adaptive pooling.

Window o of an axis of n pixels cut into m reads pixels floor(o n / m) to ceil((o + 1) n / m) - 1. Windows have up to
two lengths, and neighbours may share a pixel, so a tap is gathered by an index for each window; a window that has fewer
taps than the longest reads its last pixel again, which no maximum minds and a sum leaves out. On NumPy strided views
are taken instead (`_adaptive_tiles`), with the cuts and counts of this module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from xpconv import _options
from xpconv._arrays.dtypes import cast, itemsize
from xpconv._arrays.old import empty, host_array, index_dtype, zeros
from xpconv._arrays.types import Namespace, Traits
from xpconv._arrays.views import from_channels_last
from xpconv._engine import old as _run
from xpconv._shapes import read
from xpconv._shapes.cuts import block
from xpconv._shapes.geometry import Interval, Ints, Region
from xpconv._shapes.layout import in_layout
from xpconv._work.workspace import Workspace

Array = Any
Counts = np.ndarray[Any, Any]  # of integers
Number = TypeVar("Number", int, Counts)


@dataclass(frozen=True)
class Cut:
    """An axis of `size` pixels cut into `parts` windows."""

    size: int
    parts: int

    def first(self, window: Number) -> Number:
        """Give a window's first pixel, of an array of windows as well."""
        return window * self.size // self.parts

    def end(self, window: Number) -> Number:
        """Give the pixel after a window's last."""
        return -(-(window + 1) * self.size // self.parts)

    def pixels(self, windows: Interval) -> Interval:
        """Give the pixels that a range of windows reads."""
        return self.first(windows[0]), self.end(windows[1] - 1)

    def windows(self, pixels: tuple[Number, Number]) -> tuple[Number, Number]:
        """Give the windows that read any of a range of pixels, or of an array of ranges."""
        low, high = pixels
        # the first window whose end is beyond `low`, and the last whose first pixel is before `high`
        return low * self.parts // self.size, -(-high * self.parts // self.size)


def read_cuts(function: str, shape: Any, output_shape: Any, layout: Any, name: str) -> tuple[Ints, tuple[Cut, ...]]:
    """Give the channels-last input shape and a cut for each spatial axis."""
    whole, parts = read.adaptive(function, shape, output_shape, layout, name)
    return whole, tuple(Cut(n, m) for n, m in zip(whole[1:-1], parts, strict=True))


def is_even(cuts: tuple[Cut, ...]) -> bool:
    return all(cut.size % cut.parts == 0 for cut in cuts)


def check_gradient(function: str, dy: Array, whole: Ints, cuts: tuple[Cut, ...], layout: str) -> None:
    wanted = in_layout((whole[0], *(cut.parts for cut in cuts), whole[-1]), layout)
    if tuple(dy.shape) != wanted:
        raise ValueError(f"{function}: dy has the shape of the output, {wanted}; got dy.shape={tuple(dy.shape)}")


def taps(work: Workspace, cut: Cut, windows: Interval, axis: int, like: Array) -> Iterator[tuple[Array, Array | None]]:
    """Give for each tap the slab's pixel that each window reads, and which windows have that tap (None: all)."""
    numbers = np.arange(*windows)
    yield from _on_device(work, cut.first(numbers), cut.end(numbers), axis, like)


def readers(
    work: Workspace, cut: Cut, pixels: Interval, axis: int, like: Array
) -> Iterator[tuple[Array, Array | None]]:
    """Give each window, counted from a pixel's first, that reads each pixel, and which pixels have so many readers."""
    numbers = np.arange(*pixels)
    yield from _on_device(work, *cut.windows((numbers, numbers + 1)), axis, like)


def gathers(first: Counts, end: Counts) -> Iterator[tuple[Counts, Counts | None]]:
    """Give for each source in turn, of the ranges from `first` to `end`, where it is, and which ranges have so many.

    Counted from the first of all; of a range that has no more, its last; None if all have.
    """
    lengths, starts = end - first, first - first[0]
    for k in range(int(lengths.max())):
        those = k < lengths
        yield starts + np.minimum(k, lengths - 1), None if those.all() else those


def _on_device(
    work: Workspace, first: Counts, end: Counts, axis: int, like: Array
) -> Iterator[tuple[Array, Array | None]]:
    xp, rank = work.xp, like.ndim - 2
    integers = index_dtype(xp, like)
    shape = (1,) * axis + (len(first),) + (1,) * (rank + 1 - axis)
    for index, those in gathers(first, end):
        mask = None if those is None else xp.reshape(host_array(xp, those, xp.bool, like), shape)
        yield host_array(xp, index, integers, like), mask


def take(work: Workspace, values: Array, index: Array, axis: int) -> Array:
    """Gather along an axis; a single pixel is repeated, which Dask's own gathering does not get right."""
    if values.shape[axis] > 1:
        return work.xp.take(values, index, axis=axis)
    shape = (*values.shape[:axis], index.shape[0], *values.shape[axis + 1 :])
    return work.xp.broadcast_to(values, shape)


def gather_sum(work: Workspace, values: Array, gathers: Iterator[tuple[Array, Array | None]], axis: int) -> Array:
    total = None
    for index, there in gathers:
        value = take(work, values, index, axis)
        if there is not None:
            value = work.xp.where(there, value, work.xp.zeros_like(value))
        total = value if total is None else total + value
    return total


def counts(work: Workspace, cuts: tuple[Cut, ...], windows: Region, like: Array) -> Array:
    """Count each window's pixels, to broadcast against (n, *windows, C)."""
    total: Any = 1
    for axis, (cut, (start, stop)) in enumerate(zip(cuts, windows, strict=True), start=1):
        numbers = np.arange(start, stop)
        lengths = (cut.end(numbers) - cut.first(numbers)).astype(float)
        shape = (1,) * axis + (stop - start,) + (1,) * (len(cuts) + 1 - axis)
        total = total * work.xp.reshape(host_array(work.xp, lengths, work.dtype, like), shape)
    return total


def plane_places(work: Workspace, cuts: tuple[Cut, ...], ranges: Region, like: Array) -> Array:
    """Give the flat place in the plane of each pixel of a box, to broadcast against (n, *pixels, C)."""
    places, total = index_dtype(work.xp, like), None
    for axis, (low, high) in enumerate(ranges, start=1):
        step = math.prod(cut.size for cut in cuts[axis:])
        shape = (1,) * axis + (high - low,) + (1,) * (len(cuts) + 1 - axis)
        own = work.xp.reshape(host_array(work.xp, range(low * step, high * step, step), places, like), shape)
        total = own if total is None else total + own
    return total


def argmax(work: Workspace, slab: Array, cuts: tuple[Cut, ...], windows: Region, real: bool) -> tuple[Array, Array]:
    """Give each window's maximum and its place in the plane: the first, or the first NaN, in row-major order."""
    xp, like = work.xp, slab
    ranges = tuple(cut.pixels(interval) for cut, interval in zip(cuts, windows, strict=True))
    place = plane_places(work, cuts, ranges, like)
    # the last axis first: of equal maxima a row keeps its first, then the first row is kept
    for axis in range(len(cuts), 0, -1):
        best, spot = None, None
        for index, _ in taps(work, cuts[axis - 1], windows[axis - 1], axis, like):
            value, where = take(work, slab, index, axis), take(work, place, index, axis)
            if best is None:
                best, spot = value, xp.broadcast_to(where, value.shape)
                continue
            better = ~(value <= best) & (best == best) if real else value > best
            best, spot = xp.where(better, value, best), xp.where(better, where, spot)
        slab, place = best, spot
    return slab, place


def sweep(
    compute: Any, shape: Ints, cuts: tuple[Cut, ...], xp: Namespace, traits: Traits, work_dtype: Any,
    dtypes: tuple[Any, ...], like: Array, layout: str, *, over_output: bool,
) -> list[Array]:  # fmt: skip
    """Run compute(region, work) -> blocks over (n, *sizes, C) and give the results, written or joined."""
    if shape[0] == 0:
        return [from_channels_last(xp, zeros(xp, shape, dtype, like), layout) for dtype in dtypes]
    options = _options.current()
    # pixels touched for each of the result's, and work arrays beside them
    reach = [cut.size / cut.parts + 2 if over_output else cut.parts / cut.size + 2 for cut in cuts]
    wide = 8 if len(dtypes) > 1 else max(itemsize(xp, work_dtype), 4)  # places take eight bytes
    pixel = math.ceil(4 * (math.prod(reach) + 12)) * shape[-1] * wide
    room = options.room // (4 if traits.threads else 2)
    tile = block(shape[:-1], max(min(room, traits.cache or room) // pixel, 1))
    workers = max(1, min(options.threads, options.room // 4 * 3 // max(pixel * math.prod(tile), 1)))
    targets = [empty(xp, shape, dtype, like, layout) for dtype in dtypes] if traits.mutable else []

    def run_tile(region: Region, work: Workspace) -> list[Array] | None:
        blocks = compute(region, work)
        for target, found in zip(targets, blocks, strict=bool(targets)):
            work.store(target, _run.slices(region), found, None)
        return None if targets else blocks

    jobs = _run.Jobs(run_tile, _run.Tiles(shape[:-1], tile))
    blocks = _run.run([jobs], xp, traits, work_dtype, workers, math.prod(shape), collect=not targets)
    results = targets or [
        cast(xp, _run.join(xp, list(column), jobs.items), dtype)
        for column, dtype in zip(zip(*blocks, strict=True), dtypes, strict=True)
    ]
    return [from_channels_last(xp, result, layout) for result in results]
