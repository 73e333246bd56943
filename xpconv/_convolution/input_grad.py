"""The gradient of the images: stride phases, each a stride-1 correlation, or col2im; then the padding's share."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast, itemsize, native
from xpconv._arrays.types import Array
from xpconv._convolution import col2im, straight
from xpconv._convolution.correlate import blocks
from xpconv._convolution.repeat import serves, weight_of
from xpconv._convolution.straight import jobs_for, multiplies
from xpconv._convolution.tile import Task, correlate_jobs
from xpconv._convolution.weight import adjoint, beside, side_by_side
from xpconv._engine.fold import add_strip
from xpconv._engine.jobs import Jobs, run
from xpconv._engine.noted import Notes
from xpconv._engine.repeat import repeats
from xpconv._engine.results import Result, Written
from xpconv._plan.input_grad import GradientPlan, batches, strip_elements, strips
from xpconv._plan.record import Plan
from xpconv._shapes.cuts import Cut
from xpconv._shapes.geometry import Geometry, Phase
from xpconv._work.memory import Held


def input_grad(
    call: Call, plan: GradientPlan, dz: Array, w: Array, b: Array | None = None, *, conjugate: bool = False
) -> Array:
    """(N, *O, F), (*K, C/G, F), (C,) -> (N, *I, C), the padding's share added to the pixels that it repeats.

    A transposed convolution has a bias (C,). `conjugate`: the weight is taken conjugate, if it is complex.
    """
    found = straight.input_grad(call, plan, dz, w, b) if straight.serves_images(call, plan) else None
    if found is not None:
        return found
    weight = _Weight(plan.geometry, w, conjugate and call.arithmetic.is_complex)
    if b is None and not weight.conjugate and plan.geometry.mode == "zeros":
        found = repeats.perform(_note, call, plan, [dz, w])
        if found is not None:
            return found
    if plan.geometry.mode == "zeros" or plan.geometry.batch == 0:
        return _of_pixels(call, plan, dz, weight, b)
    parts = batches(call, plan)
    if not parts and (call.traits.mutable or call.arithmetic.result == call.arithmetic.sums):
        return _padded(call, plan, dz, weight)
    wide = call.in_sums()
    if not call.traits.mutable:
        return cast(call.xp, _padded(wide, plan, dz, weight), call.arithmetic.result)
    target = call.space.empty(plan.geometry.input_shape, call.arithmetic.result, call.layout)
    for (start, stop), part in parts:
        target[start:stop, ...] = _padded(wide, part, dz[start:stop, ...], weight)
    return target


def _note(call: Call, plan: GradientPlan, notes: Notes, arrays: list[Array]) -> Array | None:
    """Note a gradient without padding that holds pixels of the image: col2im, or stride phases."""
    dz, w = arrays
    geometry = plan.geometry
    planned = list(plan.planned)
    if (geometry.groups > 1 and not geometry.depthwise) or geometry.flops == 0 or not planned:
        return None
    if plan.bands is None and not all(map(serves, planned)):
        return None
    target: Array = call.space.empty(geometry.input_shape, call.arithmetic.result, call.layout)
    notes.know(target)
    if plan.bands is not None:
        col2im.note(call, plan, notes, dz, w, target)
        return target
    places = Written(target).phases(geometry.input, geometry.stride)
    waiting = []
    for phase, one, place in zip(geometry.phases, plan.phases, places, strict=True):
        if one is None:
            notes.do(np.copyto, place.array(), 0)
            continue
        view = adjoint(call.xp, w, phase.taps, geometry)
        kernel = side_by_side(call, one, view, notes.held, notes.run)
        weight = weight_of(call, one, notes, kernel)
        if weight is None:
            return None
        waiting.append((one, correlate_jobs(Task(call, one, dz, kernel, None, ready=(weight,)), place, notes.held)))
    notes.run(
        [jobs for _, jobs in waiting],
        call.space,
        call.arithmetic,
        max(one.workers for one, _ in waiting) if plan.together else 1,
        sum(one.flops for one, _ in waiting),
        blas=any(multiplies(one) for one, _ in waiting),
    )
    return target


def _padded(call: Call, plan: GradientPlan, dz: Array, weight: _Weight) -> Array:
    """Add the gradients of the padding to those of the pixels."""
    dx, wide = _of_pixels(call, plan, dz, weight), call.in_sums()
    with Held(strip_elements(call) * itemsize(call.xp, call.arithmetic.sums)):
        for strip, part in strips(call, plan):
            start, stop = strip.images
            dx = add_strip(call.space, dx, strip, _of_pixels(wide, part, dz[start:stop, ...], weight))
    return dx


def _of_pixels(call: Call, plan: GradientPlan, dz: Array, weight: _Weight, b: Array | None = None) -> Array:
    """(N, *O, F), (*K, C/G, F), (C,) -> (N, *I, C), whatever the padding holds."""
    geometry = plan.geometry
    if geometry.batch == 0:
        return call.zeros(geometry.input_shape)
    result = Result.of(call, geometry.input_shape)
    if plan.bands is not None and call.lens is None:
        col2im.input_grad(call, plan, dz, weight.whole, b, result.array(), conjugate=weight.conjugate)
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
            for one, cut, place in blocks(taken, part):
                held = stack.enter_context(Held(beside(one)))
                own = None if b is None else b[cut.filters]
                kernel = weight.of(call, one, phase, cut, held)
                jobs = jobs_for(Task(call, one, dz[..., cut.inputs], kernel, own), place, held)
                del kernel  # or it would be there still when the next one is made
                if plan.together:
                    waiting.append((one.flops, jobs.workers or one.workers, jobs))
                    continue
                workers = jobs.workers or one.workers
                run([jobs], call.space, call.arithmetic, workers, one.flops, blas=multiplies(one))
                del jobs
                stack.close()
        if waiting:  # one after another, threads would wait for each other at the end of each; the longest goes first
            flops, counts, jobs_of = zip(*sorted(waiting, key=lambda one: -one[0]), strict=True)
            blas = any(one is not None and multiplies(one) for one in plan.phases)
            run(jobs_of, call.space, call.arithmetic, max(counts), sum(flops), blas=blas)
    return result.array()


@dataclass(frozen=True)
class _Weight:
    """The weight (*K, C/G, F) of the convolution, and how it is taken."""

    geometry: Geometry
    whole: Array
    conjugate: bool

    def of(self, call: Call, plan: Plan, phase: Phase, cut: Cut, held: Held) -> Array:
        """Give the weight of a phase's correlation, for some of the pixels' channels."""
        w, taps, part = self.whole, phase.taps, plan.geometry
        geometry = replace(self.geometry, channels=part.filters, filters=part.channels, groups=part.groups)
        if cut.filters != slice(None):
            depth = self.geometry.channels // self.geometry.groups
            first = cut.filters.start % depth
            own = slice(first, min(first + cut.filters.stop - cut.filters.start, depth))  # of the groups' channels
            w = w[..., own, cut.inputs]
            if self.conjugate and call.traits.buffers and part.groups == 1:
                kernel = adjoint(call.xp, w, taps, geometry)
                return np.conjugate(kernel, out=held.empty(kernel.shape, native(kernel.dtype)))
        if self.conjugate:
            w = call.conj(w[(*taps, slice(None), slice(None))])
            taps = (slice(None),) * len(taps)
        kernel = call.seen(adjoint(call.xp, w, taps, geometry))
        return side_by_side(call, plan, kernel, held) if call.traits.buffers else kernel
