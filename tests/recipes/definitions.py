"""What functions of CuPy's cuDNN module, Chainer and TensorFlow compute, by their documentation, in plain loops.

Chainer, which ended with Python 3.8, and ``cupy.cudnn``, which ended with CuPy 13, cannot be installed beside the
others; TensorFlow can, but is large, so its rows are held against both. Nothing here uses xpconv.
"""

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np


def many(value: Any, rank: int) -> tuple[int, ...]:
    """One number for each spatial axis; TensorFlow may name all axes."""
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    return values[1:-1] if len(values) == rank + 2 else values


def framed(x: np.ndarray, pads: Any, fill: float = 0.0) -> np.ndarray:
    """Pad the spatial axes, which are the last ones."""
    return np.pad(x, [(0, 0)] * (x.ndim - len(pads)) + list(pads), constant_values=fill)


def window(at: Any, kernel: Any, stride: Any, dilation: Any) -> tuple[slice, ...]:
    """The pixels of a window."""
    return tuple(
        slice(o * s, o * s + d * (k - 1) + 1, d) for o, k, s, d in zip(at, kernel, stride, dilation, strict=True)
    )


def correlate(x: Any, w: Any, stride: Any, pads: Any, dilation: Any = None, groups: int = 1) -> np.ndarray:
    """Slide ``(F, C/G, *kernel)`` over ``(N, C, *size)``, pixel by pixel."""
    x, kernel = framed(x, pads), w.shape[2:]
    dilation = dilation or (1,) * len(kernel)
    size = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    z = np.zeros((len(x), len(w), *size))
    each, depth = len(w) // groups, w.shape[1]
    for f, at in itertools.product(range(len(w)), np.ndindex(*size)):
        first = f // each * depth
        seen = x[(slice(None), slice(first, first + depth), *window(at, kernel, stride, dilation))]
        z[(slice(None), f, *at)] = (seen * w[f]).reshape(len(x), -1).sum(1)
    return z


def spread(x: Any, w: Any, stride: Any, pads: Any, size: Any = None) -> np.ndarray:
    """Add ``(C, F, *kernel)`` times each pixel of ``(N, C, *size)`` at its place, and cut the padding off."""
    kernel, once = w.shape[2:], (1,) * (w.ndim - 2)
    reach = [(n - 1) * s + k + 20 for n, s, k in zip(x.shape[2:], stride, kernel, strict=True)]
    whole = np.zeros((len(x), w.shape[1], *reach))
    for at in np.ndindex(*x.shape[2:]):
        whole[(..., *window(at, kernel, stride, once))] += np.einsum("nc,cf...->nf...", x[(..., *at)], w)
    if size is None:
        size = [(n - 1) * s + k - sum(p) for n, s, k, p in zip(x.shape[2:], stride, kernel, pads, strict=True)]
    return whole[(..., *(slice(p[0], p[0] + n) for p, n in zip(pads, size, strict=True)))]


def pool(
    x: Any, k: Any, stride: Any, pads: Any, reduce: Any, fill: float, cover: bool = False, dilation: Any = None
) -> np.ndarray:
    """Reduce windows of the spatial axes; with `cover` windows go on until every pixel is in one."""
    x, dilation = framed(x, pads, fill), dilation or (1,) * len(k)
    sizes = [
        (n - d * (k0 - 1) - 1 + (s - 1 if cover else 0)) // s + 1
        for n, k0, s, d in zip(x.shape[2:], k, stride, dilation, strict=True)
    ]
    x = framed(x, [(0, s) for s in stride], fill)
    y = np.zeros((*x.shape[:2], *sizes))
    for at in np.ndindex(*sizes):
        y[(..., *at)] = reduce(x[(..., *window(at, k, stride, dilation))], tuple(range(2, x.ndim)))
    return y


def both(pad: Any, rank: int) -> list[tuple[int, int]]:
    return [(p, p) for p in many(pad, rank)]


# Chainer and CuPy: (N, C, H, W), the same padding on both sides -----------------------------------------------------


def convolution_nd(
    x: Any, W: Any, b: Any = None, stride: Any = 1, pad: Any = 0, dilate: Any = 1, groups: int = 1
) -> Any:
    rank = x.ndim - 2
    z = correlate(x, W, many(stride, rank), both(pad, rank), many(dilate, rank), groups)
    return z if b is None else z + b.reshape(1, -1, *[1] * rank)


def deconvolution_nd(x: Any, W: Any, b: Any = None, stride: Any = 1, pad: Any = 0, outsize: Any = None) -> Any:
    rank = x.ndim - 2
    y = spread(x, W, many(stride, rank), both(pad, rank), outsize)
    return y if b is None else y + b.reshape(1, -1, *[1] * rank)


def depthwise_convolution_2d(x: Any, W: Any, b: Any = None, stride: Any = 1, pad: Any = 0) -> Any:
    """``W`` is (multiplier, C, kh, kw); the channels of one input channel lie side by side."""
    z = np.stack([convolution_nd(x[:, c : c + 1], W[:, c : c + 1], None, stride, pad) for c in range(x.shape[1])], 1)
    return z.reshape(len(z), -1, *z.shape[3:])


def max_pooling_nd(x: Any, ksize: Any, stride: Any = None, pad: Any = 0, cover_all: bool = True) -> Any:
    rank = x.ndim - 2
    k = many(ksize, rank)
    return pool(x, k, many(stride or k, rank), both(pad, rank), np.max, -np.inf, cover_all)


def average_pooling_nd(x: Any, ksize: Any, stride: Any = None, pad: Any = 0, pad_value: Any = 0) -> Any:
    rank = x.ndim - 2
    k = many(ksize, rank)
    sums, ones = (pool(a, k, many(stride or k, rank), both(pad, rank), np.sum, 0.0) for a in (x, np.ones_like(x)))
    return sums / (math.prod(k) if pad_value == 0 else ones)


def unpooling_nd(x: Any, ksize: int, cover_all: bool = True) -> Any:
    assert not cover_all
    for axis in range(2, x.ndim):
        x = x.repeat(ksize, axis)
    return x


def upsampling_2d(x: Any, indexes: Any, ksize: int, cover_all: bool = True) -> Any:
    """Put each number at its place within its window, where ``MaxPooling2D.indexes`` says that it was."""
    assert not cover_all
    y = np.zeros((*x.shape[:2], *(n * ksize for n in x.shape[2:])))
    for n, c, i, j in np.ndindex(x.shape):
        row, column = divmod(indexes[n, c, i, j], ksize)
        y[n, c, i * ksize + row, j * ksize + column] = x[n, c, i, j]
    return y


def im2col(x: Any, ksize: Any, stride: Any = 1, pad: Any = 0) -> Any:
    (kh, kw), c = many(ksize, 2), x.shape[1]
    w = np.eye(c * kh * kw).reshape(-1, c, kh, kw)
    return correlate(x, w, many(stride, 2), both(pad, 2))


def convolution_forward(
    x: Any, W: Any, b: Any, y: Any, pad: Any, stride: Any, dilation: Any, groups: int, **_: Any
) -> Any:
    y[...] = convolution_nd(x, W, b, stride, pad, dilation, groups)
    return y


def convolution_backward_data(
    W: Any, x: Any, b: Any, y: Any, pad: Any, stride: Any, dilation: Any, groups: int, **_: Any
) -> Any:
    assert groups == 1
    assert tuple(dilation) == (1, 1)
    y[...] = deconvolution_nd(x, W, b, stride, pad, y.shape[2:])
    return y


def convolution_backward_filter(
    x: Any, gy: Any, gW: Any, pad: Any, stride: Any, dilation: Any, groups: int, **_: Any
) -> Any:
    assert groups == 1
    x, (kh, kw) = framed(x, both(pad, 2)), gW.shape[2:]
    for i, j in itertools.product(range(kh), range(kw)):
        rows, columns = (
            slice(k * d, k * d + s * (n - 1) + 1, s)
            for k, d, s, n in zip((i, j), dilation, stride, gy.shape[2:], strict=True)
        )
        gW[:, :, i, j] = np.einsum("nfhw,nchw->fc", gy, x[:, :, rows, columns])
    return gW


MAX, WITH_PADDING, WITHOUT_PADDING = 0, 1, 2


def pooling_forward(x: Any, y: Any, ksize: Any, stride: Any, pad: Any, mode: int) -> Any:
    if mode == MAX:
        y[...] = max_pooling_nd(x, ksize, stride, pad, cover_all=False)
    else:
        y[...] = average_pooling_nd(x, ksize, stride, pad, 0 if mode == WITH_PADDING else None)
    return y


def pooling_backward(x: Any, y: Any, gy: Any, ksize: Any, stride: Any, pad: Any, mode: int) -> Any:
    """Each window hands its gradient on: to its first maximum, or in equal parts."""
    gx = np.zeros(framed(x, both(pad, 2)).shape)
    inside = framed(x, both(pad, 2), -np.inf)
    for n, c, i, j in np.ndindex(gy.shape):
        place = n, c, *(slice(o * s, o * s + k) for o, s, k in zip((i, j), stride, ksize, strict=True))
        if mode == MAX:
            at = np.unravel_index(inside[place].argmax(), ksize)
            gx[n, c, i * stride[0] + at[0], j * stride[1] + at[1]] += gy[n, c, i, j]
        else:
            gx[place] += gy[n, c, i, j] / math.prod(ksize)
    h, w = x.shape[2:]
    return gx[:, :, pad[0] : pad[0] + h, pad[1] : pad[1] + w]


_OF_ANY_RANK = {
    "convolution": convolution_nd,
    "deconvolution": deconvolution_nd,
    "max_pooling": max_pooling_nd,
    "average_pooling": average_pooling_nd,
    "unpooling": unpooling_nd,
}
_F = SimpleNamespace(
    **{f"{name}_{rank}d": function for name, function in _OF_ANY_RANK.items() for rank in "123n"},
    dilated_convolution_2d=lambda x, W, b=None, stride=1, pad=0, dilate=1: convolution_nd(x, W, b, stride, pad, dilate),
    depthwise_convolution_2d=depthwise_convolution_2d,
    upsampling_2d=upsampling_2d,
    im2col=im2col,
    pad=lambda x, pad_width, mode: np.pad(x, pad_width, mode=mode),
)
_CUDNN = SimpleNamespace(
    convolution_forward=convolution_forward,
    convolution_backward_data=convolution_backward_data,
    convolution_backward_filter=convolution_backward_filter,
    pooling_forward=pooling_forward,
    pooling_backward=pooling_backward,
)
CHAINER = {"F": _F, "cudnn": _CUDNN, "MAX": MAX, "WITH_PADDING": WITH_PADDING}


# TensorFlow: (N, H, W, C), kernels (kh, kw, C, F), "SAME" puts the odd pixel after -----------------------------------


def first(x: Any) -> Any:
    return np.moveaxis(x, -1, 1)


def last(x: Any) -> Any:
    return np.moveaxis(x, 1, -1)


def pads_of(padding: Any, size: Any, k: Any, stride: Any, dilation: Any = None) -> list[tuple[int, int]]:
    if not isinstance(padding, str):
        return [tuple(pair) for pair in padding[1:-1]]
    if padding == "VALID":
        return [(0, 0)] * len(k)
    totals = [
        max((-(-n // s) - 1) * s + d * (m - 1) + 1 - n, 0)
        for n, m, s, d in zip(size, k, stride, dilation or (1,) * len(k), strict=True)
    ]
    return [(t // 2, t - t // 2) for t in totals]


def convolution(x: Any, filters: Any, strides: Any = 1, padding: Any = "VALID", dilations: Any = 1) -> Any:
    rank = x.ndim - 2
    s, d = many(strides, rank), many(dilations, rank)
    pads = pads_of(padding, x.shape[1:-1], filters.shape[:-2], s, d)
    groups = x.shape[-1] // filters.shape[-2]
    return last(correlate(first(x), np.moveaxis(filters, (-1, -2), (0, 1)), s, pads, d, groups))


def depthwise_conv2d(x: Any, filters: Any, strides: Any, padding: str) -> Any:
    kh, kw, c, m = filters.shape
    return convolution(x, filters.reshape(kh, kw, 1, c * m), strides, padding)


def separable_conv2d(x: Any, depthwise: Any, pointwise: Any, strides: Any, padding: str) -> Any:
    return np.einsum("nhwc,cf->nhwf", depthwise_conv2d(x, depthwise, strides, padding), pointwise[0, 0])


def depthwise_conv2d_backprop_input(input_sizes: Any, filters: Any, dz: Any, strides: Any, padding: str) -> Any:
    """One channel after another; filters are (kh, kw, channels, multiplier)."""
    assert padding == "VALID"
    m, size = filters.shape[3], input_sizes[1:3]
    parts = [
        spread(
            first(dz[..., c * m : (c + 1) * m]),
            filters[:, :, c].transpose(2, 0, 1)[:, None],
            strides[1:3],
            [(0, 0)] * 2,
            size,
        )
        for c in range(input_sizes[3])
    ]
    return last(np.concatenate(parts, axis=1))


def depthwise_conv2d_backprop_filter(x: Any, filter_sizes: Any, dz: Any, strides: Any, padding: str) -> Any:
    assert padding == "VALID"
    kh, kw, channels, m = filter_sizes
    gW = np.zeros(filter_sizes)
    for c in range(channels):
        part = np.zeros((m, 1, kh, kw))
        convolution_backward_filter(
            first(x[..., c : c + 1]), first(dz[..., c * m : (c + 1) * m]), part, (0, 0), strides[1:3], (1, 1), 1
        )
        gW[:, :, c] = part[:, 0].transpose(1, 2, 0)
    return gW


def conv_transpose(x: Any, filters: Any, output_shape: Any, strides: Any, padding: str) -> Any:
    """The gradient of `convolution` by its image; filters are (*kernel, output, input)."""
    size, s = output_shape[1:-1], many(strides, x.ndim - 2)
    pads = pads_of(padding, size, filters.shape[:-2], s)
    return last(spread(first(x), np.moveaxis(filters, (-1, -2), (0, 1)), s, pads, size))


def tf_pool(x: Any, ksize: Any, strides: Any, padding: str, reduce: Any, fill: float, dilations: Any = 1) -> Any:
    rank = x.ndim - 2
    k, s, d = (many(value, rank) for value in (ksize, strides, dilations))
    return last(pool(first(x), k, s, pads_of(padding, x.shape[1:-1], k, s, d), reduce, fill, dilation=d))


def max_pool(x: Any, ksize: Any, strides: Any, padding: str, dilations: Any = 1) -> Any:
    return tf_pool(x, ksize, strides, padding, np.max, -np.inf, dilations)


def avg_pool(x: Any, ksize: Any, strides: Any, padding: str, dilations: Any = 1) -> Any:
    sums, ones = (tf_pool(a, ksize, strides, padding, np.sum, 0.0, dilations) for a in (x, np.ones_like(x)))
    return sums / ones


def any_pool(
    x: Any, window_shape: Any, pooling_type: str, strides: Any = 1, padding: str = "VALID", dilations: Any = 1
) -> Any:
    return (max_pool if pooling_type == "MAX" else avg_pool)(x, window_shape, strides, padding, dilations)


def max_pool_with_argmax(x: Any, ksize: Any, strides: Any, padding: str) -> Any:
    """The second result counts over height, width and channels."""
    assert padding == "VALID"
    (kh, kw), (sh, sw), c = many(ksize, 2), many(strides, 2), x.shape[3]
    y = max_pool(x, ksize, strides, padding)
    places = np.zeros(y.shape, int)
    for n, i, j, f in np.ndindex(y.shape):
        at = np.unravel_index(x[n, i * sh : i * sh + kh, j * sw : j * sw + kw, f].argmax(), (kh, kw))
        places[n, i, j, f] = ((i * sh + at[0]) * x.shape[2] + j * sw + at[1]) * c + f
    return y, places


def extract_patches(images: Any, sizes: Any, strides: Any, rates: Any, padding: str) -> Any:
    assert tuple(rates) == (1, 1, 1, 1)
    (kh, kw), c = sizes[1:3], images.shape[3]
    w = np.eye(kh * kw * c).reshape(kh, kw, c, -1)
    return convolution(images, w, strides, padding)


_NN = SimpleNamespace(
    **{f"conv{rank}d": convolution for rank in "123"},
    **{f"conv{rank}d_transpose": conv_transpose for rank in "123"},
    **{f"max_pool{rank}": max_pool for rank in ("", "1d", "2d", "3d")},
    **{f"avg_pool{rank}": avg_pool for rank in ("", "1d", "2d", "3d")},
    convolution=convolution,
    conv_transpose=conv_transpose,
    atrous_conv2d=lambda x, filters, rate, padding: convolution(x, filters, 1, padding, rate),
    depthwise_conv2d=depthwise_conv2d,
    depthwise_conv2d_backprop_input=depthwise_conv2d_backprop_input,
    depthwise_conv2d_backprop_filter=depthwise_conv2d_backprop_filter,
    separable_conv2d=separable_conv2d,
    pool=any_pool,
    max_pool_with_argmax=max_pool_with_argmax,
)


def tf_pad(x: Any, paddings: Any, mode: str = "CONSTANT") -> Any:
    return np.pad(x, paddings, mode=mode.lower())


TENSORFLOW = {
    "tf": SimpleNamespace(nn=_NN, pad=tf_pad, image=SimpleNamespace(extract_patches=extract_patches)),
}
