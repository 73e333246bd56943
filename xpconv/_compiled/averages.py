"""Loops of average pooling and its gradient on images of two axes: the innermost one runs over neighbouring channels.

Each axis is told, one result after another, what it is the sum of and in which order: that of NumPy's calls, so results
are the same bits. ``rows`` and ``columns`` begin with where the list of each result begins in the array, and where the
last one ends; a list begins with whether the sum begins with a zero, or with its first term as it is. Arrays are
contiguous.
"""

from __future__ import annotations

from typing import Any

from xpconv._compiled.lanes import LANES, add, divide, fill, load, store

Array = Any

WIDE = 4 * LANES  # numbers of which a loop has as many vectors as it can without waiting


def forward(x: Array, y: Array, place: Array, lists: Array, row: Array, taps: Array) -> None:
    """(N, D, H, W, C) -> y (N, OD, OH, OW, C): the means, of images, planes and rows ``place`` (first, after the last).

    ``row`` has room for one of pixels and channels; ``taps`` holds the taps of the windows of each axis, which sums are
    divided by.
    """
    channels, length, zero = x.shape[4], x.shape[3] * x.shape[4], x.dtype.type(0)
    deep, rows, columns = lists, lists[place[6] :], lists[place[7] :]
    source, target = x.reshape(-1), y.reshape(-1)
    for n in range(place[0], place[1]):
        for a in range(place[2], place[3]):
            for i in range(place[4], place[5]):
                planes, lines = deep[deep[a] : deep[a + 1]], rows[rows[i] : rows[i + 1]]
                _rows(row, source, (n * x.shape[1], x.shape[2], length), planes, lines)
                beside = taps[a] * taps[y.shape[1] + i]
                for j in range(y.shape[3]):
                    begin, end = columns[j] + 1, columns[j + 1]
                    to = (((n * y.shape[1] + a) * y.shape[2] + i) * y.shape[3] + j) * channels
                    start = zero if columns[begin - 1] != 0 else -zero  # which leaves a -0 alone
                    number = beside * taps[y.shape[1] + y.shape[2] + j]
                    none, many = fill(row, start), fill(row, number)
                    c = 0
                    while c < channels and channels >= WIDE:
                        c = min(c, channels - WIDE)
                        s0, s1, s2, s3 = none, none, none, none
                        for e in range(begin, end):
                            at = columns[e] * channels + c
                            s0, s1 = add(s0, load(row, at)), add(s1, load(row, at + LANES))
                            s2, s3 = add(s2, load(row, at + 2 * LANES)), add(s3, load(row, at + 3 * LANES))
                        store(target, to + c, divide(s0, many))
                        store(target, to + c + LANES, divide(s1, many))
                        store(target, to + c + 2 * LANES, divide(s2, many))
                        store(target, to + c + 3 * LANES, divide(s3, many))
                        c += WIDE
                    while c < channels and channels >= LANES:
                        c = min(c, channels - LANES)
                        s0 = none
                        for e in range(begin, end):
                            s0 = add(s0, load(row, columns[e] * channels + c))
                        store(target, to + c, divide(s0, many))
                        c += LANES
                    for b in range(c, channels):
                        s = start
                        for e in range(begin, end):
                            s += row[columns[e] * channels + b]
                        target[to + b] = s / number


def _rows(row: Array, source: Array, sizes: tuple[int, int, int], planes: Array, lines: Array) -> None:
    """Sum up some rows, over some planes and then over the rows.

    The lists begin with whether a sum begins with 0; ``sizes``: the image's first plane, rows of a plane, their length.
    """
    image, height, length = sizes
    zero = row.dtype.type(0)
    first, start = zero if planes[0] != 0 else -zero, zero if lines[0] != 0 else -zero
    inner, none, single = fill(row, first), fill(row, start), planes.size == 2 and planes[0] == 0
    u = 0
    while u < length and length >= WIDE:
        u = min(u, length - WIDE)  # the last ones may take some numbers again
        s0, s1, s2, s3 = none, none, none, none
        for line in lines[1:]:
            if single:
                at = ((image + planes[1]) * height + line) * length + u
                s0, s1 = add(s0, load(source, at)), add(s1, load(source, at + LANES))
                s2, s3 = add(s2, load(source, at + 2 * LANES)), add(s3, load(source, at + 3 * LANES))
                continue
            t0, t1, t2, t3 = inner, inner, inner, inner
            for plane in planes[1:]:
                at = ((image + plane) * height + line) * length + u
                t0, t1 = add(t0, load(source, at)), add(t1, load(source, at + LANES))
                t2, t3 = add(t2, load(source, at + 2 * LANES)), add(t3, load(source, at + 3 * LANES))
            s0, s1, s2, s3 = add(s0, t0), add(s1, t1), add(s2, t2), add(s3, t3)
        store(row, u, s0)
        store(row, u + LANES, s1)
        store(row, u + 2 * LANES, s2)
        store(row, u + 3 * LANES, s3)
        u += WIDE
    for v in range(u, length):
        s = start
        for line in lines[1:]:
            t = first
            for plane in planes[1:]:
                t += source[((image + plane) * height + line) * length + v]
            s += t
        row[v] = s


def gradient(g: Array, dx: Array, place: Array, rows: Array, columns: Array, shares: Array, taps: Array) -> None:
    """(N, OH, OW, C) -> dx (N, H, W, C): the sum of the shares of the windows that read a pixel.

    ``place`` holds the first image and the one after the last; the first row of pixels of the tile and the one after
    the last; the first row of windows that they are read by and the one after the last. ``shares`` has room for the
    rows of windows, (W, C) each, and one of (OW, C).
    """
    channels, zero, length = dx.shape[3], dx.dtype.type(0), dx.shape[2] * dx.shape[3]
    share = shares[(place[5] - place[4]) * length :]
    for n in range(place[0], place[1]):
        made = place[4]
        for v in range(place[2], place[3]):
            line = rows[v - place[2]], rows[v - place[2] + 1]
            for at in range(line[0] + 1, line[1]):
                while made <= rows[at]:  # the last axis first, once for each row of windows
                    for j in range(g.shape[2]):
                        source, many = g[n, made, j], taps[made] * taps[g.shape[1] + j]
                        own = share[j * channels : (j + 1) * channels]
                        for c in range(channels):
                            own[c] = source[c] / many
                    for u in range(dx.shape[2]):
                        begin = (made - place[4]) * length + u * channels
                        o = shares[begin : begin + channels]
                        to, stop = columns[u], columns[u + 1]
                        begun = columns[to] != 0
                        to += 1
                        if begun or to == stop:
                            for c in range(channels):
                                o[c] = zero
                        while to < stop:
                            own = share[columns[to] * channels : (columns[to] + 1) * channels]
                            to += 1
                            if not begun:
                                for c in range(channels):
                                    o[c] = own[c]
                                begun = True
                            else:
                                for c in range(channels):
                                    o[c] = o[c] + own[c]
                    made += 1
            target = dx[n, v].reshape(-1)
            at = line[0]
            begun = rows[at] != 0
            at += 1
            if begun or at == line[1]:
                for u in range(length):
                    target[u] = zero
            while at < line[1]:
                one = shares[(rows[at] - place[4]) * length : (rows[at] - place[4] + 1) * length]
                at += 1
                if not begun:
                    for u in range(length):
                        target[u] = one[u]
                    begun = True
                else:
                    for u in range(length):
                        target[u] = target[u] + one[u]


PARTS = (_rows,)  # that the loops call
