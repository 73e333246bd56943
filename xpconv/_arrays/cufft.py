"""The plans of cuFFT, of which CuPy keeps the last sixteen of a thread on a device, each with a work area.

Those that xpconv's transforms make are kept within bounds of bytes, and for one stream: two streams at work with one
plan would write to one work area. Plans of others stay as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from xpconv._arrays.types import Array


@dataclass
class _Own:
    """The plans of one thread on one device that were made here: of which stream, and their keys in CuPy's cache."""

    stream: int = 0
    keys: set[Any] = field(default_factory=set)


_local = threading.local()


def transform(room: int, function: Callable[..., Array], *arrays: Array, **options: Any) -> Array:
    """Call a transform; of the plans that such calls have made those used last stay, of at most `room` bytes."""
    import cupy  # it is loaded: the array is its own

    cache = cupy.fft.config.get_plan_cache()
    owners: dict[int, _Own] = _local.__dict__.setdefault("owners", {})
    own = owners.setdefault(cupy.cuda.runtime.getDevice(), _Own())
    stream = cupy.cuda.get_current_stream().ptr
    before = {key for key, _ in cache}
    if own.stream != stream:
        for key in own.keys & before:
            del cache[key]
        before -= own.keys
        own.keys, own.stream = set(), stream
    own.keys &= before
    found = function(*arrays, **options)
    there = list(cache)  # the one used last is the first
    own.keys |= {key for key, _ in there} - before
    kept = 0
    for key, node in there:
        if key in own.keys:
            kept += node.memsize
            if kept > room:
                del cache[key]
                own.keys.remove(key)
    return found
