"""Windows as arrays, and padding with zeros or with pixels of the image."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.oracle.geometry import exact, in_both_layouts, padding_pairs, planes, shape_last, sites, to_first, to_last

# Windows as arrays ----------------------------------------------------------------------------------------------------


def columns_first(cols: Any) -> np.ndarray:
    """(N, *out, *window, C) -> (N, C, *window, *out)."""
    rank = (cols.ndim - 2) // 2
    return cols.transpose(0, 2 * rank + 1, *range(rank + 1, 2 * rank + 1), *range(1, rank + 1))


def columns_last(cols: Any) -> np.ndarray:
    """(N, C, *window, *out) -> (N, *out, *window, C)."""
    rank = (cols.ndim - 2) // 2
    return cols.transpose(0, *range(rank + 2, 2 * rank + 2), *range(2, rank + 2), 1)


@in_both_layouts(to_last, None, columns_first)
def unfold(x: Any, window: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> np.ndarray:
    """Every tap of every window, zero in the padding."""
    x = np.asarray(x)
    shape = sites(x.shape[1:-1], window, stride, padding, dilation)
    cols = np.zeros((x.shape[0], *shape.out, *shape.kernel, x.shape[-1]), x.dtype)
    for o in shape.positions():
        for k, i in shape.taps(o):
            for n, c in planes(x.shape):
                cols[(n, *o, *k, c)] = x[(n, *i, c)]
    return cols


@in_both_layouts(columns_last, shape_last, None, to_first)
def fold(
    cols: Any, input_shape: Any, window: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> np.ndarray:
    """Every tap of every window, added where it came from."""
    cols = exact(cols)
    shape = sites(input_shape[1:-1], window, stride, padding, dilation)
    x = np.zeros(input_shape, cols.dtype)
    for o in shape.positions():
        for k, i in shape.taps(o):
            for n, c in planes(input_shape):
                x[(n, *i, c)] += cols[(n, *o, *k, c)]
    return x


# Padding --------------------------------------------------------------------------------------------------------------


def source(i: int, n: int, mode: str) -> int | None:
    """Give the pixel of an axis of n that pixel i repeats, -n < i < 2 n - 1 in "reflect"; None: a zero."""
    if 0 <= i < n:
        return i
    if mode == "reflect":
        return -i if i < 0 else 2 * (n - 1) - i
    return {"zeros": None, "replicate": 0 if i < 0 else n - 1, "circular": i % n}[mode]


def sources(size: tuple[int, ...], pads: Any, mode: str) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Each padded position that holds a pixel, with that pixel."""
    axes = [
        [(i + lo, source(i, n, mode)) for i in range(-lo, n + hi) if source(i, n, mode) is not None]
        for n, (lo, hi) in zip(size, pads, strict=True)
    ]
    for combination in itertools.product(*axes):
        yield tuple(at for at, _ in combination), tuple(i for _, i in combination)


def _pads(size: tuple[int, ...], padding: Any) -> list[tuple]:
    return padding_pairs(padding, size, *[(1,) * len(size)] * 3)


@in_both_layouts(to_last, None, to_first)
def pad(x: Any, padding: Any, *, mode: str = "zeros") -> np.ndarray:
    """Surround the spatial axes with zeros or with pixels of the image."""
    x = np.asarray(x)
    size = x.shape[1:-1]
    pads = _pads(size, padding)
    y = np.zeros((x.shape[0], *(n + lo + hi for n, (lo, hi) in zip(size, pads, strict=True)), x.shape[-1]), x.dtype)
    for at, i in sources(size, pads, mode):
        y[(slice(None), *at)] = x[(slice(None), *i)]
    return y


@in_both_layouts(to_last, shape_last, None, to_first)
def pad_vjp(dy: Any, input_shape: Any, padding: Any, *, mode: str = "zeros") -> np.ndarray:
    """Each padded position sends its gradient to the pixel that it repeats."""
    dy = exact(dy)
    dx = np.zeros(input_shape, dy.dtype)
    for at, i in sources(input_shape[1:-1], _pads(input_shape[1:-1], padding), mode):
        dx[(slice(None), *i)] += dy[(slice(None), *at)]
    return dx
