"""Questions about dtypes: common ones, is float64 there, which integers are the same bits, how fine a float is."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._arrays.space import (
    Array,
    DType,
    Namespace,
    Traits,
    _device,
    cast,
    dtype_name,
    is_bfloat16,
    is_kind,
    itemsize,
)


def has_double(xp: Namespace, like: Array) -> bool:
    """Say whether float64 exists on the device of `like` (JAX has it switched off, some devices lack it)."""
    return isinstance(like, np.ndarray) or _has_double(xp, _device(like))


def _has_double(xp: Namespace, device: Any) -> bool:
    return "float64" in xp.__array_namespace_info__().dtypes(device=device, kind="real floating")


def signed(xp: Namespace, traits: Traits, dtype: DType, *arrays: Array | None) -> tuple[Any, ...]:
    """Give (dtype, *arrays), unsigned integers as the signed ones of the same bits if they are summed in `dtype` too.

    Sums and products modulo 2^bits are the same bits for both, bounds are tighter for signed numbers, and PyTorch has
    no arithmetic for wide unsigned ones. `with_dtype` undoes it.
    """
    if not is_kind(xp, dtype, "unsigned integer") or any(a is not None and a.dtype != dtype for a in arrays):
        return (dtype, *arrays)
    dtype = getattr(xp, f"int{8 * itemsize(xp, dtype)}")
    return (dtype, *(None if a is None else with_dtype(xp, traits, a, dtype) for a in arrays))


def with_dtype(xp: Namespace, traits: Traits, array: Array, dtype: DType) -> Array:
    """Read integers as those of another dtype with as many bits, or sums as they are."""
    if array.dtype == dtype:
        return array
    return array.view(dtype) if traits.mutable else cast(xp, array, dtype)


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


def default_float(xp: Namespace, like: Array) -> DType:
    """Give the floating dtype that the library makes of integers when it divides them."""
    if isinstance(like, np.ndarray):
        return xp.float64
    return xp.__array_namespace_info__().default_dtypes(device=_device(like))["real floating"]
