"""Loops of Winograd's minimal filtering (`algorithms.winograd` has the formulas): a strip of tiles at a time.

The pixels of a strip's tiles are transformed where they lie, multiplied with the weight at each point, and transformed
back into the result, so that little of a strip leaves the second cache. Sums are taken in the order of the columns of
the matrices, of the channels, of the tiles. Channels and filters are multiples of eight; arrays are contiguous, but for
gaps between a result's pixels.

``place`` holds the first image; the row and the column of the first window's first tap; the points along each axis,
the taps, and how many tiles make a strip, a multiple of `SIDE`. ``matrices`` holds those of the pixels, and then those
of the outputs, and perhaps of the weight, for either axis, row by row. ``room`` is work memory.
"""

from __future__ import annotations

from typing import Any

from xpconv._compiled.lanes import LANES, add, flat, fma, load, splat, store, zeros
from xpconv._compiled.rows import copy

Array = Any

BLOCK = 16  # filters whose weights lie side by side
GROUP = 4  # blocks that are multiplied with a strip's pixels before their outputs are written
SIDE = 6  # tiles whose sums are in registers
GAP = 16  # numbers between the planes of two points, which would crowd each other out of the cache
CHANNELS = 64  # that are transformed at once
RUN = LANES * BLOCK  # numbers of a weight at one point that are written at once
WINDOW = 64 * RUN  # numbers of work memory for a tile between the transforms of two axes; and for its pixels or outputs
CHECK = 2 * WINDOW  # where zeros times the outputs are summed: not 0 if one is not finite
SCRATCH = CHECK + LANES


def forward(
    x: Array, weight: tuple[Array, Array], b: Array, z: Array, place: Array, matrices: Array, room: Array
) -> None:
    """(N, H, W, C), (B, P, C + 1, 16), (f,) -> z (n, OH, OW, f), some of the filters.

    Where ``place[9]`` is not 0 the weight is made first, of the first of the two, (KH, KW, C, F), from the filter
    ``place[8]`` on, as many blocks at a time as the second has.
    """
    kernel, packed = weight
    high, wide, strip = place[3], place[4], place[7]
    channels, points = x.shape[3], high * wide
    step, along = high - place[5] + 1, wide - place[6] + 1
    rows, columns = (z.shape[1] + step - 1) // step, (z.shape[2] + along - 1) // along
    blocks = (z.shape[3] + BLOCK - 1) // BLOCK
    group = min(GROUP, packed.shape[0])
    filters = group * BLOCK
    plane, depth = strip * channels + GAP, strip * filters + GAP
    pixels, products = SCRATCH, SCRATCH + points * plane
    numbers = packed.reshape(-1)
    store(room, CHECK, zeros(room))
    for start in range(0, z.shape[0] * rows * columns, strip):
        count = min(strip, z.shape[0] * rows * columns - start)
        for t in range(count):
            n, i, j = (start + t) // (rows * columns), (start + t) // columns % rows, (start + t) % columns
            spot = place[0] + n, place[1] + i * step, place[2] + j * along
            evaluate(x, spot, (high, wide, high, wide), matrices, 0, room, (pixels + t * channels, plane, LANES))
        for t in range(count, (count + SIDE - 1) // SIDE * SIDE):
            for p in range(points):
                for c in range(pixels + p * plane + t * channels, pixels + p * plane + (t + 1) * channels):
                    room[c] = 0
        for first in range(0, blocks, group):
            some, kept = min(group, blocks - first), first
            if place[9] > 0:
                kept = 0
                begin = matrices.size - high * place[5] - wide * place[6]
                weights(kernel, packed, place, matrices, room, (begin, place[8] + first * BLOCK, some))
            for p in range(points):
                for block in range(some):
                    begin = ((kept + block) * points + p) * (channels + 1) * BLOCK
                    for t in range(0, count, SIDE):
                        source, at = pixels + p * plane + t * channels, begin
                        p0 = zeros(room)
                        q0, p1, q1, p2, q2, p3, q3, p4, q4, p5, q5 = p0, p0, p0, p0, p0, p0, p0, p0, p0, p0, p0
                        for c in range(source, source + channels):
                            u, v = load(numbers, at), load(numbers, at + LANES)
                            s = splat(room, c)
                            p0, q0 = fma(s, u, p0), fma(s, v, q0)
                            s = splat(room, c + channels)
                            p1, q1 = fma(s, u, p1), fma(s, v, q1)
                            s = splat(room, c + 2 * channels)
                            p2, q2 = fma(s, u, p2), fma(s, v, q2)
                            s = splat(room, c + 3 * channels)
                            p3, q3 = fma(s, u, p3), fma(s, v, q3)
                            s = splat(room, c + 4 * channels)
                            p4, q4 = fma(s, u, p4), fma(s, v, q4)
                            s = splat(room, c + 5 * channels)
                            p5, q5 = fma(s, u, p5), fma(s, v, q5)
                            at += BLOCK
                        target = products + p * depth + t * filters + block * BLOCK
                        store(room, target, p0)
                        store(room, target + LANES, q0)
                        store(room, target + filters, p1)
                        store(room, target + filters + LANES, q1)
                        store(room, target + 2 * filters, p2)
                        store(room, target + 2 * filters + LANES, q2)
                        store(room, target + 3 * filters, p3)
                        store(room, target + 3 * filters + LANES, q3)
                        store(room, target + 4 * filters, p4)
                        store(room, target + 4 * filters + LANES, q4)
                        store(room, target + 5 * filters, p5)
                        store(room, target + 5 * filters + LANES, q5)
            for t in range(count):
                n, i, j = (start + t) // (rows * columns), (start + t) // columns % rows, (start + t) % columns
                corner, shape = (n, i * step, j * along, first * BLOCK, some * BLOCK), (high, wide, step, along)
                interpolate(z, b, corner, shape, matrices, room, (products + t * filters, depth))


def weight_grad(x: Array, g: Array, w: Array, place: Array, matrices: Array, room: Array) -> None:
    """(N, H, W, C), (n, OH, OW, F) -> w (P, C, F): at each point, summed over the tiles.

    ``matrices`` are those of the pixels and those of the outputs, these transposed.
    """
    high, wide, strip = place[3], place[4], place[7]
    channels, filters, points = x.shape[3], g.shape[3], high * wide
    step, along = high - place[5] + 1, wide - place[6] + 1
    rows, columns = (g.shape[1] + step - 1) // step, (g.shape[2] + along - 1) // along
    plane, depth, across = strip * channels + GAP, strip * filters + GAP, strip * LANES
    pixels, grads = SCRATCH, SCRATCH + points * plane
    sums = w.reshape(-1)
    for start in range(0, g.shape[0] * rows * columns, strip):
        count = min(strip, g.shape[0] * rows * columns - start)
        for t in range(count):
            n, i, j = (start + t) // (rows * columns), (start + t) // columns % rows, (start + t) % columns
            spot = place[0] + n, place[1] + i * step, place[2] + j * along
            evaluate(x, spot, (high, wide, high, wide), matrices, 0, room, (pixels + t * LANES, plane, across))
            spot, shape = (n, i * step, j * along), (step, along, high, wide)
            evaluate(g, spot, shape, matrices, high * high + wide * wide, room, (grads + t * LANES, depth, across))
        for p in range(points):
            for f in range(0, filters, BLOCK):
                given = grads + p * depth + f * strip
                for c in range(0, channels, 4):
                    source, at = pixels + p * plane + c // LANES * across + c % LANES, given
                    target = (p * channels + c) * filters + f
                    p0, p1, p2, p3 = zeros(room), zeros(room), zeros(room), zeros(room)
                    if f + LANES == filters:
                        for t in range(source, source + count * LANES, LANES):
                            u = load(room, at)
                            p0, p1 = fma(splat(room, t), u, p0), fma(splat(room, t + 1), u, p1)
                            p2, p3 = fma(splat(room, t + 2), u, p2), fma(splat(room, t + 3), u, p3)
                            at += LANES
                    else:
                        q0, q1, q2, q3 = p0, p1, p2, p3
                        for t in range(source, source + count * LANES, LANES):
                            u, v = load(room, at), load(room, at + across)
                            s = splat(room, t)
                            p0, q0 = fma(s, u, p0), fma(s, v, q0)
                            s = splat(room, t + 1)
                            p1, q1 = fma(s, u, p1), fma(s, v, q1)
                            s = splat(room, t + 2)
                            p2, q2 = fma(s, u, p2), fma(s, v, q2)
                            s = splat(room, t + 3)
                            p3, q3 = fma(s, u, p3), fma(s, v, q3)
                            at += LANES
                        put_four(sums, target + LANES, filters, start > 0, (q0, q1, q2, q3))
                    put_four(sums, target, filters, start > 0, (p0, p1, p2, p3))


def finish(a: Array, w: Array, place: Array, matrices: Array, room: Array) -> None:
    """(S, P, C, F) -> w (KH, KW, C, F): partial sums at each point, added up in order, transformed to the taps."""
    many, points, channels, filters = a.shape
    high, wide, taps, along = place[3], place[4], place[5], place[6]
    source, target = flat(a), w.reshape(-1)
    part, plane, row = a.strides[0] // a.itemsize, a.strides[1] // a.itemsize, a.strides[2] // a.itemsize
    for c in range(channels):
        for f in range(0, filters, CHANNELS):
            some = min(CHANNELS, filters - f)
            for p in range(points):
                at = p * plane + c * row + f
                for q in range(0, some, LANES):
                    total = load(source, at + q)
                    for s in range(1, many):
                        total = add(total, load(source, at + q + s * part))
                    store(room, WINDOW + p * some + q, total)
            sizes = (taps, high, wide * some, wide * some, wide, some, some, some, LANES)
            lines(room, 0, room, WINDOW, matrices, 0, sizes)
            tap = channels * filters
            sizes = (along, wide, tap, some, taps, along * tap, wide * some, some, LANES)
            lines(target, c * filters + f, room, 0, matrices, taps * high, sizes)


def put_four(sums: Array, at: int, apart: int, more: bool, four: tuple[Any, Any, Any, Any]) -> None:
    """Write four vectors that lie apart, or add them to what is there."""
    a, b, c, d = four
    if more:
        a, b = add(load(sums, at), a), add(load(sums, at + apart), b)
        c, d = add(load(sums, at + 2 * apart), c), add(load(sums, at + 3 * apart), d)
    store(sums, at, a)
    store(sums, at + apart, b)
    store(sums, at + 2 * apart, c)
    store(sums, at + 3 * apart, d)


def prepare(w: Array, packed: Array, place: Array, matrices: Array, room: Array) -> None:
    """(KH, KW, C, F) -> (B, P, C + 1, 16): the weight at each point, zeros behind the last filter and channel."""
    weights(w, packed, place, matrices, room, (0, 0, packed.shape[0]))


def weights(w: Array, packed: Array, place: Array, matrices: Array, room: Array, part: tuple[int, int, int]) -> None:
    """Do what `prepare` does for some blocks: where the matrices begin, the first filter, how many blocks."""
    taps, along, channels, filters = w.shape
    high, wide = place[3], place[4]
    points, tap = high * wide, channels * filters
    kernel, target = w.reshape(-1), packed.reshape(-1)
    plane = (channels + 1) * BLOCK
    for block in range(part[2]):
        base, begin = block * points * plane, part[1] + block * BLOCK
        many = min(BLOCK, filters - begin)
        for p in range(points):
            store(target, base + p * plane + channels * BLOCK, zeros(room))
            store(target, base + p * plane + channels * BLOCK + LANES, zeros(room))
        for q in range(WINDOW, WINDOW + points * RUN):
            room[q] = 0
        for c in range(0, channels, LANES):
            # eight channels together, since a line that is written alone takes longer than its sums
            for e in range(LANES):
                first = (c + e) * filters + begin
                if taps != 3 or along != 3:
                    sizes = (high, taps, along * many, along * tap, along, many, tap, many, LANES)
                    lines(room, 0, kernel, first, matrices, part[0], sizes)
                    sizes = (wide, along, RUN, many, high, wide * RUN, along * many, many, LANES)
                    lines(room, WINDOW + e * BLOCK, room, 0, matrices, part[0] + high * taps, sizes)
                    continue
                for half in range(0, many, LANES):
                    for j in range(3):
                        own = first + half + j * tap
                        v0, v1, v2 = load(kernel, own), load(kernel, own + 3 * tap), load(kernel, own + 6 * tap)
                        at = part[0]
                        for out in range(j * LANES, j * LANES + high * 3 * LANES, 3 * LANES):
                            total = fma(splat(matrices, at), v0, zeros(room))
                            total = fma(splat(matrices, at + 1), v1, total)
                            store(room, out, fma(splat(matrices, at + 2), v2, total))
                            at += 3
                    to = WINDOW + e * BLOCK + half
                    for own in range(0, high * 3 * LANES, 3 * LANES):
                        v0, v1, v2 = load(room, own), load(room, own + LANES), load(room, own + 2 * LANES)
                        at = part[0] + high * 3
                        for out in range(to, to + wide * RUN, RUN):
                            total = fma(splat(matrices, at), v0, zeros(room))
                            total = fma(splat(matrices, at + 1), v1, total)
                            store(room, out, fma(splat(matrices, at + 2), v2, total))
                            at += 3
                        to += wide * RUN
            for p in range(points):
                copy(target, base + p * plane + c * BLOCK, room, WINDOW + p * RUN, RUN)


def evaluate(
    x: Array,
    spot: tuple[int, int, int],
    shape: tuple[int, int, int, int],
    matrices: Array,
    begin: int,
    room: Array,
    to: tuple[int, int, int],
) -> None:
    """Transform the pixels of a tile, all channels, into the planes of the points; zeros beyond the image.

    ``shape``: pixels, points. ``to``: where the first point goes, how far the points lie apart, and eight channels.
    """
    n, top, left = spot
    deep, broad, high, wide = shape
    target, plane, across = to
    height, width, channels = x.shape[1], x.shape[2], x.shape[3]
    pixels = x.reshape(-1)
    inside = top >= 0 and left >= 0 and top + deep <= height and left + broad <= width
    base = ((n * height + top) * width + left) * channels
    for c in range(0, channels, CHANNELS):
        many = min(CHANNELS, channels - c)
        if inside:
            sizes = (high, deep, broad * many, width * channels, broad, many, channels, many, LANES)
            lines(room, 0, pixels, base + c, matrices, begin, sizes)
        else:
            for q in range(WINDOW, WINDOW + deep * broad * many):
                room[q] = 0
            for i in range(max(-top, 0), min(deep, height - top)):
                for j in range(max(-left, 0), min(broad, width - left)):
                    copy(room, WINDOW + (i * broad + j) * many, pixels, base + (i * width + j) * channels + c, many)
            sizes = (high, deep, broad * many, broad * many, broad, many, many, many, LANES)
            lines(room, 0, room, WINDOW, matrices, begin, sizes)
        sizes = (wide, broad, plane, many, high, wide * plane, broad * many, many, across)
        lines(room, target + c // LANES * across, room, 0, matrices, begin + high * deep, sizes)


def interpolate(
    z: Array,
    b: Array,
    spot: tuple[int, int, int, int, int],
    points: tuple[int, int, int, int],
    matrices: Array,
    room: Array,
    source: tuple[int, int],
) -> None:
    """Transform the products of a tile, some filters, into its outputs, as many as there are, and add the bias."""
    n, top, left, begun, some = spot
    high, wide, step, along = points
    first, plane = source
    begin = high * high + wide * wide
    some = min(some, z.shape[3] - begun)
    sums = flat(z)
    image, height, window = z.strides[0] // z.itemsize, z.strides[1] // z.itemsize, z.strides[2] // z.itemsize
    base = n * image + top * height + left * window + begun
    rows, columns = min(step, z.shape[1] - top), min(along, z.shape[2] - left)
    for f in range(0, some, CHANNELS):
        many = min(CHANNELS, some - f)
        sizes = (rows, high, wide * many, wide * plane, wide, many, plane, many, LANES)
        lines(room, 0, room, first + f, matrices, begin, sizes)
        sizes = (columns, wide, many, many, rows, columns * many, wide * many, many, LANES)
        lines(room, WINDOW, room, 0, matrices, begin + step * high, sizes)
        made, zero, check = WINDOW, zeros(room), load(room, CHECK)
        for i in range(rows):
            target = base + i * height + f
            for _ in range(columns):
                for c in range(0, many, LANES):
                    found = add(load(room, made + c), load(b, begun + f + c))
                    store(sums, target + c, found)
                    check = fma(found, zero, check)
                target += window
                made += many
        store(room, CHECK, check)


def lines(
    target: Array, to: int, source: Array, first: int, matrices: Array, begin: int, sizes: tuple[int, ...]
) -> None:
    """Multiply rows of a matrix with lines of vectors, the channels of which lie side by side.

    ``sizes``: rows; vectors of a line; how far the products of a line lie apart, and the vectors; how many lines there
    are, and how far they lie apart in the products and among the vectors; channels, and how far eight of them lie from
    the next in the products.
    """
    rows, points, apart, gap, many, beside, beyond, channels, across = sizes
    for k in range(many):
        for c in range(0, channels, LANES):
            at, out, own = begin, to + k * beside + c // LANES * across, first + k * beyond + c
            if points == 6:
                v0, v1, v2 = load(source, own), load(source, own + gap), load(source, own + 2 * gap)
                v3, v4, v5 = load(source, own + 3 * gap), load(source, own + 4 * gap), load(source, own + 5 * gap)
                for _ in range(rows):
                    total = fma(splat(matrices, at), v0, zeros(target))
                    total = fma(splat(matrices, at + 1), v1, total)
                    total = fma(splat(matrices, at + 2), v2, total)
                    total = fma(splat(matrices, at + 3), v3, total)
                    total = fma(splat(matrices, at + 4), v4, total)
                    total = fma(splat(matrices, at + 5), v5, total)
                    store(target, out, total)
                    out += apart
                    at += 6
            elif points == 4:
                v0, v1, v2 = load(source, own), load(source, own + gap), load(source, own + 2 * gap)
                v3 = load(source, own + 3 * gap)
                for _ in range(rows):
                    total = fma(splat(matrices, at), v0, zeros(target))
                    total = fma(splat(matrices, at + 1), v1, total)
                    total = fma(splat(matrices, at + 2), v2, total)
                    total = fma(splat(matrices, at + 3), v3, total)
                    store(target, out, total)
                    out += apart
                    at += 4
            elif points == 3:
                v0, v1, v2 = load(source, own), load(source, own + gap), load(source, own + 2 * gap)
                for _ in range(rows):
                    total = fma(splat(matrices, at), v0, zeros(target))
                    total = fma(splat(matrices, at + 1), v1, total)
                    total = fma(splat(matrices, at + 2), v2, total)
                    store(target, out, total)
                    out += apart
                    at += 3
            else:
                for _ in range(rows):
                    total = zeros(target)
                    for q in range(points):
                        total = fma(splat(matrices, at + q), load(source, own + q * gap), total)
                    store(target, out, total)
                    out += apart
                    at += points


PARTS = put_four, lines, evaluate, interpolate, weights
