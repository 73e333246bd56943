"""Loops of max pooling's gradient where windows are boxes of pixels that share few or none.

Images have three axes (N, D, H, W, C), some perhaps of one pixel; the innermost loop runs over neighbouring channels.
``ends`` holds, axis after axis, the first pixel of each window and then the pixel after its last. ``place`` holds the
first image and the one after the last, the first channel and the one after the last, whether windows share pixels, and
whether there are pixels outside of all windows. ``best`` and ``at`` have room for the channels.
"""

from __future__ import annotations

from typing import Any

Array = Any


def gradient(x: Array, g: Array, dx: Array, place: Array, ends: Array, best: Array, at: Array) -> None:
    """(N, D, H, W, C), (N, OD, OH, OW, C) -> dx (N, D, H, W, C): each gradient goes to its window's first maximum."""
    height, width, channels = x.shape[2], x.shape[3], x.shape[4]
    deep, high, wide = g.shape[1], g.shape[2], g.shape[3]
    first, last, shared, gaps = place[2], place[3], place[4], place[5]
    rows, columns = ends[2 * deep :], ends[2 * (deep + high) :]
    zero, number = x.dtype.type(0), at.dtype.type
    some = last - first
    for n in range(place[0], place[1]):
        pixels, target = x[n].reshape(-1), dx[n].reshape(-1)
        if shared + gaps > 0:
            for p in range(target.size // channels):
                own = target[p * channels + first : p * channels + last]
                for c in range(some):
                    own[c] = zero
        for a in range(deep):
            for i in range(high):
                for j in range(wide):
                    begun = False
                    start, stop = columns[j], columns[wide + j]
                    for d in range(ends[a], ends[deep + a]):
                        for v in range(rows[i], rows[high + i]):
                            line = (d * height + v) * width
                            u = start
                            if not begun and u < stop:
                                p0 = pixels[(line + u) * channels + first : (line + u) * channels + last]
                                s0 = number(line + u)
                                for c in range(some):
                                    best[c] = p0[c]
                                    at[c] = s0
                                u += 1
                                begun = True
                            while u + 2 < stop:  # three pixels for one reading and writing of the best
                                base = (line + u) * channels + first
                                p0, p1 = pixels[base : base + some], pixels[base + channels : base + channels + some]
                                p2 = pixels[base + 2 * channels : base + 2 * channels + some]
                                s0, s1, s2 = number(line + u), number(line + u + 1), number(line + u + 2)
                                for c in range(some):
                                    m, s, t = best[c], at[c], p0[c]
                                    keep = (t <= m) | (m != m)
                                    m = m if keep else t
                                    s = s if keep else s0
                                    t = p1[c]
                                    keep = (t <= m) | (m != m)
                                    m = m if keep else t
                                    s = s if keep else s1
                                    t = p2[c]
                                    keep = (t <= m) | (m != m)
                                    best[c] = m if keep else t
                                    at[c] = s if keep else s2
                                u += 3
                            while u < stop:
                                p0 = pixels[(line + u) * channels + first : (line + u) * channels + last]
                                s0 = number(line + u)
                                for c in range(some):
                                    m, t = best[c], p0[c]
                                    keep = (t <= m) | (m != m)
                                    best[c] = m if keep else t
                                    at[c] = at[c] if keep else s0
                                u += 1
                    share = g[n, a, i, j][first:last]
                    if shared > 0:
                        for c in range(some):
                            target[at[c] * channels + first + c] += share[c]
                        continue
                    for d in range(ends[a], ends[deep + a]):
                        for v in range(rows[i], rows[high + i]):
                            for u in range(start, stop):
                                p = (d * height + v) * width + u
                                own, s0 = target[p * channels + first : p * channels + last], number(p)
                                for c in range(some):
                                    own[c] = share[c] if at[c] == s0 else zero
