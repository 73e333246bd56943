"""Gradients of pooling, and folding, by blocks.

A block's task calls the operation on all windows that read any of the block's pixels, and keeps the block: the pixels
around it that these windows read as well are computed again by their own blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from xpconv._arrays.types import Array
from xpconv._chunks import local, tasks
from xpconv._chunks.asked import Asked, names
from xpconv._chunks.graph import Graph, Source
from xpconv._chunks.grid import Grid, Line, line, lines, slab
from xpconv._chunks.local import Crop
from xpconv._chunks.pools import options_of, windows_order
from xpconv._shapes import read
from xpconv._shapes.chunks import Read, blocks, input_bounds
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
        order = asked.order(geometry.rank)
        images = asked.images("x", geometry.rank) if hasattr(asked.get("x"), "chunks") else None
        first, *spatial, last = asked.cut(geometry.input_shape, order, self.own if images is None else images.bounds)
        pixels = [[self.pixels(images, axis, own) for own in blocks(cuts)] for axis, cuts in enumerate(spatial)]
        grid = Grid([self.both(images, 0, first), *pixels, self.both(images, -1, last)], order)  # type: ignore[list-item]
        name = graph.name()
        for place, chosen in grid:
            self.block(graph, images, (name, *place), chosen, grid.shape(chosen))
        return graph.array(name, grid.chunks, self.like)

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
    own = "x" in asked.given
    shape, name = (asked["x"].shape, "x.shape") if own else (asked["input_shape"], "input_shape")
    function = asked.name.removeprefix("apart_")
    geometry = read.pool(function, shape, asked["window"], asked.windowing, name)
    read.gradient(function, "dy", asked["dy"].shape, geometry, asked.layout)
    like = asked.like
    if not geometry.batch:
        return asked.nothing()
    return Adjoint(asked, geometry, asked.images("dy", geometry.rank), like).run()


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
