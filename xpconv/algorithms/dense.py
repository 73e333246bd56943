"""How a convolution with many channels is cut for its loops (`xpconv._compiled.dense`), and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from xpconv._compiled.dense import SUMMED, TEMPORARY
from xpconv._compiled.lanes import LANES
from xpconv._compiled.rows import BLOCK
from xpconv._shapes.cuts import intervals
from xpconv._shapes.geometry import Geometry, Interval, Ints

PIXELS = 128 << 10  # bytes of the pixels that the products summed in one go read, as a part of the second cache
PAYS = 4_000_000  # flops of a piece, of which there is an even number: half a tenth of a millisecond
# flops up to which one thread does all: handing a part over takes 30 µs to a thread that is awake, 0.1 ms to another.
# Inception v2's convolutions for one image, prepared, by this limit in millions, median: 30 37 ms, 12 33, 6 32
ALONE = 12_000_000
MOST = 32  # pieces
SHARED = 4  # blocks of filters for which a pixel is laid out, at least, where it pays to cut them
# multiply-adds of `_plan.rates.RATES["cpu"].fused` that take as long as one of the loops'; as what is done once for a
# window and a block; as laying out a number; elements that are moved as long as a number of the weight is packed. All
# of them three quarters of what was measured, since matrix products take a third longer than the plan charges them with
MULTIPLIED, BEGUN, LAID_OUT, PACKED = 0.1, 8.0, 0.7, 1.6


def blocks_of(geometry: Geometry) -> int:
    """Count the blocks of filters, of all groups."""
    return geometry.groups * -(-geometry.filters // geometry.groups // BLOCK)


def fused(geometry: Geometry) -> float:
    """Count multiply-adds for one output pixel, those of whole vectors, and what they begin with."""
    own = geometry.filters // geometry.groups
    vectors = geometry.groups * -(-own // LANES)
    pixels = LAID_OUT * geometry.channels * _laid_out(geometry)
    return MULTIPLIED * geometry.products * vectors * LANES + BEGUN * blocks_of(geometry) + pixels


def _laid_out(geometry: Geometry) -> int:
    """Count the pixels that are laid out for a window."""
    return math.prod(geometry.stride) if any(map(any, geometry.padding)) else 0


def goes_beyond(geometry: Geometry, pixels: Ints, leads: Ints, output: Ints) -> bool:
    """Say whether a tap of so many windows lies beyond the pixels; the first tap of the first lies at `leads`."""
    axes = zip(leads, output, geometry.stride, geometry.span, pixels, strict=True)
    return any(lead < 0 or lead + (n - 1) * step + span > size for lead, n, step, span, size in axes)


def tile(geometry: Geometry, output: Ints, itemsize: int, laid: bool) -> tuple[int, int, int]:
    """Say how many windows make a tile, or how many rows of windows where they are laid out; and of what size that is.

    `output`: the windows along each axis; `laid`: they may be laid out.
    """
    count = max(PIXELS // (min(geometry.products, SUMMED) * itemsize), 1)
    rows = min(max(count // output[-1], 1), output[-2] if len(output) > 1 else 1)
    size = geometry.channels if laid else 0
    for axis, windows in enumerate((rows, output[-1])[-len(output) :], max(len(output) - 2, 0)):
        size *= geometry.slab_size(axis, windows)
    return min(count, math.prod(output)), rows, size * math.prod(geometry.kernel[:-2])


def room(size: int) -> int:
    """Count the numbers of work memory, with those of rows that are laid out."""
    return BLOCK + TEMPORARY + size


def cuts(geometry: Geometry) -> Iterator[tuple[Interval, Interval, Interval]]:
    """Cut into images, rows of the first axis and blocks of filters: these if the weight is most of what is read."""
    count, blocks = min(geometry.flops // PAYS, MOST), blocks_of(geometry)
    count = count + count % 2 if geometry.flops > ALONE else 1
    images, rows, every = (0, geometry.batch), (0, geometry.output[0]), (0, blocks)
    pixels = geometry.batch * geometry.channels * math.prod(geometry.input)
    if count < 2:
        yield images, rows, every
    elif geometry.products * geometry.filters >= pixels:
        count = min(count, max(blocks // max(SHARED * _laid_out(geometry), 1), 2))
        for part in intervals(blocks, -(-blocks // count)):
            yield images, rows, part
    else:
        alone = -(-geometry.batch // count)
        along = min(-(-count // geometry.batch), rows[1]) if alone == 1 and geometry.rank > 1 else 1
        for some in intervals(geometry.batch, alone):
            for part in intervals(rows[1], -(-rows[1] // along)):
                yield some, part, every
