"""How a library rounds: TF32, underflow, and numbers that no bound holds for."""

from __future__ import annotations

import os
from typing import Any

import array_api_compat as compat
import numpy as np

from xpconv._arrays.space import Array, Namespace


def tf32(array: Array) -> bool:
    """Say whether the array's library may round the float32 factors of matrix products to TF32."""
    if isinstance(array, np.ndarray):
        return False
    if compat.is_cupy_array(array):
        return os.environ.get("CUPY_TF32", "0") == "1"
    if compat.is_torch_array(array):
        return str(array.device).startswith("cuda") and _torch_allows()
    # on a GPU the default of JAX is TF32
    return bool(compat.is_jax_array(array)) and _jax_allows()


def _torch_allows() -> bool:
    import torch  # it is loaded: the array is its own

    return bool(torch.backends.cuda.matmul.allow_tf32)


def _jax_allows() -> bool:
    import jax  # it is loaded: the array is its own

    wanted: Any = jax.config.jax_default_matmul_precision
    return bool(jax.default_backend() == "gpu") and wanted not in ("highest", "float32")


def unbounded(xp: Namespace, bound: Array) -> Array:
    """Put infinity where a bound is NaN; in place where arrays can be written."""
    if isinstance(bound, np.ndarray):
        return np.fmin(bound, np.inf, out=bound)
    return xp.where(bound == bound, bound, xp.full_like(bound, float("inf")))
