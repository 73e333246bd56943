"""The driver of adaptive pooling on NumPy: tiles whose work arrays stay in the cache, results written in place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from xpconv import _options
from xpconv._arrays.old import empty
from xpconv._arrays.space import NUMPY
from xpconv._arrays.types import Namespace
from xpconv._arrays.views import from_channels_last, to_channels_last
from xpconv._engine import old as _run
from xpconv._pooling.adaptive import Cut, counts
from xpconv._pooling.adaptive_axes import Lines, first_maxima, lines_of, reduced
from xpconv._pooling.sweep import CACHE, SHARE, has_nan
from xpconv._shapes import cuts as _channels
from xpconv._shapes.cuts import PARTS, block
from xpconv._shapes.geometry import Ints, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS

Array = np.ndarray[Any, Any]


def _sweep(
    step: Callable[[BufferedWorkspace, Region, slice], None], shape: Ints, channels: int,
    needs: Callable[[Ints], int], xp: Namespace, dtype: Any, whole_images: bool = False,
) -> None:  # fmt: skip
    """Run a step for each tile of (n, *sizes) and each block of channels; `needs`: bytes of a tile for each channel.

    With `whole_images` no image is taken by two threads. Unlike `_pool_tiles.cut`'s, tiles do not depend on the number
    of threads, because the order in which sums are taken may depend on the size of a tile.
    """
    options = _options.current()
    room = options.room - UFUNC_BUFFERS
    width = channels
    while width > 1 and needs((1,) * len(shape)) * width > room // 2:
        width = -(-width // 2)
    parts = max(1, min(PARTS, math.prod(shape) * channels // SHARE))
    tile = block(shape, -(-math.prod(shape) // parts))
    while math.prod(tile) > 1 and needs(tile) * width > min(CACHE, room // 4):
        tile = block(shape, math.prod(tile) // 2)
    workers = max(1, min(options.threads, parts, options.room // (needs(tile) * width + UFUNC_BUFFERS)))
    blocks = [slice(*interval) for interval in _channels.intervals(channels, width)]

    def job(item: Region, work: Any) -> None:
        for inner in _run.Tiles(tuple(stop - start for start, stop in item), tile):
            region = tuple((start + a, start + b) for (start, _), (a, b) in zip(item, inner, strict=True))
            for own in blocks:
                step(work, region, own)

    jobs = _run.Jobs(job, _run.Tiles(shape, (tile[0], *shape[1:]) if whole_images else tile))
    _run.run([jobs], xp, NUMPY, dtype, workers, math.prod(shape) * channels, False)


def channels_apart(engine: Callable[..., Any], arrays: list[Array], whole: Ints, layout: str) -> Any:
    """Call `engine` with arrays, `whole` and the layout; channels that lie first become images of their own."""
    if layout == "channels_last" or not all(array.flags.c_contiguous for array in arrays):
        return engine(*arrays, whole, layout)
    batch, channels = whole[0], whole[-1]
    images = batch * channels
    alone = [array.reshape(images, *array.shape[2:], 1) for array in arrays]
    found = engine(*alone, (images, *whole[1:-1], 1), "channels_last")

    def back(result: Array) -> Array:
        return result.reshape(batch, channels, *result.shape[1:-1])

    return tuple(map(back, found)) if isinstance(found, tuple) else back(found)


def reduce_windows(
    x: Array, whole: Ints, layout: str, cuts: tuple[Cut, ...], xp: Namespace, function: np.ufunc, sums: Any
) -> Array:
    """Give the maxima of the windows (np.maximum), or their means (np.add)."""
    lines, pixels, wide = lines_of(cuts, False, False), to_channels_last(xp, x, layout), int(np.dtype(sums).itemsize)
    shape = (whole[0], *(cut.parts for cut in cuts))
    target = empty(xp, (*shape, whole[-1]), x.dtype, x, layout)

    def needs(tile: Ints) -> int:
        stages = lines.stages(tile)
        return (sum(stages) + 2 * max(stages)) * wide

    def step(work: BufferedWorkspace, region: Region, own: slice) -> None:
        out = target[(*_run.slices(region)[:-1], own)]
        total = out if sums == out.dtype else work.buffer("total", out.shape, sums)
        with np.errstate(invalid="ignore" if function is np.maximum else np.geterr()["invalid"]):
            reduced(work, function, pixels[_spots(lines, region, own)], lines, region, total)
        if function is np.add:
            np.divide(total, counts(work, cuts, region[1:], out), out=out, casting="same_kind")

    if whole[0]:
        _sweep(step, shape, whole[-1], needs, xp, sums)
    result: Array = from_channels_last(xp, target, layout)
    return result


def _spots(lines: Lines, region: Region, own: slice) -> tuple[slice, ...]:
    return (slice(*region[0]), *(slice(*interval) for interval in lines.reads(region)), own)


def avg_pool_vjp(dy: Array, whole: Ints, layout: str, cuts: tuple[Cut, ...], xp: Namespace, sums: Any) -> Array:
    """Give the gradient of the images."""
    lines, grads, wide = lines_of(cuts, True, True), to_channels_last(xp, dy, layout), int(np.dtype(sums).itemsize)
    target = empty(xp, whole, dy.dtype, dy, layout)

    def needs(tile: Ints) -> int:
        stages = lines.stages(tile)
        return (sum(stages) + 2 * max(stages)) * wide

    def step(work: BufferedWorkspace, region: Region, own: slice) -> None:
        gradient, out = grads[_spots(lines, region, own)], target[(*_run.slices(region)[:-1], own)]
        shares = work.buffer("shares", gradient.shape, sums)
        np.divide(gradient, counts(work, cuts, lines.reads(region), out), out=shares)
        total = out if sums == out.dtype else work.buffer("total", out.shape, sums)
        reduced(work, np.add, shares, lines, region, total)
        if total is not out:
            np.copyto(out, total, casting="same_kind")

    if whole[0]:
        _sweep(step, whole[:-1], whole[-1], needs, xp, sums)
    result: Array = from_channels_last(xp, target, layout)
    return result


def max_pool_with_indices(
    x: Array, whole: Ints, layout: str, cuts: tuple[Cut, ...], xp: Namespace, real: bool
) -> tuple[Array, Array]:
    """Give the maxima, and the place of each in the plane."""
    shape = (whole[0], *(cut.parts for cut in cuts))
    y, indices = (empty(xp, (*shape, whole[-1]), dtype, x, layout) for dtype in (x.dtype, np.dtype(np.int64)))

    def put(work: BufferedWorkspace, region: Region, own: slice, best: Array, places: Array) -> None:
        spot = (*_run.slices(region)[:-1], own)
        np.copyto(y[spot], best)
        np.copyto(indices[spot], places)

    _over_maxima(put, x, whole, cuts, xp, layout, real, 0, False)
    return from_channels_last(xp, y, layout), from_channels_last(xp, indices, layout)


def max_pool_vjp(
    dy: Array, x: Array, whole: Ints, layout: str, cuts: tuple[Cut, ...], xp: Namespace, real: bool
) -> Array:
    """Give the gradient of the images: each window's goes to its first maximum, window after window."""
    dx = np.zeros(x.shape, x.dtype)
    flat, grads = dx.reshape(-1), to_channels_last(xp, dy, layout)
    channels, plane = whole[-1], math.prod(whole[1:-1])
    # elements of dx from one image, pixel and channel to the next
    image, pixel, channel = channels * plane, *((channels, 1) if layout == "channels_last" else (1, plane))

    def put(work: BufferedWorkspace, region: Region, own: slice, best: Array, places: Array) -> None:
        gradient = work.buffer("gradient", places.shape, flat.dtype)
        np.copyto(gradient, grads[(*_run.slices(region)[:-1], own)])
        images = np.arange(*region[0]).reshape((-1,) + (1,) * (places.ndim - 1)) * image
        np.multiply(places, pixel, out=places)
        np.add(places, images + np.arange(channels)[own] * channel, out=places)
        np.add.at(flat, places.reshape(-1), gradient.reshape(-1))

    _over_maxima(put, x, whole, cuts, xp, layout, real, x.dtype.itemsize, True)
    return dx


def _over_maxima(
    put: Callable[[BufferedWorkspace, Region, slice, Array, Array], None], x: Array, whole: Ints,
    cuts: tuple[Cut, ...], xp: Namespace, layout: str, real: bool, beside: int, whole_images: bool,
) -> None:  # fmt: skip
    """Find the first maximum of each window, and do something with it that takes `beside` bytes for each."""
    lines, pixels, size = lines_of(cuts, False, True), to_channels_last(xp, x, layout), int(x.dtype.itemsize)

    def needs(tile: Ints) -> int:
        read, *stages = lines.stages(tile)
        own = (sum(stages) + max(stages)) * (size + 8) + (size + 2) * max(stages) + stages[-1] * beside
        return own + read

    def step(work: BufferedWorkspace, region: Region, own: slice) -> None:
        slab = pixels[_spots(lines, region, own)]
        with np.errstate(invalid="ignore"):
            careful = real and has_nan(work, slab)
            best, places = first_maxima(work, slab, lines, region, careful)
        put(work, region, own, best, places)

    if whole[0]:
        _sweep(step, (whole[0], *(cut.parts for cut in cuts)), whole[-1], needs, xp, x.dtype, whole_images)
