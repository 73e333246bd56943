"""Loops of max pooling on images of two axes: the innermost one runs over neighbouring channels.

Axes are taken in the order in which NumPy's calls take them, and of two equal values, zeros of either sign, the second,
as its ``maximum`` does: so results are the same bits. ``place`` holds the first image; and of each axis the first
window of the tile, the stride, the dilation, the padding before, and whether every window has a tap inside; ``order_h``
and ``order_w`` the taps of each axis in order. Arrays are contiguous, results those of the tile alone unless said.
"""

from __future__ import annotations

from typing import Any

from xpconv._compiled.lanes import LANES, fill, larger, load, store

Array = Any

WIDE = 4 * LANES  # numbers of which a loop has as many vectors as it can without waiting


def forward(
    x: Array, y: Array, place: Array, deep: Array, rows: Array, columns: Array, row: Array, least: float
) -> None:
    """(N, D, H, W, C) -> y (N, OD, OH, OW, C), of images, planes and rows ``place`` (first, after the last of each).

    Axis by axis a list of the pixels of each window, as in `averages`; ``row`` has room for one of pixels and channels.
    """
    channels, length, lowest = x.shape[4], x.shape[3] * x.shape[4], x.dtype.type(least)
    source, target, none = x.reshape(-1), y.reshape(-1), fill(row, least)
    for n in range(place[0], place[1]):
        for a in range(place[2], place[3]):
            for i in range(place[4], place[5]):
                planes, lines = deep[deep[a] + 1 : deep[a + 1]], rows[rows[i] + 1 : rows[i + 1]]
                _rows(row, source, n * x.shape[1], x.shape[2], length, planes, lines, lowest)
                for j in range(y.shape[3]):
                    begin, end = columns[j] + 1, columns[j + 1]
                    to = (((n * y.shape[1] + a) * y.shape[2] + i) * y.shape[3] + j) * channels
                    c = 0
                    while c < channels and channels >= WIDE:
                        c = min(c, channels - WIDE)
                        m0, m1, m2, m3 = none, none, none, none
                        for e in range(begin, end):
                            at = columns[e] * channels + c
                            m0, m1 = larger(m0, load(row, at)), larger(m1, load(row, at + LANES))
                            m2 = larger(m2, load(row, at + 2 * LANES))
                            m3 = larger(m3, load(row, at + 3 * LANES))
                        store(target, to + c, m0)
                        store(target, to + c + LANES, m1)
                        store(target, to + c + 2 * LANES, m2)
                        store(target, to + c + 3 * LANES, m3)
                        c += WIDE
                    while c < channels and channels >= LANES:
                        c = min(c, channels - LANES)
                        m0 = none
                        for e in range(begin, end):
                            m0 = larger(m0, load(row, columns[e] * channels + c))
                        store(target, to + c, m0)
                        c += LANES
                    for b in range(c, channels):
                        m = lowest
                        for e in range(begin, end):
                            t = row[columns[e] * channels + b]
                            m = m if (t < m) | (m != m) else t
                        target[to + b] = m


def _rows(
    row: Array, source: Array, first: int, height: int, length: int, planes: Array, lines: Array, least: float
) -> None:
    """Take the maxima of some rows, so long, of some planes of an image, which begins with the plane ``first``."""
    none, u = fill(row, least), 0
    while u < length and length >= WIDE:
        u = min(u, length - WIDE)  # the last ones may take some numbers again
        m0, m1, m2, m3 = none, none, none, none
        for line in lines:
            for plane in planes:
                at = ((first + plane) * height + line) * length + u
                m0, m1 = larger(m0, load(source, at)), larger(m1, load(source, at + LANES))
                m2, m3 = larger(m2, load(source, at + 2 * LANES)), larger(m3, load(source, at + 3 * LANES))
        store(row, u, m0)
        store(row, u + LANES, m1)
        store(row, u + 2 * LANES, m2)
        store(row, u + 3 * LANES, m3)
        u += WIDE
    for v in range(u, length):
        m = least
        for line in lines:
            for plane in planes:
                t = source[((first + plane) * height + line) * length + v]
                m = m if (t < m) | (m != m) else t
        row[v] = m


def places(x: Array, spots: Array, place: Array, best: Array) -> None:
    """(N, H, W, C) -> spots (N, OH, OW, C): the first maximum of each window, or first NaN; -1 for none."""
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    first, step_h, gap_h, before_h = place[0], place[2], place[3], place[4]
    step_w, gap_w, before_w = place[7], place[8], place[9]
    for n in range(first, first + place[13]):
        for i in range(place[11], place[12]):
            for j in range(spots.shape[2]):
                o = spots[n, i, j]
                for c in range(channels):
                    o[c] = -1
                begun = False
                for k in range(place[14]):
                    v = i * step_h + k * gap_h - before_h
                    if v < 0 or v >= height:
                        continue
                    for t in range(place[15]):
                        u = j * step_w + t * gap_w - before_w
                        if u < 0 or u >= width:
                            continue
                        pixel, at = x[n, v, u], v * width + u
                        if not begun:
                            for c in range(channels):
                                best[c] = pixel[c]
                                o[c] = at
                            begun = True
                            continue
                        for c in range(channels):
                            m, p = best[c], pixel[c]
                            keep = (p <= m) | (m != m)
                            best[c] = m if keep else p
                            o[c] = o[c] if keep else at


def gradient(x: Array, g: Array, dx: Array, place: Array, tops: Array, found: Array, sums: Array) -> None:
    """(N, H, W, C), (N, OH, OW, C) -> dx (N, H, W, C): each window's gradient to its first maximum, or first NaN.

    Of the tile's rows of windows ``place[11]`` to ``place[12]`` of ``place[13]`` images, all of a row. What they give
    is added to the first ``place[14]`` of the rows that they reach, from ``place[15]`` up to ``place[16]``, and put
    into the others. Work arrays: ``tops`` (rows reached, OW, C), the largest pixel of a window in each row that the
    tile reads; ``found`` (rows reached + OH, OW, C), its column, then the first row of each window that has its
    maximum; ``sums`` (OW, C), the gradients of a row. From ``place[17]`` on stand the kernel's sizes and which taps of
    each axis are the first to reach their pixels, (rows + columns).
    """
    width, channels = x.shape[2], x.shape[3]
    first, step_h, gap_h, before_h = place[0], place[2], place[3], place[4]
    step_w, gap_w, before_w = place[7], place[8], place[9]
    top, bottom, written, low, high = place[11], place[12], place[14], place[15], place[16]
    heads = place[17:]
    columns, high_k, wide_k = g.shape[2], heads[0], heads[1]
    # taps have the width of pixels, so that both fill a register alike
    zero, number = x.dtype.type(0), found.dtype.type
    none, once, twice = number(-1), number(1), number(2)
    length = columns * channels
    firsts = found[(high - low) * length :]
    for n in range(first, first + place[13]):
        for v in range(low, high):
            source = x[n, v].reshape(-1)
            for j in range(columns):
                at = ((v - low) * columns + j) * channels
                o, own = tops[at : at + channels], found[at : at + channels]
                u = j * step_w - before_w
                if wide_k > 1 and u >= 0 and u + (wide_k - 1) * gap_w < width:
                    p0 = source[u * channels : (u + 1) * channels]
                    p1 = source[(u + gap_w) * channels : (u + gap_w + 1) * channels]
                    if wide_k == 2:
                        for c in range(channels):
                            m, t = p0[c], p1[c]
                            keep = (t <= m) | (m != m)
                            o[c] = m if keep else t
                            own[c] = number(0) if keep else once
                        continue
                    p2 = source[(u + 2 * gap_w) * channels : (u + 2 * gap_w + 1) * channels]
                    for c in range(channels):
                        m, t, p = p0[c], p1[c], p2[c]
                        keep = (t <= m) | (m != m)
                        m = m if keep else t
                        stay = (p <= m) | (m != m)
                        o[c] = m if stay else p
                        own[c] = (number(0) if keep else once) if stay else twice
                    for k in range(3, wide_k):
                        tap = number(k)
                        pixel = source[(u + k * gap_w) * channels : (u + k * gap_w + 1) * channels]
                        for c in range(channels):
                            m, t = o[c], pixel[c]
                            keep = (t <= m) | (m != m)
                            o[c] = m if keep else t
                            own[c] = own[c] if keep else tap
                    continue
                for c in range(channels):
                    o[c] = zero
                    own[c] = none
                for k in range(wide_k):
                    tap = number(k)
                    u = j * step_w + k * gap_w - before_w
                    if u < 0 or u >= width:
                        continue
                    pixel = source[u * channels : (u + 1) * channels]
                    for c in range(channels):
                        m, t = o[c], pixel[c]
                        keep = (own[c] >= 0) & ((t <= m) | (m != m))
                        o[c] = m if keep else t
                        own[c] = own[c] if keep else tap
        for i in range(top, bottom):
            own = firsts[(i - top) * length : (i - top + 1) * length]
            begun = False
            for k in range(high_k):
                tap = number(k)
                v = i * step_h + k * gap_h - before_h
                if v < low or v >= high:
                    continue
                row = tops[(v - low) * length : (v - low + 1) * length]
                if not begun:
                    for c in range(length):
                        sums[c] = row[c]
                        own[c] = tap
                    begun = True
                    continue
                for c in range(length):
                    m, t = sums[c], row[c]
                    keep = (t <= m) | (m != m)
                    sums[c] = m if keep else t
                    own[c] = own[c] if keep else tap
            if not begun:
                for c in range(length):
                    own[c] = none
        for v in range(low, high):
            begun = False
            for k in range(high_k):
                tap = number(k)
                i = v + before_h - k * gap_h
                if i < 0 or i % step_h != 0:
                    continue
                i = i // step_h
                if i < top or i >= bottom:
                    continue
                share, own = g[n, i].reshape(-1), firsts[(i - top) * length : (i - top + 1) * length]
                if begun:
                    for c in range(length):
                        sums[c] = sums[c] + (share[c] if own[c] == tap else zero)
                elif heads[2 + k] != 0:
                    for c in range(length):
                        sums[c] = share[c] if own[c] == tap else zero
                else:
                    for c in range(length):
                        sums[c] = zero + (share[c] if own[c] == tap else zero)
                begun = True
            if not begun:
                for c in range(length):
                    sums[c] = zero
            target, part = dx[n, v].reshape(-1), tops[:channels]  # whose first row is not needed any more
            for u in range(width):
                o = target[u * channels : (u + 1) * channels]
                a = part if v - low < written else o
                begun = False
                for k in range(wide_k):
                    tap = number(k)
                    j = u + before_w - k * gap_w
                    if j < 0 or j % step_w != 0:
                        continue
                    j = j // step_w
                    if j >= columns:
                        continue
                    at = ((v - low) * columns + j) * channels
                    share, own = sums[j * channels : (j + 1) * channels], found[at : at + channels]
                    if begun:
                        for c in range(channels):
                            a[c] = a[c] + (share[c] if own[c] == tap else zero)
                    elif heads[2 + high_k + k] != 0:
                        for c in range(channels):
                            a[c] = share[c] if own[c] == tap else zero
                    else:
                        for c in range(channels):
                            a[c] = zero + (share[c] if own[c] == tap else zero)
                    begun = True
                if not begun:
                    for c in range(channels):
                        a[c] = zero
                if v - low < written:
                    for c in range(channels):
                        o[c] = o[c] + part[c]


PARTS = (_rows,)  # that the loops call
