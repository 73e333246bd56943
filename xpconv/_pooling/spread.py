"""The gradients of pooling on one tile of NumPy arrays, back through one axis after another, the last one first."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from xpconv._pooling.reduce import Tap, Taps, along, clipped, combine
from xpconv._shapes.geometry import Geometry, Interval, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.tape import Do, Tape, at_once

Array = np.ndarray[Any, Any]


class MaximumGradient:
    """The gradient of max pooling on tiles of one shape: arrays, and the calls on them, made once.

    The axes are taken from the last to the first, so that the first maximum of a window is found axis by axis: the
    first row that has it, and its first pixel there. Where windows are too large for copies of their pixels, `apart`
    has those of one tile and the place of their gradients; it serves that tile only, and no call is kept.
    """

    def __init__(
        self, work: BufferedWorkspace, geometry: Geometry, region: Region, fill: Any, dtype: Any, sums: Any,
        apart: tuple[Array, Array] | None = None,
    ) -> None:  # fmt: skip
        self.work, self.sums, self._apart = work, np.dtype(sums), apart
        if apart is None:
            sizes = (high - low for low, high in (clipped(geometry, a, part) for a, part in enumerate(region[1:])))
            box = (region[0][1] - region[0][0], *sizes, geometry.channels)
            self.pixels = work.buffer("pixels", box, dtype)
        else:
            self.pixels = apart[0]
        array = self.pixels
        self.stages: list[Taps] = []
        self.tops: list[Array] = []
        self._reduce = Tape()
        self._spreads: dict[tuple[str, bool], tuple[Tape, Array]] = {}
        for axis in reversed(range(geometry.rank)):
            taps = Taps(array, geometry, axis, region[1 + axis])
            if taps.sorts and apart is None:
                taps.ranked = array
            do = self._reduce if apart is None else at_once
            array = combine(do, work, np.maximum, taps, f"reduced {axis}", fill, dtype)
            self.stages.append(taps)
            self.tops.append(array)
        self.top = array
        self.gradient = work.buffer("gradient", array.shape, sums)
        most = (max(top.size for top in self.tops),)  # as large as they get, so that they stay where they are
        self._hit, self._lost = (work.buffer(name, most, np.dtype(np.bool_)) for name in ("hit", "lost"))
        self._left, self._share = (work.buffer(name, most, self.sums) for name in ("left", "share"))

    def find(self, x: Array) -> None:
        """Find the maxima of a box of pixels."""
        taps = self.stages[0]
        if taps.ranked is not None:
            taps.rank(x, self.pixels)
        elif self._apart is None:
            np.copyto(self.pixels, x)
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
        if self._apart is not None:
            self._give(at_once, ties, careful)
            return
        key = ties, careful
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
        for taps, best in zip(reversed(self.stages), reversed(self.tops), strict=True):
            if taps is self.stages[0] and self._apart is not None:
                self._distribute(do, taps, best, gradient, self._apart[1], ties == "first", careful, True)
                break
            home = self.work.buffer(f"spread {taps.axis}", taps.array.shape, self.sums)
            self._distribute(do, taps, best, gradient, home, ties == "first", careful, False)
            gradient = home
        return gradient

    def _distribute(
        self, do: Do, taps: Taps, best: Array, gradient: Array, home: Array, first: bool, careful: bool, held: bool
    ) -> None:
        """Give the windows' gradients to the taps of one axis, beside what is `held` already."""
        order, left, there = taps.line.in_order, gradient, False
        writes: set[int] = set()  # the others add
        if not held:
            writes = {tap.number for tap in taps.ahead(order)}
            for rest in taps.rests(home, order):
                do(rest.fill, 0)
        for tap, after in itertools.zip_longest(order, order[1:]):
            view, value = taps.of(home, tap), taps.own(left, tap)
            if first and after is None:  # what is left is its own, and may be there already
                if tap.number not in writes:
                    do(np.add, view, value, out=view)
                elif not there:
                    do(np.copyto, view, value)
                continue
            hit = self._hits(do, taps(tap), taps.own(best, tap), careful)
            share = view if tap.number in writes else self._in(self._share, value.shape)
            do(np.multiply, bits(value), hit.view(np.int8), out=bits(share))
            if share is not view:
                do(np.add, view, share, out=view)
            if first:
                there = after is order[-1] and after.number in writes and tap.whole and after.whole
                rest = taps.of(home, after) if there else self._in(self._left, left.shape)
                left = self._without(do, taps, tap, left, share, rest, left is gradient)

    def _hits(self, do: Do, pixels: Array, best: Array, careful: bool) -> Array:
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
        for taps, best in zip(self.stages, self.tops, strict=True):
            count = self.work.buffer(f"count {taps.axis}", best.shape, self.sums)
            do(count.fill, 0)
            for tap in taps.line.taps:
                own = taps.own(count, tap)
                hit = self._hits(do, taps(tap), taps.own(best, tap), False)
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


def spread_sum(
    work: BufferedWorkspace, gradient: Array, geometry: Geometry, axis: int, windows: Interval, pixels: Interval,
    out: Array,
) -> None:  # fmt: skip
    """Sum along one axis, for each pixel of a range, the windows that read it; `windows` holds them all."""
    step, spreads, before = geometry.stride[axis], geometry.dilation[axis], geometry.padding[axis][0]
    taps: dict[int, list[int]] = {}  # by the residue of the pixels that they are
    for tap in range(geometry.kernel[axis]):
        taps.setdefault((tap * spreads - before) % step, []).append(tap)
    for first in range(pixels[0], min(pixels[0] + step, pixels[1])):
        count = len(range(first, pixels[1], step))
        target = out[along(axis, slice(first - pixels[0], None, step))]
        total: Array | None = None
        terms = []
        for tap in taps.get(first % step, []):
            shift = (first + before - tap * spreads) // step  # the window in which the first pixel is this tap
            # pixels of this residue that are this tap of a window of the output
            low, high = max(-shift, 0), min(geometry.output[axis] - shift, count)
            if low >= high:
                continue
            part = gradient[along(axis, slice(low + shift - windows[0], high + shift - windows[0]))]
            terms.append((low, high, part))
        terms.sort(key=lambda term: term[0] - term[1])
        if not terms or terms[0][1] - terms[0][0] < count:
            target.fill(0)
            total = target
        for low, high, part in terms:
            view = target[along(axis, slice(low, high))]
            if total is None:
                np.copyto(target, part, casting="unsafe")
                total = target
            else:
                np.add(view, part, out=view)
