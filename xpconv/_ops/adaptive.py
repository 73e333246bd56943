"""Adaptive pooling: windows that cut an axis into a given number of parts, and their gradients."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.call import Call
from xpconv._arrays.space import is_chunked
from xpconv._chunks.blocks import by_blocks
from xpconv._ops.pooled import begin, check_divisible, check_order, give_maxima, images_of_indices, is_shape
from xpconv._plan.once import once
from xpconv._pooling import averages, maxima
from xpconv._pooling.plan import Plan, ready
from xpconv._pooling.windows import Windows
from xpconv._shapes import read
from xpconv._shapes.errors import freeze, whole_shape
from xpconv._shapes.geometry import Ints
from xpconv._shapes.keywords import keywords
from xpconv._shapes.layout import in_layout
from xpconv._shapes.options import Layout, Size

Array = Any


def _planned(call: Call, x: Array, output_shape: Size, dy: Array | None = None) -> Plan:
    """Read the shapes, once for all calls that are alike."""
    shape = ("x", whole_shape(call.name, "x", x)) if is_shape(x) else ("x.shape", x.shape)
    return once(call, _plan, shape, freeze(output_shape), None if dy is None else dy.shape, ready(call))


def _plan(call: Call, shape: tuple[str, Ints], output_shape: Any, dy: Ints | None, kernels: int) -> Plan:
    """Check the shapes of a pooling, that of the images after its name, and plan it; with so many `kernels` ready."""
    windows = Windows.parts(*read.adaptive(call.name, shape[1], output_shape, call.layout, shape[0]))
    if dy is not None:
        read.whole(call.name, "dy", dy, in_layout(windows.output_shape, call.layout), "the output")
    return Plan.of(call, windows)


@keywords
def adaptive_avg_pool(x: Array, output_shape: Size, *, layout: Layout = "channels_last") -> Array:
    """Average an image into a given number of pixels (1, 2 or 3 spatial axes).

    ``(N, *spatial, C) -> (N, *output_shape, C)``, in ``channels_first`` ``(N, C, *spatial) -> (N, C, *output_shape)``.

    Parameters
    ----------
    x : array
        The images. N may be 0, no other axis may be empty.
    output_shape : int or one per spatial axis
        Pixels of the result along each axis, at least 1; more than x has are allowed.
    layout : str
        ``"channels_last"`` (default) or ``"channels_first"``.

    Returns
    -------
    array
        Pixel o averages the pixels ``floor(o * n / m)`` to ``ceil((o + 1) * n / m) - 1``; in the library, on the device
        and with the dtype of x.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        x is not an array of floating or complex numbers.

    Notes
    -----
    16-bit floating types are summed in float32. Source: PyTorch's AdaptiveAvgPool.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.adaptive_avg_pool(np.arange(5.0).reshape(1, 5, 1), 2)[0, :, 0]
    array([1., 3.])
    """
    if is_chunked(x):
        return by_blocks(adaptive_avg_pool, locals())
    name = "adaptive_avg_pool"
    call = Call.of(name, x=x, layout=layout)
    check_divisible(call, "x", x.dtype)
    return call.give(averages.avg_pool_again(call, _planned(call, x, output_shape), call.images(x)))


@keywords
def adaptive_avg_pool_vjp(dy: Array, x: Array, output_shape: Size, *, layout: Layout = "channels_last") -> Array:
    """Give the gradient of adaptive average pooling's input from the gradient of its output.

    ``(N, *output_shape, C), (N, *spatial, C) -> (N, *spatial, C)``.

    Parameters
    ----------
    dy : array
        The gradient with respect to `adaptive_avg_pool`'s result, in its shape.
    x : array
        The images; only their shape is used.
    output_shape, layout
        As `adaptive_avg_pool` had them.

    Returns
    -------
    array
        dx, shaped as x, in the library, on the device and with the dtype of dy.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dy has not the shape of the output.
    TypeError
        The arrays differ in library, device or dtype, or are not floating or complex numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.adaptive_avg_pool_vjp(np.ones((1, 2, 1)), np.zeros((1, 4, 1)), 2)[0, :, 0]
    array([0.5, 0.5, 0.5, 0.5])
    """
    if is_chunked(dy, x):
        return by_blocks(adaptive_avg_pool_vjp, locals())
    name = "adaptive_avg_pool_vjp"
    call = Call.of(name, x=x, dy=dy, layout=layout)
    check_divisible(call, "dy", dy.dtype)
    return call.give(averages.avg_pool_vjp_again(call, _planned(call, x, output_shape, dy), call.images(dy)))


@keywords
def adaptive_max_pool(
    x: Array, output_shape: Size, *, layout: Layout = "channels_last", return_indices: bool = False
) -> Array | tuple[Array, Array]:
    """Take the maxima of an image in a given number of windows (1, 2 or 3 spatial axes).

    ``(N, *spatial, C) -> (N, *output_shape, C)``, in ``channels_first`` ``(N, C, *spatial) -> (N, C, *output_shape)``.

    Parameters
    ----------
    x : array
        The images. N may be 0, no other axis may be empty.
    output_shape : int or one per spatial axis
        Pixels of the result along each axis, at least 1; more than x has are allowed.
    layout : str
        ``"channels_last"`` (default) or ``"channels_first"``.
    return_indices : bool
        Also give where each maximum was, as `max_pool` does (False).

    Returns
    -------
    y : array
        The maximum of the pixels ``floor(o * n / m)`` to ``ceil((o + 1) * n / m) - 1``; in the library, on the device
        and with the dtype of x.
    indices : array of int64
        With `return_indices`: flat over the spatial axes of one plane.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        x is not an array of real numbers.

    Notes
    -----
    NaN and equal maxima as in `max_pool`: the first has the index. Where the maxima are zeros of both signs, y may have
    either. Source: PyTorch's AdaptiveMaxPool.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> y, indices = xc.adaptive_max_pool(np.arange(5.0).reshape(1, 5, 1), 2, return_indices=True)
    >>> y[0, :, 0], indices[0, :, 0]
    (array([2., 4.]), array([2, 4]))
    """
    if is_chunked(x):
        return by_blocks(adaptive_max_pool, locals())
    name = "adaptive_max_pool"
    call = Call.of(name, x=x, layout=layout)
    check_order(call, x.dtype)
    plan, call = _planned(call, x, output_shape), call.in_dtype(x.dtype)
    if return_indices:
        return give_maxima(call, maxima.max_pool(call, plan.windows, call.images(x), indices=True))
    return call.give(maxima.max_pool_again(call, plan, call.images(x)))


@keywords
def adaptive_max_pool_vjp(
    dy: Array,
    x: Array,
    output_shape: Size,
    *,
    layout: Layout = "channels_last",
    indices: Array | None = None,
) -> Array:
    """Give the gradient of adaptive max pooling's input from the gradient of its output.

    ``(N, *output_shape, C), (N, *spatial, C) -> (N, *spatial, C)``.

    Parameters
    ----------
    dy : array
        The gradient with respect to `adaptive_max_pool`'s result, in its shape.
    x : array, or with `indices` a tuple of int
        The images that `adaptive_max_pool` had, or their whole shape.
    output_shape, layout
        As `adaptive_max_pool` had them.
    indices : array of integers, optional
        Those that `adaptive_max_pool` gave: the gradient goes straight to them, and x is not looked at.

    Returns
    -------
    array
        dx, shaped as x, in the library, on the device and with the dtype of dy. Of equal maxima the first has a
        window's gradient; windows that share a pixel add up.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dy has not the shape of the output; an index lies outside (as for `max_unpool`).
    TypeError
        The arrays differ in library, device or dtype, or are not real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x = np.array([1.0, 3.0, 5.0, 4.0, 2.0]).reshape(1, 5, 1)
    >>> xc.adaptive_max_pool_vjp(np.ones((1, 2, 1)), x, 2)[0, :, 0]
    array([0., 0., 2., 0., 0.])
    """
    if is_chunked(dy, x, indices):
        return by_blocks(adaptive_max_pool_vjp, locals())
    name = "adaptive_max_pool_vjp"
    call = begin(name, layout, dy, x, indices)
    plan = _planned(call, x, output_shape, dy)
    if indices is not None:
        places = images_of_indices(call, indices, dy)
        return call.give(maxima.max_pool_vjp_at(call, plan.windows, call.images(dy), places))
    pixels = call.in_dtype(x.dtype).images(x)
    return call.give(maxima.max_pool_vjp_again(call, plan, call.images(dy), pixels, "first"))
