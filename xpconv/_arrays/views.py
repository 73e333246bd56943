"""Arrays in another order or shape: layouts, contiguous copies, windows as views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xpconv._arrays.types import Array, Namespace


def to_channels_last(xp: Namespace, array: Array, layout: str) -> Array:
    """(N, C, *spatial) -> (N, *spatial, C), a view where the library has views."""
    return array if layout == "channels_last" else xp.moveaxis(array, 1, -1)


def from_channels_last(xp: Namespace, array: Array, layout: str) -> Array:
    """(N, *spatial, C) -> (N, C, *spatial), a view where the library has views."""
    return array if layout == "channels_last" else xp.moveaxis(array, -1, 1)


def kernel_to_channels_last(xp: Namespace, w: Array, layout: str) -> Array:
    """(F, C/G, *kernel) -> (*kernel, C/G, F)."""
    if layout == "channels_last":
        return w
    return xp.permute_dims(w, (*range(2, w.ndim), 1, 0))


def kernel_from_channels_last(xp: Namespace, w: Array, layout: str) -> Array:
    """(*kernel, C/G, F) -> (F, C/G, *kernel)."""
    if layout == "channels_last":
        return w
    return xp.permute_dims(w, (w.ndim - 1, w.ndim - 2, *range(w.ndim - 2)))


def plain(array: Array) -> Array:
    """Give an array of a subclass of NumPy's as one of NumPy's own."""
    return array.view(np.ndarray) if isinstance(array, np.ndarray) else array


def contiguous(xp: Namespace, array: Array) -> Array:
    """Give an array whose memory lies in the order of its axes, where the library can say so."""
    if isinstance(array, np.ndarray):
        return np.ascontiguousarray(array)
    return array.contiguous() if hasattr(array, "contiguous") else array


def fresh(xp: Namespace, array: Array) -> Array:
    """Copy what may be a view of an argument."""
    return xp.asarray(array, copy=True)


def window_steps(strides: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Give the strides of (n, *output, *kernel, C) from those of a slab (n, *slab, C), in whatever unit."""
    first, *spatial, last = strides
    return (
        first,
        *(a * s for a, s in zip(spatial, stride, strict=True)),
        *(a * d for a, d in zip(spatial, dilation, strict=True)),
        last,
    )


def numpy_windows(
    slab: Array, kernel: Sequence[int], output: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Array:
    """(n, *slab, C) -> (n, *output, *kernel, C), a view of a NumPy array."""
    shape = (slab.shape[0], *output, *kernel, slab.shape[-1])
    steps = window_steps(slab.strides, stride, dilation)
    return np.lib.stride_tricks.as_strided(slab, shape, steps, writeable=False)
