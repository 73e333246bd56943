"""Max unpooling by blocks, in two steps: a chunk sorts its values by where they go, a block puts those that it gets.

An index may point anywhere in its plane, but as a rule points into its own window. So a chunk hands what it has for the
blocks that it lies over, and for those around, to these, and the rest, mostly nothing, to all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from xpconv._chunks import places
from xpconv._chunks.asked import Asked
from xpconv._chunks.cells import Slice
from xpconv._chunks.graph import ARITY, Graph, Key, Source
from xpconv._chunks.grid import Grid, Line, line, lines, slab
from xpconv._chunks.places import Part
from xpconv._shapes.chunks import blocks, whole
from xpconv._shapes.geometry import Interval, Ints


class Chunk(NamedTuple):
    """A chunk of values along an axis, the blocks of the result that it lies over, and those around."""

    line: Line
    indices: Line  # the same places of the indices
    over: list[Interval]
    around: list[Interval]


def unpool(asked: Asked) -> Any:
    """Put each value where its maximum was."""
    like = asked.like  # made by the operation itself, which checks the shapes
    shape = asked["y"].shape
    rank = len(shape) - 2
    if not shape[0]:
        return asked.nothing()
    order = asked.order(rank)
    values, indices = asked.images("y", rank), asked.images("indices", rank)
    plane = tuple(asked.outline.shape[axis] for axis in order[1:-1])
    own = [_scaled(cuts, n) for cuts, n in zip(values.bounds[1:-1], plane, strict=True)]
    wanted = [values.bounds[0], *own, values.bounds[-1]]
    first, *spatial, last = asked.cut((values.shape[0], *plane, values.shape[-1]), order, wanted)
    graph, targets = asked.graph(), [blocks(cuts) for cuts in spatial]
    axes = [[Line(one, whole(one), []) for one in those] for those in targets]
    sources = values, indices
    chunks = [_chunks(sources, axis, n, those) for axis, (n, those) in enumerate(zip(plane, targets, strict=True))]
    grid = Grid([lines(values, 0, first), *axes, lines(values, -1, last)], order)
    name, sent = graph.name(), dict[tuple[Interval, Interval], Sorted]()
    for place, (images, *pixels, channels) in grid:
        ends = images.own, channels.own
        if ends not in sent:
            sent[ends] = Sorted(asked, graph, sources, (images, channels), len(sent)).of(chunks, plane)
        box = tuple(one.own for one in pixels)
        settings = {"shape": (images.size, channels.size), "part": Slice(box, plane), "layout": asked.layout}
        graph.add((name, *place), places.put, *sent[ends].to(box), **settings)
    return graph.array(name, grid.chunks, like)


class Sorted:
    """The values of some images and channels, sorted by the blocks that they go to."""

    def __init__(
        self, asked: Asked, graph: Graph, sources: tuple[Source, Source], ends: tuple[Line, Line], number: int
    ) -> None:
        self.asked, self.graph, self.sources, self.ends, self.number = asked, graph, sources, ends, number
        self.found: dict[tuple[Interval, ...], list[Key]] = {}  # what a block gets
        self.away, self.far = graph.name("away"), graph.name("elsewhere")
        self.rest: list[Any] = []

    def of(self, chunks: Sequence[Sequence[Chunk]], plane: Ints) -> Sorted:
        """Make the tasks that sort."""
        graph, (values, indices), (images, channels), rest = self.graph, self.sources, self.ends, []
        same, name = [line(indices, axis, one.own) for axis, one in ((0, images), (-1, channels))], graph.name("sort")
        numbers = itertools.product(*(range(len(axis)) for axis in chunks))
        for at, chosen in zip(numbers, itertools.product(*chunks), strict=True):
            arguments, laid = slab(graph, values, (images, *[one.line for one in chosen], channels))
            more, spots = slab(graph, indices, (same[0], *[one.indices for one in chosen], same[1]))
            over = set(itertools.product(*[one.over for one in chosen]))
            hull, around = [
                tuple([(those[0][0], those[-1][1]) for those in axes])
                for axes in ([one.over for one in chosen], [one.around for one in chosen])
            ]
            pooled = Slice(tuple([one.line.own for one in chosen]), values.shape[1:-1])
            part = Part(pooled, plane, hull, around)
            settings = {"name": self.asked.name, "layout": self.asked.layout, "part": part}
            block = self.asked.block(places.sort, (laid, spots), settings)
            key = graph.add((name, self.number, *at), block, *arguments, *more)
            away = self.away, *key[1:]
            graph.tasks[away] = graph.item(away, key, -1)
            rest.append(away)
            for box in itertools.product(*[one.around for one in chosen]):
                self.found.setdefault(box, []).append(key if box in over else away)
        firsts = [
            graph.add((self.far, self.number, start), places.elsewhere, *graph.refs(rest[start : start + ARITY]))
            for start in range(0, len(rest), ARITY)
        ]
        self.rest = graph.tree("rest", (self.number,), firsts)
        return self

    def to(self, box: tuple[Interval, ...]) -> list[Any]:
        """Refer to what there is for a block."""
        return [*self.graph.refs(self.found[box]), *self.rest]


def _chunks(sources: tuple[Source, Source], axis: int, size: int, targets: Sequence[Interval]) -> list[Chunk]:
    """Say which blocks of the result the chunks of a spatial axis lie over, both axes laid over each other."""
    values, indices = sources
    n, found = values.shape[axis + 1], []
    for own in blocks(values.bounds[axis + 1]):
        low, high = own[0] * size // n, -(-own[1] * size // n)
        over = [number for number, (a, b) in enumerate(targets) if a < high and b > low]
        near = targets[max(over[0] - 1, 0) : over[-1] + 2]
        mine, same = line(values, axis + 1, own), line(indices, axis + 1, own)
        found.append(Chunk(mine, same, [targets[number] for number in over], list(near)))
    return found


def _scaled(bounds: Ints, size: int) -> Ints:
    """Cut an axis in proportion."""
    return tuple(sorted({bound * size // bounds[-1] for bound in bounds}))
