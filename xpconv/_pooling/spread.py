"""The gradients of pooling on one tile of NumPy arrays, back through one axis after another, the last one first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from xpconv._arrays.scatter import flattened
from xpconv._pooling.lines import Parts, Strided, Tap
from xpconv._pooling.reduce import Rule, Runs, Taps, accumulate, along, shape_along
from xpconv._pooling.windows import Windows
from xpconv._shapes.cuts import Tiles, block
from xpconv._shapes.geometry import Interval, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.tape import Do, Tape, at_once

Array = np.ndarray[Any, Any]
Along = Callable[[Array, Strided, int, tuple[Interval, Interval], Array], bool]

# terms of a sum from which its pixels are summed up side by side and then moved, where they lie apart in memory with so
# many numbers in a row at most; and the numbers that are summed up at once
MANY, SHORT, PIECE = 8, 256, 1 << 13


class MaximumGradient:
    """The gradient of max pooling on tiles of one shape: arrays, and the calls on them, made once.

    The axes are taken from the last to the first, so that the first maximum of a window is found axis by axis: the
    first row that has it, and its first pixel there. With `apart`, the pixels of a tile and the place of their
    gradients, it serves that tile only: no copy is made of them, and no call is kept.
    """

    def __init__(
        self,
        work: BufferedWorkspace,
        rule: Rule,
        windows: Windows,
        region: Region,
        sums: Any,
        apart: tuple[Array, Array] | None = None,
    ) -> None:
        self.work, self.sums, self._apart = work, np.dtype(sums), apart
        box = (*(high - low for low, high in windows.pixels(region)), windows.channels)
        array = apart[0] if apart else work.buffer("pixels", box, rule.dtype)
        self.stages: list[Taps] = []  # the last axis first
        self._reduce = Tape()
        self._spreads: dict[tuple[str, bool], tuple[Tape, Array]] = {}
        for axis in reversed(range(windows.rank)):
            taps = Taps(array, windows.lines[axis], axis, region[1 + axis])
            if taps.sorts and not apart:
                taps.ranked = array
            array = taps.combine(at_once if apart else self._reduce, work, rule, f"reduced {axis}")
            self.stages.append(taps)
        self.top = array
        self.gradient = work.buffer("gradient", array.shape, sums)
        # as large as they get, so that they stay where they are
        most = (max(taps.result.size for taps in self.stages),)
        self._hit, self._lost = (work.buffer(name, most, np.dtype(np.bool_)) for name in ("hit", "lost"))
        self._left, self._share = (work.buffer(name, most, self.sums) for name in ("left", "share"))

    def find(self, x: Array) -> None:
        """Find the maxima of a box of pixels."""
        taps = self.stages[0]
        if taps.ranked is not None:
            taps.rank(x, taps.ranked)
        elif not self._apart:
            np.copyto(taps.array, x)
        self._reduce.play()

    def has_nan(self) -> bool:
        """Say whether any maximum is not equal to itself."""
        found = self._hit[: self.top.size].reshape(self.top.shape)
        return bool(np.not_equal(self.top, self.top, out=found).any())

    def spread(self, target: Array, written: int, ties: str, careful: bool) -> None:
        """Add the gradient of each window to the pixels that are its maximum.

        If `careful`, NaN counts as a maximum. The first `written` rows of the target hold sums to add to, the others
        nothing. (The rows of images with one axis are its pixels: all or none.)
        """
        key = ties, careful
        if self._apart:
            self._give(at_once, *key)
            return
        if key not in self._spreads:
            tape = Tape()
            self._spreads[key] = tape, self._give(tape, *key)
        tape, home = self._spreads[key]
        tape.play()
        taps = self.stages[0]
        for rows, add in ((slice(0, written), True), (slice(written, None), False)):
            part, place = home[:, rows], target[:, rows]
            if taps.ranked is not None and part.size:
                taps.unrank(part, place, add)
            elif add:
                np.add(place, part, out=place)
            else:
                np.copyto(place, part)

    def _give(self, do: Do, ties: str, careful: bool) -> Array:
        """Take the gradient back through the axes; give the array that has it."""
        gradient = self.gradient
        if ties == "split":
            gradient = self._shared(do, gradient)
        for taps in reversed(self.stages):
            own = self._apart[1] if self._apart and taps is self.stages[0] else None
            home = self.work.buffer(f"spread {taps.axis}", taps.array.shape, self.sums) if own is None else own
            self._distribute(do, taps, gradient, home, ties == "first", careful, own is not None)
            gradient = home
        return gradient

    def _distribute(
        self, do: Do, taps: Taps, gradient: Array, home: Array, first: bool, careful: bool, held: bool
    ) -> None:
        """Give the windows' gradients to the taps of one axis, beside what is `held` already."""
        left, there = gradient, False
        writes: set[int] = set()  # the others add
        if not held:
            ahead = taps.ahead()
            writes = {tap.number for tap in ahead.values()}
            for rest in taps.rests(home, ahead):
                do(rest.fill, 0)
        order: Iterable[Tap | None] = itertools.chain(taps.reading.in_order(), [None])
        for tap, after in itertools.pairwise(order):
            assert tap is not None
            view, value = taps.of(home, tap), taps.own(left, tap)
            if first and after is None:  # what is left is its own, and may be there already
                if tap.number not in writes:
                    do(np.add, view, value, out=view)
                elif not there:
                    do(np.copyto, view, value)
                continue
            hit = self._hits(do, taps, tap, careful)
            share = view if tap.number in writes else self._in(self._share, value.shape)
            do(np.multiply, bits(value), hit.view(np.int8), out=bits(share))
            if share is not view:
                do(np.add, view, share, out=view)
            if first and after is not None:
                there = after.number == taps.reading.last and after.number in writes and tap.whole and after.whole
                rest = taps.of(home, after) if there else self._in(self._left, left.shape)
                left = self._without(do, taps, tap, left, share, rest, left is gradient)

    def _hits(self, do: Do, taps: Taps, tap: Tap, careful: bool) -> Array:
        pixels, best = taps(tap), taps.own(taps.result, tap)
        hit = self._in(self._hit, best.shape)
        do(np.equal, pixels, best, out=hit)
        if careful:
            lost = self._in(self._lost, best.shape)
            do(np.not_equal, pixels, pixels, out=lost)
            do(np.logical_or, hit, lost, out=hit)
        return hit

    @staticmethod
    def _without(do: Do, taps: Taps, tap: Tap, left: Array, share: Array, rest: Array, untouched: bool) -> Array:
        """Take from what is left of the windows' gradients what a tap got: all or nothing, so by their bits."""
        if untouched and not tap.whole:
            do(np.copyto, rest, left)
        do(np.bitwise_xor, bits(taps.own(left, tap)), bits(share), out=bits(taps.own(rest, tap)))
        return rest

    def _shared(self, do: Do, gradient: Array) -> Array:
        """Divide each window's gradient by the number of its maxima."""
        below: Array | None = None
        for taps in self.stages:
            count = self.work.buffer(f"count {taps.axis}", taps.result.shape, self.sums)
            do(count.fill, 0)
            for tap in taps.reading.taps():
                own = taps.own(count, tap)
                hit = self._hits(do, taps, tap, False)
                number = hit
                if below is not None:
                    number = self._in(self._share, own.shape)
                    do(np.multiply, taps.view(below, tap), hit, out=number)
                do(np.add, own, number, out=own)
            below = count
        assert below is not None
        do(np.maximum, below, 1, out=below)
        do(np.divide, gradient, below, out=below)
        return below

    @staticmethod
    def _in(buffer: Array, shape: tuple[int, ...]) -> Array:
        return buffer[: math.prod(shape)].reshape(shape)


def bits(array: Array) -> Array:
    """Give an array's bit patterns as integers: times 0 or 1 they leave no trace of infinity and NaN."""
    return array.view(f"i{array.itemsize}")


def add_at(home: Array, places: Array, gradient: Array) -> None:
    """Add the gradients of windows (n, *O, C), in order, to the pixels of images (n, *I, C) that have their places.

    The places are overwritten.
    """
    flat, image, pixel, channel = flattened(home)
    images, channels = np.arange(home.shape[0]) * image, np.arange(home.shape[-1]) * channel
    np.multiply(places, pixel, out=places)
    np.add(places, images.reshape((-1,) + (1,) * (places.ndim - 1)) + channels, out=places)
    np.add.at(flat, places.reshape(-1), gradient.reshape(-1))


def spread_sum(
    work: BufferedWorkspace,
    shares: Array,
    windows: Windows,
    region: Region,
    box: Region,
    out: Array | None,
    along_axis: Along | None = None,
) -> Array:
    """Sum for each pixel of a box the shares of the windows that read it, which are a region of windows.

    The last axis is taken first, while there are few rows; the result is in `out`, if there is one. `along_axis` sums
    along an axis, or says that it does not.
    """
    for axis in reversed(range(windows.rank)):
        low, high = box[1 + axis]
        target = out if axis == 0 else None
        if target is None:
            target = work.buffer(f"spread {axis % 2}", shape_along(shares, axis, high - low), shares.dtype)
        one = shares, windows.lines[axis], axis, (region[1 + axis], box[1 + axis]), target
        if along_axis is None or not along_axis(*one):
            _sum_along(work, *one)
        shares = target
    return shares


def _sum_along(
    work: BufferedWorkspace, shares: Array, line: Strided, axis: int, ranges: tuple[Interval, Interval], out: Array
) -> None:
    """Sum along one axis; the ranges are those of the windows and of the pixels, the latter from a unit's first on."""
    (before, _), (start, stop) = ranges
    rule = Rule(np.add, shares.dtype)
    if isinstance(line, Parts):
        Runs(shares, line.turned, axis, (start, stop)).combine(at_once, work, rule, "", out)
        return
    for residue in range(min(line.stride, stop - start)):
        target = out[along(axis, slice(residue, None, line.stride))]
        count = target.shape[axis + 1]
        found, filled = spans(line, residue, count, start // line.stride)
        if line.stride > 1 and len(found) >= MANY and math.prod(out.shape[axis + 2 :]) <= SHORT:
            _sum_in_pieces(work, shares, axis, before, (found, filled), target)
            continue
        if filled:
            target.fill(0)
        terms = (
            (
                target if span.high - span.low == count else target[along(axis, slice(span.low, span.high))],
                shares[along(axis, slice(span.low + span.window - before, span.high + span.window - before))],
            )
            for span in found
        )
        accumulate(at_once, rule, target, terms, filled=filled)


def _sum_in_pieces(
    work: BufferedWorkspace, shares: Array, axis: int, before: int, terms: tuple[list[Span], bool], target: Array
) -> None:
    """Sum up pixels of one residue, which lie apart, in pieces that lie side by side; `before`: the first window."""
    found, filled = terms
    rule = Rule(np.add, shares.dtype)
    for piece in Tiles(target.shape, block(target.shape, PIECE)):
        low, high = piece[axis + 1]
        home = work.buffer("piece", [b - a for a, b in piece], shares.dtype)
        if filled:
            home.fill(0)
        own = [slice(*interval) for interval in piece]
        parts = []
        for span in found:
            first, last = max(span.low, low), min(span.high, high)
            if first < last:
                own[axis + 1] = slice(first + span.window - before, last + span.window - before)
                whole = last - first == high - low
                parts.append((home if whole else home[along(axis, slice(first - low, last - low))], shares[tuple(own)]))
        accumulate(at_once, rule, home, parts, filled=filled)
        target[tuple(slice(*interval) for interval in piece)] = home


class Span(NamedTuple):
    """Pixels of one residue that are the same tap of windows, one each."""

    low: int
    high: int
    window: int  # in which the first of all pixels is that tap


def spans(line: Strided, residue: int, count: int, unit: int) -> tuple[list[Span], bool]:
    """Give what pixels of a residue receive, from a unit on, in the order of the sum; and whether it begins with 0."""
    found = []
    for tap in line.meeting(residue):
        window = (residue + line.before - tap * line.dilation) // line.stride + unit
        low, high = max(-window, 0), min(line.count - window, count)  # the pixels that are it of any window
        if low < high:
            found.append(Span(low, high, window))
    found.sort(key=lambda span: span.low - span.high)
    return found, not found or found[0].high - found[0].low < count
