"""Choose the algorithm, the tile and the number of workers; sees shapes and abilities only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from xpconv._arrays import cublas
from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import itemsize
from xpconv._arrays.types import Array
from xpconv._compiled import build
from xpconv._plan.case import Case
from xpconv._plan.fit import fit, in_parts
from xpconv._plan.rates import RATES, UNMEASURED, exact_work, predict
from xpconv._plan.record import Candidate, Plan, size
from xpconv._shapes.cuts import halvings
from xpconv._shapes.geometry import Geometry
from xpconv._shapes.keywords import meant
from xpconv.algorithms import REGISTRY

CHOICES = ("auto", *REGISTRY)
NUMPY_ONLY = "serves NumPy only"
AMPLIFIED = 1000.0  # of rounding errors; Winograd's F(4x4, 3x3) has 150, F(2x2, 7x7) 1,500
PREFERENCE = 1.1  # an algorithm with larger errors is taken if it is predicted to be faster by more than this
WIDE = "; errors grow with the largest pixel of a tile"
TRANSFORM_FLOPS = 1 << 24  # less than this, and a transform saves less than a tenth of a millisecond
# by how much it is to be faster where it would stay on one thread (`ALONE`), and there are loops that share with two
PREFERENCE_ALONE = 3.0
# seconds of one thread below which an algorithm of many short array calls stays on it: two threads wait for each other.
# Measured with Winograd, one thread and two, after a pause: 3.0 and 3.8 ms, 7.2 and 7.9 ms; in a loop 8.7 and 5.5 ms
ALONE = 5e-3


def choose(call: Call, geometry: Geometry, algorithm: str, *, gradient: bool = False, compact: bool = False) -> Plan:
    """Plan a correlation, or with `gradient` a weight gradient; a named algorithm is obeyed or refused.

    `compact`: in tiles of which a block of the output meets few (`_convolution.inside`).
    """
    check(call, algorithm)
    case = case_of(call, geometry, gradient, compact)
    plan, trouble = _plan(algorithm, case, call.room)
    if plan is None:
        raise ValueError(f"{call.name}: {trouble}")
    if algorithm == "auto" and call.options.compiled is None and REGISTRY[plan.algorithm].clips:
        return _paid(case, plan, call.room)
    return plan


def check(call: Call, algorithm: object) -> None:
    """Refuse what is not the name of an algorithm."""
    if algorithm not in CHOICES:
        raise ValueError(
            f"{call.name}: algorithm is one of {', '.join(map(repr, CHOICES))}; got algorithm={algorithm!r}"
            f"{meant(algorithm, CHOICES)}"
        )


def case_of(call: Call, geometry: Geometry, gradient: bool = False, compact: bool = False) -> Case:
    """Say what a plan of a call follows from, beside the algorithm and the room."""
    refusal = build.refusal(call.options.compiled) if call.traits.buffers else NUMPY_ONLY
    numbers, threads = call.arithmetic.numbers, call.options.threads
    return Case(geometry, call.traits, numbers, threads, gradient, compact=compact, compiled=refusal)


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
            found = _in_blocks(name, case, room) or found
        if isinstance(found, str):
            refusals[name] = found
            continue
        plans[name] = found
        for part in found.whole:
            own = algorithm.forward_work(part.geometry) if found.parts else work
            time = predict(own, part.geometry, rates, numbers.itemsize, part.tile, part.single_taps)
            seconds[name] = seconds.get(name, 0.0) + time
    best = _best(plans, seconds) if wanted == "auto" else wanted if wanted in plans else None
    if best is None:
        names = [wanted] if wanted != "auto" else list(refusals)
        return None, "; ".join(f"algorithm {name!r}: {refusals.get(name, 'is not available')}" for name in names)
    candidates = []
    for name in REGISTRY:
        reason = refusals.get(name) or _reason(name, best, wanted, seconds) + WIDE * REGISTRY[name].transforms
        taken = plans[name].workspace if name in plans else 0
        error = math.nan
        if name in plans and not case.gradient:
            error = max(_error(name, replace(case, geometry=part.geometry)) for part in plans[name].whole)
        candidates.append(Candidate(name, seconds.get(name, math.inf), taken, reason, error))
    note = rates.measured or f"none measured for {case.traits.kind} devices; ratios of a typical one were assumed"
    chosen = plans[best]
    if REGISTRY[best].transforms and not REGISTRY[best].clips and seconds[best] < ALONE:
        chosen = replace(chosen, workers=1)
    return replace(chosen, candidates=tuple(candidates), rates=note), ""


def _best(plans: Mapping[str, Plan], seconds: Mapping[str, float]) -> str | None:
    """Choose an algorithm: the least predicted time, but for larger errors, or one thread, only to gain by it."""
    loops = any(REGISTRY[name].clips for name in plans)

    def weighed(name: str) -> float:
        if not REGISTRY[name].transforms:
            return seconds[name]
        alone = loops and seconds[name] < ALONE and not REGISTRY[name].clips
        return seconds[name] * (PREFERENCE_ALONE if alone else PREFERENCE)

    return min(plans, key=weighed, default=None)


def _in_blocks(name: str, case: Case, room: int) -> Plan | None:
    """Plan blocks of filters where the whole transformed weight does not fit: the largest that leave room for tiles.

    Each block transforms the images anew. The blocks do not depend on the number of threads, nor do the bits.
    """
    geometry = case.geometry
    if case.gradient or geometry.groups > 1 or not REGISTRY[name].transforms:
        return None
    found = None
    for cuts in halvings(geometry):
        parts = [cut.geometry for cut in cuts]
        alone = in_parts(name, replace(case, threads=1), room, parts)
        if alone is None:
            continue
        if alone.workspace <= room // 2:
            found = parts
            break
        found = found or parts
    return None if found is None else in_parts(name, case, room, found)


def conjugate_size(call: Call, w: Array) -> int:
    """Count the bytes of a conjugate copy of a weight: none of a real one."""
    return math.prod(w.shape) * itemsize(call.xp, w.dtype) if call.arithmetic.is_complex else 0


def copying(call: Call, plan: Plan, algorithm: str, conjugate: int, moved: int = 0) -> Plan:
    """Count the bytes of copies of the weight that are made before all else; cut the filters where they do not fit.

    `moved`: that of a weight whose groups are laid out anew, which a single group is not.
    """
    if conjugate + moved == 0:
        return plan
    most = call.options.max_workspace // 4 * call.quarters

    def share(part: Geometry) -> int:
        copied = conjugate + (moved if part.groups > 1 else 0)
        return -(-copied * part.filters // plan.geometry.filters)

    def counted(part: Plan) -> Plan:
        copied = share(part.geometry)
        return replace(part, workspace=part.workspace + copied, copied=copied)

    whole = tuple(map(counted, plan.whole))
    needs = max(part.workspace for part in whole)
    if needs <= most:
        return replace(plan, parts=whole, workspace=needs) if plan.parts else whole[0]
    half = replace(call, quarters=max(call.quarters // 2, 1))
    for cuts in halvings(plan.geometry):
        if max(share(cut.geometry) for cut in cuts) > most // 2:
            continue
        parts = [_plan(algorithm, case_of(half, cut.geometry), half.room)[0] for cut in cuts]
        whole = tuple(counted(part) for part in parts if part is not None and not part.parts)
        if len(whole) == len(parts) and max(part.workspace for part in whole) <= most:
            needs = max(part.workspace for part in whole)
            return replace(whole[0], geometry=plan.geometry, workspace=needs, parts=whole, candidates=plan.candidates)
    raise ValueError(
        f"{call.name}: algorithm {plan.algorithm!r}: needs {size(needs)} of workspace, with a copy of the weight, "
        f"max_workspace leaves it {size(most)}; raise it with set_options"
    )


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
    if wanted == "auto" and case.numbers.itemsize > 4 and algorithm.crowds(case.geometry, case.gradient):
        return "not taken: more sums of float64 than there are registers for"
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
        if not least and REGISTRY[name].clips:
            return "taken: shares little work with another thread"
        return "taken: the least predicted time" if least else "taken: smaller errors, and hardly slower"
    if wanted != "auto":
        return "not taken: another was named"
    if seconds[name] < seconds[best]:
        return f"not taken: larger errors for {1 - seconds[name] / seconds[best]:.0%} less time"
    return f"not taken: {seconds[name] / seconds[best]:.1f} times the predicted time"
