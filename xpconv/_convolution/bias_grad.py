"""The gradient of a bias: a sum over all pixels, in a tree of short sums."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast
from xpconv._arrays.types import Array, DType, Namespace, Traits
from xpconv._arrays.views import fresh, plain
from xpconv._engine.jobs import Jobs, run
from xpconv._engine.noted import Notes
from xpconv._engine.repeat import repeats
from xpconv._shapes.cuts import Tiles, block, slices
from xpconv._shapes.geometry import Ints, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.workspace import Workspace

STRETCH = 128  # numbers that are summed one after another
TILE = 1 << 19  # numbers that a thread sums at once
SHARE = 1 << 21  # bytes of the workspace for each thread, whose sums of stretches take a few of them
WIDE = 512  # numbers in a row that is added at once; of rows of 8 the sum took 14 times as long


def bias_grad(call: Call, dz: Array, shape: Ints) -> Array:
    """(n, *pixels, F) -> (F,) in the dtype of the sums, in a tree of short sums, so that it is near exact.

    `shape` is (n, *pixels).
    """
    xp, traits, sums = call.xp, call.traits, call.arithmetic.sums
    positions, filters = math.prod(shape), dz.shape[-1]
    if positions == 0:
        return call.space.zeros((filters,), sums)
    dz = plain(dz)
    tree = _tree(shape, filters, traits)
    noted = repeats.perform(_note, call, tree, [dz])
    if noted is not None:
        return noted

    def compute(region: Region, work: Workspace) -> Array:
        total = dz[slices(region)]
        if traits.buffers and total.flags.c_contiguous:
            return work.keep(_row_sum(work, total.reshape(-1, filters)))
        for axis in reversed(range(total.ndim - 1)):
            total = _axis_sum(xp, total, axis, sums)
        return total

    jobs = Jobs(compute, tree.tiles)
    threads = max(1, min(call.options.threads, call.options.max_workspace // SHARE))
    found = run([jobs], call.space, call.arithmetic, threads, positions * filters, collect=True, blas=False)
    found = pairs(found)
    return fresh(xp, found[0]) if positions == 1 else found[0]  # a single pixel is a view of dz


@dataclass(frozen=True)
class _Tree:
    """How the pixels are summed."""

    tiles: Tiles  # side by side
    workspace: int = SHARE


@lru_cache(maxsize=1024)
def _tree(shape: Ints, filters: int, traits: Traits) -> _Tree:
    return _Tree(_tiles(shape, filters, traits))


def _note(call: Call, tree: _Tree, notes: Notes, arrays: list[Array]) -> Array | None:
    """Note a sum of one tile whose pixels lie in a row."""
    (dz,) = arrays
    if len(tree.tiles) > 1 or not dz.flags.c_contiguous:
        return None
    filters = dz.shape[-1]
    target: Array = call.space.empty((filters,), call.arithmetic.sums)
    notes.know(target)

    def compute(_: Region, work: Workspace) -> None:
        work.do(np.copyto, target, _row_sum(work, dz.reshape(-1, filters)))

    notes.run([Jobs(compute, tree.tiles)], call.space, call.arithmetic, 1, dz.size, blas=False)
    return target


@dataclass(frozen=True)
class Sums:
    """The same sums by loops (`_compiled.pixel_sums`), of pixels that lie in a row."""

    tiles: tuple[Region, ...]
    together: tuple[int, ...]  # pixels side by side, tile by tile
    stretch: int
    room: int  # numbers of work memory


@lru_cache(maxsize=1024)
def in_loops(shape: Ints, filters: int, traits: Traits) -> Sums:
    """Describe the sums to the loops."""
    tiles, room, every = tuple(_tree(shape, filters, traits).tiles), 0, []
    for region in tiles:
        count = math.prod(stop - start for start, stop in region)
        together = min(max(WIDE // filters, 1), count)
        rest = count % together
        side = together * (1 + _summed(count // together))  # in pixels: of all side by side, of those, of the rest
        room = max(room, filters * max(side, together + 1 + _summed(together), together + 2 + _summed(rest)))
        every.append(together)
    return Sums(tiles, tuple(every), STRETCH, room)


def pairs(found: list[Array]) -> list[Array]:
    """Add tiles two by two, until there is one."""
    while len(found) > 1:
        found = [a + b for a, b in zip(found[::2], found[1::2], strict=False)] + found[len(found) // 2 * 2 :]
    return found


def _summed(rows: int) -> int:
    """Count the sums of stretches, on all levels, which loops keep even where all rows are one."""
    found = count = -(-rows // STRETCH)
    while count > 1:
        count = -(-count // STRETCH)
        found += count
    return found


def additions(shape: Ints, filters: int, traits: Traits) -> int:
    """Count the additions that a number passes at most in `channel_sum`."""
    if math.prod(shape) == 0:
        return 0
    if not traits.mutable:  # may be compiled, and a compiler may make one sum of several
        return math.prod(shape) - 1
    tiles = _tiles(shape, filters, traits)
    pixels = math.prod(tiles.tile)
    together = min(max(WIDE // filters, 1), pixels)
    # axis by axis, or all pixels in a row: some side by side, those, and the pixels that are left; then pairs of tiles
    ways = tiles.tile, (pixels // together, together, 1 + (pixels % together > 0))
    return max(sum(n - 1 for size in way for n in _stretches(size)) for way in ways) + (len(tiles) - 1).bit_length()


def _row_sum(work: Workspace, pixels: Array) -> Array:
    """Sum (n, F) over the pixels, several side by side: short rows are slow to add. NumPy's alone."""
    count, filters = pixels.shape
    together = min(max(WIDE // filters, 1), count)
    whole = count - count % together
    side = _rows_sum(work, "side", pixels[:whole].reshape(-1, together * filters))
    total = _rows_sum(work, "total", side.reshape(together, filters))
    if whole < count:
        work.do(np.add, total, _rows_sum(work, "rest", pixels[whole:]), out=total)
    return total


def _rows_sum(work: Workspace, name: str, rows: Array) -> Array:
    """(n, m) -> (m,), a stretch at a time."""
    assert isinstance(work, BufferedWorkspace)
    width = rows.shape[1]
    for level, stretch in enumerate(_stretches(len(rows))[:-1]):
        count, rest = divmod(len(rows), stretch)
        sums = work.buffer(f"{name} {level}", (count + (rest > 0), width), work.sums)
        parts = rows[: count * stretch].reshape(count, stretch, width)
        work.do(np.add.reduce, parts, axis=1, dtype=work.sums, out=sums[:count])
        if rest:
            work.do(np.add.reduce, rows[count * stretch :], axis=0, dtype=work.sums, out=sums[count])
        rows = sums
    total = work.buffer(name, (width,), work.sums)
    if len(rows) == 1:
        work.do(np.copyto, total, rows[0])
    else:
        work.do(np.add.reduce, rows, axis=0, dtype=work.sums, out=total)
    return total


def _tiles(shape: Ints, filters: int, traits: Traits) -> Tiles:
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
