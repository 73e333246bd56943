"""Adaptive pooling: windows that cut an axis into a given number of parts, and their gradients."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np

from xpconv._arrays.dtypes import accumulator, is_kind
from xpconv._arrays.old import index_dtype, inspect
from xpconv._arrays.views import to_channels_last
from xpconv._ops.pool import avg_pool, avg_pool_vjp, check_divisible, check_order, max_pool, max_pool_vjp
from xpconv._pooling import adaptive as _adaptive
from xpconv._pooling import adaptive_tiles as _tiles
from xpconv._pooling.adaptive import Cut
from xpconv._shapes.geometry import Interval, Ints, Region
from xpconv._shapes.options import Size
from xpconv._work.workspace import Workspace

Array = Any


def _window(cuts: tuple[Cut, ...]) -> Ints:
    """Give the window of the pooling that cuts the axes evenly."""
    return tuple(cut.size // cut.parts for cut in cuts)


def _slab(work: Workspace, x: Array, region: Region, cuts: tuple[Cut, ...]) -> Array:
    """Give the pixels (n, *slab, C) that a region's windows read."""
    spots = (slice(*cut.pixels(windows)) for cut, windows in zip(cuts, region[1:], strict=True))
    return work.pixels("slab", x[(slice(*region[0]), *spots, slice(None))])


def adaptive_avg_pool(x: Array, output_shape: Size, *, layout: str = "channels_last") -> Array:
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
    name = "adaptive_avg_pool"
    xp, traits = inspect(name, x=x)
    check_divisible(name, "x", xp, x.dtype)
    whole, cuts = _adaptive.read_cuts(name, x.shape, output_shape, layout, "x.shape")
    if _adaptive.is_even(cuts):
        return avg_pool(x, _window(cuts), layout=layout)
    if traits.buffers:
        means = partial(_tiles.reduce_windows, cuts=cuts, xp=xp, function=np.add, sums=accumulator(xp, x.dtype))
        return _tiles.channels_apart(means, [x], whole, layout)
    pixels = to_channels_last(xp, x, layout)

    def tile(region: Region, work: Workspace) -> list[Array]:
        total = _slab(work, pixels, region, cuts)
        for axis, (cut, windows) in enumerate(zip(cuts, region[1:], strict=True), start=1):
            total = _adaptive.gather_sum(work, total, _adaptive.taps(work, cut, windows, axis, pixels), axis)
        return [total / _adaptive.counts(work, cuts, region[1:], pixels)]

    shape = (whole[0], *(cut.parts for cut in cuts), whole[-1])
    sums = accumulator(xp, x.dtype)
    return _adaptive.sweep(tile, shape, cuts, xp, traits, sums, (x.dtype,), x, layout, over_output=True)[0]


def adaptive_avg_pool_vjp(dy: Array, x: Array, output_shape: Size, *, layout: str = "channels_last") -> Array:
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
    name = "adaptive_avg_pool_vjp"
    xp, traits = inspect(name, x=x, dy=dy)
    check_divisible(name, "dy", xp, dy.dtype)
    whole, cuts = _adaptive.read_cuts(name, x.shape, output_shape, layout, "x.shape")
    _adaptive.check_gradient(name, dy, whole, cuts, layout)
    if _adaptive.is_even(cuts):
        return avg_pool_vjp(dy, tuple(x.shape), _window(cuts), layout=layout)
    if traits.buffers:
        gradient = partial(_tiles.avg_pool_vjp, cuts=cuts, xp=xp, sums=accumulator(xp, dy.dtype))
        return _tiles.channels_apart(gradient, [dy], whole, layout)
    grads = to_channels_last(xp, dy, layout)

    def tile(region: Region, work: Workspace) -> list[Array]:
        windows = _windows(cuts, region)
        spots = (slice(*interval) for interval in windows)
        total = work.pixels("gradient", grads[(slice(*region[0]), *spots, slice(None))])
        total = total / _adaptive.counts(work, cuts, windows, grads)
        for axis, (cut, pixels) in enumerate(zip(cuts, region[1:], strict=True), start=1):
            total = _adaptive.gather_sum(work, total, _adaptive.readers(work, cut, pixels, axis, grads), axis)
        return [total]

    sums = accumulator(xp, dy.dtype)
    return _adaptive.sweep(tile, whole, cuts, xp, traits, sums, (dy.dtype,), dy, layout, over_output=False)[0]


def _windows(cuts: tuple[Cut, ...], region: Region) -> tuple[Interval, ...]:
    """Give the windows that read any pixel of a region."""
    return tuple(cut.windows(pixels) for cut, pixels in zip(cuts, region[1:], strict=True))


def adaptive_max_pool(
    x: Array, output_shape: Size, *, layout: str = "channels_last", return_indices: bool = False
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
    name = "adaptive_max_pool"
    xp, traits = inspect(name, x=x)
    check_order(name, xp, x.dtype)
    whole, cuts = _adaptive.read_cuts(name, x.shape, output_shape, layout, "x.shape")
    if _adaptive.is_even(cuts):
        return max_pool(x, _window(cuts), layout=layout, return_indices=return_indices)
    pixels, real = to_channels_last(xp, x, layout), is_kind(xp, x.dtype, "real floating")
    if traits.buffers and return_indices:
        both = partial(_tiles.max_pool_with_indices, cuts=cuts, xp=xp, real=real)
        return _tiles.channels_apart(both, [x], whole, layout)
    if traits.buffers:
        maxima = partial(_tiles.reduce_windows, cuts=cuts, xp=xp, function=np.maximum, sums=x.dtype)
        return _tiles.channels_apart(maxima, [x], whole, layout)

    def tile(region: Region, work: Workspace) -> list[Array]:
        slab = _slab(work, pixels, region, cuts)
        return list(_adaptive.argmax(work, slab, cuts, region[1:], real))[: 1 + return_indices]

    shape = (whole[0], *(cut.parts for cut in cuts), whole[-1])
    dtypes = (x.dtype, index_dtype(xp, x))[: 1 + return_indices]
    found = _adaptive.sweep(tile, shape, cuts, xp, traits, x.dtype, dtypes, x, layout, over_output=True)
    return (found[0], found[1]) if return_indices else found[0]


def adaptive_max_pool_vjp(dy: Array, x: Array, output_shape: Size, *, layout: str = "channels_last") -> Array:
    """Give the gradient of adaptive max pooling's input from the gradient of its output.

    ``(N, *output_shape, C), (N, *spatial, C) -> (N, *spatial, C)``.

    Parameters
    ----------
    dy : array
        The gradient with respect to `adaptive_max_pool`'s result, in its shape.
    x : array
        The images that `adaptive_max_pool` had.
    output_shape, layout
        As `adaptive_max_pool` had them.

    Returns
    -------
    array
        dx, shaped as x, in the library, on the device and with the dtype of x. Of equal maxima the first has a window's
        gradient; windows that share a pixel add up.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dy has not the shape of the output.
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
    name = "adaptive_max_pool_vjp"
    xp, traits = inspect(name, x=x, dy=dy)
    check_order(name, xp, x.dtype)
    whole, cuts = _adaptive.read_cuts(name, x.shape, output_shape, layout, "x.shape")
    _adaptive.check_gradient(name, dy, whole, cuts, layout)
    if _adaptive.is_even(cuts):
        return max_pool_vjp(dy, x, _window(cuts), layout=layout)
    pixels, grads = to_channels_last(xp, x, layout), to_channels_last(xp, dy, layout)
    real = is_kind(xp, x.dtype, "real floating")
    sums = accumulator(xp, x.dtype)
    if traits.buffers and sums == x.dtype:  # gradients of 16 bits are summed in 32, below
        gradients = partial(_tiles.max_pool_vjp, cuts=cuts, xp=xp, real=real)
        return _tiles.channels_apart(gradients, [dy, x], whole, layout)

    def tile(region: Region, work: Workspace) -> list[Array]:
        windows = _windows(cuts, region)
        slab = _slab(work, pixels, (region[0], *windows), cuts)
        _, place = _adaptive.argmax(work, slab, cuts, windows, real)
        spots = (slice(*interval) for interval in windows)
        gradient = work.pixels("gradient", grads[(slice(*region[0]), *spots, slice(None))])
        own = _adaptive.plane_places(work, cuts, region[1:], pixels)
        axes = [
            list(_adaptive.readers(work, cut, interval, axis, pixels))
            for axis, (cut, interval) in enumerate(zip(cuts, region[1:], strict=True), start=1)
        ]
        total: Any = 0
        for combination in itertools.product(*axes):
            share, hit = gradient, place
            for axis, (index, _) in enumerate(combination, start=1):
                share, hit = _adaptive.take(work, share, index, axis), _adaptive.take(work, hit, index, axis)
            hit = hit == own
            for _, there in combination:
                hit = hit if there is None else hit & there
            total = total + xp.where(hit, share, xp.zeros_like(share))
        return [total]

    return _adaptive.sweep(tile, whole, cuts, xp, traits, sums, (x.dtype,), x, layout, over_output=False)[0]
