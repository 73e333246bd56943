"""Loops of convolutions in groups of several filters: one group after another, its pixels laid out side by side.

Pixels of an image lie as far apart as all its channels, mostly a power of two, so that those of one group crowd each
other out of the first cache. Laid out by themselves, a band of rows with zeros around them and the group's weights stay
there. A number of a pixel meets a vector of filters: the sums of six windows and sixteen filters, or of eight windows
and eight filters, stay in registers; those of the weight's gradient for six or eight numbers of a row's taps, which
lie side by side. Arrays are contiguous, but for gaps between a result's pixels; shapes those of three spatial axes.

``place`` as in `rows`, but for how many rows of windows make a band. Weights lie in blocks of filters of a group,
filled up with zeros; ``room`` is work memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, add, flat, fma, load, prefetch, put, splat, store, zeros
from xpconv._compiled.rows import BLOCK, bias_of, copy, row_of

Array = Any

SIX, EIGHT = 6, 8  # windows, or numbers of a row's taps, that are taken together
AHEAD = 32  # channels on, or filters, that are asked for beforehand: those of the next groups
TEMPORARY = SIX * BLOCK  # numbers of work memory where results go before those that are wanted are picked


def forward(x: Array, w: Array, b: Array, z: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (B, KD, KH, KW, C/G·16), (F,) -> z (n, OD, OH, OW, F)."""
    images, planes, rows, columns = z.shape[:4]
    deep, high, wide = w.shape[1], w.shape[2], w.shape[3]
    weights, sums = w.reshape(-1), flat(z)
    fan, own, most = place[10], place[11], place[12]
    groups, blocks = x.shape[4] // fan, (own + BLOCK - 1) // BLOCK  # blocks of a group
    merged = place[9] == 1  # a row's taps and their channels lie in a row
    run, runs = (wide * fan, 1) if merged else (fan, wide)
    across = (columns - 1) * place[8] + (wide - 1) * place[9] + 1
    lines = (most - 1) * place[5] + (high - 1) * place[6] + 1
    count = deep * high * runs
    taps = np.empty(count, np.intp)
    for e in range(count):
        d, k, t = e // (high * runs), e // runs % high, e % runs
        taps[e] = ((d * lines + k * place[6]) * across + t * place[9]) * fan
    image, plane = z.strides[0] // z.itemsize, z.strides[1] // z.itemsize
    height, window = z.strides[2] // z.itemsize, z.strides[3] // z.itemsize
    spots, goals = np.empty(most * columns, np.intp), np.empty(most * columns, np.intp)
    ring = BLOCK + TEMPORARY
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for start in range(0, rows, most):
            some = min(most, rows - start)
            for i in range(some):
                for j in range(columns):
                    spots[i * columns + j] = ring + (i * place[5] * across + j * place[8]) * fan
                    goals[i * columns + j] = n * image + p * plane + (start + i) * height + j * window
            for block in range(groups * blocks):
                group, number = block // blocks, block % blocks
                if number == 0:
                    lay_band(room, (ring, across, lines), x, (n, p, start, some), (deep, high), group * fan, place)
                real, first = min(BLOCK, own - number * BLOCK), group * own + number * BLOCK
                bias_of(room, b, first, real, BLOCK)
                last, q = some * columns - 1, 0
                while q <= last:
                    panel = block * count * run * BLOCK
                    s0, s1, s2 = spots[q], spots[min(q + 1, last)], spots[min(q + 2, last)]
                    s3, s4, s5 = spots[min(q + 3, last)], spots[min(q + 4, last)], spots[min(q + 5, last)]
                    p0, q0 = load(room, 0), load(room, LANES)
                    p1, p2, p3, p4, p5 = p0, p0, p0, p0, p0
                    for m in range(EIGHT):
                        prefetch(sums, first + goals[min(q + m, last)] + AHEAD)
                    if real <= LANES:
                        s6, s7 = spots[min(q + 6, last)], spots[min(q + 7, last)]
                        p6, p7 = p0, p0
                        for e in range(count):
                            for c in range(taps[e], taps[e] + run):
                                u = load(weights, panel)
                                p0, p1 = fma(splat(room, s0 + c), u, p0), fma(splat(room, s1 + c), u, p1)
                                p2, p3 = fma(splat(room, s2 + c), u, p2), fma(splat(room, s3 + c), u, p3)
                                p4, p5 = fma(splat(room, s4 + c), u, p4), fma(splat(room, s5 + c), u, p5)
                                p6, p7 = fma(splat(room, s6 + c), u, p6), fma(splat(room, s7 + c), u, p7)
                                panel += BLOCK
                        if real == LANES:
                            store(sums, first + goals[q], p0)
                            store(sums, first + goals[min(q + 1, last)], p1)
                            store(sums, first + goals[min(q + 2, last)], p2)
                            store(sums, first + goals[min(q + 3, last)], p3)
                            store(sums, first + goals[min(q + 4, last)], p4)
                            store(sums, first + goals[min(q + 5, last)], p5)
                            store(sums, first + goals[min(q + 6, last)], p6)
                            store(sums, first + goals[min(q + 7, last)], p7)
                        else:
                            store(room, BLOCK, p0)
                            store(room, BLOCK + 8, p1)
                            store(room, BLOCK + 16, p2)
                            store(room, BLOCK + 24, p3)
                            store(room, BLOCK + 32, p4)
                            store(room, BLOCK + 40, p5)
                            store(room, BLOCK + 48, p6)
                            store(room, BLOCK + 56, p7)
                            for m in range(min(EIGHT, last + 1 - q)):
                                copy(sums, first + goals[q + m], room, BLOCK + m * LANES, real)
                        q += EIGHT
                        continue
                    q1, q2, q3, q4, q5 = q0, q0, q0, q0, q0
                    for e in range(count):
                        for c in range(taps[e], taps[e] + run):
                            u, v = load(weights, panel), load(weights, panel + LANES)
                            s = splat(room, s0 + c)
                            p0, q0 = fma(s, u, p0), fma(s, v, q0)
                            s = splat(room, s1 + c)
                            p1, q1 = fma(s, u, p1), fma(s, v, q1)
                            s = splat(room, s2 + c)
                            p2, q2 = fma(s, u, p2), fma(s, v, q2)
                            s = splat(room, s3 + c)
                            p3, q3 = fma(s, u, p3), fma(s, v, q3)
                            s = splat(room, s4 + c)
                            p4, q4 = fma(s, u, p4), fma(s, v, q4)
                            s = splat(room, s5 + c)
                            p5, q5 = fma(s, u, p5), fma(s, v, q5)
                            panel += BLOCK
                    if real == BLOCK:
                        store(sums, first + goals[q], p0)
                        store(sums, first + goals[q] + LANES, q0)
                        store(sums, first + goals[min(q + 1, last)], p1)
                        store(sums, first + goals[min(q + 1, last)] + LANES, q1)
                        store(sums, first + goals[min(q + 2, last)], p2)
                        store(sums, first + goals[min(q + 2, last)] + LANES, q2)
                        store(sums, first + goals[min(q + 3, last)], p3)
                        store(sums, first + goals[min(q + 3, last)] + LANES, q3)
                        store(sums, first + goals[min(q + 4, last)], p4)
                        store(sums, first + goals[min(q + 4, last)] + LANES, q4)
                        store(sums, first + goals[min(q + 5, last)], p5)
                        store(sums, first + goals[min(q + 5, last)] + LANES, q5)
                    else:
                        store(room, BLOCK, p0)
                        store(room, BLOCK + 8, q0)
                        store(room, BLOCK + 16, p1)
                        store(room, BLOCK + 24, q1)
                        store(room, BLOCK + 32, p2)
                        store(room, BLOCK + 40, q2)
                        store(room, BLOCK + 48, p3)
                        store(room, BLOCK + 56, q3)
                        store(room, BLOCK + 64, p4)
                        store(room, BLOCK + 72, q4)
                        store(room, BLOCK + 80, p5)
                        store(room, BLOCK + 88, q5)
                        for m in range(min(SIX, last + 1 - q)):
                            copy(sums, first + goals[q + m], room, BLOCK + m * BLOCK, real)
                    q += SIX


def weight_grad(x: Array, g: Array, w: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (n, OD, OH, OW, F) -> w (B, KD, KH, KW, C/G·16): the windows times the gradient, summed."""
    images, planes, rows, columns, filters = g.shape
    deep, high, wide = w.shape[1], w.shape[2], w.shape[3]
    grads, sums = g.reshape(-1), w.reshape(-1)
    fan, own, most = place[10], place[11], place[12]
    groups, blocks = x.shape[4] // fan, (own + BLOCK - 1) // BLOCK
    merged = place[9] == 1
    run, runs = (wide * fan, 1) if merged else (fan, wide)
    across = (columns - 1) * place[8] + (wide - 1) * place[9] + 1
    lines = (most - 1) * place[5] + (high - 1) * place[6] + 1
    given = BLOCK + TEMPORARY
    ring, step = given + most * columns * BLOCK, place[8] * fan
    for c in range(sums.size):
        sums[c] = 0
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for start in range(0, rows, most):
            some = min(most, rows - start)
            for block in range(groups * blocks):
                group, number = block // blocks, block % blocks
                if number == 0:
                    for d in range(deep):  # numbers behind the last pixel are read as well, and come to nothing
                        behind = ring + (d * lines + (some - 1) * place[5] + (high - 1) * place[6] + 1) * across * fan
                        for c in range(behind, behind + EIGHT):
                            put(room, c, 0)
                    lay_band(room, (ring, across, lines), x, (n, p, start, some), (deep, high), group * fan, place)
                real, first = min(BLOCK, own - number * BLOCK), group * own + number * BLOCK
                pitch = LANES if real <= LANES else BLOCK
                lay_filters(
                    room, given, grads, (line * rows + start) * columns * filters + first, some * columns, filters, real
                )
                together = EIGHT if real <= LANES else SIX
                for e in range(deep * high * runs):
                    d, k, t = e // (high * runs), e // runs % high, e % runs
                    # windows whose row of taps lies in the image
                    lead = start * place[5] + place[4] + k * place[6]
                    begin = min(max(0, (place[5] - 1 - lead) // place[5]), some)
                    end = max(min(some, (x.shape[2] - 1 - lead) // place[5] + 1), begin)
                    tap = ring + ((d * lines + k * place[6]) * across + t * place[9]) * fan
                    target = ((block * deep + d) * high + k) * wide * fan * BLOCK + t * fan * BLOCK
                    for f in range(0, run, together):
                        p0, p1, p2, p3 = zeros(room), zeros(room), zeros(room), zeros(room)
                        p4, p5, p6, p7 = zeros(room), zeros(room), zeros(room), zeros(room)
                        p8, p9, pa, pb = zeros(room), zeros(room), zeros(room), zeros(room)
                        for i in range(begin, end):
                            at, here = tap + f + i * place[5] * across * fan, given + i * columns * pitch
                            if together == EIGHT:
                                for _ in range(columns):
                                    u = load(room, here)
                                    p0, p1 = fma(splat(room, at), u, p0), fma(splat(room, at + 1), u, p1)
                                    p2, p3 = fma(splat(room, at + 2), u, p2), fma(splat(room, at + 3), u, p3)
                                    p4, p5 = fma(splat(room, at + 4), u, p4), fma(splat(room, at + 5), u, p5)
                                    p6, p7 = fma(splat(room, at + 6), u, p6), fma(splat(room, at + 7), u, p7)
                                    at += step
                                    here += LANES
                                continue
                            for _ in range(columns):
                                u, v = load(room, here), load(room, here + LANES)
                                s = splat(room, at)
                                p0, p1 = fma(s, u, p0), fma(s, v, p1)
                                s = splat(room, at + 1)
                                p2, p3 = fma(s, u, p2), fma(s, v, p3)
                                s = splat(room, at + 2)
                                p4, p5 = fma(s, u, p4), fma(s, v, p5)
                                s = splat(room, at + 3)
                                p6, p7 = fma(s, u, p6), fma(s, v, p7)
                                s = splat(room, at + 4)
                                p8, p9 = fma(s, u, p8), fma(s, v, p9)
                                s = splat(room, at + 5)
                                pa, pb = fma(s, u, pa), fma(s, v, pb)
                                at += step
                                here += BLOCK
                        store(room, BLOCK, p0)
                        store(room, BLOCK + 8, p1)
                        store(room, BLOCK + 16, p2)
                        store(room, BLOCK + 24, p3)
                        store(room, BLOCK + 32, p4)
                        store(room, BLOCK + 40, p5)
                        store(room, BLOCK + 48, p6)
                        store(room, BLOCK + 56, p7)
                        store(room, BLOCK + 64, p8)
                        store(room, BLOCK + 72, p9)
                        store(room, BLOCK + 80, pa)
                        store(room, BLOCK + 88, pb)
                        source = BLOCK
                        for c in range(min(together, run - f)):
                            goal = target + (f + c) * BLOCK
                            store(sums, goal, add(load(sums, goal), load(room, source)))
                            source += LANES
                            if real > LANES:
                                goal += LANES
                                store(sums, goal, add(load(sums, goal), load(room, source)))
                                source += LANES


def lay_band(
    room: Array,
    where: tuple[int, int, int],
    x: Array,
    band: tuple[int, int, int, int],
    kernel: tuple[int, int],
    first: int,
    place: Array,
) -> None:
    """Lay out the channels of a group, from the `first` on, of the rows that a band of rows of windows reads.

    ``where``: the place of the first number, the pixels of a row, and how many rows of a plane there is room for;
    ``band``: image, plane and row of the first windows, and their rows.
    """
    at, across, lines = where
    n, p, start, some = band
    deep, high = kernel
    width, channels, fan, lead = x.shape[3], x.shape[4], place[10], place[7]
    pixels = x.reshape(-1)
    vectors = fan // LANES * LANES
    inner, outer = min(max(-lead, 0), across), max(min(width - lead, across), 0)
    for d in range(deep):
        for r in range((some - 1) * place[5] + (high - 1) * place[6] + 1):
            y, v = p * place[2] + place[1] + d * place[3], start * place[5] + r + place[4]
            row = row_of(x, place[0] + n, y, v)
            target = at + (d * lines + r) * across * fan
            stop = target + across * fan
            if row < 0 or outer <= inner:
                for c in range(target, stop):
                    put(room, c, 0)
                continue
            for c in range(target, target + inner * fan):
                put(room, c, 0)
            target += inner * fan
            source = (row + lead + inner) * channels + first
            for _ in range(inner, outer):
                prefetch(pixels, source + AHEAD)
                for c in range(0, vectors, LANES):
                    store(room, target + c, load(pixels, source + c))
                for c in range(vectors, fan):
                    put(room, target + c, pixels[source + c])
                source += channels
                target += fan
            for c in range(target, stop):
                put(room, c, 0)


def lay_filters(room: Array, at: int, grads: Array, given: int, windows: int, filters: int, real: int) -> None:
    """Lay out the gradient of some windows' filters, a block or half of one, zeros behind them."""
    zero = zeros(room)
    for _ in range(windows):
        prefetch(grads, given + AHEAD)
        if real == BLOCK:
            store(room, at, load(grads, given))
            store(room, at + LANES, load(grads, given + LANES))
            at += BLOCK
        elif real == LANES:
            store(room, at, load(grads, given))
            at += LANES
        else:
            store(room, at, zero)
            if real > LANES:
                store(room, at + LANES, zero)
            copy(room, at, grads, given, real)
            at += LANES if real < LANES else BLOCK
        given += filters


PARTS = (lay_band, lay_filters)
