"""The eight functions of the course, with its names and caches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np

from xpconv.verify.catalogue import convolution, pooling
from xpconv.verify.catalogue.cases import COURSE_AREA, COURSE_CONV, COURSE_PAD, COURSE_POOL, COURSE_WINDOW
from xpconv.verify.catalogue.operation import (
    Adjoint,
    Arrays,
    Multiples,
    Name,
    Operation,
    Sums,
    always,
    asks,
    asks_plainly,
)
from xpconv.verify.catalogue.setups import Conv, Pool, Window
from xpconv.verify.definition import copies, course
from xpconv.verify.definition.windows import Array

A_PREV, W, BIAS, DZ, DA = map(Name, ("A_prev", "W", "b", "dZ", "dA"))
ROLES = {"A_prev": "x", "a_slice_prev": "x", "X": "x", "W": "w", "b": "b4", "dZ": "dz", "dA": "dy"}


def _conv_hparameters(s: Conv) -> dict[str, int]:
    return {"stride": s.stride, "pad": s.padding}


def _pool_hparameters(s: Pool) -> dict[str, int]:
    return {"f": s.window, "stride": s.stride}


def _conv_backward(s: Conv, a: Arrays, one: int) -> tuple[Array, ...]:
    dx, dw, db = convolution.conv_vjp(s, a, one)
    return dx, dw, db.reshape(s.shape("b4"))


def _area(s: Window) -> int:
    return math.prod(s.size)


CONV_CACHE = (A_PREV, W, BIAS, _conv_hparameters)

WINDOWS = (
    Operation(
        name="zero_pad",
        table=COURSE_PAD,
        results=("padded",),
        call=asks_plainly("zero_pad", Name("X"), attrgetter("padding")),
        define=lambda s, a, one: (copies.pad(a["x"], s.windows),),
    ),
    Operation(
        name="conv_single_step",
        table=COURSE_WINDOW,
        results=("z",),
        call=asks_plainly("conv_single_step", Name("a_slice_prev"), W, BIAS),
        define=lambda s, a, one: (course.single_step(a["x"], a["w"], a["b4"] * one),),
        sums=Sums(("x", "w", "b4"), lambda s: (_area(s) + 1,), degrees=(2,)),
    ),
    Operation(
        name="create_mask_from_window",
        table=COURSE_WINDOW,
        results=("mask",),
        call=asks_plainly("create_mask_from_window", Name("x")),
        define=lambda s, a, one: (course.mask(a["x"]),),
        dtypes=("bool",),
        kinds=("whole", "equal", "signed"),
    ),
    Operation(
        name="distribute_value",
        table=COURSE_AREA,
        results=("shares",),
        call=asks_plainly("distribute_value", Name("dz"), attrgetter("size")),
        define=lambda s, a, one: (course.distribute(a["dz"], s.size),),
        sums=Sums(("dz",), lambda s: (2,), degrees=(1,)),
        multiples=Multiples(("dz",), lambda s, a: _area(s)),
        exact=lambda s: pooling.powers_of_two(np.array(_area(s))),
    ),
)

CONVOLUTION = (
    Operation(
        name="conv_forward",
        table=COURSE_CONV,
        results=("Z",),
        call=asks_plainly("conv_forward", *CONV_CACHE),
        define=convolution.conv,
        sums=Sums(("x", "w", "b4"), convolution.conv_steps, degrees=(2,)),
        cached=True,
    ),
    Operation(
        name="conv_backward",
        table=COURSE_CONV,
        results=("dA_prev", "dW", "db"),
        call=asks_plainly("conv_backward", DZ, CONV_CACHE),
        define=_conv_backward,
        sums=Sums(("dz", "x", "w"), convolution.vjp_steps, degrees=(2, 2, 1)),
        adjoint=Adjoint(asks("conv", A_PREV, W), "dZ", (("A_prev", 0), ("W", 1))),
    ),
)


def _pooling(mode: str) -> tuple[Operation, ...]:
    average = mode == "average"

    def taps(*roles: str) -> Multiples | None:
        return Multiples(roles, lambda s, a: s.windows.taps) if average else None

    def even(s: Pool) -> bool:
        return pooling.powers_of_two(np.array(s.windows.taps))

    kinds = ("whole",) if average else pooling.MAX_KINDS
    exact: Callable[[Any], bool] = even if average else always
    return (
        Operation(
            name="pool_forward",
            table=COURSE_POOL,
            results=("A",),
            call=asks_plainly("pool_forward", A_PREV, _pool_hparameters, mode=mode),
            define=pooling.avg_pool() if average else pooling.max_pool_values,
            variant=mode,
            sums=Sums(("x",), pooling.taps, degrees=(1,)) if average else None,
            multiples=taps("x"),
            exact=exact,
            kinds=kinds,
            cached=True,
        ),
        Operation(
            name="pool_backward",
            table=COURSE_POOL,
            results=("dA_prev",),
            call=asks_plainly("pool_backward", DA, (A_PREV, _pool_hparameters), mode=mode),
            define=pooling.avg_pool_vjp() if average else pooling.max_pool_vjp("all"),
            variant=mode,
            sums=pooling.of_gradients(),
            multiples=taps("x", "dy"),
            exact=exact,
            kinds=kinds,
            adjoint=Adjoint(asks("avg_pool", A_PREV, pooling.WINDOW), "dA", (("A_prev", 0),)) if average else None,
        ),
    )


def _as_the_course(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """Name the roles of the course's arguments, and keep to the floats; `zero_pad` copies whatever there is."""
    return tuple(
        replace(one, roles=ROLES, takes=one.takes if one.name == "zero_pad" else ("float",)) for one in operations
    )


COURSE = _as_the_course((*WINDOWS, *CONVOLUTION, *_pooling("max"), *_pooling("average")))
