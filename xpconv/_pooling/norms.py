"""Lp pooling: the p-norm of each window, over the taps inside the image.

    y[o] = (sum over k of abs(x[o, k]) ** p) ** (1 / p)
    dx[i] = sum over o that read i of dy[o] * sign(x[i]) * (abs(x[i]) / y[o]) ** (p - 1), and 0 where x[i] is 0

Each window is scaled by its largest magnitude, so that no power overflows or vanishes. For p = infinity equal largest
magnitudes share a window's gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from xpconv._arrays.call import Call
from xpconv._arrays.types import Array
from xpconv._engine.results import Result
from xpconv._pooling import compiled_norms, looped, portable, whole
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Region
from xpconv._work.workspace import Workspace


def lp_pool(call: Call, windows: Windows, x: Array, p: float) -> Array:
    """(N, *I, C) -> (N, *O, C): the norms."""
    if call.traits.buffers and (y := compiled_norms.lp_pool(call, windows, x, p)) is not None:
        return y

    def tile(work: Workspace, region: Region, own: slice) -> list[Array]:
        return [_norm(work, windows, region, portable.slab(work, windows, region, x[..., own]), p)]

    return portable.over_output(call, windows, tile, [Result.of(call, windows.output_shape)], 10)[0]


def lp_pool_vjp(call: Call, windows: Windows, dy: Array, x: Array, p: float) -> Array:
    """(N, *O, C), (N, *I, C) -> (N, *I, C): the gradient of the images."""
    xp = call.xp
    if looped.serves(call, windows):
        return looped.lp_pool_vjp(call, windows, dy, x, p, _norm)
    dx = whole.lp_pool_vjp(call, windows, dy, x, p)
    if dx is None and call.traits.buffers:
        dx = compiled_norms.lp_pool_vjp(call, windows, dy, x, p)
    if dx is not None:
        return dx

    def tile(work: Workspace, readers: Region, own: slice) -> portable.Gradient:
        slab = portable.slab(work, windows, readers, x[..., own])
        shares = portable.gradients(work, readers, dy[..., own])
        norm, there = _norm(work, windows, readers, slab, p), portable.existing(work, windows, readers)
        norm = xp.where(norm > 0, norm, xp.ones_like(norm))
        if p == math.inf:

            def counted(count: Array, values: Sequence[Array]) -> Array:
                return count + xp.astype(xp.abs(values[0]) == norm, work.sums)

            none = work.space.zeros(norm.shape, work.sums)
            count = portable.fold(work, windows, readers, [slab], counted, none)
            shares = shares / work.space.clip(count, 1, None)

        def gradient(pixels: portable.Pixels) -> Array:
            value, total = pixels.of(slab), None
            for picks in pixels.readings():
                largest = portable.picked(work, norm, *picks)
                share = portable.norm_share(work, value, largest, portable.picked(work, shares, *picks), p)
                if there is not None:  # infinity times a gradient of 0 would be NaN
                    share = xp.where(portable.picked(work, there, *picks), share, xp.zeros_like(share))
                total = share if total is None else total + share
            return total

        return gradient

    return portable.over_input(call, windows, tile, Result.of(call, windows.input_shape), 16)


def _norm(work: Workspace, windows: Windows, region: Region, slab: Array, p: float) -> Array:
    """(n, *slab, C) -> (n, *windows, C): the norms."""
    xp = work.xp
    largest = portable.combined(work, "maximum", windows, region, xp.abs(slab), loop=True)
    if p == math.inf:
        return largest
    scale = xp.where((largest > 0) & (largest < math.inf), largest, xp.ones_like(largest))

    def step(total: Array | None, values: Sequence[Array]) -> Array:
        power = portable.power(xp, xp.abs(values[0]) / scale, p)
        return power if total is None else total + power

    begin = xp.zeros_like(scale) if work.space.loops else None  # elsewhere zeros are a kernel of their own
    total = portable.fold(work, windows, region, [slab], step, begin)
    return scale * portable.power(xp, total, 1 / p)
