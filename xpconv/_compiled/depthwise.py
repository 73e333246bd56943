"""Loops of depthwise convolutions: the innermost one runs over neighbouring channels.

Four neighbouring windows are taken together and three taps of a row, so that a weight is read once for four products
and a sum for three. Where windows and taps lie side by side, several pixels are taken as one with as many channels more
(`merged`), the weight repeated accordingly. Taps beyond the image are left out. Arrays are contiguous; shapes are
those of three spatial axes. ``place`` holds (first image, last; and for each axis: first window, last, the pixel of
the first window's first tap, stride, dilation); the result holds the windows of the place alone.
"""

from __future__ import annotations

from typing import Any

Array = Any


def forward(x: Array, w: Array, b: Array, z: Array, place: Array, merged: int) -> None:
    """(N, D, H, W, C), (KD, KH, KW, merged·C), (C,) -> z (n, OD, OH, OW, C): windows times weights."""
    images, planes, rows, columns, channels = z.shape
    depth, height, width = x.shape[1], x.shape[2], x.shape[3]
    deep, high, wide, length = w.shape
    first, lead_d, step_d, gap_d = place[0], place[1], place[2], place[3]
    lead_h, step_h, gap_h = place[4], place[5], place[6]
    lead_w, step_w, gap_w = place[7], place[8], place[9]
    pixels, weights, sums = x.reshape(-1), w.reshape(-1), z.reshape(-1)
    inner = (-lead_w + step_w - 1) // step_w if lead_w < 0 else 0  # windows all of whose taps lie inside
    outer = min(columns, (width - 1 - lead_w - (wide - 1) * gap_w) // step_w + 1)
    step, gap = merged * step_w * channels, gap_w * channels
    for row in range(images * planes * rows):
        n, p, i = row // (planes * rows), row // rows % planes, row % rows
        at_d, at_h = p * step_d + lead_d, i * step_h + lead_h
        j = 0
        while j < columns:
            start = (row * columns + j) * channels
            if j >= inner and j + 4 * merged <= outer:
                o0 = sums[start : start + length]
                o1 = sums[start + length : start + 2 * length]
                o2 = sums[start + 2 * length : start + 3 * length]
                o3 = sums[start + 3 * length : start + 4 * length]
                for m in range(4 * merged):
                    o = sums[start + m * channels : start + (m + 1) * channels]
                    for c in range(channels):
                        o[c] = b[c]
                for k in range(deep * high):
                    y, v = at_d + k // high * gap_d, at_h + k % high * gap_h
                    if y < 0 or y >= depth or v < 0 or v >= height:
                        continue
                    base = ((((first + n) * depth + y) * height + v) * width + j * step_w + lead_w) * channels
                    t = 0
                    while t + 3 <= wide:
                        x0 = pixels[base + t * gap :]
                        x1, x2, x3 = x0[step:], x0[2 * step :], x0[3 * step :]
                        y0, y1, y2, y3 = x0[gap:], x1[gap:], x2[gap:], x3[gap:]
                        z0, z1, z2, z3 = y0[gap:], y1[gap:], y2[gap:], y3[gap:]
                        u = weights[(k * wide + t) * length : (k * wide + t + 1) * length]
                        r = weights[(k * wide + t + 1) * length : (k * wide + t + 2) * length]
                        s = weights[(k * wide + t + 2) * length : (k * wide + t + 3) * length]
                        for c in range(length):
                            o0[c] = o0[c] + x0[c] * u[c] + y0[c] * r[c] + z0[c] * s[c]
                            o1[c] = o1[c] + x1[c] * u[c] + y1[c] * r[c] + z1[c] * s[c]
                            o2[c] = o2[c] + x2[c] * u[c] + y2[c] * r[c] + z2[c] * s[c]
                            o3[c] = o3[c] + x3[c] * u[c] + y3[c] * r[c] + z3[c] * s[c]
                        t += 3
                    while t < wide:
                        x0 = pixels[base + t * gap :]
                        x1, x2, x3 = x0[step:], x0[2 * step :], x0[3 * step :]
                        u = weights[(k * wide + t) * length : (k * wide + t + 1) * length]
                        for c in range(length):
                            o0[c] = o0[c] + x0[c] * u[c]
                            o1[c] = o1[c] + x1[c] * u[c]
                            o2[c] = o2[c] + x2[c] * u[c]
                            o3[c] = o3[c] + x3[c] * u[c]
                        t += 1
                j += 4 * merged
                continue
            o0 = sums[start : start + channels]
            for c in range(channels):
                o0[c] = b[c]
            for k in range(deep * high):
                y, v = at_d + k // high * gap_d, at_h + k % high * gap_h
                if y < 0 or y >= depth or v < 0 or v >= height:
                    continue
                for t in range(wide):
                    h = j * step_w + lead_w + t * gap_w
                    if h < 0 or h >= width:
                        continue
                    base = ((((first + n) * depth + y) * height + v) * width + h) * channels
                    x0 = pixels[base : base + channels]
                    u = weights[(k * wide + t) * length : (k * wide + t) * length + channels]
                    for c in range(channels):
                        o0[c] = o0[c] + x0[c] * u[c]
            j += 1


def weight_grad(x: Array, g: Array, w: Array, place: Array) -> None:
    """(N, D, H, W, C), (n, OD, OH, OW, C) -> w (KD, KH, KW, C): the windows times the gradient, summed."""
    images, planes, rows, columns, channels = g.shape
    depth, height, width = x.shape[1], x.shape[2], x.shape[3]
    deep, high, wide = w.shape[0], w.shape[1], w.shape[2]
    first, lead_d, step_d, gap_d = place[0], place[1], place[2], place[3]
    lead_h, step_h, gap_h = place[4], place[5], place[6]
    lead_w, step_w, gap_w = place[7], place[8], place[9]
    pixels, grads, sums = x.reshape(-1), g.reshape(-1), w.reshape(-1)
    inner = (-lead_w + step_w - 1) // step_w if lead_w < 0 else 0
    outer = min(columns, (width - 1 - lead_w - (wide - 1) * gap_w) // step_w + 1)
    step, gap = step_w * channels, gap_w * channels
    for c in range(sums.size):
        sums[c] = 0
    for row in range(images * planes * rows):
        n, p, i = row // (planes * rows), row // rows % planes, row % rows
        at_d, at_h = p * step_d + lead_d, i * step_h + lead_h
        for k in range(deep * high):
            y, v = at_d + k // high * gap_d, at_h + k % high * gap_h
            if y < 0 or y >= depth or v < 0 or v >= height:
                continue
            line = (((first + n) * depth + y) * height + v) * width
            j = 0
            while j < columns:
                start = (row * columns + j) * channels
                g0 = grads[start : start + channels]
                if j >= inner and j + 4 <= outer:
                    g1 = grads[start + channels : start + 2 * channels]
                    g2 = grads[start + 2 * channels : start + 3 * channels]
                    g3 = grads[start + 3 * channels : start + 4 * channels]
                    base = (line + j * step_w + lead_w) * channels
                    for t in range(wide):
                        x0 = pixels[base + t * gap :]
                        x1, x2, x3 = x0[step:], x0[2 * step :], x0[3 * step :]
                        o = sums[(k * wide + t) * channels : (k * wide + t + 1) * channels]
                        for c in range(channels):
                            o[c] = o[c] + g0[c] * x0[c] + g1[c] * x1[c] + g2[c] * x2[c] + g3[c] * x3[c]
                    j += 4
                    continue
                for t in range(wide):
                    h = j * step_w + lead_w + t * gap_w
                    if h < 0 or h >= width:
                        continue
                    x0 = pixels[(line + h) * channels : (line + h + 1) * channels]
                    o = sums[(k * wide + t) * channels : (k * wide + t + 1) * channels]
                    for c in range(channels):
                        o[c] = o[c] + g0[c] * x0[c]
                j += 1
