"""What functions of CuPy's cuDNN module, Chainer and TensorFlow compute, by their documentation, in plain loops.

These libraries cannot be installed beside the others: Chainer ended with Python 3.8, ``cupy.cudnn`` with CuPy 13, and
TensorFlow wants another NumPy. Nothing here uses xpconv.
"""

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np


def two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def framed(x: np.ndarray, pads: Any, fill: float = 0.0) -> np.ndarray:
    """Pad the last two axes."""
    return np.pad(x, [(0, 0)] * (x.ndim - 2) + list(pads), constant_values=fill)


def correlate(x: Any, w: Any, stride: Any, pads: Any, dilation: Any = (1, 1), groups: int = 1) -> np.ndarray:
    """Slide ``(F, C/G, kh, kw)`` over ``(N, C, H, W)``, pixel by pixel."""
    x, (kh, kw) = framed(x, pads), w.shape[2:]
    (sh, sw), (dh, dw) = stride, dilation
    rows, columns = (
        (n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], w.shape[2:], stride, dilation, strict=True)
    )
    z = np.zeros((len(x), len(w), rows, columns))
    each, depth = len(w) // groups, w.shape[1]
    for f, i, j in itertools.product(range(len(w)), range(rows), range(columns)):
        first = f // each * depth
        window = x[:, first : first + depth, i * sh : i * sh + dh * kh : dh, j * sw : j * sw + dw * kw : dw]
        z[:, f, i, j] = (window[:, :, :kh, :kw] * w[f]).sum((1, 2, 3))
    return z


def spread(x: Any, w: Any, stride: Any, pads: Any, size: Any = None) -> np.ndarray:
    """Add ``(C, F, kh, kw)`` times each pixel of ``(N, C, H, W)`` at its place, and cut the padding off."""
    (sh, sw), (kh, kw), (rows, columns) = stride, w.shape[2:], x.shape[2:]
    whole = np.zeros((len(x), w.shape[1], (rows - 1) * sh + kh + 20, (columns - 1) * sw + kw + 20))
    for i, j in itertools.product(range(rows), range(columns)):
        whole[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw] += np.einsum("nc,cfhw->nfhw", x[:, :, i, j], w)
    if size is None:
        size = [(n - 1) * s + k - sum(p) for n, s, k, p in zip(x.shape[2:], stride, w.shape[2:], pads, strict=True)]
    return whole[:, :, pads[0][0] : pads[0][0] + size[0], pads[1][0] : pads[1][0] + size[1]]


def pool(x: Any, k: Any, stride: Any, pads: Any, reduce: Any, fill: float, cover: bool = False) -> np.ndarray:
    """Reduce windows of the last two axes; with `cover` windows go on until every pixel is in one."""
    x = framed(x, pads, fill)
    sizes = [(n - k0 + (s - 1 if cover else 0)) // s + 1 for n, k0, s in zip(x.shape[2:], k, stride, strict=True)]
    x = framed(x, [(0, s) for s in stride], fill)
    y = np.zeros((*x.shape[:2], *sizes))
    for i, j in itertools.product(*map(range, sizes)):
        y[:, :, i, j] = reduce(
            x[:, :, i * stride[0] : i * stride[0] + k[0], j * stride[1] : j * stride[1] + k[1]], (2, 3)
        )
    return y


def both(pad: Any) -> list[tuple[int, int]]:
    return [(p, p) for p in two(pad)]


# Chainer and CuPy: (N, C, H, W), the same padding on both sides -----------------------------------------------------


def convolution_2d(
    x: Any, W: Any, b: Any = None, stride: Any = 1, pad: Any = 0, dilate: Any = 1, groups: int = 1
) -> Any:
    z = correlate(x, W, two(stride), both(pad), two(dilate), groups)
    return z if b is None else z + b.reshape(1, -1, 1, 1)


def deconvolution_2d(x: Any, W: Any, b: Any = None, stride: Any = 1, pad: Any = 0, outsize: Any = None) -> Any:
    y = spread(x, W, two(stride), both(pad), outsize)
    return y if b is None else y + b.reshape(1, -1, 1, 1)


def depthwise_convolution_2d(x: Any, W: Any, b: Any = None, stride: Any = 1, pad: Any = 0) -> Any:
    """``W`` is (multiplier, C, kh, kw); the channels of one input channel lie side by side."""
    z = np.stack([convolution_2d(x[:, c : c + 1], W[:, c : c + 1], None, stride, pad) for c in range(x.shape[1])], 1)
    return z.reshape(len(z), -1, *z.shape[3:])


def max_pooling_2d(x: Any, ksize: Any, stride: Any = None, pad: Any = 0, cover_all: bool = True) -> Any:
    k = two(ksize)
    return pool(x, k, two(stride or k), both(pad), np.max, -np.inf, cover_all)


def average_pooling_2d(x: Any, ksize: Any, stride: Any = None, pad: Any = 0, pad_value: Any = 0) -> Any:
    k = two(ksize)
    sums, ones = (pool(a, k, two(stride or k), both(pad), np.sum, 0.0) for a in (x, np.ones_like(x)))
    return sums / (math.prod(k) if pad_value == 0 else ones)


def unpooling_2d(x: Any, ksize: int, cover_all: bool = True) -> Any:
    assert not cover_all
    return x.repeat(ksize, 2).repeat(ksize, 3)


def im2col(x: Any, ksize: Any, stride: Any = 1, pad: Any = 0) -> Any:
    (kh, kw), c = two(ksize), x.shape[1]
    w = np.eye(c * kh * kw).reshape(-1, c, kh, kw)
    return correlate(x, w, two(stride), both(pad))


def convolution_forward(
    x: Any, W: Any, b: Any, y: Any, pad: Any, stride: Any, dilation: Any, groups: int, **_: Any
) -> Any:
    y[...] = convolution_2d(x, W, b, stride, pad, dilation, groups)
    return y


def convolution_backward_data(
    W: Any, x: Any, b: Any, y: Any, pad: Any, stride: Any, dilation: Any, groups: int, **_: Any
) -> Any:
    assert groups == 1
    assert tuple(dilation) == (1, 1)
    y[...] = deconvolution_2d(x, W, b, stride, pad, y.shape[2:])
    return y


def convolution_backward_filter(
    x: Any, gy: Any, gW: Any, pad: Any, stride: Any, dilation: Any, groups: int, **_: Any
) -> Any:
    assert groups == 1
    x, (kh, kw) = framed(x, both(pad)), gW.shape[2:]
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
        y[...] = max_pooling_2d(x, ksize, stride, pad, cover_all=False)
    else:
        y[...] = average_pooling_2d(x, ksize, stride, pad, 0 if mode == WITH_PADDING else None)
    return y


def pooling_backward(x: Any, y: Any, gy: Any, ksize: Any, stride: Any, pad: Any, mode: int) -> Any:
    """Each window hands its gradient on: to its first maximum, or in equal parts."""
    gx = np.zeros(framed(x, both(pad)).shape)
    inside = framed(x, both(pad), -np.inf)
    for n, c, i, j in np.ndindex(gy.shape):
        place = n, c, *(slice(o * s, o * s + k) for o, s, k in zip((i, j), stride, ksize, strict=True))
        if mode == MAX:
            at = np.unravel_index(inside[place].argmax(), ksize)
            gx[n, c, i * stride[0] + at[0], j * stride[1] + at[1]] += gy[n, c, i, j]
        else:
            gx[place] += gy[n, c, i, j] / math.prod(ksize)
    h, w = x.shape[2:]
    return gx[:, :, pad[0] : pad[0] + h, pad[1] : pad[1] + w]


_F = SimpleNamespace(
    convolution_2d=convolution_2d,
    dilated_convolution_2d=lambda x, W, b=None, stride=1, pad=0, dilate=1: convolution_2d(x, W, b, stride, pad, dilate),
    deconvolution_2d=deconvolution_2d,
    depthwise_convolution_2d=depthwise_convolution_2d,
    max_pooling_2d=max_pooling_2d,
    average_pooling_2d=average_pooling_2d,
    unpooling_2d=unpooling_2d,
    im2col=im2col,
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


def pads_of(padding: Any, size: Any, k: Any, stride: Any, dilation: Any = (1, 1)) -> list[tuple[int, int]]:
    if not isinstance(padding, str):
        return [tuple(pair) for pair in padding[1:3]]
    if padding == "VALID":
        return [(0, 0), (0, 0)]
    totals = [
        max((-(-n // s) - 1) * s + d * (m - 1) + 1 - n, 0) for n, m, s, d in zip(size, k, stride, dilation, strict=True)
    ]
    return [(t // 2, t - t // 2) for t in totals]


def conv2d(x: Any, filters: Any, strides: Any, padding: Any, dilations: Any = 1) -> Any:
    s, d = two(strides), two(dilations)
    pads = pads_of(padding, x.shape[1:3], filters.shape[:2], s, d)
    groups = x.shape[3] // filters.shape[2]
    return last(correlate(first(x), filters.transpose(3, 2, 0, 1), s, pads, d, groups))


def depthwise_conv2d(x: Any, filters: Any, strides: Any, padding: str) -> Any:
    kh, kw, c, m = filters.shape
    return conv2d(x, filters.reshape(kh, kw, 1, c * m), strides[1:3], padding)


def separable_conv2d(x: Any, depthwise: Any, pointwise: Any, strides: Any, padding: str) -> Any:
    return np.einsum("nhwc,cf->nhwf", depthwise_conv2d(x, depthwise, strides, padding), pointwise[0, 0])


def conv2d_transpose(x: Any, filters: Any, output_shape: Any, strides: int, padding: str) -> Any:
    """The gradient of `conv2d` by its image; filters are (kh, kw, output, input)."""
    pads = pads_of(padding, output_shape[1:3], filters.shape[:2], two(strides))
    return last(spread(first(x), filters.transpose(3, 2, 0, 1), two(strides), pads, output_shape[1:3]))


def tf_pool(x: Any, ksize: Any, strides: Any, padding: str, reduce: Any, fill: float) -> Any:
    k, s = two(ksize), two(strides)
    return last(pool(first(x), k, s, pads_of(padding, x.shape[1:3], k, s), reduce, fill))


def avg_pool2d(x: Any, ksize: Any, strides: Any, padding: str) -> Any:
    sums, ones = (tf_pool(a, ksize, strides, padding, np.sum, 0.0) for a in (x, np.ones_like(x)))
    return sums / ones


def max_pool_with_argmax(x: Any, ksize: Any, strides: Any, padding: str) -> Any:
    """The second result counts over height, width and channels."""
    assert padding == "VALID"
    (kh, kw), (sh, sw), c = two(ksize), two(strides), x.shape[3]
    y = tf_pool(x, ksize, strides, padding, np.max, -np.inf)
    places = np.zeros(y.shape, int)
    for n, i, j, f in np.ndindex(y.shape):
        at = np.unravel_index(x[n, i * sh : i * sh + kh, j * sw : j * sw + kw, f].argmax(), (kh, kw))
        places[n, i, j, f] = ((i * sh + at[0]) * x.shape[2] + j * sw + at[1]) * c + f
    return y, places


def extract_patches(images: Any, sizes: Any, strides: Any, rates: Any, padding: str) -> Any:
    assert tuple(rates) == (1, 1, 1, 1)
    (kh, kw), c = sizes[1:3], images.shape[3]
    w = np.eye(kh * kw * c).reshape(kh, kw, c, -1)
    return conv2d(images, w, strides[1:3], padding)


_NN = SimpleNamespace(
    conv2d=conv2d,
    depthwise_conv2d=depthwise_conv2d,
    separable_conv2d=separable_conv2d,
    conv2d_transpose=conv2d_transpose,
    max_pool2d=lambda x, ksize, strides, padding: tf_pool(x, ksize, strides, padding, np.max, -np.inf),
    avg_pool2d=avg_pool2d,
    max_pool_with_argmax=max_pool_with_argmax,
)


def tf_pad(x: Any, paddings: Any, mode: str = "CONSTANT") -> Any:
    return np.pad(x, paddings, mode=mode.lower())


TENSORFLOW = {
    "tf": SimpleNamespace(nn=_NN, pad=tf_pad, image=SimpleNamespace(extract_patches=extract_patches)),
}
