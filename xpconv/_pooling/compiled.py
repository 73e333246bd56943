"""Pooling of NumPy arrays in loops that Numba compiles (`xpconv._compiled`): the same steps, tile by tile, in one pass.

They serve contiguous float32 or float64 arrays; `Loops` windows at a stride on one or two axes, of several channels
side by side. Results are the bits of the calls of NumPy that they stand for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._engine.noted import Notes
from xpconv._pooling.lines import Strided
from xpconv._pooling.sweep import FEW, Cut, Step, sweep
from xpconv._pooling.windows import Windows
from xpconv._shapes.cuts import PARTS, block
from xpconv._shapes.geometry import Ints, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS

Array = np.ndarray[Any, Any]

LEAST = 16  # channels: with fewer NumPy's calls over rows are faster
# seconds an element, or more
SAVED = {
    "maxima": 0.5e-9,
    "places": 6e-9,
    "averages": 0.5e-9,
    "averages gradient": 0.5e-9,
    "long averages gradient": 100e-9,
    "fold": 3e-9,
    "maxima gradient": 3e-9,
    "boxes": 3e-9,
    "boxes in rows": 2e-9,
    "ties in boxes": 2e-9,
    "first along": 6e-9,
    "ties along": 4e-9,
    "norms": 3e-9,
    "norms gradient": 10e-9,
}
ENOUGH = 1 << 17  # pixels and channels of a tile, some tens of microseconds
# elements, times the work on each, from which a second thread pays: finding its arrays and waking it takes as long as
# half a million of them, and of one to five million elements two threads took 1.2 to 1.7 times as long as one; the same
# where all is noted
WAKING, NOTED = 1 << 23, 1 << 20
LONG = 1 << 26  # the same, from which noting, on one thread, takes longer than it saves
ONE = Strided(1, 1, 1)  # the rows of images that have none


def possible(call: Call) -> bool:
    """Say whether a call may take compiled loops, whatever its arrays."""
    return call.traits.buffers and call.options.compiled is not False and not call.measures and build.installed()


def serves(name: str, call: Call, windows: Windows, *arrays: Array) -> bool:
    """Say whether compiled loops can serve the arrays, and are to be taken."""
    switch = call.options.compiled
    if not possible(call):
        return False
    plain = all(a.flags.c_contiguous and a.flags.aligned and a.dtype.isnative for a in arrays)
    name_of = build.NAMES.get(arrays[0].dtype)
    if not plain or name_of is None or any(array.dtype != arrays[0].dtype for array in arrays):
        return False
    if not math.prod(windows.output_shape):
        return False
    return switch is True or build.ledger.takes(name, name_of, math.prod(windows.input_shape) * SAVED[name])


@dataclass(frozen=True)
class Loops:
    """The loops of one pooling, for windows on two axes."""

    name: str
    dtype: str
    channels: int
    rows: Strided
    columns: Strided

    @staticmethod
    def of(name: str, call: Call, windows: Windows, *arrays: Array) -> Loops | None:
        """Give the loops of this name, if they serve the arrays and are to be taken."""
        if not windows.strided or windows.rank > 2 or windows.channels < LEAST:
            return None
        if call.layout != "channels_last":
            return None
        room = call.options.room // 2  # other work arrays are small beside a row of the images
        if windows.lines[-1].size * windows.channels * arrays[0].itemsize > room:
            return None
        if not serves(name, call, windows, *arrays):
            return None
        return Loops(
            name, build.NAMES[arrays[0].dtype], windows.channels, *((ONE,) * (2 - windows.rank) + windows.lines)
        )

    def places(self, work: BufferedWorkspace, region: Region, x: Array, spots: Array) -> None:
        """(N, *I, C) -> spots (N, *O, C), the place of each maximum, in a region of windows."""
        best = work.buffer("best", (x.shape[-1],), x.dtype)
        place, kernel = self._place(region, self.rows.kernel, self.columns.kernel), build.get(self.name, self.dtype)
        work.do(lambda x, spots, best: kernel(four(x), four(spots), place, best), x, spots, best)

    def gradient(self, work: BufferedWorkspace, region: Region, x: Array, dy: Array, dx: Array, written: int) -> None:
        """(N, *I, C), (N, *O, C) -> dx (N, *I, C): add the gradient of a region's windows to what is written.

        The first `written` rows that they reach hold sums to add to, the others nothing.
        """
        windows = self._rows(region)
        low, high = self.rows.pixels(windows)
        ring, kept = self._kept(windows[1] - windows[0], high - low)
        length = self.columns.count * x.shape[-1]
        tops = work.buffer("tops", (ring * length,), x.dtype)
        found = work.buffer("found", ((ring + kept) * length,), np.dtype(np.int32))
        sums = work.buffer("sums", (length,), x.dtype)
        axes = [(line.kernel, line.stride, line.dilation, line.before) for line in (self.rows, self.columns)]
        numbers = *axes[0], *axes[1], *region[0], *windows, low, high, written, ring, kept
        place = np.array([*numbers, *_heads(self.rows, self.columns, windows)], np.intp)
        kernel = build.get(self.name, self.dtype)

        def loop(x: Array, dy: Array, dx: Array, *own: Array) -> None:
            kernel(four(x), four(dy), four(dx), place, *own)

        work.do(loop, x, dy, dx, tops, found, sums)

    def needs(self, tile: Ints) -> int:
        """Count the bytes of work arrays that the gradient of a tile of windows (n, *sizes) takes."""
        length, size = self.columns.count * self.channels, np.dtype(self.dtype).itemsize
        count = tile[1] if len(tile) == 3 else 1
        ring, kept = self._kept(count, self.rows.most_pixels(count))
        return length * (ring * (size + 4) + kept * 4 + size)

    def _kept(self, windows: int, pixels: int) -> tuple[int, int]:
        """Count the rows of pixels and of windows that are kept until no other window reads them."""
        return min(self.rows.span, pixels), min((self.rows.span - 1) // self.rows.stride + 1, windows)

    @staticmethod
    def _rows(region: Region) -> tuple[int, int]:
        return region[1] if len(region) == 3 else (0, 1)

    def _place(self, region: Region, *more: int) -> Array:
        (first, last), (top, bottom) = region[0], self._rows(region)
        axes = [(0, line.stride, line.dilation, line.before, line.full) for line in (self.rows, self.columns)]
        numbers = [first, *axes[0], *axes[1], top, bottom, last - first, *more]
        return np.array(numbers, np.intp)


class Share(NamedTuple):
    """How a pooling is shared out."""

    workers: int
    images: int  # of a job
    whole: bool  # jobs are of whole images


def share_of(windows: Windows, call: Call, own: int, weight: int = 0, *, noted: bool = False) -> Share:
    """Say how many threads pay; `own`: bytes of a job's work arrays; `weight`: the work on an element, 0 for a sum.

    What is noted has few jobs, for each has work arrays of its own, all of them at once.
    """
    return _share_of(windows, call.options.threads, call.options.room // own, weight, noted)


def of_sums(windows: Windows) -> int:
    """Count the work on an element of sums along each axis in turn."""
    return max(1, sum(-(-line.kernel // line.stride) for line in windows.lines) // 2)


@lru_cache(maxsize=1024)
def _share_of(windows: Windows, threads: int, most: int, weight: int, noted: bool) -> Share:
    work = weight or of_sums(windows)
    elements, batch = math.prod(windows.input_shape), max(windows.batch, 1)
    much = elements * work > WAKING
    if noted and (threads == 1 or not much or (batch >= threads and elements * work <= LONG)):
        workers = min(threads, batch) if elements * work > NOTED else 1
        jobs = workers * (FEW if much and workers > 1 else 1)
        if jobs <= most:
            return Share(workers, -(-batch // jobs), whole=True)
    workers = max(1, min(threads, most)) if much else 1
    pieces = max(1, min(PARTS, elements // ENOUGH))
    pieces = -(-pieces // workers) * workers if workers > 1 else 1
    return Share(workers, -(-batch // pieces), whole=False)


def effort(windows: Windows, cuts: Cut) -> int:
    """Count the flops for each part of what is cut: four of a pixel."""
    return 4 * -(-math.prod(windows.input) // math.prod(cuts.shape[1:]))


def share(call: Call, windows: Windows, cuts: Cut, step: Step, notes: Notes | None = None) -> None:
    """Take a pooling at once on the calling thread, or where more than one pays, tile by tile."""
    if cuts.workers > 1 or cuts.channels < windows.channels:
        sweep(call, windows, cuts, step, effort(windows, cuts), notes)
        return
    if notes is not None:
        sweep(call, windows, replace(cuts, tile=cuts.shape), step, 0, notes)
        return
    work = BufferedWorkspace(call.space, call.arithmetic)
    try:
        step(work, tuple((0, n) for n in cuts.shape), slice(0, windows.channels), windows)
    finally:
        work.release()


def rows_apart(call: Call, windows: Windows, *, noted: bool = False) -> Cut:
    """Cut the windows into whole rows, for loops to whose results the cut makes no difference."""
    shared = share_of(windows, call, windows.lines[-1].size * windows.channels * 8 + UFUNC_BUFFERS, noted=noted)
    return _rows_apart(windows, shared)


@lru_cache(maxsize=1024)
def _rows_apart(windows: Windows, shared: Share) -> Cut:
    shape = (windows.batch, *windows.output)
    if shared.whole:
        return Cut(shape, (shared.images, *windows.output), windows.channels, shared.workers)
    rows = math.prod(shape[: max(windows.rank, 1)])
    size = math.prod(windows.input_shape) // max(rows, 1)  # pixels and channels for a row of windows
    pieces = max(1, min(PARTS, rows * size // ENOUGH))
    tile = block(shape, -(-rows // pieces) * (math.prod(shape) // rows))
    if tile[-1] != shape[-1]:
        tile = (*tile[:-1], shape[-1])
    return Cut(shape, tile, windows.channels, shared.workers)


def four(array: Array) -> Array:
    """(N, *spatial, C) -> (N, H, W, C)."""
    return array if array.ndim == 4 else array[:, None]


def five(array: Array) -> Array:
    """(N, *spatial, C) -> (N, D, H, W, C)."""
    return array.reshape(array.shape[0], *(1,) * (5 - array.ndim), *array.shape[1:])


@lru_cache(maxsize=1024)
def _heads(rows: Strided, columns: Strided, windows: tuple[int, int]) -> Ints:
    """Say which taps of the rows, and of the columns, are the first of a tile to reach their pixels."""
    flags: list[int] = []
    for line, range_of in ((rows, windows), (columns, (0, columns.count))):
        first: dict[int, int] = {}
        for tap in line.reading(range_of).in_order():
            first.setdefault(tap.pixels.start % line.stride, tap.number)
        flags += [int(tap in first.values()) for tap in range(line.kernel)]
    return tuple(flags)
