"""Loops of convolutions with many channels in: a number of a pixel meets a vector of filters, six windows at a time.

Windows are counted through all rows, so that those of small images fill the registers too. Where no tap lies beyond the
image they are read where they lie; elsewhere the rows of some windows are laid out with zeros around them. So many
products are summed for all windows of a tile that the weights of these stay in the first cache; in between the sums
wait in the result. Arrays are contiguous, but for gaps between a result's pixels; shapes those of three spatial axes.

``place`` as in `rows`, but for how many windows make a tile where they are read in place, and behind it how many rows
where they are laid out; the first of the blocks of filters that are wanted, through all groups; and how many those are.
Weights lie in blocks of filters of a group, filled up with zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, fma, load, splat, store
from xpconv._compiled.lanes import flat as numbers_of
from xpconv._compiled.rows import BLOCK, bias_of, copy, copy_row, row_of

Array = Any

SIX, FOUR, EIGHT = 6, 4, 8  # windows that are taken together: as a rule, at an end, with half a block of filters
SUMMED = 256  # products that are added to the sums of a tile before the next ones of them
TEMPORARY = EIGHT * BLOCK  # numbers of work memory where results go before those that are wanted are picked


def forward(x: Array, w: Array, b: Array, z: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (B, KD, KH, KW, C/G·16), (F,) -> z (n, OD, OH, OW, F), of some blocks of filters."""
    images, planes, rows, columns = z.shape[:4]
    depth, height, width, channels = x.shape[1:]
    deep, high, wide = w.shape[1], w.shape[2], w.shape[3]
    fan = place[10]
    laid = _goes_beyond(x, z, w, place)
    most = place[13] if laid else place[12]
    pixels, weights, sums = x.reshape(-1), w.reshape(-1), numbers_of(z)
    merged = fan == channels and place[9] == 1  # a row's taps and their channels lie in a row
    run = wide * fan if merged else fan
    parts = (run + SUMMED - 1) // SUMMED
    count = deep * high * (1 if merged else wide) * parts
    taps, ends = np.empty(count, np.intp), np.empty(count, np.intp)
    lines, across, ring = height, width, BLOCK + TEMPORARY
    if laid:
        lines = (most - 1) * place[5] + (high - 1) * place[6] + 1
        across = (columns - 1) * place[8] + (wide - 1) * place[9] + 1
    end = e = 0
    for d in range(deep):
        for k in range(high):
            for t in range(1 if merged else wide):
                tap = ((d * (1 if laid else place[3]) * lines + k * place[6]) * across + t * place[9]) * channels
                for part in range(parts):
                    first, last = run * part // parts, run * (part + 1) // parts
                    end += last - first
                    taps[e], ends[e] = tap + first, end
                    e += 1
    image, plane = z.strides[0] // z.itemsize, z.strides[1] // z.itemsize
    row, window = z.strides[2] // z.itemsize, z.strides[3] // z.itemsize
    if not laid:
        windows = images * planes * rows * columns
        spots, goals = np.empty(min(most, windows), np.intp), np.empty(min(most, windows), np.intp)
        for start in range(0, windows, most):
            some = min(most, windows - start)
            j = start % columns
            i, line = start // columns % rows, start // (columns * rows)
            for q in range(some):
                n, p = line // planes, line % planes
                y = (place[0] + n) * depth + p * place[2] + place[1]
                v = y * height + i * place[5] + place[4]
                spots[q] = (v * width + j * place[8] + place[7]) * channels
                goals[q] = n * image + p * plane + i * row + j * window
                j += 1
                if j == columns:
                    j, i = 0, i + 1
                    if i == rows:
                        i, line = 0, line + 1
            _blocks(pixels, (weights, b, sums), place, room, (taps, ends, spots, goals), (some, 0))
        return
    spots, goals = np.empty(most * columns, np.intp), np.empty(most * columns, np.intp)
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for start in range(0, rows, most):
            some = min(most, rows - start)
            tall = (some - 1) * place[5] + (high - 1) * place[6] + 1
            for d in range(deep):
                for r in range(tall):
                    y, v = p * place[2] + place[1] + d * place[3], start * place[5] + r + place[4]
                    source = row_of(x, place[0] + n, y, v)
                    copy_row(room, ring + (d * lines + r) * across * channels, x, source, across, place)
            for i in range(some):
                for j in range(columns):
                    spots[i * columns + j] = (i * place[5] * across + j * place[8]) * channels
                    goals[i * columns + j] = n * image + p * plane + (start + i) * row + j * window
            _blocks(room, (weights, b, sums), place, room, (taps, ends, spots, goals), (some * columns, ring))


def _blocks(
    pixels: Array,
    arrays: tuple[Array, Array, Array],
    place: Array,
    room: Array,
    lists: tuple[Array, Array, Array, Array],
    windows: tuple[int, int],
) -> None:
    """Convolve some windows with the blocks of filters that are wanted."""
    weights, b, sums = arrays
    taps, ends, spots, goals = lists
    count, ring = windows
    own, products = place[11], ends[-1]
    blocks = (own + BLOCK - 1) // BLOCK
    left = count % SIX
    # two fours are less than a six and a four
    sixes = count - left - SIX if 0 < left <= 2 * FOUR - SIX and count > SIX else count - left
    sixes = count if left > FOUR else sixes
    e = 0
    while e < ends.size:
        stop = e + 1
        while stop < ends.size and ends[stop] - (ends[e - 1] if e else 0) <= SUMMED:
            stop += 1
        for number in range(place[14], place[14] + place[15]):
            group, block = number // blocks, number % blocks
            real = min(BLOCK, own - block * BLOCK)
            part = e, stop
            if real < BLOCK:  # in one go
                if e > 0:
                    continue
                part = 0, ends.size
            panel, base = number * products * BLOCK, ring + group * place[10]
            target = group * own + block * BLOCK
            bias_of(room, b, target, real, BLOCK)
            q = 0
            while q < count:
                last = count - 1 - q
                if real <= LANES:
                    _eight(pixels, weights, room, (taps, ends, spots), (q, last), (base, panel))
                    for m in range(min(EIGHT, last + 1)):
                        copy(sums, goals[q + m] + target, room, BLOCK + m * LANES, real)
                    q += EIGHT
                    continue
                many = SIX if q < sixes else FOUR
                z0, z1, z2 = target + goals[q], target + goals[q + min(1, last)], target + goals[q + min(2, last)]
                z3, z4 = target + goals[q + min(3, last)], target + goals[q + min(4, last)]
                z5 = target + goals[q + min(5, last)]
                s0, s1, s2 = base + spots[q], base + spots[q + min(1, last)], base + spots[q + min(2, last)]
                s3, s4 = base + spots[q + min(3, last)], base + spots[q + min(4, last)]
                s5 = base + spots[q + min(5, last)]
                if part[0] > 0:
                    p0, q0, p1, q1 = load(sums, z0), load(sums, z0 + LANES), load(sums, z1), load(sums, z1 + LANES)
                    p2, q2, p3, q3 = load(sums, z2), load(sums, z2 + LANES), load(sums, z3), load(sums, z3 + LANES)
                    p4, q4, p5, q5 = load(sums, z4), load(sums, z4 + LANES), load(sums, z5), load(sums, z5 + LANES)
                else:
                    p0, q0 = load(room, 0), load(room, LANES)
                    p1, q1, p2, q2, p3, q3, p4, q4, p5, q5 = p0, q0, p0, q0, p0, q0, p0, q0, p0, q0
                begin = ends[part[0] - 1] if part[0] else 0
                at = panel + begin * BLOCK
                if many == SIX:
                    for f in range(part[0], part[1]):
                        size = ends[f] - begin
                        begin = ends[f]
                        for c in range(taps[f], taps[f] + size):
                            u, v = load(weights, at), load(weights, at + LANES)
                            s = splat(pixels, s0 + c)
                            p0, q0 = fma(s, u, p0), fma(s, v, q0)
                            s = splat(pixels, s1 + c)
                            p1, q1 = fma(s, u, p1), fma(s, v, q1)
                            s = splat(pixels, s2 + c)
                            p2, q2 = fma(s, u, p2), fma(s, v, q2)
                            s = splat(pixels, s3 + c)
                            p3, q3 = fma(s, u, p3), fma(s, v, q3)
                            s = splat(pixels, s4 + c)
                            p4, q4 = fma(s, u, p4), fma(s, v, q4)
                            s = splat(pixels, s5 + c)
                            p5, q5 = fma(s, u, p5), fma(s, v, q5)
                            at += BLOCK
                else:
                    for f in range(part[0], part[1]):
                        size = ends[f] - begin
                        begin = ends[f]
                        for c in range(taps[f], taps[f] + size):
                            u, v = load(weights, at), load(weights, at + LANES)
                            s = splat(pixels, s0 + c)
                            p0, q0 = fma(s, u, p0), fma(s, v, q0)
                            s = splat(pixels, s1 + c)
                            p1, q1 = fma(s, u, p1), fma(s, v, q1)
                            s = splat(pixels, s2 + c)
                            p2, q2 = fma(s, u, p2), fma(s, v, q2)
                            s = splat(pixels, s3 + c)
                            p3, q3 = fma(s, u, p3), fma(s, v, q3)
                            at += BLOCK
                if real == BLOCK:
                    store(sums, z0, p0)
                    store(sums, z0 + LANES, q0)
                    store(sums, z1, p1)
                    store(sums, z1 + LANES, q1)
                    store(sums, z2, p2)
                    store(sums, z2 + LANES, q2)
                    store(sums, z3, p3)
                    store(sums, z3 + LANES, q3)
                    if many == SIX:
                        store(sums, z4, p4)
                        store(sums, z4 + LANES, q4)
                        store(sums, z5, p5)
                        store(sums, z5 + LANES, q5)
                    q += many
                    continue
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
                for m in range(min(many, last + 1)):
                    copy(sums, goals[q + m] + target, room, BLOCK + m * BLOCK, real)
                q += many
        e = stop


def _goes_beyond(x: Array, z: Array, w: Array, place: Array) -> bool:
    """Say whether a tap of a window lies beyond the image."""
    for axis in range(3):
        lead, step, gap = place[1 + 3 * axis], place[2 + 3 * axis], place[3 + 3 * axis]
        last = lead + (z.shape[1 + axis] - 1) * step + (w.shape[1 + axis] - 1) * gap
        if lead < 0 or last >= x.shape[1 + axis]:
            return True
    return False


def _eight(
    pixels: Array,
    weights: Array,
    room: Array,
    lists: tuple[Array, Array, Array],
    part: tuple[int, int],
    where: tuple[int, int],
) -> None:
    """Sum the products of eight windows and half a block of filters; the last window stands for those behind it."""
    taps, ends, spots = lists
    q, last = part
    base, at = where
    s0, s1, s2 = base + spots[q], base + spots[q + min(1, last)], base + spots[q + min(2, last)]
    s3, s4, s5 = base + spots[q + min(3, last)], base + spots[q + min(4, last)], base + spots[q + min(5, last)]
    s6, s7 = base + spots[q + min(6, last)], base + spots[q + min(7, last)]
    p0 = load(room, 0)
    p1, p2, p3, p4, p5, p6, p7 = p0, p0, p0, p0, p0, p0, p0
    begin = 0
    for f in range(ends.size):
        size = ends[f] - begin
        begin = ends[f]
        for c in range(taps[f], taps[f] + size):
            u = load(weights, at)
            p0, p1 = fma(splat(pixels, s0 + c), u, p0), fma(splat(pixels, s1 + c), u, p1)
            p2, p3 = fma(splat(pixels, s2 + c), u, p2), fma(splat(pixels, s3 + c), u, p3)
            p4, p5 = fma(splat(pixels, s4 + c), u, p4), fma(splat(pixels, s5 + c), u, p5)
            p6, p7 = fma(splat(pixels, s6 + c), u, p6), fma(splat(pixels, s7 + c), u, p7)
            at += BLOCK
    store(room, BLOCK, p0)
    store(room, BLOCK + 8, p1)
    store(room, BLOCK + 16, p2)
    store(room, BLOCK + 24, p3)
    store(room, BLOCK + 32, p4)
    store(room, BLOCK + 40, p5)
    store(room, BLOCK + 48, p6)
    store(room, BLOCK + 56, p7)


PARTS = (_goes_beyond, _eight, _blocks)
