"""Convolution by blocks: each block of the result reads the pixels of its windows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from xpconv._arrays.types import Array
from xpconv._chunks import local, tasks
from xpconv._chunks.asked import Asked, names
from xpconv._chunks.graph import Graph, Source
from xpconv._chunks.grid import Grid, Line, line, lines, slab, window_lines
from xpconv._chunks.local import Layer
from xpconv._plan.choose import choose
from xpconv._shapes import read
from xpconv._shapes.chunks import blocks, output_bounds
from xpconv._shapes.geometry import Geometry, Interval, Ints, Pairs


class Sums(NamedTuple):
    """The output channels of a block, and the input channels that it sums over: one partial sum for each range."""

    own: Interval
    channels: list[Interval]
    groups: int

    @property
    def size(self) -> int:
        """Count the output channels."""
        return self.own[1] - self.own[0]

    def weights(self, channels: Interval, groups: int) -> Any:
        """Give the index of the weight (*K, C/G, F) for a partial sum."""
        return (..., slice(*channels) if groups == 1 else slice(None), slice(*self.own))


def channel_sums(geometry: Geometry, inputs: Ints, outputs: Ints) -> list[Sums]:
    """Cut the output channels at bounds, or with groups where whole groups of input or output channels end."""
    groups = geometry.groups
    if groups == 1:
        return [Sums(own, blocks(inputs), 1) for own in blocks(outputs)]
    depth, width = geometry.channels // groups, geometry.filters // groups
    ends = {-(-bound // depth) for bound in inputs[1:-1]} | {-(-bound // width) for bound in outputs[1:-1]}
    cuts = sorted({min(end, groups) for end in ends} | {0, groups})
    return [Sums((a * width, b * width), [(a * depth, b * depth)], b - a) for a, b in itertools.pairwise(cuts)]


@lru_cache(maxsize=4096)
def part_of(geometry: Geometry, shape: Ints, output: Ints, padding: Pairs, filters: int, groups: int) -> Geometry:
    """Give the geometry of a call on pixels of this shape (n, *spatial, C)."""
    batch, *size, channels = shape
    return replace(
        geometry,
        batch=batch,
        channels=channels,
        filters=filters,
        groups=groups,
        input=tuple(size),
        output=output,
        padding=padding,
        mode="zeros",
    )


def windows_of(geometry: Geometry, chosen: Sequence[Line], filters: int, groups: int) -> Geometry:
    """Give the geometry of a call on what lines of (N, *spatial, C) read."""
    spatial = chosen[1:-1]
    shape = tuple([one.read.size for one in chosen])
    output, padding = tuple([one.size for one in spatial]), tuple([one.read.padding for one in spatial])
    return part_of(geometry, shape, output, padding, filters, groups)


def conv(asked: Asked) -> Array:
    """Convolve."""
    x, w, b = asked["x"], asked["w"], asked["b"]
    geometry = read.conv(asked.name, x.shape, w.shape, asked.windowing)
    if b is not None:
        read.whole(asked.name, "b", b.shape, (geometry.filters,), "the output channels")
    like = asked.like
    if not geometry.batch:
        return asked.nothing()
    # once for all blocks, and as for the whole, so that all round alike and within the same bound
    chosen = choose(asked.call("x", "w", "b"), geometry, asked["algorithm"]).algorithm
    layer = Layer("conv", asked.layout, names(like)[0], chosen)
    return Correlation(asked, geometry, asked.images("x", geometry.rank), layer).run(w, b)


@dataclass(frozen=True)
class Correlation:
    """A convolution by blocks."""

    asked: Asked
    geometry: Geometry
    source: Source
    layer: Layer
    what: str = ""
    own: Sequence[Ints] = ()  # bounds of the result, where they are those of another array

    def run(self, w: Array, b: Array | None) -> Array:
        """Make the graph."""
        asked, geometry, source = self.asked, self.geometry, self.source
        graph = asked.graph(self.what)
        windows = [output_bounds(geometry, axis, source.bounds[axis + 1]) for axis in range(geometry.rank)]
        own = self.own or [source.bounds[0], *windows, (0, geometry.filters)]
        first, *spatial, last = asked.cut(geometry.output_shape, source.order, own)
        axes = [window_lines(source, geometry, axis, cuts) for axis, cuts in enumerate(spatial)]
        sums = channel_sums(geometry, source.bounds[-1], last)
        grid: Any = Grid([lines(source, 0, first), *axes, sums], source.order)  # type: ignore[list-item]
        make = _Blocks(self, graph, graph.small(w), [] if b is None else [graph.small(b)])
        name = graph.name(self.what)
        for place, chosen in grid:
            make.block((name, *place), chosen, grid.shape(chosen))
        return graph.array(name, grid.chunks, asked.like)


class _Blocks:
    """Makes the tasks of a convolution's blocks."""

    def __init__(self, run: Correlation, graph: Graph, weight: Any, bias: list[Any]) -> None:
        self.run, self.graph, self.weight, self.bias = run, graph, weight, bias
        self.sums = names(run.asked.like)[1]
        self.channels: dict[Interval, Line] = {}

    def block(self, key: Any, chosen: tuple[Any, ...], shape: Ints) -> None:
        """Make the tasks of a block."""
        run, graph, one = self.run, self.graph, chosen[-1]
        finish = tasks.Finish(run.layer.dtype, run.source.order[-1], slice(*one.own))
        if not all(each.read.size for each in chosen[:-1]):  # windows that lie in the padding alone
            graph.add(key, tasks.constant, self.weight, *self.bias, shape=shape, finish=finish)
            return
        single = len(one.channels) == 1
        layer, bias = (run.layer, self.bias) if single else (run.layer._replace(dtype=self.sums), [])
        parts = []
        for number, own in enumerate(one.channels):
            reads = (*chosen[:-1], self.line(own))
            arguments, laid = slab(graph, run.source, reads)
            settings = {
                "geometry": windows_of(run.geometry, reads, one.size, one.groups),
                "layer": layer,
                "weights": one.weights(own, run.geometry.groups),
            }
            block = run.asked.block(local.correlated, (laid, *[None] * (1 + len(bias))), settings)
            part = key if single else (graph.name(join(run.what, "part")), *key[1:], number)
            parts.append(graph.add(part, block, *arguments, self.weight, *bias))
        if not single:
            found = graph.tree(join(run.what, "sum"), key[1:], parts, 2)
            graph.add(key, tasks.summed, *found, *self.bias, count=len(found), finish=finish)

    def line(self, own: Interval) -> Line:
        """Say what a range of channels reads."""
        if own not in self.channels:
            self.channels[own] = line(self.run.source, -1, own)
        return self.channels[own]


def join(*words: str) -> str:
    """Join the words of a task's name."""
    return "-".join(filter(None, words))
