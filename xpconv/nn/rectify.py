"""The rectifier on NumPy arrays: stretch by stretch, on threads, without an array on the way."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv import _options
from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.space import numpy_space
from xpconv._arrays.types import Namespace
from xpconv._engine.jobs import Jobs, run
from xpconv._pooling.spread import bits
from xpconv._shapes.cuts import intervals
from xpconv._shapes.geometry import Interval
from xpconv._work.buffered import BufferedWorkspace

Array = np.ndarray[Any, Any]

STRETCH = 1 << 16  # numbers that are taken at once, so that they stay in the cache


def takes(*arrays: Any) -> bool:
    """Say whether these are NumPy's own arrays, in order, of numbers as wide as some integer."""
    return all(type(array) is np.ndarray and array.flags.c_contiguous and array.itemsize <= 8 for array in arrays)


def rectified(xp: Namespace, x: Array, y: Array) -> Array:
    """Write max(x, 0) into y, which may be x; both are contiguous."""
    source, target = x.reshape(-1), y.reshape(-1)

    def job(item: Interval, work: Any) -> None:
        spot = slice(*item)
        np.maximum(source[spot], 0, out=target[spot])

    _sweep(xp, job, x)
    return y


def passed(xp: Namespace, y: Array, dy: Array, dx: Array) -> Array:
    """Write dy where y is above zero, else 0, into dx, which may be dy; all are contiguous."""
    top, source, target = (array.reshape(-1) for array in (y, dy, dx))

    def job(item: Interval, work: BufferedWorkspace) -> None:
        spot = slice(*item)
        hit = np.greater(top[spot], 0, out=work.buffer("hit", (item[1] - item[0],), np.dtype(np.bool_)))
        np.multiply(bits(source[spot]), hit.view(np.int8), out=bits(target[spot]))

    _sweep(xp, job, dy)
    return dx


def _sweep(xp: Namespace, job: Any, like: Array) -> None:
    jobs = Jobs(job, intervals(like.size, STRETCH))
    run([jobs], numpy_space(), Arithmetic.plain(xp, like.dtype), _options.current().threads, like.size)
