"""Rows of images laid out for the loops: zeros beyond the image, every tap at a fixed distance from its window.

A tile's rows are taken in turn and stay in a ring for as long as windows read them, which is in the first or second
cache. So a window is the same short list of distances (`list_taps`) wherever it is, and no loop asks for borders.

``place`` holds the first image; for each axis the pixel of the first window's first tap, the stride, the dilation; and
the channels and the filters of a group, and how many filters' rows are laid out at once (`groups`).
"""

from __future__ import annotations

from typing import Any

from xpconv._compiled.lanes import LANES, flat, halves, load, put, store, zeros

Array = Any

BLOCK = 16  # filters whose weights lie side by side
TOGETHER = 4  # windows whose sums are in registers
STREAMS = 4  # blocks that are packed together


def copy_row(room: Array, at: int, x: Array, line: int, across: int, place: Array) -> None:
    """Copy so many pixels of a row, which begins at the pixel number ``line``, to ``room[at]`` and on.

    A ``line`` below 0 stands for a row beyond the images.
    """
    width, channels = x.shape[3], x.shape[4]
    lead = place[7]
    pixels = x.reshape(-1)
    first, last = min(max(-lead, 0), across), max(min(width - lead, across), 0)
    if line < 0 or last <= first:
        first = last = across
    for c in range(at, at + first * channels):
        put(room, c, 0)
    copy(room, at + first * channels, pixels, (line + lead + first) * channels, (last - first) * channels)
    for c in range(at + last * channels, at + across * channels):
        put(room, c, 0)


def spread_row(room: Array, at: int, x: Array, line: int, begin: int, across: int, place: Array) -> None:
    """Lay a row out for the filters from ``begin`` on, whose number is that of a chunk or of what is left.

    Of a block of filters each residue of a column modulo the stride has its pixels side by side, ``across`` of them; a
    pixel has for each channel of a group the number that meets each filter of the block.
    """
    width, channels = x.shape[3], x.shape[4]
    lead, step, fan, own, chunk = place[7], place[8], place[10], place[11], place[12]
    pixels, zero = x.reshape(-1), zeros(room)
    size, pixel = min(chunk, channels // fan * own - begin), fan * BLOCK
    for residue in range(step):
        start = residue + lead  # the column of the first pixel, which may lie before the image
        inner = min(across, (step - 1 - start) // step if start < 0 else 0)
        outer = max(inner, min(across, (width - 1 - start) // step + 1 if start < width else 0))
        if line < 0:
            inner = outer = across
        for number in range((size + BLOCK - 1) // BLOCK):
            first = begin + number * BLOCK
            real = min(BLOCK, size - number * BLOCK)
            target = at + (number * step + residue) * across * pixel
            for c in range(target, target + inner * pixel, BLOCK):
                store(room, c, zero)
                store(room, c + LANES, zero)
            source = (line + start + inner * step) * channels
            if own == 1 and fan == 1:
                _lay_alone(room, target + inner * pixel, pixels, source + first, step * channels, outer - inner, real)
            elif own == 4 and real == BLOCK:
                source += first // 4 * fan
                _lay_fours(room, target + inner * pixel, pixels, source, step * channels, outer - inner, fan)
            else:
                for j in range(inner, outer):
                    for c in range(fan):
                        for f in range(real):
                            room[target + j * pixel + c * BLOCK + f] = pixels[source + (first + f) // own * fan + c]
                        for f in range(real, BLOCK):
                            room[target + j * pixel + c * BLOCK + f] = 0
                    source += step * channels
            for c in range(target + outer * pixel, target + across * pixel, BLOCK):
                store(room, c, zero)
                store(room, c + LANES, zero)


def _lay_alone(room: Array, target: int, pixels: Array, source: int, step: int, count: int, real: int) -> None:
    """Lay pixels out whose channels are convolved alone: a block of each, zeros behind the real ones."""
    if real < BLOCK:
        zero = zeros(room)
        for _ in range(count):
            store(room, target, zero)
            store(room, target + LANES, zero)
            copy(room, target, pixels, source, real)
            target += BLOCK
            source += step
        return
    for _ in range(count):
        store(room, target, load(pixels, source))
        store(room, target + LANES, load(pixels, source + LANES))
        target += BLOCK
        source += step


def copy(target: Array, at: int, source: Array, first: int, count: int) -> None:
    """Copy so many numbers, few of them."""
    whole = count // LANES * LANES
    for c in range(0, whole, LANES):
        store(target, at + c, load(source, first + c))
    for c in range(whole, count):
        put(target, at + c, source[first + c])


def _lay_fours(room: Array, target: int, pixels: Array, source: int, step: int, count: int, fan: int) -> None:
    """Lay pixels out of which a number meets four filters."""
    for _ in range(count):
        for c in range(source, source + fan):
            store(room, target, halves(pixels, c, c + fan))
            store(room, target + LANES, halves(pixels, c + 2 * fan, c + 3 * fan))
            target += BLOCK
        source += step


def lay_gradient(room: Array, grads: Array, given: int, columns: int, filters: int, real: int) -> None:
    """Lay a row of the output's gradient out at the beginning: a block of filters of each window, zeros behind them."""
    zero = zeros(room)
    for j in range(columns):
        if real == BLOCK:
            store(room, j * BLOCK, load(grads, given))
            store(room, j * BLOCK + LANES, load(grads, given + LANES))
        elif real == LANES:
            store(room, j * BLOCK, load(grads, given))
            store(room, j * BLOCK + LANES, zero)
        else:
            store(room, j * BLOCK, zero)
            store(room, j * BLOCK + LANES, zero)
            copy(room, j * BLOCK, grads, given, real)
        given += filters


def list_taps(
    taps: Array,
    weights: Array,
    kernel: tuple[int, int, int],
    row: tuple[int, int],
    x: Array,
    place: Array,
    sizes: tuple[int, ...],
) -> int:
    """List where the pixels of a row of windows lie in a ring, and the weights, tap by tap; give how many there are.

    Rows beyond the images are left out. ``sizes``: of a slot of the ring, of a residue, of a pixel, of a tap's weights,
    of a channel; how many channels are listed one by one; and the stride by which columns were sorted.
    """
    deep, high, wide = kernel
    p, i = row
    slot, plane, pixel, weight, channel, fan, step = sizes
    span = (high - 1) * place[6] + 1
    count = 0
    for d in range(deep):
        y = p * place[2] + place[1] + d * place[3]
        for k in range(high):
            r = i * place[5] + k * place[6]
            if y < 0 or y >= x.shape[1] or r + place[4] < 0 or r + place[4] >= x.shape[2]:
                continue
            for t in range(wide):
                u = t * place[9]
                for c in range(fan):
                    taps[count] = (d * span + r % span) * slot + u % step * plane + u // step * pixel + c * channel
                    weights[count] = (((d * high + k) * wide + t) * fan + c) * weight
                    count += 1
    return count


def pack(w: Array, packed: Array, groups: int) -> None:
    """(KD, KH, KW, C/G, F) -> (B, KD, KH, KW, C/G·16): blocks of a group's filters, zeros behind its last.

    Some blocks at a time, so that what is read lies in a row as far as that goes, and what is written in few. Where the
    filters lie apart, as in a weight that was turned, those of a tap are taken one after another.
    """
    deep, high, wide, fan, filters = w.shape
    own, item = filters // groups, w.itemsize
    blocks, tap = (own + BLOCK - 1) // BLOCK, fan * BLOCK
    target, size = packed.reshape(-1), deep * high * wide * tap
    together = w.strides[4] == item and w.strides[0] >= 0 and w.strides[1] >= 0 and w.strides[2] >= 0
    together = together and w.strides[3] >= 0
    source = flat(w) if together else w
    for start in range(0, groups * blocks, STREAMS):
        stop = min(start + STREAMS, groups * blocks)
        for d in range(deep):
            for k in range(high):
                for t in range(wide):
                    begin = ((d * high + k) * wide + t) * tap
                    for c in range(fan if together else 0):
                        line = (d * w.strides[0] + k * w.strides[1] + t * w.strides[2] + c * w.strides[3]) // item
                        for block in range(start, stop):
                            first, real = block // blocks * own + block % blocks * BLOCK, own - block % blocks * BLOCK
                            at = block * size + begin + c * BLOCK
                            if real >= BLOCK:
                                store(target, at, load(source, line + first))
                                store(target, at + LANES, load(source, line + first + LANES))
                                continue
                            for f in range(BLOCK):
                                target[at + f] = w[d, k, t, c, first + f] if f < real else 0
                    for block in range(start, start if together else stop):
                        first, real = block // blocks * own + block % blocks * BLOCK, own - block % blocks * BLOCK
                        at = block * size + begin
                        for f in range(BLOCK):
                            for c in range(fan):
                                target[at + c * BLOCK + f] = w[d, k, t, c, first + f] if f < real else 0


def list_rows(
    lines: Array, taps: Array, kernel: tuple[int, int, int], row: tuple[int, int, int], x: Array, place: Array
) -> int:
    """List where the rows begin that a row of windows reads, and their taps' numbers; give how many there are.

    Rows beyond the images are left out. ``row``: image, plane and row of the windows. A tap's number counts weights.
    """
    deep, high, wide = kernel
    n, p, i = row
    count = 0
    for d in range(deep):
        for k in range(high):
            y, v = p * place[2] + place[1] + d * place[3], i * place[5] + place[4] + k * place[6]
            pixel = row_of(x, place[0] + n, y, v)
            if pixel >= 0:
                lines[count], taps[count] = pixel * x.shape[4], (d * high + k) * wide
                count += 1
    return count


def row_of(x: Array, n: int, y: int, v: int) -> int:
    """Give the number of a row's first pixel, -1 of a row beyond the images."""
    depth, height, width = x.shape[1], x.shape[2], x.shape[3]
    if y < 0 or y >= depth or v < 0 or v >= height:
        return -1
    pixel: int = ((n * depth + y) * height + v) * width
    return pixel


def bias_of(room: Array, b: Array, first: int, size: int, many: int) -> None:
    """Lay the bias of some filters at the beginning of the work memory, zeros behind it."""
    for c in range(many):
        room[c] = b[first + c] if c < size else 0


PARTS = (
    copy,
    lay_gradient,
    _lay_alone,
    _lay_fours,
    copy_row,
    spread_row,
    list_taps,
    list_rows,
    row_of,
    bias_of,
)
