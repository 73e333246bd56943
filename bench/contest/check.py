"""Hold competitors' results against exact ones, or against each other's, before any of them is timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import xpconv as xc
from bench.contest.session import Session
from bench.errors import ResultError
from bench.layers import BOTH, FORWARD, RESULTS, Array, Data, Layer
from bench.measure.measurement import XPCONV
from bench.peers.course import CourseLoops, middle
from bench.peers.peer import Entry, Where

FLOAT32 = 1e-3  # no bound: larger than rounding can be, smaller than any mistake that is worth finding
FLOAT64 = 1e-10
LOOPS = "that of the course's loops in float64"


@dataclass(frozen=True)
class Errors:
    """Largest error over the largest exact value, by pass and competitor; of gradients, that of the worst."""

    of: dict[str, dict[str, float]]
    over_bound: float  # xpconv's largest error over `xpconv.error_bound`, element by element
    exact: str  # what it was compared with


def relative(got: Any, exact: Any, xp: Any = np) -> float:
    """Divide the largest error by the largest exact value; in float32, where the arrays are narrower."""
    if got.shape != exact.shape:
        raise ResultError(f"a result has shape {got.shape} in place of {exact.shape}; nothing was timed")
    got, exact = (a.astype("float32") if a.dtype.itemsize < 4 else a for a in (got, exact))
    return float(xp.max(xp.abs(got - exact)) / xp.max(xp.abs(exact)))


def worst(got: Sequence[Any], exact: Sequence[Any]) -> float:
    """Choose the greatest of several relative errors; NaN, if there is one."""
    return float(np.max([relative(one, other) for one, other in zip(got, exact, strict=True)]))


def demand(who: str, error: float, tolerance: float) -> float:
    """Refuse a result that is too far off."""
    if not error <= tolerance:  # NaN is wrong too
        raise ResultError(f"{who} is off by {error:.2g}, more than {tolerance:.2g}; nothing was timed")
    return error


def agree(case: str, entries: Sequence[Entry], rival: str, tolerances: Sequence[float], xp: Any = np) -> None:
    """Hold all results against a rival's, if it takes part, otherwise against ours.

    `tolerances` are those of a pass's arrays in turn, of which further ones are not looked at.
    """
    names = {entry.name for entry in entries}
    against = rival if rival in names else XPCONV
    for passes in dict.fromkeys(entry.passes for entry in entries):
        chosen = {entry.name: entry for entry in entries if entry.passes == passes}
        if against not in chosen:
            continue
        exact = chosen.pop(against).results()
        for name, entry in chosen.items():
            if entry.arrays is None:
                continue
            for what, got, wanted, tolerance in zip(RESULTS[passes], entry.results(), exact, tolerances, strict=False):
                demand(f"{case}: {name}: the {what}, beside {against}'s,", relative(got, wanted, xp), tolerance)


def check(session: Session, layer: Layer, data: Data, entries: Sequence[Entry]) -> Errors:
    """Compare the competitors with PyTorch in double precision, and all with the course's loops on their part.

    Without PyTorch the loops alone, in double precision, say what is exact.
    """
    part, torch = middle(layer), session.peer("torch")
    loops = CourseLoops(layer, data, part, np.float64)
    loops.both()
    found: dict[str, dict[str, float]] = {FORWARD: {}, BOTH: _gradients_on_part(session, layer, data, loops)}
    wide: dict[str, Sequence[Array]] = {}
    if torch is not None:
        where = Where(dtype="float64", formats=("contiguous",))
        wide = {entry.passes: entry.results() for entry in torch.enter(layer, data, (FORWARD, BOTH), where)}
        off = relative(loops.z[part.index], wide[FORWARD][0][part.index])
        demand(f"{layer.name}: the course's loop in float64", off, FLOAT64)
    bound = xc.error_bound(data.x, data.w, data.b, **layer.keywords)
    over = 0.0
    for entry in entries:
        if entry.arrays is None:
            continue
        who, results = f"{layer.name}: {entry.name}, {entry.passes},", entry.results()
        if entry.passes == FORWARD:
            off = relative(results[0][part.index], loops.z[part.index])
            found[FORWARD][entry.name] = demand(f"{who} beside the course's loops", off, FLOAT32)
            if entry.name == XPCONV:
                over = _over_bound(results[0], wide, loops, bound)
        if wide:
            off = worst(results, wide[entry.passes])
            found[entry.passes][entry.name] = demand(f"{who} beside PyTorch's in float64", off, FLOAT32)
    demand(f"{layer.name}: our result, as a part of its bound,", over, 1.0)
    return Errors(found, over, "PyTorch's in float64" if wide else f"{LOOPS}, on their part")


def _gradients_on_part(session: Session, layer: Layer, data: Data, loops: CourseLoops) -> dict[str, float]:
    """Compare our gradients of the loops' part alone."""
    dz = np.zeros_like(data.dz)
    dz[loops.part.index] = data.dz[loops.part.index]
    found = {}
    for entry in session.peer(XPCONV).enter(layer, replace(data, dz=dz), (BOTH,), session.where):
        off = worst(entry.results(), loops.gradients())
        found[entry.name] = demand(f"{layer.name}: {entry.name}, a gradient, beside the course's loops", off, FLOAT32)
    return found


def _over_bound(z: Array, wide: Mapping[str, Sequence[Array]], loops: CourseLoops, bound: Array) -> float:
    if wide:
        return float(np.max(np.abs(z - wide[FORWARD][0]) / bound))
    index = loops.part.index
    return float(np.max(np.abs(z[index] - loops.z[index]) / bound[index]))
