"""Error bounds of pooling and its gradients; `xpconv.bounds` has them for all to use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpconv._arrays.dtypes import accumulator, is_kind
from xpconv._arrays.old import inspect, zeros
from xpconv._ops.lp import check_norm, norms
from xpconv._ops.pool import check_divisible, check_gradient, check_order, check_ties, read_geometry
from xpconv._pooling import portable as _pool_run
from xpconv._shapes.geometry import Geometry
from xpconv._shapes.options import Padding, Size
from xpconv.bounds.terms import Steps, bounded, terms

Array = Any

POWER = 16  # roundings of a power, which libraries give to some 8 units in the last place


def _readers(geometry: Geometry) -> int:
    """Count the windows that can read one pixel: along an axis, taps that differ by a multiple of the stride."""
    axes = zip(geometry.kernel, geometry.stride, geometry.dilation, geometry.output, strict=True)
    return math.prod(min(-(-taps // (step // math.gcd(step, spread))), count) for taps, step, spread, count in axes)


def max_pool_vjp_error_bound(
    dy: Array,
    x: Array,
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: str = "channels_last",
    ties: str = "first",
) -> Array:
    """Bound the rounding error of `max_pool_vjp`, element by element.

    ``(N, *out, C), (N, *spatial, C) -> (N, *spatial, C)``

    Parameters
    ----------
    dy, x, window, stride, padding, dilation, ceil_mode, layout, ties
        As for `max_pool_vjp`.

    Returns
    -------
    array
        At least ``abs(computed - exact)``, as `error_bound` gives it.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        The arrays differ in library, device or dtype, or are not real numbers.

    Notes
    -----
    ``gamma(K - 1)`` times the gradient of the absolute values of dy, K the windows that can read a pixel; for ties
    "split" ``gamma(K + 1)``. Where a device takes denormal numbers for zero, two of x may tie that differ; this is not
    counted.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.bounds import max_pool_vjp_error_bound
    >>> dy, x = np.ones((1, 2, 2, 1), np.float32), np.ones((1, 4, 4, 1), np.float32)
    >>> bool((max_pool_vjp_error_bound(dy, x, 3, stride=1) < 1e-6).all())
    True

    """
    name = "max_pool_vjp_error_bound"
    xp, traits = inspect(name, x=x, dy=dy)
    check_order(name, xp, x.dtype)
    check_ties(name, xp, dy.dtype, ties)
    geometry = read_geometry(name, x.shape, window, stride, padding, dilation, ceil_mode, layout)
    check_gradient(name, dy, geometry, layout)
    if is_kind(xp, dy.dtype, "integral"):
        return zeros(xp, tuple(x.shape), dy.dtype, x)
    with np.errstate(over="ignore", invalid="ignore"):
        size = _pool_run.max_pool_vjp(dy, x, geometry, xp, traits, ties, layout, sizes=True)
    sums, count = accumulator(xp, dy.dtype), _readers(geometry) + (1 if ties == "split" else -1)
    return bounded(xp, size, terms(xp, sums, Steps(max(count, 1))), sums, dy.dtype)


def avg_pool_error_bound(
    x: Array,
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: str = "channels_last",
) -> Array:
    """Bound the rounding error of `avg_pool`, element by element.

    ``(N, *spatial, C) -> (N, *out, C)``

    Parameters
    ----------
    x, window, stride, padding, dilation, ceil_mode, count_include_pad, layout
        As for `avg_pool`.

    Returns
    -------
    array
        At least ``abs(computed - exact)``, as `error_bound` gives it.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        x is not floating.

    Notes
    -----
    ``gamma(K + 3)`` times the mean of the absolute values, K the taps of a window.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.bounds import avg_pool_error_bound
    >>> bool((avg_pool_error_bound(np.ones((1, 4, 4, 2), np.float32), 2) < 1e-6).all())
    True

    """
    name = "avg_pool_error_bound"
    xp, traits = inspect(name, x=x)
    check_divisible(name, "x", xp, x.dtype)
    geometry = read_geometry(name, x.shape, window, stride, padding, dilation, ceil_mode, layout)
    with np.errstate(over="ignore", invalid="ignore"):
        size = _pool_run.avg_pool(x, geometry, xp, traits, bool(count_include_pad), layout, sizes=True)
    sums = accumulator(xp, x.dtype)
    return bounded(xp, size, terms(xp, sums, Steps(geometry.taps + 3)), sums, x.dtype)


def avg_pool_vjp_error_bound(
    dy: Array,
    input_shape: tuple[int, ...],
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: str = "channels_last",
) -> Array:
    """Bound the rounding error of `avg_pool_vjp`, element by element.

    ``(N, *out, C) -> (N, *spatial, C)``

    Parameters
    ----------
    dy, input_shape, window, stride, padding, dilation, ceil_mode, count_include_pad, layout
        As for `avg_pool_vjp`.

    Returns
    -------
    array
        At least ``abs(computed - exact)``, as `error_bound` gives it.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        dy is not floating.

    Notes
    -----
    ``gamma(K + 3)`` times the gradient of the absolute values of dy, K the windows that can read a pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.bounds import avg_pool_vjp_error_bound
    >>> dy = np.ones((1, 2, 2, 1), np.float32)
    >>> bool((avg_pool_vjp_error_bound(dy, (1, 4, 4, 1), 3, stride=1) < 1e-6).all())
    True

    """
    name = "avg_pool_vjp_error_bound"
    xp, traits = inspect(name, dy=dy)
    check_divisible(name, "dy", xp, dy.dtype)
    geometry = read_geometry(name, input_shape, window, stride, padding, dilation, ceil_mode, layout, "input_shape")
    check_gradient(name, dy, geometry, layout)
    with np.errstate(over="ignore", invalid="ignore"):
        size = _pool_run.avg_pool_vjp(dy, geometry, xp, traits, bool(count_include_pad), layout, sizes=True)
    sums = accumulator(xp, dy.dtype)
    return bounded(xp, size, terms(xp, sums, Steps(_readers(geometry) + 3)), sums, dy.dtype)


def lp_pool_error_bound(
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
    """Bound the rounding error of `lp_pool`, element by element.

    ``(N, *spatial, C) -> (N, *out, C)``

    Parameters
    ----------
    x, p, window, stride, padding, dilation, ceil_mode, layout
        As for `lp_pool`.

    Returns
    -------
    array
        At least ``abs(computed - exact)``, as `error_bound` gives it.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        x is not real and floating.

    Notes
    -----
    A share of the norm itself, since nothing cancels, if the library's powers are good to 8 units in the last place.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.bounds import lp_pool_error_bound
    >>> bool((lp_pool_error_bound(np.ones((1, 4, 4, 2), np.float32), 2, 2) < 1e-5).all())
    True

    """
    name = "lp_pool_error_bound"
    xp, traits = inspect(name, x=x)
    p = check_norm(name, xp, x.dtype, p)
    geometry = read_geometry(name, x.shape, window, stride, padding, dilation, ceil_mode, layout)
    sums = accumulator(xp, x.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        norm = norms(x, p, geometry, xp, traits, sums, layout)
    taps = geometry.taps
    # a tap's quotient, its power, the sum, and p itself rounded, all through the root; the root's power; the scale
    steps = 2 if p == math.inf else math.ceil((p + POWER + 2 * taps + math.log(taps)) / p + POWER + 4)
    grain = 1.0 if p == math.inf else float(taps) ** max(1.0, min(1 / p, 100.0))
    return bounded(xp, norm, terms(xp, sums, Steps(steps, 0, grain)), sums, x.dtype)
