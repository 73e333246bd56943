"""The blocks of a result: along each axis, what each of them reads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from xpconv._chunks.graph import Graph, Source
from xpconv._chunks.tasks import Slab
from xpconv._shapes.chunks import Piece, Read, blocks, read, whole
from xpconv._shapes.geometry import Geometry, Interval, Ints


class Line(NamedTuple):
    """What a range of an axis of a result reads along an axis of a source."""

    own: Interval  # of the result
    read: Read
    pieces: list[Piece]

    @property
    def size(self) -> int:
        """The extent of the block."""
        return self.own[1] - self.own[0]


def lines(source: Source, axis: int, bounds: Ints, reads: Callable[[Interval], Read] = whole) -> list[Line]:
    """Say what each block between bounds reads along an axis of a source."""
    return [line(source, axis, own, reads) for own in blocks(bounds)]


def line(source: Source, axis: int, own: Interval, reads: Callable[[Interval], Read] = whole) -> Line:
    """Say what a range of a result reads along an axis of a source."""
    found = reads(own)
    return Line(own, found, source.pieces(axis, found.runs))


def window_lines(source: Source, geometry: Geometry, axis: int, bounds: Ints) -> list[Line]:
    """Say what the windows between bounds read along a spatial axis."""
    return lines(source, axis + 1, bounds, lambda own: read(geometry, axis, own))


def slab(graph: Graph, source: Source, chosen: Sequence[Line]) -> tuple[list[Any], Slab]:
    """Ask for what lines read."""
    return graph.slab(source, [one.pieces for one in chosen], [one.read.size for one in chosen])


@dataclass(frozen=True)
class Grid:
    """The blocks of a result, whose axes are those of the lines in another order."""

    axes: Sequence[Sequence[Line]]
    order: Ints  # the result's axis of each

    def __iter__(self) -> Iterator[tuple[Ints, tuple[Line, ...]]]:
        places = itertools.product(*(range(len(axis)) for axis in self.axes))
        for place, chosen in zip(places, itertools.product(*self.axes), strict=True):
            yield self.physical(place), chosen

    def physical(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Bring what belongs to the lines into the order of the result's axes."""
        found: list[Any] = [None] * len(self.order)
        for axis, value in zip(self.order, values, strict=True):
            found[axis] = value
        return tuple(found)

    def shape(self, chosen: Sequence[Line]) -> Ints:
        """Give the shape of a block."""
        return self.physical([one.size for one in chosen])

    @property
    def chunks(self) -> tuple[Ints, ...]:
        """The sizes of the blocks along each axis of the result."""
        return self.physical([tuple(one.size for one in axis) for axis in self.axes])
