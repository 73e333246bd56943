"""The error bound of a transposed convolution."""

from __future__ import annotations

from xpconv._arrays.call import Call
from xpconv._arrays.space import is_chunked
from xpconv._arrays.types import Array
from xpconv._chunks.blocks import by_blocks
from xpconv._convolution.input_grad import input_grad
from xpconv._ops.transpose import choose_transpose
from xpconv._shapes import read
from xpconv._shapes.keywords import keywords
from xpconv._shapes.layout import in_layout
from xpconv._shapes.options import Layout, Padding, Size
from xpconv._shapes.read import Windowing
from xpconv.bounds.terms import bounded, correlation, terms, worst


@keywords
def conv_transpose_error_bound(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    layout: Layout = "channels_last",
) -> Array:
    """Bound the rounding error of `conv_transpose`, element by element.

    ``(N, *spatial, C), (*kernel, F/G, C), (F,) -> (N, *out, F)``

    Parameters
    ----------
    x, w, b : array
        The arrays that `conv_transpose` gets.
    stride, padding, output_padding, dilation, groups, layout
        As for `conv_transpose`.

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
    That of the input gradient, with one rounding more for the bias.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.bounds import conv_transpose_error_bound
    >>> x, w, b = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 8, 2), np.float32), np.ones(8, np.float32)
    >>> bool((conv_transpose_error_bound(x, w, b, stride=2) < 1e-4).all())
    True

    """
    if is_chunked(x, w, b):
        return by_blocks(conv_transpose_error_bound, locals())
    name = "conv_transpose_error_bound"
    call = Call.of(name, x=x, w=w, b=b, layout=layout)
    asked = Windowing(stride, padding, dilation, groups, layout=layout, output_padding=output_padding)
    geometry = read.transpose(name, x.shape, w.shape, asked)
    if b is not None:
        read.whole(name, "b", b.shape, (geometry.channels,), "the output channels")
    xp, arithmetic = call.xp, call.arithmetic
    if arithmetic.is_whole:
        return call.space.zeros(in_layout(geometry.input_shape, layout), arithmetic.wanted)
    plan = choose_transpose(call, geometry)
    found = terms(xp, arithmetic.sums, worst(correlation(call, one, more=b is not None) for one in plan.planned))
    measured = call.of_magnitudes(found.of(call.space))
    bound = input_grad(measured, plan, call.images(x), call.kernel(w), None if b is None else xp.abs(b))
    return measured.give(bounded(xp, bound, found, arithmetic.sums, arithmetic.result))
