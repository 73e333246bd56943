"""Compiled loops on images and results where they lie, in pieces that pay for a thread.

Other cuts give the same bits. A call that is served here finds all that follows from its shapes with its plan: what is
left is to look at its arrays, to pack the weight, and to run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.types import Array, DType
from xpconv._compiled import build
from xpconv._compiled.lanes import LANES
from xpconv._compiled.rows import BLOCK
from xpconv._convolution import strips
from xpconv._convolution.bias_grad import in_loops, pairs
from xpconv._convolution.tile import Task, correlate_jobs
from xpconv._convolution.weight import prepared, swapped
from xpconv._engine.jobs import Jobs
from xpconv._engine.results import Result, Written
from xpconv._plan.input_grad import GradientPlan
from xpconv._plan.record import Plan
from xpconv._shapes.cuts import slices
from xpconv._shapes.geometry import Geometry
from xpconv._work import threads
from xpconv._work.memory import Held
from xpconv._work.workspace import Workspace
from xpconv.algorithms import REGISTRY
from xpconv.algorithms.compiled import Compiled
from xpconv.algorithms.pieces import Piece, Pieces, alone, five, pack, whole

Job = Callable[[int, Array], None]  # by its number, with work memory


@dataclass(frozen=True)
class Loops:
    """The loops of a convolution on its arrays."""

    function: Callable[[Piece, Array], None]  # of a piece and of work memory
    pieces: tuple[Piece, ...]
    room: int  # how many numbers of work memory a worker takes

    @staticmethod
    def of_images(geometry: Geometry, dz: Array, weight: Array, bias: Array | None, target: Array) -> Loops:
        """Set up those of the gradient of the images at a stride."""
        pieces, room = _LOOPS.gradient_pieces(geometry)
        dtype = target.dtype
        run = build.get("depthwise images", build.NAMES[dtype])
        b = np.zeros(geometry.channels, dtype) if bias is None else whole(bias, dtype)
        grads, places = five(dz, flat=False), five(target, flat=False)

        def function(piece: Piece, own: Array) -> None:
            run(grads, weight, b, places[piece.where], piece.numbers, own)

        return Loops(function, pieces, room)

    @staticmethod
    def on(
        geometry: Geometry, x: Array, weight: Array, bias: Array | None, target: Array, w: Array | None = None
    ) -> Loops:
        """Set them up on a packed weight, and plain arrays of one dtype; with `w` each piece packs its own part."""
        pieces, room = _LOOPS.pieces(geometry, target.itemsize, target.flags.c_contiguous)
        flat, dtype = pieces[0].flat, target.dtype
        run = build.get(_LOOPS.kernel(geometry), build.NAMES[dtype])
        b = np.zeros(geometry.filters, dtype) if bias is None else whole(bias, dtype)
        images, places = five(x, flat), five(target, flat)

        def function(piece: Piece, own: Array) -> None:
            if w is not None:
                first, last = piece.blocks
                pack(w[..., first * BLOCK : last * BLOCK], weight[first:last], 1)
            z = places[piece.where]
            if z.size:  # a part of an image ends before the pieces of the whole
                run(images, weight, b, z, piece.numbers, own)

        return Loops(function, pieces, room)

    def job(self, index: int, own: Array) -> None:
        """Do a piece."""
        self.function(self.pieces[index], own)


_LOOPS = Compiled()


def pieces(geometry: Geometry, itemsize: int) -> Pieces:
    """Give the pieces of a convolution, and how many numbers of work memory a worker takes."""
    return _LOOPS.pieces(geometry, itemsize)


def multiplies(plan: Plan) -> bool:
    """Say whether a plan multiplies matrices, for which BLAS is limited to one thread."""
    return REGISTRY[plan.algorithm].multiplies(plan.geometry)


def correlate(call: Call, plan: Plan, x: Array, w: Array, b: Array | None) -> Array | None:
    """Do a whole convolution whose plan is served; None where an array is not for that."""
    geometry, sums = plan.geometry, call.arithmetic.sums
    if not (geometry.positions and plain(x, sums)):
        return None
    with Held() as held:
        shared = _LOOPS.room_for(geometry, np.dtype(sums), held.empty)
        weight = _LOOPS.packed(w, geometry, np.dtype(sums), held.empty) if shared is None else shared
        target = np.empty(geometry.output_shape, sums)
        loops = Loops.on(geometry, x, weight, b, target, None if shared is None else w)
        if not _fits([loops], [weight], plan.workers, plan.workspace):
            return None
        run(loops.job, len(loops.pieces), loops.room, plan.workers, sums, held)
    return target


@dataclass(frozen=True)
class Gradient:
    """A gradient in jobs on arrays where they lie."""

    job: Job
    count: int
    room: int  # how many numbers of work memory a worker takes
    shared: int  # bytes beside that
    workers: int
    result: Callable[[], Array]  # when all jobs are done


def together(call: Call, room: int, gradients: Sequence[Gradient | None], held: Held) -> list[Array] | None:
    """Run the jobs of some gradients side by side; None where one is missing or memory does not suffice.

    They take turns, so that what several read is read while it is in the cache.
    """
    found = [gradient for gradient in gradients if gradient is not None]
    if len(found) < len(gradients):
        return None
    items = [((i + 1) / one.count, one.job, i) for one in found for i in range(one.count)]
    workers, own = max(one.workers for one in found), max(one.room for one in found)
    memory = sum(one.shared for one in found) + min(workers, len(items)) * own * np.dtype(call.arithmetic.sums).itemsize
    if memory > room:
        return None
    items.sort(key=lambda item: item[0])

    def job(index: int, own: Array) -> None:
        _, function, number = items[index]
        function(number, own)

    run(job, len(items), own, workers, call.arithmetic.sums, held)
    return [one.result() for one in found]


def input_grad(call: Call, plan: GradientPlan, dz: Array, w: Array, b: Array | None) -> Array | None:
    """(N, *O, F), (*K, C/G, F), (C,) -> (N, *I, C), of a plan that is served; None where dz is not plain."""
    with Held() as held:
        found = together(call, plan.workspace, [of_images(call, plan, dz, w, b, held)], held)
        return None if found is None else found[0]


def weight_grad(call: Call, plan: Plan, x: Array, dz: Array) -> Array | None:
    """(N, *I, C), (N, *O, F) -> (*K, C/G, F), in the partial sums of a plan that is served; None as for `correlate`."""
    with Held() as held:
        found = together(call, plan.workspace, [of_weight(call, plan, x, dz, held)], held)
        return None if found is None else found[0]


def of_images(call: Call, plan: GradientPlan, dz: Array, w: Array, b: Array | None, held: Held) -> Gradient | None:
    """Set up the gradient of the images; its phases take turns, or a loop has them all."""
    geometry, sums = plan.geometry, call.arithmetic.sums
    planned = list(plan.planned)
    if not plain(dz, sums):
        return None
    target = np.empty(geometry.input_shape, sums)
    every, weights = [], []
    if _LOOPS.strided(geometry):
        weights.append(alone(w, geometry, np.dtype(sums)))
        every.append(Loops.of_images(geometry, dz, weights[0], b, target))
    else:
        for phase, one in zip(geometry.phases, plan.phases, strict=True):
            place = target[(slice(None), *phase.target)]
            if one is None:
                place[...] = 0 if b is None else b
                continue
            kernel = swapped(np, w[phase.flipped], geometry)
            weights.append(_LOOPS.packed(kernel, one.geometry, np.dtype(sums), held.empty))
            every.append(Loops.on(one.geometry, dz, weights[-1], b, place))
    items = [((i + 1) / len(loops.pieces), loops, i) for loops in every for i in range(len(loops.pieces))]
    items.sort(key=lambda item: item[0])

    def job(index: int, own: Array) -> None:
        _, loops, number = items[index]
        loops.job(number, own)

    room, shared = max(loops.room for loops in every), sum(weight.nbytes for weight in weights)
    return Gradient(job, len(items), room, shared, max(one.workers for one in planned), lambda: target)


def of_weight(call: Call, plan: Plan, x: Array, dz: Array, held: Held) -> Gradient | None:
    """Set up the gradient of the weight: a job sums over the pieces of a stretch."""
    geometry, sums = plan.geometry, call.arithmetic.sums
    if not (plain(x, sums) and plain(dz, sums)):
        return None
    stretches, room = _LOOPS.sums(geometry, np.dtype(sums).itemsize, plan.tile, plan.pieces[0])
    shape = _LOOPS.summed_shape(geometry)
    size = math.prod(shape)
    loops = build.get(_LOOPS.kernel(geometry, gradient=True), build.NAMES[np.dtype(sums)])
    shared = len(stretches) * size * np.dtype(sums).itemsize
    if shared > plan.workspace:
        return None
    partial = held.empty((len(stretches), *shape), sums)

    def job(number: int, own: Array) -> None:
        """Sum over the pieces of a stretch, each by itself before it is added."""
        total = found = partial[number]
        for piece in stretches[number]:
            loops(five(x, piece.flat), five(dz[piece.where], piece.flat), found, piece.numbers, own[size:])
            if found is not total:
                np.add(total, found, out=total)
            found = own[:size].reshape(shape)

    def result() -> Array:
        total = partial[0]
        for other in partial[1:]:
            np.add(total, other, out=total)
        return _LOOPS.unpacked(total, geometry)

    return Gradient(job, len(stretches), room + size, shared, plan.workers, result)


def of_bias(call: Call, dz: Array, workers: int, held: Held) -> Gradient | None:
    """Set up the gradient of the bias, with the sums and the bits of `bias_grad`: a job sums over a tile."""
    dtype, filters = np.dtype(call.arithmetic.sums), dz.shape[-1]
    if not plain(dz, dtype):
        return None
    sums, loops = in_loops(dz.shape[:-1], filters, call.traits), build.get("pixels", build.NAMES[dtype])
    found = held.empty((len(sums.tiles), filters), dtype)

    def job(number: int, own: Array) -> None:
        pixels = dz[slices(sums.tiles[number])].reshape(-1, filters)
        loops(pixels, found[number], own, sums.together[number], sums.stretch)

    def result() -> Array:
        return pairs([part.copy() for part in found])[0]

    return Gradient(job, len(sums.tiles), sums.room, found.nbytes, workers, result)


def gradients(call: Call, plans: tuple[GradientPlan, Plan], dz: Array, x: Array, w: Array) -> list[Array] | None:
    """Give dx, dw and db, of plans that are served, in one run of the threads; None where an array is not plain.

    With less than a vector of filters NumPy may add in another order than row by row, so db is left to `bias_grad`.
    """
    images, weight = plans
    with Held() as held:
        every = [of_images(call, images, dz, w, None, held), of_weight(call, weight, x, dz, held)]
        if dz.shape[-1] >= LANES and dz.size:
            every.append(of_bias(call, dz, weight.workers, held))
        return together(call, call.room, every, held)


def run(job: Job, count: int, room: int, workers: int, dtype: DType, held: Held) -> None:
    """Run jobs, each worker with work memory of its own, of so many numbers."""
    threads.run(job, count, lambda: held.empty((room,), dtype), _keep, workers, collect=False)


def _keep(own: Array) -> None:
    """Leave a worker's memory to those that hold it."""


def serves_images(call: Call, plan: GradientPlan) -> bool:
    """Say whether the gradient of the images is in loops on plain arrays: all its phases."""
    planned, geometry = list(plan.planned), plan.geometry
    if plan.bands is not None or not planned or geometry.mode != "zeros" or geometry.batch == 0:
        return False
    return all(serves(call, one) for one in planned)


def serves(call: Call, plan: Plan) -> bool:
    """Say whether a pass is in loops on plain arrays, of one block of channels."""
    whole_call = call.lens is None and call.layout == "channels_last" and plan.geometry.mode == "zeros"
    return bool(REGISTRY[plan.algorithm].in_place and whole_call and plan.pieces[1] == 1 and not plan.parts)


def _fits(every: Sequence[Loops], weights: Sequence[Array], workers: int, workspace: int) -> bool:
    """Say whether the work memory of all workers and the weights are within a plan's workspace."""
    room, pieces = max(loops.room for loops in every), sum(len(loops.pieces) for loops in every)
    memory = min(workers, pieces) * room * weights[0].itemsize
    return bool(memory + sum(weight.nbytes for weight in weights) <= workspace)


def plain(array: Array, dtype: DType) -> bool:
    """Say whether the loops take an array as it is."""
    return bool(array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned)


def jobs_for(task: Task, result: Result, held: Held) -> Jobs:
    """Make the jobs of a task: pieces of compiled loops where its arrays are for that, or tiles."""
    call, plan = task.call, task.plan
    algorithm = REGISTRY[plan.algorithm]
    if algorithm.in_strips and call.lens is None:
        return strips.jobs(task, result, held) or correlate_jobs(task, result, held)
    if not (algorithm.in_place and call.lens is None and plan.pieces[1] == 1):
        return correlate_jobs(task, result, held)
    sums = np.dtype(call.arithmetic.sums)
    task = task if task.ready else replace(task, ready=(prepared(call, plan, task.w, held),))
    target = result.array() if isinstance(result, Written) else None
    taken = target is not None and target.dtype == sums and target.flags.aligned and target.strides[-1] == sums.itemsize
    if plan.geometry.mode != "zeros" or not taken or not plain(task.x, sums):
        return correlate_jobs(task, result, held)
    weight: Any = task.ready[0]
    loops = Loops.on(plan.geometry, task.x, weight, task.b, target)
    if not _fits([loops], [weight], plan.workers, plan.workspace):
        return correlate_jobs(task, result, held)

    def function(piece: Piece, work: Workspace) -> None:
        loops.function(piece, work.buffer("rows", (loops.room,), sums))  # type: ignore[attr-defined]

    return Jobs(function, loops.pieces)
