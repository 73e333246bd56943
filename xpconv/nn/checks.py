"""Read what a user passes to a layer, a loss or an optimiser: one rule, one message."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

from array_api_compat import array_namespace

Array = Any
Params = dict[str, Array]
Cache = Any  # what a layer's forward pass keeps for its backward pass


def positive_int(where: str, name: str, value: object) -> int:
    """Read an integer of at least one."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{where}: {name} is an integer; got {value!r}") from None
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"{where}: {name} is at least 1; got {value!r}")
    return number


def number_between(where: str, name: str, value: object, low: float, high: float = math.inf) -> float:
    """Read a real number in [low, high)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{where}: {name} is a Python number; got {value!r}")
    if not low <= value < high:
        raise ValueError(f"{where}: {name} is in [{low:g}, {high:g}); got {value!r}")
    return float(value)


def positive_number(where: str, name: str, value: object) -> float:
    """Read a finite real number above zero."""
    number = number_between(where, name, value, 0.0)
    if number == 0:
        raise ValueError(f"{where}: {name} is above 0; got {value!r}")
    return number


def real_floating(where: str, name: str, x: Array) -> Any:
    """Demand an array of a real floating dtype: ``-> its namespace``."""
    xp = array_namespace(x)
    if not xp.isdtype(x.dtype, "real floating"):
        raise TypeError(f"{where}: {name} has a real floating dtype; got {x.dtype}; convert it with astype first")
    return xp


def same_shape(where: str, name: str, x: Array, shape: tuple[int, ...]) -> None:
    """Refuse an array that does not have this shape."""
    if tuple(x.shape) != tuple(shape):
        raise ValueError(f"{where}: {name} has the shape {tuple(shape)}; got {name}.shape={tuple(x.shape)}")


def entry(where: str, params: Mapping[str, Array], name: str) -> Array:
    """Look up one parameter of a layer."""
    if name not in params:
        raise ValueError(f"{where}: params holds {name!r}; got the keys {sorted(params)}")
    return params[name]


def same_keys(where: str, name: str, got: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """Refuse a dictionary whose keys are not those of the parameters."""
    if got.keys() != params.keys():
        odd = sorted(got.keys() ^ params.keys())
        raise ValueError(f"{where}: {name} has the keys of params; these are only in one of the two: {odd}")
