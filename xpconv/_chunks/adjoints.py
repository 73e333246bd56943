"""Gradients of pooling, and folding, by blocks.

A block's task calls the operation on all windows that read any of the block's pixels, and keeps the block: the pixels
around it that these windows read as well are computed again by their own blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from xpconv._arrays.types import Array
from xpconv._chunks import cells, local, tasks
from xpconv._chunks.asked import Asked, names
from xpconv._chunks.cells import Slice
from xpconv._chunks.graph import Graph, Source
from xpconv._chunks.grid import Grid, Line, line, lines, slab
from xpconv._chunks.local import Crop
from xpconv._chunks.pools import options_of, windows_order
from xpconv._shapes import read
from xpconv._shapes.chunks import Read, blocks, input_bounds, whole
from xpconv._shapes.chunks import read as read_windows
from xpconv._shapes.geometry import Geometry, Interval, Ints
from xpconv._shapes.layout import in_layout


class Pixels(NamedTuple):
    """A block's pixels along an axis, the windows that read them, and all that these read."""

    own: Interval
    grads: Line
    read: Read
    images: Line | None

    @property
    def size(self) -> int:
        """The extent of the block."""
        return self.own[1] - self.own[0]

    @property
    def crop(self) -> tuple[slice, slice]:
        """Which of the pixels that the windows read are the block's, and their places in it."""
        first = self.read.start
        low, high = max(first, self.own[0]), min(first + self.read.size, self.own[1])
        return slice(low - first, high - first), slice(low - self.own[0], high - self.own[0])


@dataclass(frozen=True)
class Adjoint:
    """A gradient of images by blocks."""

    asked: Asked
    geometry: Geometry
    grads: Source  # (N, *O, C), or with the taps of each window (N, *O, *K, C)
    like: Array
    taps: int = 0  # axes of them

    def run(self) -> Array:
        """Make the graph."""
        asked, geometry, graph = self.asked, self.geometry, self.asked.graph()
        order, images, (first, *spatial, last) = asked.order(geometry.rank), self.images, self.cuts
        pixels = [[self.pixels(images, axis, own) for own in blocks(cuts)] for axis, cuts in enumerate(spatial)]
        grid = Grid([self.both(images, 0, first), *pixels, self.both(images, -1, last)], order)  # type: ignore[list-item]
        name = graph.name()
        for place, chosen in grid:
            self.block(graph, images, (name, *place), chosen, grid.shape(chosen))
        return graph.array(name, grid.chunks, self.like)

    @property
    def images(self) -> Source | None:
        """The images, where there are any beside their shape."""
        asked = self.asked
        return asked.images("x", self.geometry.rank) if hasattr(asked.get("x"), "chunks") else None

    @property
    def cuts(self) -> list[Ints]:
        """The bounds of the gradient's axes: as the caller wants them, as the images have them, or its own."""
        images, order = self.images, self.asked.order(self.geometry.rank)
        return self.asked.cut(self.geometry.input_shape, order, self.own if images is None else images.bounds)

    @property
    def own(self) -> list[Ints]:
        """The bounds of the gradient's axes, cut where the windows are cut."""
        spatial = [input_bounds(self.geometry, axis, self.grads.bounds[axis + 1]) for axis in range(self.geometry.rank)]
        return [self.grads.bounds[0], *spatial, self.grads.bounds[-1]]

    def both(self, images: Source | None, axis: int, cuts: Ints) -> list[Pixels]:
        """Read the batch, or the channels, of both arrays as they are."""
        found = lines(self.grads, axis, cuts)
        return [
            Pixels(one.own, one, one.read, None if images is None else line(images, axis, one.own)) for one in found
        ]

    def pixels(self, images: Source | None, axis: int, own: Interval) -> Pixels:
        """Say what is read for a range of pixels."""
        windows = self.geometry.readers(axis, own)
        if windows[0] >= windows[1]:
            nothing = Read((), 0, (0, 0), own[0])
            return Pixels(own, Line((0, 0), nothing, []), nothing, None)
        found = read_windows(self.geometry, axis, windows)
        pixels = None if images is None else Line(own, found, images.pieces(axis + 1, found.runs))
        return Pixels(own, line(self.grads, axis + 1, windows), found, pixels)

    def block(self, graph: Graph, images: Source | None, key: Any, chosen: Sequence[Any], shape: Ints) -> None:
        """Make the task of a block."""
        asked, geometry = self.asked, self.geometry
        reads = [one.read for one in chosen[1:-1]]
        if not all(one.size for one in reads):  # no window reads these pixels
            finish = tasks.Finish(names(self.like)[0])
            graph.add(key, tasks.constant, graph.small(self.like), shape=shape, finish=finish)
            return
        taps = [line(self.grads, geometry.rank + 1 + axis, (0, geometry.kernel[axis])) for axis in range(self.taps)]
        mine = [one.grads for one in chosen]
        arguments, laid = slab(graph, self.grads, (*mine[:-1], *taps, mine[-1]))
        slabs, settings = [laid], options_of(asked, geometry, reads)
        if images is None:
            settings["input_shape"] = in_layout(tuple(one.read.size for one in chosen), asked.layout)
        else:
            more, laid = slab(graph, images, [one.images for one in chosen])
            arguments, slabs = [*arguments, *more], [*slabs, laid]
        graph.add(key, asked.block(local.cropped, slabs, self.settings(chosen, settings, shape)), *arguments)

    def settings(self, chosen: Sequence[Any], settings: dict[str, Any], shape: Ints) -> dict[str, Any]:
        """Say what is called, and what is kept."""
        source, target = [slice(None)] * len(shape), [slice(None)] * len(shape)
        for axis, one in zip(self.asked.order(self.geometry.rank)[1:-1], chosen[1:-1], strict=True):
            source[axis], target[axis] = one.crop
        return {
            "function": self.asked.function,
            "settings": settings,
            "crop": Crop(tuple(source), tuple(target), shape),
        }


def pool_vjp(asked: Asked) -> Array:
    """Give the gradient of a pooling's images."""
    shape, name = shape_of(asked)
    function = asked.name.removeprefix("apart_")
    geometry = read.pool(function, shape, asked["window"], asked.windowing, name)
    read.gradient(function, "dy", asked["dy"].shape, geometry, asked.layout)
    like = asked.like
    if not geometry.batch:
        return asked.nothing()
    grads = asked.images("dy", geometry.rank)
    if asked.get("indices") is not None:
        places = asked.images("indices", geometry.rank)
        cuts = Adjoint(asked, geometry, grads, like).cuts
        return routed(asked, (grads, places), cuts, lambda axis, own: geometry.readers(axis, own), geometry.input)
    return Adjoint(asked, geometry, grads, like).run()


def shape_of(asked: Asked) -> tuple[Any, str]:
    """Give the shape of the images of a pooling's gradient, and the argument that tells it."""
    if "x" not in asked.given:
        return asked["input_shape"], "input_shape"
    x = asked["x"]
    return (x.shape, "x.shape") if hasattr(x, "shape") else (x, "x")


def routed(
    asked: Asked,
    sources: tuple[Source, Source],
    cuts: Sequence[Ints],
    readers: Callable[[int, Interval], Interval],
    plane: Ints,
) -> Array:
    """Add gradients up at the places that are known: a block takes those of the windows that read its pixels."""
    graph, order, rank = asked.graph(), asked.order(len(plane)), len(plane)
    (first, *spatial, last), name = cuts, graph.name()

    def reads(axis: int) -> Callable[[Interval], Read]:
        def found(own: Interval) -> Read:
            low, high = readers(axis, own)
            return whole((low, high)) if low < high else Read((), 0, (0, 0), low)

        return found

    grids = [
        Grid(
            [
                lines(one, 0, first),
                *(lines(one, axis + 1, spatial[axis], reads(axis)) for axis in range(rank)),
                lines(one, -1, last),
            ],
            order,
        )
        for one in sources
    ]
    for (place, chosen), (_, same) in zip(*grids, strict=True):
        if not all(one.read.size for one in chosen):  # no window reads these pixels
            finish, shape = tasks.Finish(names(asked.like)[0]), grids[0].shape(chosen)
            graph.add((name, *place), tasks.constant, graph.small(asked.like), shape=shape, finish=finish)
            continue
        arguments, laid = slab(graph, sources[0], chosen)
        more, spots = slab(graph, sources[1], same)
        part = Slice(tuple(one.own for one in chosen[1:-1]), plane)
        settings = {"name": asked.name, "part": part, "layout": asked.layout}
        graph.add((name, *place), asked.block(cells.routed, (laid, spots), settings), *arguments, *more)
    return graph.array(name, grids[0].chunks, asked.like)


def fold(asked: Asked) -> Array:
    """Add windows up where they came from."""
    cols, layout = asked["cols"], asked.layout
    geometry = read.windows(asked.name, asked["input_shape"], asked["window"], asked.windowing, "input_shape")
    order = windows_order(geometry.rank, layout)
    shape: list[int] = [0] * len(order)
    logical = (geometry.batch, *geometry.output, *geometry.kernel, geometry.channels)
    for axis, n in zip(order, logical, strict=True):
        shape[axis] = n
    read.whole(asked.name, "cols", cols.shape, tuple(shape), "the windows")
    like = asked.like
    if not geometry.batch:
        return asked.nothing()
    return Adjoint(asked, geometry, asked.source(cols, order), like, geometry.rank).run()
