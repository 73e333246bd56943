"""Which convolutions in groups are taken group by group (`xpconv._compiled.apart`), how they are cut, what it costs."""

from __future__ import annotations

import math

from xpconv._compiled.apart import EIGHT, TEMPORARY
from xpconv._compiled.lanes import LANES
from xpconv._compiled.rows import BLOCK
from xpconv._shapes.geometry import Geometry, Ints

CHANNELS = 64  # of a group up to which its weights for a block of filters are about as large as the first cache
BAND = 20 << 10  # bytes of a group's pixels in a band of rows, beside which the first cache holds its weights
# multiply-adds of `_plan.rates.RATES["cpu"].fused` that take as long as one of the loops', of two vectors of filters
# and of a vector alone; as what is done once for a window and a block of filters; as laying out a number. All of them
# three quarters of what was measured, since matrix products take a third longer than the plan charges them with
PAIR, SINGLE, BEGUN, LAID_OUT = 0.11, 0.16, 8.0, 0.7


def takes(geometry: Geometry, gradient: bool) -> bool:
    """Say whether groups, of several filters each, are taken one after another; the weight's gradient at any size."""
    return geometry.groups > 1 and (gradient or geometry.channels // geometry.groups <= CHANNELS)


def fused(geometry: Geometry) -> float:
    """Count multiply-adds for one output pixel, those of whole vectors, and what they begin with."""
    blocks, rest = divmod(geometry.filters // geometry.groups, BLOCK)
    alone = 0 < rest <= LANES
    pairs = blocks + (rest > LANES)
    products = geometry.products * geometry.groups * (PAIR * pairs * BLOCK + SINGLE * alone * LANES)
    laid = LAID_OUT * geometry.channels * math.prod(geometry.stride)
    return products + BEGUN * geometry.groups * (pairs + alone) + laid


def band(geometry: Geometry, output: Ints, itemsize: int, gradient: bool) -> tuple[int, int]:
    """Give how many rows of windows make a band, and the numbers of work memory."""
    rows = output[-2] if len(output) > 1 else 1
    most = rows
    while most > 1 and _pixels(geometry, output, most) * itemsize > BAND:
        most -= 1
    most = -(-rows // -(-rows // most)) if rows else 0  # of about the same size
    given = most * output[-1] * BLOCK + EIGHT if gradient else 0  # numbers behind the last pixel are read too
    return most, BLOCK + TEMPORARY + given + _pixels(geometry, output, most)


def _pixels(geometry: Geometry, output: Ints, rows: int) -> int:
    """Count the numbers of a group's pixels that so many rows of windows read."""
    size = geometry.channels // geometry.groups * math.prod(geometry.kernel[:-2])
    for axis, windows in enumerate((rows, output[-1])[-len(output) :], max(len(output) - 2, 0)):
        size *= geometry.slab_size(axis, windows)
    return size
