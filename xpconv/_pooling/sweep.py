"""One sweep over the tiles of a pooling, one way to cut them, and what a tile of NumPy arrays takes.

On NumPy a job is a tile of some images and channels, small enough for the cache. All that it needs beside the results
is in buffers, which `Footprint` counts, so that all threads together stay in the workspace.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.types import Array
from xpconv._engine.jobs import Jobs, run
from xpconv._pooling.lines import Windows
from xpconv._shapes.cuts import PARTS, Tiles, block, intervals
from xpconv._shapes.geometry import Ints, Region
from xpconv._work.memory import UFUNC_BUFFERS
from xpconv._work.workspace import Workspace

CACHE = 12 << 20  # bytes of a tile's pixels and buffers: of 0.5 to 16 MiB the fastest, beside a shared cache of 32 MiB
# windows, times channels, that a thread has at least: threads whose calls of NumPy are short wait for each other. Of
# 0.4 million two threads were no faster than one, of a million by 1.3 times
SHARE = 1 << 18

Count = Callable[[Ints, int], int]  # of a tile (n, *sizes) and so many channels: bytes


@dataclass(frozen=True)
class Footprint:
    """Bytes that a tile takes, for each element of an axis's sources, of its result, and of the last one's."""

    pixels: int = 0  # of the box that the tile reads
    stages: int = 0  # of each axis's result
    sorted: int = 0  # of the pixels of the last axis, if they are sorted by residue
    scratch: int = 0  # of the largest axis's result
    largest: int = 0  # of the largest axis's result, or of the box
    results: int = 0
    fixed: int = 0  # whatever the tile
    last_first: bool = False  # the order of the axes
    gradient: bool = False  # a tile is of units of pixels, and what it reads are windows

    def of(self, windows: Windows) -> Count:
        """Give the count for tiles of these windows, or of the pixels that they read."""
        lines, axes = windows.lines, list(range(windows.rank))
        if self.last_first:
            axes.reverse()
        sorts = windows.strided and lines[-1].stride > 1

        def count(tile: Ints, channels: int) -> int:
            images, places = tile[0] * channels, list(tile[1:])
            if self.gradient:
                sizes = [line.most_readers(n) for line, n in zip(lines, places, strict=True)]
                places = [min(n * line.stride, line.size) for line, n in zip(lines, places, strict=True)]
            else:
                sizes = [line.most_pixels(n) for line, n in zip(lines, places, strict=True)]
            box = images * math.prod(sizes)
            stages, last = [], 0
            for axis in axes:
                if sorts and axis == windows.rank - 1:
                    last = images * math.prod(sizes)
                sizes[axis] = places[axis]
                stages.append(images * math.prod(sizes))
            return (
                self.fixed
                + self.pixels * box
                + self.stages * sum(stages)
                + self.sorted * last
                + self.scratch * max(stages)
                + self.largest * max(box, *stages)
                + self.results * stages[-1]
            )

        return count


@dataclass(frozen=True)
class Cut:
    """Into what tiles a pooling is cut, and how many run at once."""

    shape: Ints  # (n, *sizes): windows, or units of pixels
    tile: Ints
    channels: int
    workers: int


def cut(
    call: Call,
    windows: Windows,
    shape: Ints,
    comfortable: Count,
    needed: Count,
    *,
    cache: int = CACHE,
    weight: int = 1,
) -> Cut:
    """Cut `shape`, of windows or of units of pixels; `weight` is the work on an element.

    What a tile takes comfortably should fit the cache, what it needs has to fit the workspace. The tiles of parts do
    not depend on the number of threads, because the order in which their sums are taken depends on the tiles.
    """
    room, channels = call.options.room - UFUNC_BUFFERS, windows.channels
    threads = call.options.threads if call.traits.threads else 1
    cache, one = min(cache, room // (4 if call.traits.threads else 2)), (1,) * len(shape)
    while channels > 1 and needed(one, channels) > room // 2:
        channels = -(-channels // 2)
    parts = max(1, min(threads if windows.strided else PARTS, math.prod(shape) * windows.channels * weight // SHARE))
    tile = block(shape, -(-math.prod(shape) // parts))
    while math.prod(tile) > 1 and (comfortable(tile, channels) > cache or needed(tile, channels) > room // 2):
        tile = block(shape, math.prod(tile) // 2)
    workers = min(threads, parts, call.options.room // (needed(tile, channels) + UFUNC_BUFFERS))
    return Cut(shape, tile, channels, max(1, workers))


Step = Callable[[Workspace, Region, slice, Windows], None]


def sweep(call: Call, windows: Windows, cuts: Cut, step: Step, weight: int) -> None:
    """Run a step for each tile of each block of channels, with the windows of that many; `weight`: flops an element."""
    jobs = []
    for start, stop in intervals(windows.channels, cuts.channels):
        part = replace(windows, channels=stop - start)

        def job(region: Region, work: Workspace, part: Windows = part, own: slice = slice(start, stop)) -> None:
            step(work, region, own, part)

        jobs.append(Jobs(job, Tiles(cuts.shape, cuts.tile)))
    run(jobs, call.space, call.arithmetic, cuts.workers, math.prod(cuts.shape) * windows.channels * weight)


def reducing(windows: Windows, size: int, wide: int, absolute: bool) -> tuple[Count, Count]:
    """Count what combining pixels of so many bytes in wider ones takes, comfortably and at least."""
    if not windows.strided:
        count = Footprint(pixels=wide, stages=wide, largest=2 * wide).of(windows)
        return count, count
    least = Footprint(stages=wide, sorted=max(wide, size), scratch=wide * (1 + absolute))
    return replace(least, pixels=size).of(windows), least.of(windows)


def images_apart(call: Call, windows: Windows, *arrays: Array) -> tuple[Windows, list[Array]]:
    """Take each channel of arrays (N, *spatial, C) as an image of its own, if all of them lie channels first."""
    if call.layout == "channels_last":
        return windows, list(arrays)
    first = [np.moveaxis(array, -1, 1) for array in arrays]  # (N, *spatial, C) -> (N, C, *spatial)
    if not all(array.flags.c_contiguous for array in first):
        return windows, list(arrays)
    images = windows.batch * windows.channels
    return replace(windows, batch=images, channels=1), [array.reshape(images, *array.shape[2:], 1) for array in first]
