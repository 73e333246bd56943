"""The gradients of pooling on one tile of NumPy arrays, back through one axis after another, the last one first."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._buffered import BufferedWorkspace
from xpconv._geometry import Geometry, Interval
from xpconv.algorithms.running import Tap, Taps, along

Array = np.ndarray[Any, Any]


def spread(
    work: BufferedWorkspace, stages: list[Taps], results: list[Array], gradient: Array, target: Array, written: int,
    first: bool, careful: bool,
) -> None:  # fmt: skip
    """Add each window's gradient to its pixels in `target`: to the first that is its maximum, or to all of them.

    The stages are from the last axis to the first, so that the first maximum is found axis by axis: the first row
    that has it, and its first pixel there. If `careful`, NaN counts as a maximum. The first `written` rows of the
    target hold sums to add to; the others are all zero.
    """
    for taps, best in zip(reversed(stages), reversed(results), strict=True):
        final = taps is stages[0]
        if final and taps.ranked is None:
            home = target
            blank = taps.disjoint and not written
        else:
            home = work.buffer(f"spread {taps.axis}", taps.array.shape, gradient.dtype)
            blank = taps.disjoint
            if not taps.covered:
                home.fill(0)
        _distribute(work, taps, best, gradient, home, blank, first, careful)
        if final and home is not target:
            _restore(work, taps, home, target, written)
        gradient = home


def _distribute(
    work: BufferedWorkspace, taps: Taps, best: Array, gradient: Array, home: Array, blank: bool, first: bool,
    careful: bool,
) -> None:  # fmt: skip
    """Give the windows' gradients to the taps of one axis; `blank` if nothing has to be added."""
    order, left = taps.line.in_order, gradient
    for tap in order:
        view = taps.view(home, tap) if taps.ranked is None else taps.ranked_view(home, tap)
        value, last = taps.own(left, tap), tap is order[-1]
        if first and last and tap.whole:  # what is left is its own
            share = value
        else:
            hit = _hits(work, taps(tap), taps.own(best, tap), careful)
            share = masked(work, value, hit, view if blank else None)
            if first and not last:
                left = _remaining(work, taps, tap, left, share, left is gradient)
        if not blank:
            np.add(view, share, out=view)
        elif share is not view:
            np.copyto(view, share)


def _hits(work: BufferedWorkspace, pixels: Array, best: Array, careful: bool) -> Array:
    boolean = np.dtype(np.bool_)
    hit = work.buffer("hit", best.shape, boolean)
    np.equal(pixels, best, out=hit)
    if careful:
        np.logical_or(hit, np.not_equal(pixels, pixels, out=work.buffer("lost", best.shape, boolean)), out=hit)
    return hit


def _remaining(work: BufferedWorkspace, taps: Taps, tap: Tap, left: Array, share: Array, untouched: bool) -> Array:
    """Take from what is left of the windows' gradients what a tap got: all or nothing, so by their bits."""
    bits = np.dtype(f"i{left.itemsize}")
    rest = work.buffer("left", left.shape, left.dtype)
    if untouched and not tap.whole:
        np.copyto(rest, left)
    target = taps.own(rest, tap)
    np.bitwise_xor(taps.own(left, tap).view(bits), share.view(bits), out=target.view(bits))
    return rest


def _restore(work: BufferedWorkspace, taps: Taps, ranked: Array, target: Array, written: int) -> None:
    """Put gradients that are sorted by residue in their places."""
    if taps.axis == 0 and written:  # the rows are what is sorted
        written = target.shape[1]
    for part, held in ((slice(0, written), True), (slice(written, None), False)):
        rows, home = ranked[:, part], target[:, part]
        if not rows.size:
            continue
        if held or not home.flags.c_contiguous:
            placed = work.buffer("placed", home.shape, home.dtype)
            taps.unrank(rows, placed)
            np.add(home, placed, out=home)
        else:
            taps.unrank(rows, home)


def masked(work: BufferedWorkspace, value: Array, hit: Array, out: Array | None = None) -> Array:
    """Give the value where the mask is true and zero elsewhere; the mask's memory is used up."""
    # as bit patterns: many times faster than where(), and infinity and NaN leave no trace
    bits = np.dtype(f"i{value.itemsize}")
    mask = work.buffer("mask", hit.shape, bits)
    np.negative(hit.view(np.int8), out=hit.view(np.int8))
    np.copyto(mask, hit.view(np.int8))
    out = work.buffer("share", value.shape, value.dtype) if out is None else out
    np.bitwise_and(value.view(bits), mask, out=out.view(bits))
    return out


def shared(work: BufferedWorkspace, stages: list[Taps], results: list[Array], gradient: Array) -> Array:
    """Divide each window's gradient by the number of its maxima."""
    below: Array | None = None
    for taps, best in zip(stages, results, strict=True):
        count = work.buffer(f"count {taps.axis}", best.shape, gradient.dtype)
        count.fill(0)
        for tap in taps.line.taps:
            own = taps.own(count, tap)
            hit = np.equal(taps(tap), taps.own(best, tap), out=work.buffer("hit", own.shape, np.dtype(np.bool_)))
            np.add(own, hit if below is None else masked(work, taps.view(below, tap), hit), out=own)
        below = count
    assert below is not None
    np.maximum(below, 1, out=below)
    return np.divide(gradient, below, out=below)


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


def readers(geometry: Geometry, axis: int, pixels: Interval) -> Interval:
    """Give the windows of the output that may read any of a range of pixels."""
    step, before = geometry.stride[axis], geometry.padding[axis][0]
    first = -(-(pixels[0] + before - geometry.span[axis] + 1) // step)
    return max(first, 0), min((pixels[1] - 1 + before) // step + 1, geometry.output[axis])
