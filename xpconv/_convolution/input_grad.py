"""The driver of the input gradient: stride phases, each a correlation of the output's gradient, or col2im."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from xpconv import _options
from xpconv._arrays.dtypes import has_double
from xpconv._arrays.space import Namespace, Traits, cast, empty, itemsize, write, zeros
from xpconv._convolution import col2im as _col2im
from xpconv._convolution import phases as _phases
from xpconv._engine.jobs import Each, Jobs, beside, correlate_jobs, run
from xpconv._plan.choose import Plan
from xpconv._shapes.geometry import Geometry, Phase
from xpconv._work.memory import Held
from xpconv.algorithms.exact import arithmetic

Array = Any


def input_grad(
    dz: Array, w: Array, geometry: Geometry, plan: Callable[[Geometry], Plan], xp: Namespace, traits: Traits, *,
    sums: Any, dtype: Any, layout: str, b: Array | None = None, each: Each | None = None, by_phases: bool = False,
    share: int = 4,
) -> Array:  # fmt: skip
    """(N, *O, F), (*K, C/G, F) -> (N, *I, C): stride phases, each a stride-1 correlation of dz, or col2im if cheaper.

    `by_phases` forbids col2im: somebody named the algorithm. `each` makes magnitudes, by which the error is measured,
    and goes by phases as well. A transposed convolution has a bias (C,). `share`: quarters of the workspace.
    """
    if geometry.batch == 0:
        return zeros(xp, geometry.input_shape, dtype, dz)
    target = empty(xp, geometry.input_shape, dtype, dz, layout) if traits.mutable else None
    dtypes = arithmetic(xp, dz.dtype, sums, has_double(xp, dz))
    # also where col2im is taken in the end: its time is compared with theirs
    plans = [None if phase.geometry is None else plan(phase.geometry) for phase in geometry.phases]
    if target is not None and each is None and not by_phases:
        rivals = [taken for taken in plans if taken is not None]
        bands = _col2im.worth_it(geometry, rivals, traits, dtypes, itemsize(xp, sums), share)
        if bands is not None:
            _col2im.input_grad(dz, w, b, geometry, bands, xp, traits, dtypes, target)
            return target
    pieces: list[Array] = []
    waiting: list[tuple[int, int, Jobs]] = []  # flops, workers, jobs of a phase
    # work arrays of all phases are held until the end
    needs = sum(taken.workspace for taken in plans if taken is not None)
    together = target is not None and needs <= _options.current().room // 4 * share
    with contextlib.ExitStack() as stack:
        for phase, taken in zip(geometry.phases, plans, strict=True):
            index = (slice(None), *phase.target, slice(None))
            if phase.geometry is None or taken is None:
                if target is not None:
                    write(target, index, 0 if b is None else b)
                else:
                    pieces.append(_blank(phase, geometry, xp, sums, dz, b))
                continue
            kernel = _phases.adjoint_kernel(xp, w, phase.taps, geometry)
            kernel = kernel if each is None else each(kernel)
            held = stack.enter_context(Held(beside(taken)))
            if traits.buffers:
                kernel = _phases.side_by_side(kernel, phase.geometry.positions, taken, held, xp, traits)
            jobs = correlate_jobs(
                dz, kernel, b, phase.geometry, taken, xp, traits, dtypes, target, held, each, index, each is not None
            )
            if together:
                waiting.append((phase.geometry.flops, taken.workers, jobs))
                continue
            blocks = run([jobs], xp, traits, sums, taken.workers, phase.geometry.flops, target is None, dtypes)
            stack.close()
            if target is None:
                pieces.append(jobs.join(xp, blocks))
        if waiting:  # one after another, threads would wait for each other at the end of each; the longest goes first
            flops, workers, jobs_of = zip(*sorted(waiting, key=lambda one: -one[0]), strict=True)
            run(jobs_of, xp, traits, sums, max(workers), sum(flops), False, dtypes)
    if target is not None:
        return target
    return cast(xp, _phases.interleave(xp, pieces, geometry), dtype)


def _blank(phase: Phase, geometry: Geometry, xp: Namespace, sums: Any, like: Array, b: Array | None) -> Array:
    """Give the pixels of a phase that no window reads."""
    size = tuple(len(range(*s.indices(n))) for s, n in zip(phase.target, geometry.input, strict=True))
    blank = zeros(xp, (geometry.batch, *size, geometry.channels), sums, like)
    return blank if b is None else blank + cast(xp, b, sums)
