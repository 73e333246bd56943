"""The convolution itself: blocks of filters one after another, each a job for every tile."""

from __future__ import annotations

from dataclasses import replace

from xpconv._arrays.call import Call
from xpconv._arrays.types import Array
from xpconv._convolution import straight
from xpconv._convolution.repeat import serves, weight_of
from xpconv._convolution.straight import jobs_for, multiplies
from xpconv._convolution.tile import Task, correlate_jobs
from xpconv._convolution.weight import beside
from xpconv._engine.jobs import run
from xpconv._engine.noted import Notes
from xpconv._engine.repeat import repeats
from xpconv._engine.results import Result, Written
from xpconv._plan.record import Plan
from xpconv._shapes.cuts import Cut, filter_blocks
from xpconv._work.memory import Held


def correlate(call: Call, plan: Plan, x: Array, w: Array, b: Array | None = None, *, conjugate: bool = False) -> Array:
    """(N, *I, C), (*K, C/G, F), (F,) -> (N, *O, F), in the layout of the call and its result's dtype.

    `conjugate`: the weight is taken conjugate, if it is complex; the plan counts the copy.
    """
    found = straight.correlate(call, plan, x, w, b) if straight.serves(call, plan) else None
    if found is None and not conjugate:
        found = repeats.perform(_note, call, plan, [x, w, b])
    if found is not None:
        return found
    return perform(Task(call, plan, x, w, b, conjugate=conjugate))


def _note(call: Call, plan: Plan, notes: Notes, arrays: list[Array]) -> Array | None:
    """Note a correlation."""
    x, w, b = arrays
    weight = weight_of(call, plan, notes, w) if serves(plan) else None
    return None if weight is None else note(Task(call, plan, x, w, b, ready=(weight,)), notes)


def note(task: Task, notes: Notes) -> Array:
    """Do a task whose weight is ready, and note it."""
    call, plan = task.call, task.plan
    target: Array = call.space.empty(plan.geometry.output_shape, call.arithmetic.result, call.layout)
    notes.know(target)
    jobs = correlate_jobs(task, Written(target), notes.held)
    workers, blas = plan.workers, multiplies(plan)
    notes.run([jobs], call.space, call.arithmetic, workers, plan.geometry.flops, blas=blas)
    return target


def perform(task: Task, out: Array | None = None) -> Array:
    """Do a task, in an array (N, *O, F) of the result's dtype if there is one."""
    call, plan = task.call, task.plan
    if plan.geometry.positions == 0:
        return call.zeros(plan.geometry.output_shape) if out is None else out
    result = Result.of(call, plan.geometry.output_shape, out)
    if not plan.parts:
        perform_part(task, result)
        return result.array()
    for part, cut, place in blocks(plan, result):
        b = None if task.b is None else task.b[cut.filters]
        perform_part(replace(task, plan=part, x=task.x[..., cut.inputs], w=task.w[cut.weights], b=b), place)
    return result.array()


def perform_part(task: Task, result: Result) -> None:
    """Do a task of a single plan."""
    call, plan = task.call, task.plan
    with Held(beside(plan)) as held:
        if task.conjugate:
            task = replace(task, w=call.conj(task.w))
        jobs = jobs_for(task, result, held)
        workers = jobs.workers or plan.workers
        run([jobs], call.space, call.arithmetic, workers, plan.geometry.flops, blas=multiplies(plan))


def blocks(plan: Plan, result: Result) -> list[tuple[Plan, Cut, Result]]:
    """Give what runs one after another: its plan, its channels, and where it goes."""
    cuts = filter_blocks(plan.geometry, len(plan.whole))
    places = result.channels([cut.filters for cut in cuts]) if plan.parts else [result]
    return list(zip(plan.whole, cuts, places, strict=True))
