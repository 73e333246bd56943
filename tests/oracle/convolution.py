"""Convolution and transposed convolution, their gradients: every product by itself."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tests.oracle.geometry import (
    Sites,
    exact,
    in_both_layouts,
    kernel_first,
    kernel_last,
    padding_pairs,
    per_axis,
    shape_last,
    sites,
    to_first,
    to_last,
)
from tests.oracle.windows import pad, pad_vjp


def products(shape: Sites, batch: int, w_shape: tuple[int, ...], groups: int) -> Iterator[tuple]:
    """Index triples (of x, of w, of z) of every product in a convolution, x (N, *spatial, C), w (*kernel, C/G, F)."""
    c_group, f_group = w_shape[-2], w_shape[-1] // groups
    for o in shape.positions():
        for k, i in shape.taps(o):
            for n, g, c, f in itertools.product(range(batch), range(groups), range(c_group), range(f_group)):
                yield (n, *i, g * c_group + c), (*k, c, g * f_group + f), (n, *o, g * f_group + f)


def _padded(shape: Sites, mode: str) -> Sites:
    """The sites on an image that has been padded with pixels of its own; with zeros, as they are."""
    if mode == "zeros":
        return shape
    size = tuple(n + before + after for n, (before, after) in zip(shape.size, shape.pads, strict=True))
    return replace(shape, size=size, pads=((0, 0),) * len(size))


@in_both_layouts(to_last, kernel_last, None, to_first)
def conv(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> np.ndarray:
    """z[n, o, f] = b[f] + the sum over k, c of x[n, o·s - p + k·d, c] w[k, c, f]."""
    x, w = exact(x), exact(w)
    shape = sites(x.shape[1:-1], w.shape[:-2], stride, padding, dilation)
    if padding_mode != "zeros":
        x, shape = pad(x, shape.pads, mode=padding_mode), _padded(shape, padding_mode)
    z = np.zeros((x.shape[0], *shape.out, w.shape[-1]), np.result_type(x, w))
    if b is not None:
        z = z + exact(b)
    for at_x, at_w, at_z in products(shape, x.shape[0], w.shape, groups):
        z[at_z] += x[at_x] * w[at_w]
    return z


@in_both_layouts(to_last, kernel_last, shape_last, to_first)
def conv_input_grad(
    dz: Any,
    w: Any,
    input_shape: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> np.ndarray:
    """dx: each product of the convolution sends dz times the conjugate of its weight back to its pixel."""
    dz, w = exact(dz), exact(w)
    given = sites(input_shape[1:-1], w.shape[:-2], stride, padding, dilation)
    shape = _padded(given, padding_mode)
    dx = np.zeros((input_shape[0], *shape.size, input_shape[-1]), np.result_type(dz, w))
    for at_x, at_w, at_z in products(shape, input_shape[0], w.shape, groups):
        dx[at_x] += dz[at_z] * w[at_w].conjugate()
    return dx if padding_mode == "zeros" else pad_vjp(dx, input_shape, given.pads, mode=padding_mode)


def _kernel_shape_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[2:], shape[1], shape[0])


@in_both_layouts(to_last, to_last, _kernel_shape_last, kernel_first)
def conv_weight_grad(
    dz: Any,
    x: Any,
    kernel_shape: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> np.ndarray:
    """dw: each product of the convolution sends dz times the conjugate of its pixel back to its weight."""
    dz, x = exact(dz), exact(x)
    shape = sites(x.shape[1:-1], kernel_shape[:-2], stride, padding, dilation)
    if padding_mode != "zeros":
        x, shape = pad(x, shape.pads, mode=padding_mode), _padded(shape, padding_mode)
    dw = np.zeros(kernel_shape, np.result_type(dz, x))
    for at_x, at_w, at_z in products(shape, x.shape[0], kernel_shape, groups):
        dw[at_w] += dz[at_z] * x[at_x].conjugate()
    return dw


def conv_bias_grad(dz: Any, *, layout: str = "channels_last") -> np.ndarray:
    """db[f] = the sum of dz over the batch and the spatial axes."""
    dz = exact(dz) if layout == "channels_last" else to_last(exact(dz))
    db = np.zeros(dz.shape[-1], dz.dtype)
    for row in dz.reshape(-1, dz.shape[-1]):
        db += row
    return db


def conv_vjp(dz: Any, x: Any, w: Any, *, layout: str = "channels_last", **options: Any) -> tuple:
    """(dx, dw, db) of a convolution."""
    return (
        conv_input_grad(dz, w, np.shape(x), layout=layout, **options),
        conv_weight_grad(dz, x, np.shape(w), layout=layout, **options),
        conv_bias_grad(dz, layout=layout),
    )


# Transposed convolution -----------------------------------------------------------------------------------------------


def transpose_pads(
    size: tuple[int, ...], kernel: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any
) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
    """Pixels cut before and after each axis, and the output size, (n - 1) s + span + extra - before - after.

    "same" and "same_lower" give n s pixels. Where that is more than the taps reach, nothing is cut and the rest follows
    the last tap.
    """
    rank = len(size)
    stride, dilation, extra = (per_axis(v, rank) for v in (stride, dilation, output_padding))
    full = tuple(
        (n - 1) * s + d * (k - 1) + 1 + e for n, s, d, k, e in zip(size, stride, dilation, kernel, extra, strict=True)
    )
    if padding in ("same", "same_lower"):
        out = tuple(n * s for n, s in zip(size, stride, strict=True))
        cut = [max(f - o, 0) for f, o in zip(full, out, strict=True)]
        less, more = [t // 2 for t in cut], [t - t // 2 for t in cut]
        return list(zip(less, more, strict=True) if padding == "same" else zip(more, less, strict=True)), out
    pads = padding_pairs(padding, size, kernel, stride, dilation)
    return pads, tuple(f - before - after for f, (before, after) in zip(full, pads, strict=True))


def transpose_products(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], pads: Any, out: Any, stride: Any, dilation: Any, groups: int
) -> Iterator[tuple]:
    """Index triples (of x, of w, of z) of every product; x (N, *spatial, C), w (*kernel, F/G, C), z (N, *out, F)."""
    rank = len(out)
    stride, dilation = per_axis(stride, rank), per_axis(dilation, rank)
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
    db = conv_bias_grad(dz)
    return (to_first(dx), kernel_first(dw), db) if first else (dx, dw, db)
