"""The general operations: convolution, pooling, padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpconv.verify import reference
from xpconv.verify.cases import CONV, PAD, POOL, Conv, Pad, Pool
from xpconv.verify.operation import Adjoint, Array, Arrays, Call, Define, Name, Operation, keywords

X, W, B, DZ, DY = map(Name, ("x", "w", "b", "dz", "dy"))

# --- convolution ----------------------------------------------------------------------------------


def conv(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define z; the bias is a product of one array, in the units of two."""
    z = reference.conv(s.last(a["x"]), s.kernel_last(a["w"]), s.windows, s.groups)
    bias = a.get("b", a.get("b4"))
    return (s.back(z if bias is None else z + bias.reshape(-1) * one),)


def conv_input_grad(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define dx."""
    return (s.back(reference.conv_input_grad(s.last(a["dz"]), s.kernel_last(a["w"]), s.windows, s.groups)),)


def conv_weight_grad(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define dw."""
    return (s.kernel_back(reference.conv_weight_grad(s.last(a["dz"]), s.last(a["x"]), s.windows, s.groups)),)


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
    return s.windows.taps * (s.filters // s.groups), s.positions, s.positions


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

# --- pooling --------------------------------------------------------------------------------------

MAX_KINDS = ("whole", "nan", "equal", "infinite")


def max_pool(s: Pool, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define the maxima and their places."""
    y, where = reference.max_pool(s.last(a["x"]), s.windows)
    return s.back(y), s.back(where)


def max_pool_vjp(rule: str) -> Define:
    """Define dx for a rule for ties."""
    return lambda s, a, one: (s.back(reference.max_pool_vjp(s.last(a["dy"]), s.last(a["x"]), s.windows, rule)),)


def avg_pool(padded: bool = True) -> Define:
    """Define the averages."""
    return lambda s, a, one: (s.back(reference.avg_pool(s.last(a["x"]), s.windows, padded)),)


def avg_pool_vjp(padded: bool = True) -> Define:
    """Define dx of the averages."""
    return lambda s, a, one: (s.back(reference.avg_pool_vjp(s.last(a["dy"]), s.windows, padded)),)


def taps(s: Pool) -> tuple[int, ...]:
    """Count roundings: a window has that many pixels, and a pixel lies in no more windows than a window has taps.

    A division stands where a product has its multiplication. It counts twice: a compiler may multiply with the rounded
    reciprocal instead (JAX's does).
    """
    return (s.windows.taps + 1,)


def powers_of_two(numbers: Array) -> bool:
    """Say whether dividing by these numbers is exact on every backend, with the reciprocal too."""
    return not np.any(numbers & (numbers - 1))


def _lcm(counts: Array) -> int:
    return int(np.lcm.reduce(counts.ravel(), initial=1))


def _max_vjp(rule: str) -> Operation:
    return Operation(
        "max_pool_vjp", POOL, ("dx",),
        lambda s, _: Call("max_pool_vjp", (DY, X, s.window), keywords(s, ties=rule)),
        max_pool_vjp(rule), rule, steps=taps, linear=("dy",),
        kinds=MAX_KINDS[:3] if rule == "split" else MAX_KINDS,
        scaled=("dy",) if rule == "split" else (),
        unit=(lambda s, a: _lcm(reference.ties(s.last(a["x"]), s.windows))) if rule == "split" else None,
        # each maximum counted once; with "all" the gradient is not that of the maximum where there are ties
        adjoint=None if rule == "all" else Adjoint(
            lambda s, _: Call("max_pool", (X, s.window), keywords(s)), "dy", (("x", 0),)
        ),
    )  # fmt: skip


def _averages(padded: bool) -> tuple[Operation, ...]:
    variant = "" if padded else "count-inside"

    def options(s: Pool) -> dict[str, Any]:
        return keywords(s) if padded else keywords(s, count_include_pad=False)

    forward = lambda s, _: Call("avg_pool", (X, s.window), options(s))  # noqa: E731
    unit = lambda s, a: _lcm(reference.counts(s.windows, padded))  # noqa: E731
    even = lambda s: powers_of_two(reference.counts(s.windows, padded))  # noqa: E731
    return (
        Operation(
            "avg_pool", POOL, ("y",), forward, avg_pool(padded), variant, steps=taps, linear=("x",),
            scaled=("x",), unit=unit, even=even,
        ),
        Operation(
            "avg_pool_vjp", POOL, ("dx",),
            lambda s, _: Call("avg_pool_vjp", (DY, s.shape("x"), s.window), options(s)),
            avg_pool_vjp(padded), variant, steps=taps, linear=("dy",), scaled=("x", "dy"), unit=unit, even=even,
            adjoint=Adjoint(forward, "dy", (("x", 0),)),
        ),
    )  # fmt: skip


POOLING = (
    Operation(
        "max_pool", POOL, ("y", "indices"),
        lambda s, _: Call("max_pool", (X, s.window), keywords(s, return_indices=True)),
        max_pool, "indices", dtypes=("same", "index"), kinds=(*MAX_KINDS, "signed"),
    ),
    Operation(
        "max_pool", POOL, ("y",), lambda s, _: Call("max_pool", (X, s.window), keywords(s)),
        lambda s, a, one: max_pool(s, a, one)[:1], kinds=MAX_KINDS,
    ),
    *map(_max_vjp, ("first", "all", "split")),
    *_averages(True),
    *_averages(False),
)  # fmt: skip

# --- padding --------------------------------------------------------------------------------------


def pad(s: Pad, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define the padded images."""
    return (s.back(reference.pad(s.last(a["x"]), s.pads)),)


PADDING = (
    Operation("pad", PAD, ("y",), lambda s, _: Call("pad", (X, s.padding), keywords(s)), pad),
)  # fmt: skip
