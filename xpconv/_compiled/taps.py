"""Loops of convolutions with few filters: a number of a pixel meets a vector of taps and filters.

What a pixel gives to the windows of a row that read it, tap by tap and filter by filter, are neighbouring sums, taken
over all rows of a window and all channels; a window adds up what the pixels of its taps give. So each pixel of the
image is multiplied once, where it lies: padding is not, and nothing is laid out. Of five pixels sixteen sums each stay
in registers, or of ten pixels the last eight. Arrays are contiguous, but for gaps between a result's pixels; shapes
those of three spatial axes; ``place`` as in `rows`, with the windows of a row that are taken at once last; ``room`` is
work memory. Weights lie tap by tap and filter by filter for each row and channel, zeros behind the last.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, add, flat, fma, load, splat, store, zeros
from xpconv._compiled.rows import BLOCK, copy, row_of

Array = Any

FIVE, TEN = 5, 10  # pixels that are taken together, with two vectors of sums and with one


def forward(x: Array, w: Array, b: Array, z: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (KD, KH, C, 1, L), (F,) -> z (n, OD, OH, OW, F); L is what a pixel gives."""
    images, planes, rows, columns, filters = z.shape
    width, channels = x.shape[3], x.shape[4]
    deep, high, wide = w.shape[0], w.shape[1], place[13]
    given, most = w.shape[4], min(place[12], columns)
    weights, sums, pixels = w.reshape(-1), flat(z), x.reshape(-1)
    lines, panels = np.empty(deep * high, np.intp), np.empty(deep * high, np.intp)
    image, plane = z.strides[0] // z.itemsize, z.strides[1] // z.itemsize
    height, window = z.strides[2] // z.itemsize, z.strides[3] // z.itemsize
    across = (filters + LANES - 1) // LANES * LANES
    result = across  # the bias comes before
    base = result + most * filters + LANES
    for f in range(across):
        room[f] = b[f] if f < filters else 0
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for i in range(rows):
            count = 0
            for d in range(deep):
                for k in range(high):
                    y, v = p * place[2] + place[1] + d * place[3], i * place[5] + place[4] + k * place[6]
                    source = row_of(x, place[0] + n, y, v)
                    if source >= 0:
                        lines[count], panels[count] = source * channels, (d * high + k) * channels * given
                        count += 1
            for start in range(0, columns, most):
                some = min(most, columns - start)
                lead = place[7] + start * place[8]  # the column of the first pixel
                span = (some - 1) * place[8] + (wide - 1) * place[9] + 1
                first = min(max(-lead, 0), span)
                last = max(min(width - lead, span), first)
                for c in range(base, base + first * given):
                    room[c] = 0
                for c in range(base + last * given, base + span * given):
                    room[c] = 0
                give_all(
                    room, pixels, weights, lines[:count], panels[:count], lead, (base, first, last, channels, given)
                )
                for j in range(some):
                    for f in range(0, filters, LANES):
                        total, at = load(room, f), base + j * place[8] * given + f
                        for _ in range(wide):
                            total = add(total, load(room, at))
                            at += place[9] * given + filters
                        store(room, result + j * filters + f, total)
                target = n * image + p * plane + i * height + start * window
                if window == filters:
                    copy(sums, target, room, result, some * filters)
                    continue
                for j in range(some):
                    copy(sums, target + j * window, room, result + j * filters, filters)


def images_grad(g: Array, w: Array, b: Array, x: Array, place: Array, room: Array) -> None:
    """(N, OD, OH, OW, F), (KD, KH, F, 1, L), (C,) -> x (n, D, H, W, C): the bias and what windows give to a pixel.

    All phases of a stride in one go; a pixel's taps are taken in the order of its phase's correlation. ``place`` has
    along each axis the first pixel and the padding before it, added up.
    """
    images, planes, rows, columns, channels = x.shape
    windows, filters, step = g.shape[3], g.shape[4], place[8]
    deep, high, given, wide = w.shape[0], w.shape[1], w.shape[4], place[13]
    most = min(place[12], columns)
    weights, sums, grads = w.reshape(-1), flat(x), g.reshape(-1)
    lines, panels = np.empty(deep * high, np.intp), np.empty(deep * high, np.intp)
    image, plane = x.strides[0] // x.itemsize, x.strides[1] // x.itemsize
    height, pixel = x.strides[2] // x.itemsize, x.strides[3] // x.itemsize
    spots, ends = np.empty(wide, np.intp), np.empty(step + 1, np.intp)  # taps of a row, residue by residue
    count = 0
    for r in range(step):
        ends[r] = count
        for t in range(wide - 1, -1, -1):
            if (r - t * place[9]) % step == 0:
                spots[count] = (r - t * place[9]) // step * given + t * channels
                count += 1
    ends[step] = count
    across = (channels + LANES - 1) // LANES * LANES
    result = across  # the bias comes before
    base = result + most * channels + LANES
    for c in range(across):
        room[c] = b[c] if c < channels else 0
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for i in range(rows):
            count = 0
            for tap in range(deep * high - 1, -1, -1):
                y, v = p + place[1] - tap // high * place[3], i + place[4] - tap % high * place[6]
                if y % place[2] != 0 or v % place[5] != 0:
                    continue
                source = row_of(g, place[0] + n, y // place[2], v // place[5])
                if source >= 0:
                    lines[count], panels[count] = source * filters, tap * filters * given
                    count += 1
            for start in range(0, columns, most):
                some = min(most, columns - start)
                begin = (start + place[7] - (wide - 1) * place[9]) // step  # the first window, or one before it
                span = (start + some - 1 + place[7]) // step - begin + 1
                first = min(max(-begin, 0), span)
                last = max(min(windows - begin, span), first)
                for c in range(base, base + first * given):
                    room[c] = 0
                for c in range(base + last * given, base + span * given):
                    room[c] = 0
                give_all(
                    room, grads, weights, lines[:count], panels[:count], begin, (base, first, last, filters, given)
                )
                r = (start + place[7]) % step
                at = base + ((start + place[7]) // step - begin) * given
                for j in range(some):
                    for c in range(0, channels, LANES):
                        total = load(room, c)
                        for e in range(ends[r], ends[r + 1]):
                            total = add(total, load(room, at + spots[e] + c))
                        store(room, result + j * channels + c, total)
                    r += 1
                    if r == step:
                        r = 0
                        at += given
                target = n * image + p * plane + i * height + start * pixel
                if pixel == channels:
                    copy(sums, target, room, result, some * channels)
                    continue
                for j in range(some):
                    copy(sums, target + j * pixel, room, result + j * channels, channels)


def give_all(
    room: Array,
    pixels: Array,
    weights: Array,
    lines: Array,
    panels: Array,
    begin: int,
    where: tuple[int, int, int, int, int],
) -> None:
    """Sum what some pixels of a row give.

    ``lines``, ``panels``: where the rows begin that a window reads, and their weights. ``begin``: the column of the
    pixel whose sums come first. ``where``: its sums; the first of the pixels and the one behind the last, counted from
    it; the channels of each, and how many numbers it gives.
    """
    base, first, last, channels, given = where
    for q in range(first, last, TEN):
        for m in range(0, given, BLOCK):
            part = base + q * given, min(TEN, last - q), channels, given, m
            if m + LANES < given:
                give_pairs(room, pixels, weights, lines, panels, begin + q, part)
            else:
                give_last(room, pixels, weights, lines, panels, begin + q, part)


def give_pairs(
    room: Array,
    pixels: Array,
    weights: Array,
    lines: Array,
    panels: Array,
    column: int,
    where: tuple[int, int, int, int, int],
) -> None:
    """Sum sixteen numbers that each of up to ten pixels gives.

    ``where``: the first pixel's sums, how many pixels, the channels of each, how many numbers it gives in all, and the
    first of those that are summed.
    """
    at, count, channels, given, begin = where
    at += begin
    for q in range(0, count, FIVE):
        last = count - 1 - q
        i1, i2, i3, i4 = min(1, last), min(2, last), min(3, last), min(4, last)
        p0, q0, p1, q1, p2, q2 = zeros(room), zeros(room), zeros(room), zeros(room), zeros(room), zeros(room)
        p3, q3, p4, q4 = zeros(room), zeros(room), zeros(room), zeros(room)
        for e in range(lines.size):
            tap, s0 = panels[e] + begin, lines[e] + (column + q) * channels
            s1, s2, s3, s4 = i1 * channels, i2 * channels, i3 * channels, i4 * channels
            for c in range(s0, s0 + channels):
                u, v = load(weights, tap), load(weights, tap + LANES)
                s = splat(pixels, c)
                p0, q0 = fma(s, u, p0), fma(s, v, q0)
                s = splat(pixels, c + s1)
                p1, q1 = fma(s, u, p1), fma(s, v, q1)
                s = splat(pixels, c + s2)
                p2, q2 = fma(s, u, p2), fma(s, v, q2)
                s = splat(pixels, c + s3)
                p3, q3 = fma(s, u, p3), fma(s, v, q3)
                s = splat(pixels, c + s4)
                p4, q4 = fma(s, u, p4), fma(s, v, q4)
                tap += given
        z0 = at + q * given
        z1, z2, z3, z4 = z0 + i1 * given, z0 + i2 * given, z0 + i3 * given, z0 + i4 * given
        store(room, z0, p0)
        store(room, z0 + LANES, q0)
        store(room, z1, p1)
        store(room, z1 + LANES, q1)
        store(room, z2, p2)
        store(room, z2 + LANES, q2)
        store(room, z3, p3)
        store(room, z3 + LANES, q3)
        store(room, z4, p4)
        store(room, z4 + LANES, q4)


def give_last(
    room: Array,
    pixels: Array,
    weights: Array,
    lines: Array,
    panels: Array,
    column: int,
    where: tuple[int, int, int, int, int],
) -> None:
    """Sum the last eight numbers that each of up to ten pixels gives."""
    at, count, channels, given, begin = where
    at += begin
    last = count - 1
    i1, i2, i3, i4, i5 = min(1, last), min(2, last), min(3, last), min(4, last), min(5, last)
    i6, i7, i8, i9 = min(6, last), min(7, last), min(8, last), min(9, last)
    p0, p1, p2, p3, p4 = zeros(room), zeros(room), zeros(room), zeros(room), zeros(room)
    p5, p6, p7, p8, p9 = zeros(room), zeros(room), zeros(room), zeros(room), zeros(room)
    s1, s2, s3, s4, s5 = i1 * channels, i2 * channels, i3 * channels, i4 * channels, i5 * channels
    s6, s7, s8, s9 = i6 * channels, i7 * channels, i8 * channels, i9 * channels
    for e in range(lines.size):
        tap, s0 = panels[e] + begin, lines[e] + column * channels
        for c in range(s0, s0 + channels):
            u = load(weights, tap)
            p0, p1 = fma(splat(pixels, c), u, p0), fma(splat(pixels, c + s1), u, p1)
            p2, p3 = fma(splat(pixels, c + s2), u, p2), fma(splat(pixels, c + s3), u, p3)
            p4, p5 = fma(splat(pixels, c + s4), u, p4), fma(splat(pixels, c + s5), u, p5)
            p6, p7 = fma(splat(pixels, c + s6), u, p6), fma(splat(pixels, c + s7), u, p7)
            p8, p9 = fma(splat(pixels, c + s8), u, p8), fma(splat(pixels, c + s9), u, p9)
            tap += given
    store(room, at, p0)
    store(room, at + i1 * given, p1)
    store(room, at + i2 * given, p2)
    store(room, at + i3 * given, p3)
    store(room, at + i4 * given, p4)
    store(room, at + i5 * given, p5)
    store(room, at + i6 * given, p6)
    store(room, at + i7 * given, p7)
    store(room, at + i8 * given, p8)
    store(room, at + i9 * given, p9)


PARTS = (give_pairs, give_last, give_all)
