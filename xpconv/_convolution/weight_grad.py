"""The weight gradient: partial sums over the pixels, in a fixed number and order."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast
from xpconv._arrays.types import Array
from xpconv._convolution.weight import algorithm_of, beside, factors_of
from xpconv._engine.jobs import Jobs, run
from xpconv._engine.slab import inside, slab
from xpconv._plan.record import Plan
from xpconv._shapes.cuts import Cut, Tiles, channel_blocks, intervals, sizes, slices
from xpconv._shapes.geometry import Interval, Region
from xpconv._work import threads
from xpconv._work.buffered import workspace
from xpconv._work.memory import Held
from xpconv._work.workspace import Workspace

ADDED = 1 << 16  # elements of partial sums that are added up at once


def weight_grad(call: Call, plan: Plan, x: Array, dz: Array) -> Array:
    """(N, *I, C), (N, *O, F) -> (*K, C/G, F) in the dtype of the sums.

    The pixels are cut into a fixed number of partial sums, each taken tile by tile and added up in order, so the
    result does not depend on which worker took which. The channels are cut into blocks that share nothing.
    """
    geometry, space, arithmetic = plan.geometry, call.space, call.arithmetic
    if geometry.positions == 0:
        return space.zeros(geometry.kernel_shape, arithmetic.sums)
    target = space.empty(geometry.kernel_shape, arithmetic.sums) if call.traits.mutable else None
    sums = _Sums(call, plan, x, dz, target)
    with Held(beside(plan)) as held:
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
        if workspace(space, arithmetic).is_finite(target):
            return target
    return weight_grad(call, plan.fallback, x, dz)


class _Sums:
    """The partial sums of one weight gradient, and what is made of them."""

    def __init__(self, call: Call, plan: Plan, x: Array, dz: Array, target: Array | None) -> None:
        geometry = plan.geometry
        self.call, self.plan, self.x, self.dz, self.target = call, plan, x, dz, target
        self.algorithm, self.factors = algorithm_of(call, plan), factors_of(call, plan, x, dz)
        self.tiles = Tiles((geometry.batch, *geometry.output), plan.tile)
        count = len(self.tiles)
        self.stretches = intervals(count, -(-count // min(plan.pieces[0], count)))  # of tiles
        self.cuts = channel_blocks(geometry, plan.pieces[1])

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

    def _quiet(self, work: Workspace) -> Any:
        return work.quiet() if self.algorithm.spreads else contextlib.nullcontext()

    def partial(self, item: tuple[Interval, Cut], work: Workspace, held: Held | None) -> Array:
        """Sum over some of the tiles; the first sum is taken in the result itself, where it has the result's form."""
        stretch, cut = item
        total = place = None
        if held is not None and self.target is not None and self.algorithm.exact and stretch[0] == 0:
            place = self.target[cut.weights]
        with self._quiet(work):
            for region in map(self.tiles.__getitem__, range(*stretch)):
                found = self._tile(cut, region, work)
                if held is not None and place is None:
                    place = held.empty(found.shape, found.dtype)
                total = work.accumulate(total, found, place)
        return total

    def _tile(self, cut: Cut, region: Region, work: Workspace) -> Array:
        """Sum over one tile."""
        work.spare = self.plan.spare
        if self.factors == work.factors:
            return self._summed(cut, region, work)
        with work.taking(self.factors):
            return self._summed(cut, region, work)

    def _summed(self, cut: Cut, region: Region, work: Workspace) -> Array:
        x, gradient = self.x[..., cut.inputs], self.dz[(*slices(region)[:-1], cut.filters)]
        lens = self.call.lens
        if self.call.measures:
            gradient = cast(work.xp, self.call.seen(gradient), work.sums)
        if self.algorithm.clips and cut.geometry.mode == "zeros":
            pixels, place = inside(work, x, cut.geometry, region, lens=lens)
            return self.algorithm.clipped_weight_grad(work, pixels, gradient, cut.geometry, place)
        if not self.plan.single_taps:
            behind = self.algorithm.behind(cut.geometry)
            pixels = slab(work, x, cut.geometry, region, lens=lens, step=self.plan.step, behind=behind)
            return self.algorithm.weight_grad(work, pixels, gradient, cut.geometry, sizes(region))
        taps = []
        for _, offset in cut.geometry.offsets():
            one = cut.geometry.single(offset)
            pixels = slab(work, x, one, region, lens=lens)
            taps.append(work.keep(self.algorithm.weight_grad(work, pixels, gradient, one, sizes(region))))
        return work.xp.reshape(work.stack(taps), cut.geometry.kernel_shape)

    def finish(self, item: tuple[int, Any], work: Workspace, partial: list[Array]) -> Array | None:
        """Add partial sums up and turn them into a part of the gradient; write it, or give it."""
        number, part = item
        total, *others = (one[part] for one in partial[number :: len(self.cuts)])
        with self._quiet(work):
            for other in others:
                total = work.accumulate(total, other)
            found = self.algorithm.finish(work, total, self.cuts[number].geometry)
        if self.target is None:
            return found
        if not (work.traits.buffers and self.algorithm.exact):  # otherwise it is there already
            self.target[self.cuts[number].weights][part] = found
        return None
