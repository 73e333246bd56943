"""Which pixel of each window is the maximum, on one tile of NumPy arrays: of equal ones the first, or the first NaN."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._pooling.reduce import Rule, Runs, Taps, pixels_of, reduced, shape_along
from xpconv._pooling.sweep import Footprint
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Region
from xpconv._work.buffered import BufferedWorkspace

Array = np.ndarray[Any, Any]

NOWHERE = 1 << 31  # at least the number of no tap, where windows without taps inside are numbered


def has_nan(work: BufferedWorkspace, values: Array) -> bool:
    """Say whether any value is not equal to itself."""
    found = work.buffer("nan", values.shape, np.dtype(np.bool_))
    return bool(np.not_equal(values, values, out=found).any())


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


@lru_cache(maxsize=1024)
def finding(windows: Windows, size: int, beside: int = 0) -> tuple[Footprint, int]:
    """Count what finding first maxima among pixels of so many bytes needs, and reads in place.

    And so many bytes beside it for each window.
    """
    if not windows.strided:
        return Footprint(pixels=1, stages=size + 8, scratch=2 * size + 10, results=beside, last_first=True), 0
    wide = number_dtype(windows).itemsize
    scratch, results = 2 + 2 * wide + size, 32 + 4 * wide + beside
    return Footprint(stages=size + wide, sorted=size + wide, scratch=scratch, results=results), size


def number_dtype(windows: Windows) -> Any:
    """Give the dtype that numbers a window's taps, its greatest value free to say that there is none."""
    if not all(line.full or line.lengths((0, line.count), False).all() for line in windows.lines):
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
        for index, tap in enumerate(taps.reading.taps()):
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
        line = windows.cut[axis]
        runs = Runs(array, line, axis, region[1 + axis])
        low = line.reach(runs.windows)[0]
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
