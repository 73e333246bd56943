"""Loops of convolutions with few channels in and few filters: vectors of neighbouring windows meet single weights.

A band of rows is laid out channel by channel, a row after the other, zeros beyond the image; at a stride the pixels of
each residue of a row's number and a column's lie together. So the windows of the band are neighbours, some of which
reach beyond a row's end and are left out, and a number of theirs is a vector at a fixed distance (`list_taps`). The
sums of 32 windows and three filters stay in registers, or those of 64 windows and the last filter. Arrays are
contiguous, shapes those of three spatial axes; ``place`` as in `rows`, with the rows of windows in a band last;
``room`` is work memory. Where two filters are left, the weights have zeros as a third one's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, add, flat, fma, load, move, put, splat, store, turn, zeros
from xpconv._compiled.rows import copy, row_of

Array = Any

TRIPLE = 3  # filters whose sums are taken together
GROUP = 64  # windows whose sums are taken together at most
SCRATCH = LANES * LANES  # numbers of work memory where results go before those that are wanted are picked


def forward(x: Array, w: Array, b: Array, z: Array, place: Array, room: Array) -> None:
    """(N, D, H, W, C), (KD, KH, KW, C, F), (F,) -> z (n, OD, OH, OW, F)."""
    images, planes, rows, columns, filters = z.shape
    kernel, band = w.shape[:3], min(place[12], z.shape[2])
    weights, sums = w.reshape(-1), flat(z)
    count = kernel[0] * kernel[1] * kernel[2] * x.shape[4]
    image, plane = z.strides[0] // z.itemsize, z.strides[1] // z.itemsize
    height, window = z.strides[2] // z.itemsize, z.strides[3] // z.itemsize
    pitch, lines = columns + (kernel[2] - 1) * place[9] // place[8], band + (kernel[1] - 1) * place[6] // place[5]
    taps = np.empty(count, np.intp)
    list_taps(taps, kernel, (lines, pitch, x.shape[4]), place)
    wide = (band * pitch + GROUP - 1) // GROUP * GROUP  # windows of a filter
    base = SCRATCH + (filters + 2) // TRIPLE * TRIPLE * wide
    for c in range(base, room.size):
        room[c] = 0
    for line in range(images * planes):
        n, p = line // planes, line % planes
        for first in range(0, rows, band):
            many = min(band, rows - first)
            lay_band(room, base, x, (place[0] + n, p, first), kernel, (lines, pitch), place)
            size = (many - 1) * pitch + columns
            for f in range(0, filters, TRIPLE):
                if filters - f == 1:
                    one_filter(room, base, weights, taps, (f, w.shape[4], size, SCRATCH + f * wide))
                else:
                    three_filters(room, base, weights, taps, (f, w.shape[4], size, SCRATCH + f * wide, wide))
            for i in range(many):
                target = n * image + p * plane + (first + i) * height
                later = (many - 1 - i) * height if height == columns * window else 0
                give_row(sums, target, room, SCRATCH + i * pitch, b, (columns, filters, window, wide, later))


def one_filter(room: Array, base: int, weights: Array, taps: Array, sizes: tuple[int, int, int, int]) -> None:
    """Sum the windows of a band for a filter."""
    f, filters, size, goal = sizes
    for q in range(0, size, GROUP):
        p0, p1, p2, p3 = zeros(room), zeros(room), zeros(room), zeros(room)
        p4, p5, p6, p7 = zeros(room), zeros(room), zeros(room), zeros(room)
        for e in range(taps.size):
            c, u = base + q + taps[e], splat(weights, f + e * filters)
            p0 = fma(load(room, c), u, p0)
            p1 = fma(load(room, c + 8), u, p1)
            p2 = fma(load(room, c + 16), u, p2)
            p3 = fma(load(room, c + 24), u, p3)
            p4 = fma(load(room, c + 32), u, p4)
            p5 = fma(load(room, c + 40), u, p5)
            p6 = fma(load(room, c + 48), u, p6)
            p7 = fma(load(room, c + 56), u, p7)
        store(room, goal + q, p0)
        store(room, goal + q + 8, p1)
        store(room, goal + q + 16, p2)
        store(room, goal + q + 24, p3)
        store(room, goal + q + 32, p4)
        store(room, goal + q + 40, p5)
        store(room, goal + q + 48, p6)
        store(room, goal + q + 56, p7)


def three_filters(room: Array, base: int, weights: Array, taps: Array, sizes: tuple[int, int, int, int, int]) -> None:
    """Sum the windows of a band for three filters."""
    f, filters, size, goal, wide = sizes
    for q in range(0, size, GROUP // 2):
        p0, p1, p2, p3 = zeros(room), zeros(room), zeros(room), zeros(room)
        q0, q1, q2, q3 = zeros(room), zeros(room), zeros(room), zeros(room)
        r0, r1, r2, r3 = zeros(room), zeros(room), zeros(room), zeros(room)
        tap = f
        for e in range(taps.size):
            c = base + q + taps[e]
            u, v, s = splat(weights, tap), splat(weights, tap + 1), splat(weights, tap + 2)
            pixel = load(room, c)
            p0, q0, r0 = fma(pixel, u, p0), fma(pixel, v, q0), fma(pixel, s, r0)
            pixel = load(room, c + 8)
            p1, q1, r1 = fma(pixel, u, p1), fma(pixel, v, q1), fma(pixel, s, r1)
            pixel = load(room, c + 16)
            p2, q2, r2 = fma(pixel, u, p2), fma(pixel, v, q2), fma(pixel, s, r2)
            pixel = load(room, c + 24)
            p3, q3, r3 = fma(pixel, u, p3), fma(pixel, v, q3), fma(pixel, s, r3)
            tap += filters
        at = goal + q
        store(room, at, p0)
        store(room, at + 8, p1)
        store(room, at + 16, p2)
        store(room, at + 24, p3)
        store(room, at + wide, q0)
        store(room, at + wide + 8, q1)
        store(room, at + wide + 16, q2)
        store(room, at + wide + 24, q3)
        store(room, at + 2 * wide, r0)
        store(room, at + 2 * wide + 8, r1)
        store(room, at + 2 * wide + 16, r2)
        store(room, at + 2 * wide + 24, r3)


def give_row(sums: Array, target: int, room: Array, at: int, b: Array, sizes: tuple[int, int, int, int, int]) -> None:
    """Write the windows of a row, whose filters lie apart, with the bias.

    ``sizes``: windows, filters, numbers from a window to the next one, from a filter to the next one, and how many
    numbers behind the row are written later.
    """
    columns, filters, window, wide, later = sizes
    if filters == 1 and window == 1:
        bias, whole = splat(b, 0), columns // LANES * LANES
        for j in range(0, whole, LANES):
            store(sums, target + j, add(load(room, at + j), bias))
        for j in range(whole, columns):
            put(sums, target + j, room[at + j] + b[0])
        return
    for f in range(0, filters, LANES):
        last, real = filters - 1, min(LANES, filters - f)
        f1, f2, f3, f4 = min(f + 1, last), min(f + 2, last), min(f + 3, last), min(f + 4, last)
        f5, f6, f7 = min(f + 5, last), min(f + 6, last), min(f + 7, last)
        b0, b1, b2, b3 = splat(b, f), splat(b, f1), splat(b, f2), splat(b, f3)
        b4, b5, b6, b7 = splat(b, f4), splat(b, f5), splat(b, f6), splat(b, f7)
        # what is stored behind the filters of a window is stored again, with those of the next ones
        over = filters == window and (filters < LANES or real == LANES)
        for j in range(0, columns, LANES):
            c = at + j
            found = (
                add(load(room, c + f * wide), b0),
                add(load(room, c + f1 * wide), b1),
                add(load(room, c + f2 * wide), b2),
                add(load(room, c + f3 * wide), b3),
                add(load(room, c + f4 * wide), b4),
                add(load(room, c + f5 * wide), b5),
                add(load(room, c + f6 * wide), b6),
                add(load(room, c + f7 * wide), b7),
            )
            goal, left = target + j * window + f, columns - j
            if (over and (left - LANES) * filters + later >= LANES) or (real == LANES and left >= LANES):
                turn(sums, goal, window, found)
                continue
            turn(room, 0, LANES, found)
            for k in range(min(LANES, left)):
                copy(sums, goal + k * window, room, k * LANES, real)


def list_taps(taps: Array, kernel: tuple[int, int, int], sizes: tuple[int, int, int], place: Array) -> None:
    """List where the numbers of the first window of a band lie. ``sizes``: lines of a plane, their length, channels."""
    lines, pitch, channels = sizes
    down, across = phases(kernel, place)
    count = 0
    for d in range(kernel[0]):
        for k in range(kernel[1]):
            for t in range(kernel[2]):
                r, u = k * place[6], t * place[9]
                plane = (d * down + r % place[5]) * across + u % place[8]
                for c in range(channels):
                    taps[count] = ((plane * channels + c) * lines + r // place[5]) * pitch + u // place[8]
                    count += 1


def phases(kernel: tuple[int, int, int], place: Array) -> tuple[int, int]:
    """Count the residues of rows and of columns that taps may have."""
    return min(place[5], (kernel[1] - 1) * place[6] + 1), min(place[8], (kernel[2] - 1) * place[9] + 1)


def lay_band(
    room: Array,
    base: int,
    x: Array,
    where: tuple[int, int, int],
    kernel: tuple[int, int, int],
    sizes: tuple[int, int],
    place: Array,
) -> None:
    """Lay the rows of a band out. ``where``: the image, the plane and the first row of its windows."""
    n, p, first = where
    lines, pitch = sizes
    channels, width, pixels = x.shape[4], x.shape[3], x.reshape(-1)
    down, across = phases(kernel, place)
    step = place[8]
    for d in range(kernel[0]):
        for phase in range(down):
            for r in range(lines):
                v = (first + r) * place[5] + phase + place[4]
                line = row_of(x, n, p * place[2] + place[1] + d * place[3], v)
                for u in range(across):
                    start = place[7] + u  # the column of the first pixel
                    inner = min(pitch, (step - 1 - start) // step if start < 0 else 0)
                    outer = max(inner, min(pitch, (width - 1 - start) // step + 1 if start < width else 0))
                    if line < 0:
                        inner = outer = pitch
                    at = base + ((((d * down + phase) * across + u) * channels) * lines + r) * pitch
                    source = (line + start + inner * step) * channels
                    whole = channels // LANES * LANES
                    for c in range(0, whole, LANES):
                        turn_row(room, at, pixels, source + c, (inner, outer, pitch, step * channels, lines * pitch))
                        at += LANES * lines * pitch
                    for c in range(whole, channels):
                        pick_row(room, at, pixels, source + c, (inner, outer, pitch, step * channels))
                        at += lines * pitch


def pick_row(room: Array, at: int, pixels: Array, source: int, sizes: tuple[int, int, int, int]) -> None:
    """Lay a channel of some of a row's pixels out, zeros before and behind them."""
    inner, outer, pitch, step = sizes
    for q in range(inner):
        put(room, at + q, 0)
    if step == 1:
        copy(room, at + inner, pixels, source, outer - inner)
    else:
        rest = (outer - inner) % 4
        for q in range(at + inner, at + outer - rest, 4):
            move(room, q, pixels, source)
            move(room, q + 1, pixels, source + step)
            move(room, q + 2, pixels, source + 2 * step)
            move(room, q + 3, pixels, source + 3 * step)
            source += 4 * step
        for q in range(at + outer - rest, at + outer):
            move(room, q, pixels, source)
            source += step
    for q in range(outer, pitch):
        put(room, at + q, 0)


def turn_row(room: Array, at: int, pixels: Array, source: int, sizes: tuple[int, int, int, int, int]) -> None:
    """Lay eight channels of some of a row's pixels out, zeros before and behind them."""
    inner, outer, pitch, step, plane = sizes
    for q in range(inner, outer - LANES + 1, LANES):
        turn_pixels(room, at + q, plane, pixels, source, step)
        source += LANES * step
    rest = (outer - inner) % LANES
    for c in range(LANES):
        for q in range(at, at + inner):
            put(room, q, 0)
        for q in range(rest):
            move(room, at + outer - rest + q, pixels, source + c + q * step)
        for q in range(at + outer, at + pitch):
            put(room, q, 0)
        at += plane


def turn_pixels(room: Array, at: int, plane: int, pixels: Array, source: int, step: int) -> None:
    """Lay eight numbers of eight pixels out, so that the pixels' first ones lie side by side, and so forth."""
    found = (
        load(pixels, source),
        load(pixels, source + step),
        load(pixels, source + 2 * step),
        load(pixels, source + 3 * step),
        load(pixels, source + 4 * step),
        load(pixels, source + 5 * step),
        load(pixels, source + 6 * step),
        load(pixels, source + 7 * step),
    )
    turn(room, at, plane, found)


PARTS = (
    one_filter,
    three_filters,
    give_row,
    list_taps,
    phases,
    lay_band,
    pick_row,
    turn_row,
    turn_pixels,
)
