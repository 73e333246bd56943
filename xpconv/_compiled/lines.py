"""Loops of max pooling's gradient along one axis, for windows of any length and images of any rank.

Arrays are (A, n, B): what lies outside of the axis, the axis, and what lies inside, over which the innermost loop runs.
``place`` holds the kernel, the stride, the dilation, and the padding before the first pixel.
"""

from __future__ import annotations

import math
from typing import Any

from xpconv._compiled.maxima_gradient import along, give_along, readers_of

Array = Any


def first(x: Array, best: Array, found: Array, place: Array) -> None:
    """Find the tap of the first maximum, or first NaN, or -1: (A, n, B) -> best (A, m, B), found (A, m, B)."""
    pixels, tops, taps, line = x.reshape(-1), best.reshape(-1), found.reshape(-1), x.shape[1] * x.shape[2]
    sizes, axis = (x.shape[1], best.shape[1], x.shape[2]), (place[0], place[1], place[2], place[3])
    for a in range(x.shape[0]):
        along(tops, taps, a * best.shape[1] * x.shape[2], pixels, a * line, sizes, axis)


def long_first(x: Array, best: Array, found: Array, place: Array, values: Array, spots: Array) -> None:
    """Do what `first` does, for pixels side by side, at a cost that does not grow with the windows.

    The axis is cut into blocks as long as a window. A window begins in one and ends in the next: its maximum is that of
    the end of the first, kept in ``values`` and ``spots`` (K + 1, B), and of the beginning of the second.
    """
    kernel, step, before = place[0], place[1], place[3]
    size, number = x.shape[1], found.dtype.type
    none, many = number(-1), best.shape[1]
    for a in range(x.shape[0]):
        j = 0  # the next window
        while j < many:
            start = (j * step // kernel) * kernel - before  # of the block in which it begins
            last, least = min(start + kernel, size), max(start, 0)
            for p in range(last - 1, least - 1, -1):  # from here to the end of the block
                pixel, v, s, t0 = x[a, p], values[p - start], spots[p - start], number(p)
                if p == last - 1:
                    for b in range(v.size):
                        v[b] = pixel[b]
                        s[b] = t0
                    continue
                w, r = values[p + 1 - start], spots[p + 1 - start]
                for b in range(v.size):
                    m, t = w[b], pixel[b]
                    take = (t >= m) | (t != t)
                    v[b] = t if take else m
                    s[b] = t0 if take else r[b]
            ahead, ahead_at = values[kernel], spots[kernel]  # from the beginning of the next block to here
            q = start + kernel
            while j < many and j * step - before < start + kernel:
                begin = j * step - before
                end, o, own, origin = min(begin + kernel, size), best[a, j], found[a, j], number(begin)
                while q < end:
                    pixel, t0 = x[a, max(q, 0)], number(q)
                    if q == max(start + kernel, 0):
                        for b in range(ahead.size):
                            ahead[b] = pixel[b]
                            ahead_at[b] = t0
                    elif q > 0:
                        for b in range(ahead.size):
                            m, t = ahead[b], pixel[b]
                            keep = (t <= m) | (m != m)
                            ahead[b] = m if keep else t
                            ahead_at[b] = ahead_at[b] if keep else t0
                    q += 1
                near = max(begin, least) < last
                beyond = end > max(start + kernel, 0)
                v, s = values[max(begin, least) - start if near else 0], spots[max(begin, least) - start if near else 0]
                if near and beyond:  # in two loops, because in one there would be too many arrays that might overlap
                    for b in range(own.size):
                        m, t = v[b], ahead[b]
                        own[b] = (s[b] if (t <= m) | (m != m) else ahead_at[b]) - origin
                    for b in range(own.size):
                        m, t = v[b], ahead[b]
                        o[b] = m if (t <= m) | (m != m) else t
                elif near:
                    for b in range(own.size):
                        o[b] = v[b]
                        own[b] = s[b] - origin
                elif beyond:
                    for b in range(own.size):
                        o[b] = ahead[b]
                        own[b] = ahead_at[b] - origin
                else:
                    for b in range(own.size):
                        own[b] = none
                j += 1


def give(g: Array, found: Array, home: Array, place: Array, least: Array, held: int) -> None:
    """Add each window's gradient to the tap that was found, the last windows first: (A, m, B) -> home (A, n, B).

    A sum begins with what the tap ``least`` of each pixel gets, or where that is -1 with 0: a sum of -0 alone is -0. If
    ``held``, there are sums to add to.
    """
    kernel, step, gap, before = place[0], place[1], place[2], place[3]
    zero = home.dtype.type(0)
    for a in range(g.shape[0]):
        plane = home[a].reshape(-1)
        for u in range(0 if held else home.shape[1]):
            o, start = home[a, u], -zero if least[u] >= 0 else zero
            for b in range(o.size):
                o[b] = start
        for j in range(g.shape[1] - 1, -1, -1):
            share, own, start = g[a, j], found[a, j], j * step - before
            for b in range(own.size):
                k = own[b]
                if k >= 0:
                    plane[(start + k * gap) * own.size + b] += share[b]
        for u in range(0 if held else home.shape[1]):
            k = least[u]
            if k < 0:
                continue
            o, own = home[a, u], found[a, (u + before - k * gap) // step]
            for b in range(o.size):  # what did not come from this tap was 0
                o[b] += -zero if own[b] == k else zero
            for b in range(o.size):
                if o[b] != zero or math.copysign(1.0, o[b]) > 0:
                    continue
                for t in range(k + 1, kernel):
                    j = u + before - t * gap
                    if j >= 0 and j % step == 0 and j // step < g.shape[1] and found[a, j // step, b] != t:
                        o[b] = zero


def gather(g: Array, found: Array, home: Array, place: Array, heads: Array, held: int) -> None:
    """Do what `give` does, tap after tap, which is faster for short windows.

    ``heads`` says which taps are the first to reach their pixels.
    """
    shares, taps, target, size = g.reshape(-1), found.reshape(-1), home.reshape(-1), g.shape[1] * g.shape[2]
    begins, readers = readers_of((place[0], place[1], place[2], place[3]), home.shape[1], g.shape[1])
    for a in range(g.shape[0]):
        own, to = a * size, a * home.shape[1] * g.shape[2]
        give_along(target, to, shares[own:], taps[own:], begins, readers, (g.shape[2], 0, 2 * held, heads))
