"""Padding by blocks: the outer blocks grow; the gradient of a block gathers what repeats its pixels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

from xpconv._arrays.types import Array
from xpconv._chunks import local, tasks
from xpconv._chunks.asked import Asked, names
from xpconv._chunks.graph import Source
from xpconv._chunks.grid import Grid, Line, line, lines, slab
from xpconv._shapes import read
from xpconv._shapes.chunks import Read, Repeat, blocks, read_range, repeats
from xpconv._shapes.geometry import Geometry, Interval, Ints
from xpconv._shapes.layout import in_layout


def pad(asked: Asked) -> Array:
    """Pad."""
    geometry = read.padding(asked.name, "x.shape", asked["x"].shape, asked.windowing)
    like = asked.like
    if not geometry.batch:
        return asked.nothing()
    source, graph = asked.images("x", geometry.rank), asked.graph()
    sides = list(zip(geometry.input, geometry.padding, source.bounds[1:-1], strict=True))
    own = [(0, *(cut + before for cut in cuts[1:-1]), n + before + after) for n, (before, after), cuts in sides]
    first, *spatial, last = asked.cut(geometry.output_shape, source.order, [source.bounds[0], *own, source.bounds[-1]])
    pixels = [lines(source, axis + 1, cuts, _reader(geometry, axis)) for axis, cuts in enumerate(spatial)]
    grid = Grid([lines(source, 0, first), *pixels, lines(source, -1, last)], source.order)
    name = graph.name()
    for place, chosen in grid:
        reads = [one.read for one in chosen[1:-1]]
        if not all(one.size for one in reads):
            finish = tasks.Finish(names(like)[0])
            graph.add((name, *place), tasks.constant, graph.small(like), shape=grid.shape(chosen), finish=finish)
            continue
        arguments, laid = slab(graph, source, chosen)
        settings = {"padding": tuple(one.padding for one in reads), "layout": asked.layout}
        graph.add((name, *place), asked.block(asked.function, (laid,), settings), *arguments)
    return graph.array(name, grid.chunks, like)


def _reader(geometry: Geometry, axis: int) -> Callable[[Interval], Read]:
    """Give what says which pixels a range of the padded axis reads."""
    before, n = geometry.padding[axis][0], geometry.input[axis]
    return lambda own: read_range(geometry.mode, (own[0] - before, own[1] - before), n)


class Repeats(NamedTuple):
    """A block's pixels along an axis, and what repeats them in the padded image."""

    own: Interval
    found: list[tuple[Repeat, Line]]

    @property
    def size(self) -> int:
        """The extent of the block."""
        return self.own[1] - self.own[0]


def _repeats(source: Source, geometry: Geometry, axis: int, cuts: Ints) -> list[Repeats]:
    before = geometry.padding[axis][0]
    found = []
    for own in blocks(cuts):
        pairs = []
        for repeat in repeats(geometry, axis, own):
            low, high = repeat.pixels
            pairs.append((repeat, line(source, axis + 1, (low + before, high + before))))
        found.append(Repeats(own, pairs))
    return found


def pad_vjp(asked: Asked) -> Array:
    """Give the gradient of a padding."""
    geometry = read.padding(asked.name, "input_shape", asked["input_shape"], asked.windowing)
    wanted = in_layout(geometry.output_shape, asked.layout)
    if tuple(asked["dy"].shape) != wanted:
        raise ValueError(f"{asked.name}: dy has the padded shape, {wanted}; got dy.shape={tuple(asked['dy'].shape)}")
    like = asked.like
    if not geometry.batch:
        return asked.nothing()
    source, graph = asked.images("dy", geometry.rank), asked.graph()
    sides = zip(geometry.input, geometry.padding, source.bounds[1:-1], strict=True)
    own = [
        tuple(sorted({0, n, *(min(max(cut - before, 0), n) for cut in cuts[1:-1])})) for n, (before, _), cuts in sides
    ]
    first, *spatial, last = asked.cut(geometry.input_shape, source.order, [source.bounds[0], *own, source.bounds[-1]])
    pixels = [_repeats(source, geometry, axis, cuts) for axis, cuts in enumerate(spatial)]
    grid = Grid([lines(source, 0, first), *pixels, lines(source, -1, last)], source.order)  # type: ignore[list-item]
    name = graph.name()
    for place, (batch, *axes, channels) in grid:
        arguments, slabs, parts = [], [], []
        for chosen in itertools.product(*(repeated.found for repeated in axes)):  # type: ignore[attr-defined]
            more, laid = slab(graph, source, (batch, *(one for _, one in chosen), channels))
            arguments += more
            slabs.append(laid)
            parts.append(tuple((repeat.start, repeat.step) for repeat, _ in chosen))
        shape = tuple(one.size for one in (batch, *axes, channels))
        settings = {"parts": tuple(parts), "shape": shape, "layout": asked.layout}
        graph.add((name, *place), asked.block(local.folded, slabs, settings), *arguments)
    return graph.array(name, grid.chunks, like)
