"""The gradient of average pooling in compiled loops: of each pixel the windows that read it, axis by axis."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._pooling import compiled
from xpconv._pooling.compiled import ONE, four
from xpconv._pooling.compiled_lists import short, taps_of, windows_of
from xpconv._pooling.lines import Windows
from xpconv._shapes.geometry import Interval, Region
from xpconv._work.buffered import BufferedWorkspace

Array = np.ndarray[Any, Any]

GRADIENT = "averages gradient"


class Averages:
    """The loops of one pooling, for windows on two axes."""

    def __init__(self, windows: Windows, padded: bool, dtype: Any) -> None:
        self.dtype, self.channels = dtype, windows.channels
        self.rows, self.columns = (ONE,) * (2 - windows.rank) + windows.lines
        self.taps = np.concatenate([taps_of(line, padded, dtype.name) for line in (self.rows, self.columns)])

    @staticmethod
    def of(call: Call, windows: Windows, padded: bool, *arrays: Array) -> Averages | None:
        """Give the loops if they serve the arrays and are to be taken."""
        if windows.rank > 2 or windows.channels < max(compiled.LEAST, 2) or call.layout != "channels_last":
            return None
        if not short(windows):
            return None
        row = windows.lines[-1].size * windows.channels * arrays[0].itemsize
        if row > call.options.room // 4 or not compiled.serves(GRADIENT, call, windows, *arrays):
            return None
        return _of(windows, padded, arrays[0].dtype)

    def serves(self, readers: Region, box: Region) -> bool:
        """Say whether a tile of the gradient is whole rows."""
        return readers[-1] == (0, self.columns.count) and box[-1] == (0, self.columns.size)

    def gradient(self, work: BufferedWorkspace, readers: Region, box: Region, dy: Array, dx: Array) -> None:
        """(N, *O, C) -> dx (N, *I, C) in a box of pixels, which are whole rows, from the windows that read them."""
        windows, pixels = _rows(readers), _rows(box)
        size = (windows[1] - windows[0]) * self.columns.size + self.columns.count
        shares = work.buffer("shares", (size * self.channels,), self.dtype)
        place = np.array([*box[0], *pixels, *windows], np.intp)
        columns = (0, self.columns.count), (0, self.columns.size)
        lists = windows_of(self.rows, windows, pixels), windows_of(self.columns, *columns)
        build.get(GRADIENT, build.NAMES[self.dtype])(four(dy), four(dx), place, *lists, shares, self.taps)


_of = lru_cache(maxsize=64)(Averages)


def _rows(region: Region) -> Interval:
    return region[1] if len(region) == 3 else (0, 1)
