"""Shapes: everything that follows from sizes and keywords alone, in Python integers. Never sees an array."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NoReturn

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
Interval = tuple[int, int]
Region = tuple[Interval, ...]  # of the batch and of the spatial axes

LAYOUTS = ("channels_last", "channels_first")
PADDING_MODES = ("zeros",)


@dataclass(frozen=True)
class Phase:
    """One residue of the input positions modulo the stride, as a stride-1 correlation of the output gradient.

    The pixels ``target`` of the input's spatial axes receive the correlation ``geometry`` of the output gradient
    with the sub-kernel ``taps``, flipped. ``geometry`` is None where no tap reaches the phase: its gradient is zero.
    """

    target: tuple[slice, ...]
    taps: tuple[slice, ...]
    geometry: Geometry | None


@dataclass(frozen=True)
class Geometry:
    """Where each tap of each window lies.

    Along an axis, tap k of window o reads input pixel ``o * stride + k * dilation - before``; what lies outside the
    input is padding. Inside the library ``before`` may be negative (a crop) and ``output`` any positive size.
    """

    batch: int
    channels: int
    filters: int
    groups: int
    input: Ints
    kernel: Ints
    output: Ints
    stride: Ints
    dilation: Ints
    padding: Pairs

    @cached_property
    def rank(self) -> int:
        """Count the spatial axes."""
        return len(self.input)

    @cached_property
    def taps(self) -> int:
        """Count the taps of one window."""
        return math.prod(self.kernel)

    @cached_property
    def products(self) -> int:
        """Count the products that are summed for one output element."""
        return self.taps * (self.channels // self.groups)

    @cached_property
    def positions(self) -> int:
        """Count the output pixels of the whole batch."""
        return self.batch * math.prod(self.output)

    @cached_property
    def flops(self) -> int:
        """Count multiplications and additions, those on padding included."""
        return 2 * self.positions * self.filters * self.products

    @cached_property
    def span(self) -> Ints:
        """Give the pixels from the first tap to the last, inclusive, per axis."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    @cached_property
    def input_shape(self) -> Ints:
        """Give the whole input shape, channels last."""
        return (self.batch, *self.input, self.channels)

    @cached_property
    def output_shape(self) -> Ints:
        """Give the whole output shape, channels last."""
        return (self.batch, *self.output, self.filters)

    @cached_property
    def kernel_shape(self) -> Ints:
        """Give the whole weight shape, channels last."""
        return (*self.kernel, self.channels // self.groups, self.filters)

    def reach(self, axis: int, start: int, stop: int) -> Interval:
        """Give the half-open interval of input pixels, padding included, that windows start to stop read."""
        first = start * self.stride[axis] - self.padding[axis][0]
        return first, first + (stop - start - 1) * self.stride[axis] + self.span[axis]

    def slab_size(self, axis: int, length: int) -> int:
        """Count the input pixels that ``length`` neighbouring windows read, gaps included."""
        return (length - 1) * self.stride[axis] + self.span[axis]

    def offsets(self) -> Iterator[tuple[Ints, Ints]]:
        """Give each tap, in order, with its offset in pixels from the window's first tap."""
        for tap in itertools.product(*map(range, self.kernel)):
            yield tap, tuple(t * d for t, d in zip(tap, self.dilation, strict=True))

    def tap_slices(self, offset: Ints, output: Ints) -> tuple[slice, ...]:
        """Give the slices of a slab's spatial axes that hold one tap of each of ``output`` windows."""
        return tuple(slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(offset, output, self.stride, strict=True))

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """Split the input gradient by the residue of the pixel modulo the stride (one phase at stride 1)."""
        phases = []
        for combination in itertools.product(*(self._axis_phases(a) for a in range(self.rank))):
            targets, taps, sizes = zip(*combination, strict=True)
            if None in sizes:
                phases.append(Phase(targets, (), None))
                continue
            kernel, output, dilation, padding = zip(*sizes, strict=True)
            inner = Geometry(
                self.batch, self.filters, self.channels, self.groups,
                self.output, kernel, output, (1,) * self.rank, dilation, padding,
            )  # fmt: skip
            phases.append(Phase(targets, taps, inner))
        return tuple(phases)

    def _axis_phases(self, axis: int) -> list[tuple[slice, slice, tuple[int, int, int, Interval] | None]]:
        size, kernel, output = self.input[axis], self.kernel[axis], self.output[axis]
        stride, dilation, before = self.stride[axis], self.dilation[axis], self.padding[axis][0]
        common = math.gcd(stride, dilation)
        step, spread = stride // common, dilation // common  # of the taps of one phase; of its windows
        phases: list[tuple[slice, slice, tuple[int, int, int, Interval] | None]] = []
        for first in range(min(stride, size)):
            target = slice(first, size, stride)
            residue = (first + before) % stride
            # taps k with k * dilation = residue (mod stride): k = k0, k0 + step, …
            k0 = residue // common * pow(spread, -1, step) % step if residue % common == 0 else kernel
            if k0 >= kernel:
                phases.append((target, slice(0, 0), None))
                continue
            count = len(range(k0, kernel, step))
            length = len(range(first, size, stride))
            # pixel first + stride * t receives tap k0 + step * j of window shift + t - spread * j
            shift = (first + before - k0 * dilation) // stride
            lead = (count - 1) * spread - shift
            trail = length + (count - 1) * spread - lead - output
            phases.append((target, slice(k0, kernel, step), (count, length, spread, (lead, trail))))
        return phases


# --- user input: each keyword is read once, here -------------------------------------------------


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


@dataclass(frozen=True)
class Call:
    """A function's name and the facts that each of its error messages ends with."""

    function: str
    facts: tuple[tuple[str, Any], ...]

    def fail(self, rule: str) -> NoReturn:
        """Raise the ValueError for a broken rule."""
        facts = ", ".join(f"{name}={value!r}" for name, value in self.facts)
        raise ValueError(f"{self.function}: {rule}; got {facts}")

    def per_axis(self, name: str, value: Any, rank: int, least: int = 1) -> Ints:
        """Read an option that is an integer or one per spatial axis."""
        if isinstance(value, int):
            value = (value,) * rank
        kind = "positive" if least == 1 else "non-negative"
        if not isinstance(value, tuple) or not all(isinstance(v, int) for v in value):
            self.fail(f"{name} is an integer or one per spatial axis, here {rank}; got {name}={value!r}")
        if len(value) != rank:
            self.fail(f"{name} has {len(value)} entries, there are {rank} spatial axes; got {name}={value!r}")
        if min(value) < least:
            self.fail(f"{name} is {kind}; got {name}={value!r}")
        return value

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

    def padding(self, value: Any, size: Ints, span: Ints, stride: Ints) -> Pairs:
        """Read any form of padding and give (before, after) pairs."""
        rank = len(size)
        words = ("valid", "same", "same_lower", "causal")
        if isinstance(value, str):
            if value not in words:
                self.fail(f"padding is an integer, one per axis, pairs or one of {', '.join(words)}; got {value!r}")
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
    call.choice("layout", layout, LAYOUTS)
    call.choice("padding_mode", padding_mode, PADDING_MODES)
    rank = len(w_shape) - 2
    if rank not in (1, 2, 3):
        call.fail(f"{names[1]} has {len(w_shape)} axes; 3, 4 or 5 are wanted: 1, 2 or 3 spatial axes")
    call.sizes(names[0], x_shape, rank)
    batch, *size, channels = channels_last(x_shape, layout)
    kernel = channels_last_kernel(w_shape, layout)[:rank]
    depth, filters = channels_last_kernel(w_shape, layout)[rank:]
    if any(not isinstance(n, int) for n in w_shape) or min(w_shape) < 1:
        call.fail(f"{names[1]} has an empty axis")
    if not isinstance(groups, int) or groups < 1:
        call.fail(f"groups is a positive integer; got groups={groups!r}")
    if depth * groups != channels:
        of = f" x {groups} groups" if groups > 1 else ""
        call.fail(f"the kernel has {depth} input channels{of}, x has {channels}")
    if filters % groups:
        call.fail(f"the kernel has {filters} output channels, which {groups} groups do not divide")
    strides = call.per_axis("stride", stride, rank)
    dilations = call.per_axis("dilation", dilation, rank)
    return _windows(call, batch, channels, filters, groups, tuple(size), kernel, strides, dilations, padding, False)


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
    geometry = _windows(
        call, batch, channels, channels, channels, tuple(size), kernel, strides, dilations, padding, bool(ceil_mode)
    )
    for pair, span in zip(geometry.padding, geometry.span, strict=True):
        if max(pair) >= span:
            call.fail(f"padding is smaller than the window's span, here {geometry.span}; got padding={padding!r}")
    return geometry


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
    return Geometry(batch, channels, filters, groups, size, kernel, tuple(output), stride, dilation, pairs)
