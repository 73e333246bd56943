"""Say what a convolution would run, and why."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.space import accumulator, named_traits
from xpconv._convolution.passes import plan_for
from xpconv._ops.conv import Padding, Size, read_geometry
from xpconv._plan.choose import Plan


def explain(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "channels_last",
    algorithm: str = "auto",
    dtype: Any = "float32",
    device: Any = None,
) -> Plan:
    """Say what `conv` would run for these shapes, and why.

    Parameters
    ----------
    x_shape, w_shape : tuple of int
        The whole shapes of x and w in the given layout.
    stride, padding, dilation, groups, padding_mode, layout, algorithm
        As for `conv`.
    dtype : dtype or str
        Of the arrays, a dtype or its name ("float32").
    device : optional
        None or ``"cpu"`` for NumPy on the CPU, ``"cuda"`` for CuPy.

    Returns
    -------
    Plan
        With ``algorithm``, ``tile`` (n, *output pixels), ``workspace`` (bytes, at most), ``flops`` and ``candidates``;
        prints as a table.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        The dtype is not numeric.

    Examples
    --------
    >>> import xpconv as xc
    >>> plan = xc.explain((8, 56, 56, 64), (3, 3, 64, 64), padding=1)
    >>> plan.algorithm, plan.flops
    ('winograd', 1849688064)

    """
    geometry = read_geometry(
        "explain", x_shape, w_shape, stride, padding, dilation, groups, padding_mode, layout, ("x_shape", "w_shape")
    )
    traits, xp, dtype = named_traits("explain", device, dtype)
    return plan_for("explain", algorithm, geometry, xp, traits, accumulator(xp, dtype), inputs=dtype)
