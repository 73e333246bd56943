"""Loops of max pooling and of the places of maxima; of a window those of its rows first, pixel by pixel.

Of two equal values, zeros of either sign, the second is taken, and of NaNs the first, as NumPy's ``maximum`` does, and
taps are taken in the order in which NumPy's calls take them: so results are the same bits. Arrays are contiguous.
"""

from __future__ import annotations

from typing import Any

from xpconv._compiled.lanes import LANES, fill, larger, load, store

Array = Any

WIDE = 4 * LANES  # numbers of which a loop has as many vectors as it can without waiting


def forward(x: Array, y: Array, place: Array, lists: Array, row: Array, least: float) -> None:
    """(N, D, H, W, C) -> y (N, OD, OH, OW, C), of images, planes and rows ``place`` (first, after the last of each).

    The lists are those of `averages`, and after ``place`` stands where those of rows and of columns begin; ``row`` has
    room for one of pixels and channels. A window without pixels gives ``least``.
    """
    channels, length, lowest = x.shape[4], x.shape[3] * x.shape[4], x.dtype.type(least)
    deep, rows, columns = lists, lists[place[6] :], lists[place[7] :]
    source, target, none = x.reshape(-1), y.reshape(-1), fill(row, least)
    for n in range(place[0], place[1]):
        for a in range(place[2], place[3]):
            for i in range(place[4], place[5]):
                planes, lines = deep[deep[a] + 1 : deep[a + 1]], rows[rows[i] + 1 : rows[i + 1]]
                _rows(row, source, (n * x.shape[1], x.shape[2], length), planes, lines, lowest)
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


def _rows(row: Array, source: Array, sizes: tuple[int, int, int], planes: Array, lines: Array, least: float) -> None:
    """Take the maxima of rows of some planes; ``sizes``: the image's first plane, rows of a plane, their length."""
    first, height, length = sizes
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
    """(N, H, W, C) -> spots (N, OH, OW, C): the first maximum of each window, or first NaN; -1 for none.

    ``place`` holds the first image; and of each axis the first window, the stride, the dilation, the padding
    before, and whether every window has a tap inside; at 11 the first row of windows, the one after the last, how many
    images, and the taps of either axis.
    """
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


PARTS = (_rows,)  # that the loops call
