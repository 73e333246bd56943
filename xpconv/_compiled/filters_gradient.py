"""Loops of a weight's gradient with many filters: numbers of windows meet vectors of the output's gradient.

A band of rows is laid out (`rows.copy_row`), so many that the products of a few numbers of a window and sixteen filters
are summed in registers for some hundred windows, through all its rows. Where a block of filters is whole the gradient
is read where it lies. Arrays are contiguous, shapes those of three spatial axes; ``place`` as in `rows`, with the rows
of windows in a band last; ``room`` is work memory. There is one group.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, fma, load, splat, store
from xpconv._compiled.rows import BLOCK, copy_row, lay_gradient, row_of

Array = Any

NEAR = 2 * BLOCK  # filters up to which the gradients of a whole block are read where they lie, in a row of lines


def weight_grad(x: Array, g: Array, w: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (n, OD, OH, OW, F) -> w (B, KD, KH, KW, C·16): the windows times the gradient, summed."""
    images, planes, rows, columns, filters = g.shape
    channels, band = x.shape[4], min(place[12], g.shape[2])
    deep, high, wide = w.shape[1], w.shape[2], w.shape[3]
    grads, sums = g.reshape(-1), w.reshape(-1)
    count = deep * high * wide * channels
    lines = (band - 1) * place[5] + (high - 1) * place[6] + 1
    across = (columns - 1) * place[8] + (wide - 1) * place[9] + 1
    slot = across * channels
    taps, spots = np.empty(count, np.intp), np.empty(band * columns, np.intp)
    for e in range(count):
        tap = e // channels
        row = tap // (high * wide) * lines + tap // wide % high * place[6]
        taps[e] = row * slot + tap % wide * place[9] * channels + e % channels
    for q in range(band * columns):
        spots[q] = q // columns * place[5] * slot + q % columns * place[8] * channels
    ring = band * columns * BLOCK  # the gradients of a block that is not whole come before
    for c in range(sums.size):
        sums[c] = 0
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for first in range(0, rows, band):
            many = min(band, rows - first)
            for d in range(deep):
                for r in range((many - 1) * place[5] + (high - 1) * place[6] + 1):
                    y, v = p * place[2] + place[1] + d * place[3], first * place[5] + r + place[4]
                    source = row_of(x, place[0] + n, y, v)
                    copy_row(room, ring + (d * lines + r) * slot, x, source, across, place)
            for block in range((filters + BLOCK - 1) // BLOCK):
                real = min(BLOCK, filters - block * BLOCK)
                given = (line * rows + first) * columns * filters + block * BLOCK
                where = ring, block * count * BLOCK, many * columns
                if real == BLOCK and filters <= NEAR:
                    sum_block(sums, room, taps, spots, grads, (*where, given, filters))
                    continue
                lay_gradient(room, grads, given, many * columns, filters, real)
                if real > LANES:
                    sum_block(sums, room, taps, spots, room, (*where, 0, BLOCK))
                else:
                    sum_half(sums, room, taps, spots, room, (*where, 0, BLOCK))


def sum_block(
    sums: Array, room: Array, taps: Array, spots: Array, grads: Array, where: tuple[int, int, int, int, int]
) -> None:
    """Add the products of a band, four numbers of a window at a time; of the last one they may be taken again.

    ``where``: the band, the block's sums, how many windows, the gradient of the first one and the distance to the next.
    """
    base, target, count, given, step = where
    last = taps.size - 1
    for e in range(0, taps.size, 4):
        e1, e2, e3 = min(e + 1, last), min(e + 2, last), min(e + 3, last)
        at0, at1, at2, at3 = base + taps[e], base + taps[e1], base + taps[e2], base + taps[e3]
        z0, z1, z2, z3 = target + e * BLOCK, target + e1 * BLOCK, target + e2 * BLOCK, target + e3 * BLOCK
        p0, q0, p1, q1 = load(sums, z0), load(sums, z0 + LANES), load(sums, z1), load(sums, z1 + LANES)
        p2, q2, p3, q3 = load(sums, z2), load(sums, z2 + LANES), load(sums, z3), load(sums, z3 + LANES)
        c = given
        for j in range(count):
            spot = spots[j]
            u, v = load(grads, c), load(grads, c + LANES)
            s = splat(room, at0 + spot)
            p0, q0 = fma(s, u, p0), fma(s, v, q0)
            s = splat(room, at1 + spot)
            p1, q1 = fma(s, u, p1), fma(s, v, q1)
            s = splat(room, at2 + spot)
            p2, q2 = fma(s, u, p2), fma(s, v, q2)
            s = splat(room, at3 + spot)
            p3, q3 = fma(s, u, p3), fma(s, v, q3)
            c += step
        store(sums, z0, p0)
        store(sums, z0 + LANES, q0)
        store(sums, z1, p1)
        store(sums, z1 + LANES, q1)
        store(sums, z2, p2)
        store(sums, z2 + LANES, q2)
        store(sums, z3, p3)
        store(sums, z3 + LANES, q3)


def sum_half(
    sums: Array, room: Array, taps: Array, spots: Array, grads: Array, where: tuple[int, int, int, int, int]
) -> None:
    """Do the same for half a block of filters, eight numbers of a window at a time."""
    base, target, count, given, step = where
    last = taps.size - 1
    for e in range(0, taps.size, 8):
        e1, e2, e3, e4 = min(e + 1, last), min(e + 2, last), min(e + 3, last), min(e + 4, last)
        e5, e6, e7 = min(e + 5, last), min(e + 6, last), min(e + 7, last)
        at0, at1, at2, at3 = base + taps[e], base + taps[e1], base + taps[e2], base + taps[e3]
        at4, at5, at6, at7 = base + taps[e4], base + taps[e5], base + taps[e6], base + taps[e7]
        z0, z1, z2, z3 = target + e * BLOCK, target + e1 * BLOCK, target + e2 * BLOCK, target + e3 * BLOCK
        z4, z5, z6, z7 = target + e4 * BLOCK, target + e5 * BLOCK, target + e6 * BLOCK, target + e7 * BLOCK
        p0, p1, p2, p3 = load(sums, z0), load(sums, z1), load(sums, z2), load(sums, z3)
        p4, p5, p6, p7 = load(sums, z4), load(sums, z5), load(sums, z6), load(sums, z7)
        c = given
        for j in range(count):
            spot = spots[j]
            u = load(grads, c)
            p0, p1 = fma(splat(room, at0 + spot), u, p0), fma(splat(room, at1 + spot), u, p1)
            p2, p3 = fma(splat(room, at2 + spot), u, p2), fma(splat(room, at3 + spot), u, p3)
            p4, p5 = fma(splat(room, at4 + spot), u, p4), fma(splat(room, at5 + spot), u, p5)
            p6, p7 = fma(splat(room, at6 + spot), u, p6), fma(splat(room, at7 + spot), u, p7)
            c += step
        store(sums, z0, p0)
        store(sums, z1, p1)
        store(sums, z2, p2)
        store(sums, z3, p3)
        store(sums, z4, p4)
        store(sums, z5, p5)
        store(sums, z6, p6)
        store(sums, z7, p7)


PARTS = (sum_block, sum_half)
