"""What a call costs: what it does, counted, times what each of that takes on a kind of device."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from xpconv._arrays.arithmetic import Exact
from xpconv._shapes.geometry import Geometry, Ints
from xpconv.algorithms.cost import Work

THIN = 16  # rows of a matrix product that cost as much time as reading its right-hand side


@dataclass(frozen=True)
class Rates:
    """Measured speeds of one kind of device, for one core on a CPU; seconds for a unit."""

    multiply_add: float  # of float32, in matrix products
    byte: float  # read or written outside of them
    run: float  # for each contiguous piece of what is moved
    fused: float  # a multiply-add element by element
    point: float  # of a Fourier transform, for each halving of its length
    call: float  # of an array function
    measured: str


# `python -m bench plan --count 80 --fit` fits 2.9e-11, 2.5e-11, 1.1e-9, 1.9e-10, 4.1e-10 and 4.0e-6 to one
# core's times, which hardly choose better on those layers (mean regret 1.034 against 1.039)
RATES = {
    "cpu": Rates(
        1 / 48e9,
        1 / 32e9,
        4e-9,
        0.16e-9,
        0.3e-9,
        3e-6,
        "AMD EPYC (Zen 4), one core, NumPy 2.4 with OpenBLAS, float32, 2026-11",
    ),
    "cuda": Rates(
        1 / 26e12,
        1 / 3.6e12,
        0.0,
        1 / 1.2e12,
        2e-12,
        8e-6,
        "",  # the data sheet of an H200: 78 % of 67 TFLOP/s, 75 % of 4.8 TB/s; a host starts a kernel in 8 us
    ),
}
UNMEASURED = Rates(1 / 10e12, 1 / 1e12, 0.0, 1e-11, 1e-12, 1e-5, "")


def exact_work(work: Work, exact: Exact, geometry: Geometry, itemsize: int) -> Work:
    """Charge a product for each pair of pieces, and its conversion."""
    stretches = -(-geometry.products // exact.terms)
    moved = work.moved + 3 * geometry.filters * exact.products * stretches
    return replace(work, multiply_adds=work.multiply_adds * exact.products * exact.itemsize / itemsize, moved=moved)


def counts(work: Work, geometry: Geometry, itemsize: int, tile: Ints, single_taps: bool) -> tuple[float, ...]:
    """Count what a call does, in the order of the constants of `Rates`; those of float32 for the arithmetic.

    `single_taps`: each tap's pixels are read by themselves.
    """
    pixels, wide = max(geometry.positions, 1), itemsize / 4
    tiles = math.prod(-(-n // m) for n, m in zip((geometry.batch, *geometry.output), tile, strict=True))
    again = 0  # what each tile reads or copies beside
    if max(geometry.dilation) > 1 and not single_taps and any(map(any, geometry.padding)):
        slab = math.prod(geometry.slab_size(axis, n) for axis, n in enumerate(tile[1:]))
        again += 2 * tiles * tile[0] * slab * geometry.channels  # slabs of windows that span far more than they read
    thin = 1.0
    if work.step:
        rows = math.prod(tile) / math.prod(work.step)
        thin += THIN / (2 if work.points else 1) / rows  # products of few rows; a complex one is four for two numbers
        again += tiles * work.domain  # such a sum or weight is too large for the cache, and read for each tile
    return (
        wide * (pixels * work.multiply_adds * thin + work.fixed_multiply_adds),
        itemsize * (pixels * work.moved + work.fixed_moved + again),
        pixels * work.runs,
        wide * pixels * work.fused,
        wide * (pixels * work.points + work.fixed_points),
        (max(tiles, 1) + 1) * work.calls,
    )


def predict(work: Work, geometry: Geometry, rates: Rates, itemsize: int, tile: Ints, single_taps: bool) -> float:
    """Give the seconds that a call takes one worker."""
    prices = (rates.multiply_add, rates.byte, rates.run, rates.fused, rates.point, rates.call)
    return sum(n * price for n, price in zip(counts(work, geometry, itemsize, tile, single_taps), prices, strict=True))
