"""Digests of exact results: what one machine's report says that another can re-derive."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from xpconv.verify.definition.windows import Array


def digest(results: Sequence[Array]) -> str:
    """Digest arrays: the same numbers give the same digest on every machine and in every library.

    SHA-256 over the dtype, the shape and the little-endian bytes of each, where -0 counts as 0, every NaN as one NaN,
    and integers as int64 where they fit (a library may count in int32); the first 64 bits of it.
    """
    state = hashlib.sha256()
    for result in results:
        array = np.asarray(result)
        if array.dtype.kind in "iu" and array.dtype != np.uint64:
            array = array.astype(np.int64)
        elif array.dtype.kind in "fc":
            array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array + array.dtype.type(0))
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        state.update(f"{array.dtype.name} {array.shape}\n".encode())
        state.update(little.tobytes())
    return state.hexdigest()[:16]
