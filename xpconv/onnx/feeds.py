"""The inputs of a model: read from a file and held against what the model declares, or drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx

Array = Any


class FeedError(ValueError):
    """Inputs do not fit the model; the message is one line."""


class Wanted(NamedTuple):
    """What a model says of one of its inputs."""

    name: str
    dtype: np.dtype[Any] | None  # None of what is no tensor, or has no type
    shape: tuple[int | str, ...] | None  # a word where any size does

    @property
    def open(self) -> bool:
        """Say whether the model leaves a size to the caller."""
        return self.shape is not None and not all(isinstance(n, int) for n in self.shape)

    def __str__(self) -> str:
        shape = "any shape" if self.shape is None else "(" + ", ".join(map(str, self.shape)) + ")"
        return f"{self.name} {self.dtype or 'of any type'} {shape}"


def wanted(graph: onnx.GraphProto) -> list[Wanted]:
    """List the inputs that a caller gives: those without a value of their own."""
    own = {tensor.name for tensor in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    return [_read(value) for value in graph.input if value.name not in own]


def _read(value: onnx.ValueInfoProto) -> Wanted:
    if not value.type.HasField("tensor_type"):
        return Wanted(value.name, None, None)
    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) if kind.elem_type else None
    if not kind.HasField("shape"):
        return Wanted(value.name, dtype, None)
    shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in kind.shape.dim)
    return Wanted(value.name, dtype, shape)


def check(inputs: list[Wanted], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Give each input its array; FeedError where one is missing, too many, or of another type or shape."""
    listed = "; ".join(map(str, inputs)) or "none"
    missing = [one.name for one in inputs if one.name not in arrays]
    unknown = sorted(set(arrays) - {one.name for one in inputs})
    if missing or unknown:
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has also {', '.join(unknown)}"] * bool(unknown)
        raise FeedError(f"the input {' and '.join(parts)}; the model takes {listed}")
    given = {one.name: _typed(arrays[one.name], one.dtype) for one in inputs}
    for one in inputs:
        array = given[one.name]
        if one.dtype is not None and array.dtype != one.dtype:
            raise FeedError(f"the input {one.name} is {array.dtype}; the model takes {one}")
        if one.shape is not None and not _fits(array.shape, one.shape):
            raise FeedError(f"the input {one.name} has the shape {array.shape}; the model takes {one}")
    return given


def is_foreign(dtype: np.dtype[Any]) -> bool:
    """Say whether it is a type that NumPy's files cannot name: bfloat16, float8 and their like."""
    return dtype.isbuiltin == 2  # registered by another package


def storable(array: Array) -> Array:
    """Give an array as NumPy's files hold it: bytes for foreign types, words for objects, which would be pickled."""
    if is_foreign(array.dtype):
        return array.view(f"V{array.dtype.itemsize}")
    return array.astype(str) if array.dtype == object else array


def _typed(array: Array, dtype: np.dtype[Any] | None) -> Array:
    """Give an array the type that a model declares, where a file could not name it."""
    if dtype is None or array.dtype == dtype:
        return array
    if array.dtype.kind == "V" and is_foreign(dtype) and array.dtype.itemsize == dtype.itemsize:
        return array.view(dtype)
    return array.astype(dtype) if (array.dtype.kind, dtype.kind) == ("U", "O") else array  # words


def _fits(shape: tuple[int, ...], declared: tuple[int | str, ...]) -> bool:
    return len(shape) == len(declared) and all(
        isinstance(n, str) or n == m for m, n in zip(shape, declared, strict=True)
    )


def draw(inputs: list[Wanted]) -> dict[str, Array]:
    """Draw inputs, the same ones each time: from 0 to 1, whole numbers 0 or 1, and 1 where any size does."""
    rng = np.random.default_rng(0)
    drawn = {}
    for one in inputs:
        if one.dtype is None or one.shape is None or one.dtype.kind in "OUS":
            raise FeedError(f"the model takes {one}, which cannot be drawn; give it with --input FILE.npz")
        shape = tuple(n if isinstance(n, int) else 1 for n in one.shape)
        values = rng.random(math.prod(shape)).reshape(shape)
        drawn[one.name] = (values if one.dtype.kind in "fcV" else np.rint(values)).astype(one.dtype)
    return drawn
