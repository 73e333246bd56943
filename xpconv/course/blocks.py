"""The building blocks of the course "Convolutional Neural Networks: Step by Step", with its names and caches.

Arrays are channels last, windows are square. Each function stands on a general operation of this library, so it takes
arrays of any library; unlike the general operations these promote dtypes, as the course's NumPy does.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from xpconv._arrays.dtypes import accumulator, cast, dtype_name, is_kind, promote
from xpconv._arrays.old import inspect_apart
from xpconv._arrays.views import plain
from xpconv._ops.conv import conv, conv_vjp
from xpconv._ops.padding import pad as _pad
from xpconv._ops.pool import apart_max_pool_vjp, avg_pool, avg_pool_vjp, max_pool
from xpconv.course.checks import check_axes, check_conv, check_pool, floating, named, read_pad

Array = Any
HParameters = dict[str, int]


def zero_pad(X: Array, pad: int) -> Array:
    """Pad height and width of a batch of images with zeros.

    ``(m, n_H, n_W, n_C) -> (m, n_H + 2 pad, n_W + 2 pad, n_C)``

    Parameters
    ----------
    X : array
        The images.
    pad : int
        Pixels on each side.

    Returns
    -------
    array
        In X's library, on its device, with its dtype.

    Raises
    ------
    ValueError
        X has not four axes, or pad is no integer from 0 up.
    TypeError
        X is not a numeric array.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.zero_pad(np.ones((4, 3, 3, 2)), 2).shape
    (4, 7, 7, 2)

    """
    inspect_apart("zero_pad", X=X)
    check_axes("zero_pad", "X", X, "m, n_H, n_W, n_C")
    with named("zero_pad", x="X"):
        return _pad(X, read_pad(pad))


def conv_single_step(a_slice_prev: Array, W: Array, b: Array) -> Array:
    """Apply one filter to one window: the sum of the element-wise product, plus the bias.

    ``(f, f, n_C_prev), (f, f, n_C_prev), (1, 1, 1) -> ()``

    Parameters
    ----------
    a_slice_prev : array
        The window.
    W : array
        The filter.
    b : array
        The bias.

    Returns
    -------
    scalar
        On NumPy a NumPy scalar, elsewhere a 0-d array on the window's device; nothing moves to the host.

    Raises
    ------
    ValueError
        The shapes differ, or b has not one element.
    TypeError
        The arrays differ in library or device, or are not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> float(xc.conv_single_step(np.ones((2, 2, 3)), np.full((2, 2, 3), 2.0), np.ones((1, 1, 1))))
    25.0

    """
    name = "conv_single_step"
    xp, _ = inspect_apart(name, a_slice_prev=a_slice_prev, W=W, b=b)
    check_axes(name, "a_slice_prev", a_slice_prev, "f, f, n_C_prev")
    if tuple(W.shape) != tuple(a_slice_prev.shape):
        raise ValueError(f"{name}: W has the window's shape, {tuple(a_slice_prev.shape)}; got W.shape={tuple(W.shape)}")
    if any(n != 1 for n in b.shape):
        raise ValueError(f"{name}: b has the shape (1, 1, 1); got b.shape={tuple(b.shape)}")
    window, kernel, bias = promote(name, xp, a_slice_prev=a_slice_prev, W=W, b=b)
    sums = accumulator(xp, window.dtype)
    total = xp.sum(cast(xp, window, sums) * cast(xp, kernel, sums), dtype=sums)
    return cast(xp, total + cast(xp, xp.reshape(bias, ()), sums), window.dtype)


def conv_forward(A_prev: Array, W: Array, b: Array, hparameters: HParameters) -> tuple[Array, tuple[Any, ...]]:
    """Convolve a batch of images with a bank of filters.

    ``(m, n_H_prev, n_W_prev, n_C_prev), (f, f, n_C_prev, n_C), (1, 1, 1, n_C) -> (m, n_H, n_W, n_C)`` with
    ``n_H = floor((n_H_prev - f + 2 pad) / stride) + 1``

    Parameters
    ----------
    A_prev : array
        The activations of the layer before.
    W, b : array
        The filters and their biases.
    hparameters : dict
        ``{"stride": int, "pad": int}``.

    Returns
    -------
    Z : array
        The convolution, in A_prev's library and on its device.
    cache : tuple
        ``(A_prev, W, b, hparameters)``, for `conv_backward`.

    Raises
    ------
    ValueError
        A shape or hyperparameter is unfit.
    TypeError
        The arrays differ in library or device, or are not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> A_prev, W, b = np.ones((2, 5, 7, 4)), np.ones((3, 3, 4, 8)), np.zeros((1, 1, 1, 8))
    >>> Z, cache = xc.conv_forward(A_prev, W, b, {"stride": 2, "pad": 1})
    >>> Z.shape
    (2, 3, 4, 8)

    """
    name = "conv_forward"
    xp, stride, width = check_conv(name, A_prev, W, b, hparameters)
    x, w, bias = promote(name, xp, A_prev=A_prev, W=W, b=b)
    with named(name, x="A_prev", w="W"):
        z = conv(x, w, xp.reshape(bias, (-1,)), stride=stride, padding=width)
    return z, (A_prev, W, b, hparameters)


def conv_backward(dZ: Array, cache: tuple[Any, ...]) -> tuple[Array, Array, Array]:
    """Give the gradients of `conv_forward`.

    ``(m, n_H, n_W, n_C) -> (m, n_H_prev, n_W_prev, n_C_prev), (f, f, n_C_prev, n_C), (1, 1, 1, n_C)``

    Parameters
    ----------
    dZ : array
        The gradient of the cost with respect to Z.
    cache : tuple
        What `conv_forward` gave beside Z.

    Returns
    -------
    dA_prev, dW, db : array
        The gradients with respect to A_prev, W and b, in their shapes.

    Raises
    ------
    ValueError
        dZ has not Z's shape, or the cache is not that of `conv_forward`.
    TypeError
        The arrays differ in library or device, or are not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> A_prev, W, b = np.ones((2, 5, 7, 4)), np.ones((3, 3, 4, 8)), np.zeros((1, 1, 1, 8))
    >>> Z, cache = xc.conv_forward(A_prev, W, b, {"stride": 2, "pad": 1})
    >>> [gradient.shape for gradient in xc.conv_backward(Z, cache)]
    [(2, 5, 7, 4), (3, 3, 4, 8), (1, 1, 1, 8)]

    """
    name = "conv_backward"
    if not isinstance(cache, tuple) or len(cache) != 4:
        raise ValueError(f"{name}: cache is (A_prev, W, b, hparameters), as conv_forward gives it")
    images, filters, bias, hparameters = cache
    xp, stride, width = check_conv(name, images, filters, bias, hparameters)
    inspect_apart(name, A_prev=images, dZ=dZ)
    dz, x, w = promote(name, xp, dZ=dZ, A_prev=images, W=filters)
    with named(name, x="A_prev", w="W", dz="dZ"):
        dx, dw, db = conv_vjp(dz, x, w, stride=stride, padding=width)
    return dx, dw, xp.reshape(db, tuple(bias.shape))


def pool_forward(A_prev: Array, hparameters: HParameters, mode: str = "max") -> tuple[Array, tuple[Any, ...]]:
    """Pool a batch of images with a square window.

    ``(m, n_H_prev, n_W_prev, n_C) -> (m, n_H, n_W, n_C)`` with ``n_H = floor((n_H_prev - f) / stride) + 1``

    Parameters
    ----------
    A_prev : array
        The activations of the layer before.
    hparameters : dict
        ``{"f": int, "stride": int}``.
    mode : str
        ``"max"`` (default) or ``"average"``.

    Returns
    -------
    A : array
        The pooled activations. Averages of integers are floating.
    cache : tuple
        ``(A_prev, hparameters)``, for `pool_backward`.

    Raises
    ------
    ValueError
        A shape, a hyperparameter or the mode is unfit.
    TypeError
        A_prev is not a numeric array.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> A, cache = xc.pool_forward(np.arange(16.0).reshape(1, 4, 4, 1), {"f": 2, "stride": 2}, mode="average")
    >>> A[0, :, :, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])

    """
    name = "pool_forward"
    xp, window, stride = check_pool(name, A_prev, hparameters, mode)
    with named(name, x="A_prev"):
        if mode == "max":
            pooled = max_pool(A_prev, window, stride=stride)
        else:
            pooled = avg_pool(floating(xp, A_prev), window, stride=stride)
    return pooled, (A_prev, hparameters)


def pool_backward(dA: Array, cache: tuple[Any, ...], mode: str = "max") -> Array:
    """Give the gradient of `pool_forward`.

    ``(m, n_H, n_W, n_C) -> (m, n_H_prev, n_W_prev, n_C)``

    Parameters
    ----------
    dA : array
        The gradient of the cost with respect to A.
    cache : tuple
        What `pool_forward` gave beside A.
    mode : str
        As `pool_forward` had it.

    Returns
    -------
    array
        dA_prev. Where a window has several maxima, each gets the whole gradient, as the course's mask says;
        overlapping windows add up.

    Raises
    ------
    ValueError
        dA has not A's shape, or the cache is not that of `pool_forward`.
    TypeError
        The arrays differ in library or device, or are not numeric.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> A, cache = xc.pool_forward(np.arange(4.0).reshape(1, 2, 2, 1), {"f": 2, "stride": 1})
    >>> xc.pool_backward(np.ones((1, 1, 1, 1)), cache)[0, :, :, 0]
    array([[0., 0.],
           [0., 1.]])

    """
    name = "pool_backward"
    if not isinstance(cache, tuple) or len(cache) != 2:
        raise ValueError(f"{name}: cache is (A_prev, hparameters), as pool_forward gives it")
    images, hparameters = cache
    xp, window, stride = check_pool(name, images, hparameters, mode)
    inspect_apart(name, A_prev=images, dA=dA)
    with named(name, x="A_prev", dy="dA", input_shape="A_prev.shape"):
        if mode == "max":
            dy = promote(name, xp, dA=dA, A_prev=images)[0]
            return apart_max_pool_vjp(dy, images, window, stride)  # compared in their own dtype: no false ties
        return avg_pool_vjp(floating(xp, dA), tuple(images.shape), window, stride=stride)


def create_mask_from_window(x: Array) -> Array:
    """Mark every maximum of a window.

    ``(f, f) -> (f, f)``, boolean

    Parameters
    ----------
    x : array
        The window, of any shape.

    Returns
    -------
    array of bool
        True where x equals its maximum.

    Raises
    ------
    ValueError
        The window is empty.
    TypeError
        x is not an array of real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.create_mask_from_window(np.array([[1.0, 3.0], [3.0, 2.0]]))
    array([[False,  True],
           [ True, False]])

    """
    name = "create_mask_from_window"
    xp, _ = inspect_apart(name, x=x)
    if is_kind(xp, x.dtype, "complex floating"):
        raise TypeError(f"{name}: complex numbers have no order; got x.dtype={dtype_name(x.dtype)}")
    if 0 in x.shape:
        raise ValueError(f"{name}: the window is empty; got x.shape={tuple(x.shape)}")
    x = plain(x)
    return x == xp.max(x)


def distribute_value(dz: Any, shape: tuple[int, int]) -> Array:
    """Spread a value evenly over a window.

    ``() -> (n_H, n_W)``

    Parameters
    ----------
    dz : scalar or array
        The value: a Python number, or an array with one element.
    shape : tuple of int
        ``(n_H, n_W)``.

    Returns
    -------
    array
        Each entry is ``dz / (n_H * n_W)``; in dz's library, on its device, or a NumPy array for a Python number.

    Raises
    ------
    ValueError
        The shape is not made of two positive integers, or dz has not one element.
    TypeError
        dz is no number and no numeric array.

    Examples
    --------
    >>> import xpconv as xc
    >>> xc.distribute_value(2, (2, 2))
    array([[0.5, 0.5],
           [0.5, 0.5]])

    """
    name = "distribute_value"
    try:
        height, width = map(operator.index, shape)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: shape is (n_H, n_W); got shape={shape!r}") from None
    if height < 1 or width < 1:
        raise ValueError(f"{name}: shape is (n_H, n_W), both positive; got shape={shape!r}")
    if isinstance(dz, (int, float, complex, np.generic)) and not isinstance(dz, (bool, np.bool_)):
        dz = np.asarray(dz)
    xp, _ = inspect_apart(name, dz=dz)
    if any(n != 1 for n in dz.shape):
        raise ValueError(f"{name}: dz is one number; got dz.shape={tuple(dz.shape)}")
    share = floating(xp, xp.reshape(dz, (1, 1))) / (height * width)
    return xp.tile(share, (height, width))
