"""The definitions, in plain loops over positions and taps. Nothing of the engine is imported.

Arrays are channels last. The arithmetic is that of the arrays that come in: whole numbers (int64, or Python integers in
arrays of dtype object) are summed exactly; what is divided becomes a `fractions.Fraction`. Nothing is ever rounded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
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
        """Give every output position."""
        return itertools.product(*map(range, self.out))

    def inside(self, o: Ints, padded: bool = False) -> Iterator[tuple[Ints, Ints]]:
        """Give each tap of the window at `o` with its pixel, those inside the input or also those in its padding."""
        per_axis = [list(self._axis(axis, at, padded)) for axis, at in enumerate(o)]
        for pairs in itertools.product(*per_axis):
            yield tuple(tap for tap, _ in pairs), tuple(pixel for _, pixel in pairs)

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
    """Give the pixel that stands at a place of an axis of n pixels or of its padding."""
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


def _channels(groups: int, c: int, f: int) -> Iterator[tuple[slice, slice]]:
    for g in range(groups):
        yield slice(g * c // groups, (g + 1) * c // groups), slice(g * f // groups, (g + 1) * f // groups)


def conv(x: Array, w: Array, at: Windows, groups: int) -> Array:
    """z[n, o, f] = sum over k, c of x[n, o·stride + k·dilation - before, c] · w[k, c, f]."""
    z: Array = np.zeros((x.shape[0], *at.out, w.shape[-1]), x.dtype)
    for cs, fs in _channels(groups, x.shape[-1], w.shape[-1]):
        for o in at.places():
            for k, i in at.inside(o):
                z[(slice(None), *o, fs)] += x[(slice(None), *i, cs)] @ w[(*k, slice(None), fs)]
    return z


def conv_input_grad(dz: Array, w: Array, at: Windows, groups: int) -> Array:
    """dx[n, i, c] = sum of dz[n, o, f] · w[k, c, f] over the o, k that look at pixel i, and f."""
    channels = w.shape[-2] * groups
    dx: Array = np.zeros((dz.shape[0], *at.size, channels), dz.dtype)
    for cs, fs in _channels(groups, channels, w.shape[-1]):
        for o in at.places():
            for k, i in at.inside(o):
                dx[(slice(None), *i, cs)] += dz[(slice(None), *o, fs)] @ w[(*k, slice(None), fs)].T
    return dx


def conv_weight_grad(dz: Array, x: Array, at: Windows, groups: int) -> Array:
    """dw[k, c, f] = sum of x[n, i, c] · dz[n, o, f] over n and the o, i that meet in tap k."""
    dw: Array = np.zeros((*at.kernel, x.shape[-1] // groups, dz.shape[-1]), dz.dtype)
    for cs, fs in _channels(groups, x.shape[-1], dz.shape[-1]):
        for o in at.places():
            for k, i in at.inside(o):
                dw[(*k, slice(None), fs)] += x[(slice(None), *i, cs)].T @ dz[(slice(None), *o, fs)]
    return dw


def bias_grad(dz: Array) -> Array:
    """db[f] = sum of dz[n, o, f] over n and o."""
    return np.sum(dz.reshape(-1, dz.shape[-1]), axis=0, dtype=dz.dtype)


def max_pool(x: Array, at: Windows) -> tuple[Array, Array]:
    """Give each window's maximum and where it was first met; a NaN beats everything; without a pixel (-inf, -1)."""
    shape = (x.shape[0], *at.out, x.shape[-1])
    y: Array = np.full(shape, -np.inf, object if x.dtype == object else float)
    where: Array = np.full(shape, -1, np.int64)
    for o in at.places():
        best, place = y[(slice(None), *o)], where[(slice(None), *o)]
        for _, i in at.inside(o):
            value = x[(slice(None), *i)]
            better = (place < 0) | (value > best) | ((value != value) & (best == best))
            best[better] = value[better]
            place[better] = np.ravel_multi_index(i, at.size)
    return y, where


def ties(x: Array, at: Windows) -> Array:
    """Count the pixels that equal their window's maximum; a NaN has no equal."""
    y, _ = max_pool(x, at)
    count: Array = np.zeros(y.shape, np.int64)
    for o in at.places():
        for _, i in at.inside(o):
            count[(slice(None), *o)] += x[(slice(None), *i)] == y[(slice(None), *o)]
    return np.maximum(count, 1)


def max_pool_vjp(dy: Array, x: Array, at: Windows, rule: str) -> Array:
    """Add each window's dy to its first maximum, to all its maxima, or split it among them."""
    y, where = max_pool(x, at)
    share = divide(dy, ties(x, at)) if rule == "split" else dy
    dx: Array = np.zeros(x.shape, share.dtype)
    for o in at.places():
        best, place = y[(slice(None), *o)], where[(slice(None), *o)]
        for _, i in at.inside(o):
            hit = place == np.ravel_multi_index(i, at.size)
            if rule != "first":
                hit = hit | (x[(slice(None), *i)] == best)
            dx[(slice(None), *i)] += np.where(hit, share[(slice(None), *o)], 0)
    return dx


def counts(at: Windows, padded: bool) -> Array:
    """Count what each window of an average divides by: its pixels in the input, or also in the padding; at least 1."""
    return np.array([max(len(list(at.inside(o, padded))), 1) for o in at.places()], np.int64).reshape(at.out)


def divide(numbers: Array, count: Array) -> Array:
    """Divide whole numbers exactly: whole numbers again if it comes out even everywhere, fractions otherwise."""
    if numbers.dtype != object and not np.any(numbers % count):
        return numbers // count
    return numbers.astype(object) * np.frompyfunc(lambda c: Fraction(1, c), 1, 1)(count.astype(object))


def avg_pool(x: Array, at: Windows, padded: bool) -> Array:
    """y[n, o, c] = sum of the window's pixels / count[o]."""
    y: Array = np.zeros((x.shape[0], *at.out, x.shape[-1]), x.dtype)
    for o in at.places():
        for _, i in at.inside(o):
            y[(slice(None), *o)] += x[(slice(None), *i)]
    return divide(y, counts(at, padded)[..., None])


def avg_pool_vjp(dy: Array, at: Windows, padded: bool) -> Array:
    """dx[n, i, c] = sum of dy[n, o, c] / count[o] over the windows that hold pixel i."""
    share = divide(dy, counts(at, padded)[..., None])
    dx: Array = np.zeros((dy.shape[0], *at.size, dy.shape[-1]), share.dtype)
    for o in at.places():
        for _, i in at.inside(o):
            dx[(slice(None), *i)] += share[(slice(None), *o)]
    return dx


def unfold(x: Array, at: Windows) -> Array:
    """cols[n, o, k, c] = x[n, o·stride + k·dilation - before, c]."""
    cols: Array = np.zeros((x.shape[0], *at.out, *at.kernel, x.shape[-1]), x.dtype)
    for o in at.places():
        for k, i in at.inside(o):
            cols[(slice(None), *o, *k)] = x[(slice(None), *i)]
    return cols


def fold(cols: Array, at: Windows) -> Array:
    """x[n, i, c] = sum of cols[n, o, k, c] over the o, k that look at pixel i."""
    x: Array = np.zeros((cols.shape[0], *at.size, cols.shape[-1]), cols.dtype)
    for o in at.places():
        for k, i in at.inside(o):
            x[(slice(None), *i)] += cols[(slice(None), *o, *k)]
    return x


def max_unpool(y: Array, indices: Array, size: Ints) -> Array:
    """Put each value where its index says, zeros elsewhere; the index -1 says nowhere."""
    x: Array = np.zeros((y.shape[0], *size, y.shape[-1]), y.dtype)
    for place in itertools.product(*map(range, y.shape)):
        if indices[place] >= 0:
            x[(place[0], *np.unravel_index(indices[place], size), place[-1])] = y[place]
    return x
