"""Max and average pooling of NumPy arrays in compiled loops: rows first, then the pixels of a row, in registers."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._engine.noted import Notes
from xpconv._pooling import compiled
from xpconv._pooling.compiled import ONE, five, rows_apart, share
from xpconv._pooling.compiled_lists import pixels_of, short, taps_of
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.workspace import Workspace

Array = np.ndarray[Any, Any]

MAXIMA, AVERAGES = "maxima", "averages"


class Forward:
    """The loops for windows of one kind."""

    def __init__(self, windows: Windows, dtype: Any) -> None:
        self.windows, self.dtype = windows, dtype
        self.lines = (ONE,) * (3 - windows.rank) + windows.lines
        lists = list(map(pixels_of, self.lines))
        self.lists = np.concatenate(lists)
        self.begins = lists[0].size, lists[0].size + lists[1].size  # of the rows' and the columns'
        self.row = (windows.lines[-1].size * windows.channels,)

    @staticmethod
    def of(name: str, call: Call, windows: Windows, *arrays: Array) -> Forward | None:
        """Give the loops of this name if they serve the arrays and are to be taken."""
        if windows.channels < compiled.LEAST // 2 or call.layout != "channels_last" or not short(windows):
            return None
        row = windows.lines[-1].size * windows.channels * arrays[0].itemsize
        if row > call.options.room // 4 or not compiled.serves(name, call, windows, *arrays):
            return None
        return _of(windows, arrays[0].dtype)

    def maxima(self, work: BufferedWorkspace, region: Region, x: Array, y: Array, least: Any) -> None:
        """(N, *I, C) -> y (N, *O, C) in a region of windows, which are whole rows."""
        self._run(MAXIMA, work, region, x, y, float(least))

    def means(self, call: Call, x: Array, y: Array, padded: bool, notes: Notes | None = None) -> None:
        """(N, *I, C) -> y (N, *O, C); with `padded` taps in the padding are counted."""
        taps = _taps(self.lines, padded, self.dtype.name)

        def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
            assert isinstance(work, BufferedWorkspace)
            self._run(AVERAGES, work, region, x, y, taps)

        share(call, self.windows, rows_apart(call, self.windows, noted=notes is not None), step, notes)

    def _run(self, name: str, work: BufferedWorkspace, region: Region, x: Array, y: Array, more: Any) -> None:
        axes = ((0, 1),) * (3 - self.windows.rank) + region[1:]
        place = np.array([*region[0], *axes[0], *axes[1], *self.begins], np.intp)
        row = work.buffer("row", self.row, self.dtype)
        kernel, lists = build.get(name, build.NAMES[self.dtype]), self.lists
        work.do(lambda x, y, row: kernel(five(x), five(y), place, lists, row, more), x, y, row)


_of = lru_cache(maxsize=64)(Forward)


@lru_cache(maxsize=64)
def _taps(lines: tuple[Any, ...], padded: bool, dtype: str) -> Array:
    return np.concatenate([taps_of(line, padded, dtype) for line in lines])
