"""Compiled loops on images and results where they lie, in pieces that pay for a thread.

Other cuts give the same bits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from xpconv._arrays.types import Array
from xpconv._compiled import build
from xpconv._convolution.tile import Task, correlate_jobs
from xpconv._convolution.weight import prepared
from xpconv._engine.jobs import Jobs
from xpconv._engine.results import Result, Written
from xpconv._plan.record import Plan
from xpconv._work.memory import Held
from xpconv._work.workspace import Workspace
from xpconv.algorithms import REGISTRY
from xpconv.algorithms.compiled import Compiled, Piece, five


def multiplies(plan: Plan) -> bool:
    """Say whether a plan multiplies matrices, for which BLAS is limited to one thread."""
    return not REGISTRY[plan.algorithm].clips


def jobs_for(task: Task, result: Result, held: Held) -> Jobs:
    """Make the jobs of a task: pieces of compiled loops where its arrays are for that, or tiles."""
    call, plan, algorithm = task.call, task.plan, REGISTRY[task.plan.algorithm]
    if not isinstance(algorithm, Compiled) or call.lens is not None or plan.pieces[1] > 1:
        return correlate_jobs(task, result, held)
    task = task if task.ready else replace(task, ready=(prepared(call, plan, task.w, held),))
    return _pieces(task, algorithm, result) or correlate_jobs(task, result, held)


def _pieces(task: Task, algorithm: Compiled, result: Result) -> Jobs | None:
    geometry, sums = task.plan.geometry, np.dtype(task.call.arithmetic.sums)
    if geometry.mode != "zeros" or not isinstance(result, Written):
        return None
    x, target = task.x, result.array()
    weight: Any = task.ready[0]
    if not (_plain(x, sums) and x.flags.c_contiguous and _plain(target, sums) and target.strides[-1] == sums.itemsize):
        return None
    pieces = algorithm.pieces(geometry, sums.itemsize, target.flags.c_contiguous)
    flat, room = pieces[0].flat, max(piece.room for piece in pieces)
    needs = min(task.plan.workers, len(pieces)) * room * sums.itemsize + weight.nbytes
    if needs > task.plan.workspace:
        return None
    bias = np.zeros(geometry.filters, sums) if task.b is None else np.ascontiguousarray(task.b, sums)
    loops = build.get(algorithm.kernel(geometry), sums.name)
    images, places = five(x, flat), five(target, flat)

    def compute(piece: Piece, work: Workspace) -> None:
        own = work.buffer("rows", (room,), sums)  # type: ignore[attr-defined]
        loops(images, weight, bias, places[piece.where], piece.numbers, own)

    return Jobs(compute, pieces)


def _plain(array: Array, dtype: np.dtype[Any]) -> bool:
    return bool(array.dtype == dtype and array.flags.aligned)
