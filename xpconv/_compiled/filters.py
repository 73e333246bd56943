"""Loops of convolutions with few channels in and many filters: the innermost one runs over neighbouring filters.

Four neighbouring windows are taken together and four neighbouring pixels' channels of each, so that a weight is read
once for four products and a sum for four. Taps beyond the image are left out. Arrays and ``place`` as in `depthwise`.
"""

from __future__ import annotations

from typing import Any

Array = Any


def forward(x: Array, w: Array, b: Array, z: Array, place: Array, groups: int) -> None:
    """(N, D, H, W, C), (KD, KH, KW, C/G, F), (F,) -> z (n, OD, OH, OW, F)."""
    images, planes, rows, columns, filters = z.shape
    depth, height, width, channels = x.shape[1], x.shape[2], x.shape[3], x.shape[4]
    deep, high, wide, fan = w.shape[0], w.shape[1], w.shape[2], w.shape[3]
    first, lead_d, step_d, gap_d = place[0], place[1], place[2], place[3]
    lead_h, step_h, gap_h = place[4], place[5], place[6]
    lead_w, step_w, gap_w = place[7], place[8], place[9]
    pixels, weights, sums = x.reshape(-1), w.reshape(-1), z.reshape(-1)
    inner = (-lead_w + step_w - 1) // step_w if lead_w < 0 else 0
    outer = min(columns, (width - 1 - lead_w - (wide - 1) * gap_w) // step_w + 1)
    own, step = filters // groups, step_w * channels
    run = wide * fan if gap_w == 1 and groups == 1 else fan  # numbers of a window that lie in a row
    runs = wide * fan // run
    for row in range(images * planes * rows):
        n, p, i = row // (planes * rows), row // rows % planes, row % rows
        at_d, at_h = p * step_d + lead_d, i * step_h + lead_h
        j = 0
        while j < columns:
            together = 4 if j >= inner and j + 4 <= outer else 1
            for m in range(together):
                o0 = sums[(row * columns + j + m) * filters : (row * columns + j + m + 1) * filters]
                for f in range(filters):
                    o0[f] = b[f]
            for group in range(groups):
                start = (row * columns + j) * filters + group * own
                o0 = sums[start : start + own]
                for k in range(deep * high):
                    y, v = at_d + k // high * gap_d, at_h + k % high * gap_h
                    if y < 0 or y >= depth or v < 0 or v >= height:
                        continue
                    line = (((first + n) * depth + y) * height + v) * width
                    if together == 4:
                        o1 = sums[start + filters : start + filters + own]
                        o2 = sums[start + 2 * filters : start + 2 * filters + own]
                        o3 = sums[start + 3 * filters : start + 3 * filters + own]
                        for t in range(runs):
                            base = (line + j * step_w + lead_w + t * gap_w) * channels + group * fan
                            tap = (k * runs + t) * run
                            c = 0
                            while c + 4 <= run:
                                at = base + c
                                p0, p1, p2, p3 = pixels[at], pixels[at + 1], pixels[at + 2], pixels[at + 3]
                                at += step
                                q0, q1, q2, q3 = pixels[at], pixels[at + 1], pixels[at + 2], pixels[at + 3]
                                at += step
                                r0, r1, r2, r3 = pixels[at], pixels[at + 1], pixels[at + 2], pixels[at + 3]
                                at += step
                                s0, s1, s2, s3 = pixels[at], pixels[at + 1], pixels[at + 2], pixels[at + 3]
                                w0 = weights[(tap + c) * filters + group * own :]
                                w1, w2, w3 = w0[filters:], w0[2 * filters :], w0[3 * filters :]
                                for f in range(own):
                                    o0[f] = o0[f] + p0 * w0[f] + p1 * w1[f] + p2 * w2[f] + p3 * w3[f]
                                    o1[f] = o1[f] + q0 * w0[f] + q1 * w1[f] + q2 * w2[f] + q3 * w3[f]
                                    o2[f] = o2[f] + r0 * w0[f] + r1 * w1[f] + r2 * w2[f] + r3 * w3[f]
                                    o3[f] = o3[f] + s0 * w0[f] + s1 * w1[f] + s2 * w2[f] + s3 * w3[f]
                                c += 4
                            while c < run:
                                at = base + c
                                p0, q0 = pixels[at], pixels[at + step]
                                r0, s0 = pixels[at + 2 * step], pixels[at + 3 * step]
                                w0 = weights[(tap + c) * filters + group * own :]
                                for f in range(own):
                                    o0[f] = o0[f] + p0 * w0[f]
                                    o1[f] = o1[f] + q0 * w0[f]
                                    o2[f] = o2[f] + r0 * w0[f]
                                    o3[f] = o3[f] + s0 * w0[f]
                                c += 1
                        continue
                    for t in range(wide):
                        h = j * step_w + lead_w + t * gap_w
                        if h < 0 or h >= width:
                            continue
                        for c in range(fan):
                            p0 = pixels[(line + h) * channels + group * fan + c]
                            at = ((k * wide + t) * fan + c) * filters + group * own
                            w0 = weights[at : at + own]
                            for f in range(own):
                                o0[f] = o0[f] + p0 * w0[f]
            j += together


def weight_grad(x: Array, g: Array, w: Array, place: Array, groups: int) -> None:
    """(N, D, H, W, C), (n, OD, OH, OW, F) -> w (KD, KH, KW, C/G, F): the windows times the gradient, summed."""
    images, planes, rows, columns, filters = g.shape
    depth, height, width, channels = x.shape[1], x.shape[2], x.shape[3], x.shape[4]
    deep, high, wide, fan = w.shape[0], w.shape[1], w.shape[2], w.shape[3]
    first, lead_d, step_d, gap_d = place[0], place[1], place[2], place[3]
    lead_h, step_h, gap_h = place[4], place[5], place[6]
    lead_w, step_w, gap_w = place[7], place[8], place[9]
    pixels, grads, sums = x.reshape(-1), g.reshape(-1), w.reshape(-1)
    inner = (-lead_w + step_w - 1) // step_w if lead_w < 0 else 0
    outer = min(columns, (width - 1 - lead_w - (wide - 1) * gap_w) // step_w + 1)
    own, step = filters // groups, step_w * channels
    run = wide * fan if gap_w == 1 and groups == 1 else fan
    runs = wide * fan // run
    for c in range(sums.size):
        sums[c] = 0
    for row in range(images * planes * rows):
        n, p, i = row // (planes * rows), row // rows % planes, row % rows
        at_d, at_h = p * step_d + lead_d, i * step_h + lead_h
        j = 0
        while j < columns:
            together = 4 if j >= inner and j + 4 <= outer else 1
            for group in range(groups):
                start = (row * columns + j) * filters + group * own
                g0 = grads[start : start + own]
                for k in range(deep * high):
                    y, v = at_d + k // high * gap_d, at_h + k % high * gap_h
                    if y < 0 or y >= depth or v < 0 or v >= height:
                        continue
                    line = (((first + n) * depth + y) * height + v) * width
                    if together == 4:
                        g1 = grads[start + filters : start + filters + own]
                        g2 = grads[start + 2 * filters : start + 2 * filters + own]
                        g3 = grads[start + 3 * filters : start + 3 * filters + own]
                        for t in range(runs):
                            base = (line + j * step_w + lead_w + t * gap_w) * channels + group * fan
                            tap = (k * runs + t) * run
                            c = 0
                            while c + 4 <= run:
                                at = base + c
                                p0, p1, p2, p3 = pixels[at], pixels[at + 1], pixels[at + 2], pixels[at + 3]
                                at += step
                                q0, q1, q2, q3 = pixels[at], pixels[at + 1], pixels[at + 2], pixels[at + 3]
                                at += step
                                r0, r1, r2, r3 = pixels[at], pixels[at + 1], pixels[at + 2], pixels[at + 3]
                                at += step
                                s0, s1, s2, s3 = pixels[at], pixels[at + 1], pixels[at + 2], pixels[at + 3]
                                w0 = sums[(tap + c) * filters + group * own :]
                                w1, w2, w3 = w0[filters:], w0[2 * filters :], w0[3 * filters :]
                                for f in range(own):
                                    w0[f] = w0[f] + p0 * g0[f] + q0 * g1[f] + r0 * g2[f] + s0 * g3[f]
                                    w1[f] = w1[f] + p1 * g0[f] + q1 * g1[f] + r1 * g2[f] + s1 * g3[f]
                                    w2[f] = w2[f] + p2 * g0[f] + q2 * g1[f] + r2 * g2[f] + s2 * g3[f]
                                    w3[f] = w3[f] + p3 * g0[f] + q3 * g1[f] + r3 * g2[f] + s3 * g3[f]
                                c += 4
                            while c < run:
                                at = base + c
                                p0, q0 = pixels[at], pixels[at + step]
                                r0, s0 = pixels[at + 2 * step], pixels[at + 3 * step]
                                w0 = sums[(tap + c) * filters + group * own :]
                                for f in range(own):
                                    w0[f] = w0[f] + p0 * g0[f] + q0 * g1[f] + r0 * g2[f] + s0 * g3[f]
                                c += 1
                        continue
                    for t in range(wide):
                        h = j * step_w + lead_w + t * gap_w
                        if h < 0 or h >= width:
                            continue
                        for c in range(fan):
                            p0 = pixels[(line + h) * channels + group * fan + c]
                            at = ((k * wide + t) * fan + c) * filters + group * own
                            w0 = sums[at : at + own]
                            for f in range(own):
                                w0[f] = w0[f] + p0 * g0[f]
            j += together
