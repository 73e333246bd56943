"""The course's convolution: zero_pad, conv_single_step, conv_forward, conv_backward."""

from __future__ import annotations

from xpconv._arrays.dtypes import accumulator, cast, native, promote
from xpconv._arrays.space import mixed_space
from xpconv._arrays.views import plain
from xpconv._ops.conv import conv, conv_vjp, mixed_conv, mixed_conv_vjp
from xpconv._ops.padding import pad as _pad
from xpconv._shapes.keywords import keywords
from xpconv.course.checks import Array, Cache, HParameters, check_axes, check_conv, named, read_pad, tile_by_tile


@keywords
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
    mixed_space("zero_pad", X=X)
    check_axes("zero_pad", "X", X, "m, n_H, n_W, n_C")
    with named("zero_pad", x="X"):
        return _pad(X, read_pad(pad))


@keywords
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
    xp = mixed_space(name, a_slice_prev=a_slice_prev, W=W, b=b).xp
    check_axes(name, "a_slice_prev", a_slice_prev, "f, f, n_C_prev")
    if tuple(W.shape) != tuple(a_slice_prev.shape):
        raise ValueError(f"{name}: W has the window's shape, {tuple(a_slice_prev.shape)}; got W.shape={tuple(W.shape)}")
    if any(n != 1 for n in b.shape):
        raise ValueError(f"{name}: b has the shape (1, 1, 1); got b.shape={tuple(b.shape)}")
    window, kernel, bias = map(plain, promote(name, xp, a_slice_prev=a_slice_prev, W=W, b=b))
    sums = accumulator(xp, native(window.dtype))
    total = xp.sum(cast(xp, window, sums) * cast(xp, kernel, sums), dtype=sums)
    return cast(xp, total + cast(xp, xp.reshape(bias, ()), sums), native(window.dtype))


@keywords
def conv_forward(A_prev: Array, W: Array, b: Array, hparameters: HParameters) -> tuple[Array, Cache]:
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
    common = tile_by_tile(A_prev, W, bias=b)
    if common is not None:
        with named(name, x="A_prev", w="W"):
            z = mixed_conv(plain(A_prev), plain(W), plain(b).reshape(-1), common, stride, width)
        return z, (A_prev, W, b, hparameters)
    x, w, bias = promote(name, xp, A_prev=A_prev, W=W, b=b)
    with named(name, x="A_prev", w="W"):
        z = conv(x, w, xp.reshape(bias, (-1,)), stride=stride, padding=width)
    return z, (A_prev, W, b, hparameters)


@keywords
def conv_backward(dZ: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Compute the gradients of `conv_forward`.

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
    mixed_space(name, A_prev=images, dZ=dZ)
    common = tile_by_tile(images, filters, dZ)
    with named(name, x="A_prev", w="W", dz="dZ"):
        if common is not None:
            dx, dw, db = mixed_conv_vjp(plain(dZ), plain(images), plain(filters), common, stride, width)
        else:
            dz, x, w = promote(name, xp, dZ=dZ, A_prev=images, W=filters)
            dx, dw, db = conv_vjp(dz, x, w, stride=stride, padding=width)
    return dx, dw, xp.reshape(db, tuple(bias.shape))
