"""Loops of Lp pooling for p = 1, 2 and infinity (``p`` is 0 then): powers and roots with the same bits everywhere.

Images have three axes (N, D, H, W, C), some perhaps of one pixel; the innermost loop runs over neighbouring channels.
``place`` holds the first image, the one after the last and the one that comes first in the result; the same of the
windows on the first axis; and of each axis the kernel, the stride, the dilation and the padding before.
"""

from __future__ import annotations

import math
from typing import Any

Array = Any


def forward(x: Array, y: Array, place: Array, p: int, largest: Array, total: Array) -> None:
    """(N, D, H, W, C) -> y (n, od, OH, OW, C): the norms, of taps inside the image, scaled by the largest magnitude."""
    depth, height, width, channels = x.shape[1], x.shape[2], x.shape[3], x.shape[4]
    deep_k, deep_s, deep_g, deep_b = place[6], place[7], place[8], place[9]
    high_k, high_s, high_g, high_b = place[10], place[11], place[12], place[13]
    wide_k, wide_s, wide_g, wide_b = place[14], place[15], place[16], place[17]
    zero, one, most = x.dtype.type(0), x.dtype.type(1), x.dtype.type(math.inf)
    for n in range(place[0], place[1]):
        for a in range(place[3], place[4]):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    o = y[n - place[2], a - place[5], i, j]
                    for c in range(channels):
                        largest[c] = zero
                        total[c] = zero
                    for turn in range(1 if p == 0 else 2):
                        for k in range(deep_k):
                            d = a * deep_s + k * deep_g - deep_b
                            if d < 0 or d >= depth:
                                continue
                            for h in range(high_k):
                                v = i * high_s + h * high_g - high_b
                                if v < 0 or v >= height:
                                    continue
                                for w in range(wide_k):
                                    u = j * wide_s + w * wide_g - wide_b
                                    if u < 0 or u >= width:
                                        continue
                                    pixel = x[n, d, v, u]
                                    if turn == 0:
                                        for c in range(channels):
                                            m, t = largest[c], abs(pixel[c])
                                            largest[c] = m if (t <= m) | (m != m) else t
                                    elif p == 1:
                                        for c in range(channels):
                                            total[c] += abs(pixel[c]) / o[c]
                                    else:
                                        for c in range(channels):
                                            t = abs(pixel[c]) / o[c]
                                            total[c] += t * t
                        if turn == 0:
                            for c in range(channels):  # the scale
                                m = largest[c]
                                o[c] = m if p == 0 or ((m > zero) & (m < most)) else one
                        elif p == 1:
                            for c in range(channels):
                                o[c] = o[c] * total[c]
                        else:
                            for c in range(channels):
                                o[c] = o[c] * math.sqrt(total[c])


def gradient(x: Array, g: Array, dx: Array, place: Array, p: int, norms: Array, shares: Array) -> None:
    """(N, D, H, W, C), (N, OD, OH, OW, C) -> dx (N, D, H, W, C), its rows ``place[18]`` to ``place[19]``.

    ``norms`` are those of the windows of ``place``, as `forward` gives them; ``shares``, as many, has room.
    """
    depth, height, width, channels = x.shape[1], x.shape[2], x.shape[3], x.shape[4]
    deep_k, deep_s, deep_g, deep_b = place[6], place[7], place[8], place[9]
    high_k, high_s, high_g, high_b = place[10], place[11], place[12], place[13]
    wide_k, wide_s, wide_g, wide_b = place[14], place[15], place[16], place[17]
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for n in range(place[0], place[1]):
        for a in range(place[3], place[4]):
            for i in range(g.shape[2]):
                for j in range(g.shape[3]):
                    norm, share = norms[n - place[2], a - place[5], i, j], shares[n - place[2], a - place[5], i, j]
                    source = g[n, a, i, j]
                    for c in range(channels):
                        norm[c] = norm[c] if norm[c] > zero else one
                        share[c] = zero if p == 0 else source[c]
                    if p != 0:
                        continue
                    for k in range(deep_k):  # how many magnitudes are the largest
                        d = a * deep_s + k * deep_g - deep_b
                        if d < 0 or d >= depth:
                            continue
                        for h in range(high_k):
                            v = i * high_s + h * high_g - high_b
                            if v < 0 or v >= height:
                                continue
                            for w in range(wide_k):
                                u = j * wide_s + w * wide_g - wide_b
                                if u < 0 or u >= width:
                                    continue
                                pixel = x[n, d, v, u]
                                for c in range(channels):
                                    share[c] += one if abs(pixel[c]) == norm[c] else zero
                    for c in range(channels):
                        share[c] = source[c] / (share[c] if share[c] > one else one)
        for d in range(place[18], place[19]):
            for v in range(height):
                for u in range(width):
                    pixel, o = x[n, d, v, u], dx[n, d, v, u]
                    beyond, begun = False, False  # whether windows beyond the output would reach it, as zeros
                    for k in range(deep_k - 1, -1, -1):
                        a = d + deep_b - k * deep_g
                        if a % deep_s != 0:
                            continue
                        a = a // deep_s
                        for h in range(high_k - 1, -1, -1):
                            i = v + high_b - h * high_g
                            if i % high_s != 0:
                                continue
                            i = i // high_s
                            for w in range(wide_k - 1, -1, -1):
                                j = u + wide_b - w * wide_g
                                if j % wide_s != 0:
                                    continue
                                j = j // wide_s
                                if a < 0 or a >= g.shape[1] or i < 0 or i >= g.shape[2] or j < 0 or j >= g.shape[3]:
                                    beyond = True
                                    continue
                                norm = norms[n - place[2], a - place[5], i, j]
                                share = shares[n - place[2], a - place[5], i, j]
                                if not begun:
                                    for c in range(channels):
                                        o[c] = -zero
                                    begun = True
                                if p == 0:
                                    for c in range(channels):
                                        t, s = pixel[c], share[c]
                                        s = s if t > zero else (-s if t < zero else t * s)
                                        s = s * (one if abs(t) == norm[c] else zero)
                                        o[c] += s if t != zero else zero
                                elif p == 1:
                                    for c in range(channels):
                                        t, s = pixel[c], share[c]
                                        s = s if t > zero else (-s if t < zero else t * s)
                                        o[c] += s if t != zero else zero
                                else:
                                    for c in range(channels):
                                        t, s = pixel[c], share[c]
                                        s = s if t > zero else (-s if t < zero else t * s)
                                        s = s * (abs(t) / norm[c])
                                        o[c] += s if t != zero else zero
                    if not begun:
                        for c in range(channels):
                            o[c] = zero
                    elif beyond:
                        for c in range(channels):
                            o[c] += zero
