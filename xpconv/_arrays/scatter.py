"""Put values at places given by indices: where libraries differ most, so each has its own way."""

from __future__ import annotations

import math

import array_api_extra as xpx
import numpy as np

from xpconv._arrays.dtypes import cast, native
from xpconv._arrays.space import Space, numpy_space
from xpconv._arrays.types import Array
from xpconv._arrays.views import contiguous
from xpconv._shapes.cuts import Tiles, block
from xpconv._shapes.geometry import Interval, Ints

STEP = 1 << 14  # places that are put at once, for the memory that the indices take
PIECE = 24 * STEP  # bytes of that, at most: places, those that are somewhere, their values


def put_back(
    function: str, space: Space, values: Array, places: Array, sizes: Ints, layout: str, *, once: bool = False
) -> Array:
    """(N, *O, C) -> (N, *sizes, C), in a layout: put each value at its place in the plane, zeros elsewhere.

    Of values at one place the last one in the order of O stands, unless there is `once` only one: then that is not
    looked for.
    """
    xp, rank = space.xp, len(sizes)
    batch, *inner = values.shape
    channels = inner.pop(0 if layout == "channels_first" else rank)
    if batch == 0:
        shape = (0, channels, *sizes) if layout == "channels_first" else (0, *sizes, channels)
        return space.zeros(shape, native(values.dtype))
    if space.traits.buffers:
        return _put_numpy(function, values, places, sizes, layout)
    if layout == "channels_first":  # (N, C, *O) -> (N·C, O, 1), without a copy
        flat = (batch * channels, math.prod(inner), 1)
        whole = (batch, channels, *sizes)
    else:  # (N, *O, C) -> (N, O, C)
        flat = (batch, math.prod(inner), channels)
        whole = (batch, *sizes, channels)
    found = scatter(function, space, xp.reshape(values, flat), xp.reshape(places, flat), math.prod(sizes), once=once)
    return contiguous(xp, xp.reshape(found, whole))


def _put_numpy(function: str, values: Array, places: Array, sizes: Ints, layout: str) -> Array:
    check_places(function, numpy_space(), places, math.prod(sizes))
    if layout == "channels_last":
        target = np.zeros((values.shape[0], *sizes, values.shape[-1]), native(values.dtype))
        put(target, values, places)
    else:
        target = np.zeros((*values.shape[:2], *sizes), native(values.dtype))
        put(*(np.moveaxis(array, 1, -1) for array in (target, values, places)))
    return target


def scatter(function: str, space: Space, values: Array, places: Array, size: int, *, once: bool = False) -> Array:
    """(N, M, C), (N, M, C) -> (N, size, C): put each value at its place along the middle axis, -1 nowhere.

    Of values at one place the last one stands; with `once` there is only one.
    """
    xp, traits = space.xp, space.traits
    check_places(function, space, places, size)
    space.check_indices(function, size + 1)
    places = inside(space, places, size, size)  # a row of its own, cut off below
    if traits.indexed:
        target = space.zeros((values.shape[0], size + 1, values.shape[2]), values.dtype)
        if traits.in_order:
            return space.put_along(target, places, values)[:, :size, :]
        if once:
            return xpx.at(target)[grid(space, places)].set(values, xp=xp)[:, :size, :]
        if not traits.mutable:
            return _scatter_latest(space, values, places, size)
    return _scatter_sorted(space, values, places, size)


def grid(space: Space, places: Array) -> tuple[Array, Array, Array]:
    """(N, M, C) -> an index of an array (N, size, C)."""
    n, _, c = places.shape
    image = space.xp.reshape(space.arange(n, places.dtype), (n, 1, 1))
    return image, places, space.xp.reshape(space.arange(c, places.dtype), (1, 1, c))


def inside(space: Space, places: Array, size: int, elsewhere: int) -> Array:
    """Give places in the dtype of indices, those that are not in range(size) `elsewhere`."""
    xp = space.xp
    places = xp.astype(places, space.index_dtype)
    return xp.where((places < 0) | (places >= size), xp.full_like(places, elsewhere), places)


def check_places(function: str, space: Space, places: Array, size: int) -> None:
    """Refuse places that are not in range(-1, size), where values can be looked at."""
    if space.traits.looks and math.prod(places.shape):
        ends = _ends(places)
        if ends is not None and (ends[0] < -1 or ends[1] >= size):
            raise ValueError(
                f"{function}: indices lie from -1 to {size - 1} for an output of {size} pixels; "
                f"got {ends[0]} to {ends[1]}"
            )


def _ends(places: Array) -> Interval | None:
    """Give the least and the greatest place, None if they are traced."""
    try:
        return int(places.min()), int(places.max())
    except RuntimeError:  # of PyTorch, under its transforms
        return None


def put(target: Array, values: Array, places: Array, *, add: bool = False) -> None:
    """Put values (N, *O, C), or add them, in order, at their places in planes of NumPy's (N, *I, C), -1 nowhere."""
    channels = values.shape[-1]
    flat, image, pixel, channel = flattened(target)
    for region in Tiles(values.shape[:-1], block(values.shape[:-1], max(STEP // channels, 1))):
        own = (*(slice(*interval) for interval in region), slice(None))
        spots, some = places[own], values[own]
        there = spots >= 0 if spots.size and spots.min() < 0 else None
        spots = spots * pixel
        spots += np.arange(channels) * channel
        if image and region[0][1] > 1:
            spots += (np.arange(*region[0]) * image).reshape((-1,) + (1,) * (spots.ndim - 1))
        spots, some = (spots.reshape(-1), some.reshape(-1)) if there is None else (spots[there], some[there])
        if add:
            np.add.at(flat, spots, some.astype(flat.dtype, copy=False))  # faster than where it converts
        else:
            flat[spots] = some


def flattened(array: Array) -> tuple[Array, int, int, int]:
    """See the memory of a NumPy array (N, *I, C) as one axis; and give the steps of N, of the last of I, and of C."""
    steps = [step // array.itemsize for step in array.strides]
    size = 1 + sum((n - 1) * step for n, step in zip(array.shape, steps, strict=True))
    return np.lib.stride_tricks.as_strided(array, (size,), (array.itemsize,)), steps[0], steps[-2], steps[-1]


def _scatter_latest(space: Space, values: Array, places: Array, size: int) -> Array:
    """Scatter the numbers of the values, of which the greatest stands in whatever order, and gather by them."""
    xp, (n, m, c) = space.xp, values.shape
    numbers = xp.reshape(space.arange(m, places.dtype), (1, m, 1))
    latest = space.full((n, size + 1, c), -1, places.dtype)
    latest = xpx.at(latest)[grid(space, places)].max(xp.broadcast_to(numbers, places.shape), xp=xp)[:, :size, :]
    found = xp.take_along_axis(values, xp.clip(latest, 0), axis=1)
    return xp.where(latest < 0, xp.zeros_like(found), found)


def _scatter_sorted(space: Space, values: Array, places: Array, size: int) -> Array:
    """Scatter with the standard's functions alone: sort the places, and look each cell up."""
    xp, (n, _, c) = space.xp, values.shape
    planes = xp.reshape(space.arange(n * c, places.dtype), (n, 1, c)) * (size + 1)
    keys = xp.reshape(places + planes, (-1,))
    order = xp.argsort(keys)  # stable: of equal ones the last is the last
    keys = xp.take(keys, order)
    cells = xp.reshape(space.arange(size, places.dtype), (1, size, 1)) + planes
    found = space.clip(xp.searchsorted(keys, xp.reshape(cells, (-1,)), side="right") - 1, 0, None)
    hit = xp.reshape(xp.take(keys, found), cells.shape) == cells
    value = xp.reshape(xp.take(xp.take(xp.reshape(values, (-1,)), order), found), cells.shape)
    return cast(xp, xp.where(hit, value, xp.zeros_like(value)), values.dtype)  # CuPy's of bfloat16 are float32
