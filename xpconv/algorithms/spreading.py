"""The gradients of pooling on one tile of NumPy arrays, back through one axis after another, the last one first."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._buffered import BufferedWorkspace
from xpconv._geometry import Geometry, Interval
from xpconv.algorithms.running import Taps, along, last_digit

Array = np.ndarray[Any, Any]


def spread(
    work: BufferedWorkspace, stages: list[Taps], results: list[Array], numbers: list[Array] | None, gradient: Array,
    target: Array, blank: bool = False,
) -> None:  # fmt: skip
    """Add each window's gradient to its pixels in `target`: to the numbered one, or to all that are its maximum.

    `blank`: the target is zero as yet, and no pixel is in two windows.
    """
    for taps, best in zip(reversed(stages), reversed(results), strict=True):
        first = taps.axis == 0
        found = target if first else work.buffer(f"spread {taps.axis}", taps.array.shape, gradient.dtype)
        if not first and not taps.covered:
            found.fill(0)
        digit = None if numbers is None else last_digit(work, numbers[taps.axis], taps.kernel)[0]
        for tap in taps.line.taps:
            value, view = taps.own(gradient, tap), taps.view(found, tap)
            hit = work.buffer("hit", value.shape, np.dtype(np.bool_))
            if digit is None:
                np.equal(taps(tap), taps.own(best, tap), out=hit)
            else:
                np.equal(taps.own(digit, tap), digit.dtype.type(tap.number), out=hit)
            if taps.disjoint and (blank or not first):
                masked(work, value, hit, view)
            else:
                np.add(view, masked(work, value, hit), out=view)
        gradient = found


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
