"""Which pixel each tap of each window looks at, from the options of a call."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Array = Any
Ints = tuple[int, ...]


def per_axis(value: int | Ints, rank: int) -> Ints:
    """Read an integer for every axis, or one per axis."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


@dataclass(frozen=True)
class Windows:
    """Which pixel each tap of each window looks at."""

    size: Ints
    kernel: Ints
    stride: Ints
    dilation: Ints
    pads: tuple[tuple[int, int], ...]
    out: Ints
    mode: str = "zeros"  # which pixels stand in the padding

    @cached_property
    def taps(self) -> int:
        """Count the taps of one window."""
        return math.prod(self.kernel)

    @cached_property
    def readers(self) -> int:
        """Count the taps that look at one pixel, at most."""
        found: Array = np.zeros(self.size, np.int64)
        for o in self.places():
            for _, i in self.inside(o):
                found[i] += 1
        return int(found.max())

    def places(self) -> Iterator[Ints]:
        """Go through the output positions."""
        return itertools.product(*map(range, self.out))

    def inside(self, o: Ints, padded: bool = False) -> Iterator[tuple[Ints, Ints]]:
        """Go through the taps of the window at `o`, each with its pixel: inside the input, or also in its padding."""
        axes = self._padded if padded else self._inside
        for pairs in itertools.product(*(axis[at] for axis, at in zip(axes, o, strict=True))):
            tap, pixel = zip(*pairs, strict=True)
            yield tap, pixel

    @cached_property
    def _inside(self) -> list[list[list[tuple[int, int]]]]:
        return [[list(self._axis(axis, at, False)) for at in range(count)] for axis, count in enumerate(self.out)]

    @cached_property
    def _padded(self) -> list[list[list[tuple[int, int]]]]:
        return [[list(self._axis(axis, at, True)) for at in range(count)] for axis, count in enumerate(self.out)]

    def place(self, pixel: Ints) -> int:
        """Give the number of a pixel, counted row after row."""
        number = 0
        for at, n in zip(pixel, self.size, strict=True):
            number = number * n + at
        return number

    def _axis(self, axis: int, at: int, padded: bool) -> Iterator[tuple[int, int]]:
        n, (before, after) = self.size[axis], self.pads[axis]
        low, high = (-before, n + after) if padded else (0, n)
        for tap in range(self.kernel[axis]):
            pixel = at * self.stride[axis] - before + tap * self.dilation[axis]
            if self.mode != "zeros":
                pixel = stand_in(pixel, n, self.mode)
            if low <= pixel < high:
                yield tap, pixel


def stand_in(pixel: int, n: int, mode: str) -> int:
    """Find the pixel that stands at a place of an axis of n pixels or of its padding."""
    if mode == "circular":
        return pixel % n
    if mode == "replicate":
        return min(max(pixel, 0), n - 1)
    return (n - 1) - abs((n - 1) - abs(pixel))  # mirrored at 0, then at n - 1


@dataclass(frozen=True)
class Parts(Windows):
    """The windows of an adaptive pooling."""

    def _axis(self, axis: int, at: int, padded: bool) -> Iterator[tuple[int, int]]:
        n, m = self.size[axis], self.out[axis]
        return enumerate(range(at * n // m, -(-(at + 1) * n // m)))


def parts(size: Ints, out: int | Ints) -> Parts:
    """Cut each axis of n pixels into m windows: o has the pixels floor(o n / m) to ceil((o + 1) n / m) - 1."""
    out = per_axis(out, len(size))
    kernel = tuple(
        max(-(-(o + 1) * n // m) - o * n // m for o in range(m)) for n, m in zip(size, out, strict=True)
    )  # the largest window
    ones = (1,) * len(size)
    return Parts(tuple(size), kernel, ones, ones, ((0, 0),) * len(size), out)


def windows(
    size: Ints,
    kernel: int | Ints,
    stride: int | Ints,
    padding: Any,
    dilation: int | Ints,
    ceil_mode: bool = False,
    mode: str = "zeros",
) -> Windows:
    """Read the options of a convolution or a pooling."""
    rank = len(size)
    kernel, stride, dilation = per_axis(kernel, rank), per_axis(stride, rank), per_axis(dilation, rank)
    pads, out = [], []
    for axis, (n, k, s, d) in enumerate(zip(size, kernel, stride, dilation, strict=True)):
        span = d * (k - 1) + 1
        before, after = _pads(padding, axis, n, span, s)
        room = n + before + after - span
        count = (math.ceil(room / s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + before:
            count -= 1  # the last window starts inside the input or its leading padding
        pads.append((before, after))
        out.append(count)
    return Windows(tuple(size), kernel, stride, dilation, tuple(pads), tuple(out), mode)


def transposed_windows(
    size: Ints, kernel: Ints, stride: int | Ints, padding: Any, output_padding: int | Ints, dilation: int | Ints
) -> Windows:
    """Read the options of a transposed convolution of images of `size`: windows over its result."""
    rank = len(size)
    stride, dilation, extra = per_axis(stride, rank), per_axis(dilation, rank), per_axis(output_padding, rank)
    pads, out = [], []
    for axis, (n, k, s, d, e) in enumerate(zip(size, kernel, stride, dilation, extra, strict=True)):
        full = (n - 1) * s + d * (k - 1) + 1 + e  # what the taps reach, and the extra pixels
        if padding in ("same", "same_lower"):
            less = max(full - n * s, 0) // 2
            more = max(full - n * s, 0) - less
            pads.append((less, more) if padding == "same" else (more, less))
            out.append(n * s)
        else:
            before, after = _pads(padding, axis, n, 1, s)
            pads.append((before, after))
            out.append(full - before - after)
    return Windows(tuple(out), tuple(kernel), stride, dilation, tuple(pads), tuple(size))


def _pads(padding: Any, axis: int, n: int, span: int, stride: int) -> tuple[int, int]:
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return span - 1, 0
    if padding in ("same", "same_lower"):
        total = max((math.ceil(n / stride) - 1) * stride + span - n, 0)
        half = total // 2
        return (half, total - half) if padding == "same" else (total - half, half)
    one = padding if isinstance(padding, int) else padding[axis]
    return (one, one) if isinstance(one, int) else (one[0], one[1])
