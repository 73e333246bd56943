"""Transposed convolution and its gradients: the adjoint of convolution as an operation of its own."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.dtypes import signed, with_dtype
from xpconv._arrays.space import (
    Namespace,
    Traits,
    accumulator,
    cast,
    contiguous,
    from_channels_last,
    inspect,
    is_kind,
    kernel_from_channels_last,
    kernel_to_channels_last,
    to_channels_last,
)
from xpconv._convolution import input_grad as _run_input_grad
from xpconv._convolution.bias_grad import channel_sum
from xpconv._convolution.passes import plan_for
from xpconv._convolution.weight_grad import correlate_weight_grad
from xpconv._engine import jobs as _run
from xpconv._ops.conv import Padding, Size, check_shape
from xpconv._plan.choose import Plan
from xpconv._shapes.geometry import Geometry
from xpconv._shapes.read import freeze, in_layout, transpose_geometry

Array = Any


def read_geometry(
    function: str, x: Array, w: Array, stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: Any,
    layout: Any,
) -> Geometry:  # fmt: skip
    """Read the shapes and options of a transposed convolution: the geometry of the convolution that it transposes."""
    return transpose_geometry(
        function, freeze(tuple(x.shape)), freeze(tuple(w.shape)), freeze(stride), freeze(padding),
        freeze(output_padding), freeze(dilation), freeze(groups), freeze(layout),
    )  # fmt: skip


def phase_plan(
    function: str, part: Geometry, geometry: Geometry, xp: Namespace, traits: Traits, sums: Any, inputs: Any
) -> Plan:
    """Plan one stride phase of a transposed convolution."""
    share = 2 if len(geometry.phases) > 1 else 4
    return plan_for(function, "auto", part, xp, traits, sums, share=share, inputs=inputs)


def conv_transpose(
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
    """Convolve transposed: the adjoint of `conv`, from few pixels to many (1, 2 or 3 spatial axes).

    ``(N, *spatial, C), (*kernel, F/G, C), (F,) -> (N, *out, F)``, in ``channels_first``
    ``(N, C, *spatial), (C, F/G, *kernel), (F,) -> (N, F, *out)``. The kernel has the shape of that of the
    convolution that is transposed.

    Parameters
    ----------
    x : array
        The images. N may be 0, no other axis may be empty.
    w : array
        The kernels, of x's library, device and dtype.
    b : array, optional
        The bias, one number for each output channel.
    stride, dilation : int or one per spatial axis
        Those of the convolution that is transposed (1).
    padding : int, ints, pairs or str
        Pixels cut from the output before and after (0), in the forms of `conv`; ``"same"`` and ``"same_lower"`` give
        ``n * stride`` pixels, as ONNX's auto_pad does.
    output_padding : int or one per spatial axis
        Pixels by which less is cut after (0), below max(stride, dilation).
    groups : int
        Output channels f of group g see the input channels of group g only (1).
    layout : str
        ``"channels_last"`` (default) or ``"channels_first"``.

    Returns
    -------
    array
        In the library, on the device and with the dtype of x. Each spatial axis has
        ``(n - 1) * stride + dilation * (kernel - 1) + 1 + output_padding - before - after`` pixels.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        The arrays differ in library, device or dtype, or are not numeric.

    Notes
    -----
    ``z[n, i, f] = b[f] + sum of x[n, o, c] * w[k, f, c]`` over o, k with ``o * stride + k * dilation = i + before``.
    No zeros are put between the pixels of x. Pixels that no tap reaches hold the bias. Complex kernels are not
    conjugated. Source: ONNX operator ConvTranspose; V. Dumoulin, F. Visin, arXiv 1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x = np.array([1.0, 10.0]).reshape(1, 2, 1)
    >>> xc.conv_transpose(x, np.ones((3, 1, 1)), stride=2)[0, :, 0]
    array([ 1.,  1., 11., 10., 10.])
    """
    name = "conv_transpose"
    xp, traits = inspect(name, x=x, w=w, b=b)
    geometry = read_geometry(name, x, w, stride, padding, output_padding, dilation, groups, layout)
    if b is not None:
        check_shape(name, "b", b, (geometry.channels,), "the output channels")
    wanted = x.dtype
    dtype, x, w, b = signed(xp, traits, wanted, x, w, b)
    sums = accumulator(xp, dtype)
    z = _run_input_grad.input_grad(
        to_channels_last(xp, x, layout), kernel_to_channels_last(xp, w, layout), geometry,
        lambda part: phase_plan(name, part, geometry, xp, traits, sums, dtype), xp, traits,
        sums=sums, dtype=dtype, layout=layout, b=b,
    )  # fmt: skip
    return with_dtype(xp, traits, from_channels_last(xp, z, layout), wanted)


def conv_transpose_vjp(
    dz: Array,
    x: Array,
    w: Array,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    layout: str = "channels_last",
) -> tuple[Array, Array, Array]:
    """Give all three gradients of a transposed convolution from the gradient of its output.

    ``(N, *out, F), (N, *spatial, C), (*kernel, F/G, C) -> (N, *spatial, C), (*kernel, F/G, C), (F,)``.

    Parameters
    ----------
    dz : array
        The gradient with respect to `conv_transpose`'s result, in its shape.
    x, w : array
        The images and kernels that `conv_transpose` had.
    stride, padding, output_padding, dilation, groups, layout
        As `conv_transpose` had them.

    Returns
    -------
    dx, dw, db : array
        Shaped as x, w and the bias; db is given whether or not there was a bias.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dz has not the shape of the output.
    TypeError
        The arrays differ in library, device or dtype, or are not numeric.

    Notes
    -----
    dx is the convolution of dz, dw the weight gradient of that convolution. Complex arrays are conjugated as in
    `conv_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x, w = np.ones((2, 4, 4, 3)), np.ones((3, 3, 5, 3))
    >>> dx, dw, db = xc.conv_transpose_vjp(np.ones((2, 9, 9, 5)), x, w, stride=2)
    >>> dx.shape, dw.shape, db.shape
    ((2, 4, 4, 3), (3, 3, 5, 3), (5,))
    """
    name = "conv_transpose_vjp"
    xp, traits = inspect(name, x=x, w=w, dz=dz)
    geometry = read_geometry(name, x, w, stride, padding, output_padding, dilation, groups, layout)
    check_shape(name, "dz", dz, in_layout(geometry.input_shape, layout), "the output")
    wanted = x.dtype
    dtype, dz, x, w = signed(xp, traits, wanted, dz, x, w)
    sums, is_complex = accumulator(xp, dtype), is_kind(xp, dtype, "complex floating")
    kernel = kernel_to_channels_last(xp, w, layout)
    grads, images = to_channels_last(xp, dz, layout), to_channels_last(xp, x, layout)
    dx = _run.correlate(
        grads, xp.conj(kernel) if is_complex else kernel, None, geometry,
        plan_for(name, "auto", geometry, xp, traits, sums, inputs=dtype), xp, traits, sums=sums, dtype=dtype,
        layout=layout,
    )  # fmt: skip
    dw = correlate_weight_grad(
        grads, images, geometry, plan_for(name, "auto", geometry, xp, traits, sums, gradient=True, inputs=dtype),
        xp, traits, sums=sums, each=xp.conj if is_complex else None,
    )  # fmt: skip
    if is_complex:
        dw = xp.conj(dw)
    db = channel_sum(grads, (geometry.batch, *geometry.input), xp, traits, sums)
    dw = contiguous(xp, kernel_from_channels_last(xp, cast(xp, dw, dtype), layout))
    found = (from_channels_last(xp, dx, layout), dw, cast(xp, db, dtype))
    dx, dw, db = (with_dtype(xp, traits, array, wanted) for array in found)
    return dx, dw, db
