"""Adaptive max pooling in few kernels, for a GPU: the pixels of all windows at once, and the windows of all pixels.

A window takes its maximum, and the least place of those that are it. A pixel compares its own place with those of the
windows that read it, and adds the shares of the equal ones, in the order of the windows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast, is_kind, itemsize
from xpconv._arrays.space import Space
from xpconv._arrays.types import Array
from xpconv._engine.results import Result
from xpconv._pooling.lines import Strided
from xpconv._pooling.windows import Windows
from xpconv._shapes.cuts import intervals, slices
from xpconv._shapes.geometry import Ints, Region
from xpconv._work.buffered import workspace

Numbers = np.ndarray[Any, Any]
NOWHERE = -(1 << 60)  # no place, nor a sum of places


def max_pool(call: Call, windows: Windows, x: Array, results: Sequence[Result]) -> bool:
    """(N, *I, C) -> (N, *O, C) into the first result, and the places into the second, if there is one.

    False where that is not served: windows at a stride, and where one channel of one image takes too much memory.
    """
    if not _serves(call, windows):
        return False
    most = call.options.room // _taken(call, windows, x)
    if most:
        work = workspace(call.space, call.arithmetic)
        for region, own in _tiles(windows, most):
            pixels = _Pixels(call.space, windows, x[(slice(*region[0]), ..., own)])
            blocks = [pixels.best(keep=False), *([pixels.spots()] if len(results) > 1 else [])]
            for result, block in zip(results, blocks, strict=True):
                index = (*slices(region)[:-1], own)
                work.store(result.array(), index, block, None)
    return most > 0


def max_pool_vjp(call: Call, windows: Windows, dy: Array, x: Array | None, places: Array | None = None) -> Array | None:
    """(N, *O, C), (N, *I, C) -> (N, *I, C), from the images, or from the places of the maxima; None as above."""
    if not _serves(call, windows):
        return None
    needs = _given(call, windows)
    if x is not None:
        found = math.prod(windows.output) * itemsize(call.xp, call.space.index_dtype)
        needs = max(needs, _taken(call, windows, x)) + found
    most = call.options.room // needs
    if most == 0:
        return None
    result, work = Result.of(call, windows.input_shape), workspace(call.space, call.arithmetic)
    for region, own in _tiles(windows, most):
        index = (slice(*region[0]), ..., own)
        shares = dy[index] if call.lens is None else call.lens.look(dy[index])
        spots = cast(call.xp, places[index], call.space.index_dtype) if places is not None else None
        if x is not None:
            spots = _Pixels(call.space, windows, x[index]).spots()
        block = _sums(call, windows, cast(call.xp, shares, call.arithmetic.sums), spots)
        work.store(result.array(), (slice(*region[0]), *(slice(None),) * windows.rank, own), block, None)
    return result.array()


# --- how much at once -----------------------------------------------------------------------------


def _serves(call: Call, windows: Windows) -> bool:
    return call.traits.outs and not windows.strided and math.prod(windows.output_shape) > 0


def _taken(call: Call, windows: Windows, x: Array) -> int:
    """Count the bytes of gathered pixels, of marks, and of places, for one channel of one image."""
    size, wide = itemsize(call.xp, x.dtype), itemsize(call.xp, call.space.index_dtype)
    taps = [index.size for index in map(_windows, windows.lines)]
    return math.prod(taps) * (size + 3 + 2 * wide) + _between(taps, windows.input) * size


def _given(call: Call, windows: Windows) -> int:
    """Count the bytes of gathered places and shares, and of marks, for one channel of one image."""
    sums, wide = itemsize(call.xp, call.arithmetic.sums), itemsize(call.xp, call.space.index_dtype)
    readers = [index.size for index, _ in map(_readers, windows.lines)]
    between = _between(readers, windows.output) * max(sums, wide)
    return math.prod(readers) * (2 * wide + 2 * sums + 1) + between + math.prod(windows.input) * sums


def _between(gathered: Sequence[int], there: Ints) -> int:
    """Count the elements of arrays that are gathered along some axes only."""
    return sum(math.prod((*gathered[:axis], *there[axis:])) for axis in range(1, len(there)))


def _tiles(windows: Windows, most: int) -> Iterator[tuple[Region, slice]]:
    """Give some images and channels at a time."""
    channels = min(most, windows.channels)
    for images in intervals(windows.batch, max(most // channels, 1)):
        for some in intervals(windows.channels, channels):
            yield (images, *((0, line.count) for line in windows.lines)), slice(*some)


# --- from windows to their pixels, and back -------------------------------------------------------


@lru_cache(maxsize=256)
def _windows(line: Strided) -> Numbers:
    """Give the pixels (O, K) of each window of an axis; a shorter one reads its last pixel again."""
    found: Numbers = np.stack([pick.index for pick in line.taps((0, line.count))], axis=1)
    return found


@lru_cache(maxsize=256)
def _readers(line: Strided) -> tuple[Numbers, Numbers]:
    """Give the windows (R, I) in turn that read each pixel of an axis, and whether there is one."""
    picks = list(line.readings(0, (0, line.size), 0))
    there = [np.ones(line.size, np.bool_) if pick.there is None else pick.there for pick in picks]
    return np.stack([pick.index for pick in picks]), np.stack(there)


def _gathered(space: Space, array: Array, indices: Sequence[Numbers]) -> Array:
    """(n, *sources, C) -> (n, *indices, C), an index for each axis, of whatever shape."""
    for axis, index in enumerate(indices, start=1):
        array = space.xp.take(array, space.array(index.ravel(), space.index_dtype), axis=axis)
    return array


def _summed(space: Space, parts: Sequence[Numbers]) -> Array:
    """Add up an array for each axis, to broadcast: (1, *A, *B, …, 1)."""
    before, behind, total = 1, sum(part.ndim for part in parts) + 1, None
    for part in parts:
        behind -= part.ndim
        here = space.array(part, space.index_dtype)
        here = space.xp.reshape(here, (*(1,) * before, *part.shape, *(1,) * behind))
        before += part.ndim
        total = here if total is None else total + here
    return total


def _steps(windows: Windows) -> list[int]:
    """Give the places between two pixels that are neighbours along each axis."""
    return [math.prod(windows.input[axis + 1 :]) for axis in range(windows.rank)]


class _Pixels:
    """The pixels (n, *(O, K), C) of all windows of some images and channels."""

    def __init__(self, space: Space, windows: Windows, x: Array) -> None:
        self.space, self.windows, self.indices = space, windows, [_windows(line) for line in windows.lines]
        shape = (x.shape[0], *itertools.chain.from_iterable(index.shape for index in self.indices), x.shape[-1])
        self.pixels = space.xp.reshape(_gathered(space, x, self.indices), shape)
        self.axes = tuple(range(2, 2 * windows.rank + 1, 2))

    def best(self, *, keep: bool) -> Array:
        """(n, *O, C): the maxima; `keep` the axes of the taps."""
        return self.space.xp.max(self.pixels, axis=self.axes, keepdims=keep)

    def spots(self) -> Array:
        """(n, *O, C): the place in the plane of each maximum: the first, or the first NaN, in row-major order."""
        xp, pixels = self.space.xp, self.pixels
        hit = pixels == self.best(keep=True)
        if is_kind(xp, pixels.dtype, "real floating"):  # of a window with a NaN nothing is equal to the maximum
            hit = hit | (pixels != pixels)
        places = _summed(
            self.space, [index * step for index, step in zip(self.indices, _steps(self.windows), strict=True)]
        )
        return xp.min(xp.where(hit, places, math.prod(self.windows.input)), axis=self.axes)


def _sums(call: Call, windows: Windows, shares: Array, spots: Array) -> Array:
    """(n, *O, C) twice -> (n, *I, C): what each pixel gets of the windows whose maximum has its place."""
    xp, space = call.xp, call.space
    readers = [_readers(line) for line in windows.lines]
    indices = [index for index, _ in readers]
    own = [
        np.where(there, np.arange(line.size) * step, NOWHERE).ravel()
        for (_, there), line, step in zip(readers, windows.lines, _steps(windows), strict=True)
    ]
    hit = _gathered(space, spots, indices) == _summed(space, own)
    routed = xp.where(hit, _gathered(space, shares, indices), 0)
    shape = (shares.shape[0], *itertools.chain.from_iterable(index.shape for index in indices), shares.shape[-1])
    routed = xp.reshape(routed, shape)
    total = space.zeros((shares.shape[0], *windows.input, shares.shape[-1]), shares.dtype)
    for turn in itertools.product(*(range(index.shape[0]) for index in indices)):
        part = routed[(slice(None), *itertools.chain.from_iterable((one, slice(None)) for one in turn), slice(None))]
        xp.add(total, part, out=total)
    return total
