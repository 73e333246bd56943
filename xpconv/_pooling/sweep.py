"""The driver of pooling on NumPy: tiles of windows that stay in the cache, results written in place.

A job is a block of images and channels, or a tile of it. Everything that one needs beside the results is in buffers,
and `Footprint` counts them, so that all threads together stay in the workspace.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpconv import _options
from xpconv._arrays.old import empty
from xpconv._arrays.space import NUMPY
from xpconv._arrays.types import Namespace
from xpconv._arrays.views import from_channels_last
from xpconv._engine import old as _run
from xpconv._pooling import reduce as running
from xpconv._pooling import spread as spreading
from xpconv._shapes import cuts as _channels
from xpconv._shapes.cuts import block
from xpconv._shapes.geometry import Geometry, Ints, Region
from xpconv._shapes.layout import in_layout
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS

Array = np.ndarray[Any, Any]

CACHE = 12 << 20  # bytes of a tile's pixels and buffers: of 0.5 to 16 MiB the fastest, beside a shared cache of 32 MiB
# windows, times channels, that a thread has at least: threads whose calls of NumPy are short wait for each other. Of
# 0.4 million two threads were no faster than one, of a million by 1.3 times
SHARE = 1 << 18
PROGRAMS = 4  # kinds of tiles, of the gradient of max pooling, whose calls a thread keeps
CALLS = 6 << 10  # bytes that the calls take for each tap of each axis
Step = Callable[[BufferedWorkspace, Region, slice, Geometry], None]


Count = Callable[[Ints, int], int]  # (tile, channels) -> bytes


@dataclass(frozen=True)
class Footprint:
    """Bytes that a tile takes: for each element of an axis's input, of its result, and of the windows."""

    pixels: int = 0  # of the box of pixels that the tile reads
    stages: int = 0  # of each axis's result
    sorted: int = 0  # of the pixels of the last axis, if they are sorted by residue
    scratch: int = 0  # of the largest axis's result
    windows: int = 0
    fixed: int = 0  # whatever the tile
    last_first: bool = False  # the order of the axes

    def of(self, geometry: Geometry) -> Count:
        """Give the count for a tile (n, *windows) of so many channels."""
        axes = list(reversed(range(geometry.rank))) if self.last_first else list(range(geometry.rank))

        def count(tile: Ints, channels: int) -> int:
            sizes = [
                n if count == geometry.output[axis] else min(n, geometry.slab_size(axis, count))
                for axis, (n, count) in enumerate(zip(geometry.input, tile[1:], strict=True))
            ]
            images = tile[0] * channels
            box = images * math.prod(sizes)
            results, last = [], 0
            for axis in axes:
                if axis == geometry.rank - 1 and geometry.stride[axis] > 1:
                    last = images * math.prod(sizes)
                sizes[axis] = tile[1 + axis]
                results.append(images * math.prod(sizes))
            return (
                self.fixed
                + self.pixels * box
                + self.stages * sum(results)
                + self.sorted * last
                + self.scratch * max(results)
                + self.windows * results[-1]
            )

        return count


def images_last(geometry: Geometry, layout: str, *arrays: Array) -> tuple[Geometry, list[Array]]:
    """Give arrays (N, *spatial, C); where all lie channels first, each channel as an image of its own."""
    if layout == "channels_first" and all(array.flags.c_contiguous for array in arrays):
        images = geometry.batch * geometry.channels
        return replace(geometry, batch=images, channels=1, filters=1, groups=1), [
            array.reshape(images, *array.shape[2:], 1) for array in arrays
        ]
    return geometry, [array if layout == "channels_last" else np.moveaxis(array, 1, -1) for array in arrays]


def cut(geometry: Geometry, shape: Ints, comfortable: Count, needed: Count) -> tuple[Ints, int, int]:
    """Cut `shape` (n, *spatial) into tiles: (tile, channels, workers).

    What a tile takes comfortably should fit the cache, what it needs has to fit the workspace.
    """
    options = _options.current()
    room = options.room - UFUNC_BUFFERS
    cache = min(CACHE, room // 4)
    channels = geometry.channels
    workers = max(1, min(options.threads, math.prod(shape) * channels // SHARE))
    tile = block(shape, -(-math.prod(shape) // workers))
    while math.prod(tile) > 1 and comfortable(tile, channels) > cache:
        tile = block(shape, math.prod(tile) // 2)
    while channels > 1 and needed(tile, channels) > room // 2:
        channels = -(-channels // 2)
    size = needed(tile, channels) + UFUNC_BUFFERS
    return tile, channels, max(1, min(workers, options.room // size))


def sweep(
    step: Step, geometry: Geometry, shape: Ints, tile: Ints, channels: int, workers: int, dtype: Any, flops: int,
    xp: Namespace,
) -> None:  # fmt: skip
    """Run a step for each tile of each block of channels."""
    blocks = _channels.intervals(geometry.channels, channels)
    jobs = []
    for start, stop in blocks:
        part = replace(geometry, channels=stop - start, filters=stop - start, groups=stop - start)

        def job(region: Region, work: Any, part: Geometry = part, own: slice = slice(start, stop)) -> None:
            step(work, region, own, part)

        jobs.append(_run.Jobs(job, _run.Tiles(shape, tile)))
    _run.run(jobs, xp, NUMPY, dtype, workers, flops, False)


def max_pool(
    x: Array, geometry: Geometry, xp: Namespace, fill: Any, layout: str, real: bool, indices: bool
) -> tuple[Array, ...]:
    """Give the maxima, and with `indices` their places in the plane."""
    dtypes = (x.dtype, np.dtype(np.int64))[: 1 + indices]
    found = [empty(xp, geometry.output_shape, dtype, x, layout) for dtype in dtypes]
    results = tuple(from_channels_last(xp, array, layout) for array in found)
    if not geometry.positions:
        return results
    geometry, (pixels, best, *rest) = images_last(geometry, layout, x, *results)
    size, number = x.dtype.itemsize, running.number_dtype(geometry) if indices else np.dtype(np.uint8)
    least = Footprint(stages=size, sorted=size, scratch=size)
    if indices:
        wide = number.itemsize
        least = Footprint(stages=size + wide, sorted=size + wide, scratch=2 + 2 * wide + size, windows=32 + 4 * wide)
    shape = (geometry.batch, *geometry.output)
    tile, channels, workers = cut(geometry, shape, replace(least, pixels=size).of(geometry), least.of(geometry))

    def step(work: BufferedWorkspace, region: Region, own: slice, part: Geometry) -> None:
        spot = (*_run.slices(region)[:-1], own)
        with np.errstate(invalid="ignore"):
            top, stages, tops = running.reduced(
                work, np.maximum, pixels[..., own], part, region, fill, x.dtype, best[spot]
            )
            if not indices:
                return
            careful = real and has_nan(work, top)
            first = running.first_maxima(work, stages, tops, number, careful)[-1]
        np.copyto(rest[0][spot], running.plane_places(work, first, part, region))

    sweep(step, geometry, shape, tile, channels, workers, x.dtype, geometry.positions * geometry.channels, xp)
    return results


def has_nan(work: BufferedWorkspace, values: Array) -> bool:
    """Say whether any value is not equal to itself."""
    found = work.buffer("nan", values.shape, np.dtype(np.bool_))
    return bool(np.not_equal(values, values, out=found).any())


@dataclass(frozen=True)
class _Rules:
    """What the gradient of max pooling needs to know beside the arrays."""

    ties: str
    fill: Any
    real: bool
    sizes: bool  # of absolute values
    large: bool  # the pixels of a window are too many for a copy


def _route(
    work: BufferedWorkspace, home: Array, written: int, gradient: Array, pixels: Array, part: Geometry, region: Region,
    rules: _Rules,
) -> None:  # fmt: skip
    """Add the gradient of a region's windows to the box of pixels that they read; see `MaximumGradient.spread`."""
    box = running.pixels_of(pixels, part, region)
    arguments = work, part, region, rules.fill, box.dtype, home.dtype
    if rules.large:
        tile = spreading.MaximumGradient(*arguments, (box, home))
    else:
        forms = (running.line(part, axis, windows).form for axis, windows in enumerate(region[1:]))
        key = "spread", region[0][1] - region[0][0], part.channels, *forms
        if key not in work.programs:
            if len(work.programs) == PROGRAMS:
                work.forget()
            work.programs[key] = spreading.MaximumGradient(*arguments)
        tile = work.programs[key]
    with np.errstate(invalid="ignore"):
        tile.find(box)
        careful = rules.real and tile.has_nan()
        if rules.sizes:
            np.abs(gradient, out=tile.gradient)
        else:
            np.copyto(tile.gradient, gradient)
        if rules.ties == "first" or not careful:
            tile.spread(home, written, rules.ties, careful)
            return
        # the first NaN of a window has it all
        whole, lost = tile.gradient.copy(), tile.top != tile.top
        tile.gradient[lost] = 0
        tile.spread(home, written, rules.ties, False)
        np.multiply(spreading.bits(whole), lost, out=spreading.bits(tile.gradient))
        tile.spread(home, home.shape[1], "first", True)


def max_pool_vjp(
    dy: Array, x: Array, geometry: Geometry, xp: Namespace, fill: Any, sums: Any, layout: str, real: bool, ties: str,
    sizes: bool,
) -> Array | None:  # fmt: skip
    """Give the gradient of the images, or None where 16-bit sums of one image are beyond the workspace.

    With `sizes` that of the absolute values of dy, in the dtype of the sums.

    A job has whole images, of which it takes the windows tile by tile, so overlapping windows add up in order.
    """
    disjoint = all(step >= span for step, span in zip(geometry.stride, geometry.span, strict=True))
    dtype = np.dtype(sums) if sizes else dy.dtype
    direct = np.dtype(sums) == dtype or (disjoint and ties == "first")
    result = np.empty(in_layout(geometry.input_shape, layout), dtype)
    if not geometry.batch:
        return result
    geometry, (pixels, grads, target) = images_last(geometry, layout, x, dy, result)
    size, wide = x.dtype.itemsize, np.dtype(sums).itemsize
    least = Footprint(
        pixels=size + wide, stages=size + wide, scratch=2 + 2 * wide, windows=2 + 2 * wide, last_first=True
    )
    if ties == "split":
        least = replace(least, stages=least.stages + wide)
    shape = (geometry.batch, *geometry.output)
    calls = PROGRAMS * CALLS * sum(geometry.kernel)
    most = (_options.current().room - UFUNC_BUFFERS) // 2
    large = calls + least.of(geometry)((1,) * len(shape), geometry.channels) > most
    rules = _Rules(ties, fill, real, sizes, large)
    count = (replace(least, pixels=0) if large else replace(least, fixed=calls)).of(geometry)
    tile, channels, workers = cut(geometry, shape, count, count)
    if not direct:
        image = math.prod(geometry.input) * wide
        room = _options.current().room // 3
        if image > room:
            return None
        channels = max(min(channels, room // image), 1)
        workers = max(1, min(workers, room * 2 // (image * channels)))
    elif geometry.batch < 4 and workers > 1:
        channels = min(channels, max(-(-geometry.channels * geometry.batch // 4), 16))
    images, rows = tile[0], tile[-1] == geometry.output[-1] and tile[2:] == geometry.output[1:]  # are tiles whole rows?
    if direct and (large or not rows or not all(map(geometry.reads_all, range(geometry.rank)))):
        result.fill(0)

    def step(work: BufferedWorkspace, region: Region, own: slice, part: Geometry) -> None:
        batch = region[0]
        home, first = target[..., own], 0
        if not direct:
            home = work.buffer("home", (batch[1] - batch[0], *part.input, part.channels), sums)
            home.fill(0)
            first = batch[0]
        at, reached = (-1, -1), 0  # the images of the last tile, and the row that it reached
        for inner in _run.Tiles((batch[1] - batch[0], *part.output), (images, *tile[1:])):
            start, stop = (edge + batch[0] for edge in inner[0])
            region = ((start, stop), *inner[1:])
            box = [running.clipped(part, axis, windows) for axis, windows in enumerate(region[1:])]
            reached = reached if at == (start, stop) else 0
            written = max(reached - box[0][0], 0) if rows else box[0][1] - box[0][0]
            at, reached = (start, stop), box[0][1]
            gradient = grads[(*_run.slices(region)[:-1], own)]
            spot = home[(slice(start - first, stop - first), *(slice(*pixels) for pixels in box))]
            _route(work, spot, written, gradient, pixels[..., own], part, region, rules)
        if not direct:
            np.copyto(target[(slice(*batch), ..., own)], home, casting="same_kind")

    outer = (tile[0], *geometry.output)
    flops = geometry.positions * geometry.channels * 4
    sweep(step, geometry, shape, outer, channels, workers, sums, flops, xp)
    return result


def avg_pool(
    x: Array, geometry: Geometry, xp: Namespace, sums: Any, layout: str, padded: bool, sizes: bool
) -> Array:  # fmt: skip
    """Give the means; with `sizes` those of the absolute values, in the dtype of the sums, which is real."""
    dtype = sums if sizes else x.dtype
    y: Array = from_channels_last(xp, empty(xp, geometry.output_shape, dtype, x, layout), layout)
    if not geometry.positions:
        return y
    geometry, (pixels, target) = images_last(geometry, layout, x, y)
    size = np.dtype(sums).itemsize
    least = Footprint(stages=size, sorted=max(size, x.dtype.itemsize), scratch=size * (1 + sizes))
    shape = (geometry.batch, *geometry.output)
    tile, channels, workers = cut(
        geometry, shape, replace(least, pixels=x.dtype.itemsize).of(geometry), least.of(geometry)
    )
    same = np.dtype(sums) == dtype

    def step(work: BufferedWorkspace, region: Region, own: slice, part: Geometry) -> None:
        out = target[(*_run.slices(region)[:-1], own)]
        place = out if same else None
        total = running.reduced(work, np.add, pixels[..., own], part, region, 0, sums, place, sizes)[0]
        np.divide(total, running.divisor(part, region, padded, np.dtype(sums)), out=out, casting="same_kind")

    sweep(step, geometry, shape, tile, channels, workers, sums, geometry.positions * geometry.channels * 2, xp)
    return y


def avg_pool_vjp(
    dy: Array, geometry: Geometry, xp: Namespace, sums: Any, layout: str, padded: bool, sizes: bool
) -> Array:  # fmt: skip
    """Give the gradient of the images; the last axis is spread first, while there are few rows.

    With `sizes` that of the absolute values of dy, in the dtype of the sums, which is real.
    """
    dtype = sums if sizes else dy.dtype
    dx: Array = from_channels_last(xp, empty(xp, geometry.input_shape, dtype, dy, layout), layout)
    if not geometry.batch:
        return dx
    geometry, (grads, target) = images_last(geometry, layout, dy, dx)
    same = np.dtype(sums) == dtype
    size = np.dtype(sums).itemsize
    shape = (geometry.batch, *(-(-n // s) for n, s in zip(geometry.input, geometry.stride, strict=True)))
    count = strides_count(geometry, size)
    tile, channels, workers = cut(geometry, shape, count, count)

    def step(work: BufferedWorkspace, region: Region, own: slice, part: Geometry) -> None:
        box = [
            (start * s, min(stop * s, n))
            for (start, stop), s, n in zip(region[1:], part.stride, part.input, strict=True)
        ]
        windows = [part.readers(axis, pixels) for axis, pixels in enumerate(box)]
        out = target[(slice(*region[0]), *(slice(*pixels) for pixels in box), own)]
        if any(low >= high for low, high in windows):
            out.fill(0)
            return
        whole = (region[0], *windows)
        gradient = grads[(*_run.slices(whole)[:-1], own)]
        shares = work.buffer("shares", gradient.shape, sums)
        if sizes:
            gradient = np.abs(gradient, out=shares)
        np.divide(gradient, running.divisor(part, whole, padded, np.dtype(sums)), out=shares, dtype=sums)
        for axis in reversed(range(part.rank)):
            if axis == 0 and same:
                spot = out
            else:
                rows = shares.shape
                spot = work.buffer(
                    f"spread {axis % 2}", (*rows[: axis + 1], box[axis][1] - box[axis][0], *rows[axis + 2 :]), sums
                )
            spreading.spread_sum(work, shares, part, axis, windows[axis], box[axis], spot)
            shares = spot
        if not same:
            np.copyto(out, shares, casting="same_kind")

    flops = math.prod(geometry.input_shape)
    sweep(step, geometry, shape, tile, channels, workers, sums, flops, xp)
    return dx


def strides_count(geometry: Geometry, size: int) -> Count:
    """Count the bytes of a tile of strides: the windows that read it, spread along one axis after another."""

    def count(tile: Ints, channels: int) -> int:
        windows = [
            min(n, -(-(t * s + span) // s) + 1)
            for n, t, s, span in zip(geometry.output, tile[1:], geometry.stride, geometry.span, strict=True)
        ]
        pixels = [min(t * s, n) for t, s, n in zip(tile[1:], geometry.stride, geometry.input, strict=True)]
        arrays = [math.prod((*windows[:axis], *pixels[axis:])) for axis in range(geometry.rank + 1)]
        return tile[0] * channels * size * sum(arrays)

    return count
