"""Average pooling of NumPy arrays in compiled loops: lists that say what is summed up in which order, axis by axis."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._pooling import compiled
from xpconv._pooling.compiled import ONE, four
from xpconv._pooling.lines import Parts, Strided, Windows
from xpconv._pooling.spread import spans
from xpconv._shapes.geometry import Interval, Region
from xpconv._work.buffered import BufferedWorkspace

Array = np.ndarray[Any, Any]

MOST = 1 << 16  # numbers of a list
FORWARD, GRADIENT = "averages", "averages gradient"


class Averages:
    """The loops of one pooling, for windows on two axes."""

    def __init__(self, windows: Windows, padded: bool, dtype: Any) -> None:
        self.dtype, self.channels = dtype, windows.channels
        self.rows, self.columns = (ONE,) * (2 - windows.rank) + windows.lines
        self.taps = np.concatenate([_taps(line, padded, dtype.name) for line in (self.rows, self.columns)])

    @staticmethod
    def of(name: str, call: Call, windows: Windows, padded: bool, *arrays: Array) -> Averages | None:
        """Give the loops, of the pooling or of its gradient, if they serve the arrays and are to be taken."""
        if windows.rank > 2 or windows.channels < max(compiled.LEAST, 2) or call.layout != "channels_last":
            return None
        if any(line.count * line.kernel + line.size > MOST for line in windows.lines):
            return None
        row = windows.lines[-1].size * windows.channels * arrays[0].itemsize
        if row > call.options.room // 4 or not compiled.serves(name, call, windows, *arrays):
            return None
        return _of(windows, padded, arrays[0].dtype)

    @cached_property
    def pixels(self) -> tuple[Array, Array]:
        """What the windows of each axis sum up."""
        return _pixels_of(self.rows), _pixels_of(self.columns)

    def means(self, work: BufferedWorkspace, region: Region, x: Array, y: Array) -> None:
        """(N, *I, C) -> y (N, *O, C) in a region of windows, which are whole rows."""
        row = work.buffer("row", (self.columns.size * self.channels,), self.dtype)
        place = np.array([*region[0], *_rows(region)], np.intp)
        build.get(FORWARD, build.NAMES[self.dtype])(four(x), four(y), place, *self.pixels, row, self.taps)

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
        lists = _windows_of(self.rows, windows, pixels), _windows_of(self.columns, *columns)
        build.get(GRADIENT, build.NAMES[self.dtype])(four(dy), four(dx), place, *lists, shares, self.taps)


_of = lru_cache(maxsize=64)(Averages)


def _rows(region: Region) -> Interval:
    return region[1] if len(region) == 3 else (0, 1)


def _taps(line: Strided, padded: bool, dtype: str) -> Array:
    """Count the taps of each window."""
    lengths = line.lengths((0, line.count), padded)
    return np.ascontiguousarray(np.broadcast_to(np.maximum(lengths, 1), (line.count,)).astype(dtype))


def _pixels_of(line: Strided) -> Array:
    """List the pixels of each window in the order in which they are summed up."""
    windows = 0, line.count
    if isinstance(line, Parts):
        return _listed([np.arange(*line.reach((o, o + 1))) for o in range(line.count)], np.zeros(line.count))
    order = sorted(range(line.kernel), key=lambda tap: line.full and tap != line.least)
    pixels = line.starts(windows)[:, None] + np.array(order) * line.dilation
    return _listed([own[(own >= 0) & (own < line.size)] for own in pixels], np.full(line.count, not line.full))


@lru_cache(maxsize=256)
def _windows_of(line: Strided, windows: Interval, pixels: Interval) -> Array:
    """List the windows that read each of a range of pixels, in the order in which their shares are summed up."""
    if isinstance(line, Parts):
        found = [np.arange(*line.turned.reach((p, p + 1))) for p in range(*pixels)]
        return _listed(found, np.zeros(len(found)))
    lists: list[list[int]] = [[] for _ in range(*pixels)]
    begun = np.zeros(len(lists))
    for residue in range(min(line.stride, len(lists))):
        count = len(range(residue, len(lists), line.stride))
        terms, filled = spans(line, residue, count, pixels[0] // line.stride)
        begun[residue :: line.stride] = filled
        for span in terms:
            for place in range(span.low, span.high):
                lists[residue + place * line.stride].append(place + span.window)
    return _listed([np.array(own, np.intp) for own in lists], begun)


def _listed(lists: list[Array], begun: Array) -> Array:
    """Lay lists in one array: where each begins, where the last one ends; each after whether a sum begins with 0."""
    ends = np.cumsum([len(lists) + 1, *(own.size + 1 for own in lists)])
    parts = [part for own, zero in zip(lists, begun, strict=True) for part in ([zero], own)]
    return np.concatenate([ends, *parts]).astype(np.intp)
