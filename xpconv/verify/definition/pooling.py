"""Max and average pooling over any windows, and max unpooling."""

from __future__ import annotations

import functools
import itertools
from fractions import Fraction

import numpy as np

from xpconv.verify.definition.windows import Array, Ints, Windows


def max_pool(x: Array, at: Windows) -> tuple[Array, Array]:
    """Find each window's maximum and where it is first met; a NaN beats everything; without a pixel (-inf, -1)."""
    shape = (x.shape[0], *at.out, x.shape[-1])
    y: Array = np.full(shape, -np.inf, object if x.dtype == object else float)
    where: Array = np.full(shape, -1, np.int64)
    for o in at.places():
        best, place = y[(slice(None), *o)], where[(slice(None), *o)]
        for _, i in at.inside(o):
            value = x[(slice(None), *i)]
            better = (place < 0) | (value > best) | ((value != value) & (best == best))
            best[better] = value[better]
            place[better] = at.place(i)
    return y, where


def ties(x: Array, at: Windows) -> Array:
    """Count the pixels that equal their window's maximum; a NaN has no equal."""
    return _equals(x, max_pool(x, at)[0], at)


def _equals(x: Array, y: Array, at: Windows) -> Array:
    count: Array = np.zeros(y.shape, np.int64)
    for o in at.places():
        for _, i in at.inside(o):
            count[(slice(None), *o)] += x[(slice(None), *i)] == y[(slice(None), *o)]
    return np.maximum(count, 1)


def max_pool_vjp(dy: Array, x: Array, at: Windows, rule: str) -> Array:
    """Add each window's dy to its first maximum, to all its maxima, or split it among them."""
    y, where = max_pool(x, at)
    gradient = divide(dy, _equals(x, y, at)) if rule == "split" else dy
    dx: Array = np.zeros(x.shape, gradient.dtype)
    for o in at.places():
        best, place = y[(slice(None), *o)], where[(slice(None), *o)]
        for _, i in at.inside(o):
            hit = place == at.place(i)
            if rule != "first":
                hit = hit | (x[(slice(None), *i)] == best)
            dx[(slice(None), *i)] += np.where(hit, gradient[(slice(None), *o)], 0)
    return dx


@functools.cache  # whoever goes through the catalogue asks whether an average divides evenly
def counts(at: Windows, padded: bool) -> Array:
    """Count what each window of an average divides by: its pixels in the input, or also in the padding; at least 1."""
    found = np.array([max(len(list(at.inside(o, padded))), 1) for o in at.places()], np.int64).reshape(at.out)
    found.flags.writeable = False
    return found


def divide(numbers: Array, count: Array) -> Array:
    """Divide whole numbers exactly: whole numbers again if it comes out even everywhere, fractions otherwise."""
    if numbers.dtype != object and not np.any(numbers % count):
        return numbers // count
    return numbers.astype(object) * np.frompyfunc(lambda c: Fraction(1, c), 1, 1)(count.astype(object))


def avg_pool(x: Array, at: Windows, padded: bool) -> Array:
    """y[n, o, c] = sum of the window's pixels / count[o]."""
    y: Array = np.zeros((x.shape[0], *at.out, x.shape[-1]), x.dtype)
    for o in at.places():
        for _, i in at.inside(o):
            y[(slice(None), *o)] += x[(slice(None), *i)]
    return divide(y, counts(at, padded)[..., None])


def avg_pool_vjp(dy: Array, at: Windows, padded: bool) -> Array:
    """dx[n, i, c] = sum of dy[n, o, c] / count[o] over the windows that hold pixel i."""
    gradient = divide(dy, counts(at, padded)[..., None])
    dx: Array = np.zeros((dy.shape[0], *at.size, dy.shape[-1]), gradient.dtype)
    for o in at.places():
        for _, i in at.inside(o):
            dx[(slice(None), *i)] += gradient[(slice(None), *o)]
    return dx


def max_unpool(y: Array, indices: Array, size: Ints) -> Array:
    """Put each value where its index says, zeros elsewhere; the index -1 says nowhere."""
    x: Array = np.zeros((y.shape[0], *size, y.shape[-1]), y.dtype)
    for place in itertools.product(*map(range, y.shape)):
        if indices[place] >= 0:
            x[(place[0], *np.unravel_index(indices[place], size), place[-1])] = y[place]
    return x
