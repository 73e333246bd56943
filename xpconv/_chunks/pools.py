"""Pooling and unfolding by blocks: plain calls of the operation on what the windows of a block read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpconv._chunks import local, tasks
from xpconv._chunks.asked import Asked, empty, names
from xpconv._chunks.graph import Graph
from xpconv._chunks.grid import Grid, Line, lines, slab, window_lines
from xpconv._chunks.local import Plane
from xpconv._shapes import read
from xpconv._shapes.chunks import Read, output_bounds
from xpconv._shapes.geometry import Geometry, Ints, Pairs

# the options that a block's call has as the whole call has them
OPTIONS = ("p", "window", "stride", "dilation", "layout", "ties", "count_include_pad", "return_indices")


def options_of(asked: Asked, geometry: Geometry, reads: Sequence[Read]) -> dict[str, Any]:
    """Give the options of a block's own call, with the padding that its windows read."""
    found = {name: asked[name] for name in OPTIONS if name in asked.given}
    if "padding" in asked.given:
        found["padding"] = tuple(one.padding for one in reads)
    if "ceil_mode" in asked.given:
        # windows that stick out beyond the declared padding: what lies there is none
        pairs: Pairs = geometry.padding
        found["padding"] = tuple(
            (one.padding[0], min(one.padding[1], after)) for one, (_, after) in zip(reads, pairs, strict=True)
        )
        found["ceil_mode"] = True
    return found


def pool(asked: Asked) -> Any:
    """Pool with windows at a stride."""
    geometry = read.pool(asked.name, asked["x"].shape, asked["window"], asked.windowing)
    found = asked.outline
    if not geometry.batch:
        return asked.nothing()
    source, graph = asked.images("x", geometry.rank), asked.graph()
    own = [output_bounds(geometry, axis, source.bounds[axis + 1]) for axis in range(geometry.rank)]
    first, *spatial, last = asked.cut(geometry.output_shape, source.order, [source.bounds[0], *own, source.bounds[-1]])
    windows = [window_lines(source, geometry, axis, cuts) for axis, cuts in enumerate(spatial)]
    grid = Grid([lines(source, 0, first), *windows, lines(source, -1, last)], source.order)
    pair = isinstance(found, tuple)
    name = graph.name("both" if pair else "")
    for place, chosen in grid:
        arguments, laid = slab(graph, source, chosen)
        reads = [one.read for one in chosen[1:-1]]
        settings: dict[str, Any] = options_of(asked, geometry, reads)
        if pair:
            plane = Plane(tuple(one.size for one in reads), tuple(one.start for one in reads), geometry.input)
            settings = {"function": asked.function, "settings": settings, "plane": plane}
        block = asked.block(local.located if pair else asked.function, (laid,), settings)
        graph.add((name, *place), block, *arguments)
    return pairs_of(graph, grid, name, found) if pair else graph.array(name, grid.chunks, empty(found))


def pairs_of(graph: Graph, grid: Grid, name: str, found: Any) -> tuple[Any, ...]:
    """Give the two results of tasks that have both."""
    keys = [key for key in graph.tasks if key[0] == name]
    given = []
    for number, what in enumerate(("values", "indices")):
        own = {(graph.name(what), *key[1:]): key for key in keys}
        items = {key: graph.item(key, source, number) for key, source in own.items()}
        given.append(graph.array(graph.name(what), grid.chunks, empty(found[number]), items))
    return tuple(given)


def windows_order(rank: int, layout: str) -> Ints:
    """Give the axes of (N, *O, *K, C) in the layout of unfolded windows."""
    if layout == "channels_last":
        return (*range(2 * rank + 2),)
    # (N, C, *K, *O)
    return (0, *range(rank + 2, 2 * rank + 2), *range(2, rank + 2), 1)


def unfold(asked: Asked) -> Any:
    """Copy windows."""
    geometry = read.windows(asked.name, asked["x"].shape, asked["window"], asked.windowing)
    like = asked.like
    if not geometry.batch:
        return asked.nothing()
    source, graph, rank = asked.images("x", geometry.rank), asked.graph(), geometry.rank
    own = [output_bounds(geometry, axis, source.bounds[axis + 1]) for axis in range(rank)]
    taps = [(0, k) for k in geometry.kernel]
    order = windows_order(rank, asked.layout)
    shape = (geometry.batch, *geometry.output, *geometry.kernel, geometry.channels)
    first, *middle, last = asked.cut(shape, order, [source.bounds[0], *own, *taps, source.bounds[-1]])
    if middle[rank:] != taps:
        raise ValueError(f"{asked.name}: a chunk has all taps of its windows; got chunks={asked.chunks!r}")
    windows = [window_lines(source, geometry, axis, cuts) for axis, cuts in enumerate(middle[:rank])]
    kernel = [[Line((0, k), Read((), k, (0, 0), 0), [])] for k in geometry.kernel]
    grid = Grid([lines(source, 0, first), *windows, *kernel, lines(source, -1, last)], order)
    name = graph.name()
    for place, chosen in grid:
        reads = [one.read for one in chosen[1 : rank + 1]]
        if not all(one.size for one in reads):  # windows that lie in the padding alone
            finish = tasks.Finish(names(like)[0])
            graph.add((name, *place), tasks.constant, graph.small(like), shape=grid.shape(chosen), finish=finish)
            continue
        arguments, laid = slab(graph, source, (*chosen[: rank + 1], chosen[-1]))
        block = asked.block(asked.function, (laid,), options_of(asked, geometry, reads))
        graph.add((name, *place), block, *arguments)
    return graph.array(name, grid.chunks, like)
