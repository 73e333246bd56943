"""The gradient of average pooling in compiled loops: of each pixel the windows that read it, axis by axis."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._pooling import compiled
from xpconv._pooling.compiled import ONE, five
from xpconv._pooling.compiled_lists import kept_of, short, taps_of, windows_of
from xpconv._pooling.lines import Strided
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Ints, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS

Array = np.ndarray[Any, Any]

GRADIENT = "averages gradient"


class Averages:
    """The loops of one pooling."""

    def __init__(self, windows: Windows, padded: bool, dtype: Any) -> None:
        self.dtype, self.channels, self.rank = dtype, windows.channels, windows.rank
        self.lines = (ONE,) * (3 - windows.rank) + windows.lines
        self.taps = np.concatenate([taps_of(line, padded, dtype.name) for line in self.lines])

    @staticmethod
    def of(call: Call, windows: Windows, padded: bool, *arrays: Array) -> Averages | None:
        """Give the loops if they serve the arrays and are to be taken."""
        if windows.channels < max(compiled.LEAST // 2, 2) or call.layout != "channels_last":
            return None
        if not short(windows):
            return None
        row = windows.lines[-1].size * windows.channels * arrays[0].itemsize
        if row > call.options.room // 4 or not compiled.serves(GRADIENT, call, windows, *arrays):
            return None
        return _of(windows, padded, arrays[0].dtype)

    def serves(self, readers: Region, box: Region) -> bool:
        """Say whether a tile of the gradient is whole rows."""
        columns = self.lines[-1]
        return readers[-1] == (0, columns.count) and box[-1] == (0, columns.size)

    def needs(self) -> int:
        """Count the bytes of the work arrays of whole images."""
        windows: Region = tuple((0, line.count) for line in self.lines)
        pixels: Region = tuple((0, line.size) for line in self.lines)
        size = sum(self._sizes(*_plan(self.lines, windows, pixels)[2]))
        return size * int(self.dtype.itemsize) + UFUNC_BUFFERS

    def _sizes(self, planes: int, rows: int) -> tuple[int, int]:
        """Count the numbers of both work arrays."""
        row = self.lines[-1].size * self.channels
        return rows * row + self.lines[-1].count * self.channels, planes * row if self.rank == 3 else 1

    def gradient(self, work: BufferedWorkspace, readers: Region, box: Region, dy: Array, dx: Array) -> None:
        """(N, *O, C) -> dx (N, *I, C) in a box of pixels, which are whole rows, from the windows that read them."""
        ones = ((0, 1),) * (3 - self.rank)
        numbers, lists, kept_rows = _plan(self.lines, (*ones, *readers[1:]), (*ones, *box[1:]))
        shares_size, planes_size = self._sizes(*kept_rows)
        shares = work.buffer("shares", (shares_size,), self.dtype)
        kept = work.buffer("planes", (planes_size,), self.dtype)
        place = np.array([*box[0], *numbers], np.intp)
        kernel, taps = build.get(GRADIENT, build.NAMES[self.dtype]), self.taps

        def loop(dy: Array, dx: Array, shares: Array, kept: Array) -> None:
            kernel(five(dy), five(dx), place, lists, shares, kept, taps)

        work.do(loop, dy, dx, shares, kept)


@lru_cache(maxsize=256)
def _plan(lines: tuple[Strided, ...], windows: Region, pixels: Region) -> tuple[Ints, Array, tuple[int, int]]:
    """Say where a tile lies, what its pixels are the sums of, and how many rows are kept, those of planes and alone."""
    ranges = list(zip(lines, windows, pixels, strict=True))
    lists = [windows_of(*axis) for axis in ranges]
    planes, rows = (kept_of(*axis) for axis in ranges[:2])
    begins = lists[0].size, lists[0].size + lists[1].size
    numbers = (*pixels[0], *pixels[1], *windows[0], *windows[1], *begins, planes, rows)
    return numbers, np.concatenate(lists), (planes * (pixels[1][1] - pixels[1][0]), rows)


_of = lru_cache(maxsize=64)(Averages)
