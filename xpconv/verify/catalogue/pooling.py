"""Pooling: max, average, Lp, adaptive, and max unpooling."""

from __future__ import annotations

import math
from operator import attrgetter, methodcaller
from typing import Any

import numpy as np

from xpconv.verify.catalogue.cases import CUT, POOL, UNPOOL
from xpconv.verify.catalogue.operation import Adjoint, Arrays, Define, Multiples, Name, Operation, Sums, always, asks
from xpconv.verify.catalogue.setups import Cut, Pool
from xpconv.verify.definition import norms
from xpconv.verify.definition import pooling as definition
from xpconv.verify.definition.windows import Array, Windows

X, Y, DY, INDICES, MAXIMA = map(Name, ("x", "y", "dy", "indices", "maxima"))
WINDOW, OUT, INPUT_SHAPE = attrgetter("window"), attrgetter("out"), methodcaller("shape", "x")

MAX_KINDS = ("whole", "nan", "equal", "infinite")
SELECTED = (*MAX_KINDS, "signed")
ORDERED, DIVISIBLE = ("float", "integer"), ("float", "complex")


def max_pool(s: Pool | Cut, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define the maxima and their places."""
    return definition.max_pool(a["x"], s.windows)


def max_pool_values(s: Pool | Cut, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define the maxima."""
    return max_pool(s, a, one)[:1]


def max_pool_vjp(rule: str) -> Define:
    """Define dx for a rule for ties."""
    return lambda s, a, one: (definition.max_pool_vjp(a["dy"], a["x"], s.windows, rule),)


def avg_pool(padded: bool = True) -> Define:
    """Define the averages."""
    return lambda s, a, one: (definition.avg_pool(a["x"], s.windows, padded),)


def avg_pool_vjp(padded: bool = True) -> Define:
    """Define dx of the averages."""
    return lambda s, a, one: (definition.avg_pool_vjp(a["dy"], s.windows, padded),)


def taps(s: Pool | Cut) -> tuple[int, ...]:
    """Count roundings: the pixels of a window or the windows that hold a pixel, no more unless windows are cut.

    A division stands where a product has its multiplication. It counts twice: a compiler may multiply with the rounded
    reciprocal instead (JAX's does).
    """
    return (max(s.windows.taps, s.windows.readers if isinstance(s, Cut) else 0) + 1,)


def of_gradients(steps: Any = taps) -> Sums:
    """Sum over windows the gradients of their results."""
    return Sums(("dy",), steps, degrees=(1,))


def powers_of_two(numbers: Array) -> bool:
    """Say whether dividing by these numbers is exact on every backend, with the reciprocal too."""
    return not np.any(numbers & (numbers - 1))


def _lcm(counts: Array) -> int:
    return int(np.lcm.reduce(counts.ravel(), initial=1))


def _max_vjp(rule: str) -> Operation:
    split = rule == "split"
    return Operation(
        name="max_pool_vjp",
        table=POOL,
        results=("dx",),
        call=asks("max_pool_vjp", DY, X, WINDOW, ties=rule),
        define=max_pool_vjp(rule),
        variant=rule,
        sums=of_gradients(),
        multiples=Multiples(("dy",), lambda s, a: _lcm(definition.ties(a["x"], s.windows))) if split else None,
        kinds=MAX_KINDS[:3] if split else MAX_KINDS,
        takes=("float",) if split else ORDERED,
        # each maximum counted once; with "all" the gradient is not that of the maximum where there are ties
        adjoint=None if rule == "all" else Adjoint(asks("max_pool", X, WINDOW), "dy", (("x", 0),)),
    )


def _at_maxima(name: str, table: Any, words: Any) -> Operation:
    """Give the gradient to the places that the forward pass found."""
    forward = name.removesuffix("_vjp")
    return Operation(
        name=name,
        table=table,
        results=("dx",),
        call=asks(name, DY, INPUT_SHAPE, words, indices=MAXIMA),
        define=max_pool_vjp("first"),
        variant="indices",
        sums=of_gradients(),
        kinds=MAX_KINDS,
        takes=ORDERED,
        adjoint=Adjoint(asks(forward, X, words), "dy", (("x", 0),)),
    )


def _averages(padded: bool) -> tuple[Operation, ...]:
    variant, words = ("", {}) if padded else ("count-inside", {"count_include_pad": False})
    forward = asks("avg_pool", X, WINDOW, **words)

    def unit(s: Pool, a: Arrays) -> int:
        return _lcm(definition.counts(s.windows, padded))

    def exact(s: Pool) -> bool:
        return powers_of_two(definition.counts(s.windows, padded))

    return (
        Operation(
            name="avg_pool",
            table=POOL,
            results=("y",),
            call=forward,
            define=avg_pool(padded),
            variant=variant,
            sums=Sums(("x",), taps, degrees=(1,)),
            multiples=Multiples(("x",), unit),
            exact=exact,
            takes=DIVISIBLE,
        ),
        Operation(
            name="avg_pool_vjp",
            table=POOL,
            results=("dx",),
            call=asks("avg_pool_vjp", DY, INPUT_SHAPE, WINDOW, **words),
            define=avg_pool_vjp(padded),
            variant=variant,
            sums=of_gradients(),
            multiples=Multiples(("x", "dy"), unit),
            exact=exact,
            takes=DIVISIBLE,
            adjoint=Adjoint(forward, "dy", (("x", 0),)),
        ),
    )


POOLING = (
    Operation(
        name="max_pool",
        table=POOL,
        results=("y", "indices"),
        call=asks("max_pool", X, WINDOW, return_indices=True),
        define=max_pool,
        variant="indices",
        dtypes=("same", "index"),
        kinds=SELECTED,
        takes=ORDERED,
    ),
    Operation(
        name="max_pool",
        table=POOL,
        results=("y",),
        call=asks("max_pool", X, WINDOW),
        define=max_pool_values,
        kinds=MAX_KINDS,
        takes=ORDERED,
    ),
    *map(_max_vjp, ("first", "all", "split")),
    _at_maxima("max_pool_vjp", POOL, WINDOW),
    *_averages(True),
    *_averages(False),
)

# --- Lp -------------------------------------------------------------------------------------------


class Order(float):
    """The order of a norm; prints as Python."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "float('inf')" if self == math.inf else f"{float(self):g}"


ORDERS = tuple(map(Order, (1, 2, 0.5, math.inf)))
POWER = 16  # roundings that a power counts for: the libraries' are off by up to eight units in the last place


def norm_steps(at: Windows, p: float) -> int:
    """Count the roundings of a norm: the ratio to the largest, its power, the sum, the root, the product."""
    return math.ceil((p + POWER + at.taps - 1 + math.log(at.taps)) / p) + POWER + 2


def norm_vjp_steps(at: Windows, p: float) -> int:
    """Count the roundings of a gradient: a norm, a ratio, its power, two products and the sum over windows."""
    if p == math.inf:
        return at.readers + 2
    return math.ceil(abs(p - 1) * (norm_steps(at, p) + 1)) + POWER + 2 + at.readers


def _norms(p: Order) -> tuple[Operation, ...]:
    """Make the operations of an order; only the largest magnitude is never rounded."""
    largest = p == math.inf
    forward = asks("lp_pool", X, p, WINDOW)
    exact = always if largest else lambda s: False

    def ties(s: Pool, a: Arrays) -> int:
        return _lcm(definition.ties(abs(a["x"]), s.windows))

    return (
        Operation(
            name="lp_pool",
            table=POOL,
            results=("y",),
            call=forward,
            define=lambda s, a, one: (norms.lp_pool(a["x"], s.windows, p),),
            variant=f"p-{float(p):g}",
            sums=None if largest else Sums(("x",), lambda s: (norm_steps(s.windows, p),), degrees=(1,)),
            exact=exact,
            kinds=("whole", "signed") if largest else ("whole",),
            takes=("float",),
        ),
        Operation(
            name="lp_pool_vjp",
            table=POOL,
            results=("dx",),
            call=asks("lp_pool_vjp", DY, X, p, WINDOW),
            define=lambda s, a, one: (norms.lp_pool_vjp(a["dy"], a["x"], s.windows, p),),
            variant=f"p-{float(p):g}",
            sums=of_gradients(lambda s: (norm_vjp_steps(s.windows, p),)),
            multiples=Multiples(("dy",), ties) if largest else None,
            exact=exact,
            takes=("float",),
            # a norm is no linear map, but sum(x * dx) is y all the same (Euler)
            adjoint=Adjoint(forward, "dy", (("x", 0),)) if largest else None,
        ),
    )


LP = tuple(operation for p in ORDERS for operation in _norms(p))

# --- adaptive -------------------------------------------------------------------------------------


def _cells(s: Cut, a: Arrays) -> int:
    return _lcm(definition.counts(s.windows, True))


def _even_cells(s: Cut) -> bool:
    return powers_of_two(definition.counts(s.windows, True))


ADAPTIVE = (
    Operation(
        name="adaptive_avg_pool",
        table=CUT,
        results=("y",),
        call=asks("adaptive_avg_pool", X, OUT),
        define=avg_pool(),
        sums=Sums(("x",), taps, degrees=(1,)),
        multiples=Multiples(("x",), _cells),
        exact=_even_cells,
        takes=DIVISIBLE,
    ),
    Operation(
        name="adaptive_avg_pool_vjp",
        table=CUT,
        results=("dx",),
        call=asks("adaptive_avg_pool_vjp", DY, X, OUT),
        define=avg_pool_vjp(),
        sums=of_gradients(),
        multiples=Multiples(("x", "dy"), _cells),
        exact=_even_cells,
        takes=DIVISIBLE,
        adjoint=Adjoint(asks("adaptive_avg_pool", X, OUT), "dy", (("x", 0),)),
    ),
    Operation(
        name="adaptive_max_pool",
        table=CUT,
        results=("y", "indices"),
        call=asks("adaptive_max_pool", X, OUT, return_indices=True),
        define=max_pool,
        variant="indices",
        dtypes=("same", "index"),
        kinds=SELECTED,
        takes=ORDERED,
    ),
    Operation(
        name="adaptive_max_pool",
        table=CUT,
        results=("y",),
        call=asks("adaptive_max_pool", X, OUT),
        define=max_pool_values,
        kinds=MAX_KINDS,
        takes=ORDERED,
    ),
    Operation(
        name="adaptive_max_pool_vjp",
        table=CUT,
        results=("dx",),
        call=asks("adaptive_max_pool_vjp", DY, X, OUT),
        define=max_pool_vjp("first"),
        sums=of_gradients(),
        kinds=MAX_KINDS,
        takes=ORDERED,
        adjoint=Adjoint(asks("adaptive_max_pool", X, OUT), "dy", (("x", 0),)),
    ),
    _at_maxima("adaptive_max_pool_vjp", CUT, OUT),
)

# --- unpooling ------------------------------------------------------------------------------------

UNPOOLING = (
    Operation(
        name="max_unpool",
        table=UNPOOL,
        results=("x",),
        call=asks("max_unpool", Y, INDICES, OUT),
        define=lambda s, a, one: (definition.max_unpool(a["y"], a["indices"], s.plane),),
        kinds=("whole", "nan", "signed"),
    ),
)
