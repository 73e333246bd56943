"""Put values at places given by indices: where libraries differ most, so each has its own way."""

from __future__ import annotations

import array_api_extra as xpx
import numpy as np

from xpconv._arrays.space import Space
from xpconv._arrays.types import Array


def scatter(function: str, space: Space, values: Array, places: Array, size: int) -> Array:
    """(N, M, C), (N, M, C) -> (N, size, C): put each value at its place along the middle axis, -1 nowhere."""
    xp, traits = space.xp, space.traits
    if traits.buffers:
        return _scatter_numpy(function, values, places, size)
    if traits.lazy:
        return xpx.lazy_apply(
            lambda v, p: _scatter_numpy(function, v, p, size), values, places,
            shape=(values.shape[0], size, values.shape[2]), dtype=values.dtype, as_numpy=True, xp=xp,
        )  # fmt: skip
    n, _, c = values.shape
    space.check_indices(function, size + 1)
    places = xp.astype(places, space.index_dtype)
    places = xp.where(places < 0, xp.full_like(places, size), places)  # a row of its own, cut off below
    if not traits.indexed:
        return _scatter_sorted(space, values, places, size)
    image = xp.reshape(space.arange(n, places.dtype), (n, 1, 1))
    channel = xp.reshape(space.arange(c, places.dtype), (1, 1, c))
    target = space.zeros((n, size + 1, c), values.dtype)
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


def _scatter_sorted(space: Space, values: Array, places: Array, size: int) -> Array:
    """Scatter with the standard's functions alone: sort the places, and look each cell up."""
    xp, (n, m, c) = space.xp, values.shape
    planes = xp.reshape(space.arange(n * c, places.dtype), (n, 1, c)) * (size + 1)
    keys = xp.reshape(places + planes, (-1,))
    order = xp.argsort(keys)
    keys = xp.take(keys, order)
    cells = xp.reshape(space.arange(size, places.dtype), (1, size, 1)) + planes
    found = xp.clip(xp.searchsorted(keys, xp.reshape(cells, (-1,))), None, n * m * c - 1)
    hit = xp.reshape(xp.take(keys, found), cells.shape) == cells
    value = xp.reshape(xp.take(xp.take(xp.reshape(values, (-1,)), order), found), cells.shape)
    return xp.where(hit, value, xp.zeros_like(value))
