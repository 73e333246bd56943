"""The eight functions of the course, with its names and caches."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from xpconv.verify.catalogue import convolution as operations
from xpconv.verify.catalogue import copies as windows
from xpconv.verify.catalogue import pooling
from xpconv.verify.catalogue.cases import COURSE_CONV, COURSE_PAD, COURSE_POOL, COURSE_SHARE, COURSE_WINDOW
from xpconv.verify.catalogue.operation import Adjoint, Array, Arrays, Call, Name, Operation
from xpconv.verify.catalogue.setups import Conv, Pool, Window
from xpconv.verify.definition import reference

A_PREV, W, BIAS, DZ, DA = map(Name, ("A_prev", "W", "b", "dZ", "dA"))


ROLES = {
    "A_prev": "x", "a_slice_prev": "x", "X": "x", "W": "w", "b": "b4", "dZ": "dz", "dA": "dy",
}  # fmt: skip


def _conv_hparameters(s: Conv) -> dict[str, int]:
    return {"stride": s.stride, "pad": s.padding}


def _pool_hparameters(s: Pool) -> dict[str, int]:
    return {"f": s.window, "stride": s.stride}


def _conv_backward(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    dx, dw, db = operations.conv_vjp(s, a, one)
    return dx, dw, db.reshape(s.shape("b4"))


CONVOLUTION = (
    Operation(
        "conv_forward", COURSE_CONV, ("Z",),
        lambda s, _: Call("conv_forward", (A_PREV, W, BIAS, _conv_hparameters(s))),
        operations.conv, steps=operations.conv_steps, degrees=(2,), linear=("x", "w", "b4"), cached=True,
    ),
    Operation(
        "conv_backward", COURSE_CONV, ("dA_prev", "dW", "db"),
        lambda s, _: Call("conv_backward", (DZ, (A_PREV, W, BIAS, _conv_hparameters(s)))),
        _conv_backward, steps=operations.vjp_steps, degrees=(2, 2, 1), linear=("dz", "x", "w"),
        adjoint=Adjoint(
            lambda s, _: Call("conv", (A_PREV, W), {"stride": s.stride, "padding": s.padding}),
            "dZ", (("A_prev", 0), ("W", 1)),
        ),
    ),
)  # fmt: skip


def _pooling(mode: str) -> tuple[Operation, ...]:
    average = mode == "average"
    forward = lambda s, _: Call("pool_forward", (A_PREV, _pool_hparameters(s)), {"mode": mode})  # noqa: E731
    unit: Any = (lambda s, a: s.windows.taps) if average else None
    even: Any = (lambda s: pooling.powers_of_two(np.array(s.windows.taps))) if average else None
    return (
        Operation(
            "pool_forward", COURSE_POOL, ("A",), forward,
            pooling.avg_pool() if average else lambda s, a, one: pooling.max_pool(s, a, one)[:1], mode,
            steps=pooling.taps if average else None, linear=("x",), cached=True,
            kinds=("whole",) if average else pooling.MAX_KINDS, scaled=("x",) if average else (), unit=unit,
            even=even,
        ),
        Operation(
            "pool_backward", COURSE_POOL, ("dA_prev",),
            lambda s, _: Call("pool_backward", (DA, (A_PREV, _pool_hparameters(s))), {"mode": mode}),
            pooling.avg_pool_vjp() if average else pooling.max_pool_vjp("all"), mode,
            steps=pooling.taps, linear=("dy",), kinds=("whole",) if average else pooling.MAX_KINDS,
            scaled=("x", "dy") if average else (), unit=unit, even=even,
            adjoint=Adjoint(
                lambda s, _: Call("avg_pool", (A_PREV, s.window), {"stride": s.stride}), "dA", (("A_prev", 0),)
            ) if average else None,
        ),
    )  # fmt: skip


def _single_step(s: Window, a: Arrays, one: int) -> tuple[Array, ...]:
    return (np.sum(a["x"] * a["w"], keepdims=True).reshape(()) + a["b4"].reshape(()) * one,)


def _mask(s: Window, a: Arrays, one: int) -> tuple[Array, ...]:
    return (a["x"] == np.max(a["x"]),)


def _share(s: Window, a: Arrays, one: int) -> tuple[Array, ...]:
    return (reference.divide(np.broadcast_to(a["dz"], s.size), np.array(math.prod(s.size))),)


STEPS = (
    Operation(
        "zero_pad", COURSE_PAD, ("padded",), lambda s, _: Call("zero_pad", (Name("X"), s.padding)),
        windows.pad,
    ),
    Operation(
        "conv_single_step", COURSE_WINDOW, ("z",),
        lambda s, _: Call("conv_single_step", (Name("a_slice_prev"), W, BIAS)),
        _single_step, steps=lambda s: (math.prod(s.size) + 1,), degrees=(2,), linear=("x", "w", "b4"),
    ),
    Operation(
        "create_mask_from_window", COURSE_WINDOW, ("mask",),
        lambda s, _: Call("create_mask_from_window", (Name("x"),)), _mask, dtypes=("bool",),
        kinds=("whole", "equal", "signed"),
    ),
    Operation(
        "distribute_value", COURSE_SHARE, ("shares",),
        lambda s, _: Call("distribute_value", (Name("dz"), s.size)), _share, steps=lambda s: (2,), linear=("dz",),
        scaled=("dz",), unit=lambda s, a: math.prod(s.size),
        even=lambda s: pooling.powers_of_two(np.array(math.prod(s.size))),
    ),
)  # fmt: skip

COURSE = tuple(
    replace(operation, roles=ROLES, takes=operation.takes if operation.name == "zero_pad" else ("float",))
    for operation in (*STEPS, *CONVOLUTION, *_pooling("max"), *_pooling("average"))
)  # fmt: skip
