"""Numbers that no bound holds for."""

from __future__ import annotations

import numpy as np

from xpconv._arrays.types import Array, Namespace


def unbounded(xp: Namespace, bound: Array) -> Array:
    """Put infinity where a bound is NaN; in place where arrays can be written."""
    if isinstance(bound, np.ndarray):
        return np.fmin(bound, np.inf, out=bound)
    return xp.where(bound == bound, bound, xp.full_like(bound, float("inf")))
