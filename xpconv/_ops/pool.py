"""Max and average pooling and their gradients, for any array library."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.call import Call
from xpconv._arrays.space import is_chunked, mixed_space
from xpconv._chunks.blocks import by_blocks
from xpconv._ops.pooled import (
    begin,
    check_divisible,
    check_order,
    check_ties,
    give_maxima,
    images_of_indices,
    is_shape,
)
from xpconv._plan.once import once
from xpconv._pooling import averages, maxima
from xpconv._pooling.plan import Plan, ready
from xpconv._pooling.windows import Windows
from xpconv._shapes import read
from xpconv._shapes.errors import freeze, whole_shape
from xpconv._shapes.geometry import Ints
from xpconv._shapes.keywords import keywords
from xpconv._shapes.options import Layout, Padding, Size, Ties
from xpconv._shapes.read import Windowing

Array = Any


@keywords
def max_pool(
    x: Array,
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: Layout = "channels_last",
    return_indices: bool = False,
) -> Array | tuple[Array, Array]:
    """Take the maximum of each window of each channel (1, 2 or 3 spatial axes).

    ``(N, *spatial, C) -> (N, *out, C)``, in ``channels_first`` ``(N, C, *spatial) -> (N, C, *out)``.

    Parameters
    ----------
    x : array
        The images. N may be 0, no other axis may be empty.
    window : int or one per spatial axis
        Taps of a window along each axis.
    stride : int or one per spatial axis, optional
        Pixels between neighbouring windows (the window's size).
    padding : int, ints, pairs or str
        As for `conv` (0); smaller than the window's span ``dilation * (window - 1) + 1`` on each side.
    dilation : int or one per spatial axis
        Pixels between neighbouring taps (1).
    ceil_mode : bool
        Round the output size up, as long as the last window starts inside the input or the leading padding (False).
    layout : str
        ``"channels_last"`` (default) or ``"channels_first"``.
    return_indices : bool
        Also give where each maximum was (False).

    Returns
    -------
    y : array
        In the library, on the device and with the dtype of x.
    indices : array of int64
        With `return_indices`: the place of each maximum, flat over the unpadded spatial axes of its plane, as
        PyTorch's. (int32 in JAX without 64-bit types.)

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        x is not an array of real numbers.

    Notes
    -----
    Padding holds minus infinity, or an integer dtype's least value; a window with no tap inside the input gives that
    value and the index -1. A NaN makes its windows NaN, with the index of the first one. Of equal maxima the first
    has the index. On NumPy a call allocates at most ``max_workspace`` bytes beside its results. PyTorch and JAX, where
    they differentiate this function, share a window's gradient among equal maxima and lose that of a NaN; that of
    `max_pool_vjp` is had from ``xpconv.torch.max_pool`` and ``xpconv.jax.max_pool``. Source: ONNX operator MaxPool;
    PyTorch's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x = np.array([1.0, 3.0, 2.0, 2.0, 5.0]).reshape(1, 5, 1)
    >>> y, indices = xc.max_pool(x, 2, ceil_mode=True, return_indices=True)
    >>> y[0, :, 0], indices[0, :, 0]
    (array([3., 2., 5.]), array([1, 2, 4]))

    """
    if is_chunked(x):
        return by_blocks(max_pool, locals())
    name = "max_pool"
    call = Call.of(name, x=x, layout=layout)
    check_order(call, x.dtype)
    asked = Windowing(stride, padding, dilation, layout=layout, ceil_mode=ceil_mode).frozen()
    plan, call = once(call, _plan, x.shape, freeze(window), asked, True, ready(call)), call.in_dtype(x.dtype)
    if return_indices:
        return give_maxima(call, maxima.max_pool(call, plan.windows, call.images(x), indices=True))
    return call.give(maxima.max_pool_again(call, plan, call.images(x)))


@keywords
def max_pool_vjp(
    dy: Array,
    x: Array,
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: Layout = "channels_last",
    ties: Ties = "first",
    indices: Array | None = None,
) -> Array:
    """Give the gradient of max pooling's input from the gradient of its output.

    ``(N, *out, C), (N, *spatial, C) -> (N, *spatial, C)``.

    Parameters
    ----------
    dy : array
        The gradient with respect to `max_pool`'s result, in its shape.
    x : array, or with `indices` a tuple of int
        The images that `max_pool` had, or their whole shape.
    window, stride, padding, dilation, ceil_mode, layout
        As `max_pool` had them.
    ties : str
        Which of equal maxima gets a window's gradient: ``"first"`` (default), ``"all"`` (each the whole gradient), or
        ``"split"`` (each an equal share).
    indices : array of integers, optional
        Those that `max_pool` gave, for ties ``"first"``: the gradient goes straight to them, and x is not looked at.
        (Where a library does not add in order, an index outside its window is not looked for.)

    Returns
    -------
    array
        dx, shaped as x, in the library, on the device and with the dtype of dy.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dy has not the shape of the output; an index lies outside (as for `max_unpool`).
    TypeError
        The arrays differ in library, device or dtype, or are not real numbers.

    Notes
    -----
    Where windows overlap, gradients add up. The first NaN of a window gets its whole gradient, whatever `ties`. Without
    `indices` maxima are found again from x, tile by tile; with them the result is the same.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x = np.array([1.0, 3.0, 3.0, 2.0]).reshape(1, 4, 1)
    >>> dy = np.ones((1, 2, 1))
    >>> xc.max_pool_vjp(dy, x, 3, stride=1)[0, :, 0]
    array([0., 2., 0., 0.])
    >>> xc.max_pool_vjp(dy, x, 3, stride=1, ties="all")[0, :, 0]
    array([0., 2., 2., 0.])

    """
    if is_chunked(dy, x, indices):
        return by_blocks(max_pool_vjp, locals())
    name = "max_pool_vjp"
    call = begin(name, layout, dy, x, indices)
    check_ties(call, dy.dtype, ties)
    asked = Windowing(stride, padding, dilation, layout=layout, ceil_mode=ceil_mode).frozen()
    shape = ("x", whole_shape(name, "x", x)) if is_shape(x) else ("x.shape", x.shape)
    plan = once(call, _plan_gradient, shape, dy.shape, freeze(window), asked, True, ready(call))
    if indices is not None:
        places = images_of_indices(call, indices, dy, ties)
        return call.give(maxima.max_pool_vjp_at(call, plan.windows, call.images(dy), places))
    pixels = call.in_dtype(x.dtype).images(x)
    return call.give(maxima.max_pool_vjp_again(call, plan, call.images(dy), pixels, ties))


def apart_max_pool_vjp(dy: Array, x: Array, window: Size, stride: Size, dtype: Any = None) -> Array:
    """Give the gradient as `max_pool_vjp` does with ties "all", where dy has another dtype than x; in dy's.

    Or in a `dtype` that holds dy's, to which it is converted tile by tile.
    """
    if is_chunked(dy, x):
        return by_blocks(apart_max_pool_vjp, {key: value for key, value in locals().items() if key != "dtype"})
    name = "max_pool_vjp"
    mixed_space(name, x=x, dy=dy)
    call = Call.of(name, dy=dy) if dtype is None else Call.mixed(name, dtype, dy=dy)
    check_order(call, x.dtype)
    check_order(call, dy.dtype)
    geometry = read.pool(name, x.shape, window, Windowing(stride))
    read.gradient(name, "dy", dy.shape, geometry, "channels_last")
    windows, pixels = Windows.of(geometry), call.in_dtype(x.dtype).images(x)
    return call.give(maxima.max_pool_vjp(call, windows, dy, pixels, ties="all"))


def mixed_avg_pool(x: Array, window: Size, stride: Size, dtype: Any) -> Array:
    """Give the means of images in a dtype that holds theirs, to which they are converted tile by tile."""
    call = Call.mixed("avg_pool", dtype, x=x)
    windows = Windows.of(read.pool("avg_pool", x.shape, window, Windowing(stride)))
    return call.give(averages.avg_pool(call, windows, x))


def mixed_avg_pool_vjp(dy: Array, input_shape: tuple[int, ...], window: Size, stride: Size, dtype: Any) -> Array:
    """Give the gradient of means in a dtype that holds that of dy, which is converted tile by tile."""
    name = "avg_pool_vjp"
    call = Call.mixed(name, dtype, dy=dy)
    geometry = read.pool(name, input_shape, window, Windowing(stride), "input_shape")
    read.gradient(name, "dy", dy.shape, geometry, "channels_last")
    return call.give(averages.avg_pool_vjp(call, Windows.of(geometry), dy))


@keywords
def avg_pool(
    x: Array,
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: Layout = "channels_last",
) -> Array:
    """Take the mean of each window of each channel (1, 2 or 3 spatial axes).

    ``(N, *spatial, C) -> (N, *out, C)``, in ``channels_first`` ``(N, C, *spatial) -> (N, C, *out)``.

    Parameters
    ----------
    x : array
        The images. N may be 0, no other axis may be empty.
    window, stride, padding, dilation, ceil_mode, layout
        As for `max_pool`; padding holds zeros.
    count_include_pad : bool
        True (default): divide by the number of a window's taps inside the input or its padding. False: inside the
        input. Taps beyond the padding, which `ceil_mode` can bring, are never counted.

    Returns
    -------
    array
        In the library, on the device and with the dtype of x.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        x is not an array of floating or complex numbers.

    Notes
    -----
    16-bit floating types are summed in float32. A window with no tap to count (`dilation` can do that) gives 0. On
    NumPy a call allocates at most ``max_workspace`` bytes beside its result. Source: ONNX operator AveragePool;
    PyTorch's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x = np.array([1.0, 3.0, 5.0]).reshape(1, 3, 1)
    >>> xc.avg_pool(x, 3, stride=1, padding=1, count_include_pad=False)[0, :, 0]
    array([2., 3., 4.])

    """
    if is_chunked(x):
        return by_blocks(avg_pool, locals())
    name = "avg_pool"
    call = Call.of(name, x=x, layout=layout)
    check_divisible(call, "x", x.dtype)
    asked = Windowing(stride, padding, dilation, layout=layout, ceil_mode=ceil_mode).frozen()
    plan = once(call, _plan, x.shape, freeze(window), asked, bool(count_include_pad), ready(call))
    return call.give(averages.avg_pool_again(call, plan, call.images(x)))


@keywords
def avg_pool_vjp(
    dy: Array,
    input_shape: tuple[int, ...],
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: Layout = "channels_last",
) -> Array:
    """Give the gradient of average pooling's input from the gradient of its output.

    ``(N, *out, C) -> (N, *spatial, C)``, the adjoint of `avg_pool`.

    Parameters
    ----------
    dy : array
        The gradient with respect to `avg_pool`'s result, in its shape.
    input_shape : tuple of int
        The whole shape of `avg_pool`'s x, in the given layout.
    window, stride, padding, dilation, ceil_mode, count_include_pad, layout
        As `avg_pool` had them.

    Returns
    -------
    array
        dx, of `input_shape`, in the library, on the device and with the dtype of dy.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dy has not the shape of the output.
    TypeError
        dy is not an array of floating or complex numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.avg_pool_vjp(np.ones((1, 2, 1)), (1, 3, 1), 2, stride=1)[0, :, 0]
    array([0.5, 1. , 0.5])

    """
    if is_chunked(dy):
        return by_blocks(avg_pool_vjp, locals())
    name = "avg_pool_vjp"
    call = Call.of(name, dy=dy, layout=layout)
    check_divisible(call, "dy", dy.dtype)
    asked = Windowing(stride, padding, dilation, layout=layout, ceil_mode=ceil_mode).frozen()
    shape = "input_shape", whole_shape(name, "input_shape", input_shape)
    plan = once(call, _plan_gradient, shape, dy.shape, freeze(window), asked, bool(count_include_pad), ready(call))
    return call.give(averages.avg_pool_vjp_again(call, plan, call.images(dy)))


def _plan(call: Call, shape: Ints, window: Any, asked: Windowing, padded: bool, kernels: int) -> Plan:
    """Check the shapes and options of a pooling, and plan it; with so many `kernels` ready."""
    return Plan.of(call, Windows.of(read.pool(call.name, shape, window, asked)), padded)


def _plan_gradient(
    call: Call, shape: tuple[str, Ints], dy: Ints, window: Any, asked: Windowing, padded: bool, kernels: int
) -> Plan:
    """Check the shapes and options of a gradient, the name and the value of the images' among them, and plan it."""
    geometry = read.pool(call.name, shape[1], window, asked, shape[0])
    read.gradient(call.name, "dy", dy, geometry, call.layout)
    return Plan.of(call, Windows.of(geometry), padded)
