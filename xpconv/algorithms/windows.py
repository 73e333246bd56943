"""Which layers are taken by vectors of neighbouring windows (`xpconv._compiled.windows`), and what that costs."""

from __future__ import annotations

import math

from xpconv._compiled.lanes import LANES
from xpconv._compiled.rows import BLOCK
from xpconv._compiled.windows import GROUP, SCRATCH, TRIPLE
from xpconv._compiled.windows_gradient import TAPS
from xpconv._shapes.geometry import Geometry, Ints

# multiply-adds of `_plan.rates.RATES["cpu"].fused` that take as long as one of the loops'; as laying out a number of
# eight channels at once, of one channel, of one channel from every pixel of a row; as writing a number of the result,
# or laying one of its gradient out; as what is done for a row
FUSED, TURNED, COPIED, PICKED, GIVEN, ROW, BEGUN = 0.09, 0.4, 1.2, 2.0, 1.0, 120.0, 6
# how many times as long the loops of vectors of filters take for a product, with half a block of filters and with a
# whole one; the same of the weight's gradient
HALF, WHOLE, HALF_GRADIENT, WHOLE_GRADIENT = 2.1, 1.4, 4.0, 2.0
BAND, GRADIENT_BAND = 64 << 10, 96 << 10  # bytes of a band of rows and its results
LARGE = 256 << 10  # of one that has fewer rows of windows than are laid out for the last of them alone
SUMS = 96 << 10  # bytes of the sums of a weight's gradient, whose lanes are added last


def takes(geometry: Geometry, gradient: bool = False) -> bool:
    """Say whether a convolution, or the gradient of its weight, takes less time by windows than by filters."""
    if not serves(geometry):
        return False
    full, rest = divmod(geometry.filters, BLOCK)
    half, whole = (HALF_GRADIENT, WHOLE_GRADIENT) if gradient else (HALF, WHOLE)
    blocks = full * BLOCK * whole + ((half * LANES if rest <= LANES else whole * BLOCK) if rest else 0)
    products = geometry.products * blocks * FUSED
    if not gradient:
        return fused(geometry) < products + COPIED * TURNED * geometry.channels
    small = sums(geometry) * 4 <= SUMS and (geometry.channels < LANES or geometry.filters <= LANES)
    return small and fused(geometry, gradient=True) < products + geometry.filters


def serves(geometry: Geometry) -> bool:
    """Say whether it can be taken by windows."""
    return geometry.groups == 1 and 0 not in (*geometry.output, geometry.filters, geometry.channels)


def padded(filters: int) -> int:
    """Count the filters whose weights are laid out: triples, or one more than some."""
    return filters + (filters % TRIPLE == TRIPLE - 1)


def sums(geometry: Geometry) -> int:
    """Count the numbers in which a weight's gradient is summed before its lanes are added."""
    return -(-geometry.filters // TRIPLE) * TRIPLE * -(-geometry.products // TAPS) * TAPS * LANES


def fused(geometry: Geometry, gradient: bool = False) -> float:
    """Count what a window costs, as multiply-adds element by element."""
    columns, pitch = geometry.output[-1], _pitch(geometry, geometry.output[-1])
    rest = geometry.channels % LANES
    alone = COPIED if geometry.channels == geometry.stride[-1] == 1 else PICKED
    steps = math.prod(min(s, k) for s, k in zip(geometry.stride, geometry.kernel, strict=True))
    laid = (TURNED * (geometry.channels - rest) + alone * rest) * steps
    given = (GIVEN if geometry.filters > 1 else FUSED) * geometry.filters
    if gradient:
        long, triples = -(-columns // LANES) * LANES, -(-geometry.filters // TRIPLE) * TRIPLE
        products = -(-geometry.products // TAPS) * TAPS * triples * (long + BEGUN)
    else:
        products = geometry.products * padded(geometry.filters) * pitch
    return (FUSED * products + laid * pitch + ROW) / columns + given


def band(geometry: Geometry, output: Ints, itemsize: int, gradient: bool = False) -> tuple[int, int]:
    """Give how many rows of windows are taken at once, of three spatial axes, and the numbers of work memory."""
    most, rows = (GRADIENT_BAND if gradient else BAND) // itemsize, output[-2] if len(output) > 1 else 1
    again = (geometry.kernel[-2] - 1) * geometry.dilation[-2] // geometry.stride[-2] if geometry.rank > 1 else 0
    found = 1
    while found < rows:
        size = _room(geometry, output, min(2 * found, rows), gradient)
        if size > (LARGE // itemsize if found <= again else most):
            break
        found = min(2 * found, rows)
    return found, _room(geometry, output, found, gradient) + (sums(geometry) if gradient else 0)


def _pitch(geometry: Geometry, columns: int) -> int:
    """Count the numbers of a row as it is laid out: its windows, and those behind them that taps reach."""
    return columns + (geometry.kernel[-1] - 1) * geometry.dilation[-1] // geometry.stride[-1]


def _room(geometry: Geometry, output: Ints, rows: int, gradient: bool) -> int:
    """Count the numbers of work memory of a band of so many rows of windows."""
    kernel, stride, gaps = (
        (1,) * (3 - geometry.rank) + axes for axes in (geometry.kernel, geometry.stride, geometry.dilation)
    )
    columns = output[-1]
    pitch, lines = _pitch(geometry, columns), rows + (kernel[1] - 1) * gaps[1] // stride[1]
    down, across = (min(stride[axis], (kernel[axis] - 1) * gaps[axis] + 1) for axis in (1, 2))
    laid = kernel[0] * down * across * geometry.channels * lines * pitch + GROUP + pitch
    if gradient:
        results = (geometry.filters + LANES) // LANES * LANES * rows * (-(-columns // LANES) * LANES)
    else:
        results = -(-geometry.filters // TRIPLE) * TRIPLE * -(-rows * pitch // GROUP) * GROUP
    return SCRATCH + results + laid
