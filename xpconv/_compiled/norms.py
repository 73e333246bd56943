"""Loops of Lp pooling for p = 1, 2, 3 and infinity (``p`` is 0 then): powers with the same bits everywhere.

Images have three axes (N, D, H, W, C), some perhaps of one pixel. ``lists`` says of each axis which pixels each window
reads, or which windows read each pixel, laid out as those of `averages`; there a list begins with how many windows
would read the pixel if there were any beyond the ends.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpconv._compiled.lanes import (
    LANES,
    above,
    add,
    choose,
    divide,
    fill,
    load,
    magnitude,
    multiply,
    root,
    same,
    store,
    zeros,
)

Array = Any


def forward(x: Array, y: Array, place: Array, lists: Array, scales: Array) -> None:
    """(N, D, H, W, C) -> y (n, od, OH, OW, C): the norms, of taps inside the image, scaled by the largest magnitude.

    ``place`` holds the first image, the one after the last and the one that comes first in the result; the same of the
    windows on the first axis; where the lists of the other two begin; p, and the taps of a window. For p = 3 the root
    is not taken: y has the sums, and ``scales`` what their roots are to be multiplied with.
    """
    channels, p, spots = x.shape[4], place[8], np.empty(place[9], np.intp)
    pixels, target, factors = x.reshape(-1), y.reshape(-1), scales.reshape(-1)
    for n in range(place[0], place[1]):
        for a in range(place[3], place[4]):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    many = _met(spots, lists, (place[6], place[7]), (a, i, j), (n, 0), x.shape)[0]
                    to = n - place[2], a - place[5]
                    at = (((to[0] * y.shape[1] + to[1]) * y.shape[2] + i) * y.shape[3] + j) * channels
                    _norm(target, factors, at, pixels, spots[:many], channels, p)


def _met(spots: Array, lists: Array, begins: tuple[int, int], at: tuple[int, int, int], first: Any, shape: Any) -> Any:
    """List where the numbers lie that a place's lists name, in an array from its ``first`` image and plane on.

    Give how many, and how many it would be if what the lists begin with were there.
    """
    rows, columns = lists[begins[0] :], lists[begins[1] :]
    a, i, j = at
    many = 0
    for d in lists[lists[a] + 1 : lists[a + 1]]:
        for v in rows[rows[i] + 1 : rows[i + 1]]:
            for u in columns[columns[j] + 1 : columns[j + 1]]:
                spots[many] = (((first[0] * shape[1] + d - first[1]) * shape[2] + v) * shape[3] + u) * shape[4]
                many += 1
    return many, lists[lists[a]] * rows[rows[i]] * columns[columns[j]]


def _norm(target: Array, factors: Array, at: int, pixels: Array, spots: Array, channels: int, p: int) -> None:
    """Give the norm of the pixels of a window."""
    zero, one, most, c = pixels.dtype.type(0), pixels.dtype.type(1), pixels.dtype.type(math.inf), 0
    nothing, ones, infinite = zeros(target), fill(target, one), fill(target, most)
    while c < channels and channels >= LANES:
        c = min(c, channels - LANES)
        m, s = nothing, nothing
        for spot in spots:
            t = magnitude(load(pixels, spot + c))
            m = choose(above(t, m), t, m)
        scale = choose(above(infinite, m), choose(above(m, nothing), m, ones), ones)
        for spot in spots[: 0 if p == 0 else spots.size]:
            t = divide(magnitude(load(pixels, spot + c)), scale)
            if p > 1:
                t = multiply(multiply(t, t), t) if p == 3 else multiply(t, t)
            s = add(s, t)
        if p == 3:
            store(factors, at + c, scale)
            store(target, at + c, s)
        else:
            store(target, at + c, m if p == 0 else multiply(scale, s if p == 1 else root(s)))
        c += LANES
    for b in range(c, channels):
        top, total = zero, zero
        for spot in spots:
            value = abs(pixels[spot + b])
            top = top if (value <= top) | (top != top) else value
        size = top if (top > zero) & (top < most) else one
        for spot in spots[: 0 if p == 0 else spots.size]:
            value = abs(pixels[spot + b]) / size
            total += value if p == 1 else (value * value if p == 2 else value * value * value)
        if p == 3:
            factors[at + b] = size
            target[at + b] = total
        else:
            target[at + b] = top if p == 0 else size * (total if p == 1 else math.sqrt(total))


def gradient(x: Array, g: Array, dx: Array, place: Array, lists: Array, norms: Array, shares: Array) -> None:
    """(N, D, H, W, C), (N, OD, OH, OW, C) -> dx (N, D, H, W, C), its rows ``place[10]`` to ``place[11]``.

    ``norms`` are those of the windows of ``place``, as `forward` gives them; ``shares``, as many, has room. The lists
    of pixels' windows follow those of windows' pixels, from ``place[12]`` on, after which stands where the next begin.
    """
    channels, p, back = x.shape[4], place[8], lists[place[12] :]
    spots, zero, one = np.empty(place[9], np.intp), x.dtype.type(0), x.dtype.type(1)
    pixels, sources, target = x.reshape(-1), g.reshape(-1), dx.reshape(-1)
    sizes, parts = norms.reshape(-1), shares.reshape(-1)
    for n in range(place[0], place[1]):
        at = 0
        for a in range(place[3], place[4]):
            for i in range(g.shape[2]):
                for j in range(g.shape[3]):
                    source = (((n * g.shape[1] + a) * g.shape[2] + i) * g.shape[3] + j) * channels
                    many = 0
                    if p == 0:
                        many = _met(spots, lists, (place[6], place[7]), (a, i, j), (n, 0), x.shape)[0]
                    for c in range(channels):
                        size = sizes[at + c] if sizes[at + c] > zero else one
                        equal = zero  # how many magnitudes are the largest
                        for spot in spots[:many]:
                            equal += one if abs(pixels[spot + c]) == size else zero
                        sizes[at + c] = size
                        parts[at + c] = sources[source + c] / (equal if equal > one else one)
                    at += channels
        for d in range(place[10], place[11]):
            for v in range(x.shape[2]):
                for u in range(x.shape[3]):
                    own = (((n * x.shape[1] + d) * x.shape[2] + v) * x.shape[3] + u) * channels
                    many, most = _met(spots, back, (place[13], place[14]), (d, v, u), (0, place[5]), norms.shape)
                    _slope(target, own, pixels, (sizes, parts), spots[:many], channels, (p, many < most))


def _slope(
    target: Array, at: int, pixels: Array, windows: tuple[Array, Array], spots: Array, channels: int, how: Any
) -> None:
    """Sum up what a pixel gets of the windows that read it; a 0 is added if others would, beyond the ends."""
    (sizes, parts), (p, beyond), c = windows, how, 0
    zero, one = target.dtype.type(0), target.dtype.type(1)
    start = -zero if spots.size > 0 else zero
    nothing, ones, minus = zeros(target), fill(target, one), fill(target, -one)
    while c < channels and channels >= LANES:
        c = min(c, channels - LANES)
        x, s = load(pixels, at + c), fill(target, start)
        size = magnitude(x)
        for spot in spots:
            share, norm = load(parts, spot + c), load(sizes, spot + c)
            share = choose(above(nothing, x), multiply(share, minus), share)
            share = choose(same(x, x), share, multiply(share, x))
            if p == 0:
                share = multiply(share, choose(same(size, norm), ones, nothing))
            elif p == 2:
                share = multiply(share, divide(size, norm))
            elif p == 3:
                share = multiply(share, multiply(divide(size, norm), divide(size, norm)))
            s = add(s, choose(same(x, nothing), nothing, share))
        store(target, at + c, add(s, nothing) if beyond else s)
        c += LANES
    for b in range(c, channels):
        value, total = pixels[at + b], start
        for spot in spots:
            part, ratio = parts[spot + b], abs(value) / sizes[spot + b]
            part = part if value > zero else (-part if value < zero else value * part)
            if p == 0:
                part = part * (one if abs(value) == sizes[spot + b] else zero)
            elif p > 1:
                part = part * (ratio if p == 2 else ratio * ratio)
            total += part if value != zero else zero
        target[at + b] = total + zero if beyond else total


PARTS = _met, _norm, _slope  # that the loops call
