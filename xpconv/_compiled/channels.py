"""Loops of convolutions with many channels in and up to three filters: vectors of channels, whose lanes are added last.

Such are the gradients of a first layer's images. The sums of four windows and three filters stay in registers; where
there are fewer filters, the weights of the others are zeros. Rows are laid out beforehand (`rows.copy_row`). The
channels are whole vectors and in one group. Arrays are contiguous, shapes those of three spatial axes; ``place`` as in
`rows`, ``room`` is work memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.filters import EDGE, SIDE
from xpconv._compiled.lanes import LANES, flat, fma, load, put, store, zeros
from xpconv._compiled.rows import BLOCK, TOGETHER, copy_row, list_taps, row_of

Array = Any

MOST = 3  # filters


def forward(x: Array, w: Array, b: Array, z: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (3, KD, KH, KW, C), (F,) -> z (n, OD, OH, OW, F)."""
    images, planes, rows, columns, filters = z.shape
    channels = x.shape[4]
    deep, high, wide = w.shape[1], w.shape[2], w.shape[3]
    weights, sums = w.reshape(-1), flat(z)
    count, step = deep * high * wide * channels, place[8] * channels
    span = (high - 1) * place[6] + 1
    across = ((columns + EDGE - 1) // EDGE * EDGE - 1) * place[8] + (wide - 1) * place[9] + 1
    slot = across * channels
    run, runs = (wide * channels, 1) if place[9] == 1 else (channels, wide)
    sizes = (slot, 0, channels, run, 0, 1, 1)
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
            for j in range(0, columns, TOGETHER):
                zero = zeros(room)
                p0, p1, p2, p3 = zero, zero, zero, zero
                q0, q1, q2, q3 = zero, zero, zero, zero
                r0, r1, r2, r3 = zero, zero, zero, zero
                for e in range(many):
                    source, tap = ring + j * step + taps[e], at[e]
                    for c in range(source, source + run, LANES):
                        u, v, s = load(weights, tap), load(weights, tap + count), load(weights, tap + 2 * count)
                        pixel = load(room, c)
                        p0, q0, r0 = fma(pixel, u, p0), fma(pixel, v, q0), fma(pixel, s, r0)
                        pixel = load(room, c + step)
                        p1, q1, r1 = fma(pixel, u, p1), fma(pixel, v, q1), fma(pixel, s, r1)
                        pixel = load(room, c + 2 * step)
                        p2, q2, r2 = fma(pixel, u, p2), fma(pixel, v, q2), fma(pixel, s, r2)
                        pixel = load(room, c + 3 * step)
                        p3, q3, r3 = fma(pixel, u, p3), fma(pixel, v, q3), fma(pixel, s, r3)
                        tap += LANES
                store(room, 0, p0)
                store(room, 8, q0)
                store(room, 16, r0)
                store(room, 24, p1)
                store(room, 32, q1)
                store(room, 40, r1)
                store(room, 48, p2)
                store(room, 56, q2)
                store(room, 64, r2)
                store(room, 72, p3)
                store(room, 80, q3)
                store(room, 88, r3)
                target = n * image + p * plane + i * height + j * window
                for m in range(min(TOGETHER, columns - j)):
                    for f in range(filters):
                        k = (m * MOST + f) * LANES
                        lower = (room[k] + room[k + 1]) + (room[k + 2] + room[k + 3])
                        upper = (room[k + 4] + room[k + 5]) + (room[k + 6] + room[k + 7])
                        put(sums, target + f, b[f] + (lower + upper))
                    target += window
