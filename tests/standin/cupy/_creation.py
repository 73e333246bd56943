"""Arrays made anew: of nothing, of numbers, of the host's memory, of other arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _dtypes, _streams
from ._arrays import Host, contiguous, copy_elements, fresh, mark_unwritten, ndarray, read_shape, view_of, zeros
from ._kernels import run
from ._table import acts
from ._transfers import from_host
from ._ufuncs import Scalar, named


def demand_array(*arrays: Any) -> None:
    """Refuse what is no array of the device."""
    for one in arrays:
        if not isinstance(one, ndarray):
            raise TypeError(f"Unsupported type {type(one)}")


# --- from something else --------------------------------------------------------------------------


@acts("cupy.array")
def array(
    obj: Any,
    dtype: Any = None,
    copy: bool | None = True,
    order: str | None = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> ndarray:
    """Copy to the device, from whatever NumPy takes; arrays of the device stay where they are."""
    if subok:
        raise NotImplementedError
    order = order or "K"
    if isinstance(obj, ndarray):
        made = _of_array(obj, dtype, copy, order)
        return made if ndmin <= made.ndim else made.reshape((1,) * (ndmin - made.ndim) + made.shape)
    if isinstance(obj, list | tuple) and _all_of_device(obj):
        return _of_arrays(obj, dtype, order)
    return _of_host(obj, dtype, order, ndmin, blocking)


def _of_array(obj: ndarray, dtype: Any, copy: bool | None, order: str) -> ndarray:
    dtype = obj.dtype if dtype is None else dtype
    if obj.device != _streams._devices.Device():
        return obj.copy(order).astype(dtype, copy=False)
    made = obj.astype(dtype, order=order, copy=bool(copy))
    if copy is False and made is not obj:
        raise ValueError("Unable to avoid copy while creating an array as requested.")
    return made


def _all_of_device(obj: Any) -> bool:
    if isinstance(obj, list | tuple):
        return bool(obj) and all(map(_all_of_device, obj))
    return isinstance(obj, ndarray)


def _of_arrays(obj: Any, dtype: Any, order: str) -> ndarray:
    from ._shapes import concatenate

    def flat(one: Any) -> list[ndarray]:
        return (
            [one.reshape(1) if one.ndim == 0 else one]
            if isinstance(one, ndarray)
            else [a for b in one for a in flat(b)]
        )

    def shape(one: Any) -> tuple[int, ...]:
        return one.shape if isinstance(one, ndarray) else (len(one), *shape(one[0]))

    made = concatenate(flat(obj), 0).reshape(shape(obj))
    return made if dtype is None else made.astype(dtype, order="F" if order == "F" else "C", copy=False)


def _of_host(obj: Any, dtype: Any, order: str, ndmin: int, blocking: bool) -> ndarray:
    host = np.array(obj, dtype=dtype, copy=None, ndmin=ndmin)
    host = host.astype(host.dtype.newbyteorder("="), copy=False)
    kept = "F" if order == "F" or (order in "AK" and isinstance(obj, np.ndarray) and obj.flags.fnc) else "C"
    made = fresh(host.shape, _dtypes.supported(host.dtype), kept)
    if host.ndim == 0:
        made.fill(host)
        return made
    if made.size:
        from_host(made, host, "array")
    if blocking:
        _streams.current_stream().synchronize()
    return made


@acts("cupy.asarray", "cupy.asanyarray")
def asarray(
    a: Any, dtype: Any = None, order: str | None = None, *, copy: bool | None = None, blocking: bool = False
) -> ndarray:
    return array(a, dtype, copy, order, blocking=blocking)


@acts("cupy.ascontiguousarray")
def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    return _laid_out(a, dtype, "C")


@acts("cupy.asfortranarray")
def asfortranarray(a: Any, dtype: Any = None) -> ndarray:
    return _laid_out(a, dtype, "F")


def _laid_out(a: Any, dtype: Any, order: str) -> ndarray:
    if not isinstance(a, ndarray):
        return array(a, dtype, None, order, ndmin=1)
    made = contiguous(a, order) if dtype is None or np.dtype(dtype) == a.dtype else a.astype(dtype, order=order)
    return made.reshape(1) if made.ndim == 0 else made


@acts("cupy.copy")
def copy(a: ndarray, order: str = "K") -> ndarray:
    demand_array(a)
    return a.copy(order)


@acts("cupy.asnumpy")
def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Host | None = None, *, blocking: bool = True) -> Host:
    if isinstance(a, ndarray):
        return a.get(stream=stream, order=order, out=out, blocking=blocking)
    found = np.asarray(a, order=order)  # type: ignore[call-overload]
    if out is None:
        return found
    out[...] = found
    return out


@acts("cupy.astype")
def astype(x: ndarray, dtype: Any, /, *, copy: bool = True) -> ndarray:
    demand_array(x)
    return x.astype(dtype, copy=copy)


# --- of nothing -----------------------------------------------------------------------------------


@acts("cupy.empty")
def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, float if dtype is None else dtype, order=order)


acts("cupy.zeros")(zeros)


@acts("cupy.ones")
def ones(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return _filled(empty_unwritten(shape, dtype, order), 1)


@acts("cupy.full")
def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    if dtype is None:
        dtype = fill_value.dtype if isinstance(fill_value, ndarray) else np.array(fill_value).dtype
    return _filled(empty_unwritten(shape, dtype, order), fill_value)


def empty_unwritten(shape: Any, dtype: Any, order: str = "C") -> ndarray:
    return fresh(read_shape(shape), _dtypes.supported(float if dtype is None else dtype), order or "C")


def _filled(made: ndarray, value: Any) -> ndarray:
    copyto(made, value, "unsafe")
    return made


def _like(a: Any, dtype: Any, order: str, subok: Any, shape: Any) -> ndarray:
    demand_array(a)
    if subok is not None:
        raise TypeError("subok is not supported yet")
    dtype = _dtypes.supported(a.dtype if dtype is None else dtype)
    if shape is not None:
        return fresh(read_shape(shape), dtype, "C" if order in "KA" else order)
    from ._arrays import fresh_like

    return fresh_like(a._host, dtype, order)


@acts("cupy.empty_like")
def empty_like(
    prototype: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    made = _like(prototype, dtype, order, subok, shape)
    mark_unwritten(made._host)
    return made


@acts("cupy.zeros_like")
def zeros_like(a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    made = _like(a, dtype, order, subok, shape)
    run("memset", lambda: made._host.fill(0), [], [made])
    return made


@acts("cupy.ones_like")
def ones_like(a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    return _filled(_like(a, dtype, order, subok, shape), 1)


@acts("cupy.full_like")
def full_like(
    a: ndarray, fill_value: Any, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    return _filled(_like(a, dtype, order, subok, shape), fill_value)


@acts("cupy.copyto")
def copyto(dst: ndarray, src: Any, casting: str = "same_kind", where: ndarray | None = None) -> None:
    """Copy into an array; a number of the host is an argument of the kernel, an array of it is refused."""
    demand_array(dst)
    if isinstance(src, np.ndarray) and src.size != 1:
        raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
    number = None if isinstance(src, ndarray) else (src.reshape(())[()] if isinstance(src, np.ndarray) else src)
    if isinstance(src, ndarray):
        _dtypes.demand_cast(src.dtype, dst.dtype, casting)
    elif type(number) in (bool, int, float, complex):
        with np.errstate(all="ignore"):
            np.copyto(np.empty((), dst.dtype), number, casting=casting)  # type: ignore[arg-type]
    else:
        _dtypes.demand_cast(Scalar(number).dtype, dst.dtype, casting)

    def work() -> None:
        given = src._host if isinstance(src, ndarray) else number
        np.copyto(dst._host, given, casting="unsafe", where=True if where is None else where._host)

    run("copy", work, [one for one in (src, where) if isinstance(one, ndarray)], [dst])


# --- of numbers -----------------------------------------------------------------------------------


@acts("cupy.arange")
def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    for one in (start, stop, step):
        if isinstance(one, ndarray | np.ndarray):
            raise TypeError(f"Unsupported type {type(one)}")
    found = np.arange(start, dtype=dtype) if stop is None else np.arange(start, stop, step, dtype)
    made = fresh(found.shape, _dtypes.supported(found.dtype))
    run("arange", lambda: np.copyto(made._host, found), [], [made])
    return made


@acts("cupy.linspace")
def linspace(
    start: float,
    stop: float,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    found, step = np.linspace(start, stop, num, endpoint, True, dtype, axis)  # type: ignore[call-overload]
    made = fresh(found.shape, _dtypes.supported(found.dtype))
    run("linspace", lambda: np.copyto(made._host, found), [], [made])
    if endpoint and num > 1:
        run("fill", lambda: None, [], [made])  # the last number, exactly
    return (made, step) if retstep else made


@acts("cupy.eye")
def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = float, order: str = "C") -> ndarray:
    made = zeros((N, N if M is None else M), float if dtype is None else dtype, order)
    if -N < k < made.shape[1]:
        made.diagonal(k).fill(1)
    return made


@acts("cupy.identity")
def identity(n: int, dtype: Any = float) -> ndarray:
    return eye(n, dtype=dtype)


def _triangle(name: str, m: ndarray, k: int) -> ndarray:
    demand_array(m)
    made = fresh(m.shape, m.dtype)
    run(name, lambda: np.copyto(made._host, getattr(np, name)(m._host, k)), [m], [made])
    return made


@acts("cupy.tril")
def tril(m: ndarray, k: int = 0) -> ndarray:
    return _triangle("tril", m, k)


@acts("cupy.triu")
def triu(m: ndarray, k: int = 0) -> ndarray:
    return _triangle("triu", m, k)


@acts("cupy.indices")
def indices(dimensions: Sequence[int], dtype: Any = int) -> ndarray:
    made = empty_unwritten((len(dimensions), *dimensions), dtype)
    for axis, n in enumerate(dimensions):
        line = arange(n, dtype=dtype)
        line = line.reshape((-1,) + (1,) * (len(dimensions) - axis - 1))
        row = view_of(made, made._host[axis])
        copy_elements(view_of(line, np.broadcast_to(line._host, row.shape)), row)
    return made


@acts("cupy.meshgrid")
def meshgrid(*xi: Any, **kwargs: Any) -> list[ndarray]:
    indexing, sparse, copies = kwargs.pop("indexing", "xy"), kwargs.pop("sparse", False), kwargs.pop("copy", True)
    if kwargs:
        raise TypeError(f"Wrong arguments {kwargs}")
    demand_array(*xi)
    places = np.meshgrid(*(x._host.reshape(-1) for x in xi), indexing=indexing, sparse=sparse, copy=False)
    found = [view_of(x, place) for x, place in zip(xi, places, strict=True)]
    return [one.copy() for one in found] if copies else found


@acts("cupy.result_type")
def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    return np.result_type(*(one.dtype if isinstance(one, ndarray) else one for one in arrays_and_dtypes))


@acts("cupy.can_cast")
def can_cast(from_: Any, to: Any, casting: str = "safe") -> bool:
    return np.can_cast(from_.dtype if isinstance(from_, ndarray) else from_, to, casting)  # type: ignore[arg-type]


@acts("cupy.real")
def real(val: Any) -> Any:
    return val.real


@acts("cupy.imag")
def imag(val: Any) -> Any:
    return val.imag


@acts("cupy.angle")
def angle(z: ndarray, deg: bool = False) -> ndarray:
    found = named("arctan2")(z.imag, z.real)
    return found * (180 / math.pi) if deg else found


@acts("cupy.iscomplexobj")
def iscomplexobj(x: Any) -> bool:
    return bool(x.dtype.kind == "c")


@acts("cupy.size")
def size(a: ndarray, axis: int | None = None) -> int:
    demand_array(a)
    return int(a.size if axis is None else a.shape[axis])


@acts("cupy.ndim")
def ndim(a: Any) -> int:
    return int(a.ndim if isinstance(a, ndarray) else np.ndim(a))


@acts("cupy.shape")
def shape(a: Any) -> tuple[int, ...]:
    return a.shape if isinstance(a, ndarray) else np.shape(a)


@acts("cupy.isscalar")
def isscalar(element: Any) -> bool:
    return np.isscalar(element)


@acts("cupy.get_array_module")
def get_array_module(*args: Any) -> Any:
    import cupy

    return cupy if any(isinstance(one, ndarray) for one in args) else np


@acts("cupy.may_share_memory", "cupy.shares_memory")
def may_share_memory(a: ndarray, b: ndarray, max_work: Any = None) -> bool:
    demand_array(a, b)
    return np.may_share_memory(a._host, b._host)
