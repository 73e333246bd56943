"""Loops of max pooling's gradient along one axis, for all pixels that are a window's maximum.

Arrays are (A, n, B) as in `lines`; ``place`` holds the kernel, the stride, the dilation, and the padding before the
first pixel. Nothing is asked about NaN here: where a maximum is one, `top` says so.
"""

from __future__ import annotations

from typing import Any

from xpconv._compiled.lanes import LANES, above, add, choose, fill, load, same, store, zeros
from xpconv._compiled.maxima_gradient import readers_of

Array = Any

PAIR = 2 * LANES


def top(x: Array, best: Array, place: Array, lost: Array) -> None:
    """Find the maximum of each window: (A, n, B) -> best (A, m, B); ``lost`` becomes 1 if one is NaN."""
    pixels, tops, inner, zero = x.reshape(-1), best.reshape(-1), x.shape[2], x.dtype.type(0)
    for a in range(x.shape[0]):
        for j in range(best.shape[1]):
            begin, end, start = _taps(place, j, x.shape[1])
            to, lead = (a * best.shape[1] + j) * inner, (a * x.shape[1] + start) * inner
            step, b = place[2] * inner, 0
            for c in range(to, to + inner if begin >= end else to):
                tops[c] = zero
            while begin < end and b + PAIR <= inner:
                m0, m1 = load(pixels, lead + b), load(pixels, lead + b + LANES)
                for p in range(lead + b + step, lead + b + (end - begin) * step, step):
                    t0, t1 = load(pixels, p), load(pixels, p + LANES)
                    m0, m1 = choose(above(t0, m0), t0, m0), choose(above(t1, m1), t1, m1)
                store(tops, to + b, m0)
                store(tops, to + b + LANES, m1)
                b += PAIR
            while begin < end and b + LANES <= inner:
                m0 = load(pixels, lead + b)
                for p in range(lead + b + step, lead + b + (end - begin) * step, step):
                    t0 = load(pixels, p)
                    m0 = choose(above(t0, m0), t0, m0)
                store(tops, to + b, m0)
                b += LANES
            for c in range(b, inner if begin < end else b):
                m = pixels[lead + c]
                for p in range(lead + c + step, lead + c + (end - begin) * step, step):
                    t = pixels[p]
                    m = m if (t <= m) | (m != m) else t
                tops[to + c] = m
    count = 0
    for c in range(tops.size):
        count += int(tops[c] != tops[c])
    if count > 0:
        lost[0] = 1


def count(x: Array, best: Array, below: Array, counts: Array, place: Array, deep: int) -> None:
    """Count each window's maxima: (A, n, B), (A, m, B) -> counts (A, m, B); if ``deep``, pixel by pixel ``below``."""
    pixels, tops, many, found = x.reshape(-1), best.reshape(-1), below.reshape(-1), counts.reshape(-1)
    inner, nothing, one, zero = x.shape[2], zeros(counts), fill(counts, 1), counts.dtype.type(0)
    for a in range(x.shape[0]):
        for j in range(best.shape[1]):
            begin, end, start = _taps(place, j, x.shape[1])
            to, lead = (a * best.shape[1] + j) * inner, (a * x.shape[1] + start) * inner
            step, b = place[2] * inner, 0
            while b + LANES <= inner:
                s, m = nothing, load(tops, to + b)
                for p in range(lead + b, lead + b + (end - begin) * step, step):
                    s = add(s, choose(same(load(pixels, p), m), load(many, p) if deep else one, nothing))
                store(found, to + b, s)
                b += LANES
            for c in range(b, inner):
                total = zero
                for p in range(lead + c, lead + c + (end - begin) * step, step):
                    if pixels[p] == tops[to + c]:
                        total += many[p] if deep else counts.dtype.type(1)
                found[to + c] = total


def give(g: Array, x: Array, best: Array, home: Array, place: Array, heads: Array, held: int) -> None:
    """Add each window's gradient to all its maxima: (A, m, B), (A, n, B), (A, m, B) -> home (A, n, B).

    ``heads`` says which taps are the first to reach their pixels; if ``held``, there are sums to add to.
    """
    shares, pixels, tops, target = g.reshape(-1), x.reshape(-1), best.reshape(-1), home.reshape(-1)
    axis, inner, zero = (place[0], place[1], place[2], place[3]), x.shape[2], x.dtype.type(0)
    begins, readers = readers_of(axis, x.shape[1], best.shape[1])
    nothing = fill(home, zero)
    for a in range(x.shape[0]):
        for u in range(x.shape[1]):
            first, last, to, b = begins[u], begins[u + 1], (a * x.shape[1] + u) * inner, 0
            start = -zero if first < last and heads[readers[0, first]] != 0 else zero
            head, line = fill(home, start), a * best.shape[1]
            while b + PAIR <= inner:
                s0, s1, v0, v1 = head, head, load(pixels, to + b), load(pixels, to + b + LANES)
                if held:
                    s0, s1 = load(target, to + b), load(target, to + b + LANES)
                for e in range(first, last):
                    spot = (line + readers[1, e]) * inner + b
                    s0 = add(s0, choose(same(load(tops, spot), v0), load(shares, spot), nothing))
                    s1 = add(s1, choose(same(load(tops, spot + LANES), v1), load(shares, spot + LANES), nothing))
                store(target, to + b, s0)
                store(target, to + b + LANES, s1)
                b += PAIR
            while b + LANES <= inner:
                s0, v0 = load(target, to + b) if held else head, load(pixels, to + b)
                for e in range(first, last):
                    spot = (line + readers[1, e]) * inner + b
                    s0 = add(s0, choose(same(load(tops, spot), v0), load(shares, spot), nothing))
                store(target, to + b, s0)
                b += LANES
            for c in range(b, inner):
                s = target[to + c] if held else start
                for e in range(first, last):
                    spot = (line + readers[1, e]) * inner + c
                    s += shares[spot] if tops[spot] == pixels[to + c] else zero
                target[to + c] = s


def _taps(place: Array, window: int, size: int) -> tuple[int, int, int]:
    """Give the first tap of a window inside the axis, the one after the last, and the first one's pixel."""
    start = window * place[1] - place[3]
    begin = -(start // place[2]) if start < 0 else 0
    return begin, min(place[0], (size - 1 - start) // place[2] + 1), start + begin * place[2]


PARTS = (_taps,)  # that the loops call
