"""Gradients of max and Lp pooling in few kernels, for a GPU: all windows of some images at once, seen as a view.

A window marks its maxima, takes the first of them, and puts its share there; or it gives each tap a share by the slope
of its norm. The shares of windows that do not overlap are added to the images at once, so that there are as many
additions as windows that a pixel can be in, not as many as a window has taps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast, is_kind, itemsize, least
from xpconv._arrays.types import Array
from xpconv._engine.results import Result
from xpconv._pooling import portable
from xpconv._pooling.windows import Windows
from xpconv._shapes.cuts import intervals, slices
from xpconv._shapes.geometry import Region
from xpconv._work.buffered import workspace
from xpconv._work.workspace import Workspace

BESIDE = 14  # bytes of marks and of numbers of taps, for each tap of a window
POWERS = 5  # numbers of a norm's gradient that are there at once, for each tap of a window


def max_pool_vjp(call: Call, windows: Windows, dy: Array, x: Array, compared: Workspace, ties: str) -> Array | None:
    """(N, *O, C), (N, *I, C) -> (N, *I, C); None where that is not served.

    `compared` makes slabs of x. None for adaptive windows, and where one channel of one image takes too much memory.
    """
    wide = itemsize(call.xp, call.arithmetic.sums)
    most = _most(call, windows, wide + BESIDE, max(wide, itemsize(call.xp, x.dtype)))
    if most == 0:
        return None
    result = Result.of(call, windows.input_shape)
    for tile in _tiles(call, windows, most):
        slab = portable.slab(compared, windows, tile.region, x[..., tile.own], least(call.xp, x.dtype))
        shares = dy[(*slices(tile.region)[:-1], tile.own)]
        shares = cast(call.xp, shares if call.lens is None else call.lens.look(shares), call.arithmetic.sums)
        tile.put(result.array(), tile.routed(slab, shares, ties))
    return result.array()


def max_pool_vjp_at(call: Call, windows: Windows, dy: Array, places: Array) -> Array | None:
    """(N, *O, C), (N, *O, C) -> (N, *I, C), where the places of the maxima are known; None where that is not served."""
    wide = itemsize(call.xp, call.arithmetic.sums)
    most = _most(call, windows, wide + BESIDE, max(wide, itemsize(call.xp, call.space.index_dtype)))
    if most == 0:
        return None
    result = Result.of(call, windows.input_shape)
    for tile in _tiles(call, windows, most):
        index = (*slices(tile.region)[:-1], tile.own)
        tile.put(result.array(), tile.placed(places[index], cast(call.xp, dy[index], call.arithmetic.sums)))
    return result.array()


def lp_pool_vjp(call: Call, windows: Windows, dy: Array, x: Array, p: float) -> Array | None:
    """(N, *O, C), (N, *I, C) -> (N, *I, C); None where that is not served."""
    wide = itemsize(call.xp, call.arithmetic.sums)
    most = _most(call, windows, (1 + POWERS) * wide, wide)
    if most == 0:
        return None
    result = Result.of(call, windows.input_shape)
    for tile in _tiles(call, windows, most):
        slab = portable.slab(tile.work, windows, tile.region, x[..., tile.own])
        shares = cast(call.xp, dy[(*slices(tile.region)[:-1], tile.own)], call.arithmetic.sums)
        tile.put(result.array(), tile.sloped(slab, shares, p))
    return result.array()


def _most(call: Call, windows: Windows, tap: int, pixel: int) -> int:
    """Count the channels of images that are taken at once: so many bytes for each tap of a window, and for a pixel."""
    if not windows.strided or not call.traits.outs or not math.prod(windows.output_shape):
        return 0
    reaches = (line.reach((0, line.count)) for line in windows.lines)
    reached = math.prod(high - low for low, high in reaches)
    return call.options.room // (math.prod(windows.output) * windows.taps * tap + 3 * reached * pixel)


def _tiles(call: Call, windows: Windows, most: int) -> Iterator[_Tile]:
    """Give all windows of some images and channels at a time."""
    channels, work = min(most, windows.channels), workspace(call.space, call.arithmetic)
    for images in intervals(windows.batch, max(most // channels, 1)):
        for some in intervals(windows.channels, channels):
            yield _Tile(work, windows, (images, *((0, line.count) for line in windows.lines)), slice(*some))


class _Tile:
    """All windows of some images and channels."""

    def __init__(self, work: Workspace, windows: Windows, region: Region, own: slice) -> None:
        self.work, self.windows, self.lines, self.region, self.own = work, windows, windows.lines, region, own
        self.xp, self.taps = work.xp, tuple(range(1 + windows.rank, 1 + 2 * windows.rank))  # axes of the taps
        self.reaches = [line.reach((0, line.count)) for line in windows.lines]

    def view(self, slab: Array, first: tuple[int, ...] = (), step: tuple[int, ...] = ()) -> Array:
        """(n, *slab, C) -> (n, *windows, *taps, C): of the windows every so-many-th from the first on."""
        lines, rank = self.lines, self.windows.rank
        first, step = first or (0,) * rank, step or (1,) * rank
        starts = (slice(at * line.stride, None) for at, line in zip(first, lines, strict=True))
        return self.work.space.windows(
            slab[(slice(None), *starts, slice(None))],
            [line.kernel for line in lines],
            [len(range(at, line.count, every)) for at, every, line in zip(first, step, lines, strict=True)],
            [line.stride * every for every, line in zip(step, lines, strict=True)],
            [line.dilation for line in lines],
        )

    def routed(self, slab: Array, shares: Array, ties: str) -> Array:
        """(n, *slab, C), (n, *windows, C) -> (n, *windows, *taps, C): what each tap gets of its window's share."""
        xp, pixels = self.xp, self.view(slab)
        best = xp.max(pixels, axis=self.taps, keepdims=True)
        hit = pixels == best
        real = is_kind(xp, slab.dtype, "real floating")
        if real:  # of a window with a NaN nothing is equal to the maximum
            hit = hit | (pixels != pixels)
        if not self.windows.inside(self.region):
            hit = hit & self.view(self._inside(slab))
        numbers = xp.reshape(
            self.work.space.arange(self.windows.taps, xp.int32), (*(line.kernel for line in self.lines), 1)
        )
        first = xp.min(xp.where(hit, numbers, self.windows.taps), axis=self.taps, keepdims=True)
        taken = numbers == first
        shares = xp.reshape(shares, best.shape)
        if ties == "split":
            count = xp.sum(xp.astype(hit, shares.dtype), axis=self.taps, keepdims=True, dtype=shares.dtype)
            shares = shares / (xp.where((best == best) & (count > 0), count, 1) if real else self.at_least_one(count))
        if ties != "first":
            taken = xp.where(best == best, hit, taken) if real else hit
        return xp.where(taken, shares, 0)

    def sloped(self, slab: Array, shares: Array, p: float) -> Array:
        """(n, *slab, C), (n, *windows, C) -> (n, *windows, *taps, C): what each tap gets, by the slope of the norm."""
        xp, pixels, sums = self.xp, self.view(slab), shares.dtype
        sizes = xp.abs(pixels)
        norm = largest = xp.max(sizes, axis=self.taps, keepdims=True)
        shares = xp.reshape(shares, norm.shape)
        if p == math.inf:
            slope = xp.astype(sizes == xp.where(norm > 0, norm, 1), sums)
            shares = shares / self.at_least_one(xp.sum(slope, axis=self.taps, keepdims=True, dtype=sums))
        else:
            scale = xp.where((largest > 0) & (largest < math.inf), largest, 1)
            norm = scale * xp.sum((sizes / scale) ** p, axis=self.taps, keepdims=True, dtype=sums) ** (1 / p)
            ratio = sizes / xp.where(norm > 0, norm, 1)
            slope = xp.where(pixels == 0, 1, ratio) ** (p - 1)  # set to 0 below
        return xp.where(pixels == 0, 0, shares * self.work.space.sign(pixels) * slope)

    def placed(self, places: Array, shares: Array) -> Array:
        """(n, *windows, C) twice -> (n, *windows, *taps, C): what each tap gets where the maximum has a known place."""
        xp, (n, *out, c) = self.xp, shares.shape
        numbers = portable.places(self.work, self.windows, [range(*reach) for reach in self.reaches])
        shape = (n, *out, *(1,) * self.windows.rank, c)
        return xp.where(self.view(numbers) == xp.reshape(places, shape), xp.reshape(shares, shape), 0)

    def at_least_one(self, count: Array) -> Array:
        """Replace the zeros of windows without a tap inside."""
        return self.xp.where(count > 0, count, 1)

    def _inside(self, slab: Array) -> Array:
        """(1, *slab, 1): which pixels are those of the image."""
        inside = self.work.space.full((1, *slab.shape[1:-1], 1), False, self.xp.bool)
        inside[(slice(None), *self._part(0), slice(None))] = True
        return inside

    def _part(self, where: int) -> list[slice]:
        """Give the pixels that lie in the image: 0 in the slab, 1 in the image."""
        found = []
        for (low, high), line in zip(self.reaches, self.lines, strict=True):
            start, stop = max(low, 0), min(high, line.size)
            found.append(slice(start, stop) if where else slice(start - low, stop - low))
        return found

    def put(self, target: Array, routed: Array) -> None:
        """Add up what the pixels get, (n, *windows, *taps, C), into their part of the result."""
        lines, index = self.lines, (slice(*self.region[0]), *(slice(None) for _ in self.lines), self.own)
        own, inside = target[index], self.windows.inside(self.region)
        covered = all(low <= 0 and high >= line.size for (low, high), line in zip(self.reaches, lines, strict=True))
        if inside and all(line.stride >= line.span for line in lines):
            if not covered or any(line.stride > line.kernel or line.dilation > 1 for line in lines):
                own[...] = 0
            self.view(own)[...] = routed
            return
        extents = tuple(high - low for low, high in self.reaches)
        whole = self.work.space.zeros((routed.shape[0], *extents, routed.shape[-1]), routed.dtype)
        sets = tuple(-(-line.span // line.stride) for line in lines)
        for first in itertools.product(*(range(min(n, line.count)) for n, line in zip(sets, lines, strict=True))):
            place = self.view(whole, first, sets)
            every = (slice(at, None, step) for at, step in zip(first, sets, strict=True))
            self.xp.add(place, routed[(slice(None), *every)], out=place)
        if not covered:
            own[...] = 0
        own[(slice(None), *self._part(1), slice(None))] = whole[(slice(None), *self._part(0), slice(None))]
