"""Convolution (cross-correlation, as deep learning has it) and its gradients, for any array library."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.dtypes import signed, with_dtype
from xpconv._arrays.space import (
    accumulator,
    from_channels_last,
    inspect,
    kernel_to_channels_last,
    result_dtype,
    to_channels_last,
)
from xpconv._convolution.passes import bias_grad, input_grad, plan_for, weight_grad
from xpconv._engine import jobs as _run
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._shapes.read import conv_geometry, freeze, in_layout, whole_shape

Array = Any
Size = int | tuple[int, ...]
Padding = int | str | tuple[int, ...] | tuple[tuple[int, int], ...]


def read_geometry(
    function: str, x_shape: Any, w_shape: Any, stride: Any, padding: Any, dilation: Any, groups: Any,
    padding_mode: Any, layout: Any, names: tuple[str, str] = ("x.shape", "w.shape"),
) -> Geometry:  # fmt: skip
    """Read the shapes and options of a convolution."""
    return conv_geometry(
        function, whole_shape(function, names[0], x_shape), whole_shape(function, names[1], w_shape), freeze(stride),
        freeze(padding), freeze(dilation), freeze(groups), freeze(padding_mode), freeze(layout), names,
    )  # fmt: skip


def check_shape(function: str, name: str, array: Array, wanted: Ints, why: str) -> None:
    """Check an array's whole shape."""
    if tuple(array.shape) != wanted:
        raise ValueError(f"{function}: {name} has the shape of {why}, {wanted}; got {name}.shape={tuple(array.shape)}")


def conv(
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
    """Convolve a batch of images (1, 2 or 3 spatial axes) with a bank of kernels.

    ``(N, *spatial, C), (*kernel, C/G, F), (F,) -> (N, *out, F)``, in ``channels_first``
    ``(N, C, *spatial), (F, C/G, *kernel), (F,) -> (N, F, *out)``.

    Parameters
    ----------
    x : array
        The images. N may be 0, no other axis may be empty.
    w : array
        The kernels, of x's library, device and dtype.
    b : array, optional
        The bias, one number for each output channel.
    stride, dilation : int or one per spatial axis
        Pixels between neighbouring windows (1) and between neighbouring taps (1).
    padding : int, ints, pairs or str
        Pixels added before and after each spatial axis (0): an integer, one per axis, a (before, after) pair per axis,
        ``"valid"`` (none), ``"same"`` (output ceil(n / stride), an odd pixel after), ``"same_lower"`` (before) or
        ``"causal"`` (all before).
    groups : int
        Output channels f of group g see the input channels of group g only (1).
    padding_mode : str
        What the padding holds: ``"zeros"`` (default), or pixels of the image: ``"reflect"`` (mirrored at the border
        pixel, at most n - 1), ``"replicate"`` (the border pixel) or ``"circular"`` (the other end, at most n).
    layout : str
        ``"channels_last"`` (default) or ``"channels_first"``.
    algorithm : str
        ``"auto"`` (default, the least predicted time; see `explain`), or one that is obeyed or refused: ``"direct"``,
        ``"gemm"``, ``"toeplitz"`` (several neighbouring outputs in one row of the product, for few channels),
        ``"winograd"`` (stride and dilation 1, kernels of up to 7 taps along an axis), ``"fft"`` (stride 1). The last
        three serve floating and complex dtypes only. With them a NaN or an infinity stays in its windows on NumPy and
        on PyTorch's CPU tensors; elsewhere it can reach its whole tile, and ``"auto"`` does not take them. The last two
        are not exact on whole numbers and have a larger `error_bound`.
    dtype : dtype or str, optional
        Dtype of the sums and of the result, if wider than x's.

    Returns
    -------
    array
        In the library, on the device and with the dtype of x, or in `dtype`. Each spatial axis has
        ``(n + before + after - dilation * (kernel - 1) - 1) // stride + 1`` pixels.

    Raises
    ------
    ValueError
        A shape or an option is unfit, the named algorithm does not serve the case, or one pixel's work does not fit in
        ``max_workspace``.
    TypeError
        The arrays differ in library, device or dtype, or are not numeric.

    Notes
    -----
    ``z[n, o, f] = b[f] + sum over k, c of x[n, o * stride + k * dilation - before, c] * w[k, c, f]``: the kernel is not
    flipped. 16-bit floating types are summed in float32, integers exactly, wrapping as NumPy's do. On NumPy a call
    has at most ``max_workspace`` bytes of work memory beside its result (see `set_options`). The result does not
    depend on the number of threads. Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep
    learning", arXiv 1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> w = np.ones((3, 3, 1, 1))
    >>> xc.conv(x, w)[0, :, :, 0]
    array([[45., 54.],
           [81., 90.]])
    >>> xc.conv(x, w, padding="same", stride=2).shape
    (1, 2, 2, 1)

    """
    xp, traits = inspect("conv", x=x, w=w, b=b)
    geometry = read_geometry("conv", x.shape, w.shape, stride, padding, dilation, groups, padding_mode, layout)
    if b is not None:
        check_shape("conv", "b", b, (geometry.filters,), "the output channels")
    wanted = result_dtype("conv", xp, x.dtype, dtype)
    dtype, x, w, b = signed(xp, traits, wanted, x, w, b)
    sums = accumulator(xp, dtype)
    z = _run.correlate(
        to_channels_last(xp, x, layout), kernel_to_channels_last(xp, w, layout), b, geometry,
        plan_for("conv", algorithm, geometry, xp, traits, sums, inputs=x.dtype), xp, traits, sums=sums, dtype=dtype,
        layout=layout,
    )  # fmt: skip
    return with_dtype(xp, traits, from_channels_last(xp, z, layout), wanted)


def conv_input_grad(
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
    """Give the gradient of a convolution's input from the gradient of its output.

    ``(N, *out, F), (*kernel, C/G, F) -> (N, *spatial, C)``, the adjoint of ``x -> conv(x, w)``.

    Parameters
    ----------
    dz : array
        The gradient with respect to `conv`'s result, in its shape.
    w : array
        The kernels that `conv` had.
    input_shape : tuple of int
        The whole shape of `conv`'s x, in the given layout.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, dtype
        As `conv` had them.

    Returns
    -------
    array
        dx, of `input_shape`, in the library, on the device and with the dtype of dz, or in `dtype`.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dz has not the shape of the output.
    TypeError
        The arrays differ in library, device or dtype, or are not numeric.

    Notes
    -----
    Input pixels are taken by their residue modulo the stride; those of one residue receive a stride-1 correlation of
    dz with every stride-th tap, flipped, so no zeros are put between the pixels of dz. On NumPy ``"auto"`` may instead
    multiply dz with all taps in one product and add up what overlaps (col2im), where that is predicted to take less
    time; a named algorithm goes by residues. Complex kernels are conjugated, as in PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> dz = np.ones((1, 2, 1))
    >>> w = np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)
    >>> xc.conv_input_grad(dz, w, (1, 5, 1), stride=2)[0, :, 0]
    array([  1.,  10., 101.,  10., 100.])

    """
    name = "conv_input_grad"
    xp, traits = inspect(name, dz=dz, w=w)
    geometry = read_geometry(
        name, input_shape, w.shape, stride, padding, dilation, groups, padding_mode, layout, ("input_shape", "w.shape")
    )
    check_shape(name, "dz", dz, in_layout(geometry.output_shape, layout), "the output")
    dtype = result_dtype(name, xp, dz.dtype, dtype)
    return input_grad(name, dz, w, geometry, xp, traits, algorithm=algorithm, dtype=dtype, layout=layout)


def conv_weight_grad(
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
    """Give the gradient of a convolution's kernels from the gradient of its output.

    ``(N, *out, F), (N, *spatial, C) -> (*kernel, C/G, F)``, the adjoint of ``w -> conv(x, w)``.

    Parameters
    ----------
    dz : array
        The gradient with respect to `conv`'s result, in its shape.
    x : array
        The images that `conv` had.
    kernel_shape : tuple of int
        The whole shape of `conv`'s w, in the given layout.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, dtype
        As `conv` had them.

    Returns
    -------
    array
        dw, of `kernel_shape`, in the library, on the device and with the dtype of x, or in `dtype`.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dz has not the shape of the output.
    TypeError
        The arrays differ in library, device or dtype, or are not numeric.

    Notes
    -----
    Sums over pixels are taken in a fixed number of partial sums in a fixed order, so the bits do not depend on the
    number of threads. Complex images are conjugated, as in PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x = np.arange(5.0).reshape(1, 5, 1)
    >>> xc.conv_weight_grad(np.ones((1, 3, 1)), x, (3, 1, 1))[:, 0, 0]
    array([3., 6., 9.])

    """
    name = "conv_weight_grad"
    xp, traits = inspect(name, x=x, dz=dz)
    geometry = read_geometry(
        name, x.shape, kernel_shape, stride, padding, dilation, groups, padding_mode, layout,
        ("x.shape", "kernel_shape"),
    )  # fmt: skip
    check_shape(name, "dz", dz, in_layout(geometry.output_shape, layout), "the output")
    dtype = result_dtype(name, xp, x.dtype, dtype)
    return weight_grad(name, dz, x, geometry, xp, traits, algorithm=algorithm, dtype=dtype, layout=layout)


def conv_vjp(
    dz: Array,
    x: Array,
    w: Array,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "channels_last",
    algorithm: str = "auto",
    dtype: Any = None,
) -> tuple[Array, Array, Array]:
    """Give all three gradients of a convolution from the gradient of its output.

    ``(N, *out, F), (N, *spatial, C), (*kernel, C/G, F) -> (N, *spatial, C), (*kernel, C/G, F), (F,)``.

    Parameters
    ----------
    dz : array
        The gradient with respect to `conv`'s result, in its shape.
    x, w : array
        The images and kernels that `conv` had.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, dtype
        As `conv` had them.

    Returns
    -------
    dx, dw, db : array
        Shaped as x, w and the bias; db is given whether or not `conv` had a bias.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dz has not the shape of the output.
    TypeError
        The arrays differ in library, device or dtype, or are not numeric.

    Notes
    -----
    The three are `conv_input_grad`, `conv_weight_grad` and the sum of dz over batch and pixels.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x, w = np.ones((2, 5, 5, 3)), np.ones((3, 3, 3, 4))
    >>> dx, dw, db = xc.conv_vjp(np.ones((2, 3, 3, 4)), x, w)
    >>> dx.shape, dw.shape, db
    ((2, 5, 5, 3), (3, 3, 3, 4), array([18., 18., 18., 18.]))

    """
    name = "conv_vjp"
    xp, traits = inspect(name, x=x, w=w, dz=dz)
    geometry = read_geometry(name, x.shape, w.shape, stride, padding, dilation, groups, padding_mode, layout)
    check_shape(name, "dz", dz, in_layout(geometry.output_shape, layout), "the output")
    dtype = result_dtype(name, xp, x.dtype, dtype)
    dx = input_grad(name, dz, w, geometry, xp, traits, algorithm=algorithm, dtype=dtype, layout=layout)
    dw = weight_grad(name, dz, x, geometry, xp, traits, algorithm=algorithm, dtype=dtype, layout=layout)
    return dx, dw, bias_grad(dz, xp, traits, dtype, layout)
