"""User input: each option of an operation is read once, here, and turned into a `Geometry`."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from xpconv._shapes.errors import Facts, freeze, whole_shape
from xpconv._shapes.geometry import Geometry, Ints, Pairs
from xpconv._shapes.layout import channels_last, channels_last_kernel, in_layout
from xpconv._shapes.options import LAYOUTS, PADDING_MODES

PLAIN = (int, str, type(None))  # types that need no freezing


class Windowing(NamedTuple):
    """The options of an operation with windows, as the caller gives them."""

    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: Any = 1
    mode: Any = "zeros"  # what the padding holds
    layout: Any = "channels_last"
    output_padding: Any = 0
    ceil_mode: Any = False

    def frozen(self) -> Windowing:
        """Turn what can be turned into hashable integers, words and tuples."""
        fixed = [value if type(value) in PLAIN else freeze(value) for value in self[:-1]]
        return Windowing._make([*fixed, bool(self.ceil_mode)])


def conv(
    function: str, x_shape: Any, w_shape: Any, asked: Windowing, names: tuple[str, str] = ("x.shape", "w.shape")
) -> Geometry:
    """Check the shapes and options of a convolution."""
    x_shape, w_shape = (
        whole_shape(function, name, shape) for name, shape in zip(names, (x_shape, w_shape), strict=True)
    )
    return _conv(function, x_shape, w_shape, asked.frozen(), names)


def transpose(function: str, x_shape: Any, w_shape: Any, asked: Windowing) -> Geometry:
    """Check a transposed convolution and give the geometry of the convolution that it transposes."""
    return _transpose(function, freeze(tuple(x_shape)), freeze(tuple(w_shape)), asked.frozen())


def pool(function: str, x_shape: Any, window: Any, asked: Windowing, name: str = "x.shape") -> Geometry:
    """Check the shapes and options of a pooling."""
    return _pool(function, whole_shape(function, name, x_shape), freeze(window), asked.frozen(), name)


def windows(function: str, x_shape: Any, window: Any, asked: Windowing, name: str = "x.shape") -> Geometry:
    """Check the shapes and options of an unfolding; padding may be any."""
    return _windows(function, whole_shape(function, name, x_shape), freeze(window), asked.frozen(), name)


def gradient(function: str, name: str, shape: Any, geometry: Geometry, layout: str) -> None:
    """Check that a gradient has the output's shape."""
    whole(function, name, shape, in_layout(geometry.output_shape, layout), "the output")


def whole(function: str, name: str, shape: Any, wanted: Ints, why: str) -> None:
    """Check an array's whole shape."""
    if tuple(shape) != wanted:
        raise ValueError(f"{function}: {name} has the shape of {why}, {wanted}; got {name}.shape={tuple(shape)}")


@lru_cache(maxsize=4096)
def _conv(function: str, x_shape: Ints, w_shape: Ints, asked: Windowing, names: tuple[str, str]) -> Geometry:
    facts = _kernel_facts(function, x_shape, w_shape, asked, names)
    facts.choice("padding_mode", asked.mode, PADDING_MODES)
    layer = _read_shapes(facts, x_shape, w_shape, asked, names)
    if layer.depth * asked.groups != layer.channels:
        of = f" x {asked.groups} groups" if asked.groups > 1 else ""
        facts.fail(f"the kernel has {layer.depth} input channels{of}, x has {layer.channels}")
    if layer.filters % asked.groups:
        facts.fail(f"the kernel has {layer.filters} output channels, which {asked.groups} groups do not divide")
    strides = facts.per_axis("stride", asked.stride, len(layer.size))
    geometry = _slide(facts, layer, strides, asked)
    facts.reachable(asked.mode, geometry.input, geometry.padding, "padding_mode")
    return replace(geometry, mode=asked.mode) if any(map(any, geometry.padding)) else geometry


def _kernel_facts(function: str, x_shape: Ints, w_shape: Ints, asked: Windowing, names: tuple[str, str]) -> Facts:
    shapes = (names[0], x_shape), (names[1], w_shape)
    return Facts(function, (*shapes, ("groups", asked.groups), ("layout", asked.layout)))


class _Layer(NamedTuple):
    """The sizes of a layer, channels last."""

    batch: int
    size: Ints
    channels: int
    kernel: Ints
    depth: int  # the last two axes of the kernel
    filters: int
    groups: int


def _read_shapes(facts: Facts, x_shape: Ints, w_shape: Ints, asked: Windowing, names: tuple[str, str]) -> _Layer:
    facts.choice("layout", asked.layout, LAYOUTS)
    rank = len(w_shape) - 2
    if rank not in (1, 2, 3):
        facts.fail(f"{names[1]} has {len(w_shape)} axes; 3, 4 or 5 are wanted: 1, 2 or 3 spatial axes")
    facts.sizes(names[0], x_shape, rank)
    batch, *size, channels = channels_last(x_shape, asked.layout)
    if any(not isinstance(n, int) for n in w_shape):
        facts.fail(f"{names[1]} holds whole, positive sizes")
    if min(w_shape) < 1:
        facts.fail(f"{names[1]} has an empty axis")
    if not isinstance(asked.groups, int) or asked.groups < 1:
        facts.fail(f"groups is a positive integer; got groups={asked.groups!r}")
    *kernel, depth, filters = channels_last_kernel(w_shape, asked.layout)
    return _Layer(batch, tuple(size), channels, tuple(kernel), depth, filters, asked.groups)


@lru_cache(maxsize=4096)
def _transpose(function: str, x_shape: Ints, w_shape: Ints, asked: Windowing) -> Geometry:
    names = ("x.shape", "w.shape")
    facts = _kernel_facts(function, x_shape, w_shape, asked, names)
    layer = _read_shapes(facts, x_shape, w_shape, asked, names)
    size, rank, groups = layer.size, len(layer.size), layer.groups
    if layer.filters != layer.channels:
        facts.fail(f"the kernel has {layer.filters} input channels, x has {layer.channels}")
    if layer.channels % groups:
        facts.fail(f"x has {layer.channels} channels, which {groups} groups do not divide")
    strides = facts.per_axis("stride", asked.stride, rank)
    dilations = facts.per_axis("dilation", asked.dilation, rank)
    extra = facts.per_axis("output_padding", asked.output_padding, rank, least=0)
    span = _span(layer.kernel, dilations)
    for more, step, spread in zip(extra, strides, dilations, strict=True):
        if more >= max(step, spread):
            facts.fail(f"output_padding is below max(stride, dilation); got output_padding={asked.output_padding!r}")
    if asked.padding == "causal":
        facts.fail("padding 'causal' has no meaning for a transposed convolution")
    if asked.padding in ("same", "same_lower"):
        totals = [(n - 1) * s + w + e - n * s for n, s, w, e in zip(size, strides, span, extra, strict=True)]
        # a negative total is a longer output: cells after the last tap
        halves = [(t // 2, t - t // 2) if t > 0 else (0, t) for t in totals]
        pairs = tuple(h if asked.padding == "same" or h[1] < 0 else h[::-1] for h in halves)
    else:
        pairs = facts.padding(asked.padding, size, span, strides)
    output = []
    for n, step, width, more, (before, after) in zip(size, strides, span, extra, pairs, strict=True):
        output.append((n - 1) * step + width + more - before - after)
        if output[-1] < 1:
            whole = (n - 1) * step + width + more
            facts.fail(f"the output would be empty: {whole} pixels less padding {before, after}")
    facts.countable("stride", (layer.batch, *output, layer.depth * groups))
    return Geometry(
        layer.batch,
        layer.depth * groups,
        layer.filters,
        groups,
        input=tuple(output),
        kernel=layer.kernel,
        output=size,
        stride=strides,
        dilation=dilations,
        # what output_padding adds is less padding after
        padding=tuple((before, after - more) for (before, after), more in zip(pairs, extra, strict=True)),
    )


def padding(function: str, name: str, shape: Any, asked: Windowing) -> Geometry:
    """Check a padding without a kernel; its geometry has windows of one pixel, one for each pixel of the result."""
    return _padding(function, name, whole_shape(function, name, shape), asked.frozen())


@lru_cache(maxsize=4096)
def _padding(function: str, name: str, shape: Ints, asked: Windowing) -> Geometry:
    facts = Facts(function, ((name, shape), ("padding", asked.padding), ("mode", asked.mode), ("layout", asked.layout)))
    facts.choice("layout", asked.layout, LAYOUTS)
    facts.choice("mode", asked.mode, PADDING_MODES)
    batch, *size, channels = _images(facts, name, shape, asked.layout)
    if asked.padding in ("same", "same_lower", "causal"):
        facts.fail("padding is given in pixels: without a kernel these words have no meaning")
    pairs = facts.padding(asked.padding, tuple(size), tuple(size), tuple(size))
    facts.reachable(asked.mode, tuple(size), pairs)
    output = tuple(n + sum(pair) for n, pair in zip(size, pairs, strict=True))
    facts.countable("padding", (batch, *output))
    ones = (1,) * len(size)
    layer = _Layer(batch, tuple(size), channels, ones, depth=1, filters=channels, groups=channels)
    return _geometry(layer, output, ones, ones, pairs, asked.mode)


def images(function: str, name: str, shape: Any, layout: Any) -> Ints:
    """Check the shape of images on their own; give it channels last."""
    shape, layout = whole_shape(function, name, shape), freeze(layout)
    facts = Facts(function, ((name, shape), ("layout", layout)))
    facts.choice("layout", layout, LAYOUTS)
    return _images(facts, name, shape, layout)


def _images(facts: Facts, name: str, shape: Ints, layout: str) -> Ints:
    rank = len(shape) - 2
    if rank not in (1, 2, 3):
        facts.fail(f"{name} has {len(shape)} axes; 3, 4 or 5 are wanted: 1, 2 or 3 spatial axes")
    facts.sizes(name, shape, rank)
    return channels_last(shape, layout)


@lru_cache(maxsize=4096)
def _pool(function: str, x_shape: Ints, window: Any, asked: Windowing, name: str) -> Geometry:
    geometry = _windows(function, x_shape, window, asked, name)
    facts = Facts(function, ((name, x_shape), ("window", window), ("layout", asked.layout)))
    for pair, span in zip(geometry.padding, geometry.span, strict=True):
        if max(pair) >= span:
            facts.fail(
                f"padding is smaller than the window's span, here {geometry.span}; got padding={asked.padding!r}"
            )
    return geometry


@lru_cache(maxsize=4096)
def _windows(function: str, x_shape: Ints, window: Any, asked: Windowing, name: str) -> Geometry:
    facts = Facts(function, ((name, x_shape), ("window", window), ("layout", asked.layout)))
    facts.choice("layout", asked.layout, LAYOUTS)
    batch, *size, channels = _images(facts, name, x_shape, asked.layout)
    rank = len(size)
    kernel = facts.per_axis("window", window, rank)
    strides = kernel if asked.stride is None else facts.per_axis("stride", asked.stride, rank)
    layer = _Layer(batch, tuple(size), channels, kernel, depth=1, filters=channels, groups=channels)
    return _slide(facts, layer, strides, asked)


def adaptive(function: str, x_shape: Any, output_shape: Any, layout: Any, name: str = "x.shape") -> tuple[Ints, Ints]:
    """Check the shapes of an adaptive pooling; give the channels-last input shape and the output's spatial sizes."""
    x_shape, output_shape, layout = whole_shape(function, name, x_shape), freeze(output_shape), freeze(layout)
    facts = Facts(function, ((name, x_shape), ("output_shape", output_shape), ("layout", layout)))
    facts.choice("layout", layout, LAYOUTS)
    images = _images(facts, name, x_shape, layout)
    parts = facts.per_axis("output_shape", output_shape, len(images) - 2)
    facts.countable("output_shape", (images[0], *parts, images[-1]))
    return images, parts


def _span(kernel: Ints, dilation: Ints) -> Ints:
    return tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))


def _slide(facts: Facts, layer: _Layer, stride: Ints, asked: Windowing) -> Geometry:
    """Slide a layer's windows over its images."""
    dilation = facts.per_axis("dilation", asked.dilation, len(layer.size))
    span = _span(layer.kernel, dilation)
    pairs = facts.padding(asked.padding, layer.size, span, stride)
    output = []
    for n, (before, after), width, step in zip(layer.size, pairs, span, stride, strict=True):
        room = n + before + after - width
        count = (-(-room // step) if asked.ceil_mode else room // step) + 1
        if asked.ceil_mode and (count - 1) * step >= n + before:
            count -= 1  # the last window would start beyond the input
        if count < 1:
            facts.fail(
                f"the output would be empty: a kernel spanning {width} pixels on {n} with padding {(before, after)}"
            )
        output.append(count)
    facts.countable("padding", (layer.batch, *output, layer.filters))
    # a stride beyond the padded image and the dilation of a single tap mean nothing: small ones do
    stride = tuple(min(s, n + sum(pair) + 1) for s, n, pair in zip(stride, layer.size, pairs, strict=True))
    dilation = tuple(d if k > 1 else 1 for d, k in zip(dilation, layer.kernel, strict=True))
    return _geometry(layer, tuple(output), stride, dilation, pairs)


def _geometry(
    layer: _Layer, output: Ints, stride: Ints, dilation: Ints, padding: Pairs, mode: str = "zeros"
) -> Geometry:
    return Geometry(
        layer.batch,
        layer.channels,
        layer.filters,
        layer.groups,
        input=layer.size,
        kernel=layer.kernel,
        output=output,
        stride=stride,
        dilation=dilation,
        padding=padding,
        mode=mode,
    )
