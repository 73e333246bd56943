"""Faults in max and average pooling: the public functions, and the engine beneath them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from xpconv.verify.faults.fault import Fault, Function, changed, forced, library


def _last_tap_left_out(right: Function) -> Function:
    def reading(self: Any, windows: Any) -> Any:
        return right(replace(self, kernel=max(self.kernel - 1, 1)) if self.inner else self, windows)

    return reading


def _places_changed(change: Any) -> Any:
    def plant(right: Function) -> Function:
        return lambda call, windows, dy, places: right(call, windows, dy, change(places, math.prod(windows.input) - 1))

    return plant


FAULTS: tuple[Fault, ...] = (
    library(
        "maximum padded with 0",
        "0 for minus infinity",
        ("max_pool",),
        ("xpconv._pooling.maxima:least", lambda right: lambda xp, dtype: 0),
    ),
    library(
        "last tap of a window left out",
        "a loop that ends one early",
        ("max_pool",),
        ("xpconv._pooling.lines:Strided.reading", _last_tap_left_out),
    ),
    library(
        "NaN dropped",
        "a NaN equals nothing, so no pixel is the maximum",
        ("max_pool",),
        ("xpconv._pooling.argmax:has_nan", lambda right: lambda work, values: False),
    ),
    library(
        "NaN ignored",
        "nanmax for max",
        ("max_pool",),
        (
            "xpconv:max_pool",
            lambda right: lambda x, window, **o: right(np.where(np.isnan(x), -np.inf, x).astype(x.dtype), window, **o),
        ),
    ),
    library(
        "all maxima for the first",
        "a mask instead of an index",
        ("max_pool_vjp",),
        ("xpconv:max_pool_vjp", forced(ties="all")),
    ),
    library(
        "first maximum for all",
        "an index instead of a mask",
        ("pool_backward",),
        ("xpconv._pooling.maxima:max_pool_vjp", forced(ties="first")),
    ),
    library(
        "indices over the padded plane",
        "they are not shifted back",
        ("max_pool",),
        ("xpconv:max_pool", changed(lambda r: (r[0], r[1] + 1) if isinstance(r, tuple) else r)),
        sign="indices: ",
    ),
    library(
        "known maxima counted from 1",
        "the indices of a language whose arrays begin at 1",
        ("max_pool_vjp", "adaptive_max_pool_vjp"),
        ("xpconv._pooling.maxima:max_pool_vjp_at", _places_changed(lambda places, last: np.clip(places - 1, -1, last))),
    ),
    library(
        "known maxima of no window",
        "the index -1 is taken for a pixel",
        ("max_pool_vjp",),
        (
            "xpconv._pooling.maxima:max_pool_vjp_at",
            _places_changed(lambda places, last: np.where(places < 0, last, places)),
        ),
    ),
    library(
        "count_include_pad ignored",
        "every divisor counts the padding",
        ("avg_pool",),
        ("xpconv:avg_pool", forced(count_include_pad=True)),
    ),
    library(
        "divisor of the windows at the edge",
        "ceil_mode's windows divide by all their taps",
        ("avg_pool",),
        (
            "xpconv._pooling.averages:divisor",
            lambda right: lambda windows, region, padded, dtype: dtype.type(windows.taps),
        ),
    ),
    library(
        "average not divided",
        "a sum",
        ("avg_pool_vjp",),
        ("xpconv._pooling.averages:divisor", lambda right: lambda windows, region, padded, dtype: dtype.type(1)),
    ),
)
