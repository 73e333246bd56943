"""The weight gradient: partial sums over the pixels, in a fixed number and order."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from enum import Enum, auto
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast, itemsize
from xpconv._arrays.types import Array
from xpconv._convolution import straight
from xpconv._convolution.repeat import whole
from xpconv._convolution.weight import algorithm_of, beside, factors_of
from xpconv._engine.jobs import Jobs, run
from xpconv._engine.noted import Notes
from xpconv._engine.repeat import repeats
from xpconv._engine.slab import inside, slab
from xpconv._plan.record import Plan
from xpconv._shapes.cuts import Cut, Tiles, channel_blocks, intervals, sizes, slices
from xpconv._shapes.geometry import Interval, Region
from xpconv._work import threads
from xpconv._work.buffered import workspace
from xpconv._work.memory import Held
from xpconv._work.workspace import Workspace
from xpconv.algorithms import REGISTRY

ADDED = 1 << 16  # elements of partial sums that are added up at once
FINEST = 16  # part of the room that the sums of a block of channels take, where they are put together by blocks


def weight_grad(call: Call, plan: Plan, x: Array, dz: Array) -> Array:
    """(N, *I, C), (N, *O, F) -> (*K, C/G, F), ready to be given to the caller.

    The pixels are cut into a fixed number of partial sums, each taken tile by tile and added up in order, so the
    result does not depend on which worker took which. The channels are cut into blocks that share nothing.
    """
    if plan.geometry.positions == 0:
        return call.space.zeros(plan.geometry.kernel_shape, call.arithmetic.sums)
    found = straight.weight_grad(call, plan, x, dz) if straight.serves(call, plan) else None
    if found is None:
        found = repeats.perform(_note, call, plan, [x, dz])
    if found is None:
        found = _weight_grad(call, plan, x, dz)
    if found is None:
        assert plan.fallback is not None
        return weight_grad(call, plan.fallback, x, dz)
    return found


def _weight_grad(call: Call, plan: Plan, x: Array, dz: Array) -> Array | None:
    """Give the gradient; None where it is not finite and has to be computed again, by when its memory is free."""
    geometry, space, arithmetic = plan.geometry, call.space, call.arithmetic
    form = _Form.of(call, plan)
    if form is _Form.BY_BLOCKS:
        return _by_blocks(call, plan, x, dz)
    target = None
    if call.traits.mutable:
        target = space.empty_kernel(
            geometry.kernel_shape, arithmetic.sums, call.layout if form is _Form.IN_LAYOUT else "channels_last"
        )
    sums = _Sums(call, plan, x, dz, target)
    # what the caller gets is made of it after this; kept blocks leave room for that
    second = _size(call, plan) if form is _Form.APART else 0
    with Held(beside(plan) + second) as held:
        sums.begin(held)
        jobs = Jobs(lambda item, work: sums.partial(item, work, held if call.traits.buffers else None), sums.items)
        partial = run([jobs], space, arithmetic, plan.workers, geometry.flops, collect=True)
        finishing = Jobs(lambda item, work: sums.finish(item, work, partial), sums.slices)
        size = len(sums.stretches) * geometry.products * geometry.filters
        parts = run([finishing], space, arithmetic, plan.workers, size, collect=target is None)
    if target is None:
        target = parts[0] if len(parts) == 1 else call.xp.concat(parts, axis=-1 if geometry.groups > 1 else -2)
    if plan.fallback is None or call.measures:
        return target
    with threads.one_blas_thread:
        return target if workspace(space, arithmetic).is_finite(target) else None


def _note(call: Call, plan: Plan, notes: Notes, arrays: list[Array]) -> Array | None:
    """Note a gradient that is one partial sum, taken in the result itself."""
    x, dz = arrays
    algorithm = REGISTRY[plan.algorithm]
    if not (algorithm.exact and algorithm.noted_gradient(plan.geometry) and whole(plan)):
        return None
    if _Form.of(call, plan) is not _Form.APART:
        return None
    target: Array = call.space.empty_kernel(plan.geometry.kernel_shape, call.arithmetic.sums)
    notes.know(target)
    sums = _Sums(call, plan, x, dz, target)
    if len(sums.items) > 1:
        return None
    jobs = Jobs(lambda item, work: sums.partial(item, work, notes.held), sums.items)
    notes.run([jobs], call.space, call.arithmetic, plan.workers, plan.geometry.flops)
    return target


class _Form(Enum):
    """Where the sums are put together."""

    APART = auto()  # channels last, and turned into what the caller gets at the end: the fastest, and a second array
    IN_LAYOUT = auto()  # in the caller's layout from the beginning
    BY_BLOCKS = auto()  # some channels at a time, in work arrays: the caller gets another dtype

    @staticmethod
    def of(call: Call, plan: Plan) -> _Form:
        """Choose the one that fits the workspace."""
        arithmetic = call.arithmetic
        rounded = arithmetic.result != arithmetic.sums
        if not call.traits.buffers or not (rounded or call.layout == "channels_first"):
            return _Form.APART
        if plan.workspace + _size(call, plan) <= call.options.max_workspace:
            return _Form.APART
        return _Form.BY_BLOCKS if rounded else _Form.IN_LAYOUT


def _size(call: Call, plan: Plan) -> int:
    """Count the bytes of the gradient in the dtype of the sums."""
    return plan.geometry.products * plan.geometry.filters * itemsize(call.xp, call.arithmetic.sums)


def _by_blocks(call: Call, plan: Plan, x: Array, dz: Array) -> Array | None:
    """Put the sums of some channels together at a time, in the same order, and round them into the result."""
    geometry, space, arithmetic = plan.geometry, call.space, call.arithmetic
    target = space.empty_kernel(geometry.kernel_shape, arithmetic.result, call.layout)
    sums = _Sums(call, plan, x, dz, None)
    finite: list[bool] = []

    def compute(cut: Cut, work: Workspace) -> None:
        first, *others = sums.stretches
        with Held() as held:
            total = sums.partial((first, cut), work, held)
            for stretch in others:
                with Held() as own:
                    total = work.accumulate(total, sums.partial((stretch, cut), work, own))
            with sums.quiet(work):
                found = sums.algorithm.finish(work, total, cut.geometry)
            finite.append(plan.fallback is None or call.measures or work.is_finite(found))
            np.copyto(target[cut.weights], found, casting="unsafe")

    cuts = sums.cuts
    if geometry.groups > 1:
        cuts = _finer(cuts, call.room // FINEST // itemsize(call.xp, arithmetic.sums))
    alone = plan.workspace // plan.workers + 2 * _size(call, plan) // len(cuts)
    workers = max(1, min(plan.workers, call.room // alone))
    with Held(beside(plan)):
        run([Jobs(compute, cuts)], space, arithmetic, workers, geometry.flops)
    return target if all(finite) else None


def _finer(cuts: list[Cut], elements: int) -> list[Cut]:
    """Cut single groups further, by their input channels, as far as their weights have more elements than that."""
    first = cuts[0].geometry
    count = -(-first.products * first.filters // elements)
    if count == 1 or first.groups > 1:
        return cuts
    finer = []
    for cut in cuts:
        for part in channel_blocks(cut.geometry, min(count, first.channels)):
            inputs = slice(cut.inputs.start + part.inputs.start, cut.inputs.start + part.inputs.stop)
            finer.append(replace(cut, geometry=part.geometry, inputs=inputs, weights=(..., part.inputs, cut.filters)))
    return finer


class _Sums:
    """The partial sums of one weight gradient, and what is made of them."""

    def __init__(self, call: Call, plan: Plan, x: Array, dz: Array, target: Array | None) -> None:
        geometry = plan.geometry
        self.call, self.plan, self.x, self.dz, self.target = call, plan, x, dz, target
        self.algorithm, self.factors = algorithm_of(call, plan), factors_of(call, plan, x.dtype, dz.dtype)
        self.tiles = Tiles((geometry.batch, *geometry.output), plan.tile)
        self.stretches = self.tiles.stretches(plan.pieces[0])
        self.cuts = channel_blocks(geometry, plan.pieces[1])
        self._stacks: list[Array] = []  # of each cut, its partial sums

    def begin(self, held: Held) -> None:
        """Make room for all partial sums at once, where loops write them and add them up."""
        shapes = [self.algorithm.parts(cut.geometry) for cut in self.cuts]
        sums = self.call.arithmetic.sums
        self._stacks = [held.empty((len(self.stretches), *shape), sums) for shape in shapes if shape is not None]

    @property
    def items(self) -> list[tuple[Interval, Cut]]:
        """The partial sums: which tiles, which channels."""
        return list(itertools.product(self.stretches, self.cuts))

    @property
    def slices(self) -> list[tuple[int, Any]]:
        """What can be finished by itself, the channels (axis -2) of each cut: (number of the cut, index)."""
        first, geometry = self.cuts[0].geometry, self.plan.geometry
        depth = first.products // first.taps
        step = max(1, ADDED // max(geometry.taps * geometry.filters, 1)) if self.call.traits.buffers else depth
        inner = [(..., slice(*interval), slice(None)) for interval in intervals(depth, step)]
        return list(itertools.product(range(len(self.cuts)), inner))

    def quiet(self, work: Workspace) -> Any:
        """Silence warnings about what is looked at afterwards."""
        return work.quiet() if self.algorithm.spreads else contextlib.nullcontext()

    def partial(self, item: tuple[Interval, Cut], work: Workspace, held: Held | None) -> Array:
        """Sum over some of the tiles; the first sum is taken in the result itself, where it has the result's form."""
        stretch, cut = item
        total = place = None
        if held is not None and self.target is not None and self.algorithm.exact and stretch[0] == 0:
            place = self.target[cut.weights]
        if self._stacks:
            own = self._stacks[self.cuts.index(cut)][self.stretches.index(stretch)]
        with self.quiet(work):
            for region in map(self.tiles.__getitem__, range(*stretch)):
                if self._stacks and total is None:
                    total = self._tile(cut, region, work, own)
                    continue
                found = self._tile(cut, region, work)
                if held is not None and place is None and total is None:
                    place = held.empty(found.shape, found.dtype)
                total = work.accumulate(total, found, place)
        return total

    def _tile(self, cut: Cut, region: Region, work: Workspace, out: Array | None = None) -> Array:
        """Sum over one tile; in `out`, if loops can write there."""
        work.spare, work.areas = self.plan.spare, self.plan.areas
        if self.factors == work.factors:
            return self._summed(cut, region, work, out)
        with work.taking(self.factors):
            return self._summed(cut, region, work, out)

    def _summed(self, cut: Cut, region: Region, work: Workspace, out: Array | None) -> Array:
        x, gradient = self.x[..., cut.inputs], self.dz[(*slices(region)[:-1], cut.filters)]
        lens = self.call.lens
        if self.call.measures:
            gradient = cast(work.xp, self.call.seen(gradient), work.sums)
        if self.algorithm.clips and cut.geometry.mode == "zeros":
            pixels, place = inside(work, x, cut.geometry, region, lens=lens, step=self.plan.step)
            return self.algorithm.clipped_weight_grad(work, pixels, gradient, cut.geometry, place, out)
        if not self.plan.single_taps:
            behind = self.algorithm.behind(cut.geometry)
            pixels = slab(work, x, cut.geometry, region, lens=lens, step=self.plan.step, behind=behind)
            found = self.algorithm.weight_grad(work, pixels, gradient, cut.geometry, sizes(region))
            return found if out is None else work.accumulate(None, found, out)
        taps = []
        for _, offset in cut.geometry.offsets():
            one = cut.geometry.single(offset)
            pixels = slab(work, x, one, region, lens=lens)
            taps.append(work.keep(self.algorithm.weight_grad(work, pixels, gradient, one, sizes(region))))
        return work.xp.reshape(work.stack(taps), cut.geometry.kernel_shape)

    def finish(self, item: tuple[int, Any], work: Workspace, partial: list[Array]) -> Array | None:
        """Add partial sums up and turn them into a part of the gradient; write it, or give it."""
        number, part = item
        work.areas, geometry = self.plan.areas, self.cuts[number].geometry
        with self.quiet(work):
            if self._stacks:
                found = self.algorithm.finish_all(work, self._stacks[number][part], geometry)
            else:
                total, *others = (one[part] for one in partial[number :: len(self.cuts)])
                for other in others:
                    total = work.accumulate(total, other)
                found = self.algorithm.finish(work, total, geometry)
        if self.target is None:
            return found
        if not (work.traits.buffers and self.algorithm.exact):  # otherwise it is there already
            self.target[self.cuts[number].weights][part] = found
        return None
