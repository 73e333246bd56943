"""Depthwise sums of products in one pass of NumPy's `einsum`, which multiplies and adds without a temporary array.

The innermost loop runs over the channels, or where windows lie side by side over the channels of several windows: with
few channels it would otherwise be too short to pay. The weight is repeated accordingly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.views import numpy_windows

Array = np.ndarray[Any, Any]

LONGEST = 8192  # elements of the innermost loop
LONG = 64  # channels with which it pays as it is
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
    shape[rank] //= m
    steps[rank] *= m
    shape[-1] *= m
    merged: Array = np.lib.stride_tricks.as_strided(view, shape, steps, writeable=False)
    return merged


def _merged(slab: Array, output: Sequence[int], stride: Sequence[int], taps: int) -> int:
    side_by_side = stride[-1] == 1 and slab.strides[-2] == slab.shape[-1] * slab.itemsize == slab.shape[-1] * abs(
        slab.strides[-1]
    )
    return neighbours(output[-1], slab.shape[-1], taps) if side_by_side else 1


def window_products(
    slab: Array, w: Array, output: Sequence[int], stride: Sequence[int], dilation: Sequence[int], out: Array
) -> None:
    """(n, *slab, C), (*K, C) -> (n, *O, C), written into `out`: each channel's windows times its weight."""
    kernel, channels, rank = w.shape[:-1], w.shape[-1], len(output)
    m = _merged(slab, output, stride, w.size // channels)
    in_rows = out.strides[-2] == channels * out.strides[-1]  # where not, what is merged has to be copied afterwards
    if not in_rows and channels >= LONG:
        m = 1
    if m > 1:
        w = np.repeat(w[..., None, :], m, axis=-2).reshape((*kernel, m * channels))
    n, places, taps, last = 0, range(1, rank + 1), range(rank + 1, 2 * rank + 1), 2 * rank + 1
    target = out
    if m > 1:
        shape = (*out.shape[:rank], output[-1] // m, m * channels)
        target = out.reshape(shape) if in_rows else np.empty(shape, out.dtype)
    view = _views(slab, kernel, output, stride, dilation, m)
    np.einsum(view, [n, *places, *taps, last], w, [*taps, last], [n, *places, last], out=target)
    if m > 1 and not in_rows:
        np.copyto(out, target.reshape(out.shape))


def window_products_grad(slab: Array, dz: Array, stride: Sequence[int], dilation: Sequence[int], out: Array) -> None:
    """(n, *slab, C), (n, *O, C) -> (*K, C), written into `out`: each channel's windows times its gradient, summed."""
    kernel, output, channels, rank = out.shape[:-1], dz.shape[1:-1], dz.shape[-1], dz.ndim - 2
    taps = 1
    for k in kernel:
        taps *= k
    m = _merged(slab, output, stride, taps) if dz.flags.c_contiguous else 1
    n, places, tap_axes, last = 0, range(1, rank + 1), range(rank + 1, 2 * rank + 1), 2 * rank + 1
    view = _views(slab, kernel, output, stride, dilation, m)
    grads = dz.reshape((*dz.shape[:rank], output[-1] // m, m * channels))
    found: Array = np.einsum(view, [n, *places, *tap_axes, last], grads, [n, *places, last], [*tap_axes, last])
    np.copyto(out, found if m == 1 else found.reshape((*kernel, m, channels)).sum(axis=-2, dtype=found.dtype))
