"""The same definitions by slices of the padded input, one for each tap: for sizes where the oracle's loops would crawl.

Whole numbers in float64, so every sum is exact. `test_oracle` holds this against the oracle. Channels last.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.oracle.geometry import Sites, sites
from tests.oracle.pooling import pool_sites


def tap_slices(shape: Sites) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each kernel offset with the pixels of the padded input that it meets, over all outputs."""
    for k in itertools.product(*map(range, shape.kernel)):
        where = tuple(
            slice(k_a * d, k_a * d + (n - 1) * s + 1, s)
            for k_a, d, n, s in zip(k, shape.dilation, shape.out, shape.stride, strict=True)
        )
        yield k, (slice(None), *where, slice(None))


def widened(shape: Sites) -> list[tuple[int, int]]:
    """Padding of the whole array, with room for the windows that ceil_mode lets end beyond it."""
    pairs = [(0, 0)]
    for n, k, s, d, (before, after), out in zip(
        shape.size, shape.kernel, shape.stride, shape.dilation, shape.pads, shape.out, strict=True
    ):
        reach = (out - 1) * s + d * (k - 1) + 1
        pairs.append((before, max(after, reach - n - before)))
    return [*pairs, (0, 0)]


def crop(x: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
    """Take padding off again."""
    return x[tuple(slice(before, n - after) for n, (before, after) in zip(x.shape, pairs, strict=True))]


def conv(dz: Any, x: Any, w: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> tuple:
    """(z, dx, dw) of a convolution; dz may be None, and then so are the gradients."""
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    shape = sites(x.shape[1:-1], w.shape[:-2], stride, padding, dilation)
    pairs = widened(shape)
    padded = np.pad(x, pairs)
    z = np.zeros((x.shape[0], *shape.out, w.shape[-1]))
    dpadded, dw = np.zeros(padded.shape), np.zeros(w.shape)
    c_group, f_group = w.shape[-2], w.shape[-1] // groups
    for (k, where), g in itertools.product(tap_slices(shape), range(groups)):
        c, f = slice(g * c_group, (g + 1) * c_group), slice(g * f_group, (g + 1) * f_group)
        pixels, weight = padded[where][..., c], w[k][:, f]
        z[..., f] += pixels @ weight
        if dz is not None:
            gradient = np.asarray(dz[..., f], np.float64)
            dpadded[where][..., c] += gradient @ weight.T
            dw[k][:, f] += pixels.reshape(-1, c_group).T @ gradient.reshape(-1, f_group)
    return (z, None, None) if dz is None else (z, crop(dpadded, pairs), dw)


def max_pool(dy: Any, x: Any, window: Any, **options: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y, indices, dx) of a maximum pooling, for data without NaN; ties go to the first."""
    x = np.asarray(x, np.float64)
    shape = pool_sites(x.shape, window, **{"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False} | options)
    pairs = widened(shape)
    padded = np.pad(x, pairs, constant_values=-np.inf)
    numbers = np.arange(int(np.prod(shape.size))).reshape(1, *shape.size, 1)
    numbers = np.pad(numbers, [(0, 0), *pairs[1:-1], (0, 0)], constant_values=-1)
    y = np.full((x.shape[0], *shape.out, x.shape[-1]), -np.inf)
    indices = np.full(y.shape, -1)
    for _, where in tap_slices(shape):
        better = padded[where] > y
        indices = np.where(better, numbers[where], indices)
        y = np.where(better, padded[where], y)
    dpadded = np.zeros(padded.shape)
    for _, where in tap_slices(shape):
        dpadded[where] += np.where(numbers[where] == indices, dy, 0)
    return y, indices, crop(dpadded, pairs)


def avg_pool(dy: Any, x: Any, window: Any, count_include_pad: bool = True, **options: Any) -> tuple:
    """(y, dx) of an average pooling."""
    x = np.asarray(x, np.float64)
    shape = pool_sites(x.shape, window, **{"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False} | options)
    pairs = widened(shape)
    padded, dpadded = np.pad(x, pairs), np.zeros(np.pad(x, pairs).shape)
    counted = np.ones((1, *shape.size, 1))
    asked = [(0, 0), *shape.pads, (0, 0)]
    counted = np.pad(counted, asked, constant_values=float(count_include_pad))
    counted = np.pad(counted, [(0, wide - had) for (_, wide), (_, had) in zip(pairs, asked, strict=True)])
    total = sum(padded[where] for _, where in tap_slices(shape))
    count = np.maximum(sum(counted[where] for _, where in tap_slices(shape)), 1)
    for _, where in tap_slices(shape):
        dpadded[where] += dy / count
    return total / count, crop(dpadded, pairs)
