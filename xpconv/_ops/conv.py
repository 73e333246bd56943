"""Convolution (cross-correlation, as deep learning has it) and its gradients, for any array library."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.call import Call
from xpconv._arrays.space import is_chunked
from xpconv._arrays.types import Array, DType
from xpconv._chunks.blocks import by_blocks
from xpconv._convolution import straight
from xpconv._convolution.bias_grad import bias_grad
from xpconv._convolution.correlate import correlate
from xpconv._convolution.input_grad import input_grad
from xpconv._convolution.weight_grad import weight_grad
from xpconv._plan.choose import choose
from xpconv._plan.input_grad import GradientPlan, choose_input_grad
from xpconv._plan.once import once
from xpconv._plan.record import Plan
from xpconv._shapes import read
from xpconv._shapes.errors import whole_shape
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._shapes.keywords import keywords
from xpconv._shapes.options import AlgorithmName, Layout, Padding, PaddingMode, Size
from xpconv._shapes.read import Windowing


@keywords
def conv(
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
        pixel, at most n - 1), ``"replicate"`` (the border pixel) or ``"circular"`` (the other end, round and round).
    layout : str
        ``"channels_last"`` (default) or ``"channels_first"``. It is w's layout too: PyTorch's weight, (F, C/G, kh, kw),
        belongs to ``"channels_first"``. Read as ``"channels_last"`` it is another kernel, which is an error only where
        its numbers do not fit.
    algorithm : str
        ``"auto"`` (default, the least predicted time; see `explain`), or one that is obeyed or refused: ``"direct"``,
        ``"gemm"``, ``"toeplitz"`` (several neighbouring outputs in one row of the product, for few channels),
        ``"winograd"`` (stride and dilation 1, kernels of up to 7 taps along an axis), ``"fft"`` (stride 1). These
        three serve floating and complex dtypes only. With them a NaN or an infinity stays in its windows on NumPy and
        on PyTorch's CPU tensors; elsewhere it can reach its whole tile, and ``"auto"`` does not take them. The last two
        are not exact on whole numbers and have a larger `error_bound`: their errors grow with the largest pixel of a
        tile, so that beside a pixel of 1e6 float32 results of other windows are off by about 1; ``"gemm"`` keeps them.
        ``"rows"`` (stride 1; CuPy only) multiplies windows where they lie, without a copy; ``"compiled"`` (float32 and
        float64 on NumPy, with Numba) runs in loops of its own, for thin layers, and ``"compiled_winograd"`` is
        ``"winograd"`` in such loops (two spatial axes, multiples of eight channels and filters).
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
    depend on the number of threads. It does depend on the shapes: an image alone and in a batch can differ in the last
    digits (within `error_bound`), since the plan and the library's products see another size. Where the same bits are
    wanted, give each image in a call of its own; whole numbers are exact with ``"direct"`` and ``"gemm"`` either way.
    Arrays of either byte order are taken, those of NumPy's subclasses as plain ones. Source: V. Dumoulin, F. Visin, "A
    guide to convolution arithmetic for deep learning", arXiv 1603.07285.

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
    if is_chunked(x, w, b):
        return by_blocks(conv, locals())
    call = Call.of("conv", x=x, w=w, b=b, layout=layout, dtype=dtype)
    asked = Windowing(stride, padding, dilation, groups, padding_mode, layout).frozen()
    plan = once(call, _plan, x.shape, w.shape, None if b is None else b.shape, asked, algorithm)
    return call.give(correlate(call, plan, call.images(x), call.kernel(w), call.bias(b)))


@keywords
def conv_input_grad(
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
    if is_chunked(dz, w):
        return by_blocks(conv_input_grad, locals())
    name = "conv_input_grad"
    call = Call.of(name, dz=dz, w=w, layout=layout, dtype=dtype)
    asked = Windowing(stride, padding, dilation, groups, padding_mode, layout).frozen()
    shapes = whole_shape(name, "input_shape", input_shape), w.shape, dz.shape
    return _input_grad(call, once(call, _plan_input_grad, ("input_shape", "w.shape"), *shapes, asked, algorithm), dz, w)


@keywords
def conv_weight_grad(
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
    if is_chunked(dz, x):
        return by_blocks(conv_weight_grad, locals())
    name = "conv_weight_grad"
    call = Call.of(name, x=x, dz=dz, layout=layout, dtype=dtype)
    asked = Windowing(stride, padding, dilation, groups, padding_mode, layout).frozen()
    shapes = x.shape, whole_shape(name, "kernel_shape", kernel_shape), dz.shape
    return _weight_grad(
        call, once(call, _plan_weight_grad, ("x.shape", "kernel_shape"), *shapes, asked, algorithm), dz, x
    )


@keywords
def conv_vjp(
    dz: Array,
    x: Array,
    w: Array,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
    algorithm: AlgorithmName = "auto",
    dtype: DType | None = None,
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
    if is_chunked(dz, x, w):
        lazy: tuple[Array, Array, Array] = by_blocks(conv_vjp, locals())
        return lazy
    name = "conv_vjp"
    call = Call.of(name, x=x, w=w, dz=dz, layout=layout, dtype=dtype)
    asked = Windowing(stride, padding, dilation, groups, padding_mode, layout).frozen()
    facts = ("x.shape", "w.shape"), x.shape, w.shape, dz.shape, asked, algorithm
    plans = once(call, _plan_input_grad, *facts), once(call, _plan_weight_grad, *facts)
    if straight.serves_images(call, plans[0]) and straight.serves(call, plans[1]):
        found = straight.gradients(call, plans, dz, x, w)
        if found is not None:
            db = call.give_bias(found[2]) if len(found) > 2 else gradient_of_bias(call, dz)
            return call.give(found[0]), call.give_kernel(found[1]), db
    dx, dw = _input_grad(call, plans[0], dz, w), _weight_grad(call, plans[1], dz, x)
    return dx, dw, gradient_of_bias(call, dz)


def _plan(call: Call, x_shape: Ints, w_shape: Ints, b_shape: Ints | None, asked: Windowing, algorithm: str) -> Plan:
    """Check the shapes and options of a convolution, and plan it."""
    geometry = read.conv(call.name, x_shape, w_shape, asked)
    if b_shape is not None:
        read.whole(call.name, "b", b_shape, (geometry.filters,), "the output channels")
    return choose(call, geometry, algorithm)


def _plan_input_grad(call: Call, names: tuple[str, str], *facts: Any) -> GradientPlan:
    geometry, algorithm = _gradient(call, names, *facts)
    return choose_input_grad(call, geometry, algorithm)


def _plan_weight_grad(call: Call, names: tuple[str, str], *facts: Any) -> Plan:
    geometry, algorithm = _gradient(call, names, *facts)
    return choose(call, geometry, algorithm, gradient=True)


def _gradient(
    call: Call, names: tuple[str, str], x_shape: Ints, w_shape: Ints, dz_shape: Ints, asked: Windowing, algorithm: str
) -> tuple[Geometry, str]:
    """Check the shapes and options of a gradient; `names` are those of the first two shapes."""
    geometry = read.conv(call.name, x_shape, w_shape, asked, names)
    read.gradient(call.name, "dz", dz_shape, geometry, asked.layout)
    return geometry, algorithm


def _input_grad(call: Call, plan: GradientPlan, dz: Array, w: Array) -> Array:
    return call.give(input_grad(call, plan, call.images(dz), call.kernel(w), conjugate=True))


def _weight_grad(call: Call, plan: Plan, dz: Array, x: Array) -> Array:
    return call.give_kernel(weight_grad(call.conjugated(), plan, call.images(x), call.images(dz)))


def gradient_of_bias(call: Call, dz: Array) -> Array:
    """Sum the gradient of an output over batch and pixels."""
    grads = call.images(dz)
    return call.give_bias(bias_grad(call, grads, tuple(grads.shape[:-1])))


def conv_in_tiles(x: Array, w: Array, b: Array, asked: Windowing, algorithm: str) -> Array:
    """Convolve in compact tiles, so that a block of the result can be computed by itself, to the bit."""
    call = Call.of("conv", x=x, w=w, b=b, layout=asked.layout)
    geometry = read.conv("conv", x.shape, w.shape, asked)
    read.whole("conv", "b", b.shape, (geometry.filters,), "the output channels")
    plan = choose(call, geometry, algorithm, compact=True)
    return call.give(correlate(call, plan, call.images(x), call.kernel(w), call.bias(b)))


def mixed_conv(x: Array, w: Array, b: Array, dtype: DType, stride: Size, padding: Padding) -> Array:
    """Convolve NumPy arrays of several dtypes in a floating one that holds them all, converted tile by tile."""
    call = Call.mixed("conv", dtype, x=x, w=w)
    geometry = read.conv("conv", x.shape, w.shape, Windowing(stride, padding))
    return call.give(correlate(call, choose(call, geometry, "auto"), x, w, b))


def mixed_conv_vjp(
    dz: Array, x: Array, w: Array, dtype: DType, stride: Size, padding: Padding
) -> tuple[Array, Array, Array]:
    """Give the gradients of `mixed_conv`, converted tile by tile."""
    call = Call.mixed("conv_vjp", dtype, x=x, w=w, dz=dz)
    geometry = read.conv("conv_vjp", x.shape, w.shape, Windowing(stride, padding))
    read.gradient("conv_vjp", "dz", dz.shape, geometry, "channels_last")
    dx = input_grad(call, choose_input_grad(call, geometry, "auto"), dz, w, conjugate=True)
    dw = weight_grad(call.conjugated(), choose(call, geometry, "auto", gradient=True), x, dz)
    return call.give(dx), call.give_kernel(dw), call.give_bias(bias_grad(call, dz, tuple(dz.shape[:-1])))
