"""The gradient of averages over long windows, in a compiled loop along axis after axis, as NumPy's calls do it."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._pooling import compiled
from xpconv._pooling.compiled_lists import MOST, short
from xpconv._pooling.lines import Strided
from xpconv._pooling.spread import spans
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Interval

Array = np.ndarray[Any, Any]

NAME = "long averages gradient"


def serves(call: Call, windows: Windows, *arrays: Array) -> bool:
    """Say whether the loop serves the arrays (gradients, result) and is to be taken."""
    if not windows.strided or short(windows) or windows.channels < compiled.LEAST // 2:
        return False
    if call.layout != "channels_last" or any(4 * line.kernel > MOST for line in windows.lines):
        return False
    return compiled.serves(NAME, call, windows, *arrays)


def sum_along(shares: Array, line: Strided, axis: int, ranges: tuple[Interval, Interval], out: Array) -> bool:
    """Sum along one axis as `spread.spread_sum` does, if both arrays lie in one piece; say whether it is done."""
    if not (shares.flags.c_contiguous and out.flags.c_contiguous):
        return False
    windows, pixels = ranges
    arrays = (array.reshape(math.prod(array.shape[: axis + 1]), array.shape[axis + 1], -1) for array in (shares, out))
    build.get(NAME, build.NAMES[out.dtype])(*arrays, _listed(line, windows, pixels), line.stride)
    return True


@lru_cache(maxsize=64)
def _listed(line: Strided, windows: Interval, pixels: Interval) -> Array:
    """List the spans of each residue."""
    lists: list[list[int]] = []
    for residue in range(line.stride):
        count = len(range(residue, pixels[1] - pixels[0], line.stride))
        found, filled = spans(line, residue, count, pixels[0] // line.stride)
        own = (number for span in found for number in (span.low, span.high, span.window - windows[0]))
        lists.append([int(filled), *own])
    begins = np.cumsum([len(lists) + 1, *map(len, lists)])
    return np.concatenate([begins, *lists]).astype(np.intp)
