"""Loops of average pooling on images of two axes: the innermost one runs over neighbouring channels.

Sums are taken in the order in which NumPy's calls take them, axis after axis, so results are the same bits. Arrays and
``place`` as in `maxima`; ``taps`` holds the taps of the windows of each axis, (OH + OW), which sums are divided by.
"""

from __future__ import annotations

from typing import Any

Array = Any


def forward(x: Array, y: Array, place: Array, order_h: Array, order_w: Array, row: Array, taps: Array) -> None:
    """(N, H, W, C) -> y (N, OH, OW, C), the rows of the tile ``place[11]`` to ``place[12]`` of ``place[13]`` images."""
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    first, step_h, gap_h, before_h, full_h = place[0], place[2], place[3], place[4], place[5]
    step_w, gap_w, before_w, full_w = place[7], place[8], place[9], place[10]
    zero = x.dtype.type(0)
    for n in range(first, first + place[13]):
        for i in range(place[11], place[12]):
            begun = False
            if full_h == 0:
                for u in range(width * channels):
                    row[u] = zero
                begun = True
            for k in range(order_h.size):
                v = i * step_h + order_h[k] * gap_h - before_h
                if v < 0 or v >= height:
                    continue
                source = x[n, v].reshape(-1)
                if not begun:
                    for u in range(width * channels):
                        row[u] = source[u]
                    begun = True
                    continue
                for u in range(width * channels):
                    row[u] = row[u] + source[u]
            for j in range(y.shape[2]):
                o, many = y[n, i, j], taps[i] * taps[y.shape[1] + j]
                begun = False
                if full_w == 0:
                    for c in range(channels):
                        o[c] = zero
                    begun = True
                for k in range(order_w.size):
                    u = j * step_w + order_w[k] * gap_w - before_w
                    if u < 0 or u >= width:
                        continue
                    source = row[u * channels : (u + 1) * channels]
                    if not begun:
                        for c in range(channels):
                            o[c] = source[c]
                        begun = True
                        continue
                    for c in range(channels):
                        o[c] = o[c] + source[c]
                for c in range(channels):
                    o[c] = o[c] / many
