"""Pooling on one tile of NumPy arrays, axis after axis, without a padded copy and with every step in a buffer.

A maximum or a sum over a window of kh x kw taps costs kh + kw operations for a pixel. Where windows lie at a stride,
only the first axes run over many pixels at a stretch; the last one, if its stride is above 1, is sorted by residue
first, so that its taps do as well. Where they are parts of the axes, windows at equal distances are taken at once, as
one strided view; where that leaves many small views, pixels are gathered.

Axes are taken in either order: the first one first leaves the last one, which is slower, fewer pixels; the last one
first finds the first of equal maxima by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._pooling.lines import Parts, Strided, Tap
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Interval, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.tape import Do, at_once

Array = np.ndarray[Any, Any]

LONGEST = 4096  # pixels of a row whose order by residue is kept
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

    @property
    def begins(self) -> dict[str, float]:
        """What a reduction begins with: a sum with -0, which adds nothing, where 0 would change a -0."""
        return {"initial": -0.0} if self.function is np.add else {}


def accumulate(do: Do, rule: Rule, total: Array, terms: Iterable[tuple[Array, Array]], *, filled: bool) -> None:
    """Combine arrays in `total`, each with the part of it that is its own; the first one is all if none is `filled`."""
    first: Array | None = None  # what is not in the total yet
    for own, values in terms:
        if not filled:
            first, filled = values, True
        elif first is not None and own is total:
            do(rule.function, first, values, out=total, dtype=total.dtype)
            first = None
        else:
            if first is not None:
                do(np.copyto, total, first, casting="unsafe")
                first = None
            do(rule.function, own, values, out=own, dtype=total.dtype)
    if first is not None:
        do(np.copyto, total, first, casting="unsafe")


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

    def ahead(self) -> dict[int, Tap]:
        """Give the first of the taps that share pixels, by their residue."""
        found: dict[int, Tap] = {}
        for tap in self.reading.in_order():
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
            self.result = self(next(iter(self.reading.taps())))
            return self.result
        total = work.buffer(name, shape_along(self.array, self.axis, self.count), rule.dtype) if out is None else out
        self.result = total
        if not full:
            do(total.fill, rule.fill)
        look = self._magnitudes(do, work, rule) if rule.absolute else self
        terms = ((self.own(total, tap), look(tap)) for tap in self.reading.taps())
        accumulate(do, rule, total, terms, filled=not full)
        return total

    def _magnitudes(self, do: Do, work: BufferedWorkspace, rule: Rule) -> Callable[[Tap], Array]:
        def look(tap: Tap) -> Array:
            pixels = self(tap)
            magnitudes = work.buffer("sizes", pixels.shape, rule.dtype)
            do(np.abs, pixels, out=magnitudes)
            return magnitudes

        return look


# --- parts of the axes ----------------------------------------------------------------------------


class Runs:
    """The windows of a tile along one axis, taken in strided views of the box of pixels, or gathered."""

    def __init__(self, array: Array, line: Parts, axis: int, windows: Interval) -> None:
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
            out = split(total, self.axis, run.window, run.times, windows, run.windows)
            if run.pixels > FEW and run.windows == 1:
                whole = split(self.array, self.axis, run.pixel, run.times, pixels, run.pixels)
                place = np.squeeze(out, self.axis + 2)
                rule.function.reduce(whole, axis=self.axis + 2, out=place, dtype=total.dtype, **rule.begins)
                continue
            pixel = range(run.pixel, run.pixel + run.pixels)
            views = ((out, split(self.array, self.axis, k, run.times, pixels, 1)) for k in pixel)
            accumulate(at_once, rule, out, views, filled=False)

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
            out = [split(t, self.axis, run.window, run.times, windows, run.windows) for t in targets]
            for k in range(run.pixels):
                yield [split(s, self.axis, run.pixel + k, run.times, pixels, 1) for s in sources], out, k == 0

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
        taps = Runs(array, line, axis, places) if isinstance(line, Parts) else Taps(array, line, axis, places)
        taps.sort(work, f"taps {axis}")
        array = taps.combine(at_once, work, rule, f"reduced {axis}", out if axis == windows.rank - 1 else None)
        stages.append(taps)
        rule = replace(rule, absolute=False) if rule.absolute else rule
    return array, stages


def divisor(windows: Windows, region: Region, padded: bool, dtype: Any) -> Any:
    """Give what an average divides by: a number, or one for each window, to broadcast."""
    if windows.strided and windows.inside(region):
        return dtype.type(windows.taps)
    total: Any = None
    for axis, (line, places) in enumerate(zip(windows.lines, region[1:], strict=True)):
        count = np.maximum(line.lengths(places, padded), 1).astype(dtype)  # a window without taps gives 0
        count = count.reshape((-1,) + (1,) * (windows.rank - axis))
        total = count if total is None else total * count
    return total.reshape(())[()] if total.size == 1 else total
