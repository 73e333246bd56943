"""Error bounds of pooling and its gradients; `xpconv.bounds` has them for all to use."""

from __future__ import annotations

import math

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import native
from xpconv._arrays.space import is_chunked
from xpconv._arrays.types import Array
from xpconv._chunks.blocks import by_blocks
from xpconv._ops.lp import check_norm
from xpconv._ops.pooled import check_divisible, check_order, check_ties
from xpconv._pooling import averages, maxima, norms
from xpconv._pooling.windows import Windows
from xpconv._shapes import read
from xpconv._shapes.geometry import Geometry
from xpconv._shapes.keywords import keywords
from xpconv._shapes.options import Layout, Padding, Size, Ties
from xpconv._shapes.read import Windowing
from xpconv.bounds.terms import Steps, bounded, terms

POWER = 16  # roundings of a power, which libraries give to some 8 units in the last place


def _readers(geometry: Geometry) -> int:
    """Count the windows that can read one pixel: along an axis, taps that differ by a multiple of the stride."""
    axes = zip(geometry.kernel, geometry.stride, geometry.dilation, geometry.output, strict=True)
    return math.prod(min(-(-taps // (step // math.gcd(step, spread))), count) for taps, step, spread, count in axes)


def _bounded(call: Call, size: Array, steps: Steps) -> Array:
    """Bound what takes these steps, from its magnitude."""
    sums = call.arithmetic.sums
    found = bounded(call.xp, size, terms(call.xp, sums, steps), sums, call.arithmetic.result)
    return call.of_magnitudes(call.xp.abs).give(found)


@keywords
def max_pool_vjp_error_bound(
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
    if is_chunked(dy, x):
        return by_blocks(max_pool_vjp_error_bound, locals())
    name = "max_pool_vjp_error_bound"
    call = Call.of(name, x=x, dy=dy, layout=layout)
    check_order(call, x.dtype)
    check_ties(call, dy.dtype, ties)
    asked = Windowing(stride, padding, dilation, layout=layout, ceil_mode=ceil_mode)
    geometry = read.pool(name, x.shape, window, asked)
    read.gradient(name, "dy", dy.shape, geometry, layout)
    if call.arithmetic.is_whole:
        return call.space.zeros(tuple(x.shape), native(dy.dtype))
    measured, pixels = call.of_magnitudes(call.xp.abs), call.in_dtype(x.dtype).images(x)
    with np.errstate(over="ignore", invalid="ignore"):
        size = maxima.max_pool_vjp(measured, Windows.of(geometry), call.images(dy), pixels, ties=ties)
    return _bounded(call, size, Steps(max(_readers(geometry) + (1 if ties == "split" else -1), 1)))


@keywords
def avg_pool_error_bound(
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
    if is_chunked(x):
        return by_blocks(avg_pool_error_bound, locals())
    name = "avg_pool_error_bound"
    call = Call.of(name, x=x, layout=layout)
    check_divisible(call, "x", x.dtype)
    asked = Windowing(stride, padding, dilation, layout=layout, ceil_mode=ceil_mode)
    windows, measured = Windows.of(read.pool(name, x.shape, window, asked)), call.of_magnitudes(call.xp.abs)
    with np.errstate(over="ignore", invalid="ignore"):
        size = averages.avg_pool(measured, windows, call.images(x), bool(count_include_pad))
    return _bounded(call, size, Steps(windows.taps + 3))


@keywords
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
    layout: Layout = "channels_last",
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
    if is_chunked(dy):
        return by_blocks(avg_pool_vjp_error_bound, locals())
    name = "avg_pool_vjp_error_bound"
    call = Call.of(name, dy=dy, layout=layout)
    check_divisible(call, "dy", dy.dtype)
    asked = Windowing(stride, padding, dilation, layout=layout, ceil_mode=ceil_mode)
    geometry = read.pool(name, input_shape, window, asked, "input_shape")
    read.gradient(name, "dy", dy.shape, geometry, layout)
    measured, windows = call.of_magnitudes(call.xp.abs), Windows.of(geometry)
    with np.errstate(over="ignore", invalid="ignore"):
        size = averages.avg_pool_vjp(measured, windows, call.images(dy), bool(count_include_pad))
    return _bounded(call, size, Steps(_readers(geometry) + 3))


@keywords
def lp_pool_error_bound(
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
    if is_chunked(x):
        return by_blocks(lp_pool_error_bound, locals())
    name = "lp_pool_error_bound"
    call = Call.of(name, x=x, layout=layout)
    p = check_norm(call, x.dtype, p)
    asked = Windowing(stride, padding, dilation, layout=layout, ceil_mode=ceil_mode)
    windows, measured = Windows.of(read.pool(name, x.shape, window, asked)), call.of_magnitudes(call.xp.abs)
    with np.errstate(over="ignore", invalid="ignore"):
        norm = norms.lp_pool(measured, windows, call.images(x), p)
    taps = windows.taps
    # a tap's quotient, its power, the sum, and p itself rounded, all through the root; the root's power; the scale
    steps = 2 if p == math.inf else math.ceil((p + POWER + 2 * taps + math.log(taps)) / p + POWER + 4)
    grain = 1.0 if p == math.inf else float(taps) ** max(1.0, min(1 / p, 100.0))
    return _bounded(call, norm, Steps(steps, 0, grain))
