"""The weight in the form that an algorithm takes: prepared, in panels, flipped for a gradient, laid out in order."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import native
from xpconv._arrays.types import Array, DType, Namespace
from xpconv._engine.jobs import Jobs, Runner, run
from xpconv._plan.record import Plan
from xpconv._shapes.cuts import channel_blocks, intervals
from xpconv._shapes.geometry import Geometry, Interval, Ints
from xpconv._work import panels, products
from xpconv._work.buffered import workspace
from xpconv._work.memory import Held, Lasting
from xpconv._work.panels import Panels
from xpconv._work.workspace import Workspace
from xpconv.algorithms import REGISTRY, Algorithm

PREPARED = 1 << 19  # elements of a prepared weight that are made at once
BESIDE = 16  # what no plan counts is at most this part of the room: 15/16 of the limit, so it stays below the limit


def algorithm_of(call: Call, plan: Plan) -> Algorithm:
    """Give the algorithm of a plan, or what its error is measured by."""
    algorithm = REGISTRY[plan.algorithm]
    return algorithm.of_magnitudes if call.measures else algorithm


def factors_of(call: Call, plan: Plan, *dtypes: DType) -> DType:
    """Give the dtype of the factors of a plan, whose arrays have these: that of the sums, mostly."""
    own, algorithm = call.arithmetic.inputs, REGISTRY[plan.algorithm]
    narrow = algorithm.narrow and call.narrow and all(dtype == own for dtype in dtypes)
    return own if narrow else call.arithmetic.factors


def beside(plan: Plan) -> int:
    """Say how many bytes a pass may allocate that are no kept work arrays: a library's transforms give new arrays."""
    return plan.workspace if REGISTRY[plan.algorithm].fourier else plan.copied


def prepared(call: Call, plan: Plan, w: Array, held: Held, run: Runner = run) -> Array | Panels:
    """Bring the weight into the form that the algorithm takes, some channels at a time where that is much work."""
    arithmetic, algorithm, geometry = call.arithmetic, algorithm_of(call, plan), plan.geometry
    shape = algorithm.prepared_shape(geometry, complex_data=arithmetic.is_complex)
    if plan.panels and (shape is not None or panels.repaid(w, geometry.positions)):
        return _in_panels(call, plan, w, shape, held, run)
    if (blocks := algorithm.blocks(geometry)) is not None:
        return _in_blocks(call, plan, w, blocks, held)
    if shape is None or not call.traits.buffers:
        alone = workspace(call.space, arithmetic)
        alone.areas = plan.areas
        with alone.quiet():  # what overflows is seen in the results
            return algorithm.prepare(alone, w, geometry)
    sums = arithmetic.sums
    target = held.empty(shape, call.xp.result_type(sums, call.xp.complex64) if algorithm.fourier else sums)

    def compute(cut: Interval, work: Workspace) -> None:
        with work.quiet():
            algorithm.prepare(work, w[..., slice(*cut), :], geometry, target[:, slice(*cut), :])

    cuts = intervals(shape[-2], max(1, PREPARED * shape[-2] // math.prod(shape)))
    flops = 2 * math.prod(shape) * geometry.taps
    run([Jobs(compute, cuts)], call.space, arithmetic, plan.workers, flops)
    return target


def ready(call: Call, plan: Plan, w: Array) -> tuple[Array | Panels, ...]:
    """Prepare the weight of each block of channels, in memory that lasts; none that is too large."""
    if plan.parts:
        return ()
    held, cuts = Lasting(), channel_blocks(plan.geometry, plan.pieces[1])
    if len(cuts) == 1:
        return (prepared(call, plan, w, held),)
    one = replace(plan, pieces=(1, 1))
    return tuple(prepared(call, replace(one, geometry=cut.geometry), w[cut.weights], held) for cut in cuts)


def form(call: Call, plan: Plan, w: Array) -> tuple[Any, ...]:
    """Say in which form `ready` prepares a weight: equal for two plans that can share it."""
    columns = plan.panels if plan.panels and panels.repaid(w, plan.geometry.positions) else 0
    return plan.algorithm, algorithm_of(call, plan).form(plan.geometry), plan.pieces[1], plan.panels, columns


def _in_blocks(call: Call, plan: Plan, w: Array, shape: Ints, held: Held) -> Array:
    """Prepare the weight in blocks of filters, some at a time."""
    geometry, algorithm = plan.geometry, algorithm_of(call, plan)
    target = held.empty(shape, call.arithmetic.sums)

    def compute(cut: Interval, work: Workspace) -> None:
        algorithm.prepare_blocks(work, w, geometry, cut, target[slice(*cut)])

    cuts = intervals(len(target), max(1, PREPARED // math.prod(target.shape[1:])))
    run([Jobs(compute, cuts)], call.space, call.arithmetic, plan.workers, 2 * target.size * geometry.taps, blas=False)
    return target


def _in_panels(call: Call, plan: Plan, w: Array, shape: Ints | None, held: Held, run: Runner) -> Panels:
    """Prepare the weight panel by panel; where the algorithm has no form of its own (`shape` is None), copy it."""
    geometry, algorithm = plan.geometry, algorithm_of(call, plan)
    whole = (geometry.products, geometry.filters) if shape is None else shape
    found = Panels(tuple(held.empty(part, call.arithmetic.sums) for part in panels.shapes(whole, plan.panels)))

    def copy(item: tuple[slice, Array, slice], work: Workspace) -> None:
        columns, panel, some = item
        target = panel.reshape(*geometry.kernel, geometry.channels, -1)[..., some]
        work.do(np.copyto, target, w[..., columns][..., some])

    def prepare(item: tuple[slice, Array, slice], work: Workspace) -> None:
        columns, panel, channels = item
        with work.quiet():
            algorithm.prepare(work, w[..., channels, columns], geometry, panel[:, channels, :])

    items = []
    for columns, panel in found.each():
        if shape is None:
            size, step = panel.shape[-1], plan.panels if w.strides[-1] == w.itemsize else panels.LINE
        else:
            size, step = shape[-2], max(1, PREPARED * shape[-2] // (math.prod(shape[:-1]) * plan.panels))
        items += [(columns, panel, slice(*cut)) for cut in intervals(size, step)]
    jobs = Jobs(copy if shape is None else prepare, items)
    flops = math.prod(whole) * (panels.MOVED if shape is None else 2 * geometry.taps)
    run([jobs], call.space, call.arithmetic, plan.workers, flops)
    return found


def adjoint(xp: Namespace, w: Array, taps: tuple[slice, ...], geometry: Geometry) -> Array:
    """Take a stride phase's taps, flipped, with input and output channels swapped: (*J, F/G, C)."""
    if geometry.taps > 1:
        w = xp.flip(w[(*taps, slice(None), slice(None))], axis=tuple(range(geometry.rank)))
    return swapped(xp, w, geometry)


def swapped(xp: Namespace, w: Array, geometry: Geometry) -> Array:
    """Swap the input and output channels of some taps: (*J, C/G, F) -> (*J, F/G, C)."""
    rank, groups = geometry.rank, geometry.groups
    spatial = tuple(range(rank))
    if groups == 1:
        return xp.permute_dims(w, (*spatial, rank + 1, rank))
    if geometry.depthwise:
        return w
    kernel, depth = w.shape[:rank], w.shape[rank]
    # (*J, C/G, G, F/G) -> (*J, F/G, G, C/G)
    w = xp.permute_dims(xp.reshape(w, (*kernel, depth, groups, -1)), (*spatial, rank + 2, rank + 1, rank))
    return xp.reshape(w, (*kernel, -1, geometry.channels))


def side_by_side(call: Call, plan: Plan, w: Array, held: Held, run: Runner = run) -> Array:
    """Copy a weight whose last axis does not lie in one piece, if that pays for so many pixels and there is room.

    Products with it take up to twice the time; those with a large one do not, and take no pieces either. Where the
    algorithm copies it in any case, it is copied here, by all threads. A weight that is laid out anew later, by its
    algorithm or in panels, stays as it is.
    """
    inner, columns = w.shape[-2:]
    pixels = plan.geometry.positions
    anew = plan.step or (plan.panels and panels.repaid(w, pixels))
    if anew or w.strides[-1] == w.itemsize:
        return w
    copied = REGISTRY[plan.algorithm].copies_weight and math.prod(w.shape[:-2]) > 1
    if not copied and (pixels < panels.REPAID or not products.lies_at_hand(inner, columns, w.itemsize)):
        return w
    if not copied and w.nbytes > call.options.room // BESIDE:
        return w
    target = held.empty(w.shape, native(w.dtype))

    def copy(cut: Interval, work: Workspace) -> None:
        work.do(np.copyto, target[..., slice(*cut)], w[..., slice(*cut)])

    cuts, flops = intervals(columns, panels.LINE), panels.MOVED * math.prod(w.shape)
    run([Jobs(copy, cuts)], call.space, Arithmetic.plain(call.xp, native(w.dtype)), plan.workers, flops)
    return target
