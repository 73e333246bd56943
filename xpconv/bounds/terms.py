"""What a rounding error is made of: a share of a magnitude, and what underflow costs.

A sum of n products, in whatever order, in arithmetic with unit roundoff u, is off by at most
gamma(n) * sum(abs(products)), gamma(n) = n u / (1 - n u): each product is rounded once and passes at most n - 1
additions (N. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.1). An algorithm that
transforms is a chain of such sums, whose counts add up. Each number that underflows is off by at most the smallest
normal number, also where a device flushes denormal numbers to zero. The derivation of each algorithm's counts is in
docs/error-bounds.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import dtype_name, is_kind, largest, limits, real_dtype
from xpconv._arrays.rounding import unbounded
from xpconv._arrays.space import Space
from xpconv._arrays.types import Array, DType, Namespace
from xpconv._plan.record import Plan
from xpconv._shapes.cuts import Tiles, intervals
from xpconv.algorithms import REGISTRY

TF32 = 2.0**-10  # of a factor that is cut off to TF32's 11 bits; half of that where it is rounded
INFINITE = float("inf")


def gamma(count: float, roundoff: float) -> float:
    """Relative error of a sum of n products, n u / (1 - n u); infinite where n u reaches 1."""
    product = count * roundoff
    return product / (1 - product) if product < 1 else INFINITE


@dataclass(frozen=True)
class Steps:
    """What one element goes through."""

    roundings: int
    matrices: int = 0  # matrix products one after another, whose factors TF32 rounds
    grain: float = 1.0  # how much more than the smallest number an underflow can cost
    cut: bool = False  # sums are cut off, not rounded, as in tensor cores
    losses: int = 0  # numbers summed, each of which can underflow, where that is more than the roundings


@dataclass(frozen=True)
class Terms:
    """A result is off by at most ``relative`` times its magnitude as computed, and ``floor``."""

    relative: float
    floor: float
    least: float  # what a factor counts as at least, so that its underflow is paid for
    added: float  # to each factor, where what underflows is amplified

    def of(self, space: Space) -> Callable[[Array], Array]:
        """Give the function that makes magnitudes of factors."""

        def magnitude(values: Array) -> Array:
            size = space.xp.abs(values)
            return size + self.added if self.added else space.clip(size, self.least, None)

        return magnitude


def terms(xp: Namespace, sums: DType, steps: Steps) -> Terms:
    """Turn steps into terms, for sums in a floating dtype."""
    eps, smallest = limits(xp, sums)
    # complex products are two real ones and an addition; their error is at most sqrt(8) u of the modulus
    times = 3 if is_kind(xp, sums, "complex floating") else 1
    count = steps.roundings * times
    # what adds up the products of TF32 cuts off instead of rounding
    relative = gamma(count * (2 if steps.matrices or steps.cut else 1), eps / 2)
    relative = (1 + relative) * (1 + TF32) ** (2 * steps.matrices) - 1 if steps.matrices else relative
    # the magnitude is itself computed with that error, and the bound in a few steps more
    widened = relative / (1 - relative) * (1 + 8 * eps) if relative < 1 else INFINITE
    least = 1.01 * smallest / widened if relative < 1 else 0.0  # more, since bfloat16 may round it
    added = least * steps.grain if steps.grain > 1 else 0.0
    return Terms(widened, 2 * times * max(steps.roundings, steps.losses) * smallest * steps.grain, least, added)


def bounded(xp: Namespace, magnitude: Array, found: Terms, sums: DType, dtype: DType) -> Array:
    """Turn magnitudes, whose memory is used up, into the bound of results in `dtype` that are summed in `sums`."""
    real = real_dtype(xp, sums)
    relative, floor = found.relative, found.floor
    if relative == INFINITE:
        return xp.full_like(magnitude, INFINITE)
    eps, smallest = limits(xp, real)
    most = float(xp.finfo(real).max)
    narrow = sums != dtype
    # what could overflow, on the way or when it is stored in 16 bits, is made to overflow, too
    raised = (most / (largest(xp, dtype) - floor) if narrow else 1.0) * (1 + 2 * relative + 4 * eps)
    factor = relative
    if narrow:
        eps16, smallest16 = limits(xp, dtype)
        factor = (relative + (1 + relative) * (eps16 / 2)) * (1 + 8 * eps)
        floor = floor * (1 + eps16 / 2) + smallest16 * eps16
    with np.errstate(over="ignore", invalid="ignore"):
        magnitude *= raised
        magnitude *= factor / raised
        magnitude += floor + smallest * eps
    return unbounded(xp, magnitude)


def _matrices(call: Call, plan: Plan) -> int:
    single = any(size in dtype_name(call.arithmetic.inputs) for size in ("16", "32", "complex64"))
    return REGISTRY[plan.algorithm].matrices(plan.geometry) if single and call.space.tf32 else 0


def _cut(call: Call, plan: Plan) -> bool:
    """Say whether tensor cores may sum the products: of factors of 16 bits, as they are."""
    return REGISTRY[plan.algorithm].narrow and call.narrow


def correlation(call: Call, plan: Plan, more: int = 0) -> Steps:
    """Count the steps of `correlate`, and so many roundings more; what is not finite may have been computed again."""
    if plan.parts:
        return worst(correlation(call, part, more) for part in set(plan.parts))
    algorithm = REGISTRY[plan.algorithm]
    count = algorithm.summed(plan.geometry)
    if plan.fallback is not None:
        count = max(count, REGISTRY[plan.fallback.algorithm].summed(plan.geometry))
    return Steps(count + more, _matrices(call, plan), algorithm.grain(plan.geometry), _cut(call, plan))


def weight_gradient(call: Call, plan: Plan) -> Steps:
    """Count the steps of `weight_grad`: a tile's, one for each tile of a partial sum, one for each partial sum."""
    count = _summed_pixels(plan)
    if plan.fallback is not None:
        count = max(count, _summed_pixels(plan.fallback))
    grain = REGISTRY[plan.algorithm].grain(plan.geometry)
    return Steps(count, _matrices(call, plan), grain, _cut(call, plan), plan.geometry.positions)


def _summed_pixels(plan: Plan) -> int:
    geometry = plan.geometry
    shape = (geometry.batch, *geometry.output)
    tiles = max(len(Tiles(shape, plan.tile)), 1)
    stretch = -(-tiles // min(plan.pieces[0], tiles))
    tile = tuple(min(n, size) for n, size in zip(shape, plan.tile, strict=True))
    return REGISTRY[plan.algorithm].summed_pixels(geometry, tile) + stretch + len(intervals(tiles, stretch))


def worst(steps: Iterable[Steps]) -> Steps:
    """Give steps that cover all of several."""
    all_steps = list(steps)
    return Steps(
        max((s.roundings for s in all_steps), default=1),
        max((s.matrices for s in all_steps), default=0),
        max((s.grain for s in all_steps), default=1.0),
        any(s.cut for s in all_steps),
    )


def scale_and_floor(xp: Namespace, dtype: DType, count: int) -> tuple[float, float]:
    """Give (a, t): a computed sum of `count` products is off by at most ``a * computed sum of absolute values + t``."""
    if is_kind(xp, dtype, "integral"):
        return 0.0, 0.0
    found = terms(xp, dtype, Steps(count))
    return found.relative, found.floor
