"""Loops of the gradient of a depthwise layer's images at a stride: all phases in one go.

Pixels at a distance of the stride are reached by the same taps of neighbouring windows. Four of them are taken
together, then those between them, for all channels: so the result is written from one end to the other, and a window's
gradient is read while it is in the cache. A pixel's taps are taken in the order of its phase's correlation. ``place``
as in `rows`, but that it has along each axis the first pixel and the padding before it, added up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, flat, fma, load, store
from xpconv._compiled.rows import BLOCK, TOGETHER, row_of

Array = Any


def images_grad(g: Array, w: Array, b: Array, x: Array, place: Array, room: Array) -> None:
    """(N, OD, OH, OW, C), (KD, KH, KW, 1, C), (C,) -> x (n, D, H, W, C): the bias and what windows give to a pixel."""
    images, planes, rows, columns, channels = x.shape
    deep, high, wide, windows, step = w.shape[0], w.shape[1], w.shape[2], g.shape[3], place[8]
    grads, weights, sums = g.reshape(-1), w.reshape(-1), flat(x)
    size = deep * high * wide
    at, taps, apart = np.empty(size, np.intp), np.empty(size, np.intp), np.empty(size, np.intp)
    across, over = np.empty(wide, np.intp), np.empty(wide, np.intp)  # taps of a row, phase by phase, and their windows
    first, ends = np.empty(step + 1, np.intp), np.empty(step + 1, np.intp)
    count, lowest, highest = 0, 0, 0
    for r in range(step):
        ends[r] = count
        for t in range(wide - 1, -1, -1):
            u = r + place[7] - t * place[9]
            if u % step == 0:
                across[count], over[count] = t, u // step
                lowest, highest = min(lowest, over[count]), max(highest, over[count])
                count += 1
    ends[step] = count
    image, plane, height = x.strides[0] // x.itemsize, x.strides[1] // x.itemsize, x.strides[2] // x.itemsize
    every = (columns + step - 1) // step  # pixels of the first phase
    begin = max(-lowest - 1, 0)  # from here on, and to the end, two of four pixels have all their windows
    end = min(columns // step, windows - highest + 1)
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for i in range(rows):
            count = 0
            for r in range(step):
                first[r] = count
                for tap in range(deep * high - 1, -1, -1):
                    y, v = p + place[1] - tap // high * place[3], i + place[4] - tap % high * place[6]
                    if y % place[2] != 0 or v % place[5] != 0:
                        continue
                    row = row_of(g, place[0] + n, y // place[2], v // place[5])
                    if row < 0:
                        continue
                    for e in range(ends[r], ends[r + 1]):
                        at[count], taps[count] = (row + over[e]) * channels, (tap * wide + across[e]) * channels
                        apart[count] = over[e]
                        count += 1
            first[step] = count
            m = 0
            while m < every:
                together = begin <= m < end and end - begin >= TOGETHER
                if together:
                    m = min(m, end - TOGETHER)  # some pixels may be taken again
                for block in range((channels + BLOCK - 1) // BLOCK):
                    c = min(block * BLOCK, channels - BLOCK)
                    target = n * image + p * plane + i * height + m * step * channels + c
                    b0, b1 = load(b, c), load(b, c + LANES)
                    for r in range(min(step, columns - m * step)):
                        p0, q0 = b0, b1
                        if not together:
                            for e in range(first[r], first[r + 1]):
                                if 0 <= apart[e] + m < windows:
                                    at0, tap = at[e] + m * channels + c, taps[e] + c
                                    p0 = fma(load(grads, at0), load(weights, tap), p0)
                                    q0 = fma(load(grads, at0 + LANES), load(weights, tap + LANES), q0)
                            store(sums, target, p0)
                            store(sums, target + LANES, q0)
                            target += channels
                            continue
                        p1, p2, p3, q1, q2, q3 = p0, p0, p0, q0, q0, q0
                        for e in range(first[r], first[r + 1]):
                            at0, tap = at[e] + m * channels + c, taps[e] + c
                            at1, at2, at3 = at0 + channels, at0 + 2 * channels, at0 + 3 * channels
                            u0, u1 = load(weights, tap), load(weights, tap + LANES)
                            if apart[e] + m >= 0:
                                p0 = fma(load(grads, at0), u0, p0)
                                q0 = fma(load(grads, at0 + LANES), u1, q0)
                            p1 = fma(load(grads, at1), u0, p1)
                            q1 = fma(load(grads, at1 + LANES), u1, q1)
                            p2 = fma(load(grads, at2), u0, p2)
                            q2 = fma(load(grads, at2 + LANES), u1, q2)
                            if apart[e] + m + 3 < windows:
                                p3 = fma(load(grads, at3), u0, p3)
                                q3 = fma(load(grads, at3 + LANES), u1, q3)
                        beside = step * channels
                        store(sums, target, p0)
                        store(sums, target + LANES, q0)
                        store(sums, target + beside, p1)
                        store(sums, target + beside + LANES, q1)
                        store(sums, target + 2 * beside, p2)
                        store(sums, target + 2 * beside + LANES, q2)
                        store(sums, target + 3 * beside, p3)
                        store(sums, target + 3 * beside + LANES, q3)
                        target += channels
                m += TOGETHER if together else 1
