"""Adaptive pooling of a tile of NumPy arrays, along one axis after another: strided views, not gathered pixels.

Along an axis of n pixels cut into m windows everything repeats: with g = gcd(n, m), window o + m / g reads what
window o does, n / g pixels further on. So the windows o, o + m / g, o + 2 m / g, … are taken at once, as one strided
view, and so are, for a gradient, the pixels i, i + n / g, … Where that leaves many small views, pixels are gathered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._pooling import adaptive as _adaptive
from xpconv._pooling.adaptive import Cut, Number
from xpconv._pooling.reduce import along
from xpconv._shapes.geometry import Interval, Ints, Region
from xpconv._work.buffered import BufferedWorkspace

Array = np.ndarray[Any, Any]

# elements of a view of a result below which pixels are gathered: a view and a call on it take some 20 microseconds, and
# 750 pixels cut into 937 windows 169 ms in views and 15 gathered
SMALL = 1 << 13
FEW = 4  # sources that are combined one by one, rather than in one reduction
NOTED, LONGEST = 128, 128  # ranges whose runs are kept, and how long they may be


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbours, along one axis of a result, that are made of the same sources; again and again at equal distances."""

    place: int  # of the first
    length: int
    source: int  # the first
    sources: int
    times: int


@dataclass(frozen=True)
class Line:
    """One axis of a result: which sources each of its places is made of."""

    cut: Cut
    gradient: bool  # pixels are made of windows, not windows of pixels

    def sources(self, places: tuple[Number, Number]) -> tuple[Number, Number]:
        """Give the range of sources of a range of places, or of arrays of them."""
        if self.gradient:
            return self.cut.windows(places)
        return self.cut.first(places[0]), self.cut.end(places[1] - 1)

    @property
    def period(self) -> tuple[int, int]:
        """Give the places, and the sources, after which all repeats."""
        common = math.gcd(self.cut.size, self.cut.parts)
        windows, pixels = self.cut.parts // common, self.cut.size // common
        return (pixels, windows) if self.gradient else (windows, pixels)

    @property
    def extent(self) -> int:
        """Count the sources."""
        return self.cut.parts if self.gradient else self.cut.size

    def runs(self, places: Interval) -> tuple[Run, ...]:
        """Say of what a range of places is made, both counted from the first of the range."""
        return _noted_runs(self, places) if places[1] - places[0] <= LONGEST else _runs(self, places)


def _runs(line: Line, places: Interval) -> tuple[Run, ...]:
    (start, stop), low = places, line.sources(places)[0]
    found: list[Run] = []
    step = line.period[0]
    for place in range(start, min(start + step, stop)):
        first, end = line.sources((place, place + 1))
        times = len(range(place, stop, step))
        last = found[-1] if found else None
        if last is not None and (last.source, last.sources, last.times) == (first - low, end - first, times):
            found[-1] = Run(last.place, last.length + 1, last.source, last.sources, times)
        else:
            found.append(Run(place - start, 1, first - low, end - first, times))
    return tuple(found)


_noted_runs = lru_cache(maxsize=NOTED)(_runs)


def split(array: Array, axis: int, start: int, times: int, step: int, length: int) -> Array:
    """(…, n, …) -> (…, times, length, …): neighbours from `start` on, again every `step`."""
    part = array[along(axis, slice(start, None))]
    shape, strides = list(part.shape), list(part.strides)
    place = axis + 1
    shape[place : place + 1] = [times, length]
    strides[place : place + 1] = [step * strides[place], strides[place]]
    return np.lib.stride_tricks.as_strided(part, shape, strides)


def gathers(line: Line, places: Interval) -> Iterator[tuple[Array, Array | None]]:
    """Give for each source in turn the one of each place, as `_adaptive.gathers` does."""
    numbers: Array = np.arange(*places)
    first, end = line.sources((numbers, numbers + 1))
    yield from _adaptive.gathers(first, end)


def pick(source: Array, index: Array, axis: int, out: Array) -> None:
    """Gather along an axis; of a source that does not lie in one piece, NumPy's `take` would copy all of it."""
    if source.flags.c_contiguous:
        np.take(source, index, axis=axis + 1, out=out, mode="clip")  # "raise" would copy the target
    else:
        whole: Any = (slice(None),) * (axis + 1)
        np.copyto(out, source[(*whole, index)])


def are_small(array: Array, line: Line, places: Interval) -> bool:
    """Say whether the views of a result that are taken at once have too few elements for a call each."""
    return array.size < SMALL * min(line.period[0], places[1] - places[0])


def combine(
    work: BufferedWorkspace, function: np.ufunc, source: Array, target: Array, axis: int, line: Line, places: Interval
) -> None:
    """Make each place along an axis of `target` of its sources along that of `source`, with a ufunc."""
    longest = -(-line.period[1] // line.period[0]) + 1  # sources of a place: in views a call, gathered a call for each
    if are_small(target, line, places) and longest < min(line.period[0], places[1] - places[0]):
        for k, (index, those) in enumerate(gathers(line, places)):
            here = k == 0 and source.dtype == target.dtype and target.flags.c_contiguous
            values = target if here else work.buffer("gathered", target.shape, source.dtype)
            pick(source, index, axis, values)
            if k == 0 and values is not target:
                np.copyto(target, values, casting="unsafe")
            elif k:
                where = True if those is None else those.reshape((-1,) + (1,) * (target.ndim - 2 - axis))
                function(target, values, out=target, dtype=target.dtype, where=where)
        return
    there, step = line.period
    for run in line.runs(places):
        out = split(target, axis, run.place, run.times, there, run.length)
        if run.sources > FEW and run.length == 1:
            whole = split(source, axis, run.source, run.times, step, run.sources)
            function.reduce(whole, axis=axis + 2, out=np.squeeze(out, axis + 2), dtype=target.dtype)
            continue
        views = [split(source, axis, run.source + k, run.times, step, 1) for k in range(run.sources)]
        if len(views) == 1:
            np.copyto(out, views[0], casting="unsafe")
            continue
        function(views[0], views[1], out=out, dtype=target.dtype)
        for value in views[2:]:
            function(out, value, out=out, dtype=target.dtype)


@dataclass(frozen=True)
class Lines:
    """The axes of a result, and the order in which they are taken."""

    axes: tuple[Line, ...]
    order: tuple[int, ...]

    def reads(self, region: Region) -> tuple[Interval, ...]:
        """Give the ranges of sources that a region of the result is made of."""
        return tuple(line.sources(places) for line, places in zip(self.axes, region[1:], strict=True))

    def stages(self, tile: Ints) -> list[int]:
        """Count the elements, for each channel, of what a tile reads, and of the result of each axis in turn."""
        sizes = []
        for line, count in zip(self.axes, tile[1:], strict=True):
            there, here = line.period
            sizes.append(min(-(-count * here // there) + 2, line.extent))  # rounded outwards at both ends
        found = [tile[0] * math.prod(sizes)]
        for axis in self.order:
            sizes[axis] = tile[1 + axis]
            found.append(tile[0] * math.prod(sizes))
        return found


def lines_of(cuts: tuple[Cut, ...], gradient: bool, last_first: bool) -> Lines:
    """Give the axes of windows, or of a gradient's pixels."""
    order = range(len(cuts))
    return Lines(tuple(Line(cut, gradient) for cut in cuts), tuple(reversed(order) if last_first else order))


def reduced(
    work: BufferedWorkspace, function: np.ufunc, array: Array, lines: Lines, region: Region, out: Array
) -> None:
    """Make a region of a result, in `out`, of what it reads, one axis after another."""
    *others, last = lines.order
    for axis in (*others, last):
        target, places = out, region[1 + axis]
        if axis != last:
            shape = (*array.shape[: axis + 1], places[1] - places[0], *array.shape[axis + 2 :])
            target = work.buffer(f"reduced {axis}", shape, out.dtype)
        combine(work, function, array, target, axis, lines.axes[axis], places)
        array = target


def first_maxima(
    work: BufferedWorkspace, array: Array, lines: Lines, region: Region, careful: bool
) -> tuple[Array, Array]:
    """Give each window's maximum and its place in the plane: the first, or if `careful` the first NaN, in order.

    The last axis is taken first: of equal maxima a row keeps its first, and then the first row is kept.
    """
    places: Array | None = None
    step = 1
    for axis in lines.order:
        line, windows = lines.axes[axis], region[1 + axis]
        low = line.sources(windows)[0]
        numbers = np.arange(low, low + array.shape[axis + 1]) * step
        numbers = numbers.reshape((1,) * (axis + 1) + (-1,) + (1,) * (array.ndim - 2 - axis))
        if places is None:
            places = numbers  # to broadcast
        else:
            np.add(places, numbers, out=places)
        shape = (*array.shape[: axis + 1], windows[1] - windows[0], *array.shape[axis + 2 :])
        best = work.buffer(f"best {axis}", shape, array.dtype)
        spots = work.buffer(f"spots {axis}", shape, np.dtype(np.intp))
        better = work.buffer("better", shape, np.dtype(np.bool_))
        lost = [work.buffer("lost", shape, np.dtype(np.bool_))] if careful else []
        for (value, place), (top, spot, mask, *nan), first in _rivals(
            work, line, windows, axis, [array, places], [best, spots, better, *lost]
        ):
            if first:
                np.copyto(top, value)
                np.copyto(spot, place)
                continue
            if not careful:
                np.greater(value, top, out=mask)
            else:  # greater, or a NaN, unless a NaN came before
                np.less_equal(value, top, out=mask)
                np.not_equal(top, top, out=nan[0])
                np.logical_or(mask, nan[0], out=mask)
                np.logical_not(mask, out=mask)
            np.copyto(top, value, where=mask)
            np.copyto(spot, place, where=mask)
        array, places, step = best, spots, step * line.cut.size
    assert places is not None
    return array, places


def _rivals(
    work: BufferedWorkspace, line: Line, places: Interval, axis: int, sources: list[Array], targets: list[Array]
) -> Iterator[tuple[list[Array], list[Array], bool]]:
    """Give one source after another, and views of the places that are made of them, and whether it is their first."""
    if are_small(targets[0], line, places):
        for k, (index, _) in enumerate(gathers(line, places)):
            values = []
            for i, source in enumerate(sources):
                shape = (*source.shape[: axis + 1], len(index), *source.shape[axis + 2 :])
                values.append(work.buffer(f"gathered {i}", shape, source.dtype))
                pick(source, index, axis, values[-1])
            yield values, targets, k == 0
        return
    there, here = line.period
    for run in line.runs(places):
        out = [split(t, axis, run.place, run.times, there, run.length) for t in targets]
        for k in range(run.sources):
            yield [split(s, axis, run.source + k, run.times, here, 1) for s in sources], out, k == 0
