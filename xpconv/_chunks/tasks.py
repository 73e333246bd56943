"""What runs in a task: pieces are laid side by side, and one call is made of them, on one thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import array_api_compat as compat
import numpy as np

from xpconv._arrays.dtypes import cast, read_dtype
from xpconv._arrays.space import space_of
from xpconv._arrays.types import Array
from xpconv._arrays.views import contiguous
from xpconv._options import Options, limited
from xpconv._work.memory import Held


class Place(NamedTuple):
    """Where a piece goes, and which part of its array it is."""

    target: tuple[slice, ...]
    source: tuple[slice, ...] | None  # None: all of it
    flipped: tuple[int, ...]


@dataclass(frozen=True)
class Slab:
    """How pieces make an array."""

    shape: tuple[int, ...]
    places: tuple[Place, ...]
    dtype: str = ""  # of the array if there are no pieces

    def lay(self, pieces: tuple[Array, ...]) -> Array:
        """Lay the pieces side by side; a single one is a view.

        Their memory is in order, as it is after a journey: how some sums are taken depends on it. Where something is
        copied, work memory that is kept for the next call makes room meanwhile, for pieces may be read from a store.
        """
        if not pieces or (len(pieces) == 1 and compat.is_array_api_obj(pieces[0])):
            return self._laid(pieces)
        with Held(beside=2 * math.prod(self.shape) * int(pieces[0].dtype.itemsize)):
            return self._laid(pieces)

    def _laid(self, pieces: tuple[Array, ...]) -> Array:
        if len(pieces) == 1:
            part = _taken(self.places[0], pieces[0])
            if tuple(part.shape) == self.shape:
                return contiguous(compat.array_namespace(part), part)
        slab = None
        for place, piece in zip(self.places, pieces, strict=True):
            part = _taken(place, piece)
            if slab is None:
                slab = space_of(part).empty(self.shape, part.dtype)
            slab[place.target] = part
        return slab


def _taken(place: Place, piece: Array) -> Array:
    part = piece if place.source is None else piece[place.source]
    if not compat.is_array_api_obj(part):  # of an array in a store
        part = np.asarray(part)
    return compat.array_namespace(part).flip(part, axis=place.flipped) if place.flipped else part


def strip(chunk: Array, source: tuple[slice, ...]) -> Array:
    """Copy a part of a chunk: a view would keep the whole chunk alive."""
    part = chunk[source]
    return compat.array_namespace(part).asarray(part, copy=True)


@dataclass(frozen=True)
class Block:
    """One call of a function: on slabs, each laid from the next pieces, and on arrays that come as they are."""

    function: Callable[..., Any]
    settings: Mapping[str, Any]
    slabs: tuple[Slab | None, ...]
    options: Options

    def __call__(self, *pieces: Array) -> Any:
        arrays, first = [], 0
        for slab in self.slabs:
            stop = first + (1 if slab is None else len(slab.places))
            arrays.append(pieces[first] if slab is None else slab.lay(pieces[first:stop]))
            first = stop
        with limited(threads=1, max_workspace=self.options.max_workspace, chosen=self.options.chosen):
            return self.function(*arrays, **self.settings)


def total(*parts: Array) -> Array:
    """Add up, in order."""
    found = parts[0]
    for part in parts[1:]:
        found = found + part
    return found


@dataclass(frozen=True)
class Finish:
    """How sums become a block of a result."""

    dtype: str  # of the result
    axis: int = 0  # along which a bias lies
    channels: Any = None  # a slice of the bias; None: all of it

    def of(self, found: Array, b: Array | None = None) -> Array:
        """Add a bias to sums, and round them."""
        xp = compat.array_namespace(found)
        if b is not None:
            shape = [1] * found.ndim
            shape[self.axis] = -1
            found = found + xp.reshape(
                cast(xp, b if self.channels is None else b[self.channels], found.dtype), tuple(shape)
            )
        return cast(xp, found, read_dtype("", xp, self.dtype))


def summed(*arguments: Array, count: int, finish: Finish) -> Array:
    """Add so many parts up; what follows them is a bias."""
    return finish.of(total(*arguments[:count]), *arguments[count:])


def constant(like: Array, b: Array | None = None, *, shape: tuple[int, ...], finish: Finish) -> Array:
    """Give zeros, or a bias, where `like` is."""
    space = space_of(like)
    zeros = space.zeros(shape, read_dtype("", space.xp, finish.dtype))
    return zeros if b is None else finish.of(zeros, b)


def item(found: tuple[Array, ...], number: int) -> Array:
    """Take one of several results."""
    return found[number]


def kept(found: Array) -> Array:
    """Give what was found, by another name."""
    return found
