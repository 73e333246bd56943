"""Loops of convolutions with few channels in and many filters: a number of a pixel meets a vector of filters.

The sums of four windows and sixteen filters stay in registers, or those of eight windows where eight filters are left.
Rows are laid out beforehand (`rows.copy_row`). Arrays are contiguous, shapes those of three spatial axes; ``place`` as
in `rows`, ``room`` is work memory. Weights lie in blocks of filters, filled up with zeros. There is one group.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, flat, fma, load, splat, store
from xpconv._compiled.rows import BLOCK, bias_of, copy, copy_row, list_taps, row_of

Array = Any

EDGE = 8  # windows that are taken together at most
SIDE = EDGE * BLOCK  # numbers of work memory where results go before those that are wanted are picked


def forward(x: Array, w: Array, b: Array, z: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (B, KD, KH, KW, C·16), (F,) -> z (n, OD, OH, OW, F)."""
    images, planes, rows, columns, filters = z.shape
    channels = x.shape[4]
    deep, high, wide = w.shape[1], w.shape[2], w.shape[3]
    weights, sums = w.reshape(-1), flat(z)
    count, step = deep * high * wide * channels, place[8] * channels
    span = (high - 1) * place[6] + 1
    across = ((columns + EDGE - 1) // EDGE * EDGE - 1) * place[8] + (wide - 1) * place[9] + 1
    slot = across * channels
    merged = place[9] == 1  # a row's taps and their channels lie in a row
    run, runs = (wide * channels, 1) if merged else (channels, wide)
    sizes = (slot, 0, channels, run * BLOCK, 0, 1, 1)
    taps, at = np.empty(deep * high * runs, np.intp), np.empty(deep * high * runs, np.intp)
    image, plane = z.strides[0] // z.itemsize, z.strides[1] // z.itemsize
    height, window = z.strides[2] // z.itemsize, z.strides[3] // z.itemsize
    ring = BLOCK + SIDE
    for line in range(images * planes):
        n, p = line // planes, line % planes
        laid = 0
        for i in range(rows):
            fresh = max(laid, i * place[5])
            laid = i * place[5] + span
            for d in range(deep):
                for r in range(fresh, laid):
                    source = row_of(x, place[0] + n, p * place[2] + place[1] + d * place[3], r + place[4])
                    copy_row(room, ring + (d * span + r % span) * slot, x, source, across, place)
            many = list_taps(taps, at, (deep, high, runs), (p, i), x, place, sizes)
            for block in range((filters + BLOCK - 1) // BLOCK):
                first = block * BLOCK
                real = min(BLOCK, filters - first)
                bias_of(room, b, first, real, BLOCK)
                b0, b1 = load(room, 0), load(room, LANES)
                together = EDGE if real <= LANES else EDGE // 2
                for j in range(0, columns, together):
                    base = ring + j * step
                    target = n * image + p * plane + i * height + j * window + first
                    p0, p1, p2, p3 = b0, b0, b0, b0
                    if together == EDGE:
                        p4, p5, p6, p7 = b0, b0, b0, b0
                        for e in range(many):
                            source, tap = base + taps[e], block * count * BLOCK + at[e]
                            for c in range(source, source + run):
                                u = load(weights, tap)
                                p0 = fma(splat(room, c), u, p0)
                                p1 = fma(splat(room, c + step), u, p1)
                                p2 = fma(splat(room, c + 2 * step), u, p2)
                                p3 = fma(splat(room, c + 3 * step), u, p3)
                                p4 = fma(splat(room, c + 4 * step), u, p4)
                                p5 = fma(splat(room, c + 5 * step), u, p5)
                                p6 = fma(splat(room, c + 6 * step), u, p6)
                                p7 = fma(splat(room, c + 7 * step), u, p7)
                                tap += BLOCK
                        if real == LANES and columns - j >= EDGE:
                            store(sums, target, p0)
                            store(sums, target + window, p1)
                            store(sums, target + 2 * window, p2)
                            store(sums, target + 3 * window, p3)
                            store(sums, target + 4 * window, p4)
                            store(sums, target + 5 * window, p5)
                            store(sums, target + 6 * window, p6)
                            store(sums, target + 7 * window, p7)
                            continue
                        store(room, BLOCK, p0)
                        store(room, BLOCK + 8, p1)
                        store(room, BLOCK + 16, p2)
                        store(room, BLOCK + 24, p3)
                        store(room, BLOCK + 32, p4)
                        store(room, BLOCK + 40, p5)
                        store(room, BLOCK + 48, p6)
                        store(room, BLOCK + 56, p7)
                        for m in range(min(EDGE, columns - j)):
                            copy(sums, target, room, BLOCK + m * LANES, real)
                            target += window
                        continue
                    q0, q1, q2, q3 = b1, b1, b1, b1
                    for e in range(many):
                        source, tap = base + taps[e], block * count * BLOCK + at[e]
                        for c in range(source, source + run):
                            u, v = load(weights, tap), load(weights, tap + LANES)
                            s0, s1 = splat(room, c), splat(room, c + step)
                            s2, s3 = splat(room, c + 2 * step), splat(room, c + 3 * step)
                            p0, q0 = fma(s0, u, p0), fma(s0, v, q0)
                            p1, q1 = fma(s1, u, p1), fma(s1, v, q1)
                            p2, q2 = fma(s2, u, p2), fma(s2, v, q2)
                            p3, q3 = fma(s3, u, p3), fma(s3, v, q3)
                            tap += BLOCK
                    left = columns - j
                    if real == BLOCK:
                        store(sums, target, p0)
                        store(sums, target + LANES, q0)
                        if left > 1:
                            store(sums, target + window, p1)
                            store(sums, target + window + LANES, q1)
                        if left > 2:
                            store(sums, target + 2 * window, p2)
                            store(sums, target + 2 * window + LANES, q2)
                        if left > 3:
                            store(sums, target + 3 * window, p3)
                            store(sums, target + 3 * window + LANES, q3)
                        continue
                    store(room, BLOCK, p0)
                    store(room, BLOCK + 8, q0)
                    store(room, BLOCK + 16, p1)
                    store(room, BLOCK + 24, q1)
                    store(room, BLOCK + 32, p2)
                    store(room, BLOCK + 40, q2)
                    store(room, BLOCK + 48, p3)
                    store(room, BLOCK + 56, q3)
                    for m in range(min(4, left)):
                        copy(sums, target + m * window, room, BLOCK + m * BLOCK, real)
