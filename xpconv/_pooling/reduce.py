"""Pooling on one tile of NumPy arrays, axis after axis, without a padded copy and with every step in a buffer.

A maximum or a sum over a window of kh x kw taps costs kh + kw operations for a pixel. Where windows lie at a stride,
only the first axes run over many pixels at a stretch; the last one, if its stride is above 1, is sorted by residue
first, so that its taps do as well. Where they are parts of the axes, windows at equal distances are taken at once, as
one strided view; where that leaves many small views, pixels are gathered.

Axes are taken in either order: the first one first leaves the last one, which is slower, fewer pixels; the last one
first finds the first of equal maxima by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._pooling.lines import Line, Parts, Strided, Tap, Windows
from xpconv._shapes.geometry import Interval, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.tape import Do, at_once

Array = np.ndarray[Any, Any]

LONGEST = 4096  # pixels of a row whose order by residue is kept
NOWHERE = 1 << 31  # at least the number of no tap, where windows without taps inside are numbered
# elements of a view of a result below which pixels are gathered: a view and a call on it take some 20 microseconds, and
# 750 pixels cut into 937 windows 169 ms in views and 15 gathered
SMALL = 1 << 13
FEW = 4  # sources that are combined one by one, rather than in one reduction


@dataclass(frozen=True)
class Rule:
    """How the taps of a window are combined."""

    function: np.ufunc
    dtype: Any  # of the result
    fill: Any = 0  # the result of a window without taps
    absolute: bool = False  # of absolute values, which are combined with `fill` in any case


# --- windows at a stride --------------------------------------------------------------------------


@lru_cache(maxsize=64)
def by_residue(size: int, step: int) -> tuple[Array, Array]:
    """Give the order of range(size) by residue, and the order that undoes it."""
    order = np.concatenate([np.arange(residue, size, step) for residue in range(min(step, size))])
    return order, np.argsort(order)


class Taps:
    """The taps of a tile's windows along one axis, as views of the box of pixels, which may be sorted by residue."""

    def __init__(self, array: Array, line: Strided, axis: int, windows: Interval) -> None:
        self.array, self.line, self.axis, self.windows = array, line, axis, windows
        self.count = windows[1] - windows[0]
        self.reading = line.reading(windows)
        self.lead = along(axis)
        self.sorts = line.inner and self.count > 1 and line.kernel > 1 < line.stride <= 2 * line.kernel
        self.ranked: Array | None = None
        self.result = array  # of `combine`

    def sort(self, work: BufferedWorkspace, name: str) -> None:
        """Sort the pixels by residue, if that makes their taps lie in a row."""
        if self.sorts:
            self.ranked = work.buffer(f"{name} ranked", self.array.shape, self.array.dtype)
            self.rank(self.array, self.ranked)

    def rank(self, array: Array, out: Array) -> None:
        """Sort pixels by residue."""
        if array.flags.c_contiguous and array.shape[self.axis + 1] <= LONGEST:
            order = by_residue(array.shape[self.axis + 1], self.line.stride)[0]
            np.take(array, order, axis=self.axis + 1, out=out, mode="clip")  # "raise" would copy the target
        else:
            for place, ranked in self._residues(array.shape[self.axis + 1]):
                np.copyto(out[(*self.lead, ranked)], array[(*self.lead, place)])

    def unrank(self, ranked: Array, out: Array, add: bool) -> None:
        """Put pixels that are sorted by residue back in their places, or add them to what is there."""
        if out.flags.c_contiguous and not add and out.shape[self.axis + 1] <= LONGEST:
            order = by_residue(ranked.shape[self.axis + 1], self.line.stride)[1]
            np.take(ranked, order, axis=self.axis + 1, out=out, mode="clip")
        else:
            for place, part in self._residues(ranked.shape[self.axis + 1]):
                view, values = out[(*self.lead, place)], ranked[(*self.lead, part)]
                np.add(view, values, out=view) if add else np.copyto(view, values)

    def _residues(self, size: int) -> list[tuple[slice, slice]]:
        found, start, step = [], 0, self.line.stride
        for residue in range(min(step, size)):
            stop = start + len(range(residue, size, step))
            found.append((slice(residue, None, step), slice(start, stop)))
            start = stop
        return found

    def ahead(self, order: list[Tap]) -> dict[int, Tap]:
        """Give the first of the taps that share pixels, by their residue."""
        found: dict[int, Tap] = {}
        for tap in order:
            found.setdefault(tap.pixels.start % self.line.stride, tap)
        return found

    def rests(self, array: Array, ahead: dict[int, Tap]) -> list[Array]:
        """Give what the first taps leave of an array of the box that is sorted as this one's are."""
        found = []
        for residue, (place, ranked) in enumerate(self._residues(array.shape[self.axis + 1])):
            part = array[(*self.lead, place if self.ranked is None else ranked)]
            tap = ahead.get(residue)
            if tap is None:
                found.append(part)
                continue
            start = tap.pixels.start // self.line.stride
            stop = start + tap.windows.stop - tap.windows.start
            found += [part[(*self.lead, slice(0, start))], part[(*self.lead, slice(stop, None))]]
        return [part for part in found if part.size]

    def __call__(self, tap: Tap) -> Array:
        """Give a tap's pixels, one for each window that has it inside."""
        return self.view(self.array, tap) if self.ranked is None else self.of(self.ranked, tap)

    def beside(self, work: BufferedWorkspace, name: str, array: Array) -> Taps:
        """Give the same taps of another array of the box."""
        taps = Taps(array, self.line, self.axis, self.windows)
        taps.sort(work, name)
        return taps

    def view(self, array: Array, tap: Tap) -> Array:
        """Give a tap's pixels in another array of the box, which is not sorted."""
        return array[(*self.lead, tap.pixels)]

    def of(self, array: Array, tap: Tap) -> Array:
        """Give a tap's pixels in another array of the box that is sorted as this one's are."""
        return self.view(array, tap) if self.ranked is None else array[(*self.lead, tap.sorted)]

    def own(self, array: Array, tap: Tap) -> Array:
        """Give the windows that have a tap inside."""
        return array if tap.whole else array[(*self.lead, tap.windows)]

    def combine(self, do: Do, work: BufferedWorkspace, rule: Rule, name: str, out: Array | None = None) -> Array:
        """Combine the taps of each window; a buffer of this name has the result if `out` does not."""
        full = self.reading.full and not rule.absolute
        if full and self.line.kernel == 1 and out is None:
            self.result = self(self.reading.taps[0])
            return self.result
        total = work.buffer(name, shape_along(self.array, self.axis, self.count), rule.dtype) if out is None else out
        self.result = total
        first: Array | None = None  # a tap of all windows that is not in the result yet
        if not full:
            do(total.fill, rule.fill)
        for index, tap in enumerate(self.reading.taps):
            pixels = self(tap)
            if rule.absolute:
                magnitudes = work.buffer("sizes", pixels.shape, total.dtype)
                do(np.abs, pixels, out=magnitudes)
                pixels = magnitudes
            if full and index == 0:
                first = pixels
                continue
            if first is not None and tap.whole:
                do(rule.function, first, pixels, out=total, dtype=total.dtype)
                first = None
                continue
            if first is not None:
                do(np.copyto, total, first, casting="unsafe")
                first = None
            part = self.own(total, tap)
            do(rule.function, part, pixels, out=part, dtype=total.dtype)
        if first is not None:
            do(np.copyto, total, first, casting="unsafe")
        return total


# --- parts of the axes ----------------------------------------------------------------------------


class Runs:
    """The windows of a tile along one axis, taken in strided views of the box of pixels, or gathered."""

    def __init__(self, array: Array, line: Line, axis: int, windows: Interval) -> None:
        assert isinstance(line, Parts)
        self.array, self.line, self.axis, self.windows = array, line, axis, windows
        self.count = windows[1] - windows[0]

    def sort(self, work: BufferedWorkspace, name: str) -> None:
        """Leave the pixels as they are."""

    def is_small(self, target: Array) -> bool:
        """Say whether the views of a result that are taken at once have too few elements for a call each."""
        return target.size < SMALL * min(self.line.period[0], self.count)

    def combine(self, do: Do, work: BufferedWorkspace, rule: Rule, name: str, out: Array | None = None) -> Array:
        """Combine the pixels of each window; a buffer of this name has the result if `out` does not."""
        total = work.buffer(name, shape_along(self.array, self.axis, self.count), rule.dtype) if out is None else out
        windows, pixels = self.line.period
        longest = -(-pixels // windows) + 1  # pixels of a window: in views a call, gathered a call for each
        if self.is_small(total) and longest < min(windows, self.count):
            self._gather(work, rule, total)
        else:
            self._view(rule, total)
        return total

    def _gather(self, work: BufferedWorkspace, rule: Rule, total: Array) -> None:
        for pick in self.line.taps(self.windows):
            here = pick.tap == 0 and self.array.dtype == total.dtype and total.flags.c_contiguous
            values = total if here else work.buffer("gathered", total.shape, self.array.dtype)
            gather(self.array, pick.index, self.axis, values)
            if pick.tap == 0 and values is not total:
                np.copyto(total, values, casting="unsafe")
            elif pick.tap:
                where = True if pick.there is None else self._along(pick.there)
                rule.function(total, values, out=total, dtype=total.dtype, where=where)

    def _view(self, rule: Rule, total: Array) -> None:
        windows, pixels = self.line.period
        for run in self.line.runs(self.windows):
            out = split(total, self.axis, run.place, run.times, windows, run.length)
            if run.sources > FEW and run.length == 1:
                whole = split(self.array, self.axis, run.source, run.times, pixels, run.sources)
                place = np.squeeze(out, self.axis + 2)
                rule.function.reduce(whole, axis=self.axis + 2, out=place, dtype=total.dtype)
                continue
            views = [split(self.array, self.axis, run.source + k, run.times, pixels, 1) for k in range(run.sources)]
            if len(views) == 1:
                np.copyto(out, views[0], casting="unsafe")
                continue
            rule.function(views[0], views[1], out=out, dtype=total.dtype)
            for value in views[2:]:
                rule.function(out, value, out=out, dtype=total.dtype)

    def rivals(
        self, work: BufferedWorkspace, sources: list[Array], targets: list[Array]
    ) -> Iterator[tuple[list[Array], list[Array], bool]]:
        """Give one source after another, and views of the windows that have it, and whether it is their first.

        Of several arrays of pixels and of windows.
        """
        if self.is_small(targets[0]):
            for pick in self.line.taps(self.windows):
                values = []
                for i, source in enumerate(sources):
                    shape = shape_along(source, self.axis, self.count)
                    values.append(work.buffer(f"gathered {i}", shape, source.dtype))
                    gather(source, pick.index, self.axis, values[-1])
                yield values, targets, pick.tap == 0
            return
        windows, pixels = self.line.period
        for run in self.line.runs(self.windows):
            out = [split(t, self.axis, run.place, run.times, windows, run.length) for t in targets]
            for k in range(run.sources):
                yield [split(s, self.axis, run.source + k, run.times, pixels, 1) for s in sources], out, k == 0

    def _along(self, values: Array) -> Array:
        return values.reshape((-1,) + (1,) * (self.array.ndim - 2 - self.axis))


def split(array: Array, axis: int, start: int, times: int, step: int, length: int) -> Array:
    """(…, n, …) -> (…, times, length, …): neighbours from `start` on, again every `step`."""
    part = array[along(axis, slice(start, None))]
    shape, strides = list(part.shape), list(part.strides)
    place = axis + 1
    shape[place : place + 1] = [times, length]
    strides[place : place + 1] = [step * strides[place], strides[place]]
    return np.lib.stride_tricks.as_strided(part, shape, strides)


def gather(source: Array, index: Any, axis: int, out: Array) -> None:
    """Gather along an axis; of a source that does not lie in one piece, NumPy's `take` would copy all of it."""
    if source.flags.c_contiguous:
        np.take(source, index, axis=axis + 1, out=out, mode="clip")  # "raise" would copy the target
    else:
        np.copyto(out, source[along(axis, index)])


# --- either ---------------------------------------------------------------------------------------


def along(axis: int, *part: Any) -> tuple[Any, ...]:
    """Index an array (n, *spatial, C) along a spatial axis."""
    return (*(slice(None),) * (axis + 1), *part)


def shape_along(array: Array, axis: int, count: int) -> tuple[int, ...]:
    """Give an array's shape, but with so many elements along a spatial axis."""
    return (*array.shape[: axis + 1], count, *array.shape[axis + 2 :])


def pixels_of(x: Array, windows: Windows, region: Region) -> Array:
    """Give the pixels inside the image that a region's windows read, a view."""
    return x[tuple(slice(*interval) for interval in windows.pixels(region))]


def reduced(
    work: BufferedWorkspace, rule: Rule, array: Array, windows: Windows, region: Region, out: Array | None = None
) -> tuple[Array, list[Any]]:
    """Combine the pixels that a region's windows read; give the result and the stages, the first axis first.

    The last result is in `out`, if there is one.
    """
    stages = []
    for axis, (line, places) in enumerate(zip(windows.lines, region[1:], strict=True)):
        taps = Taps(array, line, axis, places) if isinstance(line, Strided) else Runs(array, line, axis, places)
        taps.sort(work, f"taps {axis}")
        array = taps.combine(at_once, work, rule, f"reduced {axis}", out if axis == windows.rank - 1 else None)
        stages.append(taps)
        rule = replace(rule, absolute=False) if rule.absolute else rule
    return array, stages


def divisor(windows: Windows, region: Region, padded: bool, dtype: Any) -> Any:
    """Give what an average divides by: a number, or one for each window, to broadcast."""
    total: Any = None
    for axis, (line, places) in enumerate(zip(windows.lines, region[1:], strict=True)):
        count = np.maximum(line.lengths(places, padded), 1).astype(dtype)  # a window without taps gives 0
        count = count.reshape((-1,) + (1,) * (windows.rank - axis))
        total = count if total is None else total * count
    return total.reshape(())[()] if total.size == 1 else total


def has_nan(work: BufferedWorkspace, values: Array) -> bool:
    """Say whether any value is not equal to itself."""
    found = work.buffer("nan", values.shape, np.dtype(np.bool_))
    return bool(np.not_equal(values, values, out=found).any())


# --- which pixel is the maximum -------------------------------------------------------------------


def first_maxima(
    work: BufferedWorkspace, rule: Rule, x: Array, windows: Windows, region: Region, out: Array | None = None
) -> Array:
    """Put each window's maximum in `out`, if there is one, and give its place in the plane.

    Of equal maxima the first in row-major order, or the first NaN; -1 for a window without taps inside.
    """
    pixels, real = pixels_of(x, windows, region), rule.dtype.kind not in "iu"
    if not windows.strided:
        best, places = _carried(work, pixels, windows, region, real and has_nan(work, pixels))
        if out is not None:
            np.copyto(out, best)
        return places
    top, stages = reduced(work, rule, pixels, windows, region, out)
    number = _numbers(work, stages, number_dtype(windows), real and has_nan(work, top))
    return _plane_places(work, number, windows, region)


def number_dtype(windows: Windows) -> Any:
    """Give the dtype that numbers a window's taps, its greatest value free to say that there is none."""
    lines = (line for line in windows.lines if isinstance(line, Strided))
    if not all(line.full or line.lengths((0, line.count), False).all() for line in lines):
        return np.dtype(np.uint64)
    return np.min_scalar_type(windows.taps)


def _numbers(work: BufferedWorkspace, stages: list[Taps], dtype: Any, careful: bool) -> Array:
    """Give the number of each window's first maximum, or first NaN if `careful`.

    Taps are numbered in row-major order; a number beyond them says that none is inside. Axis after axis, the least
    number wins among the taps that are the maximum.
    """
    number: Array | None = None
    for taps in stages:
        best = taps.result
        before: Taps | None = None
        if number is not None:
            scaled = work.buffer("scaled", number.shape, dtype)
            np.multiply(number, dtype.type(taps.line.kernel), out=scaled)
            before = taps.beside(work, f"numbers {taps.axis}", scaled)
        number = work.buffer(f"number {taps.axis}", best.shape, dtype)
        full = taps.reading.full
        if not full:
            number.fill(np.iinfo(dtype).max if dtype.itemsize < 8 else NOWHERE)
        for index, tap in enumerate(taps.reading.taps):
            below = None if before is None else before(tap)
            started = index or not full
            rival = work.buffer("rival", taps.own(best, tap).shape, dtype) if started else number
            miss = _misses(work, rival, taps(tap), taps.own(best, tap), careful)
            _rank(work, rival, miss, tap.number, below)
            if started:
                own = taps.own(number, tap)
                np.minimum(own, rival, out=own)
    assert number is not None
    return number


def _misses(work: BufferedWorkspace, rival: Array, pixels: Array, best: Array, careful: bool) -> Array:
    """Say which pixels are not the maximum, in the rival's own memory if it has room for no more."""
    boolean = np.dtype(np.bool_)
    miss = rival.view(boolean) if rival.itemsize == 1 else work.buffer("miss", pixels.shape, boolean)
    np.not_equal(pixels, best, out=miss)
    if careful:
        plain = work.buffer("plain", pixels.shape, boolean)
        np.logical_and(miss, np.equal(pixels, pixels, out=plain), out=miss)
    return miss


def _rank(work: BufferedWorkspace, rival: Array, miss: Array, tap: int, below: Array | None) -> None:
    """Write a tap's number where it is the maximum, and all bits where it is not."""
    dtype = rival.dtype
    np.negative(miss.view(np.uint8), out=rival, dtype=dtype)
    number: Any = below
    if tap and below is not None:
        number = np.add(below, dtype.type(tap), out=work.buffer("own", below.shape, dtype))
    elif tap:
        number = dtype.type(tap)
    if number is not None:
        np.bitwise_or(rival, number, out=rival)


def _plane_places(work: BufferedWorkspace, number: Array, windows: Windows, region: Region) -> Array:
    """Turn the numbers of taps into places in the plane, flat; -1 where there is none."""
    place, term = (work.buffer(name, number.shape, np.dtype(np.intp)) for name in ("place", "term"))
    lost = number >= windows.taps if number.dtype.itemsize == 8 else None
    place.fill(0)
    step = 1
    for axis in reversed(range(windows.rank)):
        line = windows.lines[axis]
        assert isinstance(line, Strided)
        digit, higher = _last_digit(work, number, line.kernel)
        np.multiply(digit, line.dilation * step, out=term, dtype=term.dtype, casting="unsafe")
        np.add(place, term, out=place)
        first = line.starts(region[axis + 1])
        np.add(place, first.reshape((-1,) + (1,) * (windows.rank - axis)) * step, out=place)
        number = work.buffer("rest", number.shape, number.dtype)
        np.copyto(number, higher)
        step *= line.size
    if lost is not None:
        place[lost] = -1
    return place


def _last_digit(work: BufferedWorkspace, number: Array, kernel: int) -> tuple[Array, Array]:
    """Split numbers into the tap of the last axis, of `kernel` taps, and the number of those of the axes before."""
    factor = number.dtype.type(kernel)
    higher = work.buffer("higher", number.shape, number.dtype)
    digit = work.buffer("digit", number.shape, number.dtype)
    np.floor_divide(number, factor, out=higher)
    np.subtract(number, np.multiply(higher, factor, out=digit), out=digit)
    return digit, higher


def _carried(
    work: BufferedWorkspace, array: Array, windows: Windows, region: Region, careful: bool
) -> tuple[Array, Array]:
    """Give each window's maximum and its place in the plane: the first, or if `careful` the first NaN, in order.

    The last axis is taken first: of equal maxima a row keeps its first, and then the first row is kept.
    """
    places: Array | None = None
    step = 1
    for axis in reversed(range(windows.rank)):
        line = windows.lines[axis]
        runs = Runs(array, line, axis, region[1 + axis])
        low = line.pixels(runs.windows)[0]
        numbers = np.arange(low, low + array.shape[axis + 1]) * step
        numbers = numbers.reshape((1,) * (axis + 1) + (-1,) + (1,) * (array.ndim - 2 - axis))
        if places is None:
            places = numbers  # to broadcast
        else:
            np.add(places, numbers, out=places)
        shape = shape_along(array, axis, runs.count)
        best = work.buffer(f"best {axis}", shape, array.dtype)
        spots = work.buffer(f"spots {axis}", shape, np.dtype(np.intp))
        masks = [work.buffer(name, shape, np.dtype(np.bool_)) for name in ("better", "lost")[: 1 + careful]]
        for (value, place), (top, spot, mask, *nan), first in runs.rivals(work, [array, places], [best, spots, *masks]):
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
        array, places, step = best, spots, step * line.size
    assert places is not None
    return array, places
