"""Convolution and its gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xpconv.verify.definition.windows import Array, Windows


def _channels(groups: int, c: int, f: int) -> Iterator[tuple[slice, slice]]:
    for g in range(groups):
        yield slice(g * c // groups, (g + 1) * c // groups), slice(g * f // groups, (g + 1) * f // groups)


def conv(x: Array, w: Array, at: Windows, groups: int) -> Array:
    """z[n, o, f] = sum over k, c of x[n, o·stride + k·dilation - before, c] · w[k, c, f]."""
    z: Array = np.zeros((x.shape[0], *at.out, w.shape[-1]), x.dtype)
    for cs, fs in _channels(groups, x.shape[-1], w.shape[-1]):
        for o in at.places():
            for k, i in at.inside(o):
                z[(slice(None), *o, fs)] += x[(slice(None), *i, cs)] @ w[(*k, slice(None), fs)]
    return z


def conv_input_grad(dz: Array, w: Array, at: Windows, groups: int) -> Array:
    """dx[n, i, c] = sum of dz[n, o, f] · w[k, c, f] over the o, k that look at pixel i, and f."""
    channels = w.shape[-2] * groups
    dx: Array = np.zeros((dz.shape[0], *at.size, channels), dz.dtype)
    for cs, fs in _channels(groups, channels, w.shape[-1]):
        for o in at.places():
            for k, i in at.inside(o):
                dx[(slice(None), *i, cs)] += dz[(slice(None), *o, fs)] @ w[(*k, slice(None), fs)].T
    return dx


def conv_weight_grad(dz: Array, x: Array, at: Windows, groups: int) -> Array:
    """dw[k, c, f] = sum of x[n, i, c] · dz[n, o, f] over n and the o, i that meet in tap k."""
    dw: Array = np.zeros((*at.kernel, x.shape[-1] // groups, dz.shape[-1]), dz.dtype)
    for cs, fs in _channels(groups, x.shape[-1], dz.shape[-1]):
        for o in at.places():
            for k, i in at.inside(o):
                dw[(*k, slice(None), fs)] += x[(slice(None), *i, cs)].T @ dz[(slice(None), *o, fs)]
    return dw


def bias_grad(dz: Array) -> Array:
    """db[f] = sum of dz[n, o, f] over n and o."""
    return np.sum(dz.reshape(-1, dz.shape[-1]), axis=0, dtype=dz.dtype)
