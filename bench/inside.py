"""All that the benchmarks use of xpconv beyond its public names: what keeps memory, and what plans and predicts.

`bench plan`, `bench memory` and `bench points` are about these; everything else calls public functions.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from bench.layers import INPUT, WEIGHT, Layer
from xpconv import _options
from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call
from xpconv._arrays.space import numpy_space
from xpconv._plan.choose import choose
from xpconv._plan.rates import Rates, counts
from xpconv._shapes import read
from xpconv._work.memory import pool
from xpconv.algorithms import REGISTRY
from xpconv.algorithms.winograd import POINTS, exact_matrices

__all__ = ["CONSTANTS", "POINTS", "candidates", "counted", "exact_matrices", "let_go", "planned"]

CONSTANTS = [field.name for field in fields(Rates) if field.name != "measured"]  # of the cost model


def let_go() -> None:
    """Free the memory that calls keep for later ones."""
    pool.clear()


def planned(layer: Layer, passes: str, algorithm: str = "auto") -> Any:
    """Plan a pass; every stride phase of an input gradient is planned for itself, and that of the largest counts."""
    parts = _parts(layer, passes)
    return _plan(max(parts, key=lambda part: part.flops), passes, algorithm)


def candidates(layer: Layer, passes: str) -> Any:
    """List what the plan of the whole layer chooses from, each with its prediction."""
    return _plan(_geometry(layer), passes, "auto").candidates


def counted(layer: Layer, passes: str, algorithm: str) -> tuple[float, ...]:
    """Count what a pass does, in the order of CONSTANTS; what the stride phases do together."""
    total = np.zeros(len(CONSTANTS))
    for part in _parts(layer, passes):
        plan = _plan(part, passes, algorithm)
        found = REGISTRY[plan.algorithm]
        work = found.weight_grad_work(part) if passes == WEIGHT else found.forward_work(part)
        total += counts(work, part, 4, plan.tile, plan.single_taps)
    return tuple(total)


def _geometry(layer: Layer) -> Any:
    return read.conv("bench", layer.x_shape, layer.w_shape, read.Windowing(**layer.keywords))


def _parts(layer: Layer, passes: str) -> list[Any]:
    geometry = _geometry(layer)
    return [geometry] if passes != INPUT else [phase.geometry for phase in geometry.phases if phase.geometry]


def _plan(geometry: Any, passes: str, algorithm: str) -> Any:
    space, dtype = numpy_space(), np.dtype(np.float32)
    arithmetic = Arithmetic.of(space.xp, dtype, dtype, double=True)
    call = Call("bench", space, arithmetic, "channels_last", _options.current())
    return choose(call, geometry, algorithm, gradient=passes == WEIGHT)
