"""Depthwise sums of products in one pass of NumPy's `einsum`, which multiplies and adds without a temporary array.

The innermost loop runs over the channels, or where windows lie side by side over the channels of several windows: with
few channels it would otherwise be too short to pay. The weight is repeated accordingly.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.views import numpy_windows

Array = np.ndarray[Any, Any]

LONGEST = 8192  # elements of the innermost loop
WIDE = 512  # channels with which a gradient is summed as it is: 8x7x7x960 0.59 ms, in rows 0.81
MOST_WEIGHTS = 1 << 17  # elements of the repeated weight, which should stay in a core's cache


@lru_cache(maxsize=1024)
def neighbours(width: int, channels: int, taps: int) -> int:
    """Say how many windows, a divisor of the row, the innermost loop runs over."""
    most = min(LONGEST, MOST_WEIGHTS // taps) // channels
    return max((m for m in range(1, min(most, width) + 1) if width % m == 0), default=1)


def _views(
    slab: Array, kernel: Sequence[int], output: Sequence[int], stride: Sequence[int], dilation: Sequence[int], m: int
) -> Array:
    """(n, *slab, C) -> (n, *O, *K, C) with m windows of a row merged into the last axis."""
    view: Array = numpy_windows(slab, kernel, output, stride, dilation)
    if m == 1:
        return view
    rank = len(kernel)
    shape, steps = list(view.shape), list(view.strides)
    if shape[-1] == 1:
        steps[-1] = steps[rank]  # that of one channel may be anything
    shape[rank] //= m
    steps[rank] *= m
    shape[-1] *= m
    merged: Array = np.lib.stride_tricks.as_strided(view, shape, steps, writeable=False)
    return merged


def _side_by_side(slab: Array, stride: Sequence[int]) -> bool:
    """Say whether the windows of a row lie side by side in memory, and the channels of each."""
    channels, pixel = slab.shape[-1], slab.shape[-1] * slab.itemsize
    together = channels == 1 or channels * abs(slab.strides[-1]) == pixel
    return together and stride[-1] == 1 and slab.strides[-2] == pixel


def window_products(
    slab: Array, w: Array, output: Sequence[int], stride: Sequence[int], dilation: Sequence[int], out: Array
) -> None:
    """(n, *slab, C), (*K, C) -> (n, *O, C), written into `out`, whose rows lie in one piece."""
    kernel, channels, rank = w.shape[:-1], w.shape[-1], len(output)
    m = neighbours(output[-1], channels, w.size // channels) if _side_by_side(slab, stride) else 1
    # flipped taps, too, are laid out in order: einsum takes twice the time otherwise
    w = np.repeat(w[..., None, :], m, axis=-2).reshape((*kernel, m * channels)) if m > 1 else np.ascontiguousarray(w)
    n, places, taps, last = 0, range(1, rank + 1), range(rank + 1, 2 * rank + 1), 2 * rank + 1
    target = out.reshape((*out.shape[:rank], output[-1] // m, m * channels))
    view = _views(slab, kernel, output, stride, dilation, m)
    np.einsum(view, [n, *places, *taps, last], w, [*taps, last], [n, *places, last], out=target)


def window_products_grad(slab: Array, dz: Array, stride: Sequence[int], dilation: Sequence[int], out: Array) -> None:
    """(n, *slab, C), (n, *O, C) -> (*K, C), written into `out`: each channel's windows times its gradient, summed."""
    kernel, output, channels, rank = out.shape[:-1], dz.shape[1:-1], dz.shape[-1], dz.ndim - 2
    m, wide = 1, output[-1] * channels
    if channels < WIDE and dz.flags.c_contiguous and _side_by_side(slab, stride):
        whole = wide <= LONGEST and wide * kernel[-1] <= MOST_WEIGHTS
        m = output[-1] if whole else neighbours(output[-1], channels, 1)
    view = _views(slab, kernel, output, stride, dilation, m)
    grads = dz.reshape((*dz.shape[:rank], output[-1] // m, m * channels))
    n, places, last = 0, range(1, rank + 1), rank + 2
    # of some windows of a row, einsum takes up to twice the time where it goes over taps itself
    for tap in itertools.product(*map(range, kernel[:-1] if m in (1, output[-1]) else kernel)):
        own = view[(slice(None),) * (rank + 1) + tap]  # (n, *places, last taps or none, C)
        across = range(rank + 1, rank + 1 + len(kernel) - len(tap))
        found: Array = np.einsum(own, [n, *places, *across, last], grads, [n, *places, last], [*across, last])
        np.copyto(out[tap], found if m == 1 else found.reshape((*found.shape[:-1], m, channels)).sum(axis=-2))
