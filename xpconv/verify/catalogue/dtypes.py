"""What the verifier knows of dtypes, by name: NumPy, which draws the data, has no bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv.verify.definition.windows import Array

FLOATS = ("float32", "float64", "float16")  # in all cases; the others in the core cases
MORE_FLOATS = ("bfloat16",)
COMPLEX = ("complex64", "complex128")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = (*FLOATS, *MORE_FLOATS, *COMPLEX, *INTEGERS)

DIGITS = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}  # of the significand
STORED = {"float16": (2.0**-11, 2.0**-25), "bfloat16": (2.0**-8, 2.0**-134)}  # errors of what is summed in float32


def kind(dtype: str) -> str:
    """Tell "float", "complex" or "integer"."""
    return "complex" if dtype in COMPLEX else "integer" if dtype in INTEGERS else "float"


def part(dtype: str) -> str:
    """Name the dtype of the real and the imaginary part."""
    return {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)


def host(dtype: str) -> str:
    """Name the dtype in which NumPy holds these numbers."""
    return "float32" if dtype == "bfloat16" else dtype


def wrap(numbers: Array, dtype: str) -> Array:
    """Take whole numbers modulo 2^bits; what is below all of them is the least."""
    limits = np.iinfo(dtype)
    span = int(limits.max) - int(limits.min) + 1

    def one(number: Any) -> int:
        low = int(limits.min)
        return low if number == -np.inf else (int(number) - low) % span + low

    flat = [one(number) for number in np.asarray(numbers).ravel().tolist()]
    return np.array(flat, dtype).reshape(np.shape(numbers))


def nearest(values: Array, dtype: str) -> Array:
    """Round whole numbers below 2**24, or what the dtype holds already, to a dtype as NumPy holds it."""
    if dtype != "bfloat16":
        return np.asarray(values).astype(dtype)
    wide = np.asarray(values).astype(np.float32)
    bits = np.ascontiguousarray(wide).view(np.uint32).astype(np.uint64)
    even = (bits + np.uint64(0x7FFF) + ((bits >> np.uint64(16)) & np.uint64(1))) & np.uint64(0xFFFF0000)
    return np.where(np.isfinite(wide), even.astype(np.uint32).view(np.float32).reshape(wide.shape), wide)
