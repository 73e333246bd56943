"""Lp pooling, the p-norm of each window, and its gradient, for any array library."""

from __future__ import annotations

import math
from typing import Any

from xpconv._arrays.dtypes import accumulator, dtype_name, is_kind
from xpconv._arrays.old import inspect
from xpconv._arrays.types import Namespace, Traits
from xpconv._arrays.views import to_channels_last
from xpconv._engine import old as _run
from xpconv._ops.pool import check_gradient, read_geometry
from xpconv._pooling import portable as _pool_run
from xpconv._pooling import taps as pooling
from xpconv._pooling.portable import PhaseGradient
from xpconv._shapes.geometry import Geometry, Phase, Region
from xpconv._shapes.options import Padding, Size
from xpconv._work.workspace import Workspace

Array = Any


def check_norm(function: str, xp: Namespace, dtype: Any, p: Any) -> float:
    """Check the dtype and the order of the norm, and give the order."""
    if not is_kind(xp, dtype, "real floating"):
        raise TypeError(
            f"{function}: x holds real floating numbers; got x.dtype={dtype_name(dtype)}; convert it with astype"
        )
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not p > 0:
        raise ValueError(f"{function}: p is a number above 0 or infinity; got p={p!r}")
    return float(p)


def _norm(work: Workspace, slab: Array, p: float, geometry: Any, region: Region) -> tuple[Array, Array]:
    """Give each window's p-norm and the scale that keeps powers in range: its largest magnitude, 1 where that is 0."""
    xp, output = work.xp, _run.sizes(region)
    largest = pooling.window_reduce(work, "maximum", xp.abs(slab), geometry, output)
    ordinary = (largest > 0) & (largest < math.inf)
    scale = xp.where(ordinary, largest, xp.ones_like(largest))
    if p == math.inf:
        return largest, scale
    total: Any = 0
    for _, value in pooling.tap_values(slab, geometry, output):
        total = total + xp.pow(xp.abs(value) / scale, p)
    return scale * xp.pow(total, 1 / p), scale


def lp_pool(
    x: Array,
    p: float,
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: str = "channels_last",
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
    so that no power overflows or vanishes. 16-bit types are computed in float32.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.lp_pool(np.array([3.0, -4.0, 0.0]).reshape(1, 3, 1), 2, 2, stride=1)[0, :, 0]
    array([5., 4.])
    """
    xp, traits = inspect("lp_pool", x=x)
    p = check_norm("lp_pool", xp, x.dtype, p)
    geometry = read_geometry("lp_pool", x.shape, window, stride, padding, dilation, ceil_mode, layout)
    return norms(x, p, geometry, xp, traits, x.dtype, layout)


def norms(x: Array, p: float, geometry: Geometry, xp: Namespace, traits: Traits, dtype: Any, layout: str) -> Array:
    """Give each window's p-norm in `dtype`."""
    pixels, sums = to_channels_last(xp, x, layout), accumulator(xp, x.dtype)

    def tile(work: Workspace, region: Region) -> tuple[Array, ...]:
        return (_norm(work, _run.slab(work, pixels, geometry, region), p, geometry, region)[0],)

    return _pool_run.over_output(tile, pixels, geometry, xp, traits, sums, (dtype,), 10, layout)[0]


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
    layout: str = "channels_last",
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
    name = "lp_pool_vjp"
    xp, traits = inspect(name, x=x, dy=dy)
    p = check_norm(name, xp, x.dtype, p)
    geometry = read_geometry(name, x.shape, window, stride, padding, dilation, ceil_mode, layout)
    check_gradient(name, dy, geometry, layout)
    pixels, grads = to_channels_last(xp, x, layout), to_channels_last(xp, dy, layout)
    sums = accumulator(xp, x.dtype)

    def tile(work: Workspace, region: Region) -> PhaseGradient:
        windows = _pool_run.windows_of(geometry, region)
        slab = _run.slab(work, pixels, geometry, windows)
        gradient = _pool_run.gradient_slab(work, grads, geometry, windows)
        values = dict(pooling.tap_values(slab, geometry, _run.sizes(windows)))
        norm, _ = _norm(work, slab, p, geometry, windows)
        norm = xp.where(norm > 0, norm, xp.ones_like(norm))
        if p == math.inf:
            count: Any = 0
            for value in values.values():
                count = count + xp.astype(xp.abs(value) == norm, work.dtype)
            gradient = gradient / xp.clip(count, 1, None)

        def phase_gradient(phase: Phase, part: Region) -> Array:
            total = None
            for tap, index in _pool_run.gather(phase, part, geometry, windows):
                value = values[tap][index]
                if p == math.inf:
                    slope = xp.astype(xp.abs(value) == norm[index], work.dtype)
                else:
                    ratio = xp.abs(value) / norm[index]
                    slope = xp.pow(xp.where(value == 0, xp.ones_like(ratio), ratio), p - 1)  # set to 0 below
                share = gradient[index] * xp.sign(value) * slope
                share = xp.where(value == 0, xp.zeros_like(share), share)
                total = share if total is None else total + share
            return _pool_run.or_zeros(total, work, part, geometry, x)

        return phase_gradient

    return _pool_run.over_input(tile, x, geometry, xp, traits, sums, x.dtype, 16, layout)
