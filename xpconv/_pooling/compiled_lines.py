"""The gradient of max pooling in compiled loops along one axis after another: three axes, and long windows.

First maxima are found from the last axis to the first, and gradients go back from the first to the last, as NumPy's
calls do it (`spread`), with the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._pooling import compiled
from xpconv._pooling.lines import Strided, Tap
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Interval, Ints, Region
from xpconv._work.buffered import BufferedWorkspace

Array = np.ndarray[Any, Any]
Kernel = Callable[..., None]

SHORT, LONG = 16, 32  # taps that loops over rows serve as well; from which a cost that does not grow with them pays
NUMBERS = np.dtype(np.int32)


class Lines:
    """The gradient for windows of one call."""

    name = "first along"

    def __init__(self, windows: Windows, dtype: Any, held: bool) -> None:
        self.windows, self.dtype, self.held = windows, dtype, held
        names = ("first along", "long first along", "give along", "gather along")
        self.first, self.long_first, self.give, self.gather = (build.get(name, build.NAMES[dtype]) for name in names)

    @staticmethod
    def of(call: Call, windows: Windows, held: bool, *arrays: Array) -> Lines | None:
        """Give the loops if they serve the arrays (images, gradients, result) and are to be taken.

        If `held`, gradients are added to what the result holds one by one, otherwise those of a tile together.
        """
        if call.layout != "channels_last" or windows.channels < compiled.LEAST:
            return None
        if windows.rank < 3 and all(line.kernel <= SHORT for line in windows.lines):
            return None
        if max(windows.input) >= 1 << 31 or not compiled.serves(Lines.name, call, windows, *arrays):
            return None
        return Lines(windows, arrays[0].dtype, held)

    def shapes(self, rows: int, count: int) -> list[Ints]:
        """Give the shapes of a tile's arrays, the pixels' and that of the maxima of each axis, the last axis first."""
        shape = [rows, *self.windows.input[1:], self.windows.channels]
        found = [tuple(shape)]
        for axis in reversed(range(self.windows.rank)):
            shape[axis] = self.windows.output[axis] if axis else count
            found.append(tuple(shape))
        return found

    def needs(self, tile: Ints) -> int:
        """Count the bytes of work arrays that the gradient of a tile of windows (n, *sizes) takes."""
        count, size = tile[1], int(self.dtype.itemsize)
        shapes = self.shapes(self.windows.lines[0].most_pixels(count), count)
        # maxima and their taps, gradients on their way, and what long windows keep
        total = sum(math.prod(shape) for shape in shapes) * (2 * size + NUMBERS.itemsize)
        for axis, line in enumerate(self.windows.lines):
            if _is_long(line):
                inner = math.prod(shapes[self.windows.rank - 1 - axis][axis + 1 :])
                total += (line.kernel + 1) * inner * (size + NUMBERS.itemsize)
        return total

    def gradient(self, work: BufferedWorkspace, region: Region, x: Array, dy: Array, dx: Array, written: int) -> None:
        """(N, *I, C), (N, *O, C) -> dx (N, *I, C): add the gradient of a region's windows to what is written.

        The first `written` rows that they reach hold sums to add to, the others nothing.
        """
        rows = slice(*self.windows.lines[0].pixels(region[1]))
        for n in range(*region[0]):
            pixels, target = x[n, rows], dx[n, rows]
            found = self._find(work, pixels, region[1])
            if self.held or not written:
                self._give_back(work, dy[n, slice(*region[1])], found, target, region[1])
                continue
            home = work.buffer("home", target.shape, self.dtype)
            self._give_back(work, dy[n, slice(*region[1])], found, home, region[1])
            np.add(target[:written], home[:written], out=target[:written])
            target[written:] = home[written:]

    def _find(self, work: BufferedWorkspace, pixels: Array, windows: Interval) -> list[Array]:
        """Find the taps that are the first maxima, of the first axis first."""
        found: list[Array] = []
        for axis in reversed(range(self.windows.rank)):
            line, range_of = self._axis(axis, windows)
            shape = [*pixels.shape[:axis], range_of[1] - range_of[0], *pixels.shape[axis + 1 :]]
            best, taps = work.buffer(f"best {axis}", shape, self.dtype), work.buffer(f"taps {axis}", shape, NUMBERS)
            arrays = [three(array, axis) for array in (pixels, best, taps)]
            place = axis_place(line, range_of)
            if _is_long(line):
                kept = line.kernel + 1, arrays[0].shape[-1]
                values, spots = work.buffer("values", kept, self.dtype), work.buffer("spots", kept, NUMBERS)
                self.long_first(*arrays, place, values, spots)
            else:
                self.first(*arrays, place)
            pixels = best
            found.insert(0, taps)
        return found

    def _give_back(
        self, work: BufferedWorkspace, gradient: Array, found: list[Array], home: Array, windows: Interval
    ) -> None:
        """Take gradients back to the pixels."""
        rank = self.windows.rank
        for axis, taps in enumerate(found):
            line, range_of = self._axis(axis, windows)
            shape = (
                home.shape if axis == rank - 1 else [home.shape[0], *home.shape[1 : axis + 1], *taps.shape[axis + 1 :]]
            )
            target = home if axis == rank - 1 else work.buffer(f"sums {axis}", shape, self.dtype)
            arrays = [three(array, axis) for array in (gradient, taps, target)]
            held = self.held and axis == rank - 1
            heads, least = axis_flags(line, range_of, held)
            if line.kernel > LONG:
                self.give(*arrays, axis_place(line, range_of), least, held)
            else:
                self.gather(*arrays, axis_place(line, range_of), heads, held)
            gradient = target

    def _axis(self, axis: int, windows: Interval) -> tuple[Strided, Interval]:
        """Give an axis, and the windows on it."""
        line = self.windows.lines[axis]
        return line, (0, line.count) if axis else windows


def _is_long(line: Strided) -> bool:
    return line.kernel > LONG and line.dilation == 1 and line.stride < line.kernel


def three(array: Array, axis: int) -> Array:
    """(*I, C) -> (A, n, B)."""
    return array.reshape(math.prod(array.shape[:axis]), array.shape[axis], -1)


@lru_cache(maxsize=1024)
def axis_place(line: Strided, windows: Interval) -> Array:
    before = line.before - windows[0] * line.stride + line.pixels(windows)[0]
    return np.array([line.kernel, line.stride, line.dilation, before], np.intp)


@lru_cache(maxsize=256)
def axis_flags(line: Strided, windows: Interval, held: bool) -> tuple[Array, Array]:
    """Say which taps are the first to reach their pixels, and which of them is the first to reach each pixel, or -1.

    Where sums are held already, none is.
    """
    heads = np.zeros(line.kernel, np.intp)
    first: dict[int, Tap] = {}
    least = np.full(line.size, -2, np.intp)
    for tap in () if held else line.reading(windows).in_order():
        heads[tap.number] = first.setdefault(tap.pixels.start % line.stride, tap) is tap
        own = least[tap.pixels]
        own[own == -2] = tap.number if heads[tap.number] else -1
    return heads, least
