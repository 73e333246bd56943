"""Views in other shapes, and arrays joined or repeated."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _devices, _dtypes, _watch
from ._arrays import Host, copy_elements, fresh, ndarray, view_of
from ._creation import array, demand_array, empty_like
from ._kernels import run
from ._table import acts

FEW, SMALL = (
    8,
    2 << 20,
)  # more arrays of fewer bytes than that are joined by one kernel, which reads a table of pointers


@acts("cupy.reshape")
def reshape(a: ndarray, newshape: Any, order: str = "C", *, copy: bool | None = None) -> ndarray:
    demand_array(a)
    return a.reshape(newshape, order=order, copy=copy)


@acts("cupy.ravel")
def ravel(a: ndarray, order: str = "C") -> ndarray:
    demand_array(a)
    return a.ravel(order)


@acts("cupy.transpose", "cupy.permute_dims")
def transpose(a: ndarray, axes: Any = None) -> ndarray:
    demand_array(a)
    return view_of(a, a._host.transpose(axes))


@acts("cupy.matrix_transpose")
def matrix_transpose(x: ndarray, /) -> ndarray:
    demand_array(x)
    return x.mT


@acts("cupy.moveaxis")
def moveaxis(a: ndarray, source: Any, destination: Any) -> ndarray:
    demand_array(a)
    return view_of(a, np.moveaxis(a._host, source, destination))


@acts("cupy.rollaxis")
def rollaxis(a: ndarray, axis: int, start: int = 0) -> ndarray:
    demand_array(a)
    return view_of(a, np.rollaxis(a._host, axis, start))


@acts("cupy.swapaxes")
def swapaxes(a: ndarray, axis1: int, axis2: int) -> ndarray:
    demand_array(a)
    return a.swapaxes(axis1, axis2)


@acts("cupy.squeeze")
def squeeze(a: ndarray, axis: Any = None) -> ndarray:
    demand_array(a)
    return a.squeeze(axis)


@acts("cupy.expand_dims")
def expand_dims(a: ndarray, axis: Any) -> ndarray:
    demand_array(a)
    return view_of(a, np.expand_dims(a._host, axis))


@acts("cupy.broadcast_to")
def broadcast_to(array: ndarray, shape: Any) -> ndarray:
    """A view in which elements stand several times; unlike NumPy's it can be written to."""
    demand_array(array)
    found = np.broadcast_to(array._host, shape)
    return view_of(array, np.lib.stride_tricks.as_strided(array._host, found.shape, found.strides))


@acts("cupy.broadcast_arrays")
def broadcast_arrays(*args: ndarray) -> list[ndarray]:
    demand_array(*args)
    shape = np.broadcast_shapes(*(one.shape for one in args))
    return [broadcast_to(one, shape) for one in args]


@acts("cupy.flip")
def flip(a: ndarray, axis: Any = None) -> ndarray:
    demand_array(a)
    return view_of(a, np.flip(a._host, axis))


@acts("cupy.fliplr")
def fliplr(a: ndarray) -> ndarray:
    return flip(a, 1)


@acts("cupy.flipud")
def flipud(a: ndarray) -> ndarray:
    return flip(a, 0)


@acts("cupy.diagonal")
def diagonal(a: ndarray, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ndarray:
    demand_array(a)
    return a.diagonal(offset, axis1, axis2)


@acts("cupy.atleast_1d")
def atleast_1d(*arys: ndarray) -> Any:
    demand_array(*arys)
    made = [one.reshape(1) if one.ndim == 0 else one for one in arys]
    return made[0] if len(made) == 1 else made


@acts("cupy.atleast_2d")
def atleast_2d(*arys: ndarray) -> Any:
    demand_array(*arys)
    made = [view_of(one, np.atleast_2d(one._host)) for one in arys]
    return made[0] if len(made) == 1 else made


@acts("cupy.array_split")
def array_split(ary: ndarray, indices_or_sections: Any, axis: int = 0) -> list[ndarray]:
    demand_array(ary)
    return [view_of(ary, part) for part in np.array_split(ary._host, indices_or_sections, axis)]


@acts("cupy.split")
def split(ary: ndarray, indices_or_sections: Any, axis: int = 0) -> list[ndarray]:
    demand_array(ary)
    return [view_of(ary, part) for part in np.split(ary._host, indices_or_sections, axis)]


# --- windows --------------------------------------------------------------------------------------


@acts("cupy.lib.stride_tricks.as_strided")
def as_strided(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    """A view with any strides: CuPy checks nothing, the stand-in that it stays in its memory."""
    demand_array(x)
    shape = x.shape if shape is None else tuple(shape)
    steps = x.strides if strides is None else tuple(strides)
    return ndarray(shape, x.dtype, x.data, steps)


@acts("cupy.lib.stride_tricks.sliding_window_view")
def sliding_window_view(
    x: ndarray, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> ndarray:
    """NumPy's windows; CuPy brings their sizes to the device to check each of them, and waits for it."""
    demand_array(x)
    found = np.lib.stride_tricks.sliding_window_view(x._host, window_shape, axis)
    for _ in range(found.ndim - x.ndim):
        _watch.wait("the check of sliding_window_view")
    return as_strided(x, found.shape, found.strides)


# --- joined ---------------------------------------------------------------------------------------


@acts("cupy.concatenate", "cupy.concat")
def concatenate(
    tup: Sequence[ndarray], axis: Any = 0, out: ndarray | None = None, *, dtype: Any = None, casting: str = "same_kind"
) -> ndarray:
    """Join arrays: a copy for each, or one kernel for more than eight, whose pointers go to the device first."""
    parts = list(tup)
    demand_array(*parts)
    if not parts:
        raise ValueError("Cannot concatenate from empty tuple")
    if axis is None:
        parts, axis = [one.ravel() for one in parts], 0
    if any(one.ndim == 0 for one in parts):
        raise TypeError("zero-dimensional arrays cannot be concatenated")
    if out is not None and dtype is not None:
        raise TypeError("concatenate() only takes `out` or `dtype` as an argument, but both were provided.")
    axis = range(parts[0].ndim)[axis]
    made = _for_parts(parts, axis, dtype) if out is None else out
    for one in parts:
        _dtypes.demand_cast(one.dtype, made.dtype, casting)
    shape = np.concatenate([np.empty((0, *_without(one, axis))) for one in parts]).shape[1:]
    if made.shape != (*shape[:axis], sum(one.shape[axis] for one in parts), *shape[axis:]):
        raise ValueError("Output array is the wrong shape")
    if len(parts) > FEW and all(one.dtype == made.dtype for one in parts) and made.nbytes < SMALL * len(parts):
        _join_at_once(parts, axis, made)
        return made
    start = 0
    for one in parts:
        place = (slice(None),) * axis + (slice(start, start + one.shape[axis]),)
        copy_elements(one, view_of(made, made._host[place]))
        start += one.shape[axis]
    return made


def _without(one: ndarray, axis: int) -> tuple[int, ...]:
    return (*one.shape[:axis], *one.shape[axis + 1 :])


def _for_parts(parts: list[ndarray], axis: int, dtype: Any) -> ndarray:
    if len({one.ndim for one in parts}) > 1:
        raise ValueError("All arrays to concatenate must have the same ndim")
    if len({_without(one, axis) for one in parts}) > 1:
        raise ValueError("All arrays must have same shape except the axis to concatenate")
    dtype = np.dtype(dtype) if dtype is not None else _promoted(parts)
    shape = (*parts[0].shape[:axis], sum(one.shape[axis] for one in parts), *parts[0].shape[axis + 1 :])
    return fresh(shape, dtype)


def _promoted(parts: list[ndarray]) -> np.dtype[Any]:
    found = parts[0].dtype
    for one in parts[1:]:
        found = np.promote_types(found, one.dtype)
    return found


def _join_at_once(parts: list[ndarray], axis: int, made: ndarray) -> None:
    device = _devices.current()
    for one in parts:
        _devices.reach(one._memory.device_id, device)
    array(np.array([one.data.ptr for one in parts], np.int64))  # the table of pointers, a copy to the device
    if len({one.shape for one in parts}) > 1 or not all(one._host.flags.c_contiguous for one in parts):
        array(np.cumsum([one.shape[axis] for one in parts]))
        array(np.array([one.strides for one in parts], np.int64))
    run("concatenate", lambda: np.concatenate([one._host for one in parts], axis, out=made._host), parts, [made])


@acts("cupy.stack")
def stack(
    tup: Sequence[ndarray], axis: int = 0, out: ndarray | None = None, *, dtype: Any = None, casting: str = "same_kind"
) -> ndarray:
    return concatenate([expand_dims(one, axis) for one in tup], axis, out, dtype=dtype, casting=casting)


@acts("cupy.vstack", "cupy.row_stack")
def vstack(tup: Sequence[ndarray], *, dtype: Any = None, casting: str = "same_kind") -> ndarray:
    return concatenate([atleast_2d(one) for one in tup], 0, dtype=dtype, casting=casting)


@acts("cupy.hstack")
def hstack(tup: Sequence[ndarray], *, dtype: Any = None, casting: str = "same_kind") -> ndarray:
    parts = [atleast_1d(one) for one in tup]
    return concatenate(parts, 0 if parts[0].ndim == 1 else 1, dtype=dtype, casting=casting)


# --- repeated and moved ---------------------------------------------------------------------------


@acts("cupy.tile")
def tile(A: ndarray, reps: Any) -> ndarray:
    demand_array(A)
    times = tuple(reps) if np.iterable(reps) else (reps,)
    source = array(A, copy=None, ndmin=len(times))
    if set(times) == {1}:
        return source.copy()
    made = fresh(np.tile(np.empty(source.shape, "?"), times).shape, source.dtype)
    run("copy", lambda: np.copyto(made._host, np.tile(source._host, times)), [source], [made])
    return made


@acts("cupy.repeat")
def repeat(a: ndarray, repeats: Any, axis: int | None = None) -> ndarray:
    """Repeat elements: counts on the device are summed up on the host, which waits."""
    demand_array(a)
    if isinstance(repeats, np.ndarray):
        raise TypeError("'repeats' does not accept numpy.ndarray; convert with cupy.array() first")
    counts: Any = repeats
    if isinstance(repeats, list | tuple):
        counts = array(repeats, dtype=np.intp)
    if isinstance(counts, ndarray):
        counts = counts.item() if counts.size == 1 else counts.get()
    source: Host = (a.ravel() if axis is None else a)._host
    made = fresh(np.repeat(source, counts, axis).shape, a.dtype)
    run("copy", lambda: np.copyto(made._host, np.repeat(source, counts, axis)), [a], [made])
    return made


@acts("cupy.roll")
def roll(a: ndarray, shift: Any, axis: Any = None) -> ndarray:
    """Copy the pieces of an array, two for each axis that is rolled."""
    demand_array(a)
    if axis is None:
        return roll(a.ravel(), shift, 0).reshape(a.shape)
    offsets = [0] * a.ndim
    for step, along in np.broadcast(shift, axis):
        offsets[along] += int(step)
    cuts = []
    for n, offset in zip(a.shape, offsets, strict=True):
        k = offset % n if n else 0
        whole = [(slice(None), slice(None))]
        cuts.append([(slice(None, -k), slice(k, None)), (slice(-k, None), slice(None, k))] if k else whole)
    made = empty_like(a)
    for pieces in itertools.product(*cuts):
        made[tuple(to for _, to in pieces)] = a[tuple(of for of, _ in pieces)]
    return made


@acts("cupy.pad")
def pad(array: ndarray, pad_width: Any, mode: str = "constant", **kwargs: Any) -> ndarray:
    """Copy into a larger array and set its borders, a kernel for each side."""
    demand_array(array)
    found = np.pad(array._host, pad_width, mode, **kwargs)  # type: ignore[call-overload]
    made = fresh(found.shape, found.dtype)
    run("copy", lambda: np.copyto(made._host, found), [array], [made])
    for _ in range(2 * array.ndim):
        run("pad", lambda: None, [array], [made])
    return made
