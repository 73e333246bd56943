"""The gradient of max pooling to all maxima of windows that share pixels, in compiled loops along axis after axis.

The order of axes, taps and sums is that of NumPy's calls (`spread`), so the bits are the same. Where a maximum is NaN,
the first NaN of its window has all of the gradient: those calls are NumPy's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._pooling import compiled
from xpconv._pooling.compiled_lines import axis_flags, axis_place, three
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Interval, Ints, Region
from xpconv._work.buffered import BufferedWorkspace

Array = np.ndarray[Any, Any]


class Ties:
    """The gradient for windows of one call."""

    name = "ties along"

    def __init__(self, windows: Windows, dtype: Any, split: bool, held: bool) -> None:
        self.windows, self.dtype, self.split, self.held, self.lost = windows, dtype, split, held, False
        names = ("top along", "count along", "ties along")
        self.top, self.count, self.give = (build.get(name, build.NAMES[dtype]) for name in names)

    @staticmethod
    def of(call: Call, windows: Windows, split: bool, held: bool, *arrays: Array) -> Ties | None:
        """Give the loops if they serve the arrays (images, gradients, result) and are to be taken.

        If `held`, gradients are added to what the result holds one by one, otherwise those of a tile together.
        """
        if call.layout != "channels_last" or windows.channels < compiled.LEAST // 2:
            return None
        if not windows.strided or not compiled.serves(Ties.name, call, windows, *arrays):
            return None
        return Ties(windows, arrays[0].dtype, split, held)

    def needs(self, tile: Ints) -> int:
        """Count the bytes of work arrays that the gradient of a tile of windows (n, *sizes) takes."""
        rows = self.windows.lines[0].most_pixels(tile[1])
        total = 0
        for axis in reversed(range(self.windows.rank)):
            total += (3 + self.split) * math.prod(self._shape(axis, rows, tile[1]))
        return (total + rows * math.prod(self.windows.input[1:]) * self.windows.channels) * int(self.dtype.itemsize)

    def gradient(self, work: BufferedWorkspace, region: Region, x: Array, dy: Array, dx: Array, written: int) -> None:
        """(N, *I, C), (N, *O, C) -> dx (N, *I, C): add the gradient of a region's windows to what is written.

        The first `written` rows that they reach hold sums to add to, the others nothing. Where a maximum is NaN, `lost`
        is set, and what is written is wrong.
        """
        rows, windows = slice(*self.windows.lines[0].pixels(region[1])), region[1]
        for n in range(*region[0]):
            pixels, target, gradient = x[n, rows], dx[n, rows], dy[n, slice(*windows)]
            stages = self._find(work, pixels, windows)
            if self.lost:
                return
            if self.split:
                gradient = self._shared(work, gradient, stages, windows)
            if self.held or not written:
                self._give_back(work, gradient, stages, target, windows)
                continue
            home = work.buffer("home", target.shape, self.dtype)
            self._give_back(work, gradient, stages, home, windows)
            np.add(target[:written], home[:written], out=target[:written])
            target[written:] = home[written:]

    def _shape(self, axis: int, rows: int, count: int) -> Ints:
        """Give the shape of the maxima along an axis, where the axes after it are done."""
        sizes = [rows, *self.windows.input[1:]]
        sizes[axis:] = self.windows.output[axis:]
        if axis == 0:
            sizes[0] = count
        return (*sizes, self.windows.channels)

    def _find(self, work: BufferedWorkspace, pixels: Array, windows: Interval) -> list[Array]:
        """Find the maxima along each axis, the last one first; before them the pixels themselves."""
        stages, lost = [pixels], work.buffer("lost", (1,), np.dtype(np.int32))
        lost[0] = 0
        for axis in reversed(range(self.windows.rank)):
            line, range_of = self._axis(axis, windows)
            best = work.buffer(f"best {axis}", self._shape(axis, pixels.shape[0], windows[1] - windows[0]), self.dtype)
            self.top(three(stages[-1], axis), three(best, axis), axis_place(line, range_of), lost)
            stages.append(best)
        self.lost = self.lost or lost[0] != 0
        return stages

    def _shared(self, work: BufferedWorkspace, gradient: Array, stages: list[Array], windows: Interval) -> Array:
        """Divide each window's gradient by the number of its maxima."""
        below = stages[0]
        for number, axis in enumerate(reversed(range(self.windows.rank))):
            line, range_of = self._axis(axis, windows)
            counts = work.buffer(f"count {axis}", stages[number + 1].shape, self.dtype)
            arrays = (three(array, axis) for array in (stages[number], stages[number + 1], below, counts))
            self.count(*arrays, axis_place(line, range_of), int(number > 0))
            below = counts
        np.maximum(below, 1, out=below)
        np.divide(gradient, below, out=below)
        return below

    def _give_back(
        self, work: BufferedWorkspace, gradient: Array, stages: list[Array], home: Array, windows: Interval
    ) -> None:
        """Take gradients back to the pixels, along the first axis first."""
        rank = self.windows.rank
        for axis in range(rank):
            pixels, best = stages[rank - 1 - axis], stages[rank - axis]
            line, range_of = self._axis(axis, windows)
            last = axis == rank - 1
            target = home if last else work.buffer(f"sums {axis}", pixels.shape, self.dtype)
            held = self.held and last
            arrays = (three(array, axis) for array in (gradient, pixels, best, target))
            self.give(*arrays, axis_place(line, range_of), axis_flags(line, range_of, held)[0], int(held))
            gradient = target

    def _axis(self, axis: int, windows: Interval) -> tuple[Any, Interval]:
        """Give an axis, and the windows on it."""
        line = self.windows.lines[axis]
        return line, (0, line.count) if axis else windows
