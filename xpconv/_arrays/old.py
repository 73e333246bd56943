"""Older forms of what `Space` and `Call` do, for pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpconv._arrays.space import common_space, space_of
from xpconv._arrays.types import Array, DType, Namespace, Traits


def inspect(function: str, **arrays: Array) -> tuple[Namespace, Traits]:
    given = {name: array for name, array in arrays.items() if array is not None or name != "b"}
    space = common_space(function, given)
    return space.xp, space.traits


def inspect_apart(function: str, **arrays: Array) -> tuple[Namespace, Traits]:
    space = common_space(function, arrays, one_dtype=False)
    return space.xp, space.traits


def index_dtype(xp: Namespace, like: Array) -> DType:
    return space_of(like).index_dtype


def has_double(xp: Namespace, like: Array) -> bool:
    return space_of(like).has_double


def default_float(xp: Namespace, like: Array) -> DType:
    return space_of(like).default_float


def empty(xp: Namespace, shape: Sequence[int], dtype: DType, like: Array, layout: str) -> Array:
    return space_of(like).empty(shape, dtype, layout)


def zeros(xp: Namespace, shape: Sequence[int], dtype: DType, like: Array) -> Array:
    return space_of(like).zeros(shape, dtype)


def arange(xp: Namespace, stop: int, dtype: DType, like: Array) -> Array:
    return space_of(like).arange(stop, dtype)


def host_array(xp: Namespace, values: Any, dtype: DType, like: Array) -> Array:
    return space_of(like).array(values, dtype)


def constant_matrix(xp: Namespace, key: Any, values: Any, dtype: DType, like: Array) -> Array:
    return space_of(like).constant(key, values, dtype)


def constant(xp: Namespace, shape: Sequence[int], fill: Any, like: Array) -> Array:
    return space_of(like).full(shape, fill, like.dtype)


def add_to(xp: Namespace, target: Array, region: Any, block: Array) -> Array:
    return space_of(target).add_to(target, region, block)


def write(target: Array, region: Any, block: Array) -> None:
    target[region] = block


def with_dtype(xp: Namespace, traits: Traits, array: Array, dtype: DType) -> Array:
    return space_of(array).reread(array, dtype)


def signed(xp: Namespace, traits: Traits, dtype: DType, *arrays: Array | None) -> tuple[Any, ...]:
    from xpconv._arrays.dtypes import is_kind, itemsize

    if not is_kind(xp, dtype, "unsigned integer") or any(a is not None and a.dtype != dtype for a in arrays):
        return (dtype, *arrays)
    dtype = getattr(xp, f"int{8 * itemsize(xp, dtype)}")
    return (dtype, *(None if a is None else with_dtype(xp, traits, a, dtype) for a in arrays))
