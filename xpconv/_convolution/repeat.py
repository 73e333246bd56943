"""Convolutions of a single tile, which can be noted and done again (`xpconv._engine.repeat`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._convolution.weight import prepared
from xpconv._engine.noted import Notes
from xpconv._plan.record import Plan
from xpconv._work.panels import Panels
from xpconv.algorithms import REGISTRY

Array = np.ndarray[Any, Any]


def serves(plan: Plan) -> bool:
    """Say whether a correlation is one tile, of calls that can be noted."""
    return REGISTRY[plan.algorithm].noted(plan.geometry) and whole(plan)


def whole(plan: Plan) -> bool:
    """Say whether a plan is one tile of images as they are, which is not empty."""
    geometry = plan.geometry
    one = plan.tile == (geometry.batch, *geometry.output) and plan.pieces[1] == 1
    return one and not (plan.parts or plan.single_taps) and geometry.mode == "zeros" and geometry.flops > 0


def weight_of(call: Call, plan: Plan, notes: Notes, w: Array) -> Array | Panels | None:
    """Give a weight in its algorithm's form: a view of it, or a copy that is noted; None if it is something else."""
    found = prepared(call, plan, w, notes.held, notes.run)
    if isinstance(found, Panels) or np.may_share_memory(found, w):
        return found
    if not (REGISTRY[plan.algorithm].copies_weight and found.flags.c_contiguous and found.dtype == w.dtype):
        return None
    own = notes.held.empty(w.shape, w.dtype)
    notes.do(np.copyto, own, w)
    return own.reshape(found.shape)
