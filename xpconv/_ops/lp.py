"""Lp pooling, the p-norm of each window, and its gradient, for any array library."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import dtype_name, is_kind
from xpconv._arrays.space import is_chunked
from xpconv._chunks.blocks import by_blocks
from xpconv._pooling import norms
from xpconv._pooling.windows import Windows
from xpconv._shapes import read
from xpconv._shapes.keywords import keywords
from xpconv._shapes.options import Layout, Padding, Size
from xpconv._shapes.read import Windowing

Array = Any


def check_norm(call: Call, dtype: Any, p: Any) -> float:
    """Check the dtype and the order of the norm, and give the order."""
    if not is_kind(call.xp, dtype, "real floating"):
        raise TypeError(
            f"{call.name}: x holds real floating numbers; got x.dtype={dtype_name(dtype)}; convert it with astype"
        )
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not p > 0:
        raise ValueError(f"{call.name}: p is a number above 0 or infinity; got p={p!r}")
    return float(p)


@keywords
def lp_pool(
    x: Array,
    p: float,
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: Layout = "channels_last",
) -> Array:
    """Take the p-norm of each window of each channel (1, 2 or 3 spatial axes).

    ``(N, *spatial, C) -> (N, *out, C)``, in ``channels_first`` ``(N, C, *spatial) -> (N, C, *out)``.

    Parameters
    ----------
    x : array
        The images, of a real floating dtype.
    p : float
        The order of the norm, above 0; infinity takes the largest magnitude.
    window, stride, padding, dilation, ceil_mode, layout
        As for `max_pool`; padding adds nothing to a norm.

    Returns
    -------
    array
        ``(sum of abs(x) ** p) ** (1 / p)`` over the taps inside the input, in the library, on the device and with the
        dtype of x.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        x is not an array of real floating numbers.

    Notes
    -----
    The sum is not divided by the window's size (ONNX operator LpPool). Each window is scaled by its largest magnitude,
    so that no power overflows or vanishes. 16-bit types are computed in float32. PyTorch and JAX, where they
    differentiate this function, give NaN at an all-zero window, where `lp_pool_vjp` gives 0.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.lp_pool(np.array([3.0, -4.0, 0.0]).reshape(1, 3, 1), 2, 2, stride=1)[0, :, 0]
    array([5., 4.])
    """
    if is_chunked(x):
        return by_blocks(lp_pool, locals())
    name = "lp_pool"
    call = Call.of(name, x=x, layout=layout)
    p = check_norm(call, x.dtype, p)
    asked = Windowing(stride, padding, dilation, layout=layout, ceil_mode=ceil_mode)
    windows = Windows.of(read.pool(name, x.shape, window, asked))
    return call.give(norms.lp_pool(call, windows, call.images(x), p))


@keywords
def lp_pool_vjp(
    dy: Array,
    x: Array,
    p: float,
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: Layout = "channels_last",
) -> Array:
    """Give the gradient of Lp pooling's input from the gradient of its output.

    ``(N, *out, C), (N, *spatial, C) -> (N, *spatial, C)``.

    Parameters
    ----------
    dy : array
        The gradient with respect to `lp_pool`'s result, in its shape.
    x, p, window, stride, padding, dilation, ceil_mode, layout
        As `lp_pool` had them.

    Returns
    -------
    array
        dx, shaped as x, in the library, on the device and with the dtype of x.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dy has not the shape of the output.
    TypeError
        The arrays differ in library, device or dtype, or are not real floating numbers.

    Notes
    -----
    ``dx = dy * sign(x) * (abs(x) / y) ** (p - 1)``, summed over windows. It is 0 at x = 0, and so at an all-zero
    window. For p = infinity equal largest magnitudes share a window's gradient, the limit of large p.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x = np.array([3.0, -4.0]).reshape(1, 2, 1)
    >>> xc.lp_pool_vjp(np.ones((1, 1, 1)), x, 2, 2)[0, :, 0]
    array([ 0.6, -0.8])
    """
    if is_chunked(dy, x):
        return by_blocks(lp_pool_vjp, locals())
    name = "lp_pool_vjp"
    call = Call.of(name, x=x, dy=dy, layout=layout)
    p = check_norm(call, x.dtype, p)
    asked = Windowing(stride, padding, dilation, layout=layout, ceil_mode=ceil_mode)
    geometry = read.pool(name, x.shape, window, asked)
    read.gradient(name, "dy", dy.shape, geometry, layout)
    return call.give(norms.lp_pool_vjp(call, Windows.of(geometry), call.images(dy), call.images(x), p))
