"""Choose the algorithm, the tile and the number of workers; sees shapes and abilities only."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

from xpconv._arrays import cublas
from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._plan.case import Case
from xpconv._plan.fit import fit
from xpconv._plan.rates import RATES, UNMEASURED, exact_work, predict
from xpconv._plan.record import Candidate, Plan
from xpconv._shapes.geometry import Geometry
from xpconv._shapes.keywords import meant
from xpconv.algorithms import REGISTRY

CHOICES = ("auto", *REGISTRY)
NUMPY_ONLY = "serves NumPy only"
AMPLIFIED = 1000.0  # of rounding errors; Winograd's F(4x4, 3x3) has 150, F(2x2, 7x7) 1,500
PREFERENCE = 1.1  # an algorithm with larger errors is taken if it is predicted to be faster by more than this
TRANSFORM_FLOPS = 1 << 24  # less than this, and a transform saves less than a tenth of a millisecond
# seconds of one thread below which an algorithm of many short array calls stays on it: two threads wait for each other.
# Measured with Winograd, one thread and two, after a pause: 3.0 and 3.8 ms, 7.2 and 7.9 ms; in a loop 8.7 and 5.5 ms
ALONE = 5e-3


def choose(call: Call, geometry: Geometry, algorithm: str, *, gradient: bool = False) -> Plan:
    """Plan a correlation, or with `gradient` a weight gradient; a named algorithm is obeyed or refused."""
    if algorithm not in CHOICES:
        raise ValueError(
            f"{call.name}: algorithm is one of {', '.join(map(repr, CHOICES))}; got algorithm={algorithm!r}"
            f"{meant(algorithm, CHOICES)}"
        )
    case = Case(geometry, call.traits, call.arithmetic.numbers, call.options.threads, gradient)
    if refusal := build.refusal(call.options.compiled) if call.traits.buffers else NUMPY_ONLY:
        case = replace(case, compiled=refusal)
    plan, trouble = _plan(algorithm, case, call.room)
    if plan is None:
        raise ValueError(f"{call.name}: {trouble}")
    if algorithm == "auto" and call.options.compiled is None and REGISTRY[plan.algorithm].clips:
        return _paid(case, plan, call.room)
    return plan


def _paid(case: Case, plan: Plan, room: int) -> Plan:
    """Give a plan with a compiled kernel, or the next best where a call is not made to wait for what it hardly saves.

    This follows from the call alone, not from what was called or compiled before: rounding errors differ.
    """
    other, _ = _plan("auto", replace(case, compiled=build.LITTLE), room)
    return plan if other is None or other.seconds - plan.seconds >= build.WORTH else other


@lru_cache(maxsize=4096)
def _plan(wanted: str, case: Case, room: int) -> tuple[Plan | None, str]:
    geometry, numbers = case.geometry, case.numbers
    rates = RATES.get(case.traits.kind, UNMEASURED)
    plans: dict[str, Plan] = {}
    seconds: dict[str, float] = {}
    refusals: dict[str, str] = {}
    for name, algorithm in REGISTRY.items():
        if reason := _refusal(name, case, wanted):
            refusals[name] = reason
            continue
        work = algorithm.weight_grad_work(geometry) if case.gradient else algorithm.forward_work(geometry)
        if numbers.exact is not None:
            work = exact_work(work, numbers.exact, geometry, numbers.itemsize)
        found = fit(name, work, case, room)
        if isinstance(found, str):
            refusals[name] = found
        else:
            plans[name] = found
            seconds[name] = predict(work, geometry, rates, numbers.itemsize, found.tile, found.single_taps)
    if wanted == "auto":
        best = min(
            plans, key=lambda name: seconds[name] * (PREFERENCE if REGISTRY[name].transforms else 1), default=None
        )
    else:
        best = wanted if wanted in plans else None
    if best is None:
        names = [wanted] if wanted != "auto" else list(refusals)
        return None, "; ".join(f"algorithm {name!r}: {refusals.get(name, 'is not available')}" for name in names)
    candidates = []
    for name in REGISTRY:
        reason = refusals.get(name) or _reason(name, best, wanted, seconds)
        size = plans[name].workspace if name in plans else 0
        error = _error(name, case) if name in plans and not case.gradient else math.nan
        candidates.append(Candidate(name, seconds.get(name, math.inf), size, reason, error))
    note = rates.measured or f"none measured for {case.traits.kind} devices; ratios of a typical one were assumed"
    chosen = plans[best]
    if REGISTRY[best].transforms and seconds[best] < ALONE:
        chosen = replace(chosen, workers=1)
    return replace(chosen, candidates=tuple(candidates), rates=note), ""


def _error(name: str, case: Case) -> float:
    """Bound the rounding error of an output relative to max(abs(x)) times the sum of abs(w) of its filter."""
    algorithm, geometry = REGISTRY[name], case.geometry
    count = algorithm.summed(geometry)
    if algorithm.spreads:  # a tile may be computed again
        count = max(count, geometry.products)
    relative = count * case.numbers.roundoff
    return math.inf if relative >= 1 else relative / (1 - relative) * algorithm.amplification(geometry)


def _refusal(name: str, case: Case, wanted: str) -> str:
    """Say why an algorithm is out of the question, whatever it costs."""
    algorithm = REGISTRY[name]
    if algorithm.clips and (case.compiled or case.numbers.converted or case.numbers.complex):
        return case.compiled or "serves float32 and float64 only"
    if algorithm.overlaps and not case.traits.overlaps:
        return cublas.ONLY
    if reason := algorithm.refuses(case.geometry):
        return reason
    if case.numbers.whole and not algorithm.exact:
        return "serves floating dtypes only"
    if algorithm.fourier and case.traits.lazy:
        return f"serves no arrays of {case.traits.name}"
    if algorithm.spreads_gradient and case.gradient and wanted == "auto":
        return "not taken: a NaN would spread"
    if algorithm.spreads and wanted == "auto":
        if not case.traits.looks:
            return "not taken: a NaN would spread, and results are not looked at on this kind of device"
        if algorithm.amplification(case.geometry) > AMPLIFIED:
            return "not taken: rounding errors would be magnified too much"
        if algorithm.transforms and case.geometry.flops < TRANSFORM_FLOPS:
            return "not taken: for little work an algorithm that is exact on whole numbers"
    return ""


def _reason(name: str, best: str, wanted: str, seconds: dict[str, float]) -> str:
    if name == best:
        if wanted != "auto":
            return "taken: named by the caller"
        least = seconds[best] == min(seconds.values())
        return "taken: the least predicted time" if least else "taken: smaller errors, and hardly slower"
    if wanted != "auto":
        return "not taken: another was named"
    if seconds[name] < seconds[best]:
        return f"not taken: larger errors for {1 - seconds[name] / seconds[best]:.0%} less time"
    return f"not taken: {seconds[name] / seconds[best]:.1f} times the predicted time"
