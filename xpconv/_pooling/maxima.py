"""Max pooling: the largest pixel of each window, where it is, and its gradient, which goes to it alone.

    y[o] = max over k of x[o, k]        dx[i] = sum over o whose maximum is pixel i of dy[o]

The first NaN of a window is its only maximum. Of equal maxima the first in row-major order is taken (``ties="first"``),
or each gets the whole gradient (``"all"``), or an equal share (``"split"``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import is_kind, least, native
from xpconv._arrays.scatter import check_places
from xpconv._arrays.types import Array
from xpconv._arrays.views import fresh
from xpconv._engine.noted import Notes
from xpconv._engine.repeat import repeats
from xpconv._engine.results import Result
from xpconv._pooling import gathered, known, looped, portable, whole
from xpconv._pooling.argmax import finding, first_maxima
from xpconv._pooling.compiled import Loops, possible, rows_apart, share
from xpconv._pooling.compiled_forward import MAXIMA, Forward
from xpconv._pooling.lines import Pick
from xpconv._pooling.plan import Plan
from xpconv._pooling.reduce import Rule, pixels_of, reduced
from xpconv._pooling.routes import Routes
from xpconv._pooling.sweep import cut, images_apart, reducing, sweep
from xpconv._pooling.windows import Windows
from xpconv._shapes.cuts import slices
from xpconv._shapes.geometry import Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.workspace import Workspace


def max_pool(call: Call, windows: Windows, x: Array, indices: bool = False) -> tuple[Array, ...]:
    """(N, *I, C) -> (N, *O, C): the maxima, and with `indices` their places in the plane; -1 where there is none."""
    fill = least(call.xp, native(x.dtype))
    calls = (call, call.in_dtype(call.space.index_dtype)) if indices else (call,)
    if call.traits.buffers:
        return _on_numpy(calls, windows, x, fill)
    if indices or not windows.strided:
        portable.check_places(call, windows)

    def tile(work: Workspace, region: Region, own: slice) -> list[Array]:
        slab = portable.slab(work, windows, region, x[..., own], fill)
        if windows.strided and not indices:
            return [portable.combined(work, "maximum", windows, region, slab)]
        best, place = portable.first_maxima(work, windows, region, slab)
        if windows.strided:
            best = portable.combined(work, "maximum", windows, region, slab, loop=True)
        return [best, work.space.clip(place, -1, None)][: 1 + indices]

    results = [Result.of(one, windows.output_shape) for one in calls]
    if gathered.max_pool(call, windows, x, results):
        return tuple(result.array() for result in results)
    found = portable.over_output(call, windows, tile, results, 12 if indices else 4)
    if windows.taps == 1 and not call.traits.mutable:  # the result may be a slice of the images
        found = [fresh(call.xp, array) for array in found]
    return tuple(found)


def max_pool_again(call: Call, plan: Plan, x: Array) -> Array:
    """(N, *I, C) -> (N, *O, C): the maxima, in the calls of loops that are kept."""
    found = repeats.perform(_note, call, plan, [x]) if plan.noted else None
    return max_pool(call, plan.windows, x)[0] if found is None else found


def max_pool_vjp_again(call: Call, plan: Plan, dy: Array, x: Array, ties: str) -> Array:
    """(N, *O, C), (N, *I, C) -> (N, *I, C): the gradient of the images, in the calls of loops that are kept."""
    found = repeats.perform(_note_gradient, call, plan, [dy, x]) if plan.noted and ties == "first" else None
    return max_pool_vjp(call, plan.windows, dy, x, ties=ties) if found is None else found


def max_pool_vjp(call: Call, windows: Windows, dy: Array, x: Array, *, ties: str = "first") -> Array:
    """(N, *O, C), (N, *I, C) -> (N, *I, C): the gradient of the images, which may have another dtype than dy."""
    if call.traits.buffers:
        dx = Routes(call, windows, dy, x, ties).gradient()
        if dx is not None:
            return dx
    fill, real = least(call.xp, native(x.dtype)), is_kind(call.xp, native(x.dtype), "real floating")
    if call.space.loops and ties == "first" and windows.batch:  # found in loops, and put at once
        return max_pool_vjp_at(call, windows, dy, max_pool(call, windows, x, indices=True)[1])
    if looped.serves(call, windows):
        portable.check_places(call, windows)
        return looped.max_pool_vjp(call, windows, dy, x, fill, ties)
    compared = portable.comparing(call, x)
    dx = whole.max_pool_vjp(call, windows, dy, x, compared, ties)
    if dx is None and ties == "first":
        dx = gathered.max_pool_vjp(call, windows, dy, x)
    if dx is not None:
        return dx
    portable.check_places(call, windows)

    def tile(work: Workspace, readers: Region, own: slice) -> portable.Gradient:
        slab = portable.slab(compared, windows, readers, x[..., own], fill)
        best, spot = portable.first_maxima(compared, windows, readers, slab)
        shares = portable.gradients(work, readers, dy[..., own], call.lens)
        if ties == "split":
            shares = shares / call.space.clip(portable.ties(work, windows, readers, slab), 1, None)

        def gradient(pixels: portable.Pixels) -> Array:
            place, value = pixels.places(), pixels.of(slab)

            def hits(picks: tuple[Pick, ...]) -> Array:
                hit = portable.picked(work, spot, *picks) == place
                if ties == "first":
                    return hit
                top = portable.picked(work, best, *picks)
                return (value == top) | (hit & (top != top)) if real else value == top

            return pixels.sum(shares, hits)

        return gradient

    return portable.over_input(call, windows, tile, Result.of(call, windows.input_shape), 12)


def max_pool_vjp_at(call: Call, windows: Windows, dy: Array, places: Array) -> Array:
    """(N, *O, C), (N, *O, C) -> (N, *I, C): the gradient of the images, where the places of the maxima are known."""
    if windows.strided and all(line.stride >= line.span for line in windows.lines):
        return known.put_apart(call, windows, dy, places)
    if call.traits.buffers:
        dx = known.on_numpy(call, windows, dy, places)
        return known.by_comparison(call, windows, dy, places) if dx is None else dx
    check_places(call.name, call.space, places, math.prod(windows.input))
    if call.space.adds_in_order:
        return known.add_in_order(call, windows, dy, places)
    dx = whole.max_pool_vjp_at(call, windows, dy, places)
    dx = gathered.max_pool_vjp(call, windows, dy, None, places) if dx is None else dx
    return known.by_comparison(call, windows, dy, places) if dx is None else dx


def _on_numpy(calls: tuple[Call, ...], windows: Windows, x: Array, fill: Any) -> tuple[Array, ...]:
    call, indices = calls[0], len(calls) > 1
    found = tuple(one.space.empty(windows.output_shape, one.arithmetic.result, one.layout) for one in calls)
    if not windows.batch:
        return found
    pixels, best, *places = x, *found
    if call.layout == "channels_first":
        windows, (pixels, best, *places) = images_apart(call, windows, x, *found)
    if possible(call) and _in_loops(call, windows, (pixels, best, *places), fill):
        return found
    rule, size = Rule(np.maximum, native(x.dtype), fill), x.dtype.itemsize
    cuts = cut(call, windows, *(finding(windows, size) if indices else reducing(windows, size, size)))

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


def _in_loops(call: Call, windows: Windows, arrays: tuple[Array, ...], fill: Any, notes: Notes | None = None) -> bool:
    """(N, *I, C) -> (N, *O, C), and the places if there is an array for them; say whether loops served."""
    pixels, best, *places = arrays
    loops = Forward.of(MAXIMA, call, windows, pixels, best)
    spots = Loops.of("places", call, windows, pixels) if places else None
    if loops is None or (places and spots is None):
        return False

    def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
        assert isinstance(work, BufferedWorkspace)
        loops.maxima(work, region, pixels, best, fill)
        if spots is not None:
            spots.places(work, region, pixels, places[0])

    share(call, windows, rows_apart(call, windows, noted=notes is not None), step, notes)
    return True


def _note(call: Call, plan: Plan, notes: Notes, arrays: list[Array]) -> Array | None:
    """Note the maxima in loops."""
    found: Array = call.space.empty(plan.windows.output_shape, call.arithmetic.result, call.layout)
    notes.know(found)
    windows, (pixels, best) = images_apart(call, plan.windows, arrays[0], found)
    fill = least(call.xp, native(pixels.dtype))
    return found if _in_loops(call, windows, (pixels, best), fill, notes) else None


def _note_gradient(call: Call, plan: Plan, notes: Notes, arrays: list[Array]) -> Array | None:
    """Note the gradient in loops, to first maxima."""
    dy, x = arrays
    return Routes(call, plan.windows, dy, x, "first", notes).gradient()
