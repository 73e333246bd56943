"""Shapes: everything that follows from sizes and keywords alone, in Python integers. Never sees an array."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
Interval = tuple[int, int]
Region = tuple[Interval, ...]  # of the batch and of the spatial axes


@dataclass(frozen=True)
class Run:
    """Neighbouring pixels ``first`` to ``first + length`` of a padded axis, and the pixels that they repeat.

    Pixel ``first + i`` repeats pixel ``start + i * step``; the step is 1, -1 (a reflection) or 0 (the border).
    """

    first: int
    length: int
    start: int
    step: int

    @property
    def source(self) -> slice:
        """The pixels repeated, as a slice; with step 0 a single one, to broadcast."""
        if self.step == 0:
            return slice(self.start, self.start + 1)
        stop = self.start + self.step * self.length
        return slice(self.start, None if stop < 0 else stop, self.step)


def runs(mode: str, low: int, high: int, size: int) -> list[Run]:
    """Cut the interval low to high of an axis padded in a mode into runs; circular padding may go round many times."""
    if mode == "circular":
        starts_at = [low, *range(low - low % size + size, high, size)]
        ends_at = [*starts_at[1:], high]
        return [Run(a, b - a, a % size, 1) for a, b in zip(starts_at, ends_at, strict=True) if b > a]
    left, inside, right = (low, min(high, 0)), (max(low, 0), min(high, size)), (max(low, size), high)
    if mode == "reflect":
        starts = (-low, -1), (inside[0], 1), (2 * size - 2 - right[0], -1)
    else:
        starts = (0, 0), (inside[0], 1), (size - 1, 0)
    return [
        Run(first, last - first, start, step)
        for (first, last), (start, step) in zip((left, inside, right), starts, strict=True)
        if last > first
    ]


@dataclass(frozen=True)
class Phase:
    """One residue of the input positions modulo the stride, as a stride-1 correlation of the output gradient.

    The pixels ``target`` of the input's spatial axes receive the correlation ``geometry`` of the output gradient
    with the sub-kernel ``taps``, flipped. ``geometry`` is None where no tap reaches the phase: its gradient is zero.
    """

    target: tuple[slice, ...]
    taps: tuple[slice, ...]
    geometry: Geometry | None

    @cached_property
    def flipped(self) -> tuple[slice, ...]:
        """Give the taps from the last to the first."""
        steps = [(taps.start, taps.step or 1, range(*taps.indices(taps.stop))) for taps in self.taps]
        return tuple(slice(every[-1], start - 1 if start else None, -step) for start, step, every in steps)


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
    mode: str = "zeros"  # what the padding holds
    whole: Geometry | None = None  # of which it is a block, that has the whole's bits

    @cached_property
    def _hash(self) -> int:
        sizes = self.batch, self.channels, self.filters, self.groups, self.input, self.kernel, self.output
        return hash((*sizes, self.stride, self.dilation, self.padding))

    def __hash__(self) -> int:
        return self._hash  # of whole numbers alone, the same in every process: it may be sent to another one

    def reads_all(self, axis: int) -> bool:
        """Say whether no pixel lies between two windows of an axis, or behind the last."""
        ahead = (self.output[axis] - 1) * self.stride[axis] - self.padding[axis][0]
        return self.stride[axis] <= self.span[axis] and ahead + self.span[axis] >= self.input[axis]

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

    @property
    def depthwise(self) -> bool:
        """Say whether each channel is convolved on its own, with one filter."""
        return self.groups == self.channels == self.filters

    def reach(self, axis: int, start: int, stop: int) -> Interval:
        """Give the half-open interval of input pixels, padding included, that windows start to stop read."""
        first = start * self.stride[axis] - self.padding[axis][0]
        return first, first + (stop - start - 1) * self.stride[axis] + self.span[axis]

    def readers(self, axis: int, pixels: Interval) -> Interval:
        """Give the windows of the output that may read any of a range of pixels."""
        step, before = self.stride[axis], self.padding[axis][0]
        first = -(-(pixels[0] + before - self.span[axis] + 1) // step)
        return max(first, 0), min((pixels[1] - 1 + before) // step + 1, self.output[axis])

    def slab_size(self, axis: int, length: int) -> int:
        """Count the input pixels that ``length`` neighbouring windows read, gaps included."""
        return (length - 1) * self.stride[axis] + self.span[axis]

    def offsets(self) -> Iterator[tuple[Ints, Ints]]:
        """Give each tap, in order, with its offset in pixels from the window's first tap."""
        for tap in itertools.product(*map(range, self.kernel)):
            yield tap, tuple(t * d for t, d in zip(tap, self.dilation, strict=True))

    def single(self, offset: Ints) -> Geometry:
        """Give one tap alone, so many pixels from the window's first, as a geometry of its own."""
        ones = (1,) * self.rank
        padding = tuple((before - shift, 0) for (before, _), shift in zip(self.padding, offset, strict=True))
        return replace(self, kernel=ones, dilation=ones, padding=padding)

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
                self.batch,
                self.filters,
                self.channels,
                self.groups,
                input=self.output,
                kernel=kernel,
                output=output,
                stride=(1,) * self.rank,
                dilation=dilation,
                padding=padding,
            )
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
