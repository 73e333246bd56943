"""Error bounds that follow from the arithmetic, elementwise; nothing is fitted.

Each is a relative error times a magnitude: what the same algorithm gives for absolute values, or norms where it is a
Fourier transform, plus what underflow can cost. The derivation is in docs/error-bounds.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpconv import _conv_run, _run
from xpconv._backend import (
    accumulator,
    cast,
    from_channels_last,
    inspect,
    is_kind,
    kernel_from_channels_last,
    kernel_to_channels_last,
    result_dtype,
    to_channels_last,
    zeros,
)
from xpconv._conv_run import plan_for
from xpconv._dtypes import real_dtype
from xpconv._error_terms import (
    Steps,
    bounded,
    correlation,
    terms,
    weight_gradient,
    worst,
)
from xpconv._geometry import Geometry
from xpconv._plan import Plan
from xpconv._reading import in_layout
from xpconv._run_weight_grad import correlate_weight_grad
from xpconv.conv import Padding, Size, check_shape, read_geometry
from xpconv.lp import lp_pool
from xpconv.pool import avg_pool
from xpconv.pool import read_geometry as read_pool

Array = Any

POWER = 16  # roundings of a power, which libraries give to some 8 units in the last place


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
    With `direct` and `gemm` ``gamma(K + 1)`` times the same convolution of absolute values, K the number of products
    summed for an element; the other algorithms have their own counts and magnitudes. Half a unit of the last place of
    a 16-bit result comes on top. It holds for any order of summation (that of `fft` assumes transforms of short passes
    with accurate factors), where a device flushes denormal factors or results to zero, and with TF32 if that is on at
    the time of this call. The plan follows from the library, ``algorithm``
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
    ``gamma(K + 3)`` times the mean of the absolute values, K the taps of a window. It takes a copy of x.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.bounds import avg_pool_error_bound
    >>> bool((avg_pool_error_bound(np.ones((1, 4, 4, 2), np.float32), 2) < 1e-6).all())
    True

    """
    name = "avg_pool_error_bound"
    xp, _ = inspect(name, x=x)
    geometry = read_pool(name, x.shape, window, stride, padding, dilation, ceil_mode, layout)
    sums = accumulator(xp, x.dtype)
    found = terms(xp, sums, Steps(geometry.taps + 3)) if not is_kind(xp, sums, "integral") else None
    with np.errstate(over="ignore", invalid="ignore"):
        size = avg_pool(
            x if found is None else xp.abs(cast(xp, x, sums)), window, stride=stride, padding=padding,
            dilation=dilation, ceil_mode=ceil_mode, count_include_pad=count_include_pad, layout=layout,
        )  # fmt: skip
    assert found is not None  # integers were refused
    return bounded(xp, size, found, sums, x.dtype)


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
    It takes a copy of x.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.bounds import lp_pool_error_bound
    >>> bool((lp_pool_error_bound(np.ones((1, 4, 4, 2), np.float32), 2, 2) < 1e-5).all())
    True

    """
    name = "lp_pool_error_bound"
    xp, _ = inspect(name, x=x)
    geometry = read_pool(name, x.shape, window, stride, padding, dilation, ceil_mode, layout)
    sums = x.dtype if is_kind(xp, x.dtype, "integral") else accumulator(xp, x.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        norm = lp_pool(
            cast(xp, x, sums), p, window, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode,
            layout=layout,
        )  # fmt: skip
    taps = geometry.taps
    # a tap's quotient, its power, the sum, and p itself rounded, all through the root; the root's power; the scale
    steps = 2 if p == math.inf else math.ceil((p + POWER + 2 * taps + math.log(taps)) / p + POWER + 4)
    grain = 1.0 if p == math.inf else float(taps) ** max(1.0, min(1 / p, 100.0))
    return bounded(xp, norm, terms(xp, sums, Steps(steps, 0, grain)), sums, x.dtype)
