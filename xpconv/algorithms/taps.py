"""Which layers are taken by what a pixel gives to all its windows (`xpconv._compiled.taps`), and what that costs."""

from __future__ import annotations

import math

from xpconv._compiled.lanes import LANES
from xpconv._shapes.geometry import Geometry

MOST = 8  # filters
GIVEN = 64 << 10  # bytes of what some pixels give, as a part of the second cache
# multiply-adds of `_plan.rates.RATES["cpu"].fused` that take as long as one of the loops'; as adding up a vector of
# what pixels gave; as writing a number of the result; channels as many as begin a row of a window
FUSED, ADDED, WRITTEN, BEGUN = 0.06, 0.8, 1.0, 2
SHORT, PREFERRED = 4, 1.5  # taps of a phase of a stride, mostly: all phases in one loop read their pixels once


def serves(geometry: Geometry) -> bool:
    """Say whether it can be taken so: of one group, with filters that are few vectors."""
    some = 0 not in (*geometry.output, geometry.filters, geometry.channels)
    return geometry.groups == 1 and geometry.filters <= MOST and some


def given(wide: int, filters: int) -> int:
    """Count the sums of a pixel, those of whole vectors: of so many taps of a row."""
    return -(-wide * filters // LANES) * LANES


def together(geometry: Geometry, columns: int, itemsize: int) -> int:
    """Count the windows of a row that are taken at once."""
    own = given(geometry.kernel[-1], geometry.filters)
    most = GIVEN // (own * itemsize) - (geometry.kernel[-1] - 1) * geometry.dilation[-1]
    return min(columns, max(most // geometry.stride[-1], 1))


def room(geometry: Geometry, columns: int, itemsize: int) -> int:
    """Count the numbers of work memory."""
    count, own = together(geometry, columns, itemsize), given(geometry.kernel[-1], geometry.filters)
    return _room(geometry.filters, count, geometry.slab_size(geometry.rank - 1, count) * own)


def gradient_room(geometry: Geometry, itemsize: int) -> tuple[int, int]:
    """Count the pixels of a row that are taken at once, and the numbers of work memory, of a gradient of images."""
    own, step = given(geometry.kernel[-1], geometry.channels), geometry.stride[-1]
    tail = (geometry.kernel[-1] - 1) * geometry.dilation[-1] // step + 2
    count = min(geometry.input[-1], max(GIVEN // (own * itemsize) - tail, 1) * step)
    return count, _room(geometry.channels, count, (count // step + tail) * own)


def _room(filters: int, count: int, sums: int) -> int:
    """Count the numbers of a bias, of some results, and of what pixels give."""
    return -(-filters // LANES) * LANES + count * filters + LANES + sums + LANES


def takes(geometry: Geometry, other: float) -> bool:
    """Say whether it takes less time than what other loops cost."""
    return serves(geometry) and fused(geometry) < other * (PREFERRED if geometry.taps <= SHORT else 1)


def fused(geometry: Geometry) -> float:
    """Count what a window costs, as multiply-adds element by element."""
    columns, sums = geometry.output[-1], given(geometry.kernel[-1], geometry.filters)
    count = together(geometry, columns, 4)
    pixels = min(geometry.slab_size(geometry.rank - 1, count), geometry.input[-1]) / count
    products = math.prod(geometry.kernel[:-1]) * (geometry.channels + BEGUN) * sums * pixels
    vectors = -(-geometry.filters // LANES)
    return FUSED * products + ADDED * geometry.kernel[-1] * vectors + WRITTEN * geometry.filters
