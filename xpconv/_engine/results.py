"""Where the blocks of tiles go: into a result that is allocated first, or side by side at the end.

Where arrays can be written, a result is allocated once and each tile writes its block; elsewhere (any traced or
immutable array) the blocks are kept and joined by concatenation. The tile functions are the same.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast
from xpconv._arrays.space import Space
from xpconv._arrays.types import Array
from xpconv._shapes.cuts import Tiles, slices
from xpconv._shapes.geometry import Ints, Region
from xpconv._work.workspace import Workspace


class Result(ABC):
    """A result (N, *O, F), or a part of one, that the tiles of a call make; channels last, whatever the layout."""

    @staticmethod
    def of(call: Call, shape: Ints, out: Array | None = None) -> Result:
        """Begin a result of a call, in its layout and the dtype that its sums are rounded to; in `out` if there is one.

        That one is channels last and of the shape and dtype of the result.
        """
        if out is not None:
            return Written(out)
        if call.traits.mutable:
            return Written(call.space.empty(shape, call.arithmetic.result, call.layout))
        return Kept(call.space, call.arithmetic, rounded=True)

    @abstractmethod
    def expect(self, tiles: Tiles) -> None:
        """Say which tiles are going to come, in order."""

    @abstractmethod
    def out(self, work: Workspace, region: Region, bias: Array | None = None) -> Array | None:
        """Give the region if an algorithm may write right into it, perhaps with the bias."""

    @abstractmethod
    def put(self, work: Workspace, region: Region, block: Array, bias: Array | None = None) -> None:
        """Take the block of a region, plus the bias."""

    @abstractmethod
    def fill(self, shape: Ints, bias: Array | None) -> None:
        """Take the bias, or zeros, for all of a part of this shape."""

    @abstractmethod
    def channels(self, parts: Sequence[slice]) -> Sequence[Result]:
        """Cut into blocks of channels, which are made by themselves."""

    @abstractmethod
    def phases(self, size: Ints, stride: Ints) -> Sequence[Result]:
        """Cut the spatial axes into the phases of a stride, which are made by themselves, in the order of residues."""

    @abstractmethod
    def array(self) -> Array:
        """Give the whole, when all is there."""


class Written(Result):
    """A result in memory of its own, or a part of it."""

    def __init__(self, target: Array, *path: tuple[Any, ...]) -> None:
        self.target, self._path = target, path

    def array(self) -> Array:
        # a view is taken at the time of writing: PyTorch's autograd lets no write pass by an earlier view
        view = self.target
        for index in self._path:
            view = view[index]
        return view

    def expect(self, tiles: Tiles) -> None:
        pass

    def out(self, work: Workspace, region: Region, bias: Array | None = None) -> Array | None:
        return work.destination(self.array(), slices(region), bias)

    def put(self, work: Workspace, region: Region, block: Array, bias: Array | None = None) -> None:
        work.store(self.array(), slices(region), block, bias)

    def fill(self, shape: Ints, bias: Array | None) -> None:
        self.array()[...] = 0 if bias is None else bias

    def channels(self, parts: Sequence[slice]) -> Sequence[Result]:
        return [Written(self.target, *self._path, (..., part)) for part in parts]

    def phases(self, size: Ints, stride: Ints) -> Sequence[Result]:
        axes = ([slice(first, n, step) for first in range(min(step, n))] for n, step in zip(size, stride, strict=True))
        return [Written(self.target, *self._path, (slice(None), *place)) for place in itertools.product(*axes)]


class Kept(Result):
    """Blocks that are joined at the end."""

    def __init__(self, space: Space, arithmetic: Arithmetic, *, rounded: bool = False) -> None:
        self._space, self._arithmetic, self._rounded = space, arithmetic, rounded
        self._blocks: list[Array] = []
        self._counts: Ints = ()  # of tiles along each axis
        self._parts: list[Kept] = []
        self._grid: tuple[Ints, Ints] | None = None  # size and stride, if the parts are phases, not blocks of channels

    def array(self) -> Array:
        xp = self._space.xp
        if self._grid is not None:
            found = interleave(self._space, [part.array() for part in self._parts], *self._grid)
        elif self._parts:
            found = xp.concat([part.array() for part in self._parts], axis=-1)
        else:
            found = join(self._space, self._blocks, self._counts)
        return cast(xp, found, self._arithmetic.result) if self._rounded else found

    def expect(self, tiles: Tiles) -> None:
        self._counts = tiles.counts

    def out(self, work: Workspace, region: Region, bias: Array | None = None) -> Array | None:
        return None

    def put(self, work: Workspace, region: Region, block: Array, bias: Array | None = None) -> None:
        self._blocks.append(block if bias is None else block + bias)

    def fill(self, shape: Ints, bias: Array | None) -> None:
        blank = self._space.zeros(shape, self._arithmetic.sums)
        self._blocks.append(blank if bias is None else blank + bias)

    def channels(self, parts: Sequence[slice]) -> Sequence[Result]:
        self._parts = [Kept(self._space, self._arithmetic) for _ in parts]
        return self._parts

    def phases(self, size: Ints, stride: Ints) -> Sequence[Result]:
        self._grid = size, stride
        return self.channels([slice(None)] * math.prod(map(min, size, stride)))


def join(space: Space, blocks: list[Array], counts: Ints) -> Array:
    """Join blocks of tiles, so many along each axis, in order."""
    for axis in reversed(range(len(counts))):
        step = counts[axis]
        if step > 1:
            blocks = [space.xp.concat(blocks[i : i + step], axis=axis) for i in range(0, len(blocks), step)]
    return blocks[0]


def interleave(space: Space, pieces: list[Array], size: Ints, stride: Ints) -> Array:
    """Join the phases of a stride, in the order of residues: pixel first + stride * t is pixel t of its phase."""
    xp = space.xp
    for axis in reversed(range(len(size))):
        count = min(stride[axis], size[axis])
        if count == 1:
            continue
        joined = []
        for i in range(0, len(pieces), count):
            group = pieces[i : i + count]
            longest = group[0].shape[axis + 1]
            shape = list(group[0].shape)
            for k, piece in enumerate(group):
                if piece.shape[axis + 1] < longest:
                    short = (*piece.shape[: axis + 1], 1, *piece.shape[axis + 2 :])
                    group[k] = xp.concat([piece, space.full(short, 0, piece.dtype)], axis=axis + 1)
            shape[axis + 1] *= count
            # (…, T, …) each -> (…, T, stride, …) -> (…, T·stride, …)
            whole = xp.reshape(xp.stack(group, axis=axis + 2), tuple(shape))
            index = [slice(None)] * len(shape)
            index[axis + 1] = slice(0, size[axis])
            joined.append(whole[tuple(index)])
        pieces = joined
    return pieces[0]
