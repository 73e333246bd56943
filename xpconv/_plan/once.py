"""What follows from a call and its shapes alone, found once for all calls that are alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from xpconv._arrays.call import Call
from xpconv._compiled import build

Found = TypeVar("Found")
MOST = 256  # shapes that are known of calls of one name, dtype, layout and options


def once(call: Call, steps: Callable[..., Found], *facts: Any) -> Found:
    """Give what `steps` makes of a call and of facts: words, whole numbers and tuples of them.

    Only NumPy's calls are kept. An error is raised each time; what cannot be looked up, a list say, is left to `steps`.
    """
    if not call.traits.buffers:
        return steps(call, *facts)
    # whether Numba is there: that changes in tests and where a program installs it while it runs
    key = steps, build.refusal(call.options.compiled), facts
    try:
        found: Found | None = call.known.get(key)
    except TypeError:
        return steps(call, *facts)
    if found is None:
        found = steps(call, *facts)
        if len(call.known) >= MOST:
            call.known.clear()
        call.known[key] = found
    return found
