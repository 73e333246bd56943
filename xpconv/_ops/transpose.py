"""Transposed convolution and its gradients: the adjoint of convolution as an operation of its own."""

from __future__ import annotations

from xpconv._arrays.call import Call
from xpconv._arrays.space import is_chunked
from xpconv._arrays.types import Array
from xpconv._chunks.blocks import by_blocks
from xpconv._convolution.bias_grad import bias_grad
from xpconv._convolution.correlate import correlate
from xpconv._convolution.input_grad import input_grad
from xpconv._convolution.weight_grad import weight_grad
from xpconv._plan.choose import choose, conjugate_size, copying
from xpconv._plan.input_grad import GradientPlan, choose_input_grad
from xpconv._shapes import read
from xpconv._shapes.geometry import Geometry
from xpconv._shapes.keywords import keywords
from xpconv._shapes.layout import in_layout
from xpconv._shapes.options import Layout, Padding, Size
from xpconv._shapes.read import Windowing


def choose_transpose(call: Call, geometry: Geometry) -> GradientPlan:
    """Plan a transposed convolution, which is the input gradient of the convolution with this geometry."""
    return choose_input_grad(call, geometry, "auto", phase_quarters=2 if len(geometry.phases) > 1 else 4)


@keywords
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
    layout: Layout = "channels_last",
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
    if is_chunked(x, w, b):
        return by_blocks(conv_transpose, locals())
    name = "conv_transpose"
    call = Call.of(name, x=x, w=w, b=b, layout=layout)
    asked = Windowing(stride, padding, dilation, groups, layout=layout, output_padding=output_padding)
    geometry = read.transpose(name, x.shape, w.shape, asked)
    if b is not None:
        read.whole(name, "b", b.shape, (geometry.channels,), "the output channels")
    plan = choose_transpose(call, geometry)
    return call.give(input_grad(call, plan, call.images(x), call.kernel(w), call.bias(b)))


@keywords
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
    layout: Layout = "channels_last",
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
    if is_chunked(dz, x, w):
        lazy: tuple[Array, Array, Array] = by_blocks(conv_transpose_vjp, locals())
        return lazy
    name = "conv_transpose_vjp"
    call = Call.of(name, x=x, w=w, dz=dz, layout=layout)
    asked = Windowing(stride, padding, dilation, groups, layout=layout, output_padding=output_padding)
    geometry = read.transpose(name, x.shape, w.shape, asked)
    read.whole(name, "dz", dz.shape, in_layout(geometry.input_shape, layout), "the output")
    grads, images = call.images(dz), call.images(x)
    kernel = call.kernel(w)
    plan = copying(call, choose(call, geometry, "auto"), "auto", conjugate_size(call, kernel))
    dx = correlate(call, plan, grads, kernel, conjugate=True)
    dw = weight_grad(call.conjugated(), choose(call, geometry, "auto", gradient=True), grads, images)
    db = bias_grad(call, grads, (geometry.batch, *geometry.input))
    return call.give(dx), call.give_kernel(call.conj_own(dw)), call.give_bias(db)
