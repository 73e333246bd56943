"""Put values at places given by indices: where libraries differ most, so each has its own way."""

from __future__ import annotations

from typing import Any

import array_api_extra as xpx
import numpy as np

from xpconv._arrays.old import arange, index_dtype, zeros
from xpconv._arrays.types import Namespace, Traits

Array = Any


def scatter(function: str, xp: Namespace, traits: Traits, values: Array, places: Array, size: int) -> Array:
    """(N, M, C), (N, M, C) -> (N, size, C): put each value at its place along the middle axis, -1 nowhere."""
    if traits.buffers:
        return _scatter_numpy(function, values, places, size)
    if traits.lazy:
        return xpx.lazy_apply(
            lambda v, p: _scatter_numpy(function, v, p, size), values, places,
            shape=(values.shape[0], size, values.shape[2]), dtype=values.dtype, as_numpy=True, xp=xp,
        )  # fmt: skip
    n, _, c = values.shape
    places = xp.astype(places, index_dtype(xp, places))
    places = xp.where(places < 0, xp.full_like(places, size), places)  # a row of its own, cut off below
    if not traits.indexed:
        return _scatter_sorted(xp, values, places, size)
    image = xp.reshape(arange(xp, n, places.dtype, values), (n, 1, 1))
    channel = xp.reshape(arange(xp, c, places.dtype, values), (1, 1, c))
    target = zeros(xp, (n, size + 1, c), values.dtype, values)
    return xpx.at(target)[image, places, channel].set(values, xp=xp)[:, :size, :]


def _scatter_numpy(function: str, values: Array, places: Array, size: int) -> Array:
    n, _, c = values.shape
    if places.size and (places.max() >= size or places.min() < -1):
        raise ValueError(
            f"{function}: indices lie from -1 to {size - 1} for an output of {size} pixels; "
            f"got {places.min()} to {places.max()}"
        )
    target = np.zeros((n, size, c), values.dtype)
    step = max((1 << 15) // c, 1)  # few at once, for the memory that the indices take
    for image in range(n):
        for start in range(0, values.shape[1], step):
            spots, channels = np.nonzero(places[image, start : start + step] >= 0)
            spots += start
            target[image, places[image, spots, channels], channels] = values[image, spots, channels]
    return target


def _scatter_sorted(xp: Namespace, values: Array, places: Array, size: int) -> Array:
    """Scatter with the standard's functions alone: sort the places, and look each cell up."""
    n, m, c = values.shape
    planes = xp.reshape(arange(xp, n * c, places.dtype, values), (n, 1, c)) * (size + 1)
    keys = xp.reshape(places + planes, (-1,))
    order = xp.argsort(keys)
    keys = xp.take(keys, order)
    cells = xp.reshape(arange(xp, size, places.dtype, values), (1, size, 1)) + planes
    found = xp.clip(xp.searchsorted(keys, xp.reshape(cells, (-1,))), None, n * m * c - 1)
    hit = xp.reshape(xp.take(keys, found), cells.shape) == cells
    value = xp.reshape(xp.take(xp.take(xp.reshape(values, (-1,)), order), found), cells.shape)
    return xp.where(hit, value, xp.zeros_like(value))
