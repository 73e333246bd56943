"""The definition of Lp pooling, in decimal numbers of fifty digits: its roots are no fractions."""

from __future__ import annotations

import decimal
import math
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from xpconv.verify.definition.pooling import max_pool, max_pool_vjp
from xpconv.verify.definition.windows import Array, Ints, Windows

CONTEXT = decimal.Context(prec=50, Emin=-999999, Emax=999999)


def _decimal(number: Any) -> Decimal:
    exact = Fraction(number)
    return CONTEXT.divide(Decimal(exact.numerator), Decimal(exact.denominator))


def _powers(numbers: Array, p: float) -> Array:
    """abs(v)^p of each number, p a whole number or a half of one; 0 of 0, whatever p."""
    halves = round(2 * p)
    if halves != 2 * p:
        raise ValueError(f"powers here are multiples of a half; got {p}")

    def power(v: Decimal) -> Decimal:
        if not v:
            return Decimal(0)
        return CONTEXT.power(CONTEXT.sqrt(abs(v)), halves) if halves % 2 else CONTEXT.power(abs(v), halves // 2)

    return np.frompyfunc(power, 1, 1)(numbers)


def _windows(x: Array, at: Windows) -> Iterator[tuple[Ints, list[Ints]]]:
    """Go through the windows: each one's place and the places of its pixels."""
    for o in at.places():
        pixels: list[Ints] = [i for _, i in at.inside(o)]
        for n in range(x.shape[0]):
            for c in range(x.shape[-1]):
                yield (n, *o, c), [(n, *i, c) for i in pixels]


def _norms(x: Array, at: Windows, p: float) -> Array:
    powers = _powers(x, p)
    y: Array = np.full((x.shape[0], *at.out, x.shape[-1]), Decimal(0), object)
    for place, pixels in _windows(x, at):
        for pixel in pixels:
            y[place] = CONTEXT.add(y[place], powers[pixel])
    return _powers(y, 1 / p)


def lp_pool(x: Array, at: Windows, p: float) -> Array:
    """y[n, o, c] = (sum of abs(x)^p)^(1/p) over the pixels inside the input, or the largest abs(x)."""
    if p == math.inf:
        return np.maximum(max_pool(abs(x), at)[0], 0)
    return np.frompyfunc(Fraction, 1, 1)(_norms(np.frompyfunc(_decimal, 1, 1)(x), at, p))


def lp_pool_vjp(dy: Array, x: Array, at: Windows, p: float) -> Array:
    """Sum over windows of dy sign(x) (abs(x) / y)^(p - 1), 0 where x is; for infinity split among the largest."""
    if p == math.inf:
        return np.sign(x).astype(int) * max_pool_vjp(dy, abs(x), at, "split")
    exact = np.frompyfunc(_decimal, 1, 1)(x)
    slopes, scales = _powers(exact, p - 1), _powers(_norms(exact, at, p), p - 1)
    dx: Array = np.zeros(x.shape, object)
    for place, pixels in _windows(x, at):
        for pixel in pixels:
            if exact[pixel]:
                slope = Fraction(CONTEXT.divide(slopes[pixel], scales[place]))
                dx[pixel] += dy[place] * (slope if exact[pixel] > 0 else -slope)
    return dx
