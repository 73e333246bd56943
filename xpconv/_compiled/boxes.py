"""Loops of max pooling's gradient where windows are boxes of pixels that share few or none.

Images have three axes (N, D, H, W, C), some perhaps of one pixel; the innermost loop runs over neighbouring channels.
``ends`` holds, axis after axis, the first pixel of each window and then the pixel after its last. ``place`` holds the
first image and the one after the last, the first channel and the one after the last, whether windows share pixels, and
whether there are pixels outside of all windows; at 7 whether gradients are added to 0, which makes a 0 of a -0, and
whether an image is filled with zeros first. ``room`` and ``numbers`` have two rows for the channels.
"""

from __future__ import annotations

from typing import Any

from xpconv._compiled.lanes import LANES, above, add, choose, divide, fill, load, same, store, zeros

Array = Any

PAIR = 2 * LANES
WIDE = 4 * LANES  # numbers of which a loop has as many vectors as it can without waiting


def gradient(x: Array, g: Array, dx: Array, place: Array, ends: Array, room: Array, numbers: Array) -> None:
    """(N, D, H, W, C), (N, OD, OH, OW, C) -> dx (N, D, H, W, C): each gradient goes to its window's first maximum."""
    at, channels, shared, sparse = numbers[0], x.shape[4], place[4] > 0, place[8] > 0
    height, width, first, some = x.shape[2], x.shape[3], place[2], place[3] - place[2]
    deep, high, wide = g.shape[1], g.shape[2], g.shape[3]
    rows, columns = ends[2 * deep :], ends[2 * (deep + high) :]
    pixels, shares, target = x.reshape(-1), g.reshape(-1), dx.reshape(-1)
    zero, number, nothing = x.dtype.type(0), at.dtype.type, zeros(room)
    more = zero if place[7] > 0 else -zero
    extra = fill(room, more)
    for n in range(place[0], place[1]):
        image, share = n * x.shape[1] * height * width * channels + first, n * deep * high * wide * channels + first
        if shared or sparse or place[5] > 0:
            _clear(target, image, x.shape[1] * height * width, channels, some)
        for a in range(deep):
            for i in range(high):
                for j in range(wide):
                    box = ends[a], ends[deep + a], rows[i], rows[high + i], columns[j], columns[wide + j]
                    _find(at, pixels, image, (height, width, channels), box, some)
                    within = box[0] < box[1] and box[2] < box[3] and box[4] < box[5]
                    for c in range(some if shared and within else 0):
                        target[image + at[c] * channels + c] += shares[share + c]
                    for c in range(some if sparse and within else 0):
                        target[image + at[c] * channels + c] = shares[share + c] + more
                    for d in range(box[0], box[0] if shared or sparse else box[1]):
                        for v in range(box[2], box[3]):
                            line = (d * height + v) * width
                            for p in range(line + box[4], line + box[5]):
                                own, tap, c = image + p * channels, fill(at, p), 0
                                while c < some and some >= LANES:
                                    c = min(c, some - LANES)
                                    value = add(load(shares, share + c), extra)
                                    store(target, own + c, choose(same(load(at, c), tap), value, nothing))
                                    c += LANES
                                for b in range(c, some):
                                    target[own + b] = shares[share + b] + more if at[b] == number(p) else zero
                    share += channels


def _clear(target: Array, image: int, count: int, channels: int, some: int) -> None:
    """Fill some channels of so many pixels with zeros."""
    if some == channels:
        target[image : image + count * channels] = 0
        return
    for p in range(image, image + count * channels, channels):
        target[p : p + some] = 0


def _find(at: Array, pixels: Array, image: int, sizes: tuple[int, int, int], box: Any, some: int) -> None:
    """Find the pixels that are the first maxima of a window, which begins and ends at ``box`` along each axis."""
    height, width, channels = sizes
    d0, d1, v0, v1, u0, u1 = box
    if d0 >= d1 or v0 >= v1 or u0 >= u1:
        return
    corner, c = (d0 * height + v0) * width + u0, 0
    lead, tap = image + corner * channels, fill(at, corner)
    while c < some and some >= WIDE:
        c = min(c, some - WIDE)
        m0, m1, s0, s1, s2, s3 = load(pixels, lead + c), load(pixels, lead + c + LANES), tap, tap, tap, tap
        m2, m3 = load(pixels, lead + c + 2 * LANES), load(pixels, lead + c + 3 * LANES)
        for d in range(d0, d1):
            for v in range(v0, v1):
                line = (d * height + v) * width
                for p in range(line + u0, line + u1):
                    spot, own = image + p * channels + c, fill(at, p)
                    t0, t1 = load(pixels, spot), load(pixels, spot + LANES)
                    k0, k1 = above(t0, m0), above(t1, m1)
                    m0, m1, s0, s1 = choose(k0, t0, m0), choose(k1, t1, m1), choose(k0, own, s0), choose(k1, own, s1)
                    t2, t3 = load(pixels, spot + 2 * LANES), load(pixels, spot + 3 * LANES)
                    k2, k3 = above(t2, m2), above(t3, m3)
                    m2, m3, s2, s3 = choose(k2, t2, m2), choose(k3, t3, m3), choose(k2, own, s2), choose(k3, own, s3)
        store(at, c, s0)
        store(at, c + LANES, s1)
        store(at, c + 2 * LANES, s2)
        store(at, c + 3 * LANES, s3)
        c += WIDE
    while c < some and some >= LANES:
        c = min(c, some - LANES)
        m0, s0 = load(pixels, lead + c), tap
        for d in range(d0, d1):
            for v in range(v0, v1):
                line = (d * height + v) * width
                for p in range(line + u0, line + u1):
                    t0 = load(pixels, image + p * channels + c)
                    k0 = above(t0, m0)
                    m0, s0 = choose(k0, t0, m0), choose(k0, fill(at, p), s0)
        store(at, c, s0)
        c += LANES
    for b in range(c, some):
        m, s = pixels[lead + b], at.dtype.type(corner)
        for d in range(d0, d1):
            for v in range(v0, v1):
                line = (d * height + v) * width
                for p in range(line + u0, line + u1):
                    t = pixels[image + p * channels + b]
                    keep = (t <= m) | (m != m)
                    m = m if keep else t
                    s = s if keep else at.dtype.type(p)
        at[b] = s


def rows(x: Array, g: Array, dx: Array, place: Array, ends: Array, room: Array, numbers: Array) -> None:
    """Do what `gradient` does over whole rows of pixels, for few channels.

    ``room`` and ``numbers`` have two rows, as long as one of pixels and channels.
    """
    best, share, at, spot = room[0], room[1], numbers[0], numbers[1]
    height, channels, shared, length = x.shape[2], x.shape[4], place[4] > 0, x.shape[3] * x.shape[4]
    deep, high, wide = g.shape[1], g.shape[2], g.shape[3]
    lines, columns = ends[2 * deep :], ends[2 * (deep + high) :]
    zero, number = x.dtype.type(0), at.dtype.type
    none, more = number(-1), zero if place[7] > 0 else -zero
    for q in range(spot.size):  # what lies outside of all windows
        spot[q] = none
        share[q] = zero
    for n in range(place[0], place[1]):
        target = dx[n].reshape(-1)
        for p in range(target.size if shared or place[5] > 0 else 0):
            target[p] = zero
        for a in range(deep):
            for i in range(high):
                begun = False
                for d in range(ends[a], ends[deep + a]):
                    for v in range(lines[i], lines[high + i]):
                        source, line = x[n, d, v].reshape(-1), number(d * height + v)
                        if begun:
                            for q in range(source.size):
                                m, t = best[q], source[q]
                                keep = (t <= m) | (m != m)
                                best[q] = m if keep else t
                                at[q] = at[q] if keep else line
                        else:
                            for q in range(source.size):
                                best[q] = source[q]
                                at[q] = line
                            begun = True
                for j in range(wide if begun else 0):
                    start, stop = columns[j] * channels, columns[wide + j] * channels
                    for q in range(start, min(start + channels, stop)):
                        m, s, w, c = best[q], at[q], q, q - start
                        one = g[n, a, i, j, c] + more
                        for p in range(q, stop if not shared else q, channels):
                            spot[p] = none
                            share[p] = one
                        for p in range(q + channels, stop, channels):  # greater, or NaN, or equal in a row before
                            t, r = best[p], at[p]
                            better = (t > m) | ((t == m) & (r < s)) | ((t != t) & ((m == m) | (r < s)))
                            m = t if better else m
                            s = r if better else s
                            w = p if better else w
                        if shared:
                            target[s * length + w] += one
                        else:
                            spot[w] = s
                for d in range(ends[a], ends[a] if shared else ends[deep + a]):
                    for v in range(lines[i], lines[high + i]):
                        own, line = dx[n, d, v].reshape(-1), number(d * height + v)
                        for q in range(own.size):
                            own[q] = share[q] if spot[q] == line else zero


def ties(x: Array, g: Array, dx: Array, place: Array, ends: Array, room: Array, numbers: Array) -> None:
    """Give each gradient to all the maxima of its window, of windows that share no pixel; with ``place[6]`` in parts.

    ``numbers[0, 0]`` becomes 1 if a maximum is NaN: those are not served.
    """
    height, width, channels = x.shape[2], x.shape[3], x.shape[4]
    deep, high, wide = g.shape[1], g.shape[2], g.shape[3]
    first, some = place[2], place[3] - place[2]
    rows, columns, split = ends[2 * deep :], ends[2 * (deep + high) :], place[6] > 0
    pixels, shares, target = x.reshape(-1), g.reshape(-1), dx.reshape(-1)
    zero, one, nothing, unit = x.dtype.type(0), x.dtype.type(1), zeros(room), fill(room, 1)
    more = zero if place[7] > 0 else -zero
    extra, lost, missing = fill(room, more), nothing, 0
    for n in range(place[0], place[1]):
        image, share = n * x.shape[1] * height * width * channels + first, n * deep * high * wide * channels + first
        if place[5] > 0:
            _clear(target, image, x.shape[1] * height * width, channels, some)
        for a in range(deep):
            for i in range(high):
                for j in range(wide):
                    d0, d1, v0, v1 = ends[a], ends[deep + a], rows[i], rows[high + i]
                    length, c = (columns[wide + j] - columns[j]) * channels, 0
                    line = image + ((d0 * height + v0) * width + columns[j]) * channels
                    if d0 >= d1 or v0 >= v1 or length <= 0:
                        c = some
                    while c < some and some >= PAIR:
                        c = min(c, some - PAIR)
                        m0, m1, s0, s1 = load(pixels, line + c), load(pixels, line + c + LANES), nothing, nothing
                        h0, h1 = load(shares, share + c), load(shares, share + c + LANES)
                        for d in range(d1 - d0):
                            for v in range(v1 - v0):
                                lead = line + c + (d * height + v) * width * channels
                                for p in range(lead, lead + length, channels):
                                    t0, t1 = load(pixels, p), load(pixels, p + LANES)
                                    m0, m1 = choose(above(t0, m0), t0, m0), choose(above(t1, m1), t1, m1)
                        for d in range(d1 - d0 if split else 0):
                            for v in range(v1 - v0):
                                lead = line + c + (d * height + v) * width * channels
                                for p in range(lead, lead + length, channels):
                                    s0 = add(s0, choose(same(load(pixels, p), m0), unit, nothing))
                                    s1 = add(s1, choose(same(load(pixels, p + LANES), m1), unit, nothing))
                        h0, h1 = divide(h0, s0) if split else h0, divide(h1, s1) if split else h1
                        h0, h1 = add(h0, extra), add(h1, extra)
                        for d in range(d1 - d0):
                            for v in range(v1 - v0):
                                lead = line + c + (d * height + v) * width * channels
                                for p in range(lead, lead + length, channels):
                                    k0, k1 = same(load(pixels, p), m0), same(load(pixels, p + LANES), m1)
                                    store(target, p, choose(k0, h0, nothing))
                                    store(target, p + LANES, choose(k1, h1, nothing))
                        lost = add(lost, add(choose(same(m0, m0), nothing, unit), choose(same(m1, m1), nothing, unit)))
                        c += PAIR
                    while c < some and some >= LANES:
                        c = min(c, some - LANES)
                        m, s, h = load(pixels, line + c), nothing, load(shares, share + c)
                        for d in range(d1 - d0):
                            for v in range(v1 - v0):
                                lead = line + c + (d * height + v) * width * channels
                                for p in range(lead, lead + length, channels):
                                    t = load(pixels, p)
                                    m = choose(above(t, m), t, m)
                        for d in range(d1 - d0 if split else 0):
                            for v in range(v1 - v0):
                                lead = line + c + (d * height + v) * width * channels
                                for p in range(lead, lead + length, channels):
                                    s = add(s, choose(same(load(pixels, p), m), unit, nothing))
                        h = add(divide(h, s) if split else h, extra)
                        for d in range(d1 - d0):
                            for v in range(v1 - v0):
                                lead = line + c + (d * height + v) * width * channels
                                for p in range(lead, lead + length, channels):
                                    store(target, p, choose(same(load(pixels, p), m), h, nothing))
                        lost = add(lost, choose(same(m, m), nothing, unit))
                        c += LANES
                    for b in range(c, some):
                        top, total = pixels[line + b], zero
                        for d in range(d1 - d0):
                            for v in range(v1 - v0):
                                lead = line + b + (d * height + v) * width * channels
                                for p in range(lead, lead + length, channels):
                                    value = pixels[p]
                                    equal = value == top
                                    keep = (value <= top) | (top != top)
                                    total = (total + one if equal else total) if keep else one
                                    top = top if keep else value
                        part = (shares[share + b] / total if split else shares[share + b]) + more
                        for d in range(d1 - d0):
                            for v in range(v1 - v0):
                                lead = line + b + (d * height + v) * width * channels
                                for p in range(lead, lead + length, channels):
                                    target[p] = part if pixels[p] == top else zero
                        missing += int(top != top)
                    share += channels
    kept = room.reshape(-1)
    if some >= LANES:
        store(kept, 0, lost)
        for b in range(LANES):
            missing += int(kept[b] != zero)
    numbers[0, 0] = int(missing > 0)


PARTS = _clear, _find  # that the loops call
