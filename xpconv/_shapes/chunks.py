"""Axes that are cut into chunks: where a result is cut, and what of which chunk a range of its places reads.

An axis is given by its bounds: 0, where its chunks end, its size.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xpconv._shapes.geometry import Geometry, Interval, Ints, Run, runs


class Piece(NamedTuple):
    """Neighbouring pixels of one chunk, and where they go."""

    place: slice  # of the slab
    chunk: int
    spot: Interval  # of the chunk
    flipped: bool
    pixels: int  # of the chunk that are taken
    size: int  # of the chunk


class Read(NamedTuple):
    """What a range of windows reads along an axis."""

    runs: tuple[Run, ...]  # the pixels of the image, counted from the first that is read
    size: int  # how many these are
    padding: Interval  # how many lie outside of the image, before and after
    start: int  # the first pixel of the image that is read, where the padding holds zeros


class Repeat(NamedTuple):
    """Pixels of the padded image that repeat pixels of a chunk; the first repeats pixel `start` of the chunk."""

    pixels: Interval
    start: int
    step: int


def bounds(sizes: Iterable[int]) -> Ints:
    """Give the bounds of chunks of these sizes."""
    return (0, *itertools.accumulate(sizes))


def sizes(bounds: Sequence[int]) -> Ints:
    """Give the sizes of the chunks."""
    return tuple(b - a for a, b in itertools.pairwise(bounds))


def blocks(bounds: Sequence[int]) -> list[Interval]:
    """Give the chunks that are not empty."""
    return [(a, b) for a, b in itertools.pairwise(bounds) if a < b]


def output_bounds(geometry: Geometry, axis: int, bounds: Ints) -> Ints:
    """Cut a result where the middle of its windows passes into the next chunk; one like its input just as that."""
    step, count = geometry.stride[axis], geometry.output[axis]
    if step == 1 and count == geometry.input[axis]:
        return tuple(sorted(set(bounds)))
    middle = geometry.span[axis] // 2 - geometry.padding[axis][0]
    cuts = {min(max(-((middle - bound) // step), 0), count) for bound in bounds[1:-1]}
    return tuple(sorted(cuts | {0, count}))


def input_bounds(geometry: Geometry, axis: int, bounds: Ints) -> Ints:
    """Cut the pixels where chunks of the windows are cut: at the middle of the first window of each."""
    step, size = geometry.stride[axis], geometry.input[axis]
    if step == 1 and size == geometry.output[axis]:
        return tuple(sorted(set(bounds)))
    middle = geometry.span[axis] // 2 - geometry.padding[axis][0]
    cuts = {min(max(bound * step + middle, 0), size) for bound in bounds[1:-1]}
    return tuple(sorted(cuts | {0, size}))


def read(geometry: Geometry, axis: int, windows: Interval) -> Read:
    """Say what a range of windows reads along an axis."""
    return read_range(geometry.mode, geometry.reach(axis, *windows), geometry.input[axis])


def read_range(mode: str, reach: Interval, size: int) -> Read:
    """Say what a range of pixels of a padded axis reads of the axis itself."""
    low, high = reach
    if mode != "zeros":
        found = tuple(Run(run.first - low, run.length, run.start, run.step) for run in runs(mode, low, high, size))
        return Read(found, high - low, (0, 0), low)
    first = min(max(low, 0), size)
    last = max(min(high, size), first)
    before = min(max(-low, 0), high - low)
    inside = last - first
    own = (Run(0, inside, first, 1),) if inside else ()
    return Read(own, inside, (before, high - low - before - inside), first)


def whole(interval: Interval) -> Read:
    """Read a range of an axis as it is."""
    return Read((Run(0, interval[1] - interval[0], interval[0], 1),), interval[1] - interval[0], (0, 0), interval[0])


def pieces(bounds: Ints, found: Iterable[Run]) -> list[Piece]:
    """Cut runs of pixels where chunks end."""
    out = []
    for run in found:
        low, high = run.start, run.start + (run.length if run.step else 1)
        if run.step < 0:
            low, high = run.start - run.length + 1, run.start + 1
        for chunk in range(bisect_right(bounds, low) - 1, bisect_left(bounds, high)):
            a, b = bounds[chunk], bounds[chunk + 1]
            first, last = max(a, low), min(b, high)
            if first >= last:
                continue  # a chunk without pixels
            if run.step == 0:
                place = slice(run.first, run.first + run.length)
            else:
                start = run.first + (first - low if run.step > 0 else high - last)
                place = slice(start, start + last - first)
            out.append(Piece(place, chunk, (first - a, last - a), run.step < 0, last - first, b - a))
    return out


def repeats(geometry: Geometry, axis: int, pixels: Interval) -> list[Repeat]:
    """Give the ranges of the padded axis that repeat a range of pixels, the pixels themselves first."""
    (start, stop), n, (before, after) = pixels, geometry.input[axis], geometry.padding[axis]
    found = [Repeat(pixels, 0, 1)]
    if geometry.mode == "zeros":
        return found
    for run in runs(geometry.mode, -before, n + after, n):
        if run.step == 1 and run.first == run.start:
            continue  # the image itself
        if run.step == 0:
            if start <= run.start < stop:
                found.append(Repeat((run.first, run.first + run.length), run.start - start, 0))
            continue
        first, last = (
            (start - run.start, stop - run.start) if run.step > 0 else (run.start - stop + 1, run.start - start + 1)
        )
        first, last = max(first, 0), min(last, run.length)
        if first < last:
            place = run.start + run.step * first - start
            found.append(Repeat((run.first + first, run.first + last), place, run.step))
    return found
