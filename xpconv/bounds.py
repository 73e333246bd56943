"""Error bounds that follow from the arithmetic, elementwise; nothing is fitted.

A sum of n products, in whatever order, in arithmetic with unit roundoff u, is off by at most
gamma(n) * sum(abs(products)), gamma(n) = n u / (1 - n u): each product is rounded once and passes at most n - 1
additions (N. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.1). Each product that
underflows adds at most the smallest normal number, also where a device flushes denormal numbers to zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv import _run
from xpconv._backend import (
    accumulator,
    cast,
    from_channels_last,
    inspect,
    is_kind,
    kernel_to_channels_last,
    result_dtype,
    to_channels_last,
    zeros,
)
from xpconv._conv_run import plan_for
from xpconv._dtypes import largest, limits
from xpconv._reading import in_layout
from xpconv.algorithms import REGISTRY
from xpconv.conv import Padding, Size, read_geometry

Array = Any


def gamma(count: int, roundoff: float) -> float:
    """Relative error of a sum of n products, n u / (1 - n u); infinite where n u reaches 1."""
    product = count * roundoff
    return product / (1 - product) if product < 1 else float("inf")


def scale_and_floor(xp: Any, dtype: Any, count: int) -> tuple[float, float]:
    """Give (a, t): a computed sum of `count` products is off by at most ``a * computed sum of absolute values + t``."""
    if is_kind(xp, dtype, "integral"):
        return 0.0, 0.0
    eps, smallest = limits(xp, dtype)
    # complex products are two real ones and an addition; their error is at most sqrt(8) u of the modulus
    steps = 3 * count if is_kind(xp, dtype, "complex floating") else count
    relative = gamma(steps, eps / 2)
    # the sum of absolute values is itself computed with that error, hence the division
    widened = relative / (1 - relative) if relative < 1 else float("inf")
    return widened, 2 * steps * smallest


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
        At least ``abs(computed - exact)``, like `conv`'s result; zero for integers, which are exact.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        The arrays differ in library, device or dtype, or are not numeric.

    Notes
    -----
    ``gamma(K + 1)`` times the same convolution of absolute values, K the number of products summed for an element, plus
    half a unit of the last place of a 16-bit result, and infinity where that could overflow. It holds for any order of
    summation, and where a device flushes denormal factors or results to zero. TF32, if the user has switched it on, is
    not covered.

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
    relative, floor = scale_and_floor(xp, sums, REGISTRY[plan.algorithm].summed(geometry) + (b is not None))
    # a factor that is flushed to zero counts as the smallest normal number: no more than this, once scaled
    least = limits(xp, sums)[1] / relative

    def magnitude(values: Array) -> Array:
        return xp.clip(xp.abs(values), least, None)

    bound = _run.correlate(
        to_channels_last(xp, x, layout), magnitude(cast(xp, kernel_to_channels_last(xp, w, layout), sums)),
        None if b is None else xp.abs(b), geometry, plan, xp, traits,
        sums=_real(xp, sums), dtype=_real(xp, sums), layout=layout, each=magnitude, magnitudes=True,
    )  # fmt: skip
    with np.errstate(over="ignore"):
        if sums != dtype:
            # the stored result is the nearest 16-bit number, or infinite: what could be is made to overflow, too
            eps, smallest = limits(xp, dtype)
            raised = float(xp.finfo(sums).max) / ((largest(xp, dtype) - floor) / (1 + relative))
            bound *= raised
            bound *= (relative + (1 + relative) * (eps / 2)) * (1 + 1e-6) / raised
            bound += floor * (1 + eps / 2) + smallest * eps
        else:
            bound *= relative
            bound += floor
    return from_channels_last(xp, bound, layout)


def _real(xp: Any, dtype: Any) -> Any:
    if not is_kind(xp, dtype, "complex floating"):
        return dtype
    return xp.float32 if dtype == xp.complex64 else xp.float64
