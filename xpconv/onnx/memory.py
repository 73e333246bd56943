"""Where channels lie: ONNX counts them first; in memory they may lie last, which convolutions and pools want."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def channels_last(x: Array) -> Array:
    """(N, C, *spatial) -> (N, *spatial, C), a view."""
    return x.transpose(0, *range(2, x.ndim), 1)


def channels_first(x: Array) -> Array:
    """(N, *spatial, C) -> (N, C, *spatial), a view."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def lie_last(x: Array) -> bool:
    """Say whether the channels of (N, C, *spatial) lie last in memory, and the whole in one piece."""
    return bool(channels_last(x).flags.c_contiguous)
