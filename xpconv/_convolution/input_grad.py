"""The gradient of the images: stride phases, each a stride-1 correlation, or col2im; then the padding's share."""

from __future__ import annotations

import contextlib

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast, itemsize
from xpconv._arrays.types import Array
from xpconv._convolution import col2im
from xpconv._convolution.correlate import Task, correlate_jobs
from xpconv._convolution.weight import adjoint, beside, side_by_side
from xpconv._engine.fold import add_strip
from xpconv._engine.jobs import Jobs, run
from xpconv._engine.results import Result
from xpconv._plan.input_grad import GradientPlan, batches, strip_elements, strips
from xpconv._work.memory import Held


def input_grad(call: Call, plan: GradientPlan, dz: Array, w: Array, b: Array | None = None) -> Array:
    """(N, *O, F), (*K, C/G, F), (C,) -> (N, *I, C), the padding's share added to the pixels that it repeats.

    A transposed convolution has a bias (C,).
    """
    if plan.geometry.mode == "zeros" or plan.geometry.batch == 0:
        return _of_pixels(call, plan, dz, w, b)
    parts = batches(call, plan)
    if (
        len(parts) == 1
        and parts[0][1] is plan
        and (call.traits.mutable or call.arithmetic.result == call.arithmetic.sums)
    ):
        return _padded(call, plan, dz, w)
    wide = call.in_sums()
    if not call.traits.mutable:
        return cast(call.xp, _padded(wide, plan, dz, w), call.arithmetic.result)
    target = call.space.empty(plan.geometry.input_shape, call.arithmetic.result, call.layout)
    for (start, stop), part in parts:
        target[start:stop, ...] = _padded(wide, part, dz[start:stop, ...], w)
    return target


def _padded(call: Call, plan: GradientPlan, dz: Array, w: Array) -> Array:
    """Add the gradients of the padding to those of the pixels."""
    dx, wide = _of_pixels(call, plan, dz, w), call.in_sums()
    with Held(strip_elements(call) * itemsize(call.xp, call.arithmetic.sums)):
        for strip, part in strips(call, plan):
            start, stop = strip.images
            dx = add_strip(call.space, dx, strip, _of_pixels(wide, part, dz[start:stop, ...], w))
    return dx


def _of_pixels(call: Call, plan: GradientPlan, dz: Array, w: Array, b: Array | None = None) -> Array:
    """(N, *O, F), (*K, C/G, F), (C,) -> (N, *I, C), whatever the padding holds."""
    geometry = plan.geometry
    if geometry.batch == 0:
        return call.zeros(geometry.input_shape)
    result = Result.of(call, geometry.input_shape)
    if plan.bands is not None and call.lens is None:
        col2im.input_grad(call, plan, dz, w, b, result.array())
        return result.array()
    waiting: list[tuple[int, int, Jobs]] = []  # flops, workers, jobs of a phase
    with contextlib.ExitStack() as stack:
        for phase, taken, part in zip(
            geometry.phases, plan.phases, result.phases(geometry.input, geometry.stride), strict=True
        ):
            if phase.geometry is None or taken is None:
                size = tuple(len(range(*s.indices(n))) for s, n in zip(phase.target, geometry.input, strict=True))
                bias = None if b is None else cast(call.xp, b, call.arithmetic.sums)
                part.fill((geometry.batch, *size, geometry.channels), bias)
                continue
            kernel = call.seen(adjoint(call.xp, w, phase.taps, geometry))
            held = stack.enter_context(Held(beside(taken)))
            if call.traits.buffers:
                kernel = side_by_side(call, taken, kernel, held)
            jobs = correlate_jobs(Task(call, taken, dz, kernel, b), part, held)
            if plan.together:
                waiting.append((taken.flops, taken.workers, jobs))
                continue
            run([jobs], call.space, call.arithmetic, taken.workers, taken.flops)
            stack.close()
        if waiting:  # one after another, threads would wait for each other at the end of each; the longest goes first
            flops, workers, jobs_of = zip(*sorted(waiting, key=lambda one: -one[0]), strict=True)
            run(jobs_of, call.space, call.arithmetic, max(workers), sum(flops))
    return result.array()
