"""The gradient of a bias: a sum over all pixels, in a tree of short sums."""

from __future__ import annotations

import math
from typing import Any

from xpconv import _options
from xpconv._backend import Namespace, Traits, cast, fresh, plain, zeros
from xpconv._geometry import Ints, Region
from xpconv._plan import block
from xpconv._run import SMALL, Jobs, Tiles, run, slices
from xpconv._workspace import Workspace

Array = Any

STRETCH = 128  # numbers that are summed one after another


def channel_sum(dz: Array, shape: Ints, xp: Namespace, traits: Traits, sums: Any) -> Array:
    """(n, *pixels, F) -> (F,), in a tree of short sums, so that it is near exact; `shape` is (n, *pixels)."""
    positions, filters = math.prod(shape), dz.shape[-1]
    if positions == 0:
        return zeros(xp, (filters,), sums, dz)
    dz = plain(dz)

    def compute(region: Region, work: Workspace) -> Array:
        total = dz[slices(region)]
        if traits.buffers and total.flags.c_contiguous:  # all pixels in a row
            total = total.reshape(-1, filters)
        for axis in reversed(range(total.ndim - 1)):
            total = _axis_sum(xp, total, axis, sums)
        return total

    jobs = Jobs(compute, _tiles(shape, filters, traits))
    threads = _options.current().threads
    found = run([jobs], xp, traits, sums, threads, positions * filters, collect=True)
    while len(found) > 1:
        found = [a + b for a, b in zip(found[::2], found[1::2], strict=False)] + found[len(found) // 2 * 2 :]
    return fresh(xp, found[0]) if positions == 1 else found[0]  # a single pixel is a view of dz


def additions(shape: Ints, filters: int, traits: Traits) -> int:
    """Count the additions that a number passes at most in `channel_sum`."""
    if math.prod(shape) == 0:
        return 0
    if not traits.mutable:  # may be compiled, and a compiler may make one sum of several
        return math.prod(shape) - 1
    tiles = _tiles(shape, filters, traits)
    # axis by axis, or all pixels in a row; then pairs of tiles
    rows = (math.prod(tiles.tile),), tiles.tile
    return max(sum(n - 1 for size in row for n in _stretches(size)) for row in rows) + (len(tiles) - 1).bit_length()


def _tiles(shape: Ints, filters: int, traits: Traits) -> Tiles:
    """Cut the pixels into the tiles that are summed side by side."""
    split = traits.threads and math.prod(shape) * filters > SMALL
    return Tiles(shape, block(shape, max(SMALL // (2 * filters), 1)) if split else shape)


def _stretches(size: int) -> list[int]:
    """Give how many numbers at a time an axis is summed, level after level; the last sum is all that is left."""
    found = []
    while size > STRETCH:
        found.append(STRETCH)
        size = -(-size // STRETCH)
    return [*found, size]


def _axis_sum(xp: Namespace, array: Array, axis: int, sums: Any) -> Array:
    """Sum along an axis, a stretch at a time."""
    lead = (slice(None),) * axis
    for stretch in _stretches(array.shape[axis])[:-1]:
        count, rest = divmod(array.shape[axis], stretch)
        whole = array[(*lead, slice(0, count * stretch), ...)]
        parts = xp.reshape(whole, (*array.shape[:axis], count, stretch, *array.shape[axis + 1 :]))
        pieces = [xp.sum(parts, axis=axis + 1, dtype=sums)]
        if rest:
            tail = array[(*lead, slice(count * stretch, None), ...)]
            pieces.append(xp.sum(tail, axis=axis, keepdims=True, dtype=sums))
        array = xp.concat(pieces, axis=axis)
    if array.shape[axis] == 1:
        return cast(xp, array[(*lead, 0, ...)], sums)
    return xp.sum(array, axis=axis, dtype=sums)
