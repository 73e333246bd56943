"""Loops of the gradient of a bias: the sums of `_convolution.bias_grad`, number by number in the same order."""

from __future__ import annotations

from typing import Any

from xpconv._compiled.lanes import LANES, add, load, put, store

Array = Any

ROWS = 4  # that are added one after another while a sum is in a register


def total(pixels: Array, sums: Array, room: Array, together: int, stretch: int) -> None:
    """(n, F) -> (F,), so many pixels side by side, a stretch of rows at a time; ``room`` is work memory."""
    count, filters = pixels.shape
    numbers = pixels.reshape(-1)
    whole, width = count // together, together * filters
    _add_up(numbers, 0, whole, width, room, 0, stretch)
    _add_up(room, 0, together, filters, room, width, stretch)
    rest = count - whole * together
    if rest:
        _add_up(numbers, whole * width, rest, filters, room, width + filters, stretch)
        _add_rows(room, width, 2, filters, room, 0)
    at = 0 if rest else width
    for c in range(filters):
        sums[c] = room[at + c]


def _add_up(source: Array, first: int, count: int, width: int, room: Array, at: int, stretch: int) -> None:
    """Leave the sum of some rows in ``room[at]`` and on, in a tree of stretches, which lies behind it."""
    begin, many = at + width, (count + stretch - 1) // stretch
    for s in range(many):
        some = min(stretch, count - s * stretch)
        _add_rows(source, first + s * stretch * width, some, width, room, begin + s * width)
    while many > stretch:
        above, behind = (many + stretch - 1) // stretch, begin + many * width
        for s in range(above):
            some = min(stretch, many - s * stretch)
            _add_rows(room, begin + s * stretch * width, some, width, room, behind + s * width)
        begin, many = behind, above
    _add_rows(room, begin, many, width, room, at)


def _add_rows(source: Array, first: int, count: int, width: int, room: Array, at: int) -> None:
    """Add some rows one after another."""
    vectors = width // LANES * LANES
    for c in range(0, vectors, LANES):
        store(room, at + c, load(source, first + c))
    for c in range(vectors, width):
        put(room, at + c, source[first + c])
    row = 1
    while row < count:
        line = first + row * width
        if row + ROWS <= count:
            for c in range(0, vectors, LANES):
                found = add(add(load(room, at + c), load(source, line + c)), load(source, line + width + c))
                found = add(found, load(source, line + 2 * width + c))
                store(room, at + c, add(found, load(source, line + 3 * width + c)))
            for c in range(vectors, width):
                some = room[at + c] + source[line + c] + source[line + width + c]
                put(room, at + c, some + source[line + 2 * width + c] + source[line + 3 * width + c])
            row += ROWS
            continue
        for c in range(0, vectors, LANES):
            store(room, at + c, add(load(room, at + c), load(source, line + c)))
        for c in range(vectors, width):
            put(room, at + c, room[at + c] + source[line + c])
        row += 1


PARTS = (_add_rows, _add_up)
