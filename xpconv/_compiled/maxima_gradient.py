"""The loop of max pooling's gradient where windows share pixels, on images of two axes.

Of each row of pixels the maxima of all windows' rows are found, of each row of windows the first row that has its
maximum; then what a row of pixels gets from those windows is summed up, first over rows, and then along the row. Only
the rows that the next windows read are kept, which is in the second cache. Orders are those of NumPy's calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._compiled.lanes import LANES, above, add, choose, fill, load, same, store

Array = Any
Axis = tuple[int, int, int, int]  # taps, stride, dilation, padding before

PAIR = 2 * LANES


def gradient(x: Array, g: Array, dx: Array, place: Array, tops: Array, found: Array, sums: Array) -> None:
    """(N, H, W, C), (N, OH, OW, C) -> dx (N, H, W, C): each window's gradient to its first maximum, or first NaN.

    ``place`` holds the taps, the stride, the dilation and the padding before of each axis; the first image, and the one
    after the last; the same of the rows of windows, and of the rows of pixels that they reach; how many of those hold
    sums to add to; how many rows of pixels and of windows are kept; and which taps of each axis are the first to reach
    their pixels. ``tops`` and ``found`` have room for the kept rows, (OW, C) each, ``sums`` for one.
    """
    high, wide = (place[0], place[1], place[2], place[3]), (place[4], place[5], place[6], place[7])
    top, bottom, low, end, ring, kept = place[10], place[11], place[12], place[13], place[15], place[16]
    height, width, channels, columns = x.shape[1], x.shape[2], x.shape[3], g.shape[2]
    length, line, heads, span = columns * channels, width * channels, place[17:], (high[0] - 1) * high[2] + 1
    pixels, shares, target = x.reshape(-1), g.reshape(-1), dx.reshape(-1)
    firsts, terms = found[ring * length :], np.empty((3, high[0]), np.intp)
    begins, readers = readers_of(wide, width, columns)
    for n in range(place[8], place[9]):
        seen, done = low, low  # the rows whose maxima are found, and whose sums are written
        for i in range(top, bottom):
            start = i * high[1] - high[3]
            for v in range(max(seen, start), min(start + span, end)):
                slot = (v - low) % ring * length
                along(tops, found, slot, pixels, (n * height + v) * line, (width, columns, channels), wide)
                seen = v + 1
            many = 0
            for k in range(high[0]):
                v = start + k * high[2]
                if low <= v and v < end:
                    terms[0, many], terms[1, many] = k, (v - low) % ring * length
                    many += 1
            _across(firsts, (i - top) % kept * length, tops, length, terms, many)
            stop = end if i + 1 == bottom else min(end, start + high[1])
            for v in range(done, stop):
                many = 0
                for k in range(high[0]):
                    o = v + high[3] - k * high[2]
                    if o >= 0 and o % high[1] == 0 and top <= o // high[1] and o // high[1] < bottom:
                        o = o // high[1]
                        terms[0, many], terms[1, many] = k, (o - top) % kept * length
                        terms[2, many] = (n * g.shape[1] + o) * length
                        many += 1
                _gather(sums, shares, firsts, length, terms, many, heads)
                to, slot, held = (n * height + v) * line, (v - low) % ring * length, int(v - low < place[14])
                give_along(target, to, sums, found[slot:], begins, readers, (channels, high[0], held, heads))
            done = max(done, stop)


def readers_of(wide: Axis, width: int, columns: int) -> tuple[Array, Array]:
    """List the windows that read each pixel of a row, and as which tap."""
    begins, readers, many = np.zeros(width + 1, np.intp), np.empty((2, width * wide[0]), np.intp), 0
    for u in range(width):
        for k in range(wide[0]):
            o = u + wide[3] - k * wide[2]
            if o >= 0 and o % wide[1] == 0 and o // wide[1] < columns:
                readers[0, many], readers[1, many] = k, o // wide[1]
                many += 1
        begins[u + 1] = many
    return begins, readers


def along(
    tops: Array, found: Array, slot: int, pixels: Array, line: int, sizes: tuple[int, int, int], wide: Axis
) -> None:
    """Find the first maxima of all windows in a row of pixels, and their taps."""
    width, columns, channels = sizes
    for j in range(columns):
        start, at = j * wide[1] - wide[3], slot + j * channels
        begin = -(start // wide[2]) if start < 0 else 0
        end = min(wide[0], (width - 1 - start) // wide[2] + 1)
        if begin >= end:
            for c in range(channels):
                tops[at + c] = 0
                found[at + c] = -1
            continue
        lead, step, c = line + (start + begin * wide[2]) * channels, wide[2] * channels, 0
        while c < channels and channels >= PAIR:
            c = min(c, channels - PAIR)
            spot = lead + c
            m0, m1 = load(pixels, spot), load(pixels, spot + LANES)
            s0, s1 = fill(found, begin), fill(found, begin)
            for k in range(begin + 1, end):
                spot += step
                t0, t1, own = load(pixels, spot), load(pixels, spot + LANES), fill(found, k)
                k0, k1 = above(t0, m0), above(t1, m1)
                m0, m1, s0, s1 = choose(k0, t0, m0), choose(k1, t1, m1), choose(k0, own, s0), choose(k1, own, s1)
            store(tops, at + c, m0)
            store(tops, at + c + LANES, m1)
            store(found, at + c, s0)
            store(found, at + c + LANES, s1)
            c += PAIR
        while c < channels and channels >= LANES:
            c = min(c, channels - LANES)
            m0, s0 = load(pixels, lead + c), fill(found, begin)
            for k in range(begin + 1, end):
                t0 = load(pixels, lead + c + (k - begin) * step)
                k0 = above(t0, m0)
                m0, s0 = choose(k0, t0, m0), choose(k0, fill(found, k), s0)
            store(tops, at + c, m0)
            store(found, at + c, s0)
            c += LANES
        for b in range(c, channels):
            m, s = pixels[lead + b], begin
            for k in range(begin + 1, end):
                t = pixels[lead + b + (k - begin) * step]
                keep = (t <= m) | (m != m)
                m = m if keep else t
                s = s if keep else k
            tops[at + b] = m
            found[at + b] = s


def _across(firsts: Array, to: int, tops: Array, length: int, terms: Array, many: int) -> None:
    """Find the first row that has the maximum of each window of a row, among ``terms``: its tap, and where it lies."""
    u = 0
    for c in range(to, to + length if many == 0 else to):
        firsts[c] = -1
    while u < length and length >= PAIR and many > 0:
        u = min(u, length - PAIR)
        m0, m1 = load(tops, terms[1, 0] + u), load(tops, terms[1, 0] + u + LANES)
        s0, s1 = fill(firsts, terms[0, 0]), fill(firsts, terms[0, 0])
        for e in range(1, many):
            spot, own = terms[1, e] + u, fill(firsts, terms[0, e])
            t0, t1 = load(tops, spot), load(tops, spot + LANES)
            k0, k1 = above(t0, m0), above(t1, m1)
            m0, m1, s0, s1 = choose(k0, t0, m0), choose(k1, t1, m1), choose(k0, own, s0), choose(k1, own, s1)
        store(firsts, to + u, s0)
        store(firsts, to + u + LANES, s1)
        u += PAIR
    for c in range(u, length if many > 0 else u):
        m, s = tops[terms[1, 0] + c], terms[0, 0]
        for e in range(1, many):
            t = tops[terms[1, e] + c]
            keep = (t <= m) | (m != m)
            m = m if keep else t
            s = s if keep else terms[0, e]
        firsts[to + c] = s


def _gather(sums: Array, shares: Array, firsts: Array, length: int, terms: Array, many: int, heads: Array) -> None:
    """Sum up what windows give a row of pixels: ``terms`` are its tap, where the first rows lie, and the gradients."""
    zero, u = sums.dtype.type(0), 0
    start = -zero if many > 0 and heads[terms[0, 0]] != 0 else zero
    head, nothing = fill(sums, start), fill(sums, zero)
    while u < length and length >= PAIR:
        u = min(u, length - PAIR)
        s0, s1 = head, head
        for e in range(many):
            tap, own, spot = fill(firsts, terms[0, e]), terms[1, e] + u, terms[2, e] + u
            s0 = add(s0, choose(same(load(firsts, own), tap), load(shares, spot), nothing))
            s1 = add(s1, choose(same(load(firsts, own + LANES), tap), load(shares, spot + LANES), nothing))
        store(sums, u, s0)
        store(sums, u + LANES, s1)
        u += PAIR
    for c in range(u, length):
        s = start
        for e in range(many):
            s += shares[terms[2, e] + c] if firsts[terms[1, e] + c] == terms[0, e] else zero
        sums[c] = s


def give_along(target: Array, to: int, sums: Array, found: Array, begins: Array, readers: Array, more: Any) -> None:
    """Sum up along a row what pixels get; if ``held`` is 1, it is added to what they hold, if 2, begins with it."""
    channels, before, held, heads = more
    zero = sums.dtype.type(0)
    nothing = fill(sums, zero)
    for u in range(begins.size - 1):
        first, last = begins[u], begins[u + 1]
        start = -zero if first < last and heads[before + readers[0, first]] != 0 else zero
        head, own, c = fill(sums, start), to + u * channels, 0
        while c + PAIR <= channels:
            s0, s1 = head, head
            if held == 2:
                s0, s1 = load(target, own + c), load(target, own + c + LANES)
            for e in range(first, last):
                tap, spot = fill(found, readers[0, e]), readers[1, e] * channels + c
                s0 = add(s0, choose(same(load(found, spot), tap), load(sums, spot), nothing))
                s1 = add(s1, choose(same(load(found, spot + LANES), tap), load(sums, spot + LANES), nothing))
            store(target, own + c, add(load(target, own + c), s0) if held == 1 else s0)
            store(target, own + c + LANES, add(load(target, own + c + LANES), s1) if held == 1 else s1)
            c += PAIR
        while c + LANES <= channels:
            s0 = load(target, own + c) if held == 2 else head
            for e in range(first, last):
                tap, spot = fill(found, readers[0, e]), readers[1, e] * channels + c
                s0 = add(s0, choose(same(load(found, spot), tap), load(sums, spot), nothing))
            store(target, own + c, add(load(target, own + c), s0) if held == 1 else s0)
            c += LANES
        for b in range(c, channels):
            s = target[own + b] if held == 2 else start
            for e in range(first, last):
                spot = readers[1, e] * channels + b
                s += sums[spot] if found[spot] == readers[0, e] else zero
            target[own + b] = target[own + b] + s if held == 1 else s


PARTS = readers_of, along, _across, _gather, give_along  # that the loop calls
