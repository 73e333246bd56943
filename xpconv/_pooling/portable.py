"""Pooling in array functions alone, for any library: blocks of a result from the pixels, or windows, that they read.

Padding is filled. A tap is a slice of the pixels where windows lie at a stride; where they are parts of the axes it is
gathered by an index, and a window that has fewer taps than the longest reads its last pixel again, which no maximum
minds and a sum leaves out. A gradient is taken one residue of the pixels modulo the stride after another: the pixels of
one are read by the same taps.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call, Lens
from xpconv._arrays.dtypes import is_kind, itemsize, native
from xpconv._arrays.types import Array
from xpconv._engine.results import Result
from xpconv._engine.slab import surrounded
from xpconv._pooling.lines import Pick
from xpconv._pooling.loops import State, in_a_loop, tap_at, tap_starts
from xpconv._pooling.reduce import along
from xpconv._pooling.sweep import Footprint, cut, sweep
from xpconv._pooling.windows import Windows
from xpconv._shapes.cuts import Tiles, intervals
from xpconv._shapes.geometry import Interval, Ints, Region
from xpconv._work.workspace import Workspace

Tile = Callable[[Workspace, Region, slice], Sequence[Array]]  # blocks of results for a region and some channels


@dataclass(frozen=True)
class Pixels:
    """The pixels of one residue modulo the stride in a region of units, and the windows around that read them."""

    work: Workspace
    windows: Windows
    residue: Ints
    units: Region
    readers: Region

    @property
    def are_read(self) -> bool:
        """Whether any tap meets pixels of the residue."""
        return all(line.meeting(rest) for line, rest in zip(self.windows.lines, self.residue, strict=True))

    def readings(self) -> Iterator[tuple[Pick, ...]]:
        """Give the windows in turn, out of the readers, that read each pixel."""
        axes = zip(self.windows.lines, self.residue, self.units[1:], self.readers[1:], strict=True)
        picks = (line.readings(rest, units, first) for line, rest, units, (first, _) in axes)
        rank = self.windows.rank
        return itertools.product(*(list(_ready(self.work, own, axis, rank)) for axis, own in enumerate(picks)))

    def numbers(self) -> list[range]:
        """Give the pixels along each axis."""
        axes = zip(self.residue, self.windows.stride, self.units[1:], strict=True)
        return [range(rest + start * unit, rest + stop * unit, unit) for rest, unit, (start, stop) in axes]

    def places(self) -> Array:
        """Give the place of each pixel in the plane."""
        return places(self.work, self.windows, self.numbers())

    def sum(self, shares: Array, hits: Callable[[tuple[Pick, ...]], Array]) -> Array:
        """Sum for each pixel the shares of the windows, one after another, that hit it."""
        total = None
        if not self.windows.strided:
            total = self.work.space.zeros(
                (shares.shape[0], *map(len, self.numbers()), shares.shape[-1]), self.work.sums
            )
        for picks in self.readings():
            hit = hits(picks)
            for pick in picks:
                hit = hit if pick.there is None else hit & pick.there
            total = self.work.add_where("sum", total, hit, picked(self.work, shares, *picks))
        return total

    def of(self, slab: Array) -> Array:
        """(n, *slab, C) -> (n, *pixels, C): take the pixels out of those that the readers reach."""
        firsts = (low for low, _ in self.windows.reach(self.readers)[1:])
        index = (
            slice(own.start - first, max(own.stop - own.step + 1, own.start) - first, own.step)
            for own, first in zip(self.numbers(), firsts, strict=True)
        )
        return slab[(slice(None), *index, ...)]


Gradient = Callable[[Pixels], Array]
GradientTile = Callable[[Workspace, Region, slice], Gradient]  # for a region of windows and some channels


def over_output(call: Call, windows: Windows, tile: Tile, results: Sequence[Result], arrays: int) -> list[Array]:
    """Run a tile function over the windows and give its results; `arrays` as large as a tile it has at once."""
    if windows.batch == 0:
        for result in results:
            result.fill(windows.output_shape, None)
        return [result.array() for result in results]

    def step(work: Workspace, region: Region, own: slice, places: Sequence[Result]) -> None:
        for place, block in zip(places, tile(work, region, own), strict=True):
            place.put(work, region, block)

    _over(call, windows, arrays, results, step, None)
    return [result.array() for result in results]


def over_input(call: Call, windows: Windows, tile: GradientTile, result: Result, arrays: int) -> Array:
    """Run a tile function over the pixels, in units, and give the gradient."""
    if windows.batch == 0:
        result.fill(windows.input_shape, None)
        return result.array()
    size, units = windows.input, windows.stride

    def step(work: Workspace, region: Region, own: slice, places: Sequence[Result]) -> None:
        readers = windows.readers(region)
        gradient = tile(work, readers, own)
        for residue, place in zip(itertools.product(*map(range, map(min, units, size))), places, strict=True):
            part = (region[0], *map(_within, residue, region[1:], units, size))
            shape = (*(stop - start for start, stop in part), own.stop - own.start)
            if all(shape) or not call.traits.mutable:
                pixels = Pixels(work, windows, residue, part, readers)
                place.put(work, part, gradient(pixels) if pixels.are_read else work.space.zeros(shape, work.sums))

    _over(call, windows, arrays, [result], step, lambda result: result.phases(size, units))
    return result.array()


def _within(residue: int, units: Interval, unit: int, size: int) -> Interval:
    """Give the units of a range that have a pixel of a residue."""
    start, stop = units
    return start, max(min(stop, len(range(residue, size, unit))), start)


def _over(
    call: Call,
    windows: Windows,
    arrays: int,
    results: Sequence[Result],
    step: Callable[[Workspace, Region, slice, Sequence[Result]], None],
    phases: Callable[[Result], Sequence[Result]] | None,
) -> None:
    """Sweep over the windows, or in phases over units of pixels; each block of channels has results of its own."""
    wide = itemsize(call.xp, call.arithmetic.sums)
    needs = Footprint(pixels=wide, results=arrays * wide)
    if phases:
        needs = replace(needs, reached=wide, gradient=True)
    cuts = cut(call, windows, needs, cache=call.traits.cache or call.options.room, weight=arrays)
    blocks = [slice(*interval) for interval in intervals(windows.channels, cuts.channels)]
    places: dict[int, list[Result]] = {block.start: [] for block in blocks}
    for result in results:
        for block, part in zip(blocks, result.channels(blocks) if len(blocks) > 1 else [result], strict=True):
            places[block.start] += phases(part) if phases else [part]
    for place in itertools.chain.from_iterable(places.values()):
        place.expect(Tiles(cuts.shape, cuts.tile))
    sweep(call, windows, cuts, lambda work, region, own, _: step(work, region, own, places[own.start]), arrays)


# --- pixels and windows of a tile -----------------------------------------------------------------


def slab(work: Workspace, windows: Windows, region: Region, x: Array, fill: Any = 0, lens: Lens | None = None) -> Array:
    """(N, *I, C) -> (n, *slab, C): the pixels that a region's windows reach."""
    return surrounded(work, "slab", x, windows.reach(region), fill=fill, lens=lens)


def gradients(work: Workspace, readers: Region, dy: Array, lens: Lens | None = None) -> Array:
    """(N, *O, C) -> (n, *readers, C): the gradients of a region's windows, zero beyond the ends of the output."""
    return surrounded(work, "gradient", dy, readers, lens=lens)


def existing(work: Workspace, windows: Windows, readers: Region) -> Array | None:
    """(1, *readers, 1): which windows are those of the output, to broadcast; None if all are."""
    if windows.within(readers) == readers:
        return None
    found = np.ones((1,) * (windows.rank + 2), np.bool_)
    for axis, (line, (first, last)) in enumerate(zip(windows.lines, readers[1:], strict=True), start=1):
        numbers = np.arange(first, last)
        there = (numbers >= 0) & (numbers < line.count)
        found = found & there.reshape((-1,) + (1,) * (windows.rank + 1 - axis))
    return work.space.array(found, work.xp.bool)


def _ready(work: Workspace, picks: Iterator[Pick], axis: int, rank: int) -> Iterator[Pick]:
    """Move what picks hold to the device."""
    for pick in picks:
        if isinstance(pick.index, slice):
            yield pick
            continue
        there: Any = pick.there
        if there is not None:
            shape = (1,) * (axis + 1) + (-1,) + (1,) * (rank - axis)
            there = work.xp.reshape(work.space.array(there, work.xp.bool), shape)
        yield replace(pick, index=work.space.array(pick.index, work.space.index_dtype), there=there)


def taps(work: Workspace, windows: Windows, region: Region, axis: int) -> Iterator[Pick]:
    """Give the taps of a region's windows along an axis."""
    return _ready(work, windows.lines[axis].taps(region[1 + axis]), axis, windows.rank)


def picked(work: Workspace, values: Array, *picks: Pick, first: int = 0) -> Array:
    """Take one source of each place, along the axes from the `first` on."""
    if isinstance(picks[0].index, slice):
        return values[(*along(first, *(pick.index for pick in picks)), ...)]
    for axis, pick in enumerate(picks, start=first + 1):
        if values.shape[axis] > 1:
            values = work.xp.take(values, pick.index, axis=axis)
        else:  # a single one is repeated, which Dask's own gathering does not get right
            shape = (*values.shape[:axis], pick.index.shape[0], *values.shape[axis + 1 :])
            values = work.xp.broadcast_to(values, shape)
    return values


def each_tap(work: Workspace, windows: Windows, region: Region, slab: Array) -> Iterator[Array]:
    """(n, *slab, C) -> (n, *windows, C), for each tap in order."""
    for picks in itertools.product(*(list(taps(work, windows, region, axis)) for axis in range(windows.rank))):
        yield picked(work, slab, *picks)


def combined(
    work: Workspace, function: str, windows: Windows, region: Region, slab: Array, *, loop: bool = False
) -> Array:
    """(n, *slab, C) -> (n, *windows, C): combine the pixels of each window with "maximum" or "add".

    `loop`: in one, where arrays are traced.
    """
    order = range(windows.rank)
    for axis in reversed(order) if windows.strided else order:
        if loop and work.space.loops:
            slab = in_a_loop(work, windows, region, axis, [slab], lambda *found: found, _with(work, function))[0]
            continue
        total = None
        for pick in taps(work, windows, region, axis):
            value = picked(work, slab, pick, first=axis)
            if pick.there is not None:
                value = work.xp.where(pick.there, value, work.xp.zeros_like(value))
            total = value if total is None else work.call(f"reduced {axis}", function, total, value)
        slab = total
    return slab


def _with(work: Workspace, function: str) -> Callable[..., State]:
    return lambda state, value: (getattr(work.xp, function)(state[0], value),)


def fold(
    work: Workspace,
    windows: Windows,
    region: Region,
    slabs: Sequence[Array],
    step: Callable[[Array, Sequence[Array]], Array],
    state: Array | None,
) -> Array:
    """Go over the taps in order: `step` is given the state and the pixels of a tap of every window, from each slab.

    A loop that stands in a graph begins with an array.
    """
    if not work.space.loops:
        for values in zip(*(each_tap(work, windows, region, slab) for slab in slabs), strict=True):
            state = step(state, values)
        return state

    def one(number: Any, state: Array) -> Array:
        starts = tap_starts(windows, number)
        return step(state, [tap_at(work, windows, region, slab, starts) for slab in slabs])

    found: Array = work.space.loop(0, windows.taps, one, state)
    return found


def divisor(work: Workspace, windows: Windows, region: Region, padded: bool) -> Any:
    """Give what an average divides by: a number, or one for each window, to broadcast."""
    if windows.strided and windows.inside(region):
        return windows.taps
    total: Any = 1
    for axis, (line, places) in enumerate(zip(windows.lines, region[1:], strict=True)):
        count = np.maximum(line.lengths(places, padded), 1).astype(float)
        shape = (1,) * (axis + 1) + (-1,) + (1,) * (windows.rank - axis)
        total = total * work.xp.reshape(work.space.array(count, work.sums), shape)
    return total


# --- which pixel is the maximum -------------------------------------------------------------------


def check_places(call: Call, windows: Windows) -> None:
    """Refuse planes whose places the library cannot count; those in the padding are a plane below 0 for each axis."""
    call.space.check_indices(call.name, windows.rank * math.prod(windows.input))


def places(work: Workspace, windows: Windows, ranges: Sequence[range]) -> Array:
    """Give the place in the plane, flat, of each pixel of a box, to broadcast; below 0 in the padding."""
    plane, total = math.prod(windows.input), None
    for axis, (line, pixels) in enumerate(zip(windows.lines, ranges, strict=True)):
        numbers = np.arange(pixels.start, pixels.stop, pixels.step, dtype=np.int64)
        inside = (numbers >= 0) & (numbers < line.size)
        own = np.where(inside, numbers * math.prod(windows.input[axis + 1 :]), -plane)
        shape = (1,) * (axis + 1) + (-1,) + (1,) * (windows.rank - axis)
        here = work.xp.reshape(work.space.array(own, work.space.index_dtype), shape)
        total = here if total is None else total + here
    return total


def slab_places(work: Workspace, windows: Windows, region: Region) -> Array:
    """Give the place in the plane of each pixel that a region's windows reach."""
    return places(work, windows, [range(*reach) for reach in windows.reach(region)[1:]])


def comparing(call: Call, x: Array) -> Workspace:
    """Give a workspace in which pixels keep their dtype."""
    return Workspace(call.space, Arithmetic.plain(call.xp, native(x.dtype)))


def first_maxima(work: Workspace, windows: Windows, region: Region, slab: Array) -> tuple[Array, Array]:
    """Give each window's maximum and its place in the plane: the first, or the first NaN, in row-major order.

    Below 0 for a window without taps inside.
    """
    xp, inside = work.xp, windows.inside(region)
    real = is_kind(xp, slab.dtype, "real floating")
    spots = slab_places(work, windows, region)

    def begin(value: Array, where: Array) -> State:
        return value, xp.broadcast_to(where, value.shape)

    def step(state: State, value: Array, where: Array) -> State:
        best, spot = state
        better = ~(value <= best) & (best == best) if real else value > best
        if not inside:  # no pixel of the padding wins over one of the image, though they may be equal
            better = better | (spot < 0)
        return xp.where(better, value, best), xp.where(better, where, spot)

    # the last axis first: of equal maxima a row keeps its first, then the first row is kept
    for axis in reversed(range(windows.rank)):
        if work.space.loops:
            slab, spots = in_a_loop(work, windows, region, axis, [slab, spots], begin, step)
            continue
        state: State = ()
        for pick in taps(work, windows, region, axis):
            value, where = picked(work, slab, pick, first=axis), picked(work, spots, pick, first=axis)
            state = step(state, value, where) if state else begin(value, where)
        slab, spots = state
    return slab, spots


def ties(work: Workspace, windows: Windows, region: Region, slab: Array) -> Array:
    """Count the pixels of each window that are its maximum; none where that is NaN."""
    inside = slab_places(work, windows, region) >= 0
    count = work.xp.astype(inside, work.sums)
    for axis in reversed(range(windows.rank)):
        picks = list(taps(work, windows, region, axis))
        values = [picked(work, slab, pick, first=axis) for pick in picks]
        best, total = functools.reduce(work.xp.maximum, values), None
        for pick, value in zip(picks, values, strict=True):
            total = work.add_where(f"ties {axis}", total, value == best, picked(work, count, pick, first=axis))
        slab, count = best, total
    return count


# --- norms ----------------------------------------------------------------------------------------


def power(xp: Any, base: Array, p: float) -> Array:
    """Take a power of numbers not below 0; the commonest ones by operations whose bits are the same anywhere."""
    exact = {0: xp.ones_like, 0.5: xp.sqrt, 1: xp.positive, 2: xp.square, 3: lambda base: xp.square(base) * base}
    return exact[p](base) if p in exact else xp.pow(base, p)


def norm_share(work: Workspace, value: Array, norm: Array, share: Array, p: float) -> Array:
    """Give what pixels get of the gradients of windows that read them, by the slope of their norms, none of them 0."""
    xp = work.xp
    if p == math.inf:
        slope = xp.where(value == value, xp.astype(xp.abs(value) == norm, work.sums), value)  # of NaN not 0, but NaN
    else:
        ratio = xp.abs(value) / norm
        slope = power(xp, xp.where(value == 0, xp.ones_like(ratio), ratio), p - 1)  # set to 0 below
    share = share * work.space.sign(value) * slope
    return xp.where(value == 0, xp.zeros_like(share), share)
