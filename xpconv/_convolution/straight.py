"""Compiled loops on images and results where they lie, in pieces that pay for a thread.

Other cuts give the same bits.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np

from xpconv._arrays.types import Array
from xpconv._compiled import build
from xpconv._compiled.tiles import GROUP
from xpconv._convolution.tile import Task, compute_again, correlate_jobs, fall_back
from xpconv._convolution.weight import prepared
from xpconv._engine.jobs import Jobs
from xpconv._engine.results import Result, Written
from xpconv._plan.record import Plan
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS, Held
from xpconv._work.workspace import Workspace
from xpconv.algorithms import REGISTRY
from xpconv.algorithms.compiled import Compiled, Piece, five
from xpconv.algorithms.compiled_winograd import CompiledWinograd, Strips


def multiplies(plan: Plan) -> bool:
    """Say whether a plan multiplies matrices, for which BLAS is limited to one thread."""
    algorithm = REGISTRY[plan.algorithm]
    return not algorithm.clips or algorithm.spreads


def jobs_for(task: Task, result: Result, held: Held) -> Jobs:
    """Make the jobs of a task: pieces of compiled loops where its arrays are for that, or tiles."""
    call, plan, algorithm = task.call, task.plan, REGISTRY[task.plan.algorithm]
    if call.lens is None and isinstance(algorithm, CompiledWinograd):
        return _strips(task, algorithm, result, held) or correlate_jobs(task, result, held)
    if not isinstance(algorithm, Compiled) or call.lens is not None or plan.pieces[1] > 1:
        return correlate_jobs(task, result, held)
    task = task if task.ready else replace(task, ready=(prepared(call, plan, task.w, held),))
    return _pieces(task, algorithm, result) or correlate_jobs(task, result, held)


def _pieces(task: Task, algorithm: Compiled, result: Result) -> Jobs | None:
    geometry, sums = task.plan.geometry, np.dtype(task.call.arithmetic.sums)
    target = _target(task, result)
    if target is None:
        return None
    x, weight = task.x, cast(Any, task.ready[0])
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


def _strips(task: Task, algorithm: CompiledWinograd, result: Result, held: Held) -> Jobs | None:
    """Make the jobs of Winograd's loops; where the weight is cut, each piece prepares its own filters."""
    call, plan, geometry, sums = task.call, task.plan, task.plan.geometry, np.dtype(task.call.arithmetic.sums)
    target = _target(task, result)
    if target is None:
        return None
    own = () if task.ready else algorithm.own_filters(geometry)
    pieces, room, packed = own or algorithm.pieces(geometry), algorithm.room(geometry), algorithm.packed(geometry)
    shape = (min(GROUP, packed[0]), *packed[1:])  # of what a piece prepares at once
    w = task.w
    if own and not w.flags.c_contiguous:
        w = held.empty(w.shape, sums)
        np.copyto(w, task.w)
    each = room + (math.prod(shape) if own else 0) + UFUNC_BUFFERS // sums.itemsize
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
        again = fall_back(task, part, x, task.w[..., filters], held)
        assert again is not None
        region = tuple((s.start, s.start + n) for s, n in zip(piece.where, z.shape[:-1], strict=False))
        compute_again(again(), region, work, z)
        if task.b is not None:
            np.add(z, bias[filters], out=z)

    return Jobs(compute, pieces, workers)


def _target(task: Task, result: Result) -> Array | None:
    """Give a result that loops write into, of images that they read where they lie; None if either is not so."""
    sums = np.dtype(task.call.arithmetic.sums)
    if task.plan.geometry.mode != "zeros" or not isinstance(result, Written):
        return None
    x, target = task.x, result.array()
    fit = _plain(x, sums) and x.flags.c_contiguous and _plain(target, sums) and target.strides[-1] == sums.itemsize
    return target if fit else None


def _plain(array: Array, dtype: np.dtype[Any]) -> bool:
    return bool(array.dtype == dtype and array.flags.aligned)
