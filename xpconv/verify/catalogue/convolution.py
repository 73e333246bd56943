"""Convolution and transposed convolution."""

from __future__ import annotations

import math
from operator import methodcaller

import numpy as np

from xpconv.verify.catalogue.cases import CONV, TRANSPOSE
from xpconv.verify.catalogue.operation import Adjoint, Arrays, Asks, Call, Name, Operation, Sums, asks, keywords
from xpconv.verify.catalogue.setups import Conv, Transpose
from xpconv.verify.definition import convolution as definition
from xpconv.verify.definition.windows import Array

X, W, B, DZ = map(Name, ("x", "w", "b", "dz"))
INPUT_SHAPE, KERNEL_SHAPE = (methodcaller("shape", role) for role in ("x", "w"))


def conv(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define z; the bias is a product of one array, in the units of two."""
    z = definition.conv(a["x"], a["w"], s.windows, s.groups)
    bias = a.get("b", a.get("b4"))
    return (z if bias is None else z + bias.reshape(-1) * one,)


def conv_input_grad(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define dx."""
    return (definition.conv_input_grad(a["dz"], np.conj(a["w"]), s.windows, s.groups),)


def conv_weight_grad(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define dw."""
    return (definition.conv_weight_grad(a["dz"], np.conj(a["x"]), s.windows, s.groups),)


def conv_vjp(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define dx, dw, db."""
    return *conv_input_grad(s, a, one), *conv_weight_grad(s, a, one), definition.bias_grad(a["dz"])


# Each product is rounded once and then passes at most n - 1 additions, in whatever order the n products of a result are
# summed, so it goes through at most n roundings; a bias is one more addition.


def conv_steps(s: Conv) -> tuple[int, ...]:
    """Count for z: kernel taps times input channels of a group, and the bias."""
    return (s.windows.taps * (s.channels // s.groups) + s.bias,)


def vjp_steps(s: Conv) -> tuple[int, ...]:
    """Count for dx: kernel taps times output channels of a group; for dw and db: output pixels of the batch."""
    # with a padding mode a pixel may stand for several of the padding
    readers = s.windows.taps if s.padding_mode == "zeros" else max(s.windows.readers, s.windows.taps)
    return readers * (s.filters // s.groups), s.positions, s.positions


def _affine(function: str) -> Asks:
    with_bias, without = asks(function, X, W, B), asks(function, X, W)
    return lambda s, algorithm: (with_bias if s.bias else without)(s, algorithm)


def _prepared(s: Conv, algorithm: str) -> Call:
    arguments = (W, B) if s.bias else (W,)
    return Call("prepare_conv", arguments, keywords(s, algorithm, input_shape=s.shape("x")), then=(X,))


CONVOLUTION = (
    Operation(
        name="conv",
        table=CONV,
        results=("z",),
        call=_affine("conv"),
        define=conv,
        sums=Sums(("x", "w", "b"), conv_steps, degrees=(2,)),
        algorithms=True,
        promise=_affine("error_bound"),
    ),
    Operation(
        name="prepare_conv",
        table=CONV,
        results=("z",),
        call=_prepared,
        define=conv,
        sums=Sums(("x", "w", "b"), conv_steps, degrees=(2,)),
        algorithms=True,
        promise=_affine("error_bound"),
    ),
    Operation(
        name="conv_input_grad",
        table=CONV,
        results=("dx",),
        call=asks("conv_input_grad", DZ, W, INPUT_SHAPE),
        define=conv_input_grad,
        sums=Sums(("dz", "w"), lambda s: vjp_steps(s)[:1], degrees=(2,)),
        algorithms=True,
        adjoint=Adjoint(asks("conv", X, W), "dz", (("x", 0),)),
    ),
    Operation(
        name="conv_weight_grad",
        table=CONV,
        results=("dw",),
        call=asks("conv_weight_grad", DZ, X, KERNEL_SHAPE),
        define=conv_weight_grad,
        sums=Sums(("dz", "x"), lambda s: vjp_steps(s)[1:2], degrees=(2,)),
        algorithms=True,
        adjoint=Adjoint(asks("conv", X, W), "dz", (("w", 0),)),
    ),
    Operation(
        name="conv_vjp",
        table=CONV,
        results=("dx", "dw", "db"),
        call=asks("conv_vjp", DZ, X, W),
        define=conv_vjp,
        sums=Sums(("dz", "x", "w"), vjp_steps, degrees=(2, 2, 1)),
        algorithms=True,
        adjoint=Adjoint(asks("conv", X, W), "dz", (("x", 0), ("w", 1))),
    ),
)

# --- transposed -----------------------------------------------------------------------------------


def conv_transpose(s: Transpose, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define z: the gradient of a convolution's images, and the bias."""
    z = definition.conv_input_grad(a["x"], a["w"], s.windows, s.groups)
    return (z if "b" not in a else z + a["b"] * one,)


def conv_transpose_vjp(s: Transpose, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define dx, dw, db."""
    dx = definition.conv(a["dz"], np.conj(a["w"]), s.windows, s.groups)
    dw = definition.conv_weight_grad(np.conj(a["x"]), a["dz"], s.windows, s.groups)
    return dx, dw, definition.bias_grad(a["dz"])


def transpose_steps(s: Transpose) -> tuple[int, ...]:
    """Count for z: kernel taps times input channels of a group, and the bias."""
    return (s.windows.taps * (s.channels // s.groups) + s.bias,)


def transpose_vjp_steps(s: Transpose) -> tuple[int, ...]:
    """Count for dx: kernel taps times output channels of a group; for dw and db: pixels of the batch, of the result."""
    pixels, result = (s.batch * math.prod(size) for size in (s.size, s.windows.size))
    return s.windows.taps * (s.filters // s.groups), pixels, result


TRANSPOSED = (
    Operation(
        name="conv_transpose",
        table=TRANSPOSE,
        results=("z",),
        call=_affine("conv_transpose"),
        define=conv_transpose,
        sums=Sums(("x", "w", "b"), transpose_steps, degrees=(2,)),
    ),
    Operation(
        name="conv_transpose_vjp",
        table=TRANSPOSE,
        results=("dx", "dw", "db"),
        call=asks("conv_transpose_vjp", DZ, X, W),
        define=conv_transpose_vjp,
        sums=Sums(("dz", "x", "w"), transpose_vjp_steps, degrees=(2, 2, 1)),
        adjoint=Adjoint(asks("conv_transpose", X, W), "dz", (("x", 0), ("w", 1))),
    ),
)
