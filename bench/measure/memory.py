"""Work memory of a call."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

from bench import inside


def extra(call: Callable[[], Any]) -> int:
    """Measure the greatest number of bytes that a call held at once, without what it gave back.

    Memory that earlier calls kept for later ones is let go of first, so that all the call uses is counted.
    """
    inside.let_go()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    given: int = sum(array.nbytes for array in (result if isinstance(result, tuple) else (result,)))
    return max(0, peak - before - given)
