"""Winograd's compiled loops on images and results where they lie, in pieces that pay for a thread."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np

from xpconv._arrays.types import Array
from xpconv._compiled.tiles import GROUP
from xpconv._convolution.tile import Task, compute_again, fall_back
from xpconv._convolution.weight import prepared
from xpconv._engine.jobs import Jobs
from xpconv._engine.results import Result, Written
from xpconv._plan.record import Plan
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS, Held
from xpconv._work.workspace import Workspace
from xpconv.algorithms import REGISTRY
from xpconv.algorithms.compiled_winograd import CompiledWinograd, Strips


def loops(plan: Plan) -> CompiledWinograd:
    """Give the algorithm of a plan that is `in_strips`."""
    return cast(CompiledWinograd, REGISTRY[plan.algorithm])


def jobs(task: Task, result: Result, held: Held) -> Jobs | None:
    """Make the jobs of Winograd's loops; where the weight is cut, each piece prepares its own filters."""
    call, plan, geometry, sums = task.call, task.plan, task.plan.geometry, np.dtype(task.call.arithmetic.sums)
    algorithm = loops(plan)
    target = _target(task, result)
    if target is None:
        return None
    own = () if task.ready else algorithm.own_filters(geometry)
    pieces, room, packed = own or algorithm.pieces(geometry), algorithm.room(geometry), algorithm.blocks(geometry)
    shape = (min(GROUP, packed[0]), *packed[1:])  # of what a piece prepares at once
    w = task.w
    if own and not w.flags.c_contiguous:
        w = held.empty(w.shape, sums)
        np.copyto(w, task.w)
    again = 0 if plan.fallback is None else plan.fallback.workspace
    each = room + (math.prod(shape) if own else 0) + (UFUNC_BUFFERS + again) // sums.itemsize
    fixed = (0 if w is task.w else w.size) if own else math.prod(packed)
    fit = (plan.workspace // sums.itemsize - fixed) // each
    workers = min(call.options.threads if own else plan.workers, len(pieces), fit)
    if workers < 1:
        return None
    whole: Any = None if own else task.ready[0] if task.ready else prepared(call, plan, task.w, held)
    x, bias = task.x, np.zeros(geometry.filters, sums) if task.b is None else np.ascontiguousarray(task.b, sums)

    def compute(piece: Strips, work: Workspace) -> None:
        assert isinstance(work, BufferedWorkspace)
        z, filters = target[piece.where], piece.where[-1]
        if z.size == 0:
            return
        weight = work.buffer("packed", shape, sums) if own else whole[piece.blocks]
        arrays = x, (w if own else weight, weight), bias[filters]
        with work.quiet():
            if algorithm.strips(arrays, z, geometry, piece, work.buffer("strip", (room,), sums)):
                return
        part = replace(geometry, filters=z.shape[-1])
        other = fall_back(task, part, x, task.w[..., filters], held)
        assert other is not None
        region = tuple((s.start, s.start + n) for s, n in zip(piece.where, z.shape[:-1], strict=False))
        compute_again(other(), region, work, z)
        if task.b is not None:
            np.add(z, bias[filters], out=z)

    return Jobs(compute, pieces, workers)


def _target(task: Task, result: Result) -> Array | None:
    """Give a result that loops write into, of images that they read where they lie; None if either is not so."""
    sums = np.dtype(task.call.arithmetic.sums)
    if task.plan.geometry.mode != "zeros" or not isinstance(result, Written):
        return None
    x, target = task.x, result.array()
    fit = _aligned(x, sums) and x.flags.c_contiguous and _aligned(target, sums) and target.strides[-1] == sums.itemsize
    return target if fit else None


def _aligned(array: Array, dtype: np.dtype[Any]) -> bool:
    return bool(array.dtype == dtype and array.flags.aligned)
