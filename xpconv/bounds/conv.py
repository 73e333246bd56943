"""Error bounds of a convolution and of its gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpconv import _options
from xpconv._arrays.dtypes import real_dtype
from xpconv._arrays.space import (
    accumulator,
    cast,
    from_channels_last,
    inspect,
    is_kind,
    itemsize,
    kernel_from_channels_last,
    kernel_to_channels_last,
    plain,
    result_dtype,
    to_channels_last,
    zeros,
)
from xpconv._convolution import passes as _conv_run
from xpconv._convolution.bias_grad import additions, channel_sum
from xpconv._convolution.passes import plan_for
from xpconv._convolution.weight_grad import correlate_weight_grad
from xpconv._engine import jobs as _run
from xpconv._engine.jobs import SMALL, Tiles, slices
from xpconv._ops.conv import Padding, Size, check_shape, read_geometry
from xpconv._plan.choose import Plan
from xpconv._plan.tiles import block
from xpconv._shapes.geometry import Geometry
from xpconv._shapes.read import freeze, in_layout, read_images, whole_shape
from xpconv.bounds.terms import Steps, bounded, correlation, terms, weight_gradient, worst

Array = Any


def error_bound(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "channels_last",
    algorithm: str = "auto",
    dtype: Any = None,
) -> Array:
    """Bound the rounding error of `conv`, element by element.

    ``(N, *spatial, C), (*kernel, C/G, F), (F,) -> (N, *out, F)``

    Parameters
    ----------
    x, w, b : array
        The arrays that `conv` gets.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, dtype
        As for `conv`.

    Returns
    -------
    array
        At least ``abs(computed - exact)``, like `conv`'s result but real, and float32 for 16-bit floating types; zero
        for integers, which are exact; infinity where a result or a step on the way could overflow.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        The arrays differ in library, device or dtype, or are not numeric.

    Notes
    -----
    With `direct`, `gemm` and `toeplitz` ``gamma(K + 1)`` times the same convolution of absolute values, K the number of
    products summed for an element; the other algorithms have their own counts and magnitudes. Half a unit of the last
    place of a 16-bit result comes on top. It holds for any order of summation (that of `fft` assumes transforms of
    short passes with accurate factors), where a device flushes denormal factors or results to zero, and with TF32 if
    that is on at the time of this call. The plan follows from the library, ``algorithm``
    and ``max_workspace``: ask under the options of the call. See docs/error-bounds.md.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x, w = np.ones((1, 4, 4, 8), np.float32), np.ones((3, 3, 8, 2), np.float32)
    >>> bool((xc.error_bound(x, w) < 1e-3).all())
    True

    """
    name = "error_bound"
    xp, traits = inspect(name, x=x, w=w, b=b)
    geometry = read_geometry(name, x.shape, w.shape, stride, padding, dilation, groups, padding_mode, layout)
    dtype = result_dtype(name, xp, x.dtype, dtype)
    sums = accumulator(xp, dtype)
    plan = plan_for(name, algorithm, geometry, xp, traits, sums, inputs=x.dtype)
    if b is not None and tuple(b.shape) != (geometry.filters,):
        raise ValueError(f"{name}: b has the shape ({geometry.filters},); got b.shape={tuple(b.shape)}")
    if is_kind(xp, dtype, "integral"):
        return zeros(xp, in_layout(geometry.output_shape, layout), dtype, x)
    steps = correlation(plan, geometry, x)
    found = terms(xp, sums, Steps(steps.roundings + (b is not None), steps.matrices, steps.grain))

    def magnitude(values: Array) -> Array:
        return found.factor(xp, values)

    bound = _run.correlate(
        to_channels_last(xp, x, layout), magnitude(cast(xp, kernel_to_channels_last(xp, w, layout), sums)),
        None if b is None else xp.abs(b), geometry, plan, xp, traits, sums=real_dtype(xp, sums),
        dtype=real_dtype(xp, sums), layout=layout, each=magnitude, magnitudes=True,
    )  # fmt: skip
    return from_channels_last(xp, bounded(xp, bound, found, sums, dtype), layout)


def conv_input_grad_error_bound(
    dz: Array,
    w: Array,
    input_shape: tuple[int, ...],
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "channels_last",
    algorithm: str = "auto",
    dtype: Any = None,
) -> Array:
    """Bound the rounding error of `conv_input_grad`, element by element.

    ``(N, *out, F), (*kernel, C/G, F) -> (N, *spatial, C)``

    Parameters
    ----------
    dz, w, input_shape
        What `conv_input_grad` gets.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, dtype
        As for `conv_input_grad`.

    Returns
    -------
    array
        At least ``abs(computed - exact)``, as `error_bound` gives it.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        The arrays differ in library, device or dtype, or are not numeric.

    Notes
    -----
    The relative error is the largest of the stride phases'; a padding mode adds what the padding received.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.bounds import conv_input_grad_error_bound
    >>> dz, w = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 8, 2), np.float32)
    >>> bool((conv_input_grad_error_bound(dz, w, (1, 4, 4, 8), padding=1) < 1e-4).all())
    True

    """
    name = "conv_input_grad_error_bound"
    xp, traits = inspect(name, dz=dz, w=w)
    geometry = read_geometry(
        name, input_shape, w.shape, stride, padding, dilation, groups, padding_mode, layout, ("input_shape", "w.shape")
    )
    check_shape(name, "dz", dz, in_layout(geometry.output_shape, layout), "the output")
    dtype = result_dtype(name, xp, dz.dtype, dtype)
    if is_kind(xp, dtype, "integral"):
        return zeros(xp, tuple(input_shape), dtype, dz)
    sums = accumulator(xp, dtype)
    # a pixel may stand for several of the padding, whose gradients are added
    most = 1 if geometry.mode == "zeros" else math.prod(1 + before + after for before, after in geometry.padding)
    seen: list[Steps] = []

    def planned(plan: Plan, part: Geometry) -> None:
        steps = correlation(plan, part, dz)
        seen.append(Steps(steps.roundings + most - 1, steps.matrices, steps.grain))

    def magnitude(values: Array) -> Array:
        return terms(xp, sums, worst(seen)).factor(xp, values)

    bound = _conv_run.input_grad(
        name, dz, w, geometry, xp, traits, algorithm=algorithm, dtype=dtype, layout=layout, each=magnitude,
        planned=planned,
    )  # fmt: skip
    return bounded(xp, bound, terms(xp, sums, worst(seen)), sums, dtype)


def conv_weight_grad_error_bound(
    dz: Array,
    x: Array,
    kernel_shape: tuple[int, ...],
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "channels_last",
    algorithm: str = "auto",
    dtype: Any = None,
) -> Array:
    """Bound the rounding error of `conv_weight_grad`, element by element.

    ``(N, *out, F), (N, *spatial, C) -> (*kernel, C/G, F)``

    Parameters
    ----------
    dz, x, kernel_shape
        What `conv_weight_grad` gets.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, dtype
        As for `conv_weight_grad`.

    Returns
    -------
    array
        At least ``abs(computed - exact)``, as `error_bound` gives it.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        The arrays differ in library, device or dtype, or are not numeric.

    Notes
    -----
    The sum over all pixels is taken tile by tile, in partial sums, so a product passes through the additions of its
    tile, of the tiles of its partial sum, and of the partial sums: far fewer than there are products.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.bounds import conv_weight_grad_error_bound
    >>> dz, x = np.ones((1, 4, 4, 2), np.float32), np.ones((1, 4, 4, 8), np.float32)
    >>> bool((conv_weight_grad_error_bound(dz, x, (3, 3, 8, 2), padding=1) < 1e-4).all())
    True

    """
    name = "conv_weight_grad_error_bound"
    xp, traits = inspect(name, x=x, dz=dz)
    geometry = read_geometry(
        name, x.shape, kernel_shape, stride, padding, dilation, groups, padding_mode, layout,
        ("x.shape", "kernel_shape"),
    )  # fmt: skip
    check_shape(name, "dz", dz, in_layout(geometry.output_shape, layout), "the output")
    dtype = result_dtype(name, xp, x.dtype, dtype)
    sums = accumulator(xp, dtype)
    plan = plan_for(name, algorithm, geometry, xp, traits, sums, gradient=True, inputs=x.dtype)
    if is_kind(xp, dtype, "integral") or geometry.positions == 0:
        real = dtype if is_kind(xp, dtype, "integral") else real_dtype(xp, sums)
        return zeros(xp, tuple(kernel_shape), real, x)
    found = terms(xp, sums, weight_gradient(plan, geometry, x))
    bound = correlate_weight_grad(
        to_channels_last(xp, x, layout), to_channels_last(xp, dz, layout), geometry, plan, xp, traits,
        sums=real_dtype(xp, sums), each=lambda values: found.factor(xp, values), magnitudes=True,
    )  # fmt: skip
    return kernel_from_channels_last(xp, bounded(xp, bound, found, sums, dtype), layout)


def conv_bias_grad_error_bound(dz: Array, *, layout: str = "channels_last", dtype: Any = None) -> Array:
    """Bound the rounding error of the db of `conv_vjp` and of `conv_transpose_vjp`, element by element.

    ``(N, *out, F) -> (F,)``

    Parameters
    ----------
    dz : array
        The gradient that the function gets; one, two or three spatial axes.
    layout : str
        ``"channels_last"`` (default) or ``"channels_first"``.
    dtype : dtype or str, optional
        As for `conv_vjp`.

    Returns
    -------
    array
        At least ``abs(computed - exact)``, as `error_bound` gives it.

    Raises
    ------
    ValueError
        dz has no spatial axis or more than three, or an empty one, or layout is unknown.
    TypeError
        dz is not numeric, or dtype is unfit.

    Notes
    -----
    The sum over all pixels is a tree of sums of at most 128 numbers, then of pairs of tiles. ``gamma(d)`` times the
    sum of absolute values, d the additions from a leaf to the root: some hundreds where there are millions of pixels.
    Where arrays cannot be written (JAX, Dask) a compiler may join the sums, so d is the number of pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.bounds import conv_bias_grad_error_bound
    >>> bool((conv_bias_grad_error_bound(np.ones((8, 64, 64, 2), np.float32)) < 1).all())
    True

    """
    name = "conv_bias_grad_error_bound"
    xp, traits = inspect(name, dz=dz)
    *spatial, filters = read_images(name, "dz.shape", whole_shape(name, "dz.shape", dz.shape), freeze(layout))
    dtype = result_dtype(name, xp, dz.dtype, dtype)
    grads, sums = plain(to_channels_last(xp, dz, layout)), accumulator(xp, dtype)
    if is_kind(xp, dtype, "integral"):
        return zeros(xp, (filters,), dtype, dz)
    real, shape, pixels = real_dtype(xp, sums), tuple(spatial), math.prod(spatial)
    if not pixels:
        return zeros(xp, (filters,), real, dz)
    # absolute values of so many numbers at a time, and of their sums pairs: in the workspace, and no deeper a tree
    room = min(SMALL, _options.current().room // (4 * itemsize(xp, dz.dtype) + 4 * itemsize(xp, real)))
    tiles = Tiles(shape, block(shape, max(room // filters, 1)))

    def magnitude(first: int, stop: int) -> Array:
        if stop - first > 1:
            middle = (first + stop) // 2
            return magnitude(first, middle) + magnitude(middle, stop)
        part = cast(xp, xp.abs(grads[slices(tiles[first])]), real)
        return channel_sum(part, tuple(part.shape[:-1]), xp, traits, real)

    with np.errstate(over="ignore", invalid="ignore"):
        bound = magnitude(0, len(tiles))
    own = additions(tiles.tile, filters, traits) + (len(tiles) - 1).bit_length()
    count = max(additions(shape, filters, traits), own, 1)
    return bounded(xp, bound, terms(xp, sums, Steps(count, losses=pixels)), sums, dtype)
