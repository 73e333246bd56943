"""The gradient of max pooling in compiled loops where windows are boxes that share few or no pixels: one pass each."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._pooling import compiled
from xpconv._pooling.compiled import ONE, five, serves, share_of
from xpconv._pooling.lines import Parts, Strided
from xpconv._pooling.sweep import Cut
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS

Array = np.ndarray[Any, Any]

Arrays = tuple[Array, Array, Array]  # images, gradients, result

FEW = 8  # channels below which loops over whole rows are faster
SPARSE = 12  # pixels of a window from which zeros are written first, and then the gradients
NUMBERS = np.dtype(np.int32)


class Boxes:
    """The gradient for windows that are parts of the axes, or lie at a stride and share no pixel."""

    def __init__(self, windows: Windows, ties: str) -> None:
        self.windows, self.shared, self.split = windows, not windows.strided, ties == "split"
        self.gaps = windows.strided and not all(line.reads_all for line in windows.lines)
        self.sparse = windows.strided and windows.taps >= SPARSE
        self.in_rows = windows.channels < FEW and ties == "first"
        self.name = "ties in boxes" if ties != "first" else "boxes in rows" if self.in_rows else "boxes"
        self.ends = np.concatenate([_ends(line) for line in (ONE,) * (3 - windows.rank) + windows.lines])
        self.size = windows.channels * (windows.lines[-1].size if self.in_rows else 1)  # of a work array

    @staticmethod
    def of(call: Call, windows: Windows, ties: str, *arrays: Array) -> Boxes | None:
        """Give the loops if they serve the arrays (images, gradients, result) and are to be taken."""
        apart = all(line.stride >= line.kernel and line.dilation == 1 for line in windows.lines)
        if (windows.strided and not apart) or math.prod(windows.input) >= 1 << 31:
            return None
        few = compiled.LEAST // 2  # numbers that a loop has at least, of several pixels where it takes rows
        if windows.strided and windows.channels * (windows.taps if ties == "first" else 1) < few:
            return None
        found = _of(windows, ties)
        if found.needs(arrays[0]) > call.options.room // 4 or not serves(found.name, call, windows, *arrays):
            return None
        return found

    def needs(self, x: Array) -> int:
        """Count the bytes of work arrays of a thread."""
        return 2 * self.size * (x.itemsize + NUMBERS.itemsize) + UFUNC_BUFFERS

    def cut(self, call: Call, x: Array, *, noted: bool) -> Cut:
        """Share out images, and where they are few channels too."""
        windows = self.windows
        channels, shared = windows.channels, share_of(windows, call, self.needs(x), 2, noted=noted)
        if windows.batch < shared.workers and not self.in_rows:
            channels = min(channels, max(2 * FEW, -(-channels * windows.batch // shared.workers)))
        tile = shared.images, *windows.output
        return Cut((windows.batch, *windows.output), tile, channels, shared.workers)

    def gradient(self, work: BufferedWorkspace, region: Region, own: slice, arrays: Arrays, held: bool) -> bool:
        """(N, *I, C), (N, *O, C) -> dx (N, *I, C), of some images and channels; say whether it is right.

        Ties are not where a maximum is NaN, which has all of a window's gradient. If `held`, gradients are added to 0.
        """
        x = arrays[0]
        shape = 2, self.size if self.in_rows else own.stop - own.start
        room = work.buffer("room", shape, x.dtype), work.buffer("numbers", shape, NUMBERS)
        flags = self.shared, self.gaps, self.split, held, self.sparse
        place = np.array([*region[0], own.start, own.stop, *flags], np.intp)
        kernel, ends = build.get(self.name, build.NAMES[x.dtype]), self.ends

        def loop(x: Array, dy: Array, dx: Array, *room: Array) -> None:
            kernel(five(x), five(dy), five(dx), place, ends, *room)

        work.do(loop, *arrays, *room)
        return self.name != "ties in boxes" or room[1][0, 0] == 0


_of = lru_cache(maxsize=256)(Boxes)


def _ends(line: Strided) -> Array:
    """Give the first pixel inside the image of each window, and then the one after its last."""
    starts = line.starts((0, line.count))
    lengths = line.lengths((0, line.count), False) if isinstance(line, Parts) else line.kernel
    ends: Array = np.clip([starts, starts + lengths], 0, line.size)
    return ends.reshape(-1).astype(np.intp)
