"""Loops of the gradient of a depthwise layer's weight whose kernels have three taps in a row.

Eight channels of a row of windows are taken before the next eight, so that the sums of three rows of taps stay in nine
registers from one end of the row to the other. At stride 1 a pixel is read once for the three windows that share it; at
a stride each window reads its own. The pixels of the next channels are asked for beforehand, as they lie apart. Arrays
are contiguous, shapes those of three spatial axes; ``place`` as in `rows`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, add, fma, load, prefetch, store, zeros
from xpconv._compiled.rows import list_rows

Array = Any
Numbers = tuple[int, ...]

WIDE = 3  # taps of a row
AHEAD = 2 * LANES  # channels on that are asked for: those of the next line of the cache


def weight_grad_of_threes(x: Array, g: Array, w: Array, place: Array) -> None:
    """(N, D, H, W, C), (n, OD, OH, OW, C) -> w (KD, KH, 3, 1, V·8): the windows times the gradient, added to zeros."""
    images, planes, rows, columns, channels = g.shape
    deep, high, size, width = w.shape[0], w.shape[1], w.shape[4], x.shape[3]
    pixels, grads, sums = x.reshape(-1), g.reshape(-1), w.reshape(-1)
    lead, step, gap = place[7], place[8], place[9]
    lines, taps = np.empty(deep * high, np.intp), np.empty(deep * high, np.intp)
    begin = min(max(0, (step - 1 - lead) // step), columns)  # from here on windows have all their taps in the row
    end = max(min(columns, (width - 1 - lead - (WIDE - 1) * gap) // step + 1), begin)
    sizes = channels, size, width, columns
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for i in range(rows):
            many = list_rows(lines, taps, (deep, high, WIDE), (n, p, i), x, place)
            given = (line * rows + i) * columns * channels
            e = 0
            while e + WIDE <= many:
                at, goals = (lines[e], lines[e + 1], lines[e + 2]), (taps[e], taps[e + 1], taps[e + 2])
                if step == 1 and gap == 1:
                    _shared(pixels, grads, sums, at, goals, given, (lead, *sizes))
                else:
                    _each(pixels, grads, sums, at, goals, given, (lead, begin, end, step, gap, *sizes))
                e += WIDE
            while e < many:  # at an edge of the image
                _row(pixels, grads, sums, lines[e], taps[e], given, (lead, begin, end, step, gap, *sizes))
                e += 1


def _shared(pixels: Array, grads: Array, sums: Array, at: Numbers, goals: Numbers, given: int, sizes: Numbers) -> None:
    """Sum over a row of windows at stride 1: three rows of taps, pixel by pixel."""
    lead, channels, size, width, columns = sizes
    zero = zeros(sums)
    # column u meets windows u - lead, u - lead - 1 and u - lead - 2, all of which are there from `inner` to `outer`
    low, high = max(0, lead), min(width, lead + columns + WIDE - 1)
    inner, outer = max(low, lead + WIDE - 1), min(high, lead + columns)
    outer = max(inner, outer)
    for k in range(0, size, LANES):
        c = min(k, channels - LANES)
        p0, p1, p2, q0, q1, q2, r0, r1, r2 = zero, zero, zero, zero, zero, zero, zero, zero, zero
        for u in range(low, high):
            if inner <= u < outer:
                continue
            a, j = c + u * channels, u - lead
            x0, x1, x2 = load(pixels, at[0] + a), load(pixels, at[1] + a), load(pixels, at[2] + a)
            if j < columns:
                s = load(grads, given + c + j * channels)
                p0, q0, r0 = fma(x0, s, p0), fma(x1, s, q0), fma(x2, s, r0)
            if 0 < j <= columns:
                s = load(grads, given + c + (j - 1) * channels)
                p1, q1, r1 = fma(x0, s, p1), fma(x1, s, q1), fma(x2, s, r1)
            if j > 1:
                s = load(grads, given + c + (j - 2) * channels)
                p2, q2, r2 = fma(x0, s, p2), fma(x1, s, q2), fma(x2, s, r2)
        if inner < outer:
            spot, first = given + c + (inner - lead) * channels, c + inner * channels
            g1, g2 = load(grads, spot - channels), load(grads, spot - 2 * channels)
            a0, a1, a2 = at[0] + first, at[1] + first, at[2] + first
            for _ in range(inner, outer):
                g0, x0 = load(grads, spot), load(pixels, a0)
                p0, p1, p2 = fma(x0, g0, p0), fma(x0, g1, p1), fma(x0, g2, p2)
                x0 = load(pixels, a1)
                q0, q1, q2 = fma(x0, g0, q0), fma(x0, g1, q1), fma(x0, g2, q2)
                x0 = load(pixels, a2)
                r0, r1, r2 = fma(x0, g0, r0), fma(x0, g1, r1), fma(x0, g2, r2)
                prefetch(pixels, a2 + AHEAD)
                prefetch(grads, spot + AHEAD)
                a0, a1, a2, spot = a0 + channels, a1 + channels, a2 + channels, spot + channels
                g1, g2 = g0, g1
        _give(sums, goals[0] * size + k, size, p0, p1, p2)
        _give(sums, goals[1] * size + k, size, q0, q1, q2)
        _give(sums, goals[2] * size + k, size, r0, r1, r2)


def _each(pixels: Array, grads: Array, sums: Array, at: Numbers, goals: Numbers, given: int, sizes: Numbers) -> None:
    """Sum over a row of windows: three rows of taps, window by window."""
    lead, begin, end, step, gap, channels, size, width, columns = sizes
    zero, beside, apart = zeros(sums), gap * channels, step * channels
    for k in range(0, size, LANES):
        c = min(k, channels - LANES)
        p0, p1, p2, q0, q1, q2, r0, r1, r2 = zero, zero, zero, zero, zero, zero, zero, zero, zero
        for j in range(columns):
            if begin <= j < end:
                continue
            u, s = j * step + lead, load(grads, given + c + j * channels)
            a0, a1, a2 = at[0] + c + u * channels, at[1] + c + u * channels, at[2] + c + u * channels
            if 0 <= u < width:
                p0, q0, r0 = fma(load(pixels, a0), s, p0), fma(load(pixels, a1), s, q0), fma(load(pixels, a2), s, r0)
            a0, a1, a2 = a0 + beside, a1 + beside, a2 + beside
            if 0 <= u + gap < width:
                p1, q1, r1 = fma(load(pixels, a0), s, p1), fma(load(pixels, a1), s, q1), fma(load(pixels, a2), s, r1)
            a0, a1, a2 = a0 + beside, a1 + beside, a2 + beside
            if 0 <= u + 2 * gap < width:
                p2, q2, r2 = fma(load(pixels, a0), s, p2), fma(load(pixels, a1), s, q2), fma(load(pixels, a2), s, r2)
        spot, first = given + c + begin * channels, c + (begin * step + lead) * channels
        a0, a1, a2 = at[0] + first, at[1] + first, at[2] + first
        for _ in range(begin, end):
            s = load(grads, spot)
            p0, p1 = fma(load(pixels, a0), s, p0), fma(load(pixels, a0 + beside), s, p1)
            p2, q0 = fma(load(pixels, a0 + 2 * beside), s, p2), fma(load(pixels, a1), s, q0)
            q1, q2 = fma(load(pixels, a1 + beside), s, q1), fma(load(pixels, a1 + 2 * beside), s, q2)
            r0, r1 = fma(load(pixels, a2), s, r0), fma(load(pixels, a2 + beside), s, r1)
            r2 = fma(load(pixels, a2 + 2 * beside), s, r2)
            prefetch(grads, spot + AHEAD)
            prefetch(pixels, a2 + AHEAD)
            prefetch(pixels, a2 + beside + AHEAD)
            a0, a1, a2, spot = a0 + apart, a1 + apart, a2 + apart, spot + channels
        _give(sums, goals[0] * size + k, size, p0, p1, p2)
        _give(sums, goals[1] * size + k, size, q0, q1, q2)
        _give(sums, goals[2] * size + k, size, r0, r1, r2)


def _row(pixels: Array, grads: Array, sums: Array, at: int, goal: int, given: int, sizes: Numbers) -> None:
    """Sum over a row of windows: a row of taps, those of every other window by themselves."""
    lead, begin, end, step, gap, channels, size, width, columns = sizes
    zero, beside, apart = zeros(sums), gap * channels, step * channels
    for k in range(0, size, LANES):
        c = min(k, channels - LANES)
        p0, p1, p2, q0, q1, q2 = zero, zero, zero, zero, zero, zero
        for j in range(columns):
            if begin <= j < end:
                continue
            u, s = j * step + lead, load(grads, given + c + j * channels)
            a = at + c + u * channels
            if 0 <= u < width:
                p0 = fma(load(pixels, a), s, p0)
            if 0 <= u + gap < width:
                p1 = fma(load(pixels, a + beside), s, p1)
            if 0 <= u + 2 * gap < width:
                p2 = fma(load(pixels, a + 2 * beside), s, p2)
        a, spot = at + c + (begin * step + lead) * channels, given + c + begin * channels
        for _ in range((end - begin) // 2):
            s = load(grads, spot)
            p0, p1 = fma(load(pixels, a), s, p0), fma(load(pixels, a + beside), s, p1)
            p2, s = fma(load(pixels, a + 2 * beside), s, p2), load(grads, spot + channels)
            a += apart
            q0, q1 = fma(load(pixels, a), s, q0), fma(load(pixels, a + beside), s, q1)
            q2 = fma(load(pixels, a + 2 * beside), s, q2)
            a += apart
            spot += 2 * channels
        if (end - begin) % 2 == 1:
            s = load(grads, spot)
            p0, p1 = fma(load(pixels, a), s, p0), fma(load(pixels, a + beside), s, p1)
            p2 = fma(load(pixels, a + 2 * beside), s, p2)
        _give(sums, goal * size + k, size, add(p0, q0), add(p1, q1), add(p2, q2))


def _give(sums: Array, at: int, size: int, p0: Any, p1: Any, p2: Any) -> None:
    """Add to the sums of three taps."""
    store(sums, at, add(load(sums, at), p0))
    store(sums, at + size, add(load(sums, at + size), p1))
    store(sums, at + 2 * size, add(load(sums, at + 2 * size), p2))


PARTS = (_give, _shared, _each, _row, weight_grad_of_threes)
