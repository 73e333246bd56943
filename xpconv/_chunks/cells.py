"""What blocks of adaptive pooling and of unpooling compute: ranges of an axis combined, values put at places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xpconv._arrays.dtypes import accumulator, cast, is_kind, least
from xpconv._arrays.scatter import check_places
from xpconv._arrays.space import Space, space_of
from xpconv._arrays.types import Array, DType
from xpconv._arrays.views import from_channels_last, to_channels_last
from xpconv._shapes.geometry import Interval, Ints

Cells = Sequence[Interval]  # of one axis, in a slab; a cell that lies elsewhere is empty


class Slice(NamedTuple):
    """Pixels of a plane."""

    pixels: tuple[Interval, ...]
    plane: Ints

    @property
    def sizes(self) -> Ints:
        """The extent along each axis."""
        return tuple(b - a for a, b in self.pixels)


def means(x: Array, *, cells: Sequence[Cells], counts: Sequence[Ints], layout: str) -> Array:
    """Average cells of which each lies in the slab."""
    return divided(sums(x, cells=cells, layout=layout), counts=counts, layout=layout, dtype=x.dtype)


def sums(x: Array, *, cells: Sequence[Cells], layout: str) -> Array:
    """Add up the part of each cell that lies in a slab, in the dtype of sums."""
    space = space_of(x)
    total = to_channels_last(space.xp, x, layout)
    dtype = accumulator(space.xp, x.dtype)
    for axis in reversed(range(len(cells))):
        total = _sum(space, total, axis + 1, cells[axis], dtype)
    return from_channels_last(space.xp, total, layout)


def _sum(space: Space, x: Array, axis: int, cells: Cells, dtype: DType) -> Array:
    """Add up each cell of one axis: cell by cell, or tap by tap, whichever is fewer."""
    xp, lengths = space.xp, [b - a for a, b in cells]
    if max(lengths, default=0) > len(cells):
        lead = (slice(None),) * axis
        return xp.stack([xp.sum(x[(*lead, slice(a, b))], axis=axis, dtype=dtype) for a, b in cells], axis=axis)
    shape = [1] * x.ndim
    shape[axis] = len(cells)
    total = None
    for tap in range(max(*lengths, 1)):
        places = [min(a + tap, max(x.shape[axis] - 1, 0)) for a, _ in cells]
        there = xp.reshape(space.array(np.asarray([tap < n for n in lengths]), xp.bool), tuple(shape))
        part = cast(xp, xp.take(x, space.array(np.asarray(places), xp.int64), axis=axis), dtype)
        part = xp.where(there, part, space.zeros((1,) * x.ndim, dtype))
        total = part if total is None else total + part
    return total


def divided(total: Array, *, counts: Sequence[Ints], layout: str, dtype: Any) -> Array:
    """Divide sums by the sizes of the cells, and round them."""
    space = space_of(total)
    xp, found = space.xp, to_channels_last(space.xp, total, layout)
    for axis, numbers in enumerate(counts, start=1):
        shape = [1] * found.ndim
        shape[axis] = len(numbers)
        real = xp.real(found).dtype if is_kind(xp, found.dtype, "complex floating") else found.dtype
        found = found / xp.reshape(space.array(np.asarray(numbers), real), tuple(shape))
    return from_channels_last(xp, cast(xp, found, dtype), layout)


def maxima(x: Array, *, cells: Sequence[Cells], part: Slice, layout: str) -> tuple[Array, Array]:
    """Find the first maximum of each cell's part in a slab, and its place in the plane; -1 where there is none."""
    space = space_of(x)
    xp, found = space.xp, to_channels_last(space.xp, x, layout)
    places, step = space.zeros(found.shape, xp.int64), 1
    for axis in reversed(range(len(cells))):
        first, shape = part.pixels[axis][0], [1] * found.ndim
        shape[axis + 1] = found.shape[axis + 1]
        own = xp.reshape(space.array(np.arange(first, first + found.shape[axis + 1]), xp.int64), tuple(shape))
        places = places + own * step
        found, places = _first(space, found, places, axis + 1, cells[axis])
        step *= part.plane[axis]
    return from_channels_last(xp, found, layout), from_channels_last(xp, places, layout)


def _first(space: Space, x: Array, places: Array, axis: int, cells: Cells) -> tuple[Array, Array]:
    """Find the first maximum of each cell of one axis; a NaN is one."""
    xp, lead, found, where = space.xp, (slice(None),) * axis, [], []
    for a, b in cells:
        if a >= b:
            shape = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
            found.append(space.full(shape, least(xp, x.dtype), x.dtype))
            where.append(space.full(shape, -1, places.dtype))
            continue
        part, spots = x[(*lead, slice(a, b))], places[(*lead, slice(a, b))]
        best = xp.expand_dims(xp.argmax(part, axis=axis), axis=axis)
        found.append(xp.take_along_axis(part, best, axis=axis))
        where.append(xp.take_along_axis(spots, best, axis=axis))
    where = [xp.broadcast_to(w, f.shape) for w, f in zip(where, found, strict=True)]
    return xp.concat(found, axis=axis), xp.concat(where, axis=axis)


def best(*parts: tuple[Array, Array]) -> tuple[Array, Array]:
    """Take of each cell the larger maximum, of equal ones the first in the plane; a NaN is larger than all."""
    value, place = parts[0]
    xp = space_of(value).xp
    for other, spot in parts[1:]:
        equal = (other == value) | ((other != other) & (value != value))
        larger = (other > value) | ((other != other) & (value == value))
        take = (spot >= 0) & ((place < 0) | larger | (equal & (spot < place)))
        value, place = xp.where(take, other, value), xp.where(take, spot, place)
    return value, place


def values(found: tuple[Array, Array]) -> Array:
    """Give maxima without their places."""
    return found[0]


def spread(dy: Array, *, counts: Sequence[Ints], cells: Sequence[Cells], layout: str) -> Array:
    """Give each pixel the shares of the cells that hold it; `cells` are those of each pixel."""
    space = space_of(dy)
    dtype = accumulator(space.xp, dy.dtype)
    shares = divided(cast(space.xp, dy, dtype), counts=counts, layout=layout, dtype=dtype)
    return cast(space.xp, sums(shares, cells=cells, layout=layout), dy.dtype)


def routed(dy: Array, places: Array, *, name: str, part: Slice, layout: str) -> Array:
    """Add each gradient to the pixel that it belongs to, if that lies in a part of the plane."""
    space = space_of(dy)
    xp, sums = space.xp, accumulator(space.xp, dy.dtype)
    check_places(name, space, places, math.prod(part.plane))
    index, gradient = _inside(space, dy, places, part, layout)
    target = space.zeros((dy.shape[0], *part.sizes, dy.shape[1 if layout == "channels_first" else -1]), sums)
    xp.add.at(target, index, cast(xp, gradient, sums))
    return from_channels_last(xp, cast(xp, target, dy.dtype), layout)


def _inside(space: Space, array: Array, places: Array, part: Slice, layout: str) -> tuple[Any, Array]:
    """Give the index (image, *pixel, channel) of what lies in a part of the plane, and its values."""
    xp = space.xp
    array, places = to_channels_last(xp, array, layout), to_channels_last(xp, places, layout)
    rest, inside, spots = places, places >= 0, []
    for (low, high), n in zip(reversed(part.pixels), reversed(part.plane), strict=True):
        spot = rest % n
        inside = inside & (spot >= low) & (spot < high)
        spots.append(spot - low)
        rest = rest // n
    found = xp.nonzero(inside)
    index = (found[0], *(spot[found] for spot in reversed(spots)), found[-1])
    return index, array[found]
