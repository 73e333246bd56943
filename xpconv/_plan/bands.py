"""How col2im cuts the images, and what that is predicted to cost, beside the plans of the stride phases."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from xpconv._arrays.call import Call
from xpconv._plan.choose import ALONE
from xpconv._plan.rates import RATES, THIN
from xpconv._plan.record import Plan
from xpconv._shapes.cuts import PARTS
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work.memory import UFUNC_BUFFERS
from xpconv.algorithms import REGISTRY
from xpconv.algorithms.cost import charged_products

# measured on the machine of `rates.RATES`, on a dozen layers of 3 to 512 channels, 2026-11
TILE = 1 << 22  # bytes that a tile's work arrays should have at most: the fewer calls, the less threads wait
ALONE_FLOPS = 32_000_000  # in a call that is taken at once if it fits: less than threads pay for
LEAST_FLOPS = 4_000_000  # in a tile of whole images; below, calls take longer than arithmetic
# what the plans of several phases predict counts so many times, because they come nearer to the truth than what is
# predicted here: of 14 layers on two threads all but one (15.2 against 15.7 ms) then get the faster of the two
OPTIMISTIC = 1.2
PHASE = 40e-6  # seconds that each phase takes beside what its plan predicts
LOOPS = 80e-6  # ... and with compiled loops, whose weight is laid out anew
TURNED = 3e-9  # seconds to lay out one number of the weight anew
ADDED_PIECE = 17e-9  # seconds to add one contiguous piece of the shares


@dataclass(frozen=True)
class Bands:
    """How the images are cut, and what that is predicted to cost."""

    images: int
    rows: int  # of the images, along their first spatial axis
    workers: int
    seconds: float  # for one worker
    workspace: int  # bytes


def possible(call: Call, geometry: Geometry) -> Bands | None:
    """Cut the images whatever it costs; None where this does not serve."""
    numbers = call.arithmetic.numbers
    if geometry.groups > 1 or not call.traits.buffers or numbers.exact is not None or geometry.positions == 0:
        return None
    return _bands(geometry, numbers.itemsize, call.room, call.options.threads)


def cheaper(call: Call, geometry: Geometry, phases: Iterable[Plan]) -> Bands | None:
    """Cut the images, if that is predicted to take less time than the plans of the phases."""
    found = possible(call, geometry)
    if found is None:
        return None
    plans = list(phases)
    seconds = sum(plan.seconds for plan in plans)
    seconds = seconds * (OPTIMISTIC if len(plans) > 1 else 1) + PHASE * len(plans)
    seconds += LOOPS * sum(REGISTRY[plan.algorithm].clips for plan in plans)
    return found if found.seconds < seconds else None


@lru_cache(maxsize=1024)
def _bands(geometry: Geometry, itemsize: int, room: int, threads: int) -> Bands | None:
    size, stride, span = geometry.input[0], geometry.stride[0], geometry.span[0]
    columns = geometry.taps * geometry.channels
    across = math.prod(geometry.output[1:])  # windows beside each other
    wide = math.prod(extents(geometry, geometry.output)[1:]) * geometry.channels  # numbers in a row of the sum
    weight = geometry.filters * columns

    def windows(rows: int) -> int:
        """Count the windows along the first axis that reach so many rows."""
        return min(-(-(rows + span - 1) // stride), geometry.output[0])

    def needs(images: int, rows: int) -> int:
        count = windows(rows)
        share = count * across * columns + ((count - 1) * stride + span) * wide
        return images * (share + count * across * geometry.filters) * itemsize + UFUNC_BUFFERS

    room -= weight * itemsize
    enough = min(TILE, room // 4)
    rows = size
    while rows > 1 and needs(1, rows) > enough:
        rows = -(-rows // 2)
    if needs(1, rows) > room:
        return None
    images, flops = 1, 2 * windows(rows) * across * weight
    if rows == size:
        most = max(-(-geometry.batch // PARTS), -(-LEAST_FLOPS // flops))
        if flops * geometry.batch <= ALONE_FLOPS:  # a single tile can be noted, and need not be found anew
            most = geometry.batch
        while images < min(geometry.batch, most) and needs(min(2 * images, geometry.batch), rows) <= enough:
            images = min(2 * images, geometry.batch)
    tiles = -(-size // rows) * -(-geometry.batch // images)
    count = geometry.batch * -(-size // rows) * windows(rows) * across  # of windows, those of two bands counted twice
    rates, pieces = RATES["cpu"], _pieces(geometry)
    moved = 4 * columns * count + 4 * geometry.batch * size * wide
    thin = 1 + THIN / (images * windows(rows) * across)  # each tile reads the weight
    seconds = (
        itemsize / 4 * count * charged_products(1, geometry.filters, columns) * thin * rates.multiply_add
        + itemsize * (moved + tiles * weight) * rates.byte
        + weight * TURNED
        + count * pieces * ADDED_PIECE
        + tiles * (pieces * sets(geometry) + 5) * rates.call
    )
    workers = max(1, min(threads, room // needs(images, rows))) if seconds >= ALONE else 1
    return Bands(images, rows, workers, seconds, weight * itemsize + workers * needs(images, rows))


def extents(geometry: Geometry, output: Ints) -> Ints:
    """Count the pixels from the first that so many windows reach to the last, for each axis."""
    return tuple(geometry.slab_size(axis, n) for axis, n in enumerate(output))


def sets(geometry: Geometry) -> int:
    """Count the sets of windows along the last axis that do not overlap: every so-many-th window."""
    return 1 if geometry.dilation[-1] > 1 else -(-geometry.kernel[-1] // geometry.stride[-1])


def _pieces(geometry: Geometry) -> int:
    """Count the contiguous pieces of a window's shares."""
    return geometry.taps if geometry.dilation[-1] > 1 else math.prod(geometry.kernel[:-1])
