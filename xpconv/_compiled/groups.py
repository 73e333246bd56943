"""Loops of convolutions with few filters in a group, depthwise ones for one: vectors of neighbouring filters.

What each filter of a block meets is laid out beforehand (`rows.spread_row`), so that a vector of pixels meets a vector
of weights, and the sums of four windows stay in registers. Arrays are contiguous, shapes those of three spatial axes;
``place`` as in `rows`, ``room`` is work memory. Weights lie in blocks of filters, filled up with zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, add, flat, fma, load, store, zeros
from xpconv._compiled.rows import BLOCK, TOGETHER, bias_of, copy, lay_gradient, list_taps, row_of, spread_row

Array = Any


def forward(x: Array, w: Array, b: Array, z: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (B, KD, KH, KW, C/G·16), (F,) -> z (n, OD, OH, OW, F)."""
    images, planes, rows, columns, filters = z.shape
    deep, high, wide = w.shape[1], w.shape[2], w.shape[3]
    weights, sums = w.reshape(-1), flat(z)
    step, fan, chunk = place[8], place[10], place[12]
    count, pixel = deep * high * wide * fan, fan * BLOCK
    span = (high - 1) * place[6] + 1
    across = (columns + TOGETHER - 1) // TOGETHER * TOGETHER + (wide - 1) * place[9] // step
    slot = step * across * fan * chunk
    sizes = (slot, across * pixel, pixel, BLOCK, BLOCK, fan, step)
    taps, at = np.empty(count, np.intp), np.empty(count, np.intp)
    image, plane = z.strides[0] // z.itemsize, z.strides[1] // z.itemsize
    height, window = z.strides[2] // z.itemsize, z.strides[3] // z.itemsize
    beside, ring = chunk, chunk + TOGETHER * BLOCK
    for begin in range(0, filters, chunk):
        size = min(chunk, filters - begin)
        bias_of(room, b, begin, size, chunk)
        for line in range(images * planes):
            n, p = line // planes, line % planes
            laid = 0  # rows of the ring so far
            for i in range(rows):
                fresh = max(laid, i * place[5])
                laid = i * place[5] + span
                for d in range(deep):
                    for r in range(fresh, laid):
                        source = row_of(x, place[0] + n, p * place[2] + place[1] + d * place[3], r + place[4])
                        spread_row(room, ring + (d * span + r % span) * slot, x, source, begin, across, place)
                many = list_taps(taps, at, (deep, high, wide), (p, i), x, place, sizes)
                for number in range((size + BLOCK - 1) // BLOCK):
                    real = min(BLOCK, size - number * BLOCK)
                    own = (begin // BLOCK + number) * count * BLOCK
                    b0, b1 = load(room, number * BLOCK), load(room, number * BLOCK + LANES)
                    base = ring + number * step * across * pixel
                    for j in range(0, columns, TOGETHER):
                        p0, p1, p2, p3 = b0, b0, b0, b0
                        q0, q1, q2, q3 = b1, b1, b1, b1
                        for e in range(many):
                            at0, tap = base + taps[e], own + at[e]
                            at1, at2, at3 = at0 + pixel, at0 + 2 * pixel, at0 + 3 * pixel
                            u, v = load(weights, tap), load(weights, tap + LANES)
                            p0 = fma(load(room, at0), u, p0)
                            q0 = fma(load(room, at0 + LANES), v, q0)
                            p1 = fma(load(room, at1), u, p1)
                            q1 = fma(load(room, at1 + LANES), v, q1)
                            p2 = fma(load(room, at2), u, p2)
                            q2 = fma(load(room, at2 + LANES), v, q2)
                            p3 = fma(load(room, at3), u, p3)
                            q3 = fma(load(room, at3 + LANES), v, q3)
                        target = n * image + p * plane + i * height + j * window + begin + number * BLOCK
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
                        else:
                            store(room, beside, p0)
                            store(room, beside + 8, q0)
                            store(room, beside + 16, p1)
                            store(room, beside + 24, q1)
                            store(room, beside + 32, p2)
                            store(room, beside + 40, q2)
                            store(room, beside + 48, p3)
                            store(room, beside + 56, q3)
                            for m in range(min(TOGETHER, left)):
                                copy(sums, target + m * window, room, beside + m * BLOCK, real)
                        base += TOGETHER * pixel


def weight_grad(x: Array, g: Array, w: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (n, OD, OH, OW, F) -> w (B, KD, KH, KW, C/G·16): the windows times the gradient, summed."""
    images, planes, rows, columns, filters = g.shape
    deep, high, wide = w.shape[1], w.shape[2], w.shape[3]
    grads, sums = g.reshape(-1), w.reshape(-1)
    step, fan, chunk = place[8], place[10], place[12]
    count, pixel = deep * high * wide * fan, fan * BLOCK
    span = (high - 1) * place[6] + 1
    across = (columns + TOGETHER - 1) // TOGETHER * TOGETHER + (wide - 1) * place[9] // step
    slot = step * across * fan * chunk
    sizes = (slot, across * pixel, pixel, BLOCK, BLOCK, fan, step)
    taps, at = np.empty(count, np.intp), np.empty(count, np.intp)
    ring = columns * BLOCK  # the gradient of a row comes before
    for c in range(sums.size):
        sums[c] = 0
    for begin in range(0, filters, chunk):
        size = min(chunk, filters - begin)
        for line in range(images * planes):
            n, p = line // planes, line % planes
            laid = 0
            for i in range(rows):
                fresh = max(laid, i * place[5])
                laid = i * place[5] + span
                for d in range(deep):
                    for r in range(fresh, laid):
                        source = row_of(x, place[0] + n, p * place[2] + place[1] + d * place[3], r + place[4])
                        spread_row(room, ring + (d * span + r % span) * slot, x, source, begin, across, place)
                many = list_taps(taps, at, (deep, high, wide), (p, i), x, place, sizes)
                for number in range((size + BLOCK - 1) // BLOCK):
                    real = min(BLOCK, size - number * BLOCK)
                    own = (begin // BLOCK + number) * count * BLOCK
                    base = ring + number * step * across * pixel
                    given = (line * rows + i) * columns * filters + begin + number * BLOCK
                    lay_gradient(room, grads, given, columns, filters, real)
                    for e in range(0, many, 3):
                        second, third = min(e + 1, many - 1), min(e + 2, many - 1)
                        at0, at1, at2 = base + taps[e], base + taps[second], base + taps[third]
                        p0, p1, p2 = zeros(room), zeros(room), zeros(room)
                        q0, q1, q2 = zeros(room), zeros(room), zeros(room)
                        for j in range(columns):
                            u, v = load(room, j * BLOCK), load(room, j * BLOCK + LANES)
                            p0 = fma(load(room, at0), u, p0)
                            q0 = fma(load(room, at0 + LANES), v, q0)
                            p1 = fma(load(room, at1), u, p1)
                            q1 = fma(load(room, at1 + LANES), v, q1)
                            p2 = fma(load(room, at2), u, p2)
                            q2 = fma(load(room, at2 + LANES), v, q2)
                            at0 += pixel
                            at1 += pixel
                            at2 += pixel
                        target = own + at[e]
                        store(sums, target, add(load(sums, target), p0))
                        store(sums, target + LANES, add(load(sums, target + LANES), q0))
                        if e + 1 < many:
                            target = own + at[second]
                            store(sums, target, add(load(sums, target), p1))
                            store(sums, target + LANES, add(load(sums, target + LANES), q1))
                        if e + 2 < many:
                            target = own + at[third]
                            store(sums, target, add(load(sums, target), p2))
                            store(sums, target + LANES, add(load(sums, target + LANES), q2))
