"""The error bound of a transposed convolution."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.dtypes import real_dtype
from xpconv._arrays.space import (
    accumulator,
    from_channels_last,
    inspect,
    is_kind,
    kernel_to_channels_last,
    to_channels_last,
    zeros,
)
from xpconv._convolution import input_grad as _run_input_grad
from xpconv._ops.conv import Padding, Size, check_shape
from xpconv._ops.transpose import phase_plan, read_geometry
from xpconv._plan.choose import Plan
from xpconv._shapes.geometry import Geometry
from xpconv._shapes.read import in_layout
from xpconv.bounds.terms import Steps, bounded, correlation, terms, worst

Array = Any


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
    layout: str = "channels_last",
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
    name = "conv_transpose_error_bound"
    xp, traits = inspect(name, x=x, w=w, b=b)
    geometry = read_geometry(name, x, w, stride, padding, output_padding, dilation, groups, layout)
    if b is not None:
        check_shape(name, "b", b, (geometry.channels,), "the output channels")
    if is_kind(xp, x.dtype, "integral"):
        return zeros(xp, in_layout(geometry.input_shape, layout), x.dtype, x)
    sums = accumulator(xp, x.dtype)
    real, seen = real_dtype(xp, sums), []

    def plan(part: Geometry) -> Plan:
        found = phase_plan(name, part, geometry, xp, traits, sums, x.dtype)
        steps = correlation(found, part, x)
        seen.append(Steps(steps.roundings + (b is not None), steps.matrices, steps.grain))
        return found

    def magnitude(values: Array) -> Array:
        return terms(xp, sums, worst(seen)).factor(xp, values)

    bound = _run_input_grad.input_grad(
        to_channels_last(xp, x, layout), kernel_to_channels_last(xp, w, layout), geometry, plan, xp, traits,
        sums=real, dtype=real, layout=layout, b=None if b is None else xp.abs(b), each=magnitude,
    )  # fmt: skip
    return from_channels_last(xp, bounded(xp, bound, terms(xp, sums, worst(seen)), sums, x.dtype), layout)
