"""Adaptive pooling by blocks: cells may be far larger than chunks, and are then combined in trees."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xpconv._arrays.space import space_of
from xpconv._arrays.types import Array
from xpconv._chunks import cells, tasks
from xpconv._chunks.adjoints import routed, shape_of
from xpconv._chunks.asked import Asked, empty
from xpconv._chunks.cells import Slice
from xpconv._chunks.graph import ARITY, Graph, Source
from xpconv._chunks.grid import Grid, Line, lines, slab
from xpconv._chunks.pools import pairs_of
from xpconv._shapes import read
from xpconv._shapes.chunks import Read, whole
from xpconv._shapes.geometry import Interval, Ints
from xpconv._shapes.layout import in_layout

NEAR = 3  # chunks that a task reads along an axis; where cells reach further, each chunk has a task


@dataclass(frozen=True)
class Axis:
    """An axis of so many pixels in so many cells; pixels may be the fewer."""

    pixels: int
    cells: int

    def reach(self, those: Interval) -> Interval:
        """Give the pixels of a range of cells."""
        return those[0] * self.pixels // self.cells, -(-those[1] * self.pixels // self.cells)

    @property
    def turned(self) -> Axis:
        """The axis seen from its pixels, each of which lies in a range of cells."""
        return Axis(self.cells, self.pixels)

    def sizes(self, those: Interval) -> Ints:
        """Count the pixels of each cell of a range."""
        return tuple(b - a for a, b in self.within(those, (0, self.pixels)))

    def within(self, those: Interval, pixels: Interval) -> tuple[Interval, ...]:
        """Give the part of each cell of a range that lies in a range of pixels, counted from the first of these."""
        first, last = pixels
        found = []
        for cell in range(*those):
            low, high = self.reach((cell, cell + 1))
            low, high = min(max(low, first), last), max(min(high, last), first)
            found.append((low - first, max(high, low) - first))
        return tuple(found)

    def cut(self, bounds: Ints) -> Ints:
        """Cut the cells where the middle of one passes into the next chunk."""
        # (2 o + 1) n / 2 m is the middle of cell o
        ends = {-((self.pixels - 2 * bound * self.cells) // (2 * self.pixels)) for bound in bounds[1:-1]}
        return tuple(sorted({min(max(end, 0), self.cells) for end in ends} | {0, self.cells}))


def _axes(asked: Asked) -> tuple[Ints, tuple[Axis, ...]]:
    shape, name = shape_of(asked)
    images, parts = read.adaptive(asked.name, shape, asked["output_shape"], asked.layout, name)
    if "dy" in asked.given:
        wanted = in_layout((images[0], *parts, images[-1]), asked.layout)
        read.whole(asked.name, "dy", asked["dy"].shape, wanted, "the output")
    return images, tuple(Axis(n, m) for n, m in zip(images[1:-1], parts, strict=True))


def pool(asked: Asked) -> Any:
    """Pool adaptively."""
    images, axes = _axes(asked)
    found = asked.outline
    if not images[0]:
        return asked.nothing()
    return Pool(asked, axes, asked.images("x", len(axes)), found).run()


@dataclass(frozen=True)
class Pool:
    """Adaptive pooling by blocks."""

    asked: Asked
    axes: tuple[Axis, ...]
    source: Source
    found: Any  # the results for no images
    maxima: bool = False  # for a gradient, whatever the operation

    @property
    def dtype(self) -> Any:
        """The dtype of the result."""
        return (self.found[0] if isinstance(self.found, tuple) else self.found).dtype

    @property
    def of_maxima(self) -> bool:
        """Whether maxima are taken, not means."""
        return self.maxima or "return_indices" in self.asked.given

    def run(self) -> Any:
        """Make the graph."""
        asked, source, graph = self.asked, self.source, self.asked.graph("forward" if self.maxima else "")
        order, pair = asked.order(len(self.axes)), isinstance(self.found, tuple)
        own = [axis.cut(cuts) for axis, cuts in zip(self.axes, source.bounds[1:-1], strict=True)]
        shape = (source.shape[0], *(axis.cells for axis in self.axes), source.shape[-1])
        first, *spatial, last = asked.cut(shape, order, [source.bounds[0], *own, source.bounds[-1]])
        reads = [
            lines(source, number + 1, cuts, lambda those, axis=axis: whole(axis.reach(those)))  # type: ignore[misc]
            for number, (axis, cuts) in enumerate(zip(self.axes, spatial, strict=True))
        ]
        grid = Grid([lines(source, 0, first), *reads, lines(source, -1, last)], order)
        name = graph.name("both" if pair else "")
        for place, chosen in grid:
            self.block(graph, (name, *place), chosen, pair)
        return pairs_of(graph, grid, name, self.found) if pair else graph.array(name, grid.chunks, empty(self.found))

    def block(self, graph: Graph, key: Any, chosen: Sequence[Line], pair: bool) -> None:
        """Make the tasks of a block."""
        near = all(len(one.pieces) <= NEAR for one in chosen[1:-1])
        parts = [chosen] if near else list(self.apart(chosen))
        keys = []
        for number, reads in enumerate(parts):
            arguments, laid = slab(graph, self.source, reads)
            block = self.asked.block(cells.maxima if self.of_maxima else cells.sums, (laid,), self.settings(reads))
            keys.append(graph.add((graph.name("part"), *key[1:], number), block, *arguments))
        level = 0
        function = cells.best if self.of_maxima else tasks.total
        while len(keys) > 1:
            groups = [keys[first : first + ARITY] for first in range(0, len(keys), ARITY)]
            heads = []
            for number, group in enumerate(groups):
                heads.append(graph.add((graph.name("combined"), *key[1:], level, number), function, *graph.refs(group)))
            keys, level = heads, level + 1
        if self.of_maxima:
            graph.add(key, tasks.kept if pair else cells.values, graph.ref(keys[0]))
            return
        counts = tuple(axis.sizes(one.own) for axis, one in zip(self.axes, chosen[1:-1], strict=True))
        graph.add(key, cells.divided, graph.ref(keys[0]), counts=counts, layout=self.asked.layout, dtype=self.dtype)

    def apart(self, chosen: Sequence[Line]) -> Any:
        """Give what a block reads, chunk by chunk."""
        batch, *spatial, channels = chosen
        ranges = []
        for axis, one in enumerate(spatial, start=1):
            bounds, (low, high) = self.source.bounds[axis], (one.read.start, one.read.start + one.read.size)
            cuts = [low, *(bound for bound in bounds if low < bound < high), high]
            ranges.append([Line(one.own, *self._piece(axis, own)) for own in itertools.pairwise(cuts)])
        for found in itertools.product(*ranges):
            yield (batch, *found, channels)

    def _piece(self, axis: int, own: Interval) -> tuple[Read, Any]:
        found = whole(own)
        return found, self.source.pieces(axis, found.runs)

    def settings(self, reads: Sequence[Line]) -> dict[str, Any]:
        """Say which part of which cells a task combines."""
        pixels = tuple((one.read.start, one.read.start + one.read.size) for one in reads[1:-1])
        those = tuple(axis.within(one.own, own) for axis, one, own in zip(self.axes, reads[1:-1], pixels, strict=True))
        settings: dict[str, Any] = {"cells": those, "layout": self.asked.layout}
        if self.of_maxima:
            settings["part"] = Slice(pixels, tuple(axis.pixels for axis in self.axes))
        return settings


def pool_vjp(asked: Asked) -> Array:
    """Give the gradient of an adaptive pooling's images."""
    images, axes = _axes(asked)
    like = asked.like
    if not images[0]:
        return asked.nothing()
    order, grads = asked.order(len(axes)), asked.images("dy", len(axes))
    source = asked.images("x", len(axes)) if hasattr(asked["x"], "chunks") else None
    cuts = asked.cut(images, order, _bounds(images, grads) if source is None else source.bounds)
    if asked.name == "adaptive_max_pool_vjp":
        places = asked.get("indices")
        if places is None:
            assert source is not None
            places = Pool(asked, axes, source, (like, indices_like(like)), maxima=True).run()[1]
        plane = tuple(axis.pixels for axis in axes)
        both = grads, asked.source(places, order)
        return routed(asked, both, cuts, lambda axis, own: axes[axis].turned.reach(own), plane)
    (first, *spatial, last), graph = cuts, asked.graph()
    reads = [_readers(grads, axis, number, own) for number, (axis, own) in enumerate(zip(axes, spatial, strict=True))]
    grid, name = Grid([lines(grads, 0, first), *reads, lines(grads, -1, last)], order), graph.name()
    for place, chosen in grid:
        arguments, laid = slab(graph, grads, chosen)
        block = asked.block(cells.spread, (laid,), {**_shares(axes, chosen), "layout": asked.layout})
        graph.add((name, *place), block, *arguments)
    return graph.array(name, grid.chunks, like)


def _bounds(images: Ints, grads: Source) -> list[Ints]:
    """Cut the pixels in proportion to the cells."""
    spatial = [
        tuple(sorted({bound * n // cuts[-1] for bound in cuts}))
        for n, cuts in zip(images[1:-1], grads.bounds[1:-1], strict=True)
    ]
    return [grads.bounds[0], *spatial, grads.bounds[-1]]


def indices_like(array: Array) -> Array:
    """Give an empty array of places, where another is."""
    space = space_of(array)
    return space.empty(array.shape, space.index_dtype)


def _readers(source: Source, axis: Axis, number: int, cuts: Ints) -> list[Line]:
    """Say which cells hold the pixels between bounds."""
    return lines(source, number + 1, cuts, lambda own: whole(axis.turned.reach(own)))


def _shares(axes: Sequence[Axis], chosen: Sequence[Line]) -> dict[str, Any]:
    """Say which cells hold each pixel of a block, and how large they are."""
    those = [(one.read.start, one.read.start + one.read.size) for one in chosen[1:-1]]
    return {
        "counts": tuple(axis.sizes(own) for axis, own in zip(axes, those, strict=True)),
        "cells": tuple(
            axis.turned.within(one.own, own) for axis, one, own in zip(axes, chosen[1:-1], those, strict=True)
        ),
    }
