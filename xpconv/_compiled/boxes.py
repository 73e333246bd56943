"""Loops of max pooling's gradient where windows are boxes of pixels that share few or none.

Images have three axes (N, D, H, W, C), some perhaps of one pixel; the innermost loop runs over neighbouring channels.
``ends`` holds, axis after axis, the first pixel of each window and then the pixel after its last. ``place`` holds the
first image and the one after the last, the first channel and the one after the last, whether windows share pixels, and
whether there are pixels outside of all windows; at 7 whether gradients are added to 0, which makes a 0 of a -0.
``room`` and ``numbers`` have two rows for the channels.
"""

from __future__ import annotations

from typing import Any

Array = Any


def gradient(x: Array, g: Array, dx: Array, place: Array, ends: Array, room: Array, numbers: Array) -> None:
    """(N, D, H, W, C), (N, OD, OH, OW, C) -> dx (N, D, H, W, C): each gradient goes to its window's first maximum."""
    best, at = room[0], numbers[0]
    height, width, channels = x.shape[2], x.shape[3], x.shape[4]
    deep, high, wide = g.shape[1], g.shape[2], g.shape[3]
    first, last, shared, gaps = place[2], place[3], place[4], place[5]
    rows, columns = ends[2 * deep :], ends[2 * (deep + high) :]
    zero, number = x.dtype.type(0), at.dtype.type
    some, more = last - first, zero if place[7] > 0 else -zero
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
                                    own[c] = share[c] + more if at[c] == s0 else zero


def rows(x: Array, g: Array, dx: Array, place: Array, ends: Array, room: Array, numbers: Array) -> None:
    """Do what `gradient` does for windows that share no pixel, over whole rows of pixels, for few channels.

    ``room`` and ``numbers`` have two rows, as long as one of pixels and channels.
    """
    best, share, at, spot = room[0], room[1], numbers[0], numbers[1]
    height, channels = x.shape[2], x.shape[4]
    deep, high, wide = g.shape[1], g.shape[2], g.shape[3]
    lines, columns = ends[2 * deep :], ends[2 * (deep + high) :]
    zero, number = x.dtype.type(0), at.dtype.type
    none, more = number(-1), zero if place[7] > 0 else -zero
    for q in range(spot.size):  # what lies outside of all windows
        spot[q] = none
        share[q] = zero
    for n in range(place[0], place[1]):
        if place[5] > 0:
            target = dx[n].reshape(-1)
            for p in range(target.size):
                target[p] = zero
        for a in range(deep):
            for i in range(high):
                begun = False
                for d in range(ends[a], ends[deep + a]):
                    for v in range(lines[i], lines[high + i]):
                        source, line = x[n, d, v].reshape(-1), number(d * height + v)
                        if begun:
                            for q in range(source.size):
                                m, t = best[q], source[q]
                                keep = (t <= m) | (m != m)
                                best[q] = m if keep else t
                                at[q] = at[q] if keep else line
                        else:
                            for q in range(source.size):
                                best[q] = source[q]
                                at[q] = line
                            begun = True
                for j in range(wide if begun else 0):
                    start, stop = columns[j] * channels, columns[wide + j] * channels
                    for q in range(start, min(start + channels, stop)):
                        m, s, w, c = best[q], at[q], q, q - start
                        one = g[n, a, i, j, c] + more
                        spot[q] = none
                        share[q] = one
                        for p in range(q + channels, stop, channels):  # greater, or NaN, or equal in a row before
                            t, r = best[p], at[p]
                            better = (t > m) | ((t == m) & (r < s)) | ((t != t) & ((m == m) | (r < s)))
                            m = t if better else m
                            s = r if better else s
                            w = p if better else w
                            spot[p] = none
                            share[p] = one
                        spot[w] = s
                for d in range(ends[a], ends[deep + a]):
                    for v in range(lines[i], lines[high + i]):
                        own, line = dx[n, d, v].reshape(-1), number(d * height + v)
                        for q in range(own.size):
                            own[q] = share[q] if spot[q] == line else zero


def ties(x: Array, g: Array, dx: Array, place: Array, ends: Array, room: Array, numbers: Array) -> None:
    """Give each gradient to all the maxima of its window, of windows that share no pixel; with ``place[6]`` in parts.

    ``numbers[0, 0]`` becomes 1 if a maximum is NaN: those are not served.
    """
    height, width, channels = x.shape[2], x.shape[3], x.shape[4]
    deep, high, wide = g.shape[1], g.shape[2], g.shape[3]
    first, last, best, part = place[2], place[3], room[0], room[1]
    rows, columns = ends[2 * deep :], ends[2 * (deep + high) :]
    zero, one = x.dtype.type(0), x.dtype.type(1)
    some, more = last - first, zero if place[7] > 0 else -zero
    for n in range(place[0], place[1]):
        pixels, target = x[n].reshape(-1), dx[n].reshape(-1)
        for p in range(target.size // channels if place[5] > 0 else 0):
            own = target[p * channels + first : p * channels + last]
            for c in range(some):
                own[c] = zero
        for a in range(deep):
            for i in range(high):
                for j in range(wide):
                    share, begun = g[n, a, i, j][first:last], False
                    for turn in range(3):  # the maximum, how many there are, what each gets
                        if turn == 1:
                            for c in range(some):
                                part[c] = zero if place[6] > 0 else one
                        elif turn == 2:
                            for c in range(some):
                                part[c] = share[c] / max(part[c], one) + more
                        for d in range(ends[a], ends[deep + a] if turn != 1 or place[6] > 0 else 0):
                            for v in range(rows[i], rows[high + i]):
                                for u in range(columns[j], columns[wide + j]):
                                    at = ((d * height + v) * width + u) * channels
                                    pixel = pixels[at + first : at + last]
                                    if turn == 0 and not begun:
                                        for c in range(some):
                                            best[c] = pixel[c]
                                        begun = True
                                    elif turn == 0:
                                        for c in range(some):
                                            m, t = best[c], pixel[c]
                                            best[c] = m if (t <= m) | (m != m) else t
                                    elif turn == 1:
                                        for c in range(some):
                                            part[c] += one if pixel[c] == best[c] else zero
                                    else:
                                        own = target[at + first : at + last]
                                        for c in range(some):
                                            own[c] = part[c] if pixel[c] == best[c] else zero
                    for c in range(some if begun else 0):
                        if best[c] != best[c]:
                            numbers[0, 0] = 1
