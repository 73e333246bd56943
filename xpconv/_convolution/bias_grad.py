"""The gradient of a bias: a sum over all pixels, in a tree of short sums."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast
from xpconv._arrays.types import Array, DType, Namespace, Traits
from xpconv._arrays.views import fresh, plain
from xpconv._engine.jobs import Jobs, run
from xpconv._shapes.cuts import Tiles, block, slices
from xpconv._shapes.geometry import Ints, Region

STRETCH = 128  # numbers that are summed one after another
TILE = 1 << 19  # numbers that a thread sums at once
SHARE = 1 << 21  # bytes of the workspace for each thread, whose sums of stretches take a few of them
WIDE = 512  # numbers in a row that is added at once; of rows of 8 the sum took 14 times as long


def bias_grad(call: Call, dz: Array, shape: Ints) -> Array:
    """(n, *pixels, F) -> (F,) in the dtype of the sums, in a tree of short sums, so that it is near exact.

    `shape` is (n, *pixels).
    """
    positions, filters = math.prod(shape), dz.shape[-1]
    if positions == 0:
        return call.space.zeros((filters,), call.arithmetic.sums)
    dz = plain(dz)
    jobs = Jobs(lambda region, work: part(call, dz, region), regions(shape, filters, call.traits))
    count = positions * filters
    found = run([jobs], call.space, call.arithmetic, workers(call), count, collect=True, blas=False)
    return joined(call, found, shape)


def workers(call: Call) -> int:
    """Give how many threads may sum side by side."""
    return max(1, min(call.options.threads, call.options.max_workspace // SHARE))


def part(call: Call, dz: Array, region: Region) -> Array:
    """Sum a tile."""
    total, sums = dz[slices(region)], call.arithmetic.sums
    if call.traits.buffers and total.flags.c_contiguous:
        return _row_sum(call.xp, total.reshape(-1, dz.shape[-1]), sums)
    for axis in reversed(range(total.ndim - 1)):
        total = _axis_sum(call.xp, total, axis, sums)
    return total


def joined(call: Call, parts: Sequence[Array], shape: Ints) -> Array:
    """Add the sums of the tiles up in pairs."""
    found = list(parts)
    while len(found) > 1:
        found = [a + b for a, b in zip(found[::2], found[1::2], strict=False)] + found[len(found) // 2 * 2 :]
    return fresh(call.xp, found[0]) if math.prod(shape) == 1 else found[0]  # a single pixel is a view of dz


def additions(shape: Ints, filters: int, traits: Traits) -> int:
    """Count the additions that a number passes at most in `channel_sum`."""
    if math.prod(shape) == 0:
        return 0
    if not traits.mutable:  # may be compiled, and a compiler may make one sum of several
        return math.prod(shape) - 1
    tiles = regions(shape, filters, traits)
    pixels = math.prod(tiles.tile)
    together = min(max(WIDE // filters, 1), pixels)
    # axis by axis, or all pixels in a row: some side by side, those, and the pixels that are left; then pairs of tiles
    ways = tiles.tile, (pixels // together, together, 1 + (pixels % together > 0))
    return max(sum(n - 1 for size in way for n in _stretches(size)) for way in ways) + (len(tiles) - 1).bit_length()


def _row_sum(xp: Namespace, pixels: Array, sums: DType) -> Array:
    """Sum (n, F) over the pixels, several side by side: short rows are slow to add."""
    count, filters = pixels.shape
    together = min(max(WIDE // filters, 1), count)
    whole = count - count % together
    side = _axis_sum(xp, pixels[:whole].reshape(-1, together * filters), 0, sums)
    total = _axis_sum(xp, side.reshape(together, filters), 0, sums)
    return total + _axis_sum(xp, pixels[whole:], 0, sums) if whole < count else total


def regions(shape: Ints, filters: int, traits: Traits) -> Tiles:
    """Cut the pixels into the tiles that are summed side by side."""
    split = traits.threads and math.prod(shape) * filters > TILE
    return Tiles(shape, block(shape, max(TILE // filters, 1)) if split else shape)


def _stretches(size: int) -> list[int]:
    """Give how many numbers at a time an axis is summed, level after level; the last sum is all that is left."""
    found = []
    while size > STRETCH:
        found.append(STRETCH)
        size = -(-size // STRETCH)
    return [*found, size]


def _axis_sum(xp: Namespace, array: Array, axis: int, sums: DType) -> Array:
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
