"""Error bounds by blocks: of a convolution, and of its gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from xpconv._arrays.dtypes import accumulator, cast, dtype_name, is_kind, limits, read_dtype
from xpconv._arrays.space import space_of
from xpconv._arrays.types import Array
from xpconv._chunks import local, tasks
from xpconv._chunks.adjoints import Adjoint
from xpconv._chunks.adjoints import Pixels as Adjacent
from xpconv._chunks.asked import Asked, names
from xpconv._chunks.correlation import channel_sums
from xpconv._chunks.gradients import WeightGradient, bias_grad
from xpconv._chunks.graph import ARITY
from xpconv._chunks.grid import Grid, line, lines, slab, window_lines
from xpconv._chunks.local import Layer
from xpconv._plan.choose import choose
from xpconv._shapes import read
from xpconv._shapes.chunks import Read, blocks, input_bounds, output_bounds, whole
from xpconv._shapes.geometry import Geometry
from xpconv._shapes.layout import in_layout

LAYER = ("stride", "dilation", "padding_mode", "layout", "algorithm", "dtype")  # as the whole call has them


def _settings(asked: Asked, padding: Any, groups: int) -> dict[str, Any]:
    """Give the options of a block's own call; what its padding repeats, it reads."""
    found = {name: asked[name] for name in LAYER if name in asked.given}
    return {**found, "padding_mode": "zeros", "padding": padding, "groups": groups}


def conv(asked: Asked) -> Array:
    """Bound a convolution: a task has all channels that an output sums over, since a bound is of a whole sum."""
    w, b = asked["w"], asked["b"]
    geometry = read.conv(asked.name, asked["x"].shape, w.shape, asked.windowing)
    like = asked.like
    if not geometry.batch:
        return asked.nothing()
    source, graph = asked.images("x", geometry.rank), asked.graph()
    own = [output_bounds(geometry, axis, source.bounds[axis + 1]) for axis in range(geometry.rank)]
    wanted = [source.bounds[0], *own, (0, geometry.filters)]
    first, *spatial, last = asked.cut(geometry.output_shape, source.order, wanted)
    axes = [window_lines(source, geometry, axis, cuts) for axis, cuts in enumerate(spatial)]
    inputs = source.bounds[-1] if geometry.groups > 1 else (0, geometry.channels)
    grid: Any = Grid([lines(source, 0, first), *axes, channel_sums(geometry, inputs, last)], source.order)  # type: ignore[list-item]
    weight, bias, name = graph.small(w), [] if b is None else [graph.small(b)], graph.name()
    for place, (*chosen, one) in grid:
        if not all(each.read.size for each in chosen):  # a bias alone, or zero
            finish = tasks.Finish(names(like)[0])
            graph.add((name, *place), tasks.constant, weight, shape=grid.shape((*chosen, one)), finish=finish)
            continue
        (channels,) = one.channels
        arguments, laid = slab(graph, source, (*chosen, line(source, -1, channels)))
        settings = {
            "function": asked.function,
            "settings": _settings(asked, tuple(each.read.padding for each in chosen[1:]), one.groups),
            "filters": one.own,
        }
        block = asked.block(bounded, (laid, None, *[None] * len(bias)), settings)
        graph.add((name, *place), block, *arguments, weight, *bias)
    return graph.array(name, grid.chunks, like)


def bounded(x: Array, w: Array, b: Array | None = None, *, function: Any, settings: Any, filters: Any) -> Array:
    """Bound a block's convolution."""
    own = slice(*filters)
    w = w[own] if settings["layout"] == "channels_first" else w[..., own]
    return function(x, w, None if b is None else b[own], **settings)


def pixels(asked: Asked) -> Array:
    """Bound a gradient of images, or a transposed convolution: a task has all windows that read its pixels."""
    if asked.get("padding_mode", "zeros") != "zeros":
        return by_images(asked)
    w, b, transposed = asked["w"], asked.get("b"), "dz" not in asked.given
    if transposed:
        geometry = read.transpose(asked.name, asked["x"].shape, w.shape, asked.windowing)
    else:
        geometry = read.conv(asked.name, asked["input_shape"], w.shape, asked.windowing, ("input_shape", "w.shape"))
    like = asked.like
    if not geometry.batch:
        return asked.nothing()
    grads, order = asked.images("x" if transposed else "dz", geometry.rank), asked.order(geometry.rank)
    adjoint, graph = Adjoint(asked, geometry, grads, like), asked.graph()
    spatial = [input_bounds(geometry, axis, grads.bounds[axis + 1]) for axis in range(geometry.rank)]
    wanted = [grads.bounds[0], *spatial, (0, geometry.channels)]
    first, *cuts, last = asked.cut(geometry.input_shape, order, wanted)
    if len(last) > 2:
        raise ValueError(f"{asked.name}: a chunk has all channels; got chunks={asked.chunks!r}")
    axes = [[adjoint.pixels(None, axis, own) for own in blocks(those)] for axis, those in enumerate(cuts)]
    channels, everything = Read((), geometry.channels, (0, 0), 0), line(grads, -1, (0, geometry.filters))
    ends = [Adjacent((0, geometry.channels), everything, channels, None)]
    grid: Any = Grid([adjoint.both(None, 0, first), *axes, ends], order)  # type: ignore[list-item]
    key, more = graph.name(), [graph.small(array) for array in (w, b) if array is not None]
    given = {k: v for k, v in asked.given.items() if k in (*LAYER, "groups")}
    for place, chosen in grid:
        shape, reads = grid.shape(chosen), [one.read for one in chosen[1:-1]]
        if not all(one.size for one in reads):  # no window reads these pixels: zeros, or a bias as it is
            graph.add(
                (key, *place), tasks.constant, graph.small(like), shape=shape, finish=tasks.Finish(names(like)[0])
            )
            continue
        arguments, laid = slab(graph, grads, [one.grads for one in chosen])
        settings = given | {"padding": tuple(one.padding for one in reads)}
        if not transposed:
            settings["input_shape"] = in_layout(tuple(one.read.size for one in chosen), asked.layout)
        block = asked.block(local.cropped, (laid, *[None] * len(more)), adjoint.settings(chosen, settings, shape))
        graph.add((key, *place), block, *arguments, *more)
    return graph.array(key, grid.chunks, like)


def by_images(asked: Asked) -> Array:
    """Bound a gradient of images whose padding repeats them: a task has whole images."""
    like, shape, array = asked.like, asked.outline.shape, asked["dz"]
    rank = len(array.shape) - 2
    if not array.shape[0]:
        return asked.nothing()
    source, graph, order = asked.images("dz", rank), asked.graph(), asked.order(rank)
    result = (array.shape[0], *(shape[axis] for axis in order[1:]))
    first, *rest = asked.cut(result, order, [source.bounds[0], *((0, n) for n in result[1:])])
    if any(len(cuts) > 2 for cuts in rest):
        raise ValueError(f"{asked.name}: a chunk has whole images; got chunks={asked.chunks!r}")
    everything = [line(source, axis, (0, n), whole) for axis, n in enumerate(source.shape)][1:]
    key, weight = graph.name(), graph.small(asked["w"])
    for number, batch in enumerate(lines(source, 0, first)):
        arguments, laid = slab(graph, source, (batch, *everything))
        given = {k: v for k, v in asked.given.items() if k not in ("dz", "w")}
        given["input_shape"] = (batch.size, *given["input_shape"][1:])
        block = asked.block(asked.function, (laid, None), given)
        graph.add((key, number, *(0,) * (rank + 1)), block, *arguments, weight)
    chunks = [tuple(batch.size for batch in lines(source, 0, first)), *((n,) for n in shape[1:])]
    return graph.array(key, tuple(chunks), like)


class Summed(NamedTuple):
    """The bound of a sum that is taken in parts: theirs, and a share of the magnitude for adding them."""

    function: Callable[..., Array]
    share: float
    floor: float

    @staticmethod
    def of(asked: Asked, name: str, parts: int) -> Summed:
        """Count the additions that a part passes through in its tree."""
        xp = space_of(asked.like).xp
        dtype = read_dtype(asked.name, xp, asked.get("dtype") or asked[name].dtype)
        if is_kind(xp, dtype, "integral"):
            return Summed(asked.function, 0.0, 0.0)
        sums = accumulator(xp, dtype)
        additions = (ARITY - 1) * max(math.ceil(math.log(max(parts, 1), ARITY)), 1) + 2
        share, floor = 2 * additions * limits(xp, sums)[0], 0.0
        if sums != dtype:  # rounded at the end
            eps, smallest = limits(xp, dtype)
            share, floor = share + eps, smallest
        return Summed(asked.function, share, floor)

    def add(self, bound: Array, magnitude: Array) -> Array:
        """Give a part's share of the bound."""
        return bound * (1 + self.share) + magnitude * self.share + self.floor if self.share else bound


def weight(asked: Asked) -> Array:
    """Bound the gradient of a weight, chunk by chunk."""
    geometry = read.conv(
        asked.name, asked["x"].shape, asked["kernel_shape"], asked.windowing, ("x.shape", "kernel_shape")
    )
    read.gradient(asked.name, "dz", asked["dz"].shape, geometry, asked.layout)
    like = asked.like
    if not geometry.batch:
        return asked.nothing()
    images, grads = asked.images("x", geometry.rank), asked.images("dz", geometry.rank)
    parts = math.prod(len(cuts) - 1 for cuts in grads.bounds[:-1])
    chosen = choose(asked.call("x", "dz"), geometry, asked["algorithm"], gradient=True).algorithm
    layer = Layer(asked.name, asked.layout, names(like)[0], chosen)
    settings = {"summed": Summed.of(asked, "x", parts), "dtype": sums_of(asked, "x")}
    return WeightGradient(asked, geometry, images, grads, layer, like, "weight", weight_bounded, settings).run()


def sums_of(asked: Asked, name: str) -> str:
    """Name the dtype of the sums of a call."""
    xp = space_of(asked.like).xp
    return dtype_name(accumulator(xp, read_dtype(asked.name, xp, asked.get("dtype") or asked[name].dtype)))


def weight_bounded(x: Array, dz: Array, *, geometry: Geometry, layer: Layer, summed: Summed, dtype: str) -> Array:
    """Bound a block's part of the gradient of a weight."""
    kernel = geometry.kernel_shape
    shape = kernel if layer.layout == "channels_last" else (kernel[-1], kernel[-2], *kernel[:-2])
    bound = summed.function(
        dz,
        x,
        shape,
        stride=geometry.stride,
        padding=geometry.padding,
        dilation=geometry.dilation,
        groups=geometry.groups,
        layout=layer.layout,
        algorithm=layer.algorithm,
        dtype=dtype,
    )
    if not summed.share:
        return bound
    xp = space_of(x).xp
    sizes = [cast(xp, xp.abs(array), bound.dtype) for array in (x, dz)]
    plain = Layer("conv_weight_grad", layer.layout, dtype_name(bound.dtype))
    return summed.add(bound, local.weight_gradient(*sizes, geometry=geometry, layer=plain))


def bias(asked: Asked) -> Array:
    """Bound the gradient of a bias, chunk by chunk."""
    dz = asked["dz"]
    read.images(asked.name, "dz.shape", dz.shape, asked.layout)
    if not dz.shape[0]:
        return asked.nothing()
    rank = len(dz.shape) - 2
    cuts = asked.images("dz", rank).bounds
    settings = {
        "summed": Summed.of(asked, "dz", math.prod(len(one) - 1 for one in cuts[:-1])),
        "dtype": sums_of(asked, "dz"),
    }
    return bias_grad(asked, rank, asked.like, bias_bounded, settings)


def bias_bounded(dz: Array, *, layer: Layer, summed: Summed, dtype: str) -> Array:
    """Bound a block's part of the gradient of a bias."""
    bound = summed.function(dz, layout=layer.layout, dtype=dtype)
    xp = space_of(dz).xp
    sizes = cast(xp, xp.abs(dz), bound.dtype)
    return summed.add(bound, local.bias_gradient(sizes, layer=layer._replace(dtype=dtype_name(bound.dtype))))
