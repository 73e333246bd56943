"""Average pooling: the sum of each window, divided by its taps; a pixel's gradient is the sum of its windows' shares.

y[o] = sum over k of x[o, k] / taps[o]        dx[i] = sum over o that read i of dy[o] / taps[o]
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.types import Array
from xpconv._engine.noted import Notes
from xpconv._engine.repeat import repeats
from xpconv._engine.results import Result
from xpconv._pooling import compiled_spans, portable
from xpconv._pooling.compiled import effort, of_sums, share_of
from xpconv._pooling.compiled_averages import Averages
from xpconv._pooling.compiled_forward import AVERAGES, Forward
from xpconv._pooling.plan import Plan
from xpconv._pooling.reduce import Rule, divisor, pixels_of, reduced
from xpconv._pooling.spread import spread_sum
from xpconv._pooling.sweep import Footprint, cut, images_apart, reducing, sweep
from xpconv._pooling.windows import Windows
from xpconv._shapes.cuts import slices
from xpconv._shapes.geometry import Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS
from xpconv._work.workspace import Workspace


def avg_pool(call: Call, windows: Windows, x: Array, padded: bool = True) -> Array:
    """(N, *I, C) -> (N, *O, C): the means; with `padded` taps in the padding are counted."""
    if call.traits.buffers:
        return _on_numpy(call, windows, x, padded)

    def tile(work: Workspace, region: Region, own: slice) -> list[Array]:
        slab = portable.slab(work, windows, region, x[..., own], lens=call.lens)
        total = portable.combined(work, "add", windows, region, slab)
        return [total / portable.divisor(work, windows, region, padded)]

    return portable.over_output(call, windows, tile, [Result.of(call, windows.output_shape)], 4)[0]


def avg_pool_again(call: Call, plan: Plan, x: Array) -> Array:
    """(N, *I, C) -> (N, *O, C): the means, in the calls of loops that are kept."""
    found = repeats.perform(_note, call, plan, [x]) if plan.noted else None
    return avg_pool(call, plan.windows, x, plan.padded) if found is None else found


def avg_pool_vjp_again(call: Call, plan: Plan, dy: Array) -> Array:
    """(N, *O, C) -> (N, *I, C): the gradient of the images, in the calls of loops that are kept."""
    found = repeats.perform(_note_gradient, call, plan, [dy]) if plan.noted else None
    return avg_pool_vjp(call, plan.windows, dy, plan.padded) if found is None else found


def avg_pool_vjp(call: Call, windows: Windows, dy: Array, padded: bool = True) -> Array:
    """(N, *O, C) -> (N, *I, C): the gradient of the images."""
    if call.traits.buffers:
        return _gradient_on_numpy(call, windows, dy, padded)

    def tile(work: Workspace, readers: Region, own: slice) -> portable.Gradient:
        shares = portable.gradients(work, readers, dy[..., own], call.lens)
        shares = shares / portable.divisor(work, windows, readers, padded)

        def gradient(pixels: portable.Pixels) -> Array:
            if not windows.strided:  # they are read by windows as windows read them, one axis after another
                return portable.combined(work, "add", windows.turned, pixels.units, shares)
            total = None
            for picks in pixels.readings():
                share = portable.picked(work, shares, *picks)
                total = share if total is None else work.call("sum", "add", total, share)
            return total

        return gradient

    return portable.over_input(call, windows, tile, Result.of(call, windows.input_shape), 6)


def _on_numpy(call: Call, windows: Windows, x: Array, padded: bool) -> Array:
    sums, absolute = np.dtype(call.arithmetic.sums), call.measures
    y: Array = call.space.empty(windows.output_shape, call.arithmetic.result, call.layout)
    if not windows.batch:
        return y
    windows, (pixels, target) = images_apart(call, windows, x, y)
    if (loops := Forward.of(AVERAGES, call, windows, pixels, target)) is not None:
        loops.means(call, pixels, target, padded)
        return y
    rule = Rule(np.add, sums, absolute=absolute)
    cuts = cut(call, windows, *reducing(windows, x.dtype.itemsize, sums.itemsize, absolute))

    def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
        assert isinstance(work, BufferedWorkspace)
        out = target[(*slices(region)[:-1], own)]
        place = out if sums == out.dtype else None
        total = reduced(work, rule, pixels_of(pixels[..., own], part, region), part, region, place)[0]
        np.divide(total, divisor(part, region, padded, sums), out=out, casting="same_kind")

    sweep(call, windows, cuts, step, 2)
    return y


def _note(call: Call, plan: Plan, notes: Notes, arrays: list[Array]) -> Array | None:
    """Note the means in loops."""
    found: Array = call.space.empty(plan.windows.output_shape, call.arithmetic.result, call.layout)
    notes.know(found)
    windows, (pixels, target) = images_apart(call, plan.windows, arrays[0], found)
    loops = Forward.of(AVERAGES, call, windows, pixels, target)
    if loops is None:
        return None
    loops.means(call, pixels, target, plan.padded, notes)
    return found


def _note_gradient(call: Call, plan: Plan, notes: Notes, arrays: list[Array]) -> Array | None:
    """Note the gradient in loops."""
    return _gradient_on_numpy(call, plan.windows, arrays[0], plan.padded, notes)


def _gradient_on_numpy(call: Call, windows: Windows, dy: Array, padded: bool, notes: Notes | None = None) -> Array:
    sums, absolute = np.dtype(call.arithmetic.sums), call.measures
    dx: Array = call.space.empty(windows.input_shape, call.arithmetic.result, call.layout)
    if notes is not None:
        notes.know(dx)
    if not windows.batch:
        return dx
    windows, (grads, target) = images_apart(call, windows, dy, dx)
    wide = sums.itemsize
    largest = 0 if windows.strided else 2 * wide
    meeting = windows.overlap
    needs = Footprint(pixels=wide, stages=wide, largest=largest, last_first=True, gradient=True, meeting=meeting)
    cuts = cut(call, windows, needs)
    loops = Averages.of(call, windows, padded, grads, target) if cuts.channels == windows.channels else None
    long = compiled_spans.sum_along if compiled_spans.serves(call, windows, grads, target) else None
    if loops is not None:  # in which a thread pays earlier than in calls
        whole = notes is not None and cuts.tile[1:] == cuts.shape[1:]  # which the loops always serve
        shared = share_of(windows, call, loops.needs(), 2 * of_sums(windows), noted=whole)  # every element is written
        images = shared.images if shared.whole else min(cuts.tile[0], shared.images)
        tile, workers = (images, *cuts.tile[1:]), shared.workers
        if not shared.whole:
            most = call.options.room // (needs.of(windows, tile, windows.channels) + UFUNC_BUFFERS)
            workers = max(1, min(workers, most))
        cuts = replace(cuts, tile=tile, workers=workers)

    def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
        assert isinstance(work, BufferedWorkspace)
        box, readers = part.box(region), part.within(part.readers(region))
        out = target[(*slices(box)[:-1], own)]
        if any(low >= high for low, high in readers):
            work.do(np.copyto, out, 0)
            return
        if loops is not None and loops.serves(readers, box):
            loops.gradient(work, readers, box, grads, target)
            return
        if notes is not None:
            notes.complete = False
        gradient = grads[(*slices(readers)[:-1], own)]
        shares = work.buffer("shares", gradient.shape, sums)
        if absolute:
            gradient = np.abs(gradient, out=shares)
        np.divide(gradient, divisor(part, readers, padded, sums), out=shares, dtype=sums)
        total = spread_sum(work, shares, part, readers, box, out if sums == out.dtype else None, long)
        if total is not out:
            np.copyto(out, total, casting="same_kind")

    sweep(call, windows, cuts, step, 1 if loops is None else effort(windows, cuts), notes)
    return dx
