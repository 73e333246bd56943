"""Pooling where arrays are traced and a loop can stand in the graph: its size does not depend on that of the windows.

A tap of all windows is a slice that begins where the loop's number says. A gradient goes through the taps from the last
to the first, so that a pixel adds up what the windows that read it send in the windows' order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast
from xpconv._arrays.types import Array
from xpconv._pooling import portable
from xpconv._pooling.loops import tap_at, tap_starts
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Region
from xpconv._work.workspace import Workspace

Share = Callable[[Any, Sequence[Array]], Array]  # of a tap's number and pixels: what each window sends there


def serves(call: Call, windows: Windows) -> bool:
    """Say whether a gradient is taken in a loop."""
    return call.space.loops and windows.strided and windows.batch > 0


def whole(windows: Windows) -> Region:
    """Give the region of all windows."""
    return ((0, windows.batch), *((0, n) for n in windows.output))


def spread(call: Call, work: Workspace, windows: Windows, arrays: Sequence[Array], share: Share) -> Array:
    """(N, *I, C): add up for each pixel what the windows that read it send; `arrays` are slabs of all windows."""
    xp, region = call.xp, whole(windows)
    reaches = windows.reach(region)[1:]
    sizes = [max(high, n) - low for (low, high), n in zip(reaches, windows.input, strict=True)]
    total = work.space.zeros((windows.batch, *sizes, windows.channels), work.sums)

    def step(number: Any, total: Array) -> Array:
        tap = windows.taps - 1 - number
        starts = tap_starts(windows, tap)
        values = [tap_at(work, windows, region, array, starts) for array in arrays]
        own = _apart(work, windows, share(tap, values))
        there = work.space.part(total, starts, own.shape)
        return work.space.put_part(total, there + own, starts)

    total = work.space.loop(0, windows.taps, step, total)
    inner = (slice(-low, n - low) for (low, _), n in zip(reaches, windows.input, strict=True))
    return cast(xp, total[(slice(None), *inner, slice(None))], call.arithmetic.result)


def _apart(work: Workspace, windows: Windows, share: Array) -> Array:
    """(N, *O, C) -> the same with zeros in between, as far apart as the windows."""
    xp = work.xp
    for axis, line in enumerate(windows.lines, start=1):
        if line.stride == 1 or share.shape[axis] == 1:
            continue
        *before, size = share.shape[: axis + 1]
        behind = share.shape[axis + 1 :]
        zeros = work.space.zeros((*before, size, line.stride - 1, *behind), share.dtype)
        share = xp.concat([xp.expand_dims(share, axis=axis + 1), zeros], axis=axis + 1)
        share = xp.reshape(share, (*before, size * line.stride, *behind))
        share = share[(*(slice(None),) * axis, slice((size - 1) * line.stride + 1))]
    return share


def fold(call: Call, windows: Windows, cols: Array) -> Array:
    """(N, *O, *K, C) -> (N, *I, C): add windows up."""
    work = Workspace(call.space, call.arithmetic)
    shape = (windows.batch, *windows.output, 1, windows.channels)
    cols = call.xp.reshape(cols, (*shape[:-2], windows.taps, windows.channels))

    def share(tap: Any, values: Sequence[Array]) -> Array:
        starts = (*(0 * tap,) * (windows.rank + 1), tap, 0 * tap)
        part = call.xp.reshape(work.space.part(cols, starts, shape), (*shape[:-2], windows.channels))
        return cast(call.xp, part, work.sums)

    return spread(call, work, windows, [], share)


def max_pool_vjp(call: Call, windows: Windows, dy: Array, x: Array, fill: Any, ties: str) -> Array:
    """(N, *O, C), (N, *I, C) -> (N, *I, C), for ties that are shared; NaN goes to the first of a window."""
    xp, region = call.xp, whole(windows)
    work, compared = Workspace(call.space, call.arithmetic), portable.comparing(call, x)
    slab = portable.slab(compared, windows, region, x, fill)
    best, spot = portable.first_maxima(compared, windows, region, slab)
    spots = portable.slab_places(work, windows, region)
    shares = portable.gradients(work, region, dy, call.lens)
    if ties == "split":
        inside = xp.broadcast_to(spots >= 0, slab.shape)

        def count(total: Array, values: Sequence[Array]) -> Array:
            return total + xp.astype((values[0] == best) & values[1], work.sums)

        none = work.space.zeros(best.shape, work.sums)
        shares = shares / work.space.clip(portable.fold(work, windows, region, [slab, inside], count, none), 1, None)

    def share(tap: Any, values: Sequence[Array]) -> Array:
        hit = (values[0] == best) | ((best != best) & (values[1] == spot))
        return xp.where(hit, shares, xp.zeros_like(shares))

    return spread(call, work, windows, [slab, xp.broadcast_to(spots, (1, *slab.shape[1:-1], 1))], share)


def lp_pool_vjp(call: Call, windows: Windows, dy: Array, x: Array, p: float, norm: Callable[..., Array]) -> Array:
    """(N, *O, C), (N, *I, C) -> (N, *I, C): the gradient of p-norms."""
    xp, region = call.xp, whole(windows)
    work = Workspace(call.space, call.arithmetic)
    slab = portable.slab(work, windows, region, x)
    shares = portable.gradients(work, region, dy)
    largest = norm(work, windows, region, slab, p)
    largest = xp.where(largest > 0, largest, xp.ones_like(largest))
    if p == math.inf:

        def count(total: Array, values: Sequence[Array]) -> Array:
            return total + xp.astype(xp.abs(values[0]) == largest, work.sums)

        none = work.space.zeros(largest.shape, work.sums)
        shares = shares / work.space.clip(portable.fold(work, windows, region, [slab], count, none), 1, None)

    def share(tap: Any, values: Sequence[Array]) -> Array:
        return portable.norm_share(work, values[0], largest, shares, p)

    return spread(call, work, windows, [slab], share)
