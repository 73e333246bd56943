"""A convolution tile by tile: an algorithm computes each from the pixels that it reads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast
from xpconv._arrays.types import Array, DType
from xpconv._convolution.weight import algorithm_of, factors_of, prepared
from xpconv._engine.jobs import Jobs
from xpconv._engine.results import Kept, Result, Written
from xpconv._engine.slab import inside, slab
from xpconv._plan.record import Plan
from xpconv._shapes.cuts import Cut, Tiles, channel_blocks, sizes, slices
from xpconv._shapes.geometry import Geometry, Ints, Region
from xpconv._work import threads
from xpconv._work.memory import Held
from xpconv._work.panels import Panels
from xpconv._work.workspace import Workspace
from xpconv.algorithms import REGISTRY


@dataclass(frozen=True)
class Task:
    """A correlation and its arrays."""

    call: Call
    plan: Plan
    x: Array
    w: Array
    b: Array | None = None
    ready: tuple[
        Array | Panels, ...
    ] = ()  # the weight of each block of channels in its algorithm's form, if it is kept
    conjugate: bool = False  # the weight is taken so, if it is complex
    extent: Ints = ()  # images and output pixels that are computed, from the first on; all, if empty


@dataclass(frozen=True)
class _Correlation:
    """A correlation with its weight at hand, for one region of the output at a time."""

    call: Call
    plan: Plan
    x: Array
    weight: Array | Panels
    factors: DType
    fallback: Callable[[], _Correlation] | None = None  # computes a tile again in which values spread: not finite

    @property
    def clips(self) -> bool:
        """Say whether the block of a region comes with the bias, of images without a padding of zeros."""
        return REGISTRY[self.plan.algorithm].clips

    def clipped(self, region: Region, work: Workspace, out: Array | None, bias: Array | None) -> Array:
        """Compute the block of a region with its bias."""
        geometry, algorithm = self.plan.geometry, algorithm_of(self.call, self.plan)
        place: tuple[int, Ints] = 0, (0,) * geometry.rank
        if geometry.mode == "zeros":
            pixels, place = inside(work, self.x, geometry, region, lens=self.call.lens, step=self.plan.step)
        else:
            pixels = slab(work, self.x, geometry, region, lens=self.call.lens)
        shape = tuple(stop - start for start, stop in region)
        with work.quiet() if algorithm.spreads else contextlib.nullcontext():
            found = algorithm.clipped(work, pixels, self.weight, bias, geometry, (place, shape), out)
        if not algorithm.spreads or self.fallback is None or work.is_finite(found):
            return found
        block = compute_again(self.fallback(), region, work, out)
        return block if bias is None else np.add(block, bias, out=block)

    def block(self, region: Region, work: Workspace, out: Array | None) -> Array:
        """Compute the block (n, *output, F) of a region, in `out` where that is possible."""
        if self.factors == work.factors:
            return self._block(region, work, out)
        with work.taking(self.factors):
            return self._block(region, work, out)

    def _block(self, region: Region, work: Workspace, out: Array | None) -> Array:
        plan, algorithm = self.plan, algorithm_of(self.call, self.plan)
        if plan.single_taps:
            return self._tap_by_tap(region, work)
        work.areas = plan.areas
        behind = algorithm.behind(plan.geometry)
        pixels = slab(work, self.x, plan.geometry, region, lens=self.call.lens, step=plan.step, behind=behind)
        if not algorithm.spreads:
            return algorithm.correlate(work, pixels, self.weight, plan.geometry, sizes(region), out)
        with work.quiet():
            found = algorithm.correlate(work, pixels, self.weight, plan.geometry, sizes(region), out)
        if self.fallback is None or work.is_finite(found):
            return found
        return compute_again(self.fallback(), region, work, out)

    def _tap_by_tap(self, region: Region, work: Workspace) -> Array:
        """Add up what the taps contribute one by one."""
        algorithm, total = algorithm_of(self.call, self.plan), None
        for tap, offset in self.plan.geometry.offsets():
            one = self.plan.geometry.single(offset)
            pixels = slab(work, self.x, one, region, lens=self.call.lens)
            weight = self.weight[(*(slice(t, t + 1) for t in tap), ...)]  # type: ignore[index]
            total = work.add("taps", total, algorithm.correlate(work, pixels, weight, one, sizes(region), None))
        return total


def _converted(call: Call, plan: Plan, w: Array, factors: DType) -> Array:
    """Give the weight in the dtype of factors, laid out in order if it is converted and its algorithm wants it so."""
    if call.traits.buffers and w.dtype != factors and REGISTRY[plan.algorithm].copies_weight and plan.geometry.taps > 1:
        return w.astype(factors, order="C")
    return cast(call.xp, w, factors)


def fall_back(task: Task, geometry: Geometry, x: Array, w: Array, held: Held) -> Callable[[], _Correlation] | None:
    """Give what computes tiles again, if there is such; its weight is prepared when the first needs it, perhaps copied.

    Of some channels, whose geometry it is.
    """
    call, fallback = task.call, task.plan.fallback
    if fallback is None or call.measures:
        return None
    again, factors = replace(fallback, geometry=geometry), factors_of(call, task.plan, task.x.dtype, task.w.dtype)
    return threads.once(lambda: _Correlation(call, again, x, prepared(call, again, w, held), factors))


def compute_again(other: _Correlation, region: Region, work: Workspace, out: Array | None) -> Array:
    """Compute a region by the algorithm that lets nothing spread, in its own tiles."""
    tiles = Tiles(tuple(stop - start for start, stop in region), other.plan.tile)
    result: Result = Kept(other.call.space, other.call.arithmetic) if out is None else Written(out)
    result.expect(tiles)
    for tile in tiles:
        part = tuple((first + a, first + b) for (first, _), (a, b) in zip(region, tile, strict=True))
        block = other.block(part, work, None if out is None else out[slices(tile)])
        result.put(work, tile, work.keep(block) if out is None else block)
    return result.array()


def correlate_jobs(task: Task, result: Result, held: Held) -> Jobs:
    """Make the jobs of a task, one a tile, or one a block of channels if those are cut; they put what they compute."""
    call, plan = task.call, task.plan
    factors = factors_of(call, plan, task.x.dtype, task.w.dtype)
    w = _converted(call, plan, task.w, factors)
    b = None if task.b is None else cast(call.xp, task.b, call.arithmetic.sums)
    tiles = Tiles(task.extent or (plan.geometry.batch, *plan.geometry.output), plan.tile)

    def correlation(cut: Cut, weight: Array | Panels) -> _Correlation:
        pixels = task.x[..., cut.inputs]
        fallback = fall_back(task, cut.geometry, pixels, w[cut.weights], held)
        own = plan if cut.geometry is plan.geometry else replace(plan, geometry=cut.geometry)
        return _Correlation(call, own, pixels, weight, factors, fallback)

    def compute(part: _Correlation, region: Region, work: Workspace, place: Result, bias: Array | None) -> None:
        out = place.out(work, region, bias)
        if part.clips:
            place.put(work, region, part.clipped(region, work, out, bias))
            return
        place.put(work, region, part.block(region, work, out), bias)

    cuts = channel_blocks(plan.geometry, plan.pieces[1])
    if len(cuts) == 1:
        whole = correlation(cuts[0], task.ready[0] if task.ready else prepared(call, plan, w, held))
        result.expect(tiles)
        return Jobs(lambda region, work: compute(whole, region, work, result, b), tiles)
    places = result.channels([cut.filters for cut in cuts])

    def compute_all(item: tuple[Cut, Result, Array | Panels | None], work: Workspace) -> None:
        """Take some of the channels through all tiles."""
        cut, place, weight = item
        if weight is None:
            work.areas = plan.areas
            with work.quiet():
                weight = algorithm_of(call, plan).prepare(work, w[cut.weights], cut.geometry)
        part = correlation(cut, weight)
        place.expect(tiles)
        bias = None if b is None else b[cut.filters]
        for region in tiles:
            compute(part, region, work, place, bias)

    return Jobs(compute_all, list(zip(cuts, places, task.ready or [None] * len(cuts), strict=True)))
