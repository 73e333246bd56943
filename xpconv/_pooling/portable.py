"""The driver of pooling: run a tile function over the output, or over the input for a gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpconv import _options
from xpconv._arrays.dtypes import accumulator, cast, is_kind, itemsize, least, real_dtype
from xpconv._arrays.old import empty, zeros
from xpconv._arrays.types import Namespace, Traits
from xpconv._arrays.views import fresh, from_channels_last, to_channels_last
from xpconv._engine import old as _phases
from xpconv._engine import old as _run
from xpconv._engine.old import workspace
from xpconv._pooling import sweep as _pool_tiles
from xpconv._pooling import taps as pooling
from xpconv._pooling.tiles import pool_tile
from xpconv._shapes.geometry import Geometry, Ints, Phase, Region
from xpconv._work.workspace import Workspace

Array = Any
PhaseGradient = Callable[[Phase, Region], Array]


def over_output(
    tile: Callable[[Workspace, Region], tuple[Array, ...]], x: Array, geometry: Geometry, xp: Namespace, traits: Traits,
    work_dtype: Any, dtypes: tuple[Any, ...], elements: int, layout: str,
) -> tuple[Array, ...]:  # fmt: skip
    """Run a tile function over the output and give its results, written or joined, in the caller's layout."""
    shape = geometry.output_shape
    if geometry.positions == 0:
        found = [zeros(xp, shape, dtype, x) for dtype in dtypes]
        return tuple(from_channels_last(xp, array, layout) for array in found)
    options = _options.current()
    size, workers = pool_tile(
        geometry, shape[:-1], geometry.stride, elements, traits, itemsize(xp, work_dtype), options.room,
        options.threads,
    )  # fmt: skip
    targets = [empty(xp, shape, dtype, x, layout) for dtype in dtypes] if traits.mutable else []

    def compute(region: Region, work: Workspace) -> tuple[Array, ...] | None:
        blocks = tile(work, region)
        if not targets:
            return blocks
        for target, block in zip(targets, blocks, strict=True):
            work.store(target, _run.slices(region), block, None)
        return None

    jobs = _run.Jobs(compute, _run.Tiles(shape[:-1], size))
    flops = geometry.positions * geometry.channels
    blocks = _run.run([jobs], xp, traits, work_dtype, workers, flops, collect=not targets)
    found = targets or [
        cast(xp, _fresh_if(xp, _run.join(xp, list(column), jobs.items), geometry.taps == 1), dtype)
        for column, dtype in zip(zip(*blocks, strict=True), dtypes, strict=True)
    ]
    return tuple(from_channels_last(xp, array, layout) for array in found)


def over_input(
    tile: Callable[[Workspace, Region], PhaseGradient], like: Array, geometry: Geometry,
    xp: Namespace, traits: Traits, work_dtype: Any, dtype: Any, elements: int, layout: str,
) -> Array:  # fmt: skip
    """Run a tile function over the input, stride by stride, and give the gradient, written or joined.

    A tile is a block of strides: pixels a * stride to b * stride of each axis. Its function gives another, which
    gives the gradient of one stride phase within the tile.
    """
    shape = geometry.input_shape
    if geometry.batch == 0:
        return from_channels_last(xp, zeros(xp, shape, dtype, like), layout)
    strides = tuple(-(-n // s) for n, s in zip(geometry.input, geometry.stride, strict=True))
    options = _options.current()
    size, workers = pool_tile(
        geometry, (geometry.batch, *strides), geometry.stride, elements, traits, itemsize(xp, work_dtype),
        options.room, options.threads,
    )  # fmt: skip
    target = empty(xp, shape, dtype, like, layout) if traits.mutable else None

    def compute(region: Region, work: Workspace) -> list[Array]:
        gradient, blocks = tile(work, region), []
        for phase in geometry.phases:
            part, index = _within(phase, region, geometry)
            if target is None:
                blocks.append(gradient(phase, part))
            elif all(start < stop for start, stop in part):
                work.store(target, index, gradient(phase, part), None)
        return blocks

    jobs = _run.Jobs(compute, _run.Tiles((geometry.batch, *strides), size))
    blocks = _run.run([jobs], xp, traits, work_dtype, workers, math.prod(shape), collect=target is None)
    if target is None:
        pieces = [_run.join(xp, list(column), jobs.items) for column in zip(*blocks, strict=True)]
        target = cast(xp, _phases.interleave(xp, pieces, geometry), dtype)
    return from_channels_last(xp, target, layout)


def _within(phase: Phase, region: Region, geometry: Geometry) -> tuple[Region, tuple[slice, ...]]:
    """Give a tile's part of a phase in the phase's own pixels, and its index in the input."""
    part, index = [region[0]], [slice(*region[0])]
    for (start, stop), target, n, step in zip(region[1:], phase.target, geometry.input, geometry.stride, strict=True):
        end = max(min(stop, len(range(target.start, n, step))), start)
        part.append((start, end))
        index.append(slice(target.start + start * step, target.start + (end - 1) * step + 1, step))
    return tuple(part), (*index, slice(None))


def windows_of(geometry: Geometry, region: Region) -> Region:
    """Give the windows that can reach the pixels of a tile of strides; some may lie beyond the output's ends."""
    windows = [region[0]]
    for axis, (start, stop) in enumerate(region[1:]):
        step, before = geometry.stride[axis], geometry.padding[axis][0]
        first = -((-(start * step + before - geometry.span[axis] + 1)) // step)
        last = ((stop * step) - 1 + before) // step
        windows.append((first, max(last, first) + 1))
    return tuple(windows)


def gradient_slab(
    work: Workspace, dy: Array, geometry: Geometry, windows: Region, each: _run.Each | None = None
) -> Array:
    """Give dy for a range of windows, zero beyond the output's ends."""
    index, widths = [slice(*windows[0])], [(0, 0)]
    for (start, stop), n in zip(windows[1:], geometry.output, strict=True):
        low = min(max(start, 0), n)
        high = max(min(stop, n), low)
        before = min(max(-start, 0), stop - start)
        index.append(slice(low, high))
        widths.append((before, stop - start - before - (high - low)))
    part = dy[(*index, slice(None))]
    part = part if each is None else each(part)
    if any(before or after for before, after in widths):
        return work.pad("gradient", part, (*widths, (0, 0)), 0)
    return work.pixels("gradient", part)


def gather(phase: Phase, part: Region, geometry: Geometry, windows: Region) -> list[tuple[Ints, tuple[slice, ...]]]:
    """Give each tap that reaches a phase with the index, within `windows`, of the windows in which it does."""
    inner = phase.geometry
    if inner is None:
        return []
    found = []
    for tap, offset in inner.offsets():
        # inner taps are flipped: the last is the phase's first
        taps = tuple(
            s.start + (n - 1 - j) * (s.step or 1) for s, n, j in zip(phase.taps, inner.kernel, tap, strict=True)
        )
        index = [slice(None)]
        for axis, (start, stop) in enumerate(part[1:]):
            first = start - inner.padding[axis][0] + offset[axis] - windows[axis + 1][0]
            index.append(slice(first, first + stop - start))
        found.append((taps, (*index, slice(None))))
    return found


def or_zeros(total: Array | None, work: Workspace, part: Region, geometry: Geometry, like: Array) -> Array:
    """Give a phase's gradient, zero where no tap reaches the phase."""
    if total is not None:
        return total
    shape = (*(stop - start for start, stop in part), geometry.channels)
    return zeros(work.xp, shape, work.dtype, like)


def _fresh_if(xp: Namespace, array: Array, one_tap: bool) -> Array:
    return fresh(xp, array) if one_tap else array  # with one tap the result may be a slice of the input


def max_pool_vjp(
    dy: Array, x: Array, geometry: Geometry, xp: Namespace, traits: Traits, ties: str, layout: str, sizes: bool = False
) -> Array:
    """Compare in the dtype of x, add in that of dy; with `sizes` absolute values, which stay in the sums' dtype."""
    sums, fill = accumulator(xp, dy.dtype), least(xp, x.dtype)
    real = is_kind(xp, x.dtype, "real floating")
    if traits.buffers:
        dx = _pool_tiles.max_pool_vjp(dy, x, geometry, xp, fill, sums, layout, real, ties, sizes)
        if dx is not None:
            return dx
    pixels, grads = to_channels_last(xp, x, layout), to_channels_last(xp, dy, layout)

    def tile(work: Workspace, region: Region) -> PhaseGradient:
        windows = windows_of(geometry, region)
        own = workspace(xp, traits, x.dtype)
        slab = _run.slab(own, pixels, geometry, windows, fill)
        hits = pooling.maxima(own, slab, geometry, windows, ties, real)
        gradient = gradient_slab(work, grads, geometry, windows, xp.abs if sizes else None)
        if ties == "split":
            count = None
            for hit in hits.values():
                count = work.add("count", count, xp.astype(hit, work.dtype))
            gradient = gradient / xp.clip(count, 1, None)

        def phase_gradient(phase: Phase, part: Region) -> Array:
            total = None
            for tap, index in gather(phase, part, geometry, windows):
                total = work.add_where("sum", total, hits[tap][index], gradient[index])
            return or_zeros(total, work, part, geometry, dy)

        return phase_gradient

    elements = (8 if ties == "split" else 5) + geometry.taps // 4
    return over_input(tile, dy, geometry, xp, traits, sums, sums if sizes else dy.dtype, elements, layout)


def avg_pool(
    x: Array, geometry: Geometry, xp: Namespace, traits: Traits, padded: bool, layout: str, sizes: bool = False
) -> Array:
    """Give the means; with `sizes` those of absolute values, in the real dtype of the sums."""
    sums = accumulator(xp, x.dtype)
    sums = real_dtype(xp, sums) if sizes else sums
    if traits.buffers:
        return _pool_tiles.avg_pool(x, geometry, xp, sums, layout, padded, sizes)
    pixels = to_channels_last(xp, x, layout)

    def tile(work: Workspace, region: Region) -> tuple[Array, ...]:
        slab = _run.slab(work, pixels, geometry, region, each=xp.abs if sizes else None)
        total = pooling.window_reduce(work, "add", slab, geometry, _run.sizes(region))
        return (_divide(work, total, geometry, region, padded),)

    return over_output(tile, pixels, geometry, xp, traits, sums, (sums if sizes else x.dtype,), 4, layout)[0]


def avg_pool_vjp(
    dy: Array, geometry: Geometry, xp: Namespace, traits: Traits, padded: bool, layout: str, sizes: bool = False
) -> Array:
    """Give the gradient of the images; with `sizes` that of absolute values, in the real dtype of the sums."""
    sums = accumulator(xp, dy.dtype)
    sums = real_dtype(xp, sums) if sizes else sums
    if traits.buffers:
        return _pool_tiles.avg_pool_vjp(dy, geometry, xp, sums, layout, padded, sizes)
    grads = to_channels_last(xp, dy, layout)

    def tile(work: Workspace, region: Region) -> PhaseGradient:
        windows = windows_of(geometry, region)
        slab = gradient_slab(work, grads, geometry, windows, xp.abs if sizes else None)
        gradient = _divide(work, slab, geometry, windows, padded)

        def phase_gradient(phase: Phase, part: Region) -> Array:
            total = None
            for _, index in gather(phase, part, geometry, windows):
                total = gradient[index] if total is None else work.call("sum", "add", total, gradient[index])
            return or_zeros(total, work, part, geometry, dy)

        return phase_gradient

    return over_input(tile, dy, geometry, xp, traits, sums, sums if sizes else dy.dtype, 6, layout)


def _divide(work: Workspace, total: Array, geometry: Geometry, region: Region, padded: bool) -> Array:
    if pooling.is_interior(geometry, region):
        return total / geometry.taps
    return total / pooling.count_taps(work, geometry, region, padded, total)
