"""Maximum, average, Lp and adaptive pooling, their gradients, and unpooling: every window by itself."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.oracle.geometry import Sites, exact, in_both_layouts, per_axis, planes, shape_last, sites, to_first, to_last


def pool_sites(x_shape: Any, window: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Sites:
    """Sites of a pooling window; no stride means the window."""
    return sites(x_shape[1:-1], window, window if stride is None else stride, padding, dilation, ceil_mode)


def is_nan(value: Any) -> bool:
    """Whether a number is NaN, in any arithmetic."""
    return value != value


def winners(x: np.ndarray, window: list[tuple], n: int, c: int) -> list[tuple]:
    """Input positions of every maximum of a window, in row-major order; a NaN wins alone, the first one of them."""
    inside = [i for _, i in window]
    for i in inside:
        if is_nan(x[(n, *i, c)]):
            return [i]
    best = max((x[(n, *i, c)] for i in inside), default=None)
    return [i for i in inside if x[(n, *i, c)] == best]


@in_both_layouts(to_last, None, to_first)
def max_pool(
    x: Any, window: Any, *, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum of each window and its flat index in the unpadded plane; no tap inside gives the least value and -1."""
    x = np.asarray(x)
    shape = pool_sites(x.shape, window, stride, padding, dilation, ceil_mode)
    y = np.empty((x.shape[0], *shape.out, x.shape[-1]), x.dtype)
    indices = np.empty(y.shape, np.int64)
    least = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    for o in shape.positions():
        taps = shape.taps(o)
        for n, c in planes(x.shape):
            won = winners(x, taps, n, c)
            y[(n, *o, c)] = x[(n, *won[0], c)] if won else least
            indices[(n, *o, c)] = np.ravel_multi_index(won[0], shape.size) if won else -1
    return y, indices


@in_both_layouts(to_last, to_last, None, to_first)
def max_pool_vjp(
    dy: Any,
    x: Any,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    ties: str = "first",
) -> np.ndarray:
    """Send each gradient to the first maximum of its window, to all of them, or to all in equal shares."""
    dy, x = exact(dy), np.asarray(x)
    shape = pool_sites(x.shape, window, stride, padding, dilation, ceil_mode)
    dx = np.zeros(x.shape, dy.dtype)
    for o in shape.positions():
        taps = shape.taps(o)
        for n, c in planes(x.shape):
            won = winners(x, taps, n, c)
            for i in won[:1] if ties == "first" else won:
                dx[(n, *i, c)] += dy[(n, *o, c)] / len(won) if ties == "split" else dy[(n, *o, c)]
    return dx


@in_both_layouts(to_last, None, to_first)
def avg_pool(
    x: Any,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> np.ndarray:
    """Mean over the taps inside the padded input, or inside the input alone; a window without a counted tap gives 0."""
    x = exact(x)
    shape = pool_sites(x.shape, window, stride, padding, dilation, ceil_mode)
    y = np.zeros((x.shape[0], *shape.out, x.shape[-1]), x.dtype)
    for o in shape.positions():
        count = len(shape.taps(o, beyond=count_include_pad))
        for n, c in planes(x.shape) if count else ():
            total = sum(x[(n, *i, c)] for _, i in shape.taps(o))
            y[(n, *o, c)] = total / count
    return y


@in_both_layouts(to_last, shape_last, None, to_first)
def avg_pool_vjp(
    dy: Any,
    input_shape: Any,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> np.ndarray:
    """Send each gradient, divided by its window's divisor, to every pixel of the window."""
    dy = exact(dy)
    shape = pool_sites(input_shape, window, stride, padding, dilation, ceil_mode)
    dx = np.zeros(input_shape, dy.dtype)
    for o in shape.positions():
        count = len(shape.taps(o, beyond=count_include_pad))
        for _, i in shape.taps(o):
            for n, c in planes(input_shape):
                dx[(n, *i, c)] += dy[(n, *o, c)] / count
    return dx


# Lp pooling -----------------------------------------------------------------------------------------------------------


def norm(values: list[float], p: float) -> float:
    """(Σ abs(v)^p)^(1/p), or the largest magnitude; 0 of nothing."""
    if p == math.inf:
        return max(map(abs, values), default=0.0)
    return sum(abs(v) ** p for v in values) ** (1 / p)


@in_both_layouts(to_last, None, None, to_first)
def lp_pool(
    x: Any, p: float, window: Any, *, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> np.ndarray:
    """p-norm of the taps inside the input."""
    x = exact(x)
    shape = pool_sites(x.shape, window, stride, padding, dilation, ceil_mode)
    y = np.zeros((x.shape[0], *shape.out, x.shape[-1]))
    for o in shape.positions():
        taps = shape.taps(o)
        for n, c in planes(x.shape):
            y[(n, *o, c)] = norm([x[(n, *i, c)] for _, i in taps], p)
    return y


@in_both_layouts(to_last, to_last, None, None, to_first)
def lp_pool_vjp(
    dy: Any,
    x: Any,
    p: float,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> np.ndarray:
    """dy sign(x) (abs(x) / y)^(p - 1), 0 where x is; for p = infinity the largest magnitudes share alike."""
    dy, x = exact(dy), exact(x)
    shape = pool_sites(x.shape, window, stride, padding, dilation, ceil_mode)
    dx = np.zeros(x.shape)
    for o in shape.positions():
        taps = shape.taps(o)
        for n, c in planes(x.shape):
            values = {i: x[(n, *i, c)] for _, i in taps}
            size = norm(list(values.values()), p)
            largest = [i for i, v in values.items() if abs(v) == size]
            for i, v in values.items():
                if v == 0:
                    continue
                slope = (1 / len(largest) if i in largest else 0.0) if p == math.inf else (abs(v) / size) ** (p - 1)
                dx[(n, *i, c)] += dy[(n, *o, c)] * math.copysign(slope, v)
    return dx


# Adaptive pooling -----------------------------------------------------------------------------------------------------


def adaptive_windows(size: tuple[int, ...], parts: Any) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """Each output position with the pixels floor(o n / m) to ceil((o + 1) n / m) - 1 of each axis, in order."""
    parts = per_axis(parts, len(size))
    for o in itertools.product(*map(range, parts)):
        spans = [range(a * n // m, math.ceil((a + 1) * n / m)) for a, n, m in zip(o, size, parts, strict=True)]
        yield o, list(itertools.product(*spans))


def _output(x: np.ndarray, parts: Any) -> tuple[int, ...]:
    return (x.shape[0], *per_axis(parts, x.ndim - 2), x.shape[-1])


@in_both_layouts(to_last, None, to_first)
def adaptive_avg_pool(x: Any, output_shape: Any) -> np.ndarray:
    """Mean of each window."""
    x = exact(x)
    y = np.zeros(_output(x, output_shape), x.dtype)
    for o, pixels in adaptive_windows(x.shape[1:-1], output_shape):
        for n, c in planes(x.shape):
            y[(n, *o, c)] = sum(x[(n, *i, c)] for i in pixels) / len(pixels)
    return y


@in_both_layouts(to_last, to_last, None, to_first)
def adaptive_avg_pool_vjp(dy: Any, x: Any, output_shape: Any) -> np.ndarray:
    """Each gradient, divided by the size of its window, goes to every pixel of it."""
    dy = exact(dy)
    dx = np.zeros(np.shape(x), dy.dtype)
    for o, pixels in adaptive_windows(dx.shape[1:-1], output_shape):
        for i, (n, c) in itertools.product(pixels, planes(dx.shape)):
            dx[(n, *i, c)] += dy[(n, *o, c)] / len(pixels)
    return dx


@in_both_layouts(to_last, None, to_first)
def adaptive_max_pool(x: Any, output_shape: Any) -> tuple[np.ndarray, np.ndarray]:
    """Maximum of each window, or its first NaN, and the flat index of the first such pixel in the plane."""
    x = np.asarray(x)
    y = np.zeros(_output(x, output_shape), x.dtype)
    indices = np.zeros(y.shape, np.int64)
    for o, pixels in adaptive_windows(x.shape[1:-1], output_shape):
        for n, c in planes(x.shape):
            won = winners(x, [((), i) for i in pixels], n, c)[0]
            y[(n, *o, c)] = x[(n, *won, c)]
            indices[(n, *o, c)] = np.ravel_multi_index(won, x.shape[1:-1])
    return y, indices


@in_both_layouts(to_last, to_last, None, to_first)
def adaptive_max_pool_vjp(dy: Any, x: Any, output_shape: Any) -> np.ndarray:
    """Each gradient goes to the first maximum, or the first NaN, of its window."""
    dy, x = exact(dy), np.asarray(x)
    dx = np.zeros(x.shape, dy.dtype)
    for o, pixels in adaptive_windows(x.shape[1:-1], output_shape):
        for n, c in planes(x.shape):
            won = winners(x, [((), i) for i in pixels], n, c)[0]
            dx[(n, *won, c)] += dy[(n, *o, c)]
    return dx


@in_both_layouts(to_last, to_last, None, to_first)
def max_unpool(y: Any, indices: Any, output_shape: Any) -> np.ndarray:
    """Zeros, and each value where its index says; -1 says nowhere."""
    y, indices = np.asarray(y), np.asarray(indices)
    size = per_axis(output_shape, y.ndim - 2)
    x = np.zeros((y.shape[0], *size, y.shape[-1]), y.dtype)
    for o in itertools.product(*map(range, y.shape)):
        if indices[o] >= 0:
            x[(o[0], *np.unravel_index(indices[o], size), o[-1])] = y[o]
    return x
