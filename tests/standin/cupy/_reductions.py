"""Sums, extremes and what else makes one number of many: one kernel each, whatever CUB may split it into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import _dtypes
from ._arrays import fresh, ndarray
from ._creation import demand_array
from ._kernels import run
from ._table import acts
from ._ufuncs import named

WIDE = {"e": np.dtype(np.float32)}  # what CuPy sums float16 in


def _reduce(
    name: str,
    function: Callable[..., Any],
    a: Any,
    axis: Any,
    dtype: Any,
    out: ndarray | None,
    keepdims: bool,
    **more: Any,
) -> ndarray:
    demand_array(a)
    if dtype is not None:
        more["dtype"] = np.dtype(dtype)
    axes = range(a.ndim) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, a.ndim)
    shape = [1 if k in axes else n for k, n in enumerate(a.shape) if keepdims or k not in axes]
    found_dtype = np.asarray(function(np.ones((2,) * a.ndim, a.dtype), axis=axis, **more)).dtype
    like = np.broadcast_to(np.empty((), found_dtype), shape)  # what shape and dtype it will be
    made = fresh(like.shape, _dtypes.supported(like.dtype)) if out is None else _demand_out(out, like)

    def work() -> None:
        wide = WIDE.get(like.dtype.char) if name in ("sum", "prod", "mean", "var", "std") else None
        found = function(a._host, axis=axis, keepdims=keepdims, **(more if wide is None else {**more, "dtype": wide}))
        np.copyto(made._host, found, casting="unsafe")

    run(f"cupy_{name}", work, [a], [made])
    return made


def _demand_out(out: Any, like: np.ndarray[Any, Any]) -> ndarray:
    demand_array(out)
    if out.shape != like.shape:
        raise ValueError("Out shape is mismatched")
    _dtypes.demand_cast(like.dtype, out.dtype, "same_kind", "output operand")
    return out


@acts("cupy.sum")
def sum_(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return _reduce("sum", np.sum, a, axis, dtype, out, keepdims)


@acts("cupy.prod")
def prod(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return _reduce("prod", np.prod, a, axis, dtype, out, keepdims)


@acts("cupy.max", "cupy.amax")
def max_(a: ndarray, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return _reduce("max", np.max, a, axis, None, out, keepdims)


@acts("cupy.min", "cupy.amin")
def min_(a: ndarray, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return _reduce("min", np.min, a, axis, None, out, keepdims)


@acts("cupy.all")
def all_(a: ndarray, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return _reduce("all", np.all, a, axis, None, out, keepdims)


@acts("cupy.any")
def any_(a: ndarray, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return _reduce("any", np.any, a, axis, None, out, keepdims)


def _place(name: str, a: Any, axis: Any, dtype: Any, out: Any, keepdims: bool) -> ndarray:
    found = _reduce(name, getattr(np, name), a, axis, None, out, keepdims)
    return found if dtype is None else found.astype(dtype, copy=False)


@acts("cupy.argmax")
def argmax(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return _place("argmax", a, axis, dtype, out, keepdims)


@acts("cupy.argmin")
def argmin(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    return _place("argmin", a, axis, dtype, out, keepdims)


@acts("cupy.count_nonzero")
def count_nonzero(a: ndarray, axis: Any = None) -> ndarray:
    return _reduce("count_nonzero", np.count_nonzero, a, axis, None, None, False)


@acts("cupy.mean")
def mean(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    """Sum, then divide."""
    made = _reduce("mean", np.mean, a, axis, dtype, out, keepdims)
    run("cupy_true_divide", lambda: None, [made], [made])
    return made


@acts("cupy.var")
def var(
    a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False
) -> ndarray:
    return _spread("var", a, axis, dtype, out, ddof, keepdims)


@acts("cupy.std")
def std(
    a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False
) -> ndarray:
    return _spread("std", a, axis, dtype, out, ddof, keepdims)


def _spread(name: str, a: Any, axis: Any, dtype: Any, out: Any, ddof: float, keepdims: bool) -> ndarray:
    demand_array(a)
    mean(a, axis, dtype, None, True)
    return _reduce(name, getattr(np, name), a, axis, dtype, out, keepdims, ddof=ddof)


@acts("cupy.ptp")
def ptp(a: ndarray, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    high = max_(a, axis, out, keepdims)
    high -= min_(a, axis, None, keepdims)
    return high


@acts("cupy.trace")
def trace(a: ndarray, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> ndarray:
    demand_array(a)
    return sum_(a.diagonal(offset, axis1, axis2), -1, dtype, out)


# --- along an axis --------------------------------------------------------------------------------


def _accumulate(name: str, a: Any, axis: Any, dtype: Any, out: Any) -> ndarray:
    demand_array(a)
    like = getattr(np, name)(np.empty(a.shape, a.dtype), axis=axis, dtype=dtype)
    start = a.astype(like.dtype, order="C")
    made = fresh(like.shape, like.dtype) if out is None else _demand_out(out, like)
    run(f"cupy_{name}", lambda: np.copyto(made._host, getattr(np, name)(start._host, axis=axis)), [start], [made])
    return made


@acts("cupy.cumsum")
def cumsum(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None) -> ndarray:
    return _accumulate("cumsum", a, axis, dtype, out)


@acts("cupy.cumprod")
def cumprod(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None) -> ndarray:
    return _accumulate("cumprod", a, axis, dtype, out)


@acts("cupy.diff")
def diff(a: ndarray, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> ndarray:
    demand_array(a)
    axis = range(a.ndim)[axis]
    for _ in range(n):
        before, after = (slice(None),) * axis + (slice(None, -1),), (slice(None),) * axis + (slice(1, None),)
        a = named("not_equal" if a.dtype.kind == "b" else "subtract")(a[after], a[before])
    return a


def _attach() -> None:
    more: Any = ndarray
    more.sum = lambda self, axis=None, dtype=None, out=None, keepdims=False: sum_(self, axis, dtype, out, keepdims)
    more.prod = lambda self, axis=None, dtype=None, out=None, keepdims=None: prod(
        self, axis, dtype, out, bool(keepdims)
    )
    more.mean = lambda self, axis=None, dtype=None, out=None, keepdims=False: mean(self, axis, dtype, out, keepdims)
    more.max = lambda self, axis=None, out=None, keepdims=False: max_(self, axis, out, keepdims)
    more.min = lambda self, axis=None, out=None, keepdims=False: min_(self, axis, out, keepdims)
    more.all = lambda self, axis=None, out=None, keepdims=False: all_(self, axis, out, keepdims)
    more.any = lambda self, axis=None, out=None, keepdims=False: any_(self, axis, out, keepdims)
    more.ptp = lambda self, axis=None, out=None, keepdims=False: ptp(self, axis, out, keepdims)
    more.argmax = lambda self, axis=None, out=None, dtype=None, keepdims=False: argmax(self, axis, dtype, out, keepdims)
    more.argmin = lambda self, axis=None, out=None, dtype=None, keepdims=False: argmin(self, axis, dtype, out, keepdims)
    more.var = lambda self, axis=None, dtype=None, out=None, ddof=0, keepdims=False: var(
        self, axis, dtype, out, ddof, keepdims
    )
    more.std = lambda self, axis=None, dtype=None, out=None, ddof=0, keepdims=False: std(
        self, axis, dtype, out, ddof, keepdims
    )
    more.cumsum = lambda self, axis=None, dtype=None, out=None: cumsum(self, axis, dtype, out)
    more.cumprod = lambda self, axis=None, dtype=None, out=None: cumprod(self, axis, dtype, out)
    more.trace = lambda self, offset=0, axis1=0, axis2=1, dtype=None, out=None: trace(
        self, offset, axis1, axis2, dtype, out
    )


_attach()
