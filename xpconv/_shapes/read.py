"""User input: each option of an operation is read once, here, and turned into a `Geometry`."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NoReturn

from xpconv._shapes.geometry import Geometry, Interval, Ints, Pairs

MOST = 1 << 48  # of any size or option: beyond it no array has room
LAYOUTS = ("channels_last", "channels_first")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def freeze(value: Any) -> Any:
    """Turn an option into hashable Python integers, strings and tuples; what cannot be turned comes back as it is."""
    if isinstance(value, str) or type(value) is int:
        return value
    if isinstance(value, (tuple, list)):
        return tuple(freeze(item) for item in value)
    if isinstance(value, bool):
        return _Unfit(value)
    try:
        return operator.index(value)
    except TypeError:
        return _Unfit(value)


@dataclass(frozen=True)
class _Unfit:
    """An option's value that is no integer, kept so that the error can show it."""

    value: Any

    def __hash__(self) -> int:
        return id(self.value)

    def __repr__(self) -> str:
        return repr(self.value)


def whole_shape(function: str, name: str, shape: Any) -> Any:
    """Read a whole shape, of an array or from the caller."""
    if getattr(shape, "ndim", 1) != 1:
        found = f"an array of shape {tuple(shape.shape)}"
        raise ValueError(f"{function}: {name} is a whole shape, a tuple of integers; got {found}; pass its .shape")
    try:
        return freeze(tuple(shape))
    except TypeError:
        raise ValueError(f"{function}: {name} is a whole shape, a tuple of integers; got {name}={shape!r}") from None


@dataclass(frozen=True)
class Call:
    """A function's name and the facts that each of its error messages ends with."""

    function: str
    facts: tuple[tuple[str, Any], ...]

    def fail(self, rule: str) -> NoReturn:
        """Raise the ValueError for a broken rule."""
        told = "; got " in rule  # the option in question; a name is not told twice
        facts = [f"{name}={value!r}" for name, value in self.facts if not (told and f" {name}=" in rule)]
        raise ValueError(
            f"{self.function}: {rule}{', ' if told and facts else '' if told else '; got '}{', '.join(facts)}"
        )

    def per_axis(self, name: str, value: Any, rank: int, least: int = 1) -> Ints:
        """Read an option that is an integer or one per spatial axis."""
        given = value
        if isinstance(value, int):
            value = (value,) * rank
        kind = "positive" if least == 1 else "non-negative"
        if not isinstance(value, tuple) or not all(isinstance(v, int) for v in value):
            self.fail(f"{name} is an integer or one per spatial axis, here {rank}; got {name}={given!r}")
        if len(value) != rank:
            self.fail(f"{name} has {len(value)} entries, there are {rank} spatial axes; got {name}={given!r}")
        if min(value) < least:
            self.fail(f"{name} is {kind}; got {name}={given!r}")
        if max(value) > MOST:
            self.fail(f"{name} is at most 2**48; got {name}={given!r}")
        return value

    def countable(self, name: str, shape: Ints) -> None:
        """Refuse an option that makes a result too large for any memory."""
        if math.prod(shape) > MOST:
            self.fail(f"{name} makes a result of {' x '.join(map(str, shape))} elements, more than any memory holds")

    def choice(self, name: str, value: Any, choices: tuple[str, ...]) -> None:
        """Check an option that is one of a few words."""
        if value not in choices:
            self.fail(f"{name} is one of {', '.join(map(repr, choices))}; got {name}={value!r}")

    def sizes(self, name: str, shape: Ints, rank: int) -> None:
        """Check a whole shape: batch, spatial axes, channels; only the batch may be empty."""
        if len(shape) != rank + 2:
            self.fail(f"{name} has {len(shape)} axes, with {rank} spatial axes it has {rank + 2}")
        if any(not isinstance(n, int) or n < 0 for n in shape):
            self.fail(f"{name} holds whole, non-negative sizes")
        if min(shape[1:]) < 1:
            self.fail(f"{name} has an empty axis; only the batch may be empty")

    def reachable(self, mode: str, size: Ints, pairs: Pairs, name: str = "mode") -> None:
        """Check that a padding mode finds the pixels that it repeats."""
        for n, pair in zip(size, pairs, strict=True):
            if mode == "reflect" and max(pair) >= n:
                self.fail(f"{name} 'reflect' takes at most n - 1 pixels, here {n - 1}; got padding {pair}")
            if mode == "circular" and max(pair) > n:
                self.fail(f"{name} 'circular' takes at most n pixels, here {n}; got padding {pair}")

    def padding(self, value: Any, size: Ints, span: Ints, stride: Ints) -> Pairs:
        """Read any form of padding and give (before, after) pairs."""
        rank = len(size)
        words = ("valid", "same", "same_lower", "causal")
        if isinstance(value, str):
            if value not in words:
                self.fail(
                    f"padding is an integer, one per axis, pairs or one of {', '.join(words)}; got padding={value!r}"
                )
            return tuple(_worded(value, *axis) for axis in zip(size, span, stride, strict=True))
        if isinstance(value, int):
            value = ((value, value),) * rank
        if not isinstance(value, tuple) or len(value) != rank:
            self.fail(
                f"padding is an integer, {rank} integers or {rank} (before, after) pairs, one per spatial axis; "
                f"got padding={value!r}"
            )
        if all(isinstance(p, int) for p in value):
            value = tuple((p, p) for p in value)
        if not all(isinstance(p, tuple) and len(p) == 2 and all(isinstance(v, int) for v in p) for p in value):
            self.fail(f"padding mixes integers and pairs or holds something else; got padding={value!r}")
        if min(min(p) for p in value) < 0:
            self.fail(f"padding is never negative; got padding={value!r}")
        if max(max(p) for p in value) > MOST:
            self.fail(f"padding is at most 2**48; got padding={value!r}")
        return value  # type: ignore[no-any-return]


def _worded(word: str, size: int, span: int, stride: int) -> Interval:
    if word == "valid":
        return 0, 0
    if word == "causal":
        return span - 1, 0
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if word == "same" else (more, less)


def channels_last(shape: Ints, layout: str) -> Ints:
    """Reorder a whole input or output shape to channels last."""
    return shape if layout == "channels_last" else (shape[0], *shape[2:], shape[1])


def in_layout(shape: Ints, layout: str) -> Ints:
    """Give a whole channels-last input or output shape in the caller's layout."""
    return shape if layout == "channels_last" else (shape[0], shape[-1], *shape[1:-1])


def channels_last_kernel(shape: Ints, layout: str) -> Ints:
    """Reorder a whole weight shape to (*kernel, C/G, F)."""
    return shape if layout == "channels_last" else (*shape[2:], shape[1], shape[0])


@lru_cache(maxsize=4096)
def conv_geometry(
    function: str,
    x_shape: Ints,
    w_shape: Ints,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    padding_mode: Any,
    layout: Any,
    names: tuple[str, str] = ("x.shape", "w.shape"),
) -> Geometry:
    """Check the shapes and options of a convolution; options come from `freeze`."""
    call = Call(function, ((names[0], x_shape), (names[1], w_shape), ("groups", groups), ("layout", layout)))
    call.choice("padding_mode", padding_mode, PADDING_MODES)
    batch, size, channels, kernel, depth, filters = _read_shapes(call, x_shape, w_shape, groups, layout, names)
    if depth * groups != channels:
        of = f" x {groups} groups" if groups > 1 else ""
        call.fail(f"the kernel has {depth} input channels{of}, x has {channels}")
    if filters % groups:
        call.fail(f"the kernel has {filters} output channels, which {groups} groups do not divide")
    strides = call.per_axis("stride", stride, len(size))
    dilations = call.per_axis("dilation", dilation, len(size))
    geometry = _windows(call, batch, channels, filters, groups, size, kernel, strides, dilations, padding, False)
    call.reachable(padding_mode, geometry.input, geometry.padding, "padding_mode")
    return replace(geometry, mode=padding_mode) if any(map(any, geometry.padding)) else geometry


def _read_shapes(
    call: Call, x_shape: Ints, w_shape: Ints, groups: Any, layout: Any, names: tuple[str, str]
) -> tuple[int, Ints, int, Ints, int, int]:
    """Give batch, spatial sizes, channels, and of the kernel: spatial sizes and its last two axes."""
    call.choice("layout", layout, LAYOUTS)
    rank = len(w_shape) - 2
    if rank not in (1, 2, 3):
        call.fail(f"{names[1]} has {len(w_shape)} axes; 3, 4 or 5 are wanted: 1, 2 or 3 spatial axes")
    call.sizes(names[0], x_shape, rank)
    batch, *size, channels = channels_last(x_shape, layout)
    if any(not isinstance(n, int) for n in w_shape):
        call.fail(f"{names[1]} holds whole, positive sizes")
    if min(w_shape) < 1:
        call.fail(f"{names[1]} has an empty axis")
    if not isinstance(groups, int) or groups < 1:
        call.fail(f"groups is a positive integer; got groups={groups!r}")
    *kernel, depth, filters = channels_last_kernel(w_shape, layout)
    return batch, tuple(size), channels, tuple(kernel), depth, filters


@lru_cache(maxsize=4096)
def transpose_geometry(
    function: str,
    x_shape: Ints,
    w_shape: Ints,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: Any,
    layout: Any,
) -> Geometry:
    """Check a transposed convolution and give the geometry of the convolution that it transposes."""
    names = ("x.shape", "w.shape")
    call = Call(function, ((names[0], x_shape), (names[1], w_shape), ("groups", groups), ("layout", layout)))
    batch, size, channels, kernel, depth, filters = _read_shapes(call, x_shape, w_shape, groups, layout, names)
    rank = len(size)
    if filters != channels:
        call.fail(f"the kernel has {filters} input channels, x has {channels}")
    if channels % groups:
        call.fail(f"x has {channels} channels, which {groups} groups do not divide")
    strides = call.per_axis("stride", stride, rank)
    dilations = call.per_axis("dilation", dilation, rank)
    extra = call.per_axis("output_padding", output_padding, rank, least=0)
    span = tuple(d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True))
    for more, step, spread in zip(extra, strides, dilations, strict=True):
        if more >= max(step, spread):
            call.fail(f"output_padding is below max(stride, dilation); got output_padding={output_padding!r}")
    if padding == "causal":
        call.fail("padding 'causal' has no meaning for a transposed convolution")
    if padding in ("same", "same_lower"):
        totals = [(n - 1) * s + w + e - n * s for n, s, w, e in zip(size, strides, span, extra, strict=True)]
        # a negative total is a longer output: cells after the last tap
        halves = [(t // 2, t - t // 2) if t > 0 else (0, t) for t in totals]
        pairs = tuple(h if padding == "same" or h[1] < 0 else h[::-1] for h in halves)
    else:
        pairs = call.padding(padding, size, span, strides)
    output = []
    for n, step, width, more, (before, after) in zip(size, strides, span, extra, pairs, strict=True):
        output.append((n - 1) * step + width + more - before - after)
        if output[-1] < 1:
            call.fail(f"the output would be empty: {(n - 1) * step + width + more} pixels less padding {before, after}")
    call.countable("stride", (batch, *output, depth * groups))
    # what output_padding adds is less padding after
    inner = tuple((before, after - more) for (before, after), more in zip(pairs, extra, strict=True))
    return Geometry(
        batch, depth * groups, filters, groups, tuple(output), kernel, size, strides, dilations, inner
    )  # fmt: skip


def read_padding(function: str, name: str, shape: Ints, padding: Any, mode: Any, layout: Any) -> tuple[Ints, Pairs]:
    """Check a padding without a kernel; give the spatial sizes and the (before, after) pairs."""
    call = Call(function, ((name, shape), ("padding", padding), ("mode", mode), ("layout", layout)))
    call.choice("layout", layout, LAYOUTS)
    call.choice("mode", mode, PADDING_MODES)
    rank = len(shape) - 2
    if rank not in (1, 2, 3):
        call.fail(f"{name} has {len(shape)} axes; 3, 4 or 5 are wanted: 1, 2 or 3 spatial axes")
    call.sizes(name, shape, rank)
    if padding in ("same", "same_lower", "causal"):
        call.fail("padding is given in pixels: without a kernel these words have no meaning")
    size = channels_last(shape, layout)[1:-1]
    pairs = call.padding(padding, size, size, size)
    call.reachable(mode, size, pairs)
    call.countable("padding", (shape[0], *(n + sum(pair) for n, pair in zip(size, pairs, strict=True))))
    return size, pairs


def read_images(function: str, name: str, shape: Ints, layout: Any) -> Ints:
    """Check the shape of images on their own; give it channels last."""
    call = Call(function, ((name, shape), ("layout", layout)))
    call.choice("layout", layout, LAYOUTS)
    rank = len(shape) - 2
    if rank not in (1, 2, 3):
        call.fail(f"{name} has {len(shape)} axes; 3, 4 or 5 are wanted: 1, 2 or 3 spatial axes")
    call.sizes(name, shape, rank)
    return channels_last(shape, layout)


@lru_cache(maxsize=4096)
def pool_geometry(
    function: str,
    x_shape: Ints,
    window: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: Any,
    layout: Any,
    name: str = "x.shape",
) -> Geometry:
    """Check the shapes and options of a pooling; options come from `freeze`."""
    call, geometry = _read_windows(function, x_shape, window, stride, padding, dilation, ceil_mode, layout, name)
    for pair, span in zip(geometry.padding, geometry.span, strict=True):
        if max(pair) >= span:
            call.fail(f"padding is smaller than the window's span, here {geometry.span}; got padding={padding!r}")
    return geometry


@lru_cache(maxsize=4096)
def window_geometry(
    function: str,
    x_shape: Ints,
    window: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    layout: Any,
    name: str = "x.shape",
) -> Geometry:
    """Check the shapes and options of an unfolding; padding may be any."""
    return _read_windows(function, x_shape, window, stride, padding, dilation, False, layout, name)[1]


def _read_windows(
    function: str,
    x_shape: Ints,
    window: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: Any,
    layout: Any,
    name: str,
) -> tuple[Call, Geometry]:
    call = Call(function, ((name, x_shape), ("window", window), ("layout", layout)))
    call.choice("layout", layout, LAYOUTS)
    rank = len(x_shape) - 2
    if rank not in (1, 2, 3):
        call.fail(f"{name} has {len(x_shape)} axes; 3, 4 or 5 are wanted: 1, 2 or 3 spatial axes")
    call.sizes(name, x_shape, rank)
    batch, *size, channels = channels_last(x_shape, layout)
    kernel = call.per_axis("window", window, rank)
    strides = kernel if stride is None else call.per_axis("stride", stride, rank)
    dilations = call.per_axis("dilation", dilation, rank)
    return call, _windows(
        call, batch, channels, channels, channels, tuple(size), kernel, strides, dilations, padding, bool(ceil_mode)
    )


def adaptive_shapes(
    function: str, x_shape: Ints, output_shape: Any, layout: Any, name: str = "x.shape"
) -> tuple[Ints, Ints]:
    """Check the shapes of an adaptive pooling; give the channels-last input shape and the output's spatial sizes."""
    call = Call(function, ((name, x_shape), ("output_shape", output_shape), ("layout", layout)))
    call.choice("layout", layout, LAYOUTS)
    rank = len(x_shape) - 2
    if rank not in (1, 2, 3):
        call.fail(f"{name} has {len(x_shape)} axes; 3, 4 or 5 are wanted: 1, 2 or 3 spatial axes")
    call.sizes(name, x_shape, rank)
    whole, parts = channels_last(x_shape, layout), call.per_axis("output_shape", output_shape, rank)
    call.countable("output_shape", (whole[0], *parts, whole[-1]))
    return whole, parts


def _windows(
    call: Call,
    batch: int,
    channels: int,
    filters: int,
    groups: int,
    size: Ints,
    kernel: Ints,
    stride: Ints,
    dilation: Ints,
    padding: Any,
    ceil_mode: bool,
) -> Geometry:
    span = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    pairs = call.padding(padding, size, span, stride)
    output = []
    for n, (before, after), width, step in zip(size, pairs, span, stride, strict=True):
        room = n + before + after - width
        windows = (-(-room // step) if ceil_mode else room // step) + 1
        if ceil_mode and (windows - 1) * step >= n + before:
            windows -= 1  # the last window would start beyond the input
        if windows < 1:
            call.fail(
                f"the output would be empty: a kernel spanning {width} pixels on {n} with padding {(before, after)}"
            )
        output.append(windows)
    call.countable("padding", (batch, *output, filters))
    # a stride beyond the padded image and the dilation of a single tap mean nothing: small ones do
    stride = tuple(min(s, n + sum(pair) + 1) for s, n, pair in zip(stride, size, pairs, strict=True))
    dilation = tuple(d if k > 1 else 1 for d, k in zip(dilation, kernel, strict=True))
    return Geometry(batch, channels, filters, groups, size, kernel, tuple(output), stride, dilation, pairs)
