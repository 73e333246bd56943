"""Loops of a weight's gradient by vectors of neighbouring windows: their pixels meet vectors of the output's gradient.

A band of rows is laid out as in `windows`, and its part of the gradient filter by filter. The sums of four numbers of a
window and three filters stay in registers while a band lasts; their lanes are added at the end. Arrays as in `windows`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, choose, fill, fma, load, put, same, store, zeros
from xpconv._compiled.windows import SCRATCH, TRIPLE, lay_band, list_taps, turn_pixels

Array = Any

TAPS = 4  # numbers of a window whose products are summed together


def weight_grad(x: Array, g: Array, w: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (n, OD, OH, OW, F) -> w (KD, KH, KW, C, F): the windows times the gradient, summed."""
    images, planes, rows, columns, filters = g.shape
    kernel, band = w.shape[:3], min(place[12], g.shape[2])
    grads, sums = g.reshape(-1), w.reshape(-1)
    count = kernel[0] * kernel[1] * kernel[2] * x.shape[4]
    pitch, lines = columns + (kernel[2] - 1) * place[9] // place[8], band + (kernel[1] - 1) * place[6] // place[5]
    taps = np.zeros(count + TAPS, np.intp)
    list_taps(taps, kernel, (lines, pitch, x.shape[4]), place)
    long = (columns + LANES - 1) // LANES * LANES  # numbers of a row of the gradient, filter by filter
    each = (count + TAPS - 1) // TAPS * TAPS * LANES  # of the sums of a filter, whose lanes are added last
    given = SCRATCH + (filters + 2) // TRIPLE * TRIPLE * each
    base = given + (filters + LANES) // LANES * LANES * band * long
    for c in range(room.size):
        room[c] = 0
    for c in range(columns % LANES):
        room[c] = 1
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for first in range(0, rows, band):
            many = min(band, rows - first)
            lay_band(room, base, x, (place[0] + n, p, first), kernel, (lines, pitch), place)
            for i in range(many):
                source = (line * rows + first + i) * columns * filters
                take_row(room, given + i * long, grads, source, (columns, filters, band * long))
            for f in range(0, filters, TRIPLE):
                for e in range(0, count, TAPS):
                    at = SCRATCH + f * each + e * LANES
                    sum_taps(
                        room,
                        at,
                        base,
                        given + f * band * long,
                        taps,
                        e,
                        (many, columns, pitch, long, band * long, each),
                    )
    for e in range(count):
        for f in range(filters):
            c = SCRATCH + f * each + e * LANES
            lower = (room[c] + room[c + 1]) + (room[c + 2] + room[c + 3])
            upper = (room[c + 4] + room[c + 5]) + (room[c + 6] + room[c + 7])
            sums[e * filters + f] = lower + upper


def sum_taps(
    room: Array, at: int, base: int, given: int, taps: Array, e: int, sizes: tuple[int, int, int, int, int, int]
) -> None:
    """Add the products of a band, of four numbers of a window and the gradients of three filters, to their sums."""
    many, columns, pitch, long, wide, each = sizes
    whole = columns // LANES * LANES
    p0, p1, p2, p3 = load(room, at), load(room, at + 8), load(room, at + 16), load(room, at + 24)
    q0, q1, q2, q3 = (
        load(room, at + each),
        load(room, at + each + 8),
        load(room, at + each + 16),
        load(room, at + each + 24),
    )
    r0, r1 = load(room, at + 2 * each), load(room, at + 2 * each + 8)
    r2, r3 = load(room, at + 2 * each + 16), load(room, at + 2 * each + 24)
    zero, inner = zeros(room), same(load(room, 0), fill(room, 1))
    at0, at1, at2, at3 = base + taps[e], base + taps[e + 1], base + taps[e + 2], base + taps[e + 3]
    for _ in range(many):
        for j in range(0, whole, LANES):
            c = given + j
            u, v, s = load(room, c), load(room, c + wide), load(room, c + 2 * wide)
            pixel = load(room, at0 + j)
            p0, q0, r0 = fma(pixel, u, p0), fma(pixel, v, q0), fma(pixel, s, r0)
            pixel = load(room, at1 + j)
            p1, q1, r1 = fma(pixel, u, p1), fma(pixel, v, q1), fma(pixel, s, r1)
            pixel = load(room, at2 + j)
            p2, q2, r2 = fma(pixel, u, p2), fma(pixel, v, q2), fma(pixel, s, r2)
            pixel = load(room, at3 + j)
            p3, q3, r3 = fma(pixel, u, p3), fma(pixel, v, q3), fma(pixel, s, r3)
        if whole < columns:  # pixels that no window of the row reads are left out, whatever they are
            c = given + whole
            u, v, s = load(room, c), load(room, c + wide), load(room, c + 2 * wide)
            pixel = choose(inner, load(room, at0 + whole), zero)
            p0, q0, r0 = fma(pixel, u, p0), fma(pixel, v, q0), fma(pixel, s, r0)
            pixel = choose(inner, load(room, at1 + whole), zero)
            p1, q1, r1 = fma(pixel, u, p1), fma(pixel, v, q1), fma(pixel, s, r1)
            pixel = choose(inner, load(room, at2 + whole), zero)
            p2, q2, r2 = fma(pixel, u, p2), fma(pixel, v, q2), fma(pixel, s, r2)
            pixel = choose(inner, load(room, at3 + whole), zero)
            p3, q3, r3 = fma(pixel, u, p3), fma(pixel, v, q3), fma(pixel, s, r3)
        given += long
        at0 += pitch
        at1 += pitch
        at2 += pitch
        at3 += pitch
    store(room, at, p0)
    store(room, at + 8, p1)
    store(room, at + 16, p2)
    store(room, at + 24, p3)
    store(room, at + each, q0)
    store(room, at + each + 8, q1)
    store(room, at + each + 16, q2)
    store(room, at + each + 24, q3)
    store(room, at + 2 * each, r0)
    store(room, at + 2 * each + 8, r1)
    store(room, at + 2 * each + 16, r2)
    store(room, at + 2 * each + 24, r3)


def take_row(room: Array, at: int, grads: Array, source: int, sizes: tuple[int, int, int]) -> None:
    """Lay a row of the output's gradient out filter by filter; what lies behind its end stays as it is."""
    columns, filters, wide = sizes
    for f in range(0, filters, LANES):
        # the numbers of further filters are those of the next windows, and meet no sum that is wanted
        whole = min(columns // LANES, max(grads.size - source - f - LANES, 0) // filters // LANES) * LANES
        for j in range(0, whole, LANES):
            turn_pixels(room, at + f * wide + j, wide, grads, source + j * filters + f, filters)
        for k in range(f, min(f + LANES, filters)):
            for j in range(whole, columns):
                put(room, at + k * wide + j, grads[source + j * filters + k])


PARTS = (sum_taps, take_row)
