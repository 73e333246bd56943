"""Numbers as text, and the mean of ratios."""

from __future__ import annotations

import math
from collections.abc import Iterable


def number(value: float | None) -> str:
    """Write three significant digits, thousands apart; a dash for what was not measured."""
    if value is None or not math.isfinite(value):
        return "–"
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{digits}f}"


def milliseconds(seconds: float | None) -> str:
    """Write a time."""
    return number(None if seconds is None else 1e3 * seconds)


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Average ratios; None if one is missing."""
    every = list(values)
    known = [value for value in every if value is not None]
    return math.exp(math.fsum(map(math.log, known)) / len(known)) if known and len(known) == len(every) else None
