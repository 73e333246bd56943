"""Loops of depthwise convolutions: vectors of neighbouring channels, read where they lie in the images.

A vector of pixels meets a vector of weights, so nothing need be laid out: four neighbouring windows of sixteen channels
are taken together, and at the ends of a row one window, whose taps beyond the images are left out. Of three taps side
by side at stride 1 a pixel is read once for the windows that share it. Where the channels are no multiple of a block,
the last one begins before the end of the one ahead of it; there are `BLOCK` channels at least. Arrays are contiguous,
shapes those of three spatial axes; ``place`` as in `rows`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, add, flat, fma, load, store, zeros
from xpconv._compiled.rows import BLOCK, inner_columns, list_rows

Array = Any


def forward(x: Array, w: Array, b: Array, z: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (KD, KH, KW, 1, C), (C,) -> z (n, OD, OH, OW, C)."""
    images, planes, rows, columns, channels = z.shape
    deep, high, wide = w.shape[0], w.shape[1], w.shape[2]
    pixels, weights, sums = x.reshape(-1), w.reshape(-1), flat(z)
    lead, step, gap = place[7], place[8], place[9]
    lines, taps = np.empty(deep * high, np.intp), np.empty(deep * high, np.intp)
    image, plane = z.strides[0] // z.itemsize, z.strides[1] // z.itemsize
    height, window = z.strides[2] // z.itemsize, z.strides[3] // z.itemsize
    first, last = inner_columns(columns, x.shape[3], wide, place)
    beside, apart = gap * channels, step * channels  # from tap to tap, from window to window
    shared = wide == 3 and step == 1 and gap == 1
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for i in range(rows):
            many = list_rows(lines, taps, (deep, high, wide), (n, p, i), x, place)
            for block in range((channels + BLOCK - 1) // BLOCK):
                c = min(block * BLOCK, channels - BLOCK)
                b0, b1 = load(b, c), load(b, c + LANES)
                row = n * image + p * plane + i * height + c
                j = 0
                while j < columns:
                    if j < first or j >= last or last - first < 4:
                        start = j * step + lead  # the column of the first tap
                        begin = (gap - 1 - start) // gap if start < 0 else 0
                        end = min(wide, (x.shape[3] - 1 - start) // gap + 1)
                        p0, q0 = b0, b1
                        for e in range(many):
                            at, tap = lines[e] + (start + begin * gap) * channels + c, (taps[e] + begin) * channels + c
                            for _ in range(begin, end):
                                p0 = fma(load(pixels, at), load(weights, tap), p0)
                                q0 = fma(load(pixels, at + LANES), load(weights, tap + LANES), q0)
                                at += beside
                                tap += channels
                        store(sums, row + j * window, p0)
                        store(sums, row + j * window + LANES, q0)
                        j += 1
                        continue
                    j = min(j, last - 4)  # some windows may be taken again
                    p0, p1, p2, p3 = b0, b0, b0, b0
                    q0, q1, q2, q3 = b1, b1, b1, b1
                    for e in range(many):
                        at, tap = lines[e] + (j * step + lead) * channels + c, taps[e] * channels + c
                        if shared:
                            u, v, s = load(weights, tap), load(weights, tap + beside), load(weights, tap + 2 * beside)
                            x0, x1, x2 = load(pixels, at), load(pixels, at + beside), load(pixels, at + 2 * beside)
                            p0 = fma(x2, s, fma(x1, v, fma(x0, u, p0)))
                            x3 = load(pixels, at + 3 * beside)
                            p1 = fma(x3, s, fma(x2, v, fma(x1, u, p1)))
                            x4 = load(pixels, at + 4 * beside)
                            p2 = fma(x4, s, fma(x3, v, fma(x2, u, p2)))
                            x5 = load(pixels, at + 5 * beside)
                            p3 = fma(x5, s, fma(x4, v, fma(x3, u, p3)))
                            at, tap = at + LANES, tap + LANES
                            u, v, s = load(weights, tap), load(weights, tap + beside), load(weights, tap + 2 * beside)
                            x0, x1, x2 = load(pixels, at), load(pixels, at + beside), load(pixels, at + 2 * beside)
                            q0 = fma(x2, s, fma(x1, v, fma(x0, u, q0)))
                            x3 = load(pixels, at + 3 * beside)
                            q1 = fma(x3, s, fma(x2, v, fma(x1, u, q1)))
                            x4 = load(pixels, at + 4 * beside)
                            q2 = fma(x4, s, fma(x3, v, fma(x2, u, q2)))
                            x5 = load(pixels, at + 5 * beside)
                            q3 = fma(x5, s, fma(x4, v, fma(x3, u, q3)))
                            continue
                        for _ in range(wide):
                            u, v = load(weights, tap), load(weights, tap + LANES)
                            at1, at2, at3 = at + apart, at + 2 * apart, at + 3 * apart
                            p0 = fma(load(pixels, at), u, p0)
                            q0 = fma(load(pixels, at + LANES), v, q0)
                            p1 = fma(load(pixels, at1), u, p1)
                            q1 = fma(load(pixels, at1 + LANES), v, q1)
                            p2 = fma(load(pixels, at2), u, p2)
                            q2 = fma(load(pixels, at2 + LANES), v, q2)
                            p3 = fma(load(pixels, at3), u, p3)
                            q3 = fma(load(pixels, at3 + LANES), v, q3)
                            at += beside
                            tap += channels
                    target = row + j * window
                    store(sums, target, p0)
                    store(sums, target + LANES, q0)
                    store(sums, target + window, p1)
                    store(sums, target + window + LANES, q1)
                    store(sums, target + 2 * window, p2)
                    store(sums, target + 2 * window + LANES, q2)
                    store(sums, target + 3 * window, p3)
                    store(sums, target + 3 * window + LANES, q3)
                    j += 4


def weight_grad(x: Array, g: Array, w: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (n, OD, OH, OW, C) -> w (KD, KH, KW, 1, V·8): the windows times the gradient, summed.

    The last of the V vectors is that of the last channels, whatever the one ahead of it holds. Four windows are summed
    for all channels before the next four, so that no sum in memory waits for the one before.
    """
    images, planes, rows, columns, channels = g.shape
    deep, high, wide, size = w.shape[0], w.shape[1], w.shape[2], w.shape[4]
    pixels, grads, sums = x.reshape(-1), g.reshape(-1), w.reshape(-1)
    lead, step, gap = place[7], place[8], place[9]
    lines, taps = np.empty(deep * high, np.intp), np.empty(deep * high, np.intp)
    first, last = inner_columns(columns, x.shape[3], wide, place)
    beside, apart = gap * channels, step * channels
    shared = wide == 3 and step == 1 and gap == 1
    zero = zeros(room)
    for c in range(sums.size):
        sums[c] = 0
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for i in range(rows):
            many = list_rows(lines, taps, (deep, high, wide), (n, p, i), x, place)
            j = 0
            while j < columns:
                start = j * step + lead
                given = ((line * rows + i) * columns + j) * channels
                if j < first or j + 4 > last:
                    begin = (gap - 1 - start) // gap if start < 0 else 0
                    end = min(wide, (x.shape[3] - 1 - start) // gap + 1)
                    for k in range(0, size, LANES):
                        c = min(k, channels - LANES)
                        g0 = load(grads, given + c)
                        for e in range(many):
                            at, tap = lines[e] + (start + begin * gap) * channels + c, (taps[e] + begin) * size + k
                            for _ in range(begin, end):
                                store(sums, tap, fma(load(pixels, at), g0, load(sums, tap)))
                                at += beside
                                tap += size
                    j += 1
                    continue
                for k in range(0, size, LANES):
                    c = min(k, channels - LANES)
                    g0, g1 = load(grads, given + c), load(grads, given + channels + c)
                    g2, g3 = load(grads, given + 2 * channels + c), load(grads, given + 3 * channels + c)
                    for e in range(many):
                        at, tap = lines[e] + start * channels + c, taps[e] * size + k
                        if shared:
                            x0, x1, x2 = load(pixels, at), load(pixels, at + beside), load(pixels, at + 2 * beside)
                            p0, p1, p2 = fma(x0, g0, zero), fma(x1, g0, zero), fma(x2, g0, zero)
                            x3 = load(pixels, at + 3 * beside)
                            p0, p1, p2 = fma(x1, g1, p0), fma(x2, g1, p1), fma(x3, g1, p2)
                            x4 = load(pixels, at + 4 * beside)
                            p0, p1, p2 = fma(x2, g2, p0), fma(x3, g2, p1), fma(x4, g2, p2)
                            x5 = load(pixels, at + 5 * beside)
                            p0, p1, p2 = fma(x3, g3, p0), fma(x4, g3, p1), fma(x5, g3, p2)
                            store(sums, tap, add(load(sums, tap), p0))
                            store(sums, tap + size, add(load(sums, tap + size), p1))
                            store(sums, tap + 2 * size, add(load(sums, tap + 2 * size), p2))
                            continue
                        for _ in range(wide):
                            p0 = fma(load(pixels, at), g0, zero)
                            p0 = fma(load(pixels, at + apart), g1, p0)
                            p0 = fma(load(pixels, at + 2 * apart), g2, p0)
                            p0 = fma(load(pixels, at + 3 * apart), g3, p0)
                            store(sums, tap, add(load(sums, tap), p0))
                            at += beside
                            tap += size
                j += 4
