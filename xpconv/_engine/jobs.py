"""The driver: cut the work into tiles, hand each tile's pixels to an algorithm, write or join the results.

Where arrays can be written, a result is allocated once and each tile writes its block; elsewhere (JAX, Dask, any
traced or immutable array) the blocks are joined by concatenation. The tile functions are the same.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpconv._arrays.dtypes import has_double
from xpconv._arrays.space import Namespace, Traits, cast, empty, is_kind, zeros
from xpconv._plan.choose import Plan
from xpconv._shapes.cuts import Cut, channel_blocks, intervals
from xpconv._shapes.geometry import Geometry, Interval, Ints, Region, runs
from xpconv._work import panels as _panels
from xpconv._work import threads as _threads
from xpconv._work.buffered import workspace
from xpconv._work.memory import Held
from xpconv._work.panels import Panels
from xpconv._work.workspace import Arithmetic, Workspace
from xpconv.algorithms import MAGNITUDES, REGISTRY, Algorithm
from xpconv.algorithms.exact import arithmetic

Array = Any
Each = Callable[[Array], Array]  # applied to the pixels of each tile

PREPARED = 1 << 19  # elements of a prepared weight that are made at once
SMALL = 1 << 18  # flops below which neither a thread nor the limit on BLAS's own threads pays


@dataclass(frozen=True)
class Jobs:
    """`function(item, work)` for each item; items are made when they are asked for, so many cost no memory."""

    function: Callable[[Any, Workspace], Any]
    items: Sequence[Any]

    def join(self, xp: Namespace, blocks: list[Array]) -> Array:
        """Make one array of what they gave: blocks of tiles, or of channels."""
        if isinstance(self.items, Tiles):
            return join(xp, blocks, self.items)
        return xp.concat(blocks, axis=-1)


def run(
    jobs: Sequence[Jobs], xp: Namespace, traits: Traits, dtype: Any, workers: int, flops: int, collect: bool,
    arithmetic: Arithmetic | None = None,
) -> list[Any]:  # fmt: skip
    """Run jobs, on threads where the library lets them run side by side; give their results in order if `collect`."""
    ends = list(itertools.accumulate(len(j.items) for j in jobs))

    def job(index: int, work: Workspace) -> Any:
        which = bisect.bisect_right(ends, index)
        return jobs[which].function(jobs[which].items[index - ends[which]], work)

    count = ends[-1] if ends else 0

    def make() -> Workspace:
        work = workspace(xp, traits, dtype, arithmetic)
        work.begin()
        return work

    if not traits.threads or flops <= SMALL:
        return _threads.run(job, count, make, 1, collect, lambda work: work.release())
    with _threads.one_blas_thread:
        return _threads.run(job, count, make, workers, collect, lambda work: work.release())


class Tiles(Sequence[Region]):
    """The tiles that cut (n, *output), in order; each is made when it is asked for."""

    def __init__(self, shape: Ints, tile: Ints) -> None:
        self.shape, self.tile = shape, tile
        self.counts = tuple(-(-n // step) for n, step in zip(shape, tile, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        region: list[Interval] = []
        for n, step, count in zip(reversed(self.shape), reversed(self.tile), reversed(self.counts), strict=True):
            index, place = divmod(index, count)
            region.append((place * step, min((place + 1) * step, n)))
        if index:
            raise IndexError("tile index out of range")
        return tuple(reversed(region))


def slices(region: Region) -> tuple[slice, ...]:
    """Turn a region into an index of an array (n, *output, channels)."""
    return (*(slice(*interval) for interval in region), slice(None))


def sizes(region: Region) -> Ints:
    """Give the spatial sizes of a region."""
    return tuple(stop - start for start, stop in region[1:])


def slab(
    work: Workspace, x: Array, geometry: Geometry, region: Region, fill: Any = 0, each: Each | None = None,
    step: Ints = (),
) -> Array:  # fmt: skip
    """Give the pixels (n, *slab, C) that a region's windows read: `x` itself, or at the edge a small padded copy.

    With a step, the windows are those of whole tiles, of so many outputs along each axis.
    """
    if step and geometry.mode == "zeros":
        whole = (start + -(-(stop - start) // m) * m for (start, stop), m in zip(region[1:], step, strict=True))
        region = (region[0], *((start, stop) for (start, _), stop in zip(region[1:], whole, strict=True)))
    reaches = [geometry.reach(axis, start, stop) for axis, (start, stop) in enumerate(region[1:])]
    if geometry.mode != "zeros":
        pieces = [runs(geometry.mode, *reach, n) for reach, n in zip(reaches, geometry.input, strict=True)]
        source = x[(slice(*region[0]), ...)]
        if each is None:
            return work.repeat("slab", source, pieces)
        alone = workspace(work.xp, work.traits, x.dtype)
        try:
            part = each(alone.repeat("", source, pieces))  # a new array
        finally:
            alone.release()
        return work.pixels("slab", part)
    index, widths = [slice(*region[0])], [(0, 0)]
    for axis, (low, high) in enumerate(reaches):
        first = min(max(low, 0), geometry.input[axis])
        last = max(min(high, geometry.input[axis]), first)
        before = min(max(-low, 0), high - low)
        index.append(slice(first, last))
        widths.append((before, high - low - before - (last - first)))
    part = x[(*index, slice(None))]
    if each is not None:
        part = each(part)
    if any(before or after for before, after in widths):
        return work.pad("slab", part, (*widths, (0, 0)), fill)
    return work.pixels("slab", part)


def join(xp: Namespace, blocks: list[Array], tiles: Any) -> Array:
    """Join the blocks of tiles."""
    for axis in reversed(range(len(tiles.counts))):
        step = tiles.counts[axis]
        if step > 1:
            blocks = [xp.concat(blocks[i : i + step], axis=axis) for i in range(0, len(blocks), step)]
    return blocks[0]


def beside(plan: Plan) -> int:
    """Say how many bytes a pass may allocate that are no kept work arrays: a library's transforms give new arrays."""
    return plan.workspace if REGISTRY[plan.algorithm].fourier else 0


# --- correlate ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Correlation:
    """correlate(x, w) with its algorithm and weight at hand, for one region of the output at a time."""

    x: Array
    weight: Array
    geometry: Geometry
    algorithm: Algorithm
    plan: Plan
    each: Each | None
    safe: Callable[[], Correlation] | None  # what computes a tile again in which values spread that are not finite

    def block(self, region: Region, work: Workspace, out: Array | None) -> Array:
        """Give the block (n, *output, F) of a region, in `out` where that is possible."""
        algorithm = self.algorithm
        if self.plan.apart:
            return self._taps_apart(region, work)
        pixels = slab(work, self.x, self.geometry, region, each=self.each, step=self.plan.step)
        if not algorithm.spreads:
            return algorithm.correlate(work, pixels, self.weight, self.geometry, sizes(region), out)
        with work.quiet():
            found = algorithm.correlate(work, pixels, self.weight, self.geometry, sizes(region), out)
        if self.safe is None or work.is_finite(found):
            return found
        safe = self.safe()
        tiles = Tiles(tuple(stop - start for start, stop in region), safe.plan.tile)
        blocks = []
        for tile in tiles:
            part = tuple((first + a, first + b) for (first, _), (a, b) in zip(region, tile, strict=True))
            inside = None if out is None else out[slices(tile)]
            again = safe.block(part, work, inside)
            if inside is not None:
                work.store(out, slices(tile), again, None)
            else:
                blocks.append(work.keep(again))
        return out if out is not None else join(work.xp, blocks, tiles)

    def _taps_apart(self, region: Region, work: Workspace) -> Array:
        """Add up what the taps give one by one."""
        total = None
        for tap, offset in self.geometry.offsets():
            one = self.geometry.single(offset)
            pixels = slab(work, self.x, one, region, each=self.each)
            weight = self.weight[(*(slice(t, t + 1) for t in tap), ...)]
            total = work.add("apart", total, self.algorithm.correlate(work, pixels, weight, one, sizes(region), None))
        return total


def correlate_jobs(
    x: Array, w: Array, b: Array | None, geometry: Geometry, plan: Plan, xp: Namespace, traits: Traits,
    dtypes: Arithmetic, target: Array | None, held: Held, each: Each | None = None, part: Any = ...,
    magnitudes: bool = False,
) -> Jobs:  # fmt: skip
    """Make the jobs of correlate(x, w) + b, one a tile, or one a block of channels if those are taken apart.

    With a target each job writes its block into the target's `part`, an array (n, *output, F), otherwise it gives the
    block back.
    """
    algorithm = (MAGNITUDES if magnitudes else REGISTRY)[plan.algorithm]
    w = cast(xp, w, dtypes.factors)
    bias = None if b is None else cast(xp, b, dtypes.sums)
    tiles = Tiles((geometry.batch, *geometry.output), plan.tile)

    def task_of(cut: Cut, weight: Array) -> Correlation:
        pixels, safe = x[..., cut.inputs], None
        if (safer := plan.safe) is not None and not magnitudes:
            again = REGISTRY[safer.algorithm]

            def prepared() -> Correlation:
                """Prepare when the first tile needs it: it may be a copy."""
                found = _prepared(w[cut.weights], cut.geometry, again, safer, xp, traits, dtypes, held)
                return Correlation(pixels, found, cut.geometry, again, safer, each, None)

            safe = _threads.once(prepared)
        return Correlation(pixels, weight, cut.geometry, algorithm, plan, each, safe)

    def compute(region: Region, work: Workspace, task: Correlation, filters: slice) -> Array | None:
        added = None if bias is None else bias[filters]
        if target is None:
            found = task.block(region, work, None)
            return found if added is None else found + added
        # the view is taken at the time of writing: PyTorch's autograd lets no write pass by an earlier view
        view, index = target[part][..., filters], slices(region)
        found = task.block(region, work, work.destination(view, index))
        work.store(view, index, found, added)
        return None

    cuts = channel_blocks(geometry, plan.pieces[1])
    if len(cuts) == 1:
        task = task_of(cuts[0], _prepared(w, geometry, algorithm, plan, xp, traits, dtypes, held))
        return Jobs(lambda region, work: compute(region, work, task, cuts[0].filters), tiles)

    def compute_all(cut: Cut, work: Workspace) -> Array | None:
        """Take some of the channels through all tiles."""
        with work.quiet():
            task = task_of(cut, algorithm.prepare(work, w[cut.weights], cut.geometry))
        blocks = [compute(region, work, task, cut.filters) for region in tiles]
        return join(xp, blocks, tiles) if target is None else None

    return Jobs(compute_all, cuts)


def _prepared(
    w: Array, geometry: Geometry, algorithm: Algorithm, plan: Plan, xp: Namespace, traits: Traits, dtypes: Arithmetic,
    held: Held,
) -> Array | Panels:  # fmt: skip
    """Bring the weight into the form that the algorithm takes, some channels at a time where that is much work."""
    shape = algorithm.prepared_shape(geometry, is_kind(xp, dtypes.sums, "complex floating"))
    if plan.panels and (shape is not None or _panels.repaid(w, geometry.positions)):
        return _in_panels(w, geometry, algorithm, plan, shape, xp, traits, dtypes, held)
    if shape is None or not traits.buffers:
        alone = workspace(xp, traits, dtypes.sums, dtypes)
        with alone.quiet():  # what overflows is seen in the results
            return algorithm.prepare(alone, w, geometry)
    target = held.empty(shape, xp.result_type(dtypes.sums, xp.complex64) if algorithm.fourier else dtypes.sums)

    def compute(cut: Interval, work: Workspace) -> None:
        with work.quiet():
            algorithm.prepare(work, w[..., slice(*cut), :], geometry, target[:, slice(*cut), :])

    cuts = intervals(shape[-2], max(1, PREPARED * shape[-2] // math.prod(shape)))
    flops = 2 * math.prod(shape) * geometry.taps
    run([Jobs(compute, cuts)], xp, traits, dtypes.sums, plan.workers, flops, False, dtypes)
    return target


def _in_panels(
    w: Array, geometry: Geometry, algorithm: Algorithm, plan: Plan, shape: Ints | None, xp: Namespace, traits: Traits,
    dtypes: Arithmetic, held: Held,
) -> Panels:  # fmt: skip
    """Prepare the weight panel by panel; where the algorithm has no form of its own (`shape` is None), copy it."""
    whole = (geometry.products, geometry.filters) if shape is None else shape
    panels = Panels(tuple(held.empty(part, dtypes.sums) for part in _panels.shapes(whole, plan.panels)))

    def copy(item: tuple[slice, Array, slice], work: Workspace) -> None:
        columns, panel, some = item
        np.copyto(panel.reshape(*geometry.kernel, geometry.channels, -1)[..., some], w[..., columns][..., some])

    def prepare(item: tuple[slice, Array, slice], work: Workspace) -> None:
        columns, panel, channels = item
        with work.quiet():
            algorithm.prepare(work, w[..., channels, columns], geometry, panel[:, channels, :])

    items = []
    for columns, panel in panels.each():
        if shape is None:
            size, step = panel.shape[-1], plan.panels if w.strides[-1] == w.itemsize else _panels.LINE
        else:
            size, step = shape[-2], max(1, PREPARED * shape[-2] // (math.prod(shape[:-1]) * plan.panels))
        items += [(columns, panel, slice(*cut)) for cut in intervals(size, step)]
    jobs = Jobs(copy if shape is None else prepare, items)
    flops = math.prod(whole) * (_panels.MOVED if shape is None else 2 * geometry.taps)
    run([jobs], xp, traits, dtypes.sums, plan.workers, flops, False, dtypes)
    return panels


def correlate(
    x: Array, w: Array, b: Array | None, geometry: Geometry, plan: Plan, xp: Namespace, traits: Traits, *,
    sums: Any, dtype: Any, layout: str, each: Each | None = None, magnitudes: bool = False,
) -> Array:  # fmt: skip
    """(N, *I, C), (*K, C/G, F) -> (N, *O, F), summed in dtype `sums`, given in `dtype`.

    With `magnitudes` (of absolute values) what the algorithm's rounding error is measured by.
    """
    if geometry.positions == 0:
        return zeros(xp, geometry.output_shape, dtype, x)
    target = empty(xp, geometry.output_shape, dtype, x, layout) if traits.mutable else None
    dtypes = arithmetic(xp, x.dtype, sums, has_double(xp, x))
    with Held(beside(plan)) as held:
        jobs = correlate_jobs(x, w, b, geometry, plan, xp, traits, dtypes, target, held, each, magnitudes=magnitudes)
        blocks = run([jobs], xp, traits, sums, plan.workers, geometry.flops, target is None, dtypes)
    return target if target is not None else cast(xp, jobs.join(xp, blocks), dtype)
