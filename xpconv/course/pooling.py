"""The course's pooling: pool_forward, pool_backward, create_mask_from_window, distribute_value."""

from __future__ import annotations

import operator

import numpy as np

from xpconv._arrays.dtypes import cast, dtype_name, is_kind, native
from xpconv._arrays.space import is_chunked, mixed_space
from xpconv._arrays.views import plain
from xpconv._ops.pool import (
    apart_max_pool_vjp,
    avg_pool,
    avg_pool_vjp,
    max_pool,
    mixed_avg_pool,
    mixed_avg_pool_vjp,
)
from xpconv._shapes.keywords import keywords
from xpconv._shapes.options import PoolMode
from xpconv.course.checks import Array, Cache, HParameters, averaged, check_pool, common, floating, named


@keywords
def pool_forward(A_prev: Array, hparameters: HParameters, mode: PoolMode = "max") -> tuple[Array, Cache]:
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
            dtype = averaged(name, xp, A_prev=A_prev)
            if dtype == native(A_prev.dtype):
                pooled = avg_pool(A_prev, window, stride=stride)
            elif is_chunked(A_prev):
                pooled = avg_pool(cast(xp, A_prev, dtype), window, stride=stride)
            else:
                pooled = mixed_avg_pool(plain(A_prev), window, stride, dtype)
    return pooled, (A_prev, hparameters)


@keywords
def pool_backward(dA: Array, cache: Cache, mode: PoolMode = "max") -> Array:
    """Compute the gradient of `pool_forward`.

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
        dA_prev, in the dtype that dA and A_prev have in common (averages: a floating one). Where a window has
        several maxima, each gets the whole gradient, as the course's mask says; overlapping windows add up.

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
    mixed_space(name, A_prev=images, dA=dA)
    with named(name, x="A_prev", dy="dA", input_shape="A_prev.shape"):
        dtype = (common if mode == "max" else averaged)(name, xp, dA=dA, A_prev=images)
        if dtype != native(dA.dtype) and is_chunked(dA, images):
            dA = cast(xp, dA, dtype)
        other = None if dtype == native(dA.dtype) else dtype  # of the gradient, which tiles are converted to
        if mode == "max":  # the images are compared in their own dtype: no false ties
            return apart_max_pool_vjp(plain(dA), images, window, stride, other)
        if other is None:
            return avg_pool_vjp(dA, tuple(images.shape), window, stride=stride)
        return mixed_avg_pool_vjp(plain(dA), tuple(images.shape), window, stride, other)


@keywords
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
    xp = mixed_space(name, x=x).xp
    if is_kind(xp, x.dtype, "complex floating"):
        raise TypeError(f"{name}: complex numbers have no order; got x.dtype={dtype_name(x.dtype)}")
    if 0 in x.shape:
        raise ValueError(f"{name}: the window is empty; got x.shape={tuple(x.shape)}")
    x = plain(x)
    return x == xp.max(x)


@keywords
def distribute_value(dz: Array | float, shape: tuple[int, int]) -> Array:
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
    xp, dz = mixed_space(name, dz=dz).xp, plain(dz)
    if any(n != 1 for n in dz.shape):
        raise ValueError(f"{name}: dz is one number; got dz.shape={tuple(dz.shape)}")
    share = floating(xp, xp.reshape(dz, (1, 1))) / (height * width)
    return xp.tile(share, (height, width))
