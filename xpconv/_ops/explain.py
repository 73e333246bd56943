"""Say what a convolution or a gradient would run, and why."""

from __future__ import annotations

from typing import Literal

from xpconv import _options
from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call
from xpconv._arrays.space import described_space
from xpconv._arrays.types import Device, DType
from xpconv._plan.choose import choose
from xpconv._plan.input_grad import GradientPlan, choose_input_grad
from xpconv._plan.record import Plan
from xpconv._shapes import read
from xpconv._shapes.keywords import keywords, meant
from xpconv._shapes.options import AlgorithmName, Layout, Padding, PaddingMode, Size
from xpconv._shapes.read import Windowing

PASSES = ("conv", "input_grad", "weight_grad")


@keywords
def explain(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
    algorithm: AlgorithmName = "auto",
    dtype: DType = "float32",
    of: Literal["conv", "input_grad", "weight_grad"] = "conv",
    device: Device | None = None,
) -> Plan | GradientPlan:
    """Say what `conv`, or one of its gradients, would run for these shapes, and why.

    Parameters
    ----------
    x_shape, w_shape : tuple of int
        The whole shapes of x and w in the given layout.
    stride, padding, dilation, groups, padding_mode, layout, algorithm
        As for `conv`.
    dtype : dtype or str
        Of the arrays, a dtype or its name ("float32").
    of : str
        ``"conv"`` (default), ``"input_grad"`` or ``"weight_grad"``: which pass.
    device : optional
        None or ``"cpu"`` for NumPy on the CPU, ``"cuda"`` for CuPy.

    Returns
    -------
    Plan or GradientPlan
        With ``algorithm``, ``tile`` (images, output pixels), ``workspace`` (bytes, at most), ``flops`` and
        ``candidates``; prints as a table. An input gradient is cut into stride phases, each with a plan of its own
        (``phases``), or computed by ``"col2im"``; its tile and candidates are those of the phase with the most work.
        Where the padding holds pixels of the image it is the plan of the pixels themselves.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        The dtype is not numeric.

    Examples
    --------
    >>> import xpconv as xc
    >>> with xc.set_options(compiled=False):
    ...     plan = xc.explain((8, 56, 56, 64), (3, 3, 64, 64), padding=1)
    >>> plan.algorithm, plan.flops
    ('winograd', 1849688064)
    >>> len(xc.explain((8, 28, 28, 64), (3, 3, 64, 128), padding=1, stride=2, of="input_grad").phases)
    4

    """
    name = "explain"
    asked = Windowing(stride, padding, dilation, groups, padding_mode, layout)
    geometry = read.conv(name, x_shape, w_shape, asked, ("x_shape", "w_shape"))
    if of not in PASSES:
        raise ValueError(f"{name}: of is one of {', '.join(map(repr, PASSES))}; got of={of!r}{meant(of, PASSES)}")
    space, found = described_space(name, device, dtype)
    arithmetic, options = Arithmetic.of(space.xp, found, found, True), _options.current().on(space.memory)
    call = Call(name, space, arithmetic, layout, options, asks=True)
    if of == "input_grad":
        return choose_input_grad(call, geometry, algorithm)
    return choose(call, geometry, algorithm, gradient=of == "weight_grad")
