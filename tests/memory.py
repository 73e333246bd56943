"""How much one call allocates beside its results, by tracemalloc."""

import tracemalloc
from collections.abc import Callable
from typing import Any

from xpconv._work.memory import pool

MIB = 1 << 20


def beside(call: Callable[[], Any]) -> int:
    """Bytes at the peak of a call, less its results; a call before it has filled every cache."""
    call()
    pool.clear()  # what an earlier call left would not be counted
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        results = call()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    results = results if isinstance(results, tuple) else (results,)
    return peak - sum(r.nbytes for r in results)
