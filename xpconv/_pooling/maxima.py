"""Max pooling: the largest pixel of each window, where it is, and its gradient, which goes to it alone.

    y[o] = max over k of x[o, k]        dx[i] = sum over o whose maximum is pixel i of dy[o]

The first NaN of a window is its only maximum. Of equal maxima the first in row-major order is taken (``ties="first"``),
or each gets the whole gradient (``"all"``), or an equal share (``"split"``).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import is_kind, least
from xpconv._arrays.types import Array
from xpconv._arrays.views import fresh
from xpconv._engine.results import Result
from xpconv._pooling import portable, whole
from xpconv._pooling.argmax import first_maxima, number_dtype
from xpconv._pooling.lines import Windows
from xpconv._pooling.reduce import Rule, pixels_of, reduced
from xpconv._pooling.spread import MaximumGradient, add_at, bits
from xpconv._pooling.sweep import Count, Cut, Footprint, cut, images_apart, reducing, sweep
from xpconv._shapes.cuts import Tiles, slices
from xpconv._shapes.geometry import Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS
from xpconv._work.workspace import Workspace

PROGRAMS = 4  # kinds of tiles, of the gradient, whose calls a thread keeps
CALLS = 6 << 10  # bytes that the calls take for each tap of each axis


def max_pool(call: Call, windows: Windows, x: Array, indices: bool = False) -> tuple[Array, ...]:
    """(N, *I, C) -> (N, *O, C): the maxima, and with `indices` their places in the plane; -1 where there is none."""
    fill, real = least(call.xp, x.dtype), is_kind(call.xp, x.dtype, "real floating")
    calls = (call, call.in_dtype(call.space.index_dtype))[: 1 + indices]
    if call.traits.buffers:
        return _on_numpy(calls, windows, x, fill)

    def tile(work: Workspace, region: Region, own: slice) -> list[Array]:
        slab = portable.slab(work, windows, region, x[..., own], fill)
        if windows.strided and not indices:
            return [portable.combined(work, "maximum", windows, region, slab)]
        best, place = portable.first_maxima(work, windows, region, slab, real)
        if windows.strided:
            best = portable.combined(work, "maximum", windows, region, slab)
        return [best, work.space.clip(place, -1, None)][: 1 + indices]

    results = [Result.of(one, windows.output_shape) for one in calls]
    found = portable.over_output(call, windows, tile, results, 12 if indices else 4)
    if windows.taps == 1 and not call.traits.mutable:  # the result may be a slice of the images
        found = [fresh(call.xp, array) for array in found]
    return tuple(found)


def max_pool_vjp(call: Call, windows: Windows, dy: Array, x: Array, *, ties: str = "first") -> Array:
    """(N, *O, C), (N, *I, C) -> (N, *I, C): the gradient of the images, which may have another dtype than dy."""
    if call.traits.buffers:
        dx = _Gradients(call, windows, (dy, x), ties).array()
        if dx is not None:
            return dx
    fill, real = least(call.xp, x.dtype), is_kind(call.xp, x.dtype, "real floating")
    compared = Workspace(call.space, Arithmetic.plain(call.xp, x.dtype))
    dx = whole.max_pool_vjp(call, windows, dy, x, compared, ties)
    if dx is not None:
        return dx

    def tile(work: Workspace, readers: Region, own: slice) -> portable.Gradient:
        slab = portable.slab(compared, windows, readers, x[..., own], fill)
        best, spot = portable.first_maxima(compared, windows, readers, slab, real)
        shares = portable.gradients(work, readers, dy[..., own], call.lens)
        if ties == "split":
            shares = shares / call.space.clip(portable.ties(work, windows, readers, slab), 1, None)

        def gradient(pixels: portable.Pixels) -> Array:
            place, value = pixels.places(), pixels.of(slab)
            total = None if windows.strided else work.space.zeros(value.shape, work.sums)
            for picks in pixels.readings():
                share, hit = portable.picked(work, shares, *picks), portable.picked(work, spot, *picks) == place
                if ties != "first":
                    top = portable.picked(work, best, *picks)
                    hit = (value == top) | (hit & (top != top)) if real else value == top
                for pick in picks:
                    hit = hit if pick.there is None else hit & pick.there
                total = work.add_where("sum", total, hit, share)
            return total

        return gradient

    return portable.over_input(call, windows, tile, Result.of(call, windows.input_shape), 12)


def _on_numpy(calls: tuple[Call, ...], windows: Windows, x: Array, fill: Any) -> tuple[Array, ...]:
    call, indices = calls[0], len(calls) > 1
    found = tuple(one.space.empty(windows.output_shape, one.arithmetic.result, one.layout) for one in calls)
    if not windows.batch:
        return found
    windows, (pixels, best, *places) = images_apart(call, windows, x, *found)
    rule, size = Rule(np.maximum, x.dtype, fill), x.dtype.itemsize
    counts = _places_footprint(windows, size) if indices else reducing(windows, size, size, False)
    cuts = cut(call, windows, (windows.batch, *windows.output), *counts)

    def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
        assert isinstance(work, BufferedWorkspace)
        spot = (*slices(region)[:-1], own)
        with np.errstate(invalid="ignore"):
            if indices:
                np.copyto(places[0][spot], first_maxima(work, rule, pixels[..., own], part, region, best[spot]))
            else:
                reduced(work, rule, pixels_of(pixels[..., own], part, region), part, region, best[spot])

    sweep(call, windows, cuts, step, 1)
    return found


def _places_footprint(windows: Windows, size: int) -> tuple[Count, Count]:
    """Count what finding first maxima takes, comfortably and at least."""
    if not windows.strided:
        count = Footprint(pixels=1, stages=size + 8, scratch=2 * size + 10).of(windows)
        return count, count
    wide = number_dtype(windows).itemsize
    least = Footprint(stages=size + wide, sorted=size + wide, scratch=2 + 2 * wide + size, results=32 + 4 * wide)
    return replace(least, pixels=size).of(windows), least.of(windows)


class _Gradients:
    """The gradient of max pooling on NumPy.

    A job has whole images, of which it takes the windows tile by tile, so that overlapping windows add up in order.
    """

    def __init__(self, call: Call, windows: Windows, arrays: tuple[Array, Array], ties: str) -> None:
        dy, x = arrays
        self.call, self.ties, self.sums = call, ties, np.dtype(call.arithmetic.sums)
        self.rule, self.real = Rule(np.maximum, x.dtype, least(call.xp, x.dtype)), x.dtype.kind not in "iu"
        self.result: Array = call.space.empty(windows.input_shape, call.arithmetic.result, call.layout)
        self.windows, (self.pixels, self.grads, self.target) = images_apart(call, windows, x, dy, self.result)
        disjoint = windows.strided and all(line.stride >= line.span for line in windows.lines)
        self.direct = self.sums == self.result.dtype or (disjoint and ties == "first")
        self.large = False  # the pixels of a window are too many for a copy
        self.rows = False  # tiles are whole rows
        self.images = 1  # of a tile

    def array(self) -> Array | None:
        """Give the gradient of the images, or None where 16-bit sums of one image are beyond the workspace."""
        windows, room = self.windows, self.call.options.room
        if not windows.batch:
            return self.result
        cuts = self._cut()
        self.images = cuts.tile[0]
        self.rows = windows.strided and cuts.tile[-1] == windows.output[-1] and cuts.tile[2:] == windows.output[1:]
        if not self.direct:
            image = math.prod(windows.input) * self.sums.itemsize
            if image > room // 3:
                return None
            channels = max(min(cuts.channels, room // 3 // image), 1)
            workers = max(1, min(cuts.workers, room // 3 * 2 // (image * channels)))
            cuts = replace(cuts, channels=channels, workers=workers)
        elif windows.batch < 4 and cuts.workers > 1:
            channels = max(-(-windows.channels * windows.batch // 4), 16)
            cuts = replace(cuts, channels=min(cuts.channels, channels))
        covered = windows.strided and all(line.reads_all for line in windows.lines)
        if self.direct and (self.large or not self.rows or not covered):
            self.result.fill(0)
        self.tile = cuts.tile
        sweep(self.call, windows, replace(cuts, tile=(cuts.tile[0], *windows.output)), self.step, 4)
        return self.result

    def _cut(self) -> Cut:
        windows, size, wide = self.windows, self.pixels.dtype.itemsize, self.sums.itemsize
        shape = (windows.batch, *windows.output)
        if not windows.strided:
            count = Footprint(pixels=1, stages=size + 8, scratch=2 * size + 10, results=wide, last_first=True)
            return cut(self.call, windows, shape, count.of(windows), count.of(windows))
        stages = size + wide * (1 + (self.ties == "split"))
        beside = 2 + 2 * wide
        count = Footprint(pixels=size + wide, stages=stages, scratch=beside, results=beside, last_first=True)
        calls = PROGRAMS * CALLS * sum(line.kernel for line in windows.lines)
        most = (self.call.options.room - UFUNC_BUFFERS) // 2
        self.large = calls + count.of(windows)((1,) * len(shape), windows.channels) > most
        count = replace(count, pixels=0) if self.large else replace(count, fixed=calls)
        return cut(self.call, windows, shape, count.of(windows), count.of(windows))

    def step(self, work: Workspace, region: Region, own: slice, part: Windows) -> None:
        """Take some images, and channels, tile by tile."""
        assert isinstance(work, BufferedWorkspace)
        batch, home, first = region[0], self.target[..., own], 0
        if not self.direct:
            home = work.buffer("home", (batch[1] - batch[0], *part.input, part.channels), self.sums)
            home.fill(0)
            first = batch[0]
        at, reached = (-1, -1), 0  # the images of the last tile, and the row that it reached
        for inner in Tiles((batch[1] - batch[0], *part.output), self.tile):
            start, stop = (edge + batch[0] for edge in inner[0])
            region = ((start, stop), *inner[1:])
            gradient = self.grads[(*slices(region)[:-1], own)]
            if not part.strided:
                self._add_places(
                    work, home[start - first : stop - first], gradient, self.pixels[..., own], part, region
                )
                continue
            _, *box = part.pixels(region)
            reached = reached if at == (start, stop) else 0
            written = max(reached - box[0][0], 0) if self.rows else box[0][1] - box[0][0]
            at, reached = (start, stop), box[0][1]
            spot = home[(slice(start - first, stop - first), *(slice(*pixels) for pixels in box))]
            self._route(work, spot, written, gradient, self.pixels[..., own], part, region)
        if not self.direct:
            np.copyto(self.target[(slice(*batch), ..., own)], home, casting="same_kind")

    def _add_places(
        self, work: BufferedWorkspace, home: Array, gradient: Array, pixels: Array, part: Windows, region: Region
    ) -> None:
        """Add the gradient of a region's windows to the images."""
        with np.errstate(invalid="ignore"):
            places = first_maxima(work, self.rule, pixels, part, region)
        shares = work.buffer("gradient", gradient.shape, self.sums)
        np.copyto(shares, gradient)
        add_at(home, places, shares)

    def _route(
        self,
        work: BufferedWorkspace,
        home: Array,
        written: int,
        gradient: Array,
        pixels: Array,
        part: Windows,
        region: Region,
    ) -> None:
        """Add the gradient of a region's windows to the box of pixels that they read; see `MaximumGradient.spread`."""
        box = pixels_of(pixels, part, region)
        tile = self._tile(work, home, box, part, region)
        with np.errstate(invalid="ignore"):
            tile.find(box)
            careful = self.real and tile.has_nan()
            if self.call.measures:
                np.abs(gradient, out=tile.gradient)
            else:
                np.copyto(tile.gradient, gradient)
            if self.ties == "first" or not careful:
                tile.spread(home, written, self.ties, careful)
                return
            # the first NaN of a window has it all
            whole, lost = tile.gradient.copy(), tile.top != tile.top
            tile.gradient[lost] = 0
            tile.spread(home, written, self.ties, False)
            np.multiply(bits(whole), lost, out=bits(tile.gradient))
            tile.spread(home, home.shape[1], "first", True)

    def _tile(self, work: BufferedWorkspace, home: Array, box: Array, part: Windows, region: Region) -> MaximumGradient:
        """Make what a tile's gradient takes, once for all tiles of one form."""
        if self.large:
            return MaximumGradient(work, self.rule, part, region, self.sums, (box, home))
        forms = (line.reading(places).form for line, places in zip(part.lines, region[1:], strict=True))
        key = "spread", region[0][1] - region[0][0], part.channels, *forms
        if key not in work.programs:
            if len(work.programs) == PROGRAMS:
                work.forget()
            work.programs[key] = MaximumGradient(work, self.rule, part, region, self.sums)
        found: MaximumGradient = work.programs[key]
        return found
