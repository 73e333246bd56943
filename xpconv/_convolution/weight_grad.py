"""The driver of the weight gradient: partial sums over the pixels, in a fixed number and order."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

from xpconv._arrays.dtypes import has_double
from xpconv._arrays.space import Namespace, Traits, cast, empty, zeros
from xpconv._engine.jobs import Each, Jobs, Tiles, beside, run, sizes, slab, slices
from xpconv._plan.choose import Plan
from xpconv._shapes.cuts import Cut, channel_blocks, intervals
from xpconv._shapes.geometry import Geometry, Interval, Region
from xpconv._work import threads as _threads
from xpconv._work.buffered import workspace
from xpconv._work.memory import Held
from xpconv._work.workspace import Workspace
from xpconv.algorithms import MAGNITUDES, REGISTRY, Algorithm
from xpconv.algorithms.exact import arithmetic

Array = Any

ADDED = 1 << 16  # elements of partial sums that are added up at once


def correlate_weight_grad(
    x: Array, dz: Array, geometry: Geometry, plan: Plan, xp: Namespace, traits: Traits, *, sums: Any,
    each: Each | None = None, magnitudes: bool = False,
) -> Array:  # fmt: skip
    """(N, *I, C), (N, *O, F) -> (*K, C/G, F) in dtype `sums`.

    The pixels are cut into a fixed number of partial sums, each taken tile by tile and added up in order, so the
    result does not depend on which worker took which. The channels are cut into blocks that share nothing. With
    `magnitudes` what the algorithm's rounding error is measured by; `each` then makes magnitudes of both factors.
    """
    if geometry.positions == 0:
        return zeros(xp, geometry.kernel_shape, sums, x)
    dtypes = arithmetic(xp, x.dtype, sums, has_double(xp, x))
    target = empty(xp, geometry.kernel_shape, sums, x, "channels_last") if traits.mutable else None
    algorithm = (MAGNITUDES if magnitudes else REGISTRY)[plan.algorithm]
    task = _Sums(x, dz, geometry, plan, algorithm, each, target, each if magnitudes else None)
    with Held(beside(plan)) as held:
        jobs = Jobs(lambda item, work: task.partial(item, work, held if traits.buffers else None), task.items)
        partial = run([jobs], xp, traits, sums, plan.workers, geometry.flops, True, dtypes)
        finishing = Jobs(lambda item, work: task.finish(item, work, partial), task.slices(traits.buffers))
        size = len(task.shares) * geometry.products * geometry.filters
        parts = run([finishing], xp, traits, sums, plan.workers, size, target is None, dtypes)
    if target is None:
        axis = -1 if geometry.groups > 1 else -2
        target = parts[0] if len(parts) == 1 else xp.concat(parts, axis=axis)
    if plan.safe is None or magnitudes:
        return target
    with _threads.one_blas_thread:
        if workspace(xp, traits, sums, dtypes).is_finite(target):
            return target
    return correlate_weight_grad(x, dz, geometry, plan.safe, xp, traits, sums=sums, each=each)


class _Sums:
    """The partial sums of one weight gradient, and what is made of them."""

    def __init__(
        self, x: Array, dz: Array, geometry: Geometry, plan: Plan, algorithm: Algorithm, each: Each | None,
        target: Array | None, of_gradient: Each | None,
    ) -> None:  # fmt: skip
        self.of_gradient = of_gradient
        self.x, self.dz, self.plan, self.algorithm, self.each = x, dz, plan, algorithm, each
        self.taps, self.filters, self.target = geometry.taps, geometry.filters, target
        self.tiles = Tiles((geometry.batch, *geometry.output), plan.tile)
        self.shares = intervals(len(self.tiles), -(-len(self.tiles) // min(plan.pieces[0], len(self.tiles))))
        self.cuts = channel_blocks(geometry, plan.pieces[1])

    @property
    def items(self) -> list[tuple[Interval, Cut]]:
        """Give the partial sums: which tiles, which channels."""
        return list(itertools.product(self.shares, self.cuts))

    def slices(self, many: bool) -> list[tuple[int, Any]]:
        """Give what can be finished apart, the channels (axis -2) of each cut: (number of the cut, index)."""
        first = self.cuts[0].geometry
        depth = first.products // first.taps
        step = max(1, ADDED // max(self.taps * self.filters, 1)) if many else depth
        inner = [(..., slice(*interval), slice(None)) for interval in intervals(depth, step)]
        return list(itertools.product(range(len(self.cuts)), inner))

    def _quiet(self, work: Workspace) -> Any:
        return work.quiet() if self.algorithm.spreads else contextlib.nullcontext()

    def partial(self, item: tuple[Interval, Cut], work: Workspace, held: Held | None) -> Array:
        """Sum over some of the tiles; the first sum is taken in the result itself, where it has the result's form."""
        share, cut = item
        total = place = None
        if held is not None and self.target is not None and self.algorithm.exact and share[0] == 0:
            place = self.target[cut.weights]
        with self._quiet(work):
            for region in map(self.tiles.__getitem__, range(*share)):
                found = self._tile(cut, region, work)
                if held is not None and place is None:
                    place = held.empty(found.shape, found.dtype)
                total = work.accumulate(total, found, place)
        return total

    def _tile(self, cut: Cut, region: Region, work: Workspace) -> Array:
        """Give a tile's part of the sum."""
        x, gradient = self.x[..., cut.inputs], self.dz[(*slices(region)[:-1], cut.filters)]
        if self.of_gradient is not None:
            gradient = cast(work.xp, self.of_gradient(gradient), work.sums)
        if not self.plan.apart:
            pixels = slab(work, x, cut.geometry, region, each=self.each, step=self.plan.step)
            return self.algorithm.weight_grad(work, pixels, gradient, cut.geometry, sizes(region))
        taps = []
        for _, offset in cut.geometry.offsets():
            one = cut.geometry.single(offset)
            pixels = slab(work, x, one, region, each=self.each)
            taps.append(work.keep(self.algorithm.weight_grad(work, pixels, gradient, one, sizes(region))))
        return work.xp.reshape(work.xp.stack(taps), cut.geometry.kernel_shape)

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
