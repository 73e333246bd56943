"""What is summed up in which order along an axis, as lists for compiled loops: of a window's pixels, a pixel's windows.

An array of integers holds where the list of each result begins in it, and where the last one ends; each list begins
with whether a sum begins with 0, or with its first term as it is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._pooling.lines import Parts, Strided
from xpconv._pooling.spread import spans
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Interval

Array = np.ndarray[Any, Any]

MOST = 1 << 16  # numbers of a list


def short(windows: Windows) -> bool:
    """Say whether the lists of all axes are short enough to be kept."""
    return all(line.count * line.kernel + line.size <= MOST for line in windows.lines)


@lru_cache(maxsize=256)
def pixels_of(line: Strided) -> Array:
    """List the pixels of each window in the order in which they are summed up."""
    windows = 0, line.count
    if isinstance(line, Parts):
        return _listed([np.arange(*line.reach((o, o + 1))) for o in range(line.count)], np.zeros(line.count))
    order = sorted(range(line.kernel), key=lambda tap: line.full and tap != line.least)
    pixels = line.starts(windows)[:, None] + np.array(order) * line.dilation
    return _listed([own[(own >= 0) & (own < line.size)] for own in pixels], np.full(line.count, not line.full))


@lru_cache(maxsize=256)
def windows_of(line: Strided, windows: Interval, pixels: Interval) -> Array:
    """List the windows that read each of a range of pixels, in the order in which their shares are summed up."""
    if isinstance(line, Parts):
        found = [np.arange(*line.turned.reach((p, p + 1))) for p in range(*pixels)]
        return _listed(found, np.zeros(len(found)))
    lists: list[list[int]] = [[] for _ in range(*pixels)]
    begun = np.zeros(len(lists))
    for residue in range(min(line.stride, len(lists))):
        count = len(range(residue, len(lists), line.stride))
        terms, filled = spans(line, residue, count, pixels[0] // line.stride)
        begun[residue :: line.stride] = filled
        for span in terms:
            for place in range(span.low, span.high):
                lists[residue + place * line.stride].append(place + span.window)
    return _listed([np.array(own, np.intp) for own in lists], begun)


@lru_cache(maxsize=256)
def taps_in_order(line: Strided) -> Array:
    """List the pixels of each window in their order."""
    taps = np.arange(line.kernel) * line.dilation
    pixels = line.starts((0, line.count))[:, None] + taps
    return _listed([own[(own >= 0) & (own < line.size)] for own in pixels], np.ones(line.count))


@lru_cache(maxsize=256)
def readers_in_order(line: Strided) -> Array:
    """List the windows that read each pixel in order, after how many would if there were some beyond the ends."""
    taps = np.arange(line.kernel)[::-1] * line.dilation
    ahead = np.arange(line.size)[:, None] + line.before - taps  # of the pixel that is a window's first tap
    found = [own[own % line.stride == 0] // line.stride for own in ahead]
    return _listed([own[(own >= 0) & (own < line.count)] for own in found], np.array([own.size for own in found]))


@lru_cache(maxsize=256)
def kept_of(line: Strided, windows: Interval, pixels: Interval) -> int:
    """Count the neighbouring windows that are made at most, of those that a pixel or one after it reads."""
    lists = windows_of(line, windows, pixels)
    made, spans_of = windows[0], []
    for p in range(pixels[1] - pixels[0]):
        own = lists[lists[p] + 1 : lists[p + 1]]
        if own.size:
            made = max(made, int(own.max()) + 1)
            spans_of.append((int(own.min()), made))
    least, most = windows[1], 1
    for low, stop in reversed(spans_of):
        least = min(least, low)
        most = max(most, stop - least)
    return most


@lru_cache(maxsize=256)
def taps_of(line: Strided, padded: bool, dtype: str) -> Array:
    """Count the taps of each window."""
    lengths = line.lengths((0, line.count), padded)
    return np.ascontiguousarray(np.broadcast_to(np.maximum(lengths, 1), (line.count,)).astype(dtype))


def _listed(lists: list[Array], begun: Array) -> Array:
    """Lay lists in one array."""
    ends = np.cumsum([len(lists) + 1, *(own.size + 1 for own in lists)])
    parts = [part for own, zero in zip(lists, begun, strict=True) for part in ([zero], own)]
    return np.concatenate([ends, *parts]).astype(np.intp)
