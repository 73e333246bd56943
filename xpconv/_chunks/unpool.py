"""Max unpooling by blocks: where a value goes is known when it is computed, so a block reads its whole plane."""

from __future__ import annotations

from xpconv._arrays.types import Array
from xpconv._chunks import cells
from xpconv._chunks.asked import Asked
from xpconv._chunks.cells import Slice
from xpconv._chunks.grid import Grid, line, lines, slab
from xpconv._shapes.chunks import blocks, whole
from xpconv._shapes.geometry import Ints

MOST = 1 << 12  # pairs of chunks and blocks of a plane; where there are more, a plane is one block


def unpool(asked: Asked) -> Array:
    """Put each value where its maximum was."""
    like = asked.like  # made by the operation itself, which checks the shapes
    shape = asked["y"].shape
    rank = len(shape) - 2
    if not shape[0]:
        return asked.nothing()
    order = asked.order(rank)
    values, places = asked.images("y", rank), asked.images("indices", rank)
    plane = tuple(like_size(asked, rank))
    graph = asked.graph()
    own = [_scaled(cuts, n) for cuts, n in zip(values.bounds[1:-1], plane, strict=True)]
    whole_shape = (values.shape[0], *plane, values.shape[-1])
    first, *spatial, last = asked.cut(whole_shape, order, [values.bounds[0], *own, values.bounds[-1]])
    count = 1
    for cuts, given in zip(spatial, values.bounds[1:-1], strict=True):
        count *= (len(cuts) - 1) * (len(given) - 1)
    if count > MOST and asked.chunks is None:
        spatial = [(0, n) for n in plane]
    pooled = values.shape[1:-1]
    axes = [
        [line(values, axis + 1, own, lambda _, n=n: whole((0, n))) for own in blocks(cuts)]  # type: ignore[misc]
        for axis, (cuts, n) in enumerate(zip(spatial, pooled, strict=True))
    ]
    grid = Grid([lines(values, 0, first), *axes, lines(values, -1, last)], order)
    name = graph.name()
    for place, chosen in grid:
        arguments, laid = slab(graph, values, chosen)
        there = [
            line(places, axis, (one.read.start, one.read.start + one.read.size)) for axis, one in enumerate(chosen)
        ]
        more, spots = slab(graph, places, there)
        part = Slice(tuple(one.own for one in chosen[1:-1]), plane)
        block = asked.block(cells.put, (laid, spots), {"name": asked.name, "part": part, "layout": asked.layout})
        graph.add((name, *place), block, *arguments, *more)
    return graph.array(name, grid.chunks, like)


def like_size(asked: Asked, rank: int) -> Ints:
    """Give the spatial sizes of the result."""
    found = asked.outline.shape
    return tuple(found[axis] for axis in asked.order(rank)[1:-1])


def _scaled(bounds: Ints, size: int) -> Ints:
    """Cut an axis in proportion."""
    return tuple(sorted({bound * size // bounds[-1] for bound in bounds}))
