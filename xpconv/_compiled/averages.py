"""Loops of average pooling and its gradient on images of two axes: the innermost one runs over neighbouring channels.

Each axis is told, one result after another, what it is the sum of and in which order: that of NumPy's calls, so results
are the same bits. ``rows`` and ``columns`` begin with where the list of each result begins in the array, and where the
last one ends; a list begins with whether the sum begins with a zero, or with its first term as it is. Arrays are
contiguous.
"""

from __future__ import annotations

from typing import Any

Array = Any


def forward(x: Array, y: Array, place: Array, rows: Array, columns: Array, row: Array, taps: Array) -> None:
    """(N, H, W, C) -> y (N, OH, OW, C): the means, of images and of rows ``place`` (first, after the last of either).

    ``taps`` holds the taps of the windows of each axis, (OH + OW), which sums are divided by.
    """
    channels, zero = x.shape[3], x.dtype.type(0)
    for n in range(place[0], place[1]):
        for i in range(place[2], place[3]):
            at, stop = rows[i], rows[i + 1]
            begun = rows[at] != 0
            if begun:
                for u in range(row.size):
                    row[u] = zero
            at += 1
            while at < stop:
                source = x[n, rows[at]].reshape(-1)
                at += 1
                if not begun and at < stop:
                    other = x[n, rows[at]].reshape(-1)
                    at += 1
                    for u in range(row.size):
                        row[u] = source[u] + other[u]
                    begun = True
                elif not begun:
                    for u in range(row.size):
                        row[u] = source[u]
                    begun = True
                elif at < stop:  # two rows for one reading and writing of the sum
                    other = x[n, rows[at]].reshape(-1)
                    at += 1
                    for u in range(row.size):
                        row[u] = row[u] + source[u] + other[u]
                else:
                    for u in range(row.size):
                        row[u] = row[u] + source[u]
            for j in range(y.shape[2]):
                o, many = y[n, i, j], taps[i] * taps[y.shape[1] + j]
                at, stop = columns[j], columns[j + 1]
                begun = columns[at] != 0
                if begun:
                    for c in range(channels):
                        o[c] = zero
                at += 1
                if not begun and at + 2 == stop:
                    source = row[columns[at] * channels : (columns[at] + 1) * channels]
                    other = row[columns[at + 1] * channels : (columns[at + 1] + 1) * channels]
                    for c in range(channels):
                        o[c] = (source[c] + other[c]) / many
                    continue
                if not begun and at + 3 == stop:
                    source = row[columns[at] * channels : (columns[at] + 1) * channels]
                    other = row[columns[at + 1] * channels : (columns[at + 1] + 1) * channels]
                    third = row[columns[at + 2] * channels : (columns[at + 2] + 1) * channels]
                    for c in range(channels):
                        o[c] = (source[c] + other[c] + third[c]) / many
                    continue
                while at < stop:
                    source = row[columns[at] * channels : (columns[at] + 1) * channels]
                    at += 1
                    if not begun:
                        for c in range(channels):
                            o[c] = source[c]
                        begun = True
                    elif at < stop:
                        other = row[columns[at] * channels : (columns[at] + 1) * channels]
                        at += 1
                        for c in range(channels):
                            o[c] = o[c] + source[c] + other[c]
                    else:
                        for c in range(channels):
                            o[c] = o[c] + source[c]
                for c in range(channels):
                    o[c] = o[c] / many


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
