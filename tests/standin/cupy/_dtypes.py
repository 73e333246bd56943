"""The dtypes that CuPy has, its rule for casts, and the numbers that memory shows before it is written."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from typing import Any

import numpy as np

CHARS = "?bhilqBHILQefdFD"


@functools.cache
def bfloat16() -> np.dtype[Any] | None:
    """ml_dtypes's, where it can be imported; CuPy has it then too."""
    if importlib.util.find_spec("ml_dtypes") is None:
        return None
    return np.dtype(importlib.import_module("ml_dtypes").bfloat16)


def is_supported(dtype: np.dtype[Any]) -> bool:
    return dtype == bfloat16() or (dtype.char in CHARS and dtype.isnative)


def supported(dtype: Any) -> np.dtype[Any]:
    """Read a dtype that an array may have."""
    found = np.dtype(dtype)
    if not is_supported(found):
        order = " with big-endian byte-order" if found.byteorder == ">" else ""
        raise ValueError(f"Unsupported dtype {found}{order}")
    return found


def from_char(char: str) -> np.dtype[Any] | None:
    """Read a letter of a ufunc's loop; "E" is bfloat16, None where that is missing."""
    return bfloat16() if char == "E" else np.dtype(char)


def demand_cast(source: Any, target: np.dtype[Any], casting: str, what: str = "array data") -> None:
    """Refuse a cast as CuPy does."""
    if source == target or (casting == "same_kind" and source.kind == target.kind):
        return
    if not np.can_cast(source, target, casting):  # type: ignore[arg-type]
        raise TypeError(f"Cannot cast {what} from {source!r} to {target!r} according to the rule '{casting}'")
    if casting == "unsafe" and source.kind == "c" and target.kind in "iuf":
        warnings.warn(
            "Casting complex values to real discards the imaginary part", np.exceptions.ComplexWarning, stacklevel=3
        )


# --- unwritten memory -----------------------------------------------------------------------------
# One NaN in all formats: a cast between them keeps the payload, and so does most arithmetic.
_NAN16 = np.array(0x7E5A, np.uint16).view(np.float16)


@functools.cache
def unwritten(dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The one number that memory of a dtype is full of before anything is written to it."""
    if dtype.kind == "b":
        return np.array(True)
    if dtype.kind in "iu":
        return np.frombuffer(b"\xa5" * dtype.itemsize, dtype)[0]
    if dtype.kind == "c":
        part = np.dtype(f"f{dtype.itemsize // 2}")
        return np.full(2, unwritten(part), part).view(dtype)[0]
    if dtype == bfloat16():
        return np.array(0x7FCA, np.uint16).view(dtype)[()]
    return _NAN16.astype(dtype)


def shows_unwritten(array: np.ndarray[Any, Any]) -> bool:
    """Say whether an array holds that number, where no other reason for it is likely."""
    if array.dtype.kind == "b" or (array.dtype.kind in "iu" and array.itemsize < 4):
        return False
    if array.dtype.kind == "c":
        return shows_unwritten(array.real) or shows_unwritten(array.imag)
    bits = np.dtype(f"u{array.itemsize}")
    return bool((np.ascontiguousarray(array).view(bits) == np.asarray(unwritten(array.dtype)).view(bits)).any())
