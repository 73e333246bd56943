"""The course's small functions as the course means them, to stand in for somebody's that are wrong."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

CALLED = {
    "conv_forward": ("zero_pad", "conv_single_step"),
    "conv_backward": ("zero_pad",),
    "pool_backward": ("create_mask_from_window", "distribute_value"),
}  # in the course's own text


def zero_pad(X: Any, pad: int) -> Any:
    """Put `pad` zeros around height and width."""
    return np.pad(X, ((0, 0), (pad, pad), (pad, pad), (0, 0)))


def conv_single_step(a_slice_prev: Any, W: Any, b: Any) -> Any:
    """Sum the products of a window and add the bias, of whatever shape one number has."""
    return np.float64(np.sum(np.multiply(a_slice_prev, W)) + np.asarray(b, np.float64).item())


def create_mask_from_window(x: Any) -> Any:
    """Mark every maximum."""
    return np.asarray(x) == np.max(x)


def distribute_value(dz: Any, shape: Any) -> Any:
    """Share a number out evenly."""
    n_H, n_W = shape
    return np.full((n_H, n_W), dz / (n_H * n_W))


RIGHT: dict[str, Callable[..., Any]] = {
    one.__name__: one for one in (zero_pad, conv_single_step, create_mask_from_window, distribute_value)
}


@contextlib.contextmanager
def put_right(function: Callable[..., Any], names: Iterable[str]) -> Iterator[set[str]]:
    """Let a function find right helpers of these names within the block; the set names those that it called."""
    used: set[str] = set()
    owner = getattr(function, "__self__", None)
    places = [getattr(inspect.unwrap(function), "__globals__", None)]
    places.append(getattr(owner, "__dict__", None))
    with contextlib.ExitStack() as undo:
        for place in places:
            if not isinstance(place, dict):
                continue
            for name in names:
                if place is not places[0] and not hasattr(owner, name):
                    continue
                if name in place:
                    undo.callback(place.__setitem__, name, place[name])
                else:
                    undo.callback(place.pop, name, None)
                place[name] = _watched(name, used)
        yield used


def _watched(name: str, used: set[str]) -> Callable[..., Any]:
    @functools.wraps(RIGHT[name])
    def helper(*arguments: Any, **keywords: Any) -> Any:
        used.add(name)
        return RIGHT[name](*arguments, **keywords)

    return helper
