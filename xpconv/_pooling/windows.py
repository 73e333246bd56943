"""The windows of a pooling on all its axes. Sizes only."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from xpconv._pooling.lines import Parts, Strided
from xpconv._shapes.geometry import Geometry, Ints, Region


@dataclass(frozen=True)
class Windows:
    """The windows of a pooling on all its axes."""

    batch: int
    channels: int
    lines: tuple[Strided, ...]  # or all of them parts

    def __hash__(self) -> int:
        return self._hash  # what is planned for windows is kept, and found by them

    @cached_property
    def _hash(self) -> int:
        return hash((self.batch, self.channels, self.lines))

    @staticmethod
    @lru_cache(maxsize=1024)
    def of(geometry: Geometry) -> Windows:
        """Give the windows of a geometry."""
        sizes = geometry.input, geometry.output, geometry.kernel, geometry.stride, geometry.dilation, geometry.padding
        lines = [Strided(n, o, k, s, d, before, after) for n, o, k, s, d, (before, after) in zip(*sizes, strict=True)]
        return Windows(geometry.batch, geometry.channels, _in_order(lines))

    @staticmethod
    @lru_cache(maxsize=1024)
    def parts(images: Ints, output: Ints) -> Windows:
        """Cut the axes of images (N, *spatial, C) into so many windows; they lie at a stride if all are cut evenly."""
        axes = list(zip(images[1:-1], output, strict=True))
        if any(n % m for n, m in axes):
            return Windows(images[0], images[-1], tuple(Parts.of(n, m) for n, m in axes))
        return Windows(images[0], images[-1], _in_order([Strided(n, m, n // m, n // m) for n, m in axes]))

    @cached_property
    def cut(self) -> tuple[Parts, ...]:
        """The axes if they are cut into parts, none if windows lie at a stride."""
        return tuple(line for line in self.lines if isinstance(line, Parts))

    @property
    def strided(self) -> bool:
        """Whether windows lie at a stride; if not, they are parts of the axes."""
        return not self.cut

    @cached_property
    def overlap(self) -> bool:
        """Whether windows at a stride share pixels."""
        return self.strided and any(line.stride < line.span for line in self.lines)

    def part_of(self, whole: Windows) -> Windows:
        """Combine taps in the order in which those of a larger image are combined."""
        leads = [line.least if line.full else -1 for line in whole.lines]
        lines = tuple(replace(line, leads=lead) for line, lead in zip(self.lines, leads, strict=True))
        return replace(self, lines=lines)

    @property
    def turned(self) -> Windows:
        """Parts, seen from the pixels."""
        return replace(self, lines=tuple(line.turned for line in self.cut))

    @cached_property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.lines)

    @cached_property
    def input(self) -> Ints:
        """The spatial sizes of the images."""
        return tuple(line.size for line in self.lines)

    @cached_property
    def output(self) -> Ints:
        """The spatial sizes of the result."""
        return tuple(line.count for line in self.lines)

    @cached_property
    def input_shape(self) -> Ints:
        """The whole shape of the images, channels last."""
        return (self.batch, *self.input, self.channels)

    @cached_property
    def output_shape(self) -> Ints:
        """The whole shape of the result, channels last."""
        return (self.batch, *self.output, self.channels)

    @cached_property
    def units(self) -> Ints:
        """The units of pixels along each axis."""
        return tuple(line.units for line in self.lines)

    @cached_property
    def stride(self) -> Ints:
        """The pixels of a unit along each axis."""
        return tuple(line.stride for line in self.lines)

    @cached_property
    def taps(self) -> int:
        """The taps of the longest window."""
        return math.prod(line.kernel for line in self.lines)

    def inside(self, region: Region) -> bool:
        """Say whether every tap of a region's windows lies inside the image."""
        reaches = zip(self.lines, self.reach(region)[1:], strict=True)
        return all(low >= 0 and high <= line.size for line, (low, high) in reaches)

    def reach(self, region: Region) -> Region:
        """Give the images, and the pixels from the first tap of a region's windows to the last, with the padding."""
        return (region[0], *(line.reach(windows) for line, windows in zip(self.lines, region[1:], strict=True)))

    def pixels(self, region: Region) -> Region:
        """Give the images, and the pixels that a region of windows reads, at least one along each axis."""
        return (region[0], *(line.pixels(windows) for line, windows in zip(self.lines, region[1:], strict=True)))

    def readers(self, region: Region) -> Region:
        """Give the images, and the windows that may read a region of units, some beyond the ends of the output."""
        return (region[0], *(line.readers(units) for line, units in zip(self.lines, region[1:], strict=True)))

    def within(self, region: Region) -> Region:
        """Cut a region of windows at the ends of the output."""
        axes = zip(self.lines, region[1:], strict=True)
        return (region[0], *((max(low, 0), min(high, line.count)) for line, (low, high) in axes))

    def box(self, region: Region) -> Region:
        """Give the images, and the pixels of a region of units."""
        axes = zip(self.lines, region[1:], strict=True)
        return (region[0], *((a * line.stride, min(b * line.stride, line.size)) for line, (a, b) in axes))


def _in_order(lines: list[Strided]) -> tuple[Strided, ...]:
    return (*lines[:-1], replace(lines[-1], inner=True))
