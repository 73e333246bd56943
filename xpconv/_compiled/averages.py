"""Loops of average pooling and its gradient: sums over planes, rows and columns in turn.

Each axis is told, one result after another, what it is the sum of and in which order: that of NumPy's calls, so results
are the same bits. Its lists begin with where that of each result begins in the array, and where the last one ends; a
list begins with whether the sum begins with a zero, or with its first term as it is. ``lists`` holds those of the three
axes. Arrays are contiguous; images of fewer axes have planes, and rows, of one pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, add, divide, fill, load, store

Array = Any

WIDE = 4 * LANES  # numbers of which a loop has as many vectors as it can without waiting


def forward(x: Array, y: Array, place: Array, lists: Array, row: Array, taps: Array) -> None:
    """(N, D, H, W, C) -> y (N, OD, OH, OW, C): the means, of images, planes and rows ``place`` (first, after the last).

    After these stands where the lists of rows and of columns begin. ``row`` has room for one of pixels and channels;
    ``taps`` holds the taps of the windows of each axis, which sums are divided by.
    """
    channels, length, deep, high = x.shape[4], x.shape[3] * x.shape[4], y.shape[1], y.shape[2]
    rows, columns, wide = lists[place[6] :], lists[place[7] :], taps[deep + high :]
    source, target = x.reshape(-1), y.reshape(-1)
    for n in range(place[0], place[1]):
        for a in range(place[2], place[3]):
            for i in range(place[4], place[5]):
                planes, lines = lists[lists[a] : lists[a + 1]], rows[rows[i] : rows[i + 1]]
                _rows(row, 0, source, (n * x.shape[1], x.shape[2], length), planes, lines)
                to = ((n * deep + a) * high + i) * y.shape[3] * channels
                _columns(target, to, row, channels, columns, wide, taps[a] * taps[deep + i])


def _columns(target: Array, to: int, row: Array, channels: int, columns: Array, taps: Array, beside: float) -> None:
    """Sum up some pixels of a row for each result, and divide by its taps times ``beside``, unless that is 0."""
    zero = row.dtype.type(0)
    for j in range(columns[0] - 1):
        begin, end, c = columns[j] + 1, columns[j + 1], 0
        start = zero if columns[begin - 1] != 0 else -zero  # which leaves a -0 alone
        number = beside * taps[j] if beside > zero else beside
        none, many = fill(row, start), fill(row, number)
        while c < channels and channels >= WIDE:
            c = min(c, channels - WIDE)
            s0, s1, s2, s3 = none, none, none, none
            for e in range(begin, end):
                at = columns[e] * channels + c
                s0, s1 = add(s0, load(row, at)), add(s1, load(row, at + LANES))
                s2, s3 = add(s2, load(row, at + 2 * LANES)), add(s3, load(row, at + 3 * LANES))
            if beside > zero:
                s0, s1, s2, s3 = divide(s0, many), divide(s1, many), divide(s2, many), divide(s3, many)
            store(target, to + c, s0)
            store(target, to + c + LANES, s1)
            store(target, to + c + 2 * LANES, s2)
            store(target, to + c + 3 * LANES, s3)
            c += WIDE
        while c < channels and channels >= LANES:
            c = min(c, channels - LANES)
            s0 = none
            for e in range(begin, end):
                s0 = add(s0, load(row, columns[e] * channels + c))
            store(target, to + c, divide(s0, many) if beside > zero else s0)
            c += LANES
        for b in range(c, channels):
            s = start
            for e in range(begin, end):
                s += row[columns[e] * channels + b]
            target[to + b] = s / number if beside > zero else s
        to += channels


def _rows(target: Array, to: int, source: Array, sizes: tuple[int, int, int], planes: Array, lines: Array) -> None:
    """Sum up some rows, over some planes and then over the rows.

    The lists begin with whether a sum begins with 0; ``sizes``: the image's first plane, rows of a plane, their length.
    """
    image, height, length = sizes
    zero = target.dtype.type(0)
    first, start = zero if planes[0] != 0 else -zero, zero if lines[0] != 0 else -zero
    inner, none, single = fill(target, first), fill(target, start), planes.size == 2 and planes[0] == 0
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
        store(target, to + u, s0)
        store(target, to + u + LANES, s1)
        store(target, to + u + 2 * LANES, s2)
        store(target, to + u + 3 * LANES, s3)
        u += WIDE
    for v in range(u, length):
        s = start
        for line in lines[1:]:
            t = first
            for plane in planes[1:]:
                t += source[((image + plane) * height + line) * length + v]
            s += t
        target[to + v] = s


def gradient(g: Array, dx: Array, place: Array, lists: Array, shares: Array, planes: Array, taps: Array) -> None:
    """(N, OD, OH, OW, C) -> dx (N, D, H, W, C): the sum of the shares of the windows that read a pixel.

    ``place`` holds the first image and the one after the last, the same of the planes and rows of pixels, and of the
    planes and rows of windows that they are read by; where the lists of rows and of columns begin; and how many planes
    and rows are kept. ``planes`` has room for those planes, of the rows of pixels, (W, C) each; ``shares`` for those
    rows, and for one of (OW, C).
    """
    channels, length, height = dx.shape[4], dx.shape[3] * dx.shape[4], place[5] - place[4]
    across, ring, deep, wide = g.shape[3] * channels, place[12], g.shape[1], taps[g.shape[1] :]
    sizes, axes = (channels, length, across, place[8], place[13]), (lists[place[10] :], lists[place[11] :])
    sources, target = g.reshape(-1), dx.reshape(-1)
    slots, row = np.zeros(lists.size, np.intp), np.zeros(2, np.intp)
    single = place[3] - place[2] == 1 and place[7] - place[6] == 1 and lists[lists[0]] == 0
    for n in range(place[0], place[1]):
        made = place[6]
        for d in range(place[2], place[3]):
            line = lists[lists[d - place[2]] : lists[d - place[2] + 1]]
            to = ((n * dx.shape[1] + d) * dx.shape[2] + place[4]) * length
            if single:
                source = (n * deep + made) * g.shape[2] * across
                _plane(target, to, sources, source, sizes, axes, (shares, wide, g.shape[2], taps[made]))
                continue
            slots[0] = line[0]
            for e in range(1, line.size):
                while made <= line[e]:  # the last axes first, once for each plane of windows
                    source, plane = (n * deep + made) * g.shape[2] * across, made % ring * height * length
                    _plane(planes, plane, sources, source, sizes, axes, (shares, wide, g.shape[2], taps[made]))
                    made += 1
                slots[e] = line[e] % ring
            for v in range(height):
                row[1] = v
                _rows(target, to + v * length, planes, (0, height, length), slots[: line.size], row)


def _plane(target: Array, to: int, g: Array, source: int, sizes: Any, axes: tuple[Array, Array], work: Any) -> None:
    """Sum up for the rows of pixels of a plane what the windows of one plane give them."""
    channels, length, across, made, ring = sizes
    (rows, columns), (shares, taps, high, beside) = axes, work
    slots, none = np.zeros(rows.size, np.intp), np.zeros(2, np.intp)
    for v in range(rows[0] - 1):
        line = rows[rows[v] : rows[v + 1]]
        slots[0] = line[0]
        for e in range(1, line.size):
            while made <= line[e]:  # the last axis first, once for each row of windows
                own = shares[ring * length :]
                _divide(own, g, source + made * across, channels, taps[high:], beside * taps[made])
                _columns(shares, made % ring * length, own, channels, columns, taps, shares.dtype.type(0))
                made += 1
            slots[e] = line[e] % ring
        _rows(target, to + v * length, shares, (0, ring, length), none, slots[: line.size])


def _divide(share: Array, g: Array, source: int, channels: int, taps: Array, beside: float) -> None:
    """Divide the gradients of a row of windows by their taps times ``beside``."""
    at = 0
    for j in range(taps.size):
        number, c = beside * taps[j], 0
        many = fill(share, number)
        while c + LANES <= channels:
            store(share, at + c, divide(load(g, source + at + c), many))
            c += LANES
        for b in range(at + c, at + channels):
            share[b] = g[source + b] / number
        at += channels


PARTS = _rows, _columns, _divide, _plane  # that the loops call
