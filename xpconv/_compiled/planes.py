"""Loops of convolutions with few channels and few filters in a group: the innermost one runs over pixels.

A group's channels are laid out as planes first, zeros around them, and where windows move by more than a pixel, each
plane as one for each residue of a pixel's row and column modulo the stride. A tap's pixels of neighbouring windows then
lie in a row, those of the next row of windows behind them: so many of them are added up at a stretch, three taps and
four filters at a time. What lies beyond the last window of a row is computed and not used. Arrays and ``place`` as in
`depthwise`; ``room`` is work memory.
"""

from __future__ import annotations

from typing import Any

Array = Any

STRETCH = 512  # pixels that are taken at once, so that their sums stay in the first-level cache


def forward(x: Array, w: Array, b: Array, z: Array, place: Array, groups: int, room: Array) -> None:
    """(N, D, H, W, C), (F, C/G, KD, KH, KW), (F,) -> z (n, OD, OH, OW, F)."""
    images, planes, rows, columns, filters = z.shape
    depth, height, width = x.shape[1], x.shape[2], x.shape[3]
    fan, deep, high, wide = w.shape[1], w.shape[2], w.shape[3], w.shape[4]
    first, lead_d, step_d, gap_d = place[0], place[1], place[2], place[3]
    lead_h, step_h, gap_h = place[4], place[5], place[6]
    lead_w, step_w, gap_w = place[7], place[8], place[9]
    own = filters // groups
    tall, across = rows + (high - 1) * gap_h // step_h, columns + (wide - 1) * gap_w // step_w
    plane = tall * across
    block = step_h * step_w * plane  # of a channel
    length = (rows - 1) * across + columns
    weights = w.reshape(-1)
    sums = room[deep * fan * block :]
    for n in range(images):
        for p in range(planes):
            for group in range(groups):
                for k in range(deep):
                    y = p * step_d + lead_d + k * gap_d
                    for c in range(fan):
                        for v in range(step_h * tall):
                            h = v + lead_h
                            for u in range(step_w):
                                at = (k * fan + c) * block + ((v % step_h) * step_w + u) * plane + v // step_h * across
                                line = room[at : at + across]
                                if y < 0 or y >= depth or h < 0 or h >= height:
                                    for j in range(across):
                                        line[j] = 0
                                    continue
                                source = x[first + n, y, h]
                                for j in range(across):
                                    q = j * step_w + u + lead_w
                                    line[j] = source[q, group * fan + c] if 0 <= q < width else 0
                for start in range(0, length, STRETCH):
                    size = min(STRETCH, length - start)
                    for f in range(0, own, 4):
                        some = min(4, own - f)
                        for m in range(4):
                            o = sums[m * length + start : m * length + start + size]
                            bias = b[group * own + f + min(m, some - 1)]
                            for j in range(size):
                                o[j] = bias
                        o0, o1 = sums[start : start + size], sums[length + start : length + start + size]
                        o2 = sums[2 * length + start : 2 * length + start + size]
                        o3 = sums[3 * length + start : 3 * length + start + size]
                        at0 = (group * own + f) * fan * deep * high * wide
                        at1 = at0 + min(1, some - 1) * fan * deep * high * wide
                        at2 = at0 + min(2, some - 1) * fan * deep * high * wide
                        at3 = at0 + min(3, some - 1) * fan * deep * high * wide
                        for c in range(fan):
                            for k in range(deep * high):
                                v = k % high * gap_h
                                line = (k // high * fan + c) * block + (v % step_h) * step_w * plane
                                line += v // step_h * across + start
                                t = 0
                                while t < wide:
                                    x0 = room[line + t * gap_w % step_w * plane + t * gap_w // step_w :]
                                    tap = (c * deep * high + k) * wide + t
                                    u0, v0 = weights[at0 + tap], weights[at1 + tap]
                                    r0, s0 = weights[at2 + tap], weights[at3 + tap]
                                    if t + 3 <= wide:
                                        q = (t + 1) * gap_w
                                        x1 = room[line + q % step_w * plane + q // step_w :]
                                        q = (t + 2) * gap_w
                                        x2 = room[line + q % step_w * plane + q // step_w :]
                                        u1, u2 = weights[at0 + tap + 1], weights[at0 + tap + 2]
                                        v1, v2 = weights[at1 + tap + 1], weights[at1 + tap + 2]
                                        r1, r2 = weights[at2 + tap + 1], weights[at2 + tap + 2]
                                        s1, s2 = weights[at3 + tap + 1], weights[at3 + tap + 2]
                                        for j in range(size):
                                            o0[j] = o0[j] + u0 * x0[j] + u1 * x1[j] + u2 * x2[j]
                                            o1[j] = o1[j] + v0 * x0[j] + v1 * x1[j] + v2 * x2[j]
                                            o2[j] = o2[j] + r0 * x0[j] + r1 * x1[j] + r2 * x2[j]
                                            o3[j] = o3[j] + s0 * x0[j] + s1 * x1[j] + s2 * x2[j]
                                        t += 3
                                        continue
                                    for j in range(size):
                                        o0[j] = o0[j] + u0 * x0[j]
                                        o1[j] = o1[j] + v0 * x0[j]
                                        o2[j] = o2[j] + r0 * x0[j]
                                        o3[j] = o3[j] + s0 * x0[j]
                                    t += 1
                        for j in range(start, start + size):
                            if j % across < columns:
                                o = z[n, p, j // across, j % across, group * own + f : group * own + f + some]
                                for m in range(some):
                                    o[m] = sums[m * length + j]


def weight_grad(x: Array, g: Array, w: Array, place: Array, groups: int, room: Array) -> None:
    """(N, D, H, W, C), (n, OD, OH, OW, F) -> w (F, C/G, KD, KH, KW): the windows times the gradient, summed."""
    images, planes, rows, columns, filters = g.shape
    depth, height, width = x.shape[1], x.shape[2], x.shape[3]
    fan, deep, high, wide = w.shape[1], w.shape[2], w.shape[3], w.shape[4]
    first, lead_d, step_d, gap_d = place[0], place[1], place[2], place[3]
    lead_h, step_h, gap_h = place[4], place[5], place[6]
    lead_w, step_w, gap_w = place[7], place[8], place[9]
    own = filters // groups
    tall, across = rows + (high - 1) * gap_h // step_h, columns + (wide - 1) * gap_w // step_w
    plane = tall * across
    block = step_h * step_w * plane
    length = (rows - 1) * across + columns
    sums = w.reshape(-1)
    size = fan * deep * high * wide  # of a filter
    grads = room[deep * fan * block :]
    for c in range(sums.size):
        sums[c] = 0
    for n in range(images):
        for p in range(planes):
            for group in range(groups):
                odd = x.dtype.type(0)  # a NaN, if any pixel is not finite
                for k in range(deep):
                    y = p * step_d + lead_d + k * gap_d
                    for c in range(fan):
                        for v in range(step_h * tall):
                            h = v + lead_h
                            for u in range(step_w):
                                at = (k * fan + c) * block + ((v % step_h) * step_w + u) * plane + v // step_h * across
                                line = room[at : at + across]
                                if y < 0 or y >= depth or h < 0 or h >= height:
                                    for j in range(across):
                                        line[j] = 0
                                    continue
                                source = x[first + n, y, h]
                                for j in range(across):
                                    q = j * step_w + u + lead_w
                                    line[j] = source[q, group * fan + c] if 0 <= q < width else 0
                                    odd += line[j] * 0
                # what is not finite must not meet the zeros behind the last window of a row
                pieces, stretch = (1, length) if odd == 0 else (rows, columns)
                for f in range(0, own, 4):
                    some = min(4, own - f)
                    for m in range(4):
                        o = grads[m * length : (m + 1) * length]
                        for j in range(length):
                            i, q = j // across, j % across
                            o[j] = g[n, p, i, q, group * own + f + m] if m < some and q < columns else 0
                    g0, g1 = grads[:length], grads[length : 2 * length]
                    g2, g3 = grads[2 * length : 3 * length], grads[3 * length : 4 * length]
                    for c in range(fan):
                        for k in range(deep * high):
                            v = k % high * gap_h
                            line = (k // high * fan + c) * block + (v % step_h) * step_w * plane + v // step_h * across
                            for t in range(wide):
                                x0 = room[line + t * gap_w % step_w * plane + t * gap_w // step_w :]
                                zero = x.dtype.type(0)
                                a0, a1, a2, a3 = zero, zero, zero, zero
                                for i in range(pieces):
                                    y0 = x0[i * across :]
                                    h0, h1 = g0[i * across :], g1[i * across :]
                                    h2, h3 = g2[i * across :], g3[i * across :]
                                    for j in range(stretch):
                                        a0 += h0[j] * y0[j]
                                        a1 += h1[j] * y0[j]
                                        a2 += h2[j] * y0[j]
                                        a3 += h3[j] * y0[j]
                                at = ((group * own + f) * fan + c) * deep * high * wide + k * wide + t
                                sums[at] += a0
                                if some > 1:
                                    sums[at + size] += a1
                                if some > 2:
                                    sums[at + 2 * size] += a2
                                if some > 3:
                                    sums[at + 3 * size] += a3
