"""Convolution and transposed convolution."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from xpconv.verify.catalogue.cases import CONV, TRANSPOSE
from xpconv.verify.catalogue.operation import Adjoint, Array, Arrays, Call, Name, Operation, keywords
from xpconv.verify.catalogue.setups import Conv, Transpose
from xpconv.verify.definition import reference

X, W, B, DZ = map(Name, ("x", "w", "b", "dz"))


def conv(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define z; the bias is a product of one array, in the units of two."""
    z = reference.conv(s.last(a["x"]), s.kernel_last(a["w"]), s.windows, s.groups)
    bias = a.get("b", a.get("b4"))
    return (s.back(z if bias is None else z + bias.reshape(-1) * one),)


def conv_input_grad(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define dx."""
    w = np.conj(s.kernel_last(a["w"]))
    return (s.back(reference.conv_input_grad(s.last(a["dz"]), w, s.windows, s.groups)),)


def conv_weight_grad(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define dw."""
    x = np.conj(s.last(a["x"]))
    return (s.kernel_back(reference.conv_weight_grad(s.last(a["dz"]), x, s.windows, s.groups)),)


def conv_vjp(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define dx, dw, db."""
    return *conv_input_grad(s, a, one), *conv_weight_grad(s, a, one), reference.bias_grad(s.last(a["dz"]))


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


def _affine(function: str) -> Callable[[Conv, str], Call]:
    return lambda s, algorithm: Call(function, (X, W, B) if s.bias else (X, W), keywords(s, algorithm))


def _linear(s: Conv, algorithm: str) -> Call:
    return Call("conv", (X, W), keywords(s, algorithm))


CONVOLUTION = (
    Operation(
        "conv", CONV, ("z",),
        _affine("conv"), conv, steps=conv_steps, degrees=(2,), linear=("x", "w", "b"), algorithms=True,
        promise=_affine("error_bound"),
    ),
    Operation(
        "conv_input_grad", CONV, ("dx",),
        lambda s, algorithm: Call("conv_input_grad", (DZ, W, s.shape("x")), keywords(s, algorithm)),
        conv_input_grad, steps=lambda s: vjp_steps(s)[:1], degrees=(2,), linear=("dz", "w"), algorithms=True,
        adjoint=Adjoint(_linear, "dz", (("x", 0),)),
    ),
    Operation(
        "conv_weight_grad", CONV, ("dw",),
        lambda s, algorithm: Call("conv_weight_grad", (DZ, X, s.shape("w")), keywords(s, algorithm)),
        conv_weight_grad, steps=lambda s: vjp_steps(s)[1:2], degrees=(2,), linear=("dz", "x"), algorithms=True,
        adjoint=Adjoint(_linear, "dz", (("w", 0),)),
    ),
    Operation(
        "conv_vjp", CONV, ("dx", "dw", "db"),
        lambda s, algorithm: Call("conv_vjp", (DZ, X, W), keywords(s, algorithm)),
        conv_vjp, steps=vjp_steps, degrees=(2, 2, 1), linear=("dz", "x", "w"), algorithms=True,
        adjoint=Adjoint(_linear, "dz", (("x", 0), ("w", 1))),
    ),
)  # fmt: skip


# --- transposed -----------------------------------------------------------------------------------


def conv_transpose(s: Transpose, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define z: the gradient of a convolution's images, and the bias."""
    z = reference.conv_input_grad(s.last(a["x"]), s.kernel_last(a["w"]), s.windows, s.groups)
    return (s.back(z if "b" not in a else z + a["b"] * one),)


def conv_transpose_vjp(s: Transpose, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define dx, dw, db."""
    x, w, dz = s.last(a["x"]), s.kernel_last(a["w"]), s.last(a["dz"])
    dx = reference.conv(dz, np.conj(w), s.windows, s.groups)
    dw = reference.conv_weight_grad(np.conj(x), dz, s.windows, s.groups)
    return s.back(dx), s.kernel_back(dw), reference.bias_grad(dz)


def transpose_steps(s: Transpose) -> tuple[int, ...]:
    """Count for z: kernel taps times input channels of a group, and the bias."""
    return (s.windows.taps * (s.channels // s.groups) + s.bias,)


def transpose_vjp_steps(s: Transpose) -> tuple[int, ...]:
    """Count for dx: kernel taps times output channels of a group; for dw and db: pixels of the batch, of the result."""
    pixels, result = (s.batch * math.prod(size) for size in (s.size, s.windows.size))
    return s.windows.taps * (s.filters // s.groups), pixels, result


TRANSPOSED = (
    Operation(
        "conv_transpose", TRANSPOSE, ("z",),
        lambda s, _: Call("conv_transpose", (X, W, B) if s.bias else (X, W), keywords(s)),
        conv_transpose, steps=transpose_steps, degrees=(2,), linear=("x", "w", "b"),
    ),
    Operation(
        "conv_transpose_vjp", TRANSPOSE, ("dx", "dw", "db"),
        lambda s, _: Call("conv_transpose_vjp", (DZ, X, W), keywords(s)),
        conv_transpose_vjp, steps=transpose_vjp_steps, degrees=(2, 2, 1), linear=("dz", "x", "w"),
        adjoint=Adjoint(lambda s, _: Call("conv_transpose", (X, W), keywords(s)), "dz", (("x", 0), ("w", 1))),
    ),
)  # fmt: skip
