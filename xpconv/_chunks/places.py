"""What tasks of unpooling do: values sorted by where they go, and put there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from xpconv._arrays.scatter import check_places
from xpconv._arrays.space import space_of
from xpconv._arrays.types import Array
from xpconv._arrays.views import from_channels_last, to_channels_last
from xpconv._chunks.cells import Slice
from xpconv._shapes.geometry import Interval, Ints

Box = tuple[Interval, ...]  # of a plane


class Values(NamedTuple):
    """Values on their way."""

    flat: Array  # where each goes, in (n, *plane, C)
    order: Array  # where each comes from, in the whole plane of values
    values: Array


class Part(NamedTuple):
    """A chunk of values, and the blocks of the result that it hands them to."""

    pooled: Slice
    plane: Ints
    over: Box  # the pixels of these
    around: Box


Sorted = tuple[tuple[Values, ...], tuple[Values, ...]]


def sort(y: Array, places: Array, *, name: str, part: Part, layout: str) -> Sorted:
    """Give what goes to the blocks that are lain over, and what goes away: around them, and any that goes elsewhere."""
    space = space_of(y)
    xp, size = space.xp, math.prod(part.plane)
    check_places(name, space, places, size)
    y, places = to_channels_last(xp, y, layout), xp.astype(to_channels_last(xp, places, layout), xp.int64)
    spots, there = _spots(places, part.plane), (places >= 0) & (places < size)

    def of(mask: Array) -> Values:
        image, *pixel, channel = index = xp.nonzero(mask)
        order = 0
        for at, (first, _), n in zip(pixel, part.pooled.pixels, part.pooled.plane, strict=True):
            order = order * n + at + first
        return Values((image * size + places[index]) * y.shape[-1] + channel, order, y[index])

    mine, near = there & _inside(spots, part.over), there & _inside(spots, part.around)
    far = of(there & ~near)
    return (of(mine),), (of(near & ~mine), *([far] if far.values.shape[0] else []))


def elsewhere(*away: tuple[Values, ...]) -> tuple[Values, ...]:
    """Give what goes elsewhere than around the blocks that its chunk lies over."""
    return tuple(values for one in away for values in one[1:])


def put(*found: Any, shape: tuple[int, int], part: Slice, layout: str) -> Array:
    """Put what is for a block in its place, zeros elsewhere; of values at one place the last stands."""
    all_of = list(_flat(found))
    space = space_of(all_of[0].values)
    xp, (images, channels) = space.xp, shape
    flat, order, values = (xp.concat(arrays) for arrays in zip(*all_of, strict=True))
    places = flat // channels
    image, spots = places // math.prod(part.plane), _spots(places % math.prod(part.plane), part.plane)
    own = xp.nonzero(_inside(spots, part.pixels))[0]
    own = own[xp.argsort(order[own], stable=True)]
    pixel = [spot[own] - first for spot, (first, _) in zip(spots, part.pixels, strict=True)]
    target = space.zeros((images, *part.sizes, channels), values.dtype)
    target[(image[own], *pixel, flat[own] % channels)] = values[own]
    return from_channels_last(xp, target, layout)


def _flat(found: Iterable[Any]) -> Iterator[Values]:
    for one in found:
        if isinstance(one, Values):
            yield one
        else:
            yield from _flat(one)


def _spots(places: Array, plane: Ints) -> list[Array]:
    """Give the pixel along each axis of flat places in a plane."""
    found = []
    for n in reversed(plane):
        found.append(places % n)
        places = places // n
    return found[::-1]


def _inside(spots: Sequence[Array], box: Box) -> Array:
    """Say which pixels lie in a box."""
    found = None
    for spot, (low, high) in zip(spots, box, strict=True):
        inside = (spot >= low) & (spot < high)
        found = inside if found is None else found & inside
    return found
