"""One axis of a pooling: what its windows read, and which windows read a pixel. Sizes only.

Windows lie at a stride (`Strided`) or cut the axis into parts (`Parts`, the windows of adaptive pooling). A range of
windows may go beyond the last one, for libraries whose arrays are padded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from xpconv._shapes.geometry import Interval

Numbers = np.ndarray[Any, Any]  # of integers

SHORT = 32  # taps of windows whose readings are kept
KEPT = 128  # ranges of windows whose runs are kept, and the windows in one


@dataclass(frozen=True)
class Tap:
    """One tap of a range of windows: which of them have it inside, and where it lies in the box of pixels."""

    number: int
    windows: slice  # counted from the first of the range
    whole: bool  # all of the range have it
    pixels: slice  # of the box
    sorted: slice  # of the box's pixels, sorted by residue


class Reading:
    """The taps of a range of windows along one axis; those of long windows are made when they are asked for."""

    def __init__(self, line: Strided, windows: Interval) -> None:
        self.line, self.windows, self.pixels = line, windows, line.pixels(windows)  # the box: inside, at least one
        self.full = line.full  # a tap lies inside for every window of the axis

    def tap(self, number: int) -> Tap | None:
        """Give a tap if it lies inside for any window."""
        line, (start, stop), (low, high) = self.line, self.windows, self.pixels
        step, offset = line.stride, number * line.dilation - line.before
        first = max(-(offset // step), start)
        count = min((line.size - 1 - offset) // step + 1, stop) - first
        if count <= 0:
            return None
        place = first * step + offset - low
        share, longer = divmod(high - low, step)  # pixels of a residue, and the residues that have one more
        residue = place % step
        rank = residue * share + min(residue, longer) + place // step
        own = slice(first - start, first - start + count)
        pixels = slice(place, place + (count - 1) * step + 1, step)
        return Tap(number, own, count == stop - start, pixels, slice(rank, rank + count))

    def in_order(self) -> Iterable[Tap]:
        """Give the taps in order."""
        return self._noted if self.line.kernel <= SHORT else self._made()

    def taps(self) -> Iterable[Tap]:
        """Give the taps in order, but the least one that lies inside for every window first."""
        return self._noted_ahead if self.line.kernel <= SHORT else self._ahead()

    @cached_property
    def _noted(self) -> tuple[Tap, ...]:
        return tuple(self._made())

    @cached_property
    def _noted_ahead(self) -> tuple[Tap, ...]:
        return tuple(self._ahead())

    def _made(self) -> Iterator[Tap]:
        return filter(None, map(self.tap, range(self.line.kernel)))

    def _ahead(self) -> Iterator[Tap]:
        least = self.line.least if self.full else -1
        ahead = self.tap(least) if self.full else None
        if ahead is not None:
            yield ahead
        yield from (tap for tap in self.in_order() if tap.number != least)

    @cached_property
    def last(self) -> int:
        """The number of the last tap that lies inside for any window."""
        return next(number for number in reversed(range(self.line.kernel)) if self.tap(number))

    @cached_property
    def form(self) -> tuple[Any, ...]:
        """What is the same for ranges of windows that differ in their place only."""
        taps = ((t.number, t.windows.start, t.windows.stop, t.sorted.start) for t in self.taps())
        return self.pixels[1] - self.pixels[0], self.windows[1] - self.windows[0], *taps


@dataclass(frozen=True)
class Pick:
    """One source for each of a range of neighbouring places along an axis."""

    index: Any  # a slice, or an array of integers
    there: Any = None  # which places have it; None: all
    tap: int = 0


@dataclass(frozen=True)
class Strided:
    """Tap k of window o is pixel ``o * stride + k * dilation - before``; what lies outside the image is padding.

    A gradient is cut by units of `stride` pixels, which are taken by their residue.
    """

    size: int  # pixels
    count: int  # windows
    kernel: int  # taps of the longest window
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    inner: bool = False  # the last axis of the image
    # the tap that is combined first, or -1 for none, where that is known: it is that of the larger image that this is
    # an axis of a part of
    leads: int | None = None

    @property
    def span(self) -> int:
        """The pixels from the first tap of a window to the last."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def units(self) -> int:
        """The units of pixels."""
        return -(-self.size // self.stride)

    def reach(self, windows: Interval) -> Interval:
        """Give the pixels from the first tap of a range of windows to the last, padding included."""
        first = windows[0] * self.stride - self.before
        return first, first + (windows[1] - windows[0] - 1) * self.stride + self.span

    def pixels(self, windows: Interval) -> Interval:
        """Give the pixels of the image that a range of windows reads, at least one."""
        if self.inner and windows[1] - windows[0] == self.count:  # a whole row, which lies in one piece
            return 0, self.size
        start, stop = self.reach(windows)
        low = min(max(start, 0), self.size - 1)
        return low, max(min(stop, self.size), low + 1)

    def most_pixels(self, windows: int) -> int:
        """Count the pixels that so many neighbouring windows read at most."""
        return self.size if windows == self.count else min(self.size, (windows - 1) * self.stride + self.span)

    def readers(self, units: Interval) -> Interval:
        """Give the windows that may read any pixel of a range of units, some beyond the ends of the output."""
        first = -(-(units[0] * self.stride + self.before - self.span + 1) // self.stride)
        last = (units[1] * self.stride - 1 + self.before) // self.stride
        return first, max(last, first) + 1

    def most_readers(self, units: int) -> int:
        """Count the windows that read any pixel of so many neighbouring units at most."""
        return min(self.count, -(-(units * self.stride + self.span) // self.stride) + 1)

    def starts(self, windows: Interval) -> Numbers:
        """Give the pixel that is the first tap of each of a range of windows; it may lie before the image."""
        return np.arange(*windows, dtype=np.int64) * self.stride - self.before

    def lengths(self, windows: Interval, padded: bool) -> Numbers:
        """Count the taps inside the image, or its padding too, of each of a range of windows, or once for all."""
        low, high = (-self.before, self.size + self.after) if padded else (0, self.size)
        left, right = self.reach(windows)
        if left >= low and right <= high:
            return np.full(1, self.kernel)
        starts = self.starts(windows)
        first = np.maximum(-((starts - low) // self.dilation), 0)
        last = np.minimum((high - 1 - starts) // self.dilation, self.kernel - 1)
        found: Numbers = np.maximum(last - first + 1, 0)
        return found

    def taps(self, windows: Interval) -> Iterator[Pick]:
        """Give for each tap the pixel of each of a range of windows, counted from the first that they reach."""
        beyond = (windows[1] - windows[0] - 1) * self.stride + 1
        for tap in range(self.kernel):
            place = tap * self.dilation
            yield Pick(slice(place, place + beyond, self.stride), tap=tap)

    def readings(self, residue: int, units: Interval, first: int) -> Iterator[Pick]:
        """Give the windows in turn, counted from `first`, that read each pixel of a residue in a range of units."""
        for tap in reversed(self.meeting(residue)):
            shift = (residue + self.before - tap * self.dilation) // self.stride - first
            yield Pick(slice(units[0] + shift, units[1] + shift), tap=tap)

    def meeting(self, residue: int) -> range:
        """Give the taps that meet the pixels of a residue."""
        common, ahead = math.gcd(self.stride, self.dilation), residue + self.before
        if ahead % common:
            return range(0)
        step = self.stride // common  # from one such tap to the next
        return range(ahead // common * pow(self.dilation // common, -1, step) % step, self.kernel, step)

    @property
    def reads_all(self) -> bool:
        """Whether no pixel lies between two windows, or behind the last."""
        return self.stride <= self.span and self.reach((0, self.count))[1] >= self.size

    @property
    def least(self) -> int:
        """The first tap that the first window has inside the image."""
        return -(-self.before // self.dilation) if self.leads is None else self.leads

    @property
    def full(self) -> bool:
        """Whether a tap lies inside for every window: the least one, if the last window has it inside too."""
        if self.leads is not None:
            return self.leads >= 0
        last = (self.size - 1 - (self.count - 1) * self.stride + self.before) // self.dilation
        return self.least <= min(last, self.kernel - 1)

    def reading(self, windows: Interval) -> Reading:
        """Give the taps of a range of windows."""
        return (_kept_reading if self.kernel <= SHORT else Reading)(self, windows)


_kept_reading = lru_cache(maxsize=1024)(Reading)


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring windows that read the same pixels; again and again at equal distances."""

    window: int  # the first
    windows: int
    pixel: int  # the first
    pixels: int
    times: int


@dataclass(frozen=True)
class Parts(Strided):
    """Window o of an axis of n pixels cut into m reads pixels ``floor(o n / m)`` to ``ceil((o + 1) n / m) - 1``.

    Windows have up to two lengths, and neighbours may share a pixel. Everything repeats: with g = gcd(n, m), window
    o + m / g reads what window o does, n / g pixels further on.
    """

    @staticmethod
    def of(size: int, count: int) -> Parts:
        """Cut so many pixels into so many windows."""
        common = math.gcd(size, count)
        pixels, windows = size // common, count // common
        return Parts(size, count, pixels if windows == 1 else (pixels - 2) // windows + 2)

    @property
    def turned(self) -> Parts:
        """The axis seen from its pixels: they are read by windows just as windows read them."""
        return Parts.of(self.count, self.size)

    @property
    def period(self) -> Interval:
        """The windows, and the pixels, after which all repeats."""
        common = math.gcd(self.size, self.count)
        return self.count // common, self.size // common

    def reach(self, windows: Interval) -> Interval:
        return windows[0] * self.size // self.count, -(-windows[1] * self.size // self.count)

    def pixels(self, windows: Interval) -> Interval:
        return self.reach(windows)

    def most_pixels(self, windows: int) -> int:
        return min(-(-windows * self.size // self.count) + 2, self.size)  # rounded outwards at both ends

    def readers(self, units: Interval) -> Interval:
        return self.turned.reach(units)

    def most_readers(self, units: int) -> int:
        return self.turned.most_pixels(units)

    def starts(self, windows: Interval) -> Numbers:
        return np.arange(*windows, dtype=np.int64) * self.size // self.count

    def lengths(self, windows: Interval, padded: bool) -> Numbers:
        ends = -(-np.arange(windows[0] + 1, windows[1] + 1, dtype=np.int64) * self.size // self.count)
        found: Numbers = ends - self.starts(windows)
        return found

    def taps(self, windows: Interval) -> Iterator[Pick]:
        """Give each tap in turn; a window that has no more of them reads its last pixel again."""
        starts, lengths = self.starts(windows), self.lengths(windows, False)
        for tap in range(int(lengths.max())):
            those = tap < lengths
            yield Pick(starts - starts[0] + np.minimum(tap, lengths - 1), None if those.all() else those, tap)

    def readings(self, residue: int, units: Interval, first: int) -> Iterator[Pick]:
        return self.turned.taps(units)

    def runs(self, windows: Interval) -> tuple[Run, ...]:
        """Say what a range of windows reads, both counted from the first of the range."""
        return (_kept_runs if windows[1] - windows[0] <= KEPT else _runs)(self, windows)


def _runs(line: Parts, windows: Interval) -> tuple[Run, ...]:
    (start, stop), low, step = windows, line.reach(windows)[0], line.period[0]
    found: list[Run] = []
    for window in range(start, min(start + step, stop)):
        first, end = line.reach((window, window + 1))
        own = Run(window - start, 1, first - low, end - first, len(range(window, stop, step)))
        last = found[-1] if found else None
        if last is not None and (last.pixel, last.pixels, last.times) == (own.pixel, own.pixels, own.times):
            found[-1] = replace(last, windows=last.windows + 1)
        else:
            found.append(own)
    return tuple(found)


_kept_runs = lru_cache(maxsize=KEPT)(_runs)
