"""Pooling: max, average, Lp, adaptive, and max unpooling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpconv.verify.catalogue.cases import CUT, POOL, UNPOOL
from xpconv.verify.catalogue.operation import Adjoint, Array, Arrays, Call, Define, Name, Operation, keywords
from xpconv.verify.catalogue.setups import Cut, Pool, Unpool
from xpconv.verify.definition import norms, reference
from xpconv.verify.definition.norms import Order

X, Y, DY, INDICES = map(Name, ("x", "y", "dy", "indices"))

MAX_KINDS = ("whole", "nan", "equal", "infinite")
ORDERED, DIVISIBLE = ("float", "integer"), ("float", "complex")


def max_pool(s: Pool | Cut, a: Arrays, one: int) -> tuple[Array, ...]:
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


def taps(s: Pool | Cut) -> tuple[int, ...]:
    """Count roundings: the pixels of a window or the windows that hold a pixel, no more unless windows are cut.

    A division stands where a product has its multiplication. It counts twice: a compiler may multiply with the rounded
    reciprocal instead (JAX's does).
    """
    return (max(s.windows.taps, s.windows.readers if isinstance(s, Cut) else 0) + 1,)


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
        takes=("float",) if rule == "split" else ("float", "integer"),
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
            scaled=("x",), unit=unit, even=even, takes=DIVISIBLE,
        ),
        Operation(
            "avg_pool_vjp", POOL, ("dx",),
            lambda s, _: Call("avg_pool_vjp", (DY, s.shape("x"), s.window), options(s)),
            avg_pool_vjp(padded), variant, steps=taps, linear=("dy",), scaled=("x", "dy"), unit=unit, even=even,
            adjoint=Adjoint(forward, "dy", (("x", 0),)), takes=DIVISIBLE,
        ),
    )  # fmt: skip


POOLING = (
    Operation(
        "max_pool", POOL, ("y", "indices"),
        lambda s, _: Call("max_pool", (X, s.window), keywords(s, return_indices=True)),
        max_pool, "indices", dtypes=("same", "index"), kinds=(*MAX_KINDS, "signed"), takes=ORDERED,
    ),
    Operation(
        "max_pool", POOL, ("y",), lambda s, _: Call("max_pool", (X, s.window), keywords(s)),
        lambda s, a, one: max_pool(s, a, one)[:1], kinds=MAX_KINDS, takes=ORDERED,
    ),
    *map(_max_vjp, ("first", "all", "split")),
    *_averages(True),
    *_averages(False),
)  # fmt: skip

# --- Lp -------------------------------------------------------------------------------------------

ORDERS = tuple(map(Order, (1, 2, 0.5, math.inf)))


def _norms(p: Order) -> tuple[Operation, ...]:
    """Make the operations of an order; only the largest magnitude is never rounded."""
    largest = p == math.inf
    forward = lambda s, _: Call("lp_pool", (X, p, s.window), keywords(s))  # noqa: E731
    variant = f"p-{float(p):g}"
    even: Any = None if largest else lambda s: False
    ties = lambda s, a: _lcm(reference.ties(abs(s.last(a["x"])), s.windows))  # noqa: E731
    return (
        Operation(
            "lp_pool", POOL, ("y",), forward,
            lambda s, a, one: (s.back(norms.lp_pool(s.last(a["x"]), s.windows, p)),), variant,
            steps=None if largest else lambda s: (norms.steps(s.windows, p),), linear=("x",), even=even,
            kinds=("whole", "signed") if largest else ("whole",), takes=("float",),
        ),
        Operation(
            "lp_pool_vjp", POOL, ("dx",), lambda s, _: Call("lp_pool_vjp", (DY, X, p, s.window), keywords(s)),
            lambda s, a, one: (s.back(norms.lp_pool_vjp(s.last(a["dy"]), s.last(a["x"]), s.windows, p)),), variant,
            steps=lambda s: (norms.vjp_steps(s.windows, p),), linear=("dy",), even=even, takes=("float",),
            scaled=("dy",) if largest else (), unit=ties if largest else None,
            # a norm is no linear map, but sum(x * dx) is y all the same (Euler)
            adjoint=Adjoint(forward, "dy", (("x", 0),)) if largest else None,
        ),
    )  # fmt: skip


LP = tuple(operation for p in ORDERS for operation in _norms(p))

# --- adaptive -------------------------------------------------------------------------------------


def _cut(function: str, *arrays: Name, **more: Any) -> Any:
    return lambda s, _: Call(function, (*arrays, s.out), keywords(s, **more))


_sizes: dict[str, Any] = {
    "unit": lambda s, a: _lcm(reference.counts(s.windows, True)),
    "even": lambda s: powers_of_two(reference.counts(s.windows, True)),
    "steps": taps, "takes": DIVISIBLE,
}  # fmt: skip

ADAPTIVE = (
    Operation(
        "adaptive_avg_pool", CUT, ("y",), _cut("adaptive_avg_pool", X), avg_pool(), linear=("x",), scaled=("x",),
        **_sizes,
    ),
    Operation(
        "adaptive_avg_pool_vjp", CUT, ("dx",), _cut("adaptive_avg_pool_vjp", DY, X), avg_pool_vjp(), linear=("dy",),
        scaled=("x", "dy"), adjoint=Adjoint(_cut("adaptive_avg_pool", X), "dy", (("x", 0),)), **_sizes,
    ),
    Operation(
        "adaptive_max_pool", CUT, ("y", "indices"), _cut("adaptive_max_pool", X, return_indices=True), max_pool,
        "indices", dtypes=("same", "index"), kinds=(*MAX_KINDS, "signed"), takes=ORDERED,
    ),
    Operation(
        "adaptive_max_pool", CUT, ("y",), _cut("adaptive_max_pool", X), lambda s, a, one: max_pool(s, a, one)[:1],
        kinds=MAX_KINDS, takes=ORDERED,
    ),
    Operation(
        "adaptive_max_pool_vjp", CUT, ("dx",), _cut("adaptive_max_pool_vjp", DY, X), max_pool_vjp("first"),
        steps=taps, linear=("dy",), kinds=MAX_KINDS, takes=ORDERED,
        adjoint=Adjoint(_cut("adaptive_max_pool", X), "dy", (("x", 0),)),
    ),
)  # fmt: skip

# --- unpooling ------------------------------------------------------------------------------------


def max_unpool(s: Unpool, a: Arrays, one: int) -> tuple[Array, ...]:
    """Define the images that hold the maxima."""
    size = reference.per_axis(s.out, len(s.size))
    return (s.back(reference.max_unpool(s.last(a["y"]), s.last(a["indices"]), size)),)


UNPOOLING = (
    Operation(
        "max_unpool", UNPOOL, ("x",), lambda s, _: Call("max_unpool", (Y, INDICES, s.out), keywords(s)), max_unpool,
        kinds=("whole", "nan", "signed"),
    ),
)  # fmt: skip
