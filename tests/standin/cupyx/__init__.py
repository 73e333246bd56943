"""A stand-in for cupyx beside that for cupy: scattered additions, pinned memory, rsqrt."""

from typing import Any

import cupy
import numpy as np
from cupy import _table, _ufuncs
from cupy._table import acts


def _scatter(op: str) -> Any:
    def scatter(a: Any, slices: Any, value: Any) -> None:
        a._scatter_op(slices, value, op)

    return scatter


for _op in ("add", "max", "min"):
    acts(f"cupyx.scatter_{_op}")(_scatter(_op))


@acts("cupyx.empty_pinned")
def _empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray[Any, Any]:
    return np.empty(shape, dtype, order)  # type: ignore[call-overload]


@acts("cupyx.zeros_pinned")
def _zeros_pinned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype, order)  # type: ignore[call-overload]


class _Rsqrt(_ufuncs.ufunc):
    def __init__(self, name: str, nin: int, nout: int, types: str) -> None:
        super().__init__(name, nin, nout, types)
        self._numpy = lambda x, out, casting: np.copyto(out[0], 1 / np.sqrt(x), casting=casting)


globals().update(_table.public("cupyx", globals(), _Rsqrt))
_ = cupy
