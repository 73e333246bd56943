"""The gradients of a convolution by blocks, and transposed convolution.

A block of pixels reads the gradients of the windows that reach it, or what repeats it in the padding. A weight's
gradient has a partial sum for each block of windows; they are added up in trees whose shape the blocks decide.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from xpconv._arrays.types import Array
from xpconv._chunks import local, tasks
from xpconv._chunks.asked import Asked, empty, names
from xpconv._chunks.correlation import Correlation, Sums, channel_sums, join, part_of, windows_of
from xpconv._chunks.graph import Graph, Source
from xpconv._chunks.grid import Grid, Line, line, lines, slab
from xpconv._chunks.local import Layer, Part
from xpconv._plan.choose import choose
from xpconv._shapes import read
from xpconv._shapes.chunks import Repeat, blocks, input_bounds, repeats
from xpconv._shapes.chunks import read as read_windows
from xpconv._shapes.geometry import Geometry, Interval, Ints
from xpconv._shapes.layout import in_layout


class Reader(NamedTuple):
    """Pixels of the padded axis that repeat some of a block's, and the windows that read them."""

    repeat: Repeat
    windows: Line

    @property
    def pixels(self) -> int:
        """Count the pixels."""
        return self.repeat.pixels[1] - self.repeat.pixels[0]


class Pixels(NamedTuple):
    """A block's pixels along an axis, and all that reads them."""

    own: Interval
    readers: list[Reader]

    @property
    def size(self) -> int:
        """The extent of the block."""
        return self.own[1] - self.own[0]


def pixel_lines(source: Source, geometry: Geometry, axis: int, cuts: Ints) -> list[Pixels]:
    """Say which windows read the pixels between bounds of a spatial axis."""
    found = []
    for own in blocks(cuts):
        readers = []
        for repeat in repeats(geometry, axis, own):
            windows = geometry.readers(axis, repeat.pixels)
            if windows[0] < windows[1]:
                readers.append(Reader(repeat, line(source, axis + 1, windows)))
        found.append(Pixels(own, readers))
    return found


@dataclass(frozen=True)
class InputGradient:
    """The gradient of the images of a convolution by blocks; or a transposed convolution."""

    asked: Asked
    geometry: Geometry
    source: Source  # of the output's gradient
    layer: Layer
    like: Array
    bounds: list[Ints]  # of the images, (N, *spatial, C)
    what: str = ""

    def run(self, w: Array, b: Array | None = None) -> Array:
        """Make the graph."""
        geometry, source = self.geometry, self.source
        graph, (first, *spatial, last) = self.asked.graph(self.what), self.bounds
        axes = [pixel_lines(source, geometry, axis, cuts) for axis, cuts in enumerate(spatial)]
        # seen from its gradient, a convolution has its channels the other way round
        turned = replace(geometry, channels=geometry.filters, filters=geometry.channels)
        sums = channel_sums(turned, source.bounds[-1], last)
        grid: Any = Grid([lines(source, 0, first), *axes, sums], source.order)  # type: ignore[list-item]
        make = _Blocks(self, graph, graph.small(w), [] if b is None else [graph.small(b)])
        name = graph.name(self.what)
        for place, chosen in grid:
            make.block((name, *place), chosen, grid.shape(chosen))
        return graph.array(name, grid.chunks, self.like)


class _Blocks:
    """Makes the tasks of a gradient's blocks."""

    def __init__(self, run: InputGradient, graph: Graph, weight: Any, bias: list[Any]) -> None:
        self.run, self.graph, self.weight, self.bias = run, graph, weight, bias
        self.sums = names(run.like)[1]
        self.filters: dict[Interval, Line] = {}

    def block(self, key: Any, chosen: tuple[Any, ...], size: Ints) -> None:
        """Make the tasks of a block of this shape, in the caller's layout."""
        run, graph, (batch, *axes, one) = self.run, self.graph, chosen
        finish = tasks.Finish(run.layer.dtype, run.source.order[-1], slice(*one.own))
        if not all(pixels.readers for pixels in axes):  # no window reads them
            graph.add(key, tasks.constant, self.weight, *self.bias, shape=size, finish=finish)
            return
        single = len(one.channels) == 1
        layer, bias = (run.layer, self.bias) if single else (run.layer._replace(dtype=self.sums), [])
        partials = []
        for number, own in enumerate(one.channels):
            if own not in self.filters:
                self.filters[own] = line(run.source, -1, own)
            arguments, slabs, parts = self.parts(batch, axes, one, self.filters[own])
            depth = slice(*one.own) if run.geometry.groups == 1 else slice(None)
            gradient = local.Gradient(
                parts=parts,
                shape=tuple(each.size for each in chosen),
                weights=(..., depth, slice(*own)),
                channels=slice(*one.own),
            )
            settings = {"gradient": gradient, "layer": layer}
            block = run.asked.block(local.input_gradient, (*slabs, *[None] * (1 + len(bias))), settings)
            part = key if single else (graph.name(join(run.what, "part")), *key[1:], number)
            partials.append(graph.add(part, block, *arguments, self.weight, *bias))
        if not single:
            found = graph.tree(join(run.what, "sum"), key[1:], partials, 2)
            graph.add(key, tasks.summed, *found, *self.bias, count=len(found), finish=finish)

    def parts(self, batch: Line, axes: Sequence[Pixels], one: Sums, filters: Line) -> tuple[Any, Any, Any]:
        """Ask for what each part of a gradient reads: arguments, slabs, parts."""
        arguments, slabs, parts = [], [], []
        for readers in itertools.product(*(pixels.readers for pixels in axes)):
            more, laid = slab(self.graph, self.run.source, (batch, *(reader.windows for reader in readers), filters))
            arguments += more
            slabs.append(laid)
            spots = tuple((reader.repeat.start, reader.repeat.step) for reader in readers)
            parts.append(Part(self.local(batch, readers, one, filters), spots))
        return arguments, slabs, tuple(parts)

    def local(self, batch: Line, readers: Sequence[Reader], one: Sums, filters: Line) -> Geometry:
        """Give the geometry of a part's own call: the pixels from the first, the windows from the first."""
        geometry = self.run.geometry
        before = [
            lead + reader.repeat.pixels[0] - reader.windows.own[0] * step
            for (lead, _), step, reader in zip(geometry.padding, geometry.stride, readers, strict=True)
        ]
        shape = (batch.size, *[reader.pixels for reader in readers], one.size)
        windows = tuple([reader.windows.size for reader in readers])
        return part_of(geometry, shape, windows, tuple([(lead, 0) for lead in before]), filters.size, one.groups)


def _image_bounds(asked: Asked, geometry: Geometry, source: Source, shape: Ints) -> list[Ints]:
    """Cut a gradient of images as the images are cut, or else where the windows are."""
    if asked.get("x") is not None and hasattr(asked["x"], "chunks"):
        own = list(asked.images("x", geometry.rank).bounds)
    else:
        spatial = [input_bounds(geometry, axis, source.bounds[axis + 1]) for axis in range(geometry.rank)]
        own = [source.bounds[0], *spatial, (0, shape[-1])]
    return asked.cut(shape, source.order, own)


def input_grad(asked: Asked) -> Array:
    """Give the gradient of a convolution's images."""
    geometry = read.conv(
        asked.name, asked["input_shape"], asked["w"].shape, asked.windowing, ("input_shape", "w.shape")
    )
    read.gradient(asked.name, "dz", asked["dz"].shape, geometry, asked.layout)
    if not geometry.batch:
        return asked.nothing()
    return _input_grad(asked, geometry, asked.like)


def _input_grad(asked: Asked, geometry: Geometry, like: Array, what: str = "") -> Array:
    source = asked.images("dz", geometry.rank)
    bounds = _image_bounds(asked, geometry, source, geometry.input_shape)
    layer = Layer("conv_input_grad", asked.layout, names(like)[0], asked["algorithm"], conjugate=True)
    return InputGradient(asked, geometry, source, layer, like, bounds, what).run(asked["w"])


def transpose(asked: Asked) -> Array:
    """Convolve transposed."""
    x, w, b = asked["x"], asked["w"], asked["b"]
    geometry = read.transpose(asked.name, x.shape, w.shape, asked.windowing)
    if b is not None:
        read.whole(asked.name, "b", b.shape, (geometry.channels,), "the output channels")
    if not geometry.batch:
        return asked.nothing()
    source = asked.images("x", geometry.rank)
    spatial = [input_bounds(geometry, axis, source.bounds[axis + 1]) for axis in range(geometry.rank)]
    own = [source.bounds[0], *spatial, (0, geometry.channels)]
    bounds = asked.cut(geometry.input_shape, source.order, own)
    layer = Layer("conv_transpose", asked.layout, names(asked.like)[0])
    return InputGradient(asked, geometry, source, layer, asked.like, bounds).run(w, b)


@dataclass(frozen=True)
class WeightGradient:
    """The gradient of a weight: a partial sum for each block of windows, added up in trees."""

    asked: Asked
    geometry: Geometry
    images: Source
    grads: Source
    layer: Layer
    like: Array
    what: str
    function: Callable[..., Array] = local.weight_gradient
    more: Mapping[str, Any] = field(default_factory=dict)  # settings of another function

    def run(self) -> Array:
        """Make the graph."""
        geometry, images, grads = self.geometry, self.images, self.grads
        graph = self.asked.graph(self.what)
        batches = [(line(grads, 0, own), line(images, 0, own)) for own in blocks(grads.bounds[0])]
        spatial = [self.windows(axis) for axis in range(geometry.rank)]
        regions = list(itertools.product(batches, *spatial))
        name, make = graph.name(self.what), _Partial(self, graph)
        cut = channel_sums(geometry, images.bounds[-1], grads.bounds[-1])
        for number, one in enumerate(cut):
            for place, own in enumerate(one.channels):
                make.sum(self.key(name, place, number), regions, one, own)
        depth = tuple((b - a) // cut[0].groups for a, b in cut[0].channels)
        chunks = self.physical((*((k,) for k in geometry.kernel), depth, tuple(one.size for one in cut)))
        return graph.array(name, chunks, self.like)

    def windows(self, axis: int) -> list[tuple[Line, Line]]:
        """Cut the windows of an axis, and say what gradients and which pixels each range reads."""
        found = []
        for own in blocks(self.grads.bounds[axis + 1]):
            pixels = line(self.images, axis + 1, own, lambda windows: read_windows(self.geometry, axis, windows))
            if pixels.read.size:
                found.append((line(self.grads, axis + 1, own), pixels))
        return found

    def physical(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Bring what belongs to (*K, C/G, F) into the layout of the weight."""
        *kernel, depth, filters = values
        return values if self.layer.layout == "channels_last" else (filters, depth, *kernel)

    def key(self, name: str, depth: int, filters: int) -> Any:
        """Name a chunk of the gradient."""
        return (name, *self.physical((*(0,) * self.geometry.rank, depth, filters)))


class _Partial:
    """Makes the partial sums of a weight gradient."""

    def __init__(self, run: WeightGradient, graph: Graph) -> None:
        self.run, self.graph = run, graph
        self.sums = names(run.like)[1]

    def sum(self, key: Any, regions: list[Any], one: Sums, own: Interval) -> None:
        """Make the tasks of a chunk of the gradient."""
        run, graph = self.run, self.graph
        finish = tasks.Finish(names(run.like)[0])
        parts = [
            self.part((graph.name(f"{run.what}-part"), *key[1:], n), *each)
            for n, each in enumerate((region, one, own) for region in regions)
        ]
        if parts:
            found = graph.tree(f"{run.what}-sum", key[1:], parts)
            graph.add(key, tasks.summed, *found, count=len(found), finish=finish)
            return
        depth = (own[1] - own[0]) // one.groups
        shape = run.physical((*run.geometry.kernel, depth, one.size))
        graph.add(key, tasks.constant, graph.small(run.like), shape=shape, finish=finish)

    def part(self, key: Any, region: Any, one: Sums, own: Interval) -> Any:
        """Make the task of a partial sum."""
        run, graph = self.run, self.graph
        channels, filters = line(run.images, -1, own), line(run.grads, -1, one.own)
        grads, pixels = (*(each for each, _ in region), filters), (*(each for _, each in region), channels)
        arguments, laid = slab(graph, run.images, pixels)
        more, gradient = slab(graph, run.grads, grads)
        settings = {
            "geometry": windows_of(run.geometry, pixels, one.size, one.groups),
            "layer": run.layer._replace(dtype=self.sums),
            **run.more,
        }
        return graph.add(key, run.asked.block(run.function, (laid, gradient), settings), *arguments, *more)


def weight_grad(asked: Asked) -> Array:
    """Give the gradient of a convolution's weight."""
    x, dz = asked["x"], asked["dz"]
    geometry = read.conv(asked.name, x.shape, asked["kernel_shape"], asked.windowing, ("x.shape", "kernel_shape"))
    read.gradient(asked.name, "dz", dz.shape, geometry, asked.layout)
    return _weight_grad(asked, geometry, asked.like) if geometry.batch else asked.nothing()


def _weight_grad(asked: Asked, geometry: Geometry, like: Array, what: str = "weight") -> Array:
    chosen = choose(asked.call("x", "dz"), geometry, asked["algorithm"], gradient=True).algorithm
    layer = Layer("conv_weight_grad", asked.layout, names(like)[0], chosen)
    images, grads = asked.images("x", geometry.rank), asked.images("dz", geometry.rank)
    return WeightGradient(asked, geometry, images, grads, layer, like, what).run()


def bias_grad(
    asked: Asked,
    rank: int,
    like: Array,
    function: Callable[..., Array] = local.bias_gradient,
    more: Mapping[str, Any] | None = None,
) -> Array:
    """Sum the gradient of an output over batch and pixels: a partial sum for each chunk."""
    source, graph, what = asked.images("dz", rank), asked.graph("bias"), "bias"
    dtype, sums = names(like)
    name, ranges = graph.name(what), [lines(source, axis, cuts) for axis, cuts in enumerate(source.bounds)]
    layer = Layer("conv_bias_grad", asked.layout, sums)
    for number, filters in enumerate(ranges[-1]):
        parts = []
        for place, region in enumerate(itertools.product(*ranges[:-1])):
            axes = (*region, filters)
            arguments, laid = slab(graph, source, axes)
            block = asked.block(function, (laid,), {"layer": layer, **(more or {})})
            parts.append(graph.add((graph.name("bias-part"), number, place), block, *arguments))
        found = graph.tree("bias-sum", (number,), parts)
        graph.add((name, number), tasks.summed, *found, count=len(found), finish=tasks.Finish(dtype))
    return graph.array(name, (tuple(one.size for one in ranges[-1]),), like)


def vjp(asked: Asked) -> tuple[Array, Array, Array]:
    """Give all three gradients of a convolution."""
    geometry = read.conv(asked.name, asked["x"].shape, asked["w"].shape, asked.windowing)
    read.gradient(asked.name, "dz", asked["dz"].shape, geometry, asked.layout)
    if not geometry.batch:
        nothing: tuple[Array, Array, Array] = asked.nothing()
        return nothing
    dx, dw, db = map(empty, asked.outline)
    return (
        _input_grad(asked, geometry, dx, "input"),
        _weight_grad(asked, geometry, dw),
        bias_grad(asked, geometry.rank, db),
    )


def transpose_vjp(asked: Asked) -> tuple[Array, Array, Array]:
    """Give all three gradients of a transposed convolution."""
    x, w = asked["x"], asked["w"]
    geometry = read.transpose(asked.name, x.shape, w.shape, asked.windowing)
    read.whole(asked.name, "dz", asked["dz"].shape, in_layout(geometry.input_shape, asked.layout), "the output")
    if not geometry.batch:
        nothing: tuple[Array, Array, Array] = asked.nothing()
        return nothing
    dx, dw, db = map(empty, asked.outline)
    call, dtype = asked.call("x", "w", "dz"), names(dx)[0]
    images, grads = asked.images("dz", geometry.rank), asked.images("x", geometry.rank)
    layer = Layer("conv", asked.layout, dtype, choose(call, geometry, "auto").algorithm, conjugate=True)
    summing = Layer(
        "conv_weight_grad", asked.layout, dtype, choose(call, geometry, "auto", gradient=True).algorithm, conjugate=True
    )
    return (
        Correlation(asked, geometry, images, layer, "input", grads.bounds).run(w, None),
        WeightGradient(asked, geometry, images, grads, summing, dw, "weight").run(),
        bias_grad(asked, geometry.rank, db),
    )
