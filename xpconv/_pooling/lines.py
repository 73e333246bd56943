"""One axis of a pooling: what its windows read, and which windows read a pixel. Sizes only, in Python integers.

Windows lie at a stride (`Strided`) or cut the axis into parts (`Parts`, the windows of adaptive pooling).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from xpconv._shapes.geometry import Geometry, Interval, Ints, Region

Numbers = np.ndarray[Any, Any]  # of integers

SHORT = 32  # taps of windows whose readings are kept
KEPT = 128  # ranges of places whose runs are kept, and the places in one


@dataclass(frozen=True)
class Pick:
    """One source for each of a range of neighbouring places along an axis."""

    index: Any  # a slice, or an array of integers
    there: Any = None  # which places have it; None: all
    tap: int = 0


class Line(ABC):
    """One axis. A region of windows may lie beyond the last one, where a library's arrays are padded."""

    size: int  # pixels
    count: int  # windows
    kernel: int  # taps of the longest window

    @property
    @abstractmethod
    def unit(self) -> int:
        """The pixels that a gradient is cut by, which are taken by their residue."""

    @abstractmethod
    def pixels(self, windows: Interval) -> Interval:
        """Give the pixels of the image that a range of windows reads, at least one."""

    @abstractmethod
    def readers(self, units: Interval) -> Interval:
        """Give the windows that may read any pixel of a range of units, some beyond the ends of the output."""

    @abstractmethod
    def most_pixels(self, windows: int) -> int:
        """Count the pixels that so many neighbouring windows read at most."""

    @abstractmethod
    def most_readers(self, units: int) -> int:
        """Count the windows that read any pixel of so many neighbouring units at most."""

    @abstractmethod
    def starts(self, windows: Interval) -> Numbers:
        """Give the pixel that is the first tap of each of a range of windows; it may lie before the image."""

    @abstractmethod
    def lengths(self, windows: Interval, padded: bool) -> Numbers:
        """Count the taps inside the image, or its padding too, of each of a range of windows, or once for all."""

    @abstractmethod
    def reach(self, windows: Interval) -> Interval:
        """Give the pixels from the first tap of a range of windows to the last, padding included."""

    @abstractmethod
    def taps(self, windows: Interval) -> Iterator[Pick]:
        """Give for each tap the pixel of each of a range of windows, counted from the first that they reach."""

    @abstractmethod
    def readings(self, residue: int, units: Interval, first: int) -> Iterator[Pick]:
        """Give the windows in turn, counted from `first`, that read each pixel of a residue in a range of units."""

    def units(self) -> int:
        """Count the units that the axis is cut into."""
        return -(-self.size // self.unit)

    def inside(self, windows: Interval) -> bool:
        """Say whether every tap of a range of windows lies inside the image."""
        low, high = self.reach(windows)
        return low >= 0 and high <= self.size


# --- at a stride ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tap:
    """One tap of a range of windows: which of them have it inside, and where it lies in the box of pixels."""

    number: int
    windows: slice  # counted from the first of the range
    whole: bool  # all of the range have it
    pixels: slice  # of the box
    sorted: slice  # of the box's pixels, sorted by residue


@dataclass(frozen=True)
class Reading:
    """The taps of a range of windows along one axis."""

    pixels: Interval  # the box: what lies inside the image, at least one
    full: bool  # a tap lies inside for every window of the axis
    taps: tuple[Tap, ...]  # in order, but with one that lies inside for every window first
    windows: int

    @cached_property
    def form(self) -> tuple[Any, ...]:
        """What is the same for ranges of windows that differ in their place only."""
        taps = ((t.number, t.windows.start, t.windows.stop, t.sorted.start) for t in self.taps)
        return self.pixels[1] - self.pixels[0], self.windows, *taps

    @property
    def in_order(self) -> list[Tap]:
        """The taps in order."""
        return sorted(self.taps, key=lambda tap: tap.number)


@dataclass(frozen=True)
class Strided(Line):
    """Tap k of window o is pixel ``o * stride + k * dilation - before``; what lies outside the image is padding."""

    size: int
    count: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    inner: bool  # the last axis of the image

    @property
    def unit(self) -> int:
        return self.stride

    @property
    def span(self) -> int:
        """The pixels from the first tap of a window to the last."""
        return self.dilation * (self.kernel - 1) + 1

    def pixels(self, windows: Interval) -> Interval:
        if self.inner and windows[1] - windows[0] == self.count:  # a whole row, which lies in one piece
            return 0, self.size
        start, stop = self.reach(windows)
        low = min(max(start, 0), self.size - 1)
        return low, max(min(stop, self.size), low + 1)

    def most_pixels(self, windows: int) -> int:
        return self.size if windows == self.count else min(self.size, (windows - 1) * self.stride + self.span)

    def most_readers(self, units: int) -> int:
        return min(self.count, -(-(units * self.stride + self.span) // self.stride) + 1)

    def starts(self, windows: Interval) -> Numbers:
        return np.arange(*windows, dtype=np.int64) * self.stride - self.before

    def lengths(self, windows: Interval, padded: bool) -> Numbers:
        low, high = (-self.before, self.size + self.after) if padded else (0, self.size)
        left, right = self.reach(windows)
        if left >= low and right <= high:
            return np.full(1, self.kernel)
        starts = self.starts(windows)
        first = np.maximum(-((starts - low) // self.dilation), 0)
        last = np.minimum((high - 1 - starts) // self.dilation, self.kernel - 1)
        found: Numbers = np.maximum(last - first + 1, 0)
        return found

    def reach(self, windows: Interval) -> Interval:
        first = windows[0] * self.stride - self.before
        return first, first + (windows[1] - windows[0] - 1) * self.stride + self.span

    def readers(self, units: Interval) -> Interval:
        first = -(-(units[0] * self.stride + self.before - self.span + 1) // self.stride)
        last = (units[1] * self.stride - 1 + self.before) // self.stride
        return first, max(last, first) + 1

    def taps(self, windows: Interval) -> Iterator[Pick]:
        beyond = (windows[1] - windows[0] - 1) * self.stride + 1
        for tap in range(self.kernel):
            place = tap * self.dilation
            yield Pick(slice(place, place + beyond, self.stride), tap=tap)

    def readings(self, residue: int, units: Interval, first: int) -> Iterator[Pick]:
        for tap, window in reversed(self.readers_of(residue)):
            shift = window - first
            yield Pick(slice(units[0] + shift, units[1] + shift), tap=tap)

    def readers_of(self, residue: int) -> list[tuple[int, int]]:
        """Give each tap that meets the pixels of a residue, and the window in which their first one is that tap."""
        common = math.gcd(self.stride, self.dilation)
        away, rest = divmod(residue + self.before, common)
        if rest:
            return []
        step = self.stride // common  # from one such tap to the next
        least = away * pow(self.dilation // common, -1, step) % step
        ahead = residue + self.before
        return [(tap, (ahead - tap * self.dilation) // self.stride) for tap in range(least, self.kernel, step)]

    @property
    def reads_all(self) -> bool:
        """Whether no pixel lies between two windows, or behind the last."""
        return self.stride <= self.span and self.reach((0, self.count))[1] >= self.size

    @property
    def least(self) -> int:
        """The first tap that the first window has inside the image."""
        return -(-self.before // self.dilation)

    @property
    def full(self) -> bool:
        """Whether a tap lies inside for every window: the least one, if the last window has it inside too."""
        last = (self.size - 1 - (self.count - 1) * self.stride + self.before) // self.dilation
        return self.least <= min(last, self.kernel - 1)

    def reading(self, windows: Interval) -> Reading:
        """Give the taps of a range of windows."""
        return (_kept_reading if self.kernel <= SHORT else _reading)(self, windows)


def _reading(line: Strided, windows: Interval) -> Reading:
    (start, stop), step, (low, high) = windows, line.stride, line.pixels(windows)
    share, longer = divmod(high - low, step)  # pixels of a residue, and the residues that have one more
    taps = []
    for tap in range(line.kernel):
        offset = tap * line.dilation - line.before
        first = max(-(offset // step), start)
        count = min((line.size - 1 - offset) // step + 1, stop) - first
        if count <= 0:
            continue
        place = first * step + offset - low
        pixels = slice(place, place + (count - 1) * step + 1, step)
        residue = place % step
        rank = residue * share + min(residue, longer) + place // step
        own = slice(first - start, first - start + count)
        taps.append(Tap(tap, own, count == stop - start, pixels, slice(rank, rank + count)))
    if line.full:
        taps.sort(key=lambda tap: tap.number != line.least)
    return Reading((low, high), line.full, tuple(taps), stop - start)


_kept_reading = lru_cache(maxsize=1024)(_reading)


# --- parts of an axis -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbours, along one axis of a result, that are made of the same sources; again and again at equal distances."""

    place: int  # of the first
    length: int
    source: int  # the first
    sources: int
    times: int


@dataclass(frozen=True)
class Parts(Line):
    """Window o of an axis of n pixels cut into m reads pixels ``floor(o n / m)`` to ``ceil((o + 1) n / m) - 1``.

    Windows have up to two lengths, and neighbours may share a pixel. Everything repeats: with g = gcd(n, m), window
    o + m / g reads what window o does, n / g pixels further on.
    """

    size: int
    count: int

    @property
    def unit(self) -> int:
        return 1

    @property
    def turned(self) -> Parts:
        """The axis seen from its pixels: they are read by windows just as windows read them."""
        return Parts(self.count, self.size)

    @property
    def period(self) -> tuple[int, int]:
        """The windows, and the pixels, after which all repeats."""
        common = math.gcd(self.size, self.count)
        return self.count // common, self.size // common

    @property
    def kernel(self) -> int:  # type: ignore[override]
        windows, pixels = self.period
        return pixels if windows == 1 else (pixels - 2) // windows + 2

    def ranges(self, windows: Interval) -> tuple[Numbers, Numbers]:
        """Give the first pixel of each of a range of windows, and the pixel after its last."""
        numbers = np.arange(*windows, dtype=np.int64)
        return numbers * self.size // self.count, -(-(numbers + 1) * self.size // self.count)

    def pixels(self, windows: Interval) -> Interval:
        return windows[0] * self.size // self.count, -(-windows[1] * self.size // self.count)

    def readers(self, units: Interval) -> Interval:
        return self.turned.pixels(units)

    def most_pixels(self, windows: int) -> int:
        return min(-(-windows * self.size // self.count) + 2, self.size)  # rounded outwards at both ends

    def most_readers(self, units: int) -> int:
        return self.turned.most_pixels(units)

    def starts(self, windows: Interval) -> Numbers:
        return self.ranges(windows)[0]

    def lengths(self, windows: Interval, padded: bool) -> Numbers:
        first, end = self.ranges(windows)
        return end - first

    def reach(self, windows: Interval) -> Interval:
        return self.pixels(windows)

    def taps(self, windows: Interval) -> Iterator[Pick]:
        """Give each tap in turn; a window that has no more of them reads its last pixel again."""
        first, end = self.ranges(windows)
        lengths, starts = end - first, first - first[0]
        for tap in range(int(lengths.max())):
            those = tap < lengths
            yield Pick(starts + np.minimum(tap, lengths - 1), None if those.all() else those, tap)

    def readings(self, residue: int, units: Interval, first: int) -> Iterator[Pick]:
        yield from self.turned.taps(units)

    def runs(self, windows: Interval) -> tuple[Run, ...]:
        """Say of what a range of windows is made, both counted from the first of the range."""
        return (_kept_runs if windows[1] - windows[0] <= KEPT else _runs)(self, windows)


def _runs(line: Parts, windows: Interval) -> tuple[Run, ...]:
    (start, stop), low = windows, line.pixels(windows)[0]
    found: list[Run] = []
    step = line.period[0]
    for window in range(start, min(start + step, stop)):
        first, end = line.pixels((window, window + 1))
        times = len(range(window, stop, step))
        last = found[-1] if found else None
        if last is not None and (last.source, last.sources, last.times) == (first - low, end - first, times):
            found[-1] = Run(last.place, last.length + 1, last.source, last.sources, times)
        else:
            found.append(Run(window - start, 1, first - low, end - first, times))
    return tuple(found)


_kept_runs = lru_cache(maxsize=KEPT)(_runs)


# --- all axes -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Windows:
    """The windows of a pooling on all its axes."""

    batch: int
    channels: int
    lines: tuple[Line, ...]

    @staticmethod
    def of(geometry: Geometry) -> Windows:
        """Give the windows of a geometry."""
        sizes = geometry.input, geometry.output, geometry.kernel, geometry.stride, geometry.dilation, geometry.padding
        last = geometry.rank - 1
        lines = (
            Strided(n, o, k, s, d, before, after, axis == last)
            for axis, (n, o, k, s, d, (before, after)) in enumerate(zip(*sizes, strict=True))
        )
        return Windows(geometry.batch, geometry.channels, tuple(lines))

    @staticmethod
    def parts(images: Ints, output: Ints) -> Windows:
        """Cut the axes of images (N, *spatial, C) into so many windows; they lie at a stride if all are cut evenly."""
        axes, last = list(zip(images[1:-1], output, strict=True)), len(output) - 1
        if any(n % m for n, m in axes):
            return Windows(images[0], images[-1], tuple(Parts(n, m) for n, m in axes))
        lines = (Strided(n, m, n // m, n // m, 1, 0, 0, axis == last) for axis, (n, m) in enumerate(axes))
        return Windows(images[0], images[-1], tuple(lines))

    @cached_property
    def strided(self) -> bool:
        """Whether windows lie at a stride; if not, they are parts of the axes."""
        return isinstance(self.lines[0], Strided)

    @property
    def turned(self) -> Windows:
        """Parts, seen from the pixels."""
        return replace(self, lines=tuple(line.turned for line in self.lines if isinstance(line, Parts)))

    @cached_property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.lines)

    @property
    def input(self) -> Ints:
        """The spatial sizes of the images."""
        return tuple(line.size for line in self.lines)

    @property
    def output(self) -> Ints:
        """The spatial sizes of the result."""
        return tuple(line.count for line in self.lines)

    @property
    def input_shape(self) -> Ints:
        """The whole shape of the images, channels last."""
        return (self.batch, *self.input, self.channels)

    @property
    def output_shape(self) -> Ints:
        """The whole shape of the result, channels last."""
        return (self.batch, *self.output, self.channels)

    @property
    def taps(self) -> int:
        """The taps of the longest window."""
        return math.prod(line.kernel for line in self.lines)

    @property
    def elements(self) -> int:
        """The elements of the result."""
        return math.prod(self.output_shape)

    @property
    def units(self) -> Ints:
        """The units of pixels that the axes are cut into."""
        return tuple(line.units() for line in self.lines)

    def with_channels(self, channels: int, batch: int | None = None) -> Windows:
        """Give the same windows of so many channels, and images."""
        return replace(self, channels=channels, batch=self.batch if batch is None else batch)

    def inside(self, region: Region) -> bool:
        """Say whether every tap of a region's windows lies inside the image."""
        return all(line.inside(windows) for line, windows in zip(self.lines, region[1:], strict=True))

    def pixels(self, region: Region) -> Region:
        """Give the images and the pixels that a region of windows reads, at least one along each axis."""
        return (region[0], *(line.pixels(windows) for line, windows in zip(self.lines, region[1:], strict=True)))

    def readers(self, region: Region) -> Region:
        """Give the images and the windows that may read a region of units, some beyond the ends of the output."""
        return (region[0], *(line.readers(units) for line, units in zip(self.lines, region[1:], strict=True)))

    def box(self, region: Region) -> Region:
        """Give the images and the pixels of a region of units."""
        axes = zip(self.lines, region[1:], strict=True)
        return (region[0], *((a * line.unit, min(b * line.unit, line.size)) for line, (a, b) in axes))

    def within(self, region: Region) -> Region:
        """Cut a region of windows at the ends of the output."""
        axes = zip(self.lines, region[1:], strict=True)
        return (region[0], *((max(low, 0), min(high, line.count)) for line, (low, high) in axes))
