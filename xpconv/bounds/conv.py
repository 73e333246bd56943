"""Error bounds of a convolution and of its gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast
from xpconv._arrays.space import is_chunked
from xpconv._arrays.types import Array, DType
from xpconv._arrays.views import kernel_from_channels_last
from xpconv._chunks.blocks import by_blocks
from xpconv._convolution.correlate import correlate
from xpconv._convolution.input_grad import input_grad
from xpconv._convolution.weight_grad import weight_grad
from xpconv._plan.choose import choose
from xpconv._plan.input_grad import GradientPlan, batches, choose_input_grad, strips
from xpconv._plan.record import Plan
from xpconv._shapes import read
from xpconv._shapes.keywords import keywords
from xpconv._shapes.layout import in_layout
from xpconv._shapes.options import AlgorithmName, Layout, Padding, PaddingMode, Size
from xpconv._shapes.read import Windowing
from xpconv.bounds.terms import bounded, correlation, terms, weight_gradient, worst


@keywords
def error_bound(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
    algorithm: AlgorithmName = "auto",
    dtype: DType | None = None,
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
    if is_chunked(x, w, b):
        return by_blocks(error_bound, locals())
    name = "error_bound"
    call = Call.of(name, x=x, w=w, b=b, layout=layout, dtype=dtype)
    asked = Windowing(stride, padding, dilation, groups, padding_mode, layout)
    geometry = read.conv(name, x.shape, w.shape, asked)
    plan = choose(call, geometry, algorithm)
    if b is not None:
        read.whole(name, "b", b.shape, (geometry.filters,), "the output channels")
    xp, arithmetic = call.xp, call.arithmetic
    if arithmetic.is_whole:
        return call.space.zeros(in_layout(geometry.output_shape, layout), arithmetic.wanted)
    found = terms(xp, arithmetic.sums, correlation(call, plan, more=b is not None))
    measured = call.of_magnitudes(found.of(call.space))
    kernel = measured.seen(cast(xp, call.kernel(w), arithmetic.sums))
    bound = correlate(measured, plan, call.images(x), kernel, None if b is None else xp.abs(b))
    return measured.give(bounded(xp, bound, found, arithmetic.sums, arithmetic.result))


@keywords
def conv_input_grad_error_bound(
    dz: Array,
    w: Array,
    input_shape: tuple[int, ...],
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
    algorithm: AlgorithmName = "auto",
    dtype: DType | None = None,
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
    if is_chunked(dz, w):
        return by_blocks(conv_input_grad_error_bound, locals())
    name = "conv_input_grad_error_bound"
    call = Call.of(name, dz=dz, w=w, layout=layout, dtype=dtype)
    asked = Windowing(stride, padding, dilation, groups, padding_mode, layout)
    geometry = read.conv(name, input_shape, w.shape, asked, ("input_shape", "w.shape"))
    read.gradient(name, "dz", dz.shape, geometry, layout)
    xp, arithmetic = call.xp, call.arithmetic
    if arithmetic.is_whole:
        return call.space.zeros(tuple(input_shape), arithmetic.wanted)
    plan = choose_input_grad(call, geometry, algorithm)
    # a pixel may stand for several of the padding, whose gradients are added
    most = 1 if geometry.mode == "zeros" else math.prod(1 + before + after for before, after in geometry.padding)
    steps = worst(correlation(call, one, more=most - 1) for one in _correlations(call, plan))
    found = terms(xp, arithmetic.sums, steps)
    measured = call.of_magnitudes(found.of(call.space))
    bound = input_grad(measured, plan, call.images(dz), call.kernel(w))
    return measured.give(bounded(xp, bound, found, arithmetic.sums, arithmetic.result))


def _correlations(call: Call, plan: GradientPlan) -> Iterator[Plan]:
    """Give the plan of each correlation that an input gradient runs."""
    yield from plan.planned
    if plan.geometry.mode != "zeros":
        for part in [part for _, part in batches(call, plan)] or [plan]:
            yield from part.planned
            for _, strip in strips(call, part):
                yield from strip.planned


@keywords
def conv_weight_grad_error_bound(
    dz: Array,
    x: Array,
    kernel_shape: tuple[int, ...],
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
    algorithm: AlgorithmName = "auto",
    dtype: DType | None = None,
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
    if is_chunked(dz, x):
        return by_blocks(conv_weight_grad_error_bound, locals())
    name = "conv_weight_grad_error_bound"
    call = Call.of(name, x=x, dz=dz, layout=layout, dtype=dtype)
    asked = Windowing(stride, padding, dilation, groups, padding_mode, layout)
    geometry = read.conv(name, x.shape, kernel_shape, asked, ("x.shape", "kernel_shape"))
    read.gradient(name, "dz", dz.shape, geometry, layout)
    plan = choose(call, geometry, algorithm, gradient=True)
    xp, arithmetic = call.xp, call.arithmetic
    if arithmetic.is_whole or geometry.positions == 0:
        real = arithmetic.wanted if arithmetic.is_whole else arithmetic.magnitudes.sums
        return call.space.zeros(tuple(kernel_shape), real)
    found = terms(xp, arithmetic.sums, weight_gradient(call, plan))
    measured = call.of_magnitudes(found.of(call.space))
    bound = weight_grad(measured, plan, call.images(x), call.images(dz))
    return kernel_from_channels_last(xp, bounded(xp, bound, found, arithmetic.sums, arithmetic.result), layout)
