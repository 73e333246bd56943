"""The tile of a plan: small enough for the cache and the workspace, thick enough for its array calls to pay."""

from __future__ import annotations

import math

from xpconv._plan.case import Case
from xpconv._shapes.cuts import PARTS, block, cube
from xpconv._shapes.geometry import Geometry, Ints
from xpconv.algorithms.cost import Work

SMALL_TILE = 1 << 20  # bytes of a tile that is not made smaller for the sake of many workers
TILE_FLOPS = 32_000_000  # less than this in a tile, and what two threads wait for each other shows
LONGEST = 256  # output pixels along an axis of a tile that is to be compact, unless the algorithm's own has more


def tile_bytes(work: Work, geometry: Geometry, tile: Ints, itemsize: int) -> int:
    """Count the bytes of work arrays that a tile (n, *output) takes."""
    step = work.step or (1,) * geometry.rank
    whole = [-(-n // m) * m for n, m in zip(tile[1:], step, strict=True)]
    slab = tile[0] * math.prod(geometry.slab_size(a, n) for a, n in enumerate(whole)) * (geometry.channels + work.read)
    return (slab + tile[0] * math.prod(whole) * work.elements) * itemsize


def choose_tile(work: Work, case: Case, room: int) -> Ints:
    """Choose a tile (n, *output) for `room` bytes."""
    geometry, traits, itemsize = case.geometry, case.traits, case.numbers.itemsize
    flops = max(2 * geometry.products * geometry.filters, 1)
    share = room // 2 if traits.cache is None else room // (4 if traits.threads else 1)
    cache = share if traits.cache is None else min(traits.cache, share)
    if traits.threads:  # on many cores all tiles together have to fit the room
        cache = min(cache, max(room // 16, SMALL_TILE))
    pixel = max((work.elements + work.read) * itemsize, 1)
    pixels = least = max(cache // pixel, 1)
    if traits.threads:
        # thin enough to share among cores, but thick enough not to be bound by packing the weight, or by adding up
        # the parts of its gradient
        size = geometry.products * geometry.filters
        thick = work.thick or (min(size >> 9, 1024) if case.gradient else min(size >> 11, 256))
        pays = max((work.pays or TILE_FLOPS) // flops, 1)
        thin = max(-(-geometry.positions // PARTS), pays)
        pixels = min(max(min(pixels, thin), thick), max(share // pixel, 1))
        least = max(pays, thick)
    step = (1, *(work.step or (1,) * geometry.rank))
    shape = [-(-n // m) for n, m in zip((geometry.batch, *geometry.output), step, strict=True)]
    count, compact = max(pixels // math.prod(step), 1), False
    while True:
        found = cube(tuple(shape), step, count * math.prod(step), LONGEST) if compact else block(tuple(shape), count)
        tile = tuple(n * m for n, m in zip(found, step, strict=True))
        if count > 1 and tile_bytes(work, geometry, tile, itemsize) > room:
            count = min(count, math.prod(tile) // math.prod(step)) // 2
        elif case.compact and traits.threads and not compact and max(tile[1:]) > max(LONGEST, *step):
            count, compact = max(min(count, least // math.prod(step)), 1), True
        else:
            return tile
