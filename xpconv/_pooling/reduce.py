"""Pooling on one tile of NumPy arrays, axis after axis, without a padded copy and with every step in a buffer.

A maximum or a sum over a window of kh x kw taps costs kh + kw operations for a pixel. Only the first axes run over many
pixels at a stretch; the last one, if its stride is above 1, is sorted by residue first, so that its taps do as well.
Axes are taken in either order: the first one first leaves the last one, which is slower, fewer pixels; the last one
first finds the first of equal maxima by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from xpconv._shapes.geometry import Geometry, Interval, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.tape import Do, at_once

Array = np.ndarray[Any, Any]

LONGEST = 4096  # pixels of a row whose order by residue is kept
NOWHERE = 1 << 31  # at least the number of no tap, where windows without taps inside are numbered


@dataclass(frozen=True)
class Tap:
    """One tap of a range of windows: which of them have it inside, and where it lies in the box of pixels."""

    number: int
    windows: slice  # counted from the first of the range
    whole: bool  # all of the range have it
    pixels: slice  # of the box
    sorted: slice  # of the box's pixels, sorted by residue


@dataclass(frozen=True)
class Line:
    """The taps of a range of windows along one axis."""

    pixels: Interval  # the box: what lies inside the input, at least one
    full: bool  # a tap lies inside for every window of the output
    taps: tuple[Tap, ...]  # in order, but with one that lies inside for every window first
    windows: int

    @cached_property
    def form(self) -> tuple[Any, ...]:
        """Give what is the same for ranges of windows that differ in their place only."""
        taps = ((t.number, t.windows.start, t.windows.stop, t.sorted.start) for t in self.taps)
        return self.pixels[1] - self.pixels[0], self.windows, *taps

    @property
    def in_order(self) -> list[Tap]:
        """Give the taps in order."""
        return sorted(self.taps, key=lambda tap: tap.number)


def line(geometry: Geometry, axis: int, windows: Interval) -> Line:
    """Give the taps of a range of windows along an axis."""
    make = _cached_line if geometry.kernel[axis] <= 32 else _line
    return make(
        geometry.input[axis], geometry.output[axis], geometry.kernel[axis], geometry.stride[axis],
        geometry.dilation[axis], geometry.padding[axis][0], *windows, axis == geometry.rank - 1,
    )  # fmt: skip


def _line(
    size: int, output: int, kernel: int, step: int, spread: int, before: int, start: int, stop: int, last: bool
) -> Line:
    low = min(max(start * step - before, 0), size - 1)
    high = max(min((stop - 1) * step - before + (kernel - 1) * spread + 1, size), low + 1)
    if last and stop - start == output:  # a whole row, which lies in one piece
        low, high = 0, size

    def inside(tap: int, first: int, last: int) -> Interval:
        offset = tap * spread - before
        first = max(-(offset // step), first)
        return first, max(min((size - 1 - offset) // step + 1, last), first)

    # the first and the last pixel of the image have to be far enough: taps from `least` to `most` lie inside for all
    least = -(-before // spread)
    most = (size - 1 - (output - 1) * step + before) // spread
    full = least <= min(most, kernel - 1)
    taps = []
    for tap in range(kernel):
        first, beyond = inside(tap, start, stop)
        if first == beyond:
            continue
        place, count = first * step + tap * spread - before - low, beyond - first
        pixels = slice(place, place + (count - 1) * step + 1, step)
        rank = sum(len(range(residue, high - low, step)) for residue in range(place % step)) + place // step
        ranked = slice(rank, rank + count)
        taps.append(Tap(tap, slice(first - start, beyond - start), count == stop - start, pixels, ranked))
    ahead = sorted(taps, key=lambda tap: tap.number != least) if full else taps
    return Line((low, high), full, tuple(ahead), stop - start)


_cached_line = lru_cache(maxsize=1024)(_line)


def clipped(geometry: Geometry, axis: int, windows: Interval) -> Interval:
    """Give the pixels inside the input that a range of windows reads, at least one."""
    return line(geometry, axis, windows).pixels


def every_window_has_taps(geometry: Geometry) -> bool:
    """Say whether every window has a tap inside the input."""
    for axis in range(geometry.rank):
        whole = line(geometry, axis, (0, geometry.output[axis]))
        if not whole.full:
            met = bytearray(geometry.output[axis])
            for tap in whole.taps:
                met[tap.windows] = b"\1" * (tap.windows.stop - tap.windows.start)
            if not all(met):
                return False
    return True


@lru_cache(maxsize=64)
def by_residue(size: int, step: int) -> tuple[Array, Array]:
    """Give the order of range(size) by residue, and the order that undoes it."""
    order = np.concatenate([np.arange(residue, size, step) for residue in range(min(step, size))])
    return order, np.argsort(order)


class Taps:
    """The taps of a tile's windows along one axis, as views of the box of pixels, which may be sorted by residue."""

    def __init__(self, array: Array, geometry: Geometry, axis: int, windows: Interval) -> None:
        self.array, self.geometry, self.axis, self.windows = array, geometry, axis, windows
        self.count = windows[1] - windows[0]
        self.kernel, self.step = geometry.kernel[axis], geometry.stride[axis]
        self.line = line(geometry, axis, windows)
        self.lead = (slice(None),) * (axis + 1)
        last = axis == geometry.rank - 1
        self.sorts = last and self.count > 1 and self.kernel > 1 < self.step <= 2 * self.kernel
        self.ranked: Array | None = None

    def sort(self, work: BufferedWorkspace, name: str) -> None:
        """Sort the pixels by residue, if that makes their taps lie in a row."""
        if self.sorts:
            self.ranked = work.buffer(f"{name} ranked", self.array.shape, self.array.dtype)
            self.rank(self.array, self.ranked)

    def rank(self, array: Array, out: Array) -> None:
        """Sort pixels by residue."""
        if array.flags.c_contiguous and array.shape[self.axis + 1] <= LONGEST:
            order = by_residue(array.shape[self.axis + 1], self.step)[0]
            np.take(array, order, axis=self.axis + 1, out=out, mode="clip")  # "raise" would copy the target
        else:
            for place, ranked in self._residues(array.shape[self.axis + 1]):
                np.copyto(out[(*self.lead, ranked)], array[(*self.lead, place)])

    def unrank(self, ranked: Array, out: Array, add: bool) -> None:
        """Put pixels that are sorted by residue back in their places, or add them to what is there."""
        if out.flags.c_contiguous and not add and out.shape[self.axis + 1] <= LONGEST:
            order = by_residue(ranked.shape[self.axis + 1], self.step)[1]
            np.take(ranked, order, axis=self.axis + 1, out=out, mode="clip")
        else:
            for place, part in self._residues(ranked.shape[self.axis + 1]):
                view, values = out[(*self.lead, place)], ranked[(*self.lead, part)]
                np.add(view, values, out=view) if add else np.copyto(view, values)

    def _residues(self, size: int) -> list[tuple[slice, slice]]:
        found, start = [], 0
        for residue in range(min(self.step, size)):
            stop = start + len(range(residue, size, self.step))
            found.append((slice(residue, None, self.step), slice(start, stop)))
            start = stop
        return found

    def ahead(self, order: list[Tap]) -> list[Tap]:
        """Give the first of the taps that share pixels, for each residue."""
        found: dict[int, Tap] = {}
        for tap in order:
            found.setdefault(tap.pixels.start % self.step, tap)
        return list(found.values())

    def rests(self, array: Array, order: list[Tap]) -> list[Array]:
        """Give what the first taps leave of an array of the box that is sorted as this one's are."""
        size, ahead = array.shape[self.axis + 1], self.ahead(order)
        first, found = {tap.pixels.start % self.step: tap for tap in ahead}, []
        for residue, (place, ranked) in enumerate(self._residues(size)):
            part = array[(*self.lead, place if self.ranked is None else ranked)]
            tap = first.get(residue)
            if tap is None:
                found.append(part)
                continue
            start = tap.pixels.start // self.step
            stop = start + tap.windows.stop - tap.windows.start
            found += [part[(*self.lead, slice(0, start))], part[(*self.lead, slice(stop, None))]]
        return [part for part in found if part.size]

    def __call__(self, tap: Tap) -> Array:
        """Give a tap's pixels, one for each window that has it inside."""
        return self.view(self.array, tap) if self.ranked is None else self.of(self.ranked, tap)

    def beside(self, work: BufferedWorkspace, name: str, array: Array) -> Taps:
        """Give the same taps of another array of the box."""
        taps = Taps(array, self.geometry, self.axis, self.windows)
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


def along(axis: int, part: slice) -> tuple[slice, ...]:
    """Index an array (n, *spatial, C) along a spatial axis."""
    return (*(slice(None),) * (axis + 1), part)


def combine(
    do: Do, work: BufferedWorkspace, function: np.ufunc, taps: Taps, name: str, fill: Any, dtype: Any,
    out: Array | None = None, sizes: bool = False,
) -> Array:  # fmt: skip
    """Combine the taps of each window along one axis, or their absolute values, with a ufunc; `fill` if there is none.

    Absolute values are combined with `fill` in any case.
    """
    axis, full = taps.axis, taps.line.full and not sizes
    if full and taps.kernel == 1 and out is None:
        return taps(taps.line.taps[0])
    shape = (*taps.array.shape[: axis + 1], taps.count, *taps.array.shape[axis + 2 :])
    total = work.buffer(name, shape, dtype) if out is None else out
    first: Array | None = None
    if not full:
        do(total.fill, fill)
    for index, tap in enumerate(taps.line.taps):
        pixels = taps(tap)
        if sizes:
            magnitudes = work.buffer("sizes", pixels.shape, total.dtype)
            do(np.abs, pixels, out=magnitudes)
            pixels = magnitudes
        if full and index == 0:
            first = pixels
            continue
        if first is not None and tap.whole:
            do(function, first, pixels, out=total, dtype=total.dtype)
            first = None
            continue
        if first is not None:
            do(np.copyto, total, first, casting="unsafe")
            first = None
        part = taps.own(total, tap)
        do(function, part, pixels, out=part, dtype=total.dtype)
    if first is not None:
        do(np.copyto, total, first, casting="unsafe")
    return total


def pixels_of(x: Array, geometry: Geometry, region: Region) -> Array:
    """Give the pixels inside the input that a region's windows read, a view."""
    spots = (slice(*clipped(geometry, axis, windows)) for axis, windows in enumerate(region[1:]))
    return x[(slice(*region[0]), *spots)]


def reduced(
    work: BufferedWorkspace, function: np.ufunc, x: Array, geometry: Geometry, region: Region, fill: Any, dtype: Any,
    out: Array | None = None, sizes: bool = False,
) -> tuple[Array, list[Taps], list[Array]]:  # fmt: skip
    """Combine the taps of a region's windows, in `out` if there is one; give the taps and results of each axis too.

    With `sizes` the absolute values of the taps.
    """
    array, stages, results = pixels_of(x, geometry, region), [], []
    for axis, windows in enumerate(region[1:]):
        taps = Taps(array, geometry, axis, windows)
        taps.sort(work, f"taps {axis}")
        place, first = (out if axis == geometry.rank - 1 else None), sizes and axis == 0
        array = combine(at_once, work, function, taps, f"reduced {axis}", fill, dtype, place, first)
        stages.append(taps)
        results.append(array)
    return array, stages, results


def number_dtype(geometry: Geometry) -> Any:
    """Give the dtype that numbers a window's taps, its greatest value free to say that there is none."""
    if not every_window_has_taps(geometry):
        return np.dtype(np.uint64)
    return np.min_scalar_type(geometry.taps)


def first_maxima(
    work: BufferedWorkspace, stages: list[Taps], results: list[Array], dtype: Any, careful: bool
) -> list[Array]:
    """Give the number of each window's first maximum, or first NaN if `careful`, after each axis in turn.

    Taps are numbered in row-major order; a number beyond them says that none is inside. Axis after axis, the least
    number wins among the taps that are the maximum.
    """
    numbers: list[Array] = []
    for taps, best in zip(stages, results, strict=True):
        number = work.buffer(f"number {taps.axis}", best.shape, dtype)
        before: Taps | None = None
        if numbers:
            scaled = work.buffer("scaled", numbers[-1].shape, dtype)
            np.multiply(numbers[-1], dtype.type(taps.kernel), out=scaled)
            before = taps.beside(work, f"numbers {taps.axis}", scaled)
        if not taps.line.full:
            number.fill(np.iinfo(dtype).max if dtype.itemsize < 8 else NOWHERE)
        for index, tap in enumerate(taps.line.taps):
            below = None if before is None else before(tap)
            started = index or not taps.line.full
            rival = work.buffer("rival", taps.own(best, tap).shape, dtype) if started else number
            _rank(work, rival, taps(tap), taps.own(best, tap), tap.number, below, careful)
            if started:
                own = taps.own(number, tap)
                np.minimum(own, rival, out=own)
        numbers.append(number)
    return numbers


def _rank(
    work: BufferedWorkspace, rival: Array, pixels: Array, best: Array, tap: int, below: Array | None, careful: bool
) -> None:
    """Write a tap's number where it is the maximum, and all bits where it is not."""
    dtype = rival.dtype
    boolean = np.dtype(np.bool_)
    miss = rival.view(boolean) if dtype.itemsize == 1 else work.buffer("miss", pixels.shape, boolean)
    np.not_equal(pixels, best, out=miss)
    if careful:
        plain = work.buffer("plain", pixels.shape, boolean)
        np.logical_and(miss, np.equal(pixels, pixels, out=plain), out=miss)
    np.negative(miss.view(np.uint8), out=rival, dtype=dtype)
    if tap:
        below = (
            dtype.type(tap)
            if below is None
            else np.add(below, dtype.type(tap), out=work.buffer("own", below.shape, dtype))
        )
    if below is not None:
        np.bitwise_or(rival, below, out=rival)


def last_digit(work: BufferedWorkspace, number: Array, kernel: int) -> tuple[Array, Array]:
    """Split numbers into the tap of the last axis, of `kernel` taps, and the number of those of the axes before."""
    factor = number.dtype.type(kernel)
    higher = work.buffer("higher", number.shape, number.dtype)
    digit = work.buffer("digit", number.shape, number.dtype)
    np.floor_divide(number, factor, out=higher)
    np.subtract(number, np.multiply(higher, factor, out=digit), out=digit)
    return digit, higher


def plane_places(work: BufferedWorkspace, number: Array, geometry: Geometry, region: Region) -> Array:
    """Turn the numbers of taps into places in the plane, flat; -1 where there is none."""
    place, term = (work.buffer(name, number.shape, np.dtype(np.intp)) for name in ("place", "term"))
    lost = number >= geometry.taps if number.dtype.itemsize == 8 else None
    place.fill(0)
    step = 1
    for axis in reversed(range(geometry.rank)):
        digit, higher = last_digit(work, number, geometry.kernel[axis])
        np.multiply(digit, geometry.dilation[axis] * step, out=term, dtype=term.dtype, casting="unsafe")
        np.add(place, term, out=place)
        first = np.arange(*region[axis + 1]) * geometry.stride[axis] - geometry.padding[axis][0]
        np.add(place, first.reshape((-1,) + (1,) * (geometry.rank - axis)) * step, out=place)
        number = work.buffer("rest", number.shape, number.dtype)
        np.copyto(number, higher)
        step *= geometry.input[axis]
    if lost is not None:
        place[lost] = -1
    return place


def divisor(geometry: Geometry, region: Region, padded: bool, dtype: Any) -> Any:
    """Give what an average divides by: a number, or one for each window, to broadcast."""
    total: Any = None
    for axis, windows in enumerate(region[1:]):
        (before, after), size = geometry.padding[axis], geometry.input[axis]
        low, high = (-before, size + after) if padded else (0, size)
        spread, kernel = geometry.dilation[axis], geometry.kernel[axis]
        left, right = geometry.reach(axis, *windows)
        if left >= low and right <= high:
            count = np.full(1, kernel)
        else:
            starts = np.arange(*windows) * geometry.stride[axis] - before
            first = np.maximum(-((starts - low) // spread), 0)
            last = np.minimum((high - 1 - starts) // spread, kernel - 1)
            count = np.maximum(last - first + 1, 0)
        shape = (1,) * (axis + 1) + (len(count),) + (1,) * (geometry.rank - axis)
        total = count.reshape(shape) if total is None else total * count.reshape(shape)
    if total.size == 1:
        return dtype.type(max(int(total.reshape(-1)[0]), 1))
    return np.maximum(total, 1).astype(dtype)
