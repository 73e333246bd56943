"""One sweep over the tiles of a pooling, one way to cut them, and what a tile of NumPy arrays takes.

On NumPy a job is a tile of some images and channels, small enough for the cache. All that it needs beside the results
is in buffers, which `Footprint` counts, so that all threads together stay in the workspace.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.types import Array
from xpconv._engine.jobs import Jobs, Runner, run
from xpconv._engine.noted import Notes
from xpconv._pooling.windows import Windows
from xpconv._shapes.cuts import PARTS, Tiles, block, intervals
from xpconv._shapes.geometry import Ints, Region
from xpconv._work.memory import UFUNC_BUFFERS
from xpconv._work.workspace import Workspace

CACHE = 12 << 20  # bytes of a tile's pixels and buffers: of 0.5 to 16 MiB the fastest, beside a shared cache of 32 MiB
# windows, times channels, that a thread has at least: threads whose calls of NumPy are short wait for each other. Of
# 0.4 million two threads were no faster than one, of a million by 1.3 times
SHARE = 1 << 18

MANY = 8  # images that are enough for the threads
FEW = 4  # jobs of a thread, at most, in what is noted
SHORT = 16  # elements of a row that take as long as the start of another one


@dataclass(frozen=True)
class Footprint:
    """Bytes that a tile takes, for each element of an axis's sources, of its result, and of the last one's."""

    pixels: int = 0  # of the box that the tile reads
    reached: int = 0  # of the pixels that the windows of a gradient's tile read
    stages: int = 0  # of each axis's result
    sorted: int = 0  # of the pixels of the last axis, if they are sorted by residue
    scratch: int = 0  # of the largest axis's result
    largest: int = 0  # of the largest axis's result, or of the box
    results: int = 0
    fixed: int = 0  # whatever the tile
    last_first: bool = False  # the order of the axes
    gradient: bool = False  # a tile is of units of pixels, and what it reads are windows
    meeting: bool = False  # in which order a pixel's sum is taken depends on the tiles
    whole: bool = False  # images and channels are shared out among threads, not an image's tiles

    def sizes(self, windows: Windows, tile: Ints) -> Iterator[list[int]]:
        """Give the sizes of the box that a tile (n, *sizes) reads, and of each axis's result in turn."""
        lines, places = windows.lines, list(tile[1:])
        if self.gradient:
            sizes = [line.most_readers(n) for line, n in zip(lines, places, strict=True)]
            places = [min(n * line.stride, line.size) for line, n in zip(lines, places, strict=True)]
        else:
            sizes = [line.most_pixels(n) for line, n in zip(lines, places, strict=True)]
        yield sizes
        for axis in reversed(range(windows.rank)) if self.last_first else range(windows.rank):
            sizes[axis] = places[axis]
            yield sizes

    def of(self, windows: Windows, tile: Ints, channels: int) -> int:
        """Count the bytes of a tile of so many channels."""
        box, *stages = (tile[0] * channels * math.prod(sizes) for sizes in self.sizes(windows, tile))
        found = self.fixed + self.pixels * box + self.stages * sum(stages) + self.results * stages[-1]
        found += self.scratch * max(stages) + self.largest * max(box, *stages)
        if self.sorted and windows.lines[-1].stride > 1:
            found += self.sorted * (box if self.last_first else (box, *stages)[-2])
        if self.reached:
            axes = zip(windows.lines, tile[1:], strict=True)
            reached = math.prod(line.most_pixels(line.most_readers(n)) for line, n in axes)
            found += self.reached * tile[0] * channels * reached
        return found

    def effort(self, windows: Windows, tile: Ints, channels: int) -> float:
        """Count what each window costs: the elements that an axis's taps touch, short rows more."""
        axes = reversed(windows.lines) if self.last_first else windows.lines
        found = 0.0
        for line, sizes in zip(axes, itertools.islice(self.sizes(windows, tile), 1, None), strict=True):
            found += line.kernel * math.prod(sizes) * (1 + SHORT / (sizes[-1] * channels))
        return found / math.prod(tile[1:])


@dataclass(frozen=True)
class Cut:
    """Into what tiles a pooling is cut, and how many run at once."""

    shape: Ints  # (n, *sizes): windows, or units of pixels
    tile: Ints
    channels: int
    workers: int


def cut(call: Call, windows: Windows, needs: Footprint, beside: int = 0, *, cache: int = CACHE, weight: int = 1) -> Cut:
    """Cut the windows, or for a gradient the units of pixels, into tiles; `weight` is the work on an element.

    What a tile needs has to fit a part of the workspace, and with what it reads in place, `beside` bytes for each
    pixel, it should fit the cache. Where the order of a sum depends on the tiles (of parts, and of windows that share
    pixels in a gradient), how an image is cut does not depend on the number of threads.
    """
    return _cut(windows, needs, beside, call.options.room, call.options.threads, call.traits.threads, (cache, weight))


@lru_cache(maxsize=1024)
def _cut(
    windows: Windows, needs: Footprint, beside: int, room: int, threads: int, parallel: bool, costs: tuple[int, int]
) -> Cut:
    shape = (windows.batch, *(windows.units if needs.gradient else windows.output))
    channels, one, (cache, weight) = windows.channels, (1,) * len(shape), costs
    whole, room = room, room - UFUNC_BUFFERS
    threads = threads if parallel else 1
    while channels > 1 and needs.of(windows, one, channels) > room // 2:
        channels = -(-channels // 2)
    near, own = cache, min(cache, room // (4 if parallel else 2))
    comfort = replace(needs, pixels=needs.pixels + beside) if beside else needs
    if windows.overlap:  # one alone would be taken again and again
        near = max(near, 2 * comfort.of(windows, one, channels) - needs.fixed)
        own = max(own, min(2 * needs.of(windows, one, channels) - needs.fixed, room // 2))
    images = needs.whole or (needs.meeting and shape[0] >= MANY)  # are shared out, and cut for the cache alone
    fixed = not windows.strided or (needs.meeting and not images)
    parts = max(1, min(PARTS if fixed else threads, math.prod(shape) * windows.channels * weight // SHARE))

    def fitting(turned: bool) -> Ints:
        """Cut the first axis first, or if `turned` the last one."""
        order = (shape[0], *reversed(shape[1:])) if turned else shape
        pixels = math.prod(shape) if images else -(-math.prod(shape) // parts)
        while True:
            tile = block(order, pixels)
            tile = (tile[0], *reversed(tile[1:])) if turned else tile
            pixels = math.prod(tile) // 2
            fits = needs.of(windows, tile, channels) <= own and comfort.of(windows, tile, channels) <= near
            if fits or pixels == 0:
                return tile

    tile = fitting(False)
    if needs.last_first and windows.overlap and tile[1] < shape[1]:  # few rows are read again and again
        other = fitting(True)
        if 2 * needs.effort(windows, other, channels) < needs.effort(windows, tile, channels):
            tile = other
    if images:
        tile = (min(tile[0], -(-shape[0] // parts)), *tile[1:])
    workers = min(threads, parts, whole // (needs.of(windows, tile, channels) + UFUNC_BUFFERS))
    return Cut(shape, tile, channels, max(1, workers))


Step = Callable[[Workspace, Region, slice, Windows], None]


def sweep(call: Call, windows: Windows, cuts: Cut, step: Step, weight: int, notes: Notes | None = None) -> None:
    """Run a step for each tile of each block of channels, with the windows of that many; `weight`: flops an element.

    What few steps do is noted: each has work arrays of its own.
    """
    jobs = []
    for start, stop in intervals(windows.channels, cuts.channels):
        part = windows if stop - start == windows.channels else replace(windows, channels=stop - start)

        def job(region: Region, work: Workspace, part: Windows = part, own: slice = slice(start, stop)) -> None:
            step(work, region, own, part)

        jobs.append(Jobs(job, Tiles(cuts.shape, cuts.tile)))
    flops = math.prod(cuts.shape) * windows.channels * weight
    runner: Runner = run
    if notes is not None:
        few = sum(len(one.items) for one in jobs) <= (FEW * cuts.workers if cuts.workers > 1 else 1)
        runner, notes.complete = notes.run if few else run, notes.complete and few
    runner(jobs, call.space, call.arithmetic, cuts.workers, flops, blas=False)


def reducing(windows: Windows, size: int, wide: int, absolute: bool = False) -> tuple[Footprint, int]:
    """Count what combining pixels of so many bytes in wider ones needs, and reads in place."""
    if not windows.strided:
        return Footprint(pixels=wide, stages=wide, largest=2 * wide), 0
    return Footprint(stages=wide, sorted=max(wide, size), scratch=wide * (1 + absolute)), size


def images_apart(call: Call, windows: Windows, *arrays: Array) -> tuple[Windows, list[Array]]:
    """Take each channel of arrays (N, *spatial, C) as an image of its own, if all of them lie channels first."""
    if call.layout == "channels_last":
        return windows, list(arrays)
    first = [np.moveaxis(array, -1, 1) for array in arrays]  # (N, *spatial, C) -> (N, C, *spatial)
    if not all(array.flags.c_contiguous for array in first):
        return windows, list(arrays)
    images = windows.batch * windows.channels
    return _of_images(windows, images), [array.reshape(images, *array.shape[2:], 1) for array in first]


@lru_cache(maxsize=1024)
def _of_images(windows: Windows, images: int) -> Windows:
    return replace(windows, batch=images, channels=1)
