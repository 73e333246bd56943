"""Questions about dtypes: their names, kinds and sizes, what sums are taken in, how fine a float is."""

from __future__ import annotations

import math
import sys
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.types import Array, DType, Namespace


@lru_cache(maxsize=256)
def _numpy_name(dtype: np.dtype[Any]) -> str:
    return str(dtype.name)  # which NumPy puts together anew each time


def dtype_name(dtype: DType) -> str:
    """Give a dtype's name as the standard has it, whatever the library prints."""
    if isinstance(dtype, np.dtype):
        return _numpy_name(dtype)
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None)
    return str(name or dtype).rpartition(".")[2]


def is_bfloat16(dtype: DType) -> bool:
    """Say whether this is ml_dtypes's bfloat16, which NumPy's own questions about dtypes do not know."""
    return isinstance(dtype, np.dtype) and dtype.itemsize == 2 and dtype_name(dtype) == "bfloat16"


@lru_cache(maxsize=256)
def is_numeric(xp: Namespace, dtype: DType) -> bool:
    """Say whether arrays of a dtype are served: numbers of up to 64 bits or complex ones of such, in any byte order."""
    if isinstance(dtype, np.dtype) and dtype.char in "gG":
        return False  # long doubles, which the faster paths do not take
    if dtype_name(dtype).startswith(("float4_", "float6_", "float8_")):
        return False  # they count as floating, but have next to no arithmetic
    try:
        return is_kind(xp, dtype, "numeric")
    except (TypeError, ValueError):
        return False


def native(dtype: DType) -> DType:
    """Give a dtype in the machine's byte order."""
    return dtype if not isinstance(dtype, np.dtype) or dtype.isnative else dtype.newbyteorder("=")


@lru_cache(maxsize=256)
def is_kind(xp: Namespace, dtype: DType, kind: str) -> bool:
    """Ask the namespace whether a dtype is of a kind of the standard ("integral", "complex floating", …)."""
    if is_bfloat16(dtype):
        return kind in ("real floating", "numeric")
    return bool(xp.isdtype(dtype, kind))


@lru_cache(maxsize=256)
def itemsize(xp: Namespace, dtype: DType) -> int:
    """Count the bytes of one element."""
    if is_bfloat16(dtype):
        return 2
    if is_kind(xp, dtype, "integral"):
        return int(xp.iinfo(dtype).bits) // 8
    size = int(xp.finfo(dtype).bits) // 8
    return 2 * size if is_kind(xp, dtype, "complex floating") else size


@lru_cache(maxsize=256)
def accumulator(xp: Namespace, dtype: DType) -> DType:
    """Choose the dtype that sums are taken in: float32 for the 16-bit floating types, otherwise the dtype itself."""
    return xp.float32 if not is_kind(xp, dtype, "integral") and itemsize(xp, dtype) == 2 else dtype


def result_dtype(function: str, xp: Namespace, dtype: DType, wanted: DType | str | None) -> DType:
    """Read the dtype= keyword: a wider dtype of the same kind, or the arrays' own."""
    if wanted is None:
        return dtype
    wanted = read_dtype(function, xp, wanted)
    kinds = ("integral", "real floating", "complex floating")
    try:
        wide = xp.result_type(dtype, wanted) == wanted
    except (TypeError, ValueError):
        wide = False
    if not wide or any(is_kind(xp, dtype, kind) != is_kind(xp, wanted, kind) for kind in kinds):
        raise TypeError(
            f"{function}: dtype is of the arrays' kind and at least as wide; got "
            f"dtype={dtype_name(wanted)} for arrays of {dtype_name(dtype)}"
        )
    return wanted


def read_dtype(function: str, xp: Namespace, wanted: DType | str) -> DType:
    """Turn a dtype or its name into the namespace's dtype."""
    name = wanted if isinstance(wanted, str) else None
    found = getattr(xp, name, None) if name else wanted
    if name == "bfloat16" and found is None and "ml_dtypes" in sys.modules:
        found = np.dtype(name)
    if isinstance(found, type) and issubclass(found, np.generic) and np.dtype(found).kind != "O":
        found = np.dtype(found)
    if found is None or not is_numeric(xp, found):
        raise TypeError(f"{function}: dtype is a numeric dtype of the arrays' library, or a name; got dtype={wanted!r}")
    return native(found)


def check_numeric(function: str, xp: Namespace, name: str, dtype: DType) -> None:
    """Refuse an array whose dtype is not served."""
    if not is_numeric(xp, dtype):
        raise TypeError(
            f"{function}: {name} has a numeric dtype (integer, floating up to 64 bits, or complex of such); "
            f"got {name}.dtype={dtype_name(dtype)}; convert it with astype"
        )


def cast(xp: Namespace, array: Array, dtype: DType) -> Array:
    """Convert an array's dtype, without a copy where it has it already."""
    return array if array.dtype == dtype else xp.astype(array, dtype)


def least(xp: Namespace, dtype: DType) -> Any:
    """Say what max pooling pads with: minus infinity, or an integer dtype's least value."""
    return int(xp.iinfo(dtype).min) if is_kind(xp, dtype, "integral") else -math.inf


def limits(xp: Namespace, dtype: DType) -> tuple[float, float]:
    """Give (eps, smallest normal number) of a floating dtype."""
    if is_bfloat16(dtype):
        return 2.0**-7, 2.0**-126
    found = xp.finfo(dtype)
    return float(found.eps), float(found.smallest_normal)


def largest(xp: Namespace, dtype: DType) -> float:
    """Give the largest finite number of a floating dtype."""
    return (2 - 2.0**-7) * 2.0**127 if is_bfloat16(dtype) else float(xp.finfo(dtype).max)


def real_dtype(xp: Namespace, dtype: DType) -> DType:
    """Give the dtype of a complex number's parts, or a real dtype itself."""
    if not is_kind(xp, dtype, "complex floating"):
        return dtype
    return xp.float32 if dtype == xp.complex64 else xp.float64


def promote(function: str, xp: Namespace, **arrays: Array) -> tuple[Array, ...]:
    """Convert arrays to their common dtype; TypeError where the library knows none."""
    dtypes = [array.dtype for array in arrays.values()]
    if any(dtype != dtypes[0] for dtype in dtypes):
        try:
            common = xp.result_type(*dtypes)
        except TypeError as error:
            got = ", ".join(f"{name}.dtype={dtype_name(array.dtype)}" for name, array in arrays.items())
            raise TypeError(f"{function}: the dtypes have no common one; got {got}") from error
        return tuple(cast(xp, array, common) for array in arrays.values())
    return tuple(arrays.values())
