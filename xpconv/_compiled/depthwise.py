"""Loops of depthwise convolutions: vectors of neighbouring channels, read where they lie in the images.

A vector of pixels meets a vector of weights, so nothing need be laid out. Four neighbouring windows are taken together,
for all channels before the next four: so images are read from one end to the other. The first and the last of the four
may have taps beyond the images, which are left out; where others have some, windows are taken alone. Of three taps side
by side at stride 1 a pixel is read once for the windows that share it. Where the channels are no multiple of a block,
the last one begins before the end of the one ahead of it; there are `BLOCK` channels at least. Arrays are contiguous,
shapes those of three spatial axes; ``place`` as in `rows`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, add, flat, fma, load, prefetch, store, zeros
from xpconv._compiled.rows import BLOCK, TOGETHER, list_rows
from xpconv._compiled.threes import WIDE, weight_grad_of_threes

Array = Any

# bytes of images from which on what the next windows read of rows that are new, and where they write, is asked for
# beforehand, since the second cache holds little of that; and at a stride what they read of all rows, as no cache does
NEAR, FAR = 2 << 20, 24 << 20


def forward(x: Array, w: Array, b: Array, z: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (KD, KH, KW, 1, C), (C,) -> z (n, OD, OH, OW, C)."""
    images, planes, rows, columns, channels = z.shape
    deep, high, wide, width = w.shape[0], w.shape[1], w.shape[2], x.shape[3]
    pixels, weights, sums = x.reshape(-1), w.reshape(-1), flat(z)
    lead, step, gap = place[7], place[8], place[9]
    lines, taps = np.empty(deep * high, np.intp), np.empty(deep * high, np.intp)
    image, plane = z.strides[0] // z.itemsize, z.strides[1] // z.itemsize
    height, window = z.strides[2] // z.itemsize, z.strides[3] // z.itemsize
    beside, apart = gap * channels, step * channels  # from tap to tap, from window to window
    shared = wide == 3 and step == 1 and gap == 1
    near, far = x.size * x.itemsize >= NEAR, step > 1 and x.size * x.itemsize >= FAR
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for i in range(rows):
            many = list_rows(lines, taps, (deep, high, wide), (n, p, i), x, place)
            j = 0
            while j < columns:
                four = max(min(j, columns - TOGETHER), 0)  # some windows may be taken again
                start = four * step + lead  # the column of the first tap
                behind = width - 1 - start - (TOGETHER - 1) * step  # of the last window's
                second, third = start + step, width - 1 - start - 2 * step - (wide - 1) * gap
                together = columns >= TOGETHER and second >= 0 and third >= 0
                if not together:
                    four, start = j, j * step + lead
                    behind = width - 1 - start
                begin = (gap - 1 - start) // gap if start < 0 else 0  # taps of the first window, and of the last one
                end = min(wide, behind // gap + 1)
                for block in range((channels + BLOCK - 1) // BLOCK):
                    c = min(block * BLOCK, channels - BLOCK)
                    target = n * image + p * plane + i * height + four * window + c
                    p0, q0 = load(b, c), load(b, c + LANES)
                    if not together:
                        for e in range(many):
                            at, tap = lines[e] + (start + begin * gap) * channels + c, (taps[e] + begin) * channels + c
                            for _ in range(begin, end):
                                p0 = fma(load(pixels, at), load(weights, tap), p0)
                                q0 = fma(load(pixels, at + LANES), load(weights, tap + LANES), q0)
                                at += beside
                                tap += channels
                        store(sums, target, p0)
                        store(sums, target + LANES, q0)
                        continue
                    p1, p2, p3, q1, q2, q3 = p0, p0, p0, q0, q0, q0
                    if near:
                        for m in range(TOGETHER, 2 * TOGETHER):
                            prefetch(sums, target + m * window)
                    for e in range(many):
                        at, tap = lines[e] + start * channels + c, taps[e] * channels + c
                        if far or (near and e + place[5] >= many):
                            for m in range(TOGETHER * step, 2 * TOGETHER * step):
                                prefetch(pixels, at + m * channels)
                        if shared:
                            u, v, s = load(weights, tap), load(weights, tap + beside), load(weights, tap + 2 * beside)
                            x1, x2 = load(pixels, at + beside), load(pixels, at + 2 * beside)
                            if begin == 0:
                                p0 = fma(load(pixels, at), u, p0)
                            p0 = fma(x2, s, fma(x1, v, p0))
                            x3 = load(pixels, at + 3 * beside)
                            p1 = fma(x3, s, fma(x2, v, fma(x1, u, p1)))
                            x4 = load(pixels, at + 4 * beside)
                            p2, p3 = fma(x4, s, fma(x3, v, fma(x2, u, p2))), fma(x4, v, fma(x3, u, p3))
                            if end == 3:
                                p3 = fma(load(pixels, at + 5 * beside), s, p3)
                            at, tap = at + LANES, tap + LANES
                            u, v, s = load(weights, tap), load(weights, tap + beside), load(weights, tap + 2 * beside)
                            x1, x2 = load(pixels, at + beside), load(pixels, at + 2 * beside)
                            if begin == 0:
                                q0 = fma(load(pixels, at), u, q0)
                            q0 = fma(x2, s, fma(x1, v, q0))
                            x3 = load(pixels, at + 3 * beside)
                            q1 = fma(x3, s, fma(x2, v, fma(x1, u, q1)))
                            x4 = load(pixels, at + 4 * beside)
                            q2, q3 = fma(x4, s, fma(x3, v, fma(x2, u, q2))), fma(x4, v, fma(x3, u, q3))
                            if end == 3:
                                q3 = fma(load(pixels, at + 5 * beside), s, q3)
                            continue
                        for t in range(wide):
                            u, v = load(weights, tap), load(weights, tap + LANES)
                            at1, at2, at3 = at + apart, at + 2 * apart, at + 3 * apart
                            if t >= begin:
                                p0 = fma(load(pixels, at), u, p0)
                                q0 = fma(load(pixels, at + LANES), v, q0)
                            p1 = fma(load(pixels, at1), u, p1)
                            q1 = fma(load(pixels, at1 + LANES), v, q1)
                            p2 = fma(load(pixels, at2), u, p2)
                            q2 = fma(load(pixels, at2 + LANES), v, q2)
                            if t < end:
                                p3 = fma(load(pixels, at3), u, p3)
                                q3 = fma(load(pixels, at3 + LANES), v, q3)
                            at += beside
                            tap += channels
                    store(sums, target, p0)
                    store(sums, target + LANES, q0)
                    store(sums, target + window, p1)
                    store(sums, target + window + LANES, q1)
                    store(sums, target + 2 * window, p2)
                    store(sums, target + 2 * window + LANES, q2)
                    store(sums, target + 3 * window, p3)
                    store(sums, target + 3 * window + LANES, q3)
                j = four + TOGETHER if together else j + 1


def weight_grad(x: Array, g: Array, w: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (n, OD, OH, OW, C) -> w (KD, KH, KW, 1, V·8): the windows times the gradient, summed.

    The last of the V vectors is that of the last channels, whatever the one ahead of it holds. Four windows are summed
    for all channels before the next four, so that no sum in memory waits for the one before.
    """
    images, planes, rows, columns, channels = g.shape
    deep, high, wide, size, width = w.shape[0], w.shape[1], w.shape[2], w.shape[4], x.shape[3]
    pixels, grads, sums = x.reshape(-1), g.reshape(-1), w.reshape(-1)
    lead, step, gap = place[7], place[8], place[9]
    lines, taps = np.empty(deep * high, np.intp), np.empty(deep * high, np.intp)
    beside, apart, zero = gap * channels, step * channels, zeros(sums)
    far = step > 1 and x.size * x.itemsize >= FAR
    for c in range(sums.size):
        sums[c] = 0
    if wide == WIDE:  # a row of windows at a time for eight channels, which is better still
        weight_grad_of_threes(x, g, w, place)
        return
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for i in range(rows):
            many = list_rows(lines, taps, (deep, high, wide), (n, p, i), x, place)
            j = 0
            while j < columns:
                start = j * step + lead
                given = ((line * rows + i) * columns + j) * channels
                # of four windows, or at the end of a row three, the first and the last may have taps beyond the image
                last = 3 if j + 3 < columns else 2
                inner = width - 1 - start - (last - 1) * step - (wide - 1) * gap
                together = j + last < columns and start + step >= 0 and inner >= 0
                behind = width - 1 - start - (last * step if together else 0)
                begin = (gap - 1 - start) // gap if start < 0 else 0
                end = min(wide, behind // gap + 1)
                for k in range(0, size, LANES):
                    c = min(k, channels - LANES)
                    g0 = load(grads, given + c)
                    if not together:
                        for e in range(many):
                            at, tap = lines[e] + (start + begin * gap) * channels + c, (taps[e] + begin) * size + k
                            for _ in range(begin, end):
                                store(sums, tap, fma(load(pixels, at), g0, load(sums, tap)))
                                at += beside
                                tap += size
                        continue
                    g1, g2, g3 = load(grads, given + channels + c), load(grads, given + 2 * channels + c), zero
                    if last == 3:
                        g3 = load(grads, given + 3 * channels + c)
                    for e in range(many):
                        at, tap = lines[e] + start * channels + c, taps[e] * size + k
                        if far and k % BLOCK == 0:
                            for m in range(TOGETHER * step, 2 * TOGETHER * step):
                                prefetch(pixels, at + m * channels)
                        for t in range(wide):
                            p0 = fma(load(pixels, at + apart), g1, zero)
                            if t >= begin:
                                p0 = fma(load(pixels, at), g0, p0)
                            if last == 3 or t < end:
                                p0 = fma(load(pixels, at + 2 * apart), g2, p0)
                            if last == 3 and t < end:
                                p0 = fma(load(pixels, at + 3 * apart), g3, p0)
                            store(sums, tap, add(load(sums, tap), p0))
                            at += beside
                            tap += size
                j += last + 1 if together else 1
