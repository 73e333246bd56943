"""Pixels copied into windows and added up again: unfold, fold, padding."""

from __future__ import annotations

import numpy as np

from xpconv.verify.definition.windows import Array, Windows


def unfold(x: Array, at: Windows) -> Array:
    """cols[n, o, k, c] = x[n, o·stride + k·dilation - before, c]."""
    cols: Array = np.zeros((x.shape[0], *at.out, *at.kernel, x.shape[-1]), x.dtype)
    for o in at.places():
        for k, i in at.inside(o):
            cols[(slice(None), *o, *k)] = x[(slice(None), *i)]
    return cols


def fold(cols: Array, at: Windows) -> Array:
    """x[n, i, c] = sum of cols[n, o, k, c] over the o, k that look at pixel i."""
    x: Array = np.zeros((cols.shape[0], *at.size, cols.shape[-1]), cols.dtype)
    for o in at.places():
        for k, i in at.inside(o):
            x[(slice(None), *i)] += cols[(slice(None), *o, *k)]
    return x


def pad(x: Array, at: Windows) -> Array:
    """y[n, o, c] = x[n, o - before, c], or the pixel that stands there: windows of one pixel."""
    return unfold(x, at).reshape(x.shape[0], *at.out, x.shape[-1])


def pad_vjp(dy: Array, at: Windows) -> Array:
    """dx[n, i, c] = sum of dy[n, o, c] over the places o where pixel i stands."""
    return fold(dy.reshape(*dy.shape[:-1], *at.kernel, dy.shape[-1]), at)
