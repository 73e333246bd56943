"""More definitions in plain loops, as in `oracle`: what is not convolution with zeros, max or average pooling.

Nothing is imported from xpconv.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests import oracle
from tests.oracle import Sites, exact, in_both_layouts, kernel_first, kernel_last, planes, shape_last, to_first, to_last

# Transposed convolution -----------------------------------------------------------------------------------------


def transpose_pads(
    size: tuple[int, ...], kernel: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any
) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
    """Pixels cut before and after each axis, and the output size, (n - 1) s + span + extra - before - after.

    "same" and "same_lower" give n s pixels. Where that is more than the taps reach, nothing is cut and the rest follows
    the last tap.
    """
    rank = len(size)
    stride, dilation, extra = (oracle.per_axis(v, rank) for v in (stride, dilation, output_padding))
    full = tuple(
        (n - 1) * s + d * (k - 1) + 1 + e for n, s, d, k, e in zip(size, stride, dilation, kernel, extra, strict=True)
    )
    if padding in ("same", "same_lower"):
        out = tuple(n * s for n, s in zip(size, stride, strict=True))
        cut = [max(f - o, 0) for f, o in zip(full, out, strict=True)]
        less, more = [t // 2 for t in cut], [t - t // 2 for t in cut]
        return list(zip(less, more, strict=True) if padding == "same" else zip(more, less, strict=True)), out
    pads = oracle.padding_pairs(padding, size, kernel, stride, dilation)
    return pads, tuple(f - before - after for f, (before, after) in zip(full, pads, strict=True))


def transpose_products(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], pads: Any, out: Any, stride: Any, dilation: Any, groups: int
) -> Iterator[tuple]:
    """Index triples (of x, of w, of z) of every product; x (N, *spatial, C), w (*kernel, F/G, C), z (N, *out, F)."""
    rank = len(out)
    stride, dilation = oracle.per_axis(stride, rank), oracle.per_axis(dilation, rank)
    f_group, c_group = w_shape[-2], w_shape[-1] // groups
    for o in itertools.product(*map(range, x_shape[1:-1])):
        for k in itertools.product(*map(range, w_shape[:-2])):
            i = tuple(a * s + b * d - lo for a, s, b, d, (lo, _) in zip(o, stride, k, dilation, pads, strict=True))
            if not all(0 <= place < n for place, n in zip(i, out, strict=True)):
                continue
            for n, g, c, f in itertools.product(range(x_shape[0]), range(groups), range(c_group), range(f_group)):
                at_c = g * c_group + c
                yield (n, *o, at_c), (*k, f, at_c), (n, *i, g * f_group + f)


@in_both_layouts(to_last, kernel_last, None, to_first)
def conv_transpose(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> np.ndarray:
    """z[n, o·s + k·d - before, f] gathers x[n, o, c] w[k, f, c], and b[f] once."""
    x, w = exact(x), exact(w)
    pads, out = transpose_pads(x.shape[1:-1], w.shape[:-2], stride, padding, output_padding, dilation)
    z = np.zeros((x.shape[0], *out, w.shape[-2] * groups), np.result_type(x, w))
    if b is not None:
        z = z + exact(b)
    for at_x, at_w, at_z in transpose_products(x.shape, w.shape, pads, out, stride, dilation, groups):
        z[at_z] += x[at_x] * w[at_w]
    return z


def conv_transpose_vjp(
    dz: Any,
    x: Any,
    w: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    layout: str = "channels_last",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dx, dw, db): each product sends dz, times the conjugate of one factor, back to the other."""
    dz, x, w = exact(dz), exact(x), exact(w)
    first = layout == "channels_first"
    if first:
        dz, x, w = to_last(dz), to_last(x), kernel_last(w)
    pads, out = transpose_pads(x.shape[1:-1], w.shape[:-2], stride, padding, output_padding, dilation)
    dx, dw = np.zeros(x.shape, np.result_type(dz, w)), np.zeros(w.shape, np.result_type(dz, x))
    for at_x, at_w, at_z in transpose_products(x.shape, w.shape, pads, out, stride, dilation, groups):
        dx[at_x] += dz[at_z] * w[at_w].conjugate()
        dw[at_w] += dz[at_z] * x[at_x].conjugate()
    db = oracle.conv_bias_grad(dz)
    return (to_first(dx), kernel_first(dw), db) if first else (dx, dw, db)


# Lp pooling -----------------------------------------------------------------------------------------------------


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
    shape = oracle.pool_sites(x.shape, window, stride, padding, dilation, ceil_mode)
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
    shape = oracle.pool_sites(x.shape, window, stride, padding, dilation, ceil_mode)
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


# Adaptive pooling -----------------------------------------------------------------------------------------------


def adaptive_windows(size: tuple[int, ...], parts: Any) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """Each output position with the pixels floor(o n / m) to ceil((o + 1) n / m) - 1 of each axis, in order."""
    parts = oracle.per_axis(parts, len(size))
    for o in itertools.product(*map(range, parts)):
        spans = [range(a * n // m, math.ceil((a + 1) * n / m)) for a, n, m in zip(o, size, parts, strict=True)]
        yield o, list(itertools.product(*spans))


def _output(x: np.ndarray, parts: Any) -> tuple[int, ...]:
    return (x.shape[0], *oracle.per_axis(parts, x.ndim - 2), x.shape[-1])


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
            won = oracle.winners(x, [((), i) for i in pixels], n, c)[0]
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
            won = oracle.winners(x, [((), i) for i in pixels], n, c)[0]
            dx[(n, *won, c)] += dy[(n, *o, c)]
    return dx


@in_both_layouts(to_last, to_last, None, to_first)
def max_unpool(y: Any, indices: Any, output_shape: Any) -> np.ndarray:
    """Zeros, and each value where its index says; -1 says nowhere."""
    y, indices = np.asarray(y), np.asarray(indices)
    size = oracle.per_axis(output_shape, y.ndim - 2)
    x = np.zeros((y.shape[0], *size, y.shape[-1]), y.dtype)
    for o in itertools.product(*map(range, y.shape)):
        if indices[o] >= 0:
            x[(o[0], *np.unravel_index(indices[o], size), o[-1])] = y[o]
    return x


# Windows as arrays ----------------------------------------------------------------------------------------------


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
    shape = oracle.sites(x.shape[1:-1], window, stride, padding, dilation)
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
    shape = oracle.sites(input_shape[1:-1], window, stride, padding, dilation)
    x = np.zeros(input_shape, cols.dtype)
    for o in shape.positions():
        for k, i in shape.taps(o):
            for n, c in planes(input_shape):
                x[(n, *i, c)] += cols[(n, *o, *k, c)]
    return x


# Padding with pixels of the image -------------------------------------------------------------------------------


def source(i: int, n: int, mode: str) -> int | None:
    """Give the pixel of an axis of n that pixel i repeats, -n < i < 2 n - 1; None: a zero."""
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
    return oracle.padding_pairs(padding, size, *[(1,) * len(size)] * 3)


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


def _sites(x: Any, w: Any, options: dict[str, Any], layout: str) -> Sites:
    size, kernel = (np.shape(x)[1:-1], np.shape(w)[:-2]) if layout == "channels_last" else (x.shape[2:], w.shape[2:])
    names = ("stride", "padding", "dilation")
    return oracle.sites(size, kernel, *(options.get(name, 0 if name == "padding" else 1) for name in names))


def conv(x: Any, w: Any, b: Any = None, *, padding_mode: str, layout: str = "channels_last", **options: Any) -> Any:
    """Pad first, then convolve."""
    pads = _sites(x, w, options, layout).pads
    x = pad(x, pads, mode=padding_mode, layout=layout)
    return oracle.conv(x, w, b, layout=layout, **options | {"padding": 0})


def conv_vjp(dz: Any, x: Any, w: Any, *, padding_mode: str, layout: str = "channels_last", **options: Any) -> tuple:
    """Gradients of the convolution of the padded image; dx goes back through the padding."""
    pads = _sites(x, w, options, layout).pads
    padded = pad(x, pads, mode=padding_mode, layout=layout)
    dx, dw, db = oracle.conv_vjp(dz, padded, w, layout=layout, **options | {"padding": 0})
    return pad_vjp(dx, np.shape(x), pads, mode=padding_mode, layout=layout), dw, db
