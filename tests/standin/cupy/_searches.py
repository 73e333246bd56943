"""Choosing, sorting and comparing."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _dtypes, _indices, _reductions
from ._arrays import fresh, ndarray, view_of
from ._creation import arange, array, asarray, demand_array
from ._kernels import run
from ._table import TABLE, acts
from ._ufuncs import _number, operand, ufunc

WHERE, CLIP = (ufunc(name, **TABLE["hidden"][name]) for name in ("where", "clip"))


def _by_loop(of: ufunc, function: Any, *given: Any, out: ndarray | None = None) -> ndarray:
    """Launch one kernel with CuPy's loop for the operands."""
    operands = [operand(one) for one in given]
    loop = of.loop(operands, None)
    shape = np.broadcast_shapes(*(one.shape for one in operands))
    made = fresh(shape, loop.outputs[0]) if out is None else out
    _dtypes.demand_cast(loop.outputs[0], made.dtype, "same_kind", "output operand")
    inputs = [
        (one, wanted) if isinstance(one, ndarray) else (_number(one.value, wanted), wanted)
        for one, wanted in zip(operands, loop.inputs, strict=True)
    ]

    def work() -> None:
        hosts = [one._host.astype(wanted, copy=False) if isinstance(one, ndarray) else one for one, wanted in inputs]
        np.copyto(made._host, function(*hosts), casting="unsafe")

    run(of.name, work, [one for one, _ in inputs if isinstance(one, ndarray)], [made])
    return made


@acts("cupy.where")
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """Choose element by element; with one argument, count on the host and wait."""
    if (x is None) != (y is None):
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    if x is None:
        return _indices.nonzero(condition)
    if isinstance(condition, ndarray) and condition.dtype != bool:
        condition = condition != 0
    return _by_loop(WHERE, np.where, condition, x, y)


@acts("cupy.clip")
def clip(a: ndarray, a_min: Any, a_max: Any, out: ndarray | None = None) -> ndarray:
    """One kernel, unlike array-api-compat's."""
    demand_array(a)
    low = -np.inf if a_min is None and a.dtype.kind == "f" else a_min
    high = np.inf if a_max is None and a.dtype.kind == "f" else a_max
    if a.dtype.kind in "iu":
        low = np.iinfo(a.dtype).min if low is None else low
        high = np.iinfo(a.dtype).max if high is None else high
    return _by_loop(CLIP, lambda x, least, most: np.minimum(np.maximum(x, least), most), a, low, high, out=out)


# --- indices --------------------------------------------------------------------------------------


@acts("cupy.argwhere")
def argwhere(a: ndarray) -> ndarray:
    from ._shapes import stack

    return stack(list(_indices.nonzero(a)), -1)


@acts("cupy.flatnonzero")
def flatnonzero(a: ndarray) -> ndarray:
    demand_array(a)
    return _indices.nonzero(a.ravel())[0]


@acts("cupy.take_along_axis")
def take_along_axis(a: ndarray, indices: ndarray, axis: int | None) -> ndarray:
    demand_array(a, indices)
    if indices.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    source = a.ravel() if axis is None else a
    along = 0 if axis is None else range(a.ndim)[axis]
    if source.ndim != indices.ndim:
        raise ValueError("`indices` and `a` must have the same number of dimensions")
    places = [
        indices if k == along else arange(n).reshape((1,) * k + (-1,) + (1,) * (source.ndim - k - 1))
        for k, n in enumerate(source.shape)
    ]
    return source[tuple(places)]


@acts("cupy.put")
def put(a: ndarray, ind: Any, v: Any, mode: str = "wrap") -> None:
    demand_array(a)
    values = v if isinstance(v, ndarray) else array(v, dtype=a.dtype)
    indices = ind if isinstance(ind, ndarray) else array(ind)
    if mode == "raise":
        bool(_reductions.any_(indices >= a.size))
    _indices.put(a.reshape(-1), indices.ravel(), values, "update")


@acts("cupy.searchsorted")
def searchsorted(a: ndarray, v: Any, side: str = "left", sorter: ndarray | None = None) -> ndarray:
    if not isinstance(a, ndarray):
        raise NotImplementedError("Only int or ndarray are supported for a")
    if not isinstance(v, ndarray):
        if not isinstance(v, int | float | complex):
            raise NotImplementedError("Only python scalars or ndarrays are supported for v")
        v = asarray(v)
    source = a if sorter is None else _indices.take(a, sorter)
    made = fresh(v.shape, np.dtype(np.int64))
    run("memset", lambda: None, [], [made])
    run(
        "searchsorted",
        lambda: np.copyto(made._host, np.searchsorted(source._host, v._host, side)),  # type: ignore[call-overload]
        [source, v],
        [made],
    )
    return made


# --- order ----------------------------------------------------------------------------------------


def _demand_kind(kind: Any) -> None:
    if kind not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")


def _sort_in_place(a: ndarray, axis: int = -1, kind: Any = None) -> None:
    _demand_kind(kind)
    if a.ndim == 0:
        raise np.exceptions.AxisError("Sorting arrays with the rank of zero is not supported")
    if not a._host.flags.c_contiguous:
        raise NotImplementedError("Sorting non-contiguous array is not supported.")
    if a.shape[axis] > 1:
        run("thrust sort", lambda: a._host.sort(axis, kind="stable"), [a], [a])


@acts("cupy.sort")
def sort(a: ndarray, axis: Any = -1, kind: Any = None) -> ndarray:
    demand_array(a)
    made = a.ravel().copy() if axis is None else a.copy()
    _sort_in_place(made, -1 if axis is None else axis, kind)
    return made


@acts("cupy.argsort")
def argsort(a: ndarray, axis: Any = -1, kind: Any = None) -> ndarray:
    demand_array(a)
    _demand_kind(kind)
    source = (a.ravel() if axis is None else a).copy()
    along = -1 if axis is None else axis
    made = fresh(source.shape, np.dtype(np.intp))
    run("thrust argsort", lambda: np.copyto(made._host, source._host.argsort(along, kind="stable")), [source], [made])
    return made


@acts("cupy.unique")
def unique(
    ar: ndarray,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    *,
    equal_nan: bool = True,
) -> Any:
    """Sort, and pick with a mask, which is counted on the host."""
    demand_array(ar)
    flat = sort(ar, None)
    mask = fresh(flat.shape, np.dtype(bool))
    run("unique", lambda: mask._host.fill(True), [flat], [mask])
    if flat.size:
        _ = flat[mask]
    found = np.unique(ar._host, return_index, return_inverse, return_counts, axis, equal_nan=equal_nan)
    parts = [_made(part) for part in (found if isinstance(found, tuple) else (found,))]
    return parts[0] if len(parts) == 1 else tuple(parts)


def _made(host: np.ndarray[Any, Any]) -> ndarray:
    made = fresh(host.shape, host.dtype)
    run("unique", lambda: np.copyto(made._host, host), [], [made])
    return made


@acts("cupy.bincount")
def bincount(x: ndarray, weights: ndarray | None = None, minlength: Any = None) -> ndarray:
    """Look for the largest number on the host, which waits twice, and count."""
    demand_array(x)
    bool(_reductions.any_(x < 0))
    size = int(_reductions.max_(x)) + 1 if x.size else 0
    size = max(size, minlength or 0)
    made = fresh(size, np.dtype(np.intp if weights is None else float))

    def work() -> None:
        made._host[...] = np.bincount(x._host, None if weights is None else weights._host, size)

    run("bincount", work, [one for one in (x, weights) if one is not None], [made])
    return made


# --- comparisons ----------------------------------------------------------------------------------


@acts("cupy.isclose")
def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> ndarray:
    first, second = asarray(a), asarray(b)
    made = fresh(np.broadcast_shapes(first.shape, second.shape), np.dtype(bool))

    def work() -> None:
        np.copyto(made._host, np.isclose(first._host, second._host, rtol, atol, equal_nan))

    run("isclose", work, [first, second], [made])
    return made


@acts("cupy.allclose")
def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> ndarray:
    return _reductions.all_(isclose(a, b, rtol, atol, equal_nan))


@acts("cupy.array_equal")
def array_equal(a1: ndarray, a2: ndarray, equal_nan: bool = False) -> Any:
    demand_array(a1, a2)
    if a1.shape != a2.shape:
        return array(False)
    same = a1 == a2
    if equal_nan and a1.dtype.kind in "fc":
        same = same | ((a1 != a1) & (a2 != a2))
    return _reductions.all_(same)


@acts("cupy.isin")
def isin(element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False) -> ndarray:
    demand_array(element, test_elements)
    made = fresh(element.shape, np.dtype(bool))

    def work() -> None:
        np.copyto(made._host, np.isin(element._host, test_elements._host, invert=invert))

    run("isin", work, [element, test_elements], [made])
    return made


@acts("cupy.nan_to_num")
def nan_to_num(x: ndarray, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> ndarray:
    demand_array(x)
    made = fresh(x.shape, x.dtype) if copy else view_of(x, x._host)
    run("nan_to_num", lambda: np.copyto(made._host, np.nan_to_num(x._host, True, nan, posinf, neginf)), [x], [made])
    return made


def _attach() -> None:
    more: Any = ndarray
    more.clip = lambda self, min=None, max=None, out=None: clip(self, min, max, out)
    more.sort = lambda self, axis=-1, kind=None: _sort_in_place(self, axis, kind)
    more.argsort = lambda self, axis=-1, kind=None: argsort(self, axis, kind)
    more.searchsorted = lambda self, v, side="left", sorter=None: searchsorted(self, v, side, sorter)
    more.nonzero = lambda self: _indices.nonzero(self)
    more.take = lambda self, indices, axis=None, out=None: _indices.take(self, indices, axis, out)
    more.put = lambda self, indices, values, mode="wrap": put(self, indices, values, mode)
    more.repeat = lambda self, repeats, axis=None: _repeat(self, repeats, axis)


def _repeat(a: ndarray, repeats: Any, axis: int | None) -> ndarray:
    from ._shapes import repeat

    return repeat(a, repeats, axis)


_attach()
