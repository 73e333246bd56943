"""Cut arrays into tiles, and the channels of a layer into blocks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xpconv._shapes.geometry import Geometry, Interval, Ints, Region, Run, runs

EVEN = 8  # pieces of an axis, from which on a rest at its end hardly counts
PARTS = 16  # parallel pieces that work is cut into, so that the cut does not depend on the number of threads


def intervals(size: int, step: int) -> list[Interval]:
    """Cut range(size) into pieces of `step`."""
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def block(shape: Ints, pixels: int) -> Ints:
    """Cut a block of at most `pixels` out of `shape`, whole inner axes first, the cut axis in even parts."""
    sizes: list[int] = []
    for n in reversed(shape):
        fits = max(min(pixels, n), 1)
        even = -(-n // -(-n // fits)) if n else 1
        sizes.append(even)
        pixels = pixels // even if even == n else 1
    return tuple(reversed(sizes))


def cube(shape: Ints, step: Ints, pixels: int, longest: int) -> Ints:
    """Cut a block of at most `pixels` out of one image, about as long along each axis and at most `longest`.

    `shape` and the block are counted in steps of so many pixels along each axis. Long axes are cut by powers of two, as
    chunks of an image mostly are, others in even parts.
    """
    sizes, axes = [1] * len(shape), range(1, len(shape))
    for left, axis in enumerate(sorted(axes, key=lambda axis: shape[axis] * step[axis]), start=-len(axes)):
        n, side = max(shape[axis], 1), min(int(max(pixels, 1) ** (-1 / left) + 1e-9), longest)
        side = max(side // step[axis], 1)
        sizes[axis] = 1 << side.bit_length() - 1 if n >= EVEN * side else -(-n // -(-n // min(side, n)))
        pixels //= sizes[axis] * step[axis]
    return tuple(sizes)


class Tiles(Sequence[Region]):
    """The tiles that cut (n, *output), in order; each is made when it is asked for."""

    def __init__(self, shape: Ints, tile: Ints) -> None:
        self.shape, self.tile = shape, tile
        self.counts = tuple(-(-n // step) for n, step in zip(shape, tile, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def stretches(self, parts: int) -> list[Interval]:
        """Cut the tiles into so many stretches at most, as even as it goes."""
        count = len(self)
        return intervals(count, -(-count // min(parts, count)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        region: list[Interval] = []
        for n, step, count in zip(reversed(self.shape), reversed(self.tile), reversed(self.counts), strict=True):
            index, place = divmod(index, count)
            region.append((place * step, min((place + 1) * step, n)))
        if index:
            raise IndexError("tile index out of range")
        return tuple(reversed(region))


def slices(region: Region) -> tuple[slice, ...]:
    """Turn a region into an index of an array (n, *output, channels)."""
    return (*(slice(*interval) for interval in region), slice(None))


def sizes(region: Region) -> Ints:
    """Give the spatial sizes of a region."""
    return tuple(stop - start for start, stop in region[1:])


@dataclass(frozen=True)
class Cut:
    """Channels that are taken by themselves."""

    geometry: Geometry
    inputs: slice
    filters: slice
    weights: tuple[Any, ...]  # index of the weights (*K, C/G, F)


def channel_blocks(geometry: Geometry, count: int) -> list[Cut]:
    """Cut the groups, or where there is one the input channels."""
    if count == 1:
        return [Cut(geometry, slice(None), slice(None), (...,))]
    depth, width = geometry.channels // geometry.groups, geometry.filters // geometry.groups
    blocks = []
    if geometry.groups == 1:
        for a, b in intervals(geometry.channels, -(-geometry.channels // count)):
            part = replace(geometry, channels=b - a)
            blocks.append(Cut(part, slice(a, b), slice(None), (..., slice(a, b), slice(None))))
        return blocks
    for a, b in intervals(geometry.groups, -(-geometry.groups // count)):
        part = replace(geometry, channels=(b - a) * depth, filters=(b - a) * width, groups=b - a)
        filters = slice(a * width, b * width)
        blocks.append(Cut(part, slice(a * depth, b * depth), filters, (..., filters)))
    return blocks


def filter_blocks(geometry: Geometry, count: int) -> list[Cut]:
    """Cut the groups, and where there are more blocks than groups the filters of each."""
    if count <= geometry.groups:
        return channel_blocks(geometry, count)
    width = geometry.filters // geometry.groups
    step, blocks = -(-width // (count // geometry.groups)), []
    for group in channel_blocks(geometry, geometry.groups):
        start = group.filters.start or 0
        for a, b in intervals(width, step):
            filters = slice(start + a, start + b)
            blocks.append(Cut(replace(group.geometry, filters=b - a), group.inputs, filters, (..., filters)))
    return blocks


def halvings(geometry: Geometry) -> Iterator[list[Cut]]:
    """Give ever smaller blocks of filters, down to single ones."""
    groups, width = geometry.groups, geometry.filters // geometry.groups
    for most, each in ((groups, 1), (width, groups)):
        count = 1
        while count < most:
            count = min(2 * count, most)
            yield filter_blocks(geometry, count * each)


@dataclass(frozen=True)
class Strip:
    """A part of a padding with pixels of the image, along each axis in one run."""

    images: Interval
    places: tuple[Interval, ...]  # within the run of each axis
    runs: tuple[Run, ...]

    @property
    def pixels(self) -> Region:
        """The padded image's pixels, counted from the image's first."""
        return tuple((run.first + a, run.first + b) for run, (a, b) in zip(self.runs, self.places, strict=True))


def padding_strips(geometry: Geometry, elements: int) -> Iterator[Strip]:
    """Cut the padding of a geometry, in a fixed order, into strips of at most so many elements."""
    pairs = zip(geometry.input, geometry.padding, strict=True)
    axes = [runs(geometry.mode, -before, n + after, n) for n, (before, after) in pairs]
    inside = tuple(0 if len(axis) == 1 else next(i for i, r in enumerate(axis) if r.first == 0) for axis in axes)
    combinations = itertools.product(*(range(len(axis)) for axis in axes)) if geometry.batch else ()
    for chosen in combinations:
        if chosen == inside:
            continue
        combination = tuple(axis[i] for axis, i in zip(axes, chosen, strict=True))
        shape = (geometry.batch, *(run.length for run in combination))
        for images, *places in Tiles(shape, block(shape, max(elements // geometry.channels, 1))):
            yield Strip(images, tuple(places), combination)
