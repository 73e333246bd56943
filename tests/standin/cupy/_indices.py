"""Indexing: views, gathers, scatters and masks. A mask is counted on the host, which waits for it.

Indices out of range wrap around, and of several values for one place any may stay: here the first, where NumPy keeps
the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _watch
from ._arrays import Host, ndarray, read_shape, view_of, zeros
from ._arrays import fresh as _fresh
from ._kernels import run
from ._table import acts
from ._transfers import to_host

CHUNK = 512  # of the prefix sum over a mask
INTEGERS = frozenset(map(np.dtype, ("i4", "i8", "u4", "u8", "q", "Q")))
FLOATS = frozenset(map(np.dtype, ("f4", "f8")))
# what atomics CUDA has, and what CuPy therefore takes
ATOMIC = {
    "add": INTEGERS | FLOATS | {np.dtype("f2")},
    "sub": frozenset(map(np.dtype, ("i4", "u4"))),
    "max": INTEGERS | FLOATS,
    "min": INTEGERS | FLOATS,
    "and": INTEGERS,
    "or": INTEGERS,
    "xor": INTEGERS,
}
COMBINE: dict[str, np.ufunc] = {
    "add": np.add,
    "sub": np.subtract,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}


def _parts(slices: Any) -> list[Any]:
    """Turn whatever is no number, slice, None or Ellipsis into arrays of the device."""
    from ._creation import array

    parts = list(slices) if isinstance(slices, tuple) else [slices]
    for place, part in enumerate(parts):
        if part is None or part is Ellipsis or isinstance(part, slice | ndarray):
            continue
        if np.isscalar(part) and not isinstance(part, bool | np.bool_):
            continue
        try:
            made = array(part)
        except ValueError as error:
            raise IndexError(
                "only integers, slices, ellipsis, None and integer or boolean arrays are valid indices"
            ) from error
        if isinstance(part, list | tuple) and made.size == 0:
            made = made.astype(np.int32)
        parts[place] = made
    return parts


def _axes_of(part: Any) -> int:
    """Count the axes of the array that one part of an index takes."""
    if part is None:
        return 0
    if isinstance(part, ndarray):
        if part.dtype.kind == "b":
            return int(part.ndim)
        if part.dtype.kind not in "iu":
            raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {part.dtype.type})")
    return 1


def _split(array: ndarray, parts: list[Any]) -> tuple[ndarray, list[ndarray], int]:
    """Give the view that all but the arrays make, the arrays, and the view's axis at which they start."""
    if sum(part is Ellipsis for part in parts) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if not any(part is Ellipsis for part in parts):
        parts = [*parts, Ellipsis]
    taken = sum(_axes_of(part) for part in parts if part is not Ellipsis)
    if taken > array.ndim:
        text = f"array is {array.ndim}-dimensional, but {taken} were indexed"
        raise IndexError(f"too many indices for array: {text}")
    plain: list[Any] = []
    arrays: list[tuple[ndarray, int]] = []
    likes: list[bool] = []  # which parts count as arrays for the order of the result's axes
    axis = at = 0  # of the array, of the view
    for part in parts:
        if part is Ellipsis:
            axes, new, wanted = array.ndim - taken, array.ndim - taken, Ellipsis
        elif isinstance(part, ndarray):
            axes = new = _axes_of(part)
            if part.dtype.kind == "b" and part.shape != array.shape[axis : axis + axes]:
                raise IndexError(
                    f"boolean index of shape {part.shape} does not match axes {array.shape[axis : axis + axes]}"
                )
            arrays.append((part, at))
            plain += [slice(None)] * axes
            likes.append(True)
            axis, at = axis + axes, at + new
            continue
        else:
            axes, new, wanted = _axes_of(part), int(part is None or isinstance(part, slice)), part
            if axes and not new:
                wanted = _checked(part, axis, array.shape[axis])
        plain.append(wanted)
        likes.append(not new and part is not Ellipsis)
        axis, at = axis + axes, at + new
    view = view_of(array, array._host[tuple(plain)])
    if not arrays:
        return view, [], 0
    if _apart(likes):
        order = [at + k for part, at in arrays for k in range(_axes_of(part))]
        rest = [k for k in range(view.ndim) if k not in order]
        return view.transpose(*order, *rest), [part for part, _ in arrays], 0
    return view, [part for part, _ in arrays], arrays[0][1]


def _checked(number: Any, axis: int, size: int) -> int:
    found = int(number)
    if not -size <= found < size:
        raise IndexError(f"Index {number} is out of bounds for axis {axis} with size {size}")
    return found


def _apart(likes: Sequence[bool]) -> bool:
    """Say whether something stands between the arrays, so that their axes come first."""
    return "".join("x" if like else " " for like in likes).strip().count(" ") > 0


# --- reading --------------------------------------------------------------------------------------


def get(array: ndarray, slices: Any) -> ndarray:
    """array[slices]"""
    view, arrays, axis = _split(array, _parts(slices))
    if not arrays:
        return view
    if len(arrays) > 1:
        return _gather(view, _places(view, arrays, axis), axis)
    if arrays[0].dtype.kind == "b":
        return _get_mask(view, arrays[0], axis)
    return take(view, arrays[0], axis)


def _note_range(indices: Host, size: int) -> None:
    if indices.size and (int(indices.max()) >= size or int(indices.min()) < -size):
        _watch.note("index", f"an index out of range of {size} wraps around")


@acts("cupy.take")
def take(a: ndarray, indices: Any, axis: int | None = None, out: ndarray | None = None) -> ndarray:
    """Gather along an axis."""
    from ._creation import array

    _demand_array(a)
    source = a.reshape(-1) if axis is None else a
    axis = 0 if axis is None else range(source.ndim)[axis] if source.ndim else 0
    if not isinstance(indices, ndarray):
        indices = int(indices) if np.isscalar(indices) else array(indices, dtype=int)
    shape = indices.shape if isinstance(indices, ndarray) else ()
    size = source.shape[axis] if source.ndim else 1
    made = _fresh(source.shape[:axis] + shape + source.shape[axis + 1 :], source.dtype) if out is None else out
    if made.dtype != source.dtype:
        raise TypeError("Output dtype mismatch")
    if made.shape != source.shape[:axis] + shape + source.shape[axis + 1 :]:
        raise ValueError("Output shape mismatch")
    if size == 0 and made.size:
        raise IndexError("cannot do a non-empty take from an empty axes.")

    def work() -> None:
        places = indices._host if isinstance(indices, ndarray) else np.asarray(indices)
        _note_range(places, size)
        made._host[...] = np.take(source._host if source.ndim else source._host.reshape(1), places % size, axis=axis)

    run("take", work, [source, indices] if isinstance(indices, ndarray) else [source], [made])
    return made


def _demand_array(a: Any) -> None:
    if not isinstance(a, ndarray):
        raise TypeError(f"Unsupported type {type(a)}")


def _places(view: ndarray, arrays: list[ndarray], axis: int) -> list[ndarray]:
    """Turn masks among several arrays into indices, and put all of them together as CuPy does: kernels for each."""
    found: list[ndarray] = []
    for part in arrays:
        found += nonzero(part) if part.dtype.kind == "b" else [part]
    shape = np.broadcast_shapes(*(part.shape for part in found))
    together = zeros(shape, np.int64)
    for part in found:
        run("index", lambda: None, [part], [together])
    return found


def _wrapped(view: ndarray, places: Sequence[ndarray], axis: int) -> tuple[Host, ...]:
    sizes = view.shape[axis : axis + len(places)]
    for part, size in zip(places, sizes, strict=True):
        _note_range(part._host, size)
    return tuple(np.broadcast_arrays(*(p._host.astype(np.int64) % n for p, n in zip(places, sizes, strict=True))))


def _gather(view: ndarray, places: Sequence[ndarray], axis: int) -> ndarray:
    shape = np.broadcast_shapes(*(part.shape for part in places))
    made = _fresh(view.shape[:axis] + shape + view.shape[axis + len(places) :], view.dtype)

    def work() -> None:
        made._host[...] = view._host[(slice(None),) * axis + _wrapped(view, places, axis)]

    run("take", work, [view, *places], [made])
    return made


# --- masks ----------------------------------------------------------------------------------------


def _scan(mask: ndarray) -> ndarray:
    """Sum along a mask, with as many kernels as CuPy takes."""
    made = _fresh(mask.size, np.dtype(np.int32))
    left = mask.size
    while left > CHUNK:  # sums of chunks, and a scan of those
        run("scan of a mask", lambda: None, [mask], [made])
        left = -(-left // CHUNK)
        run("scan of a mask", lambda: None, [mask], [made])
    run("scan of a mask", lambda: np.cumsum(mask._host.reshape(-1) != 0, out=made._host), [mask], [made])
    return made


def _count(scanned: ndarray) -> int:
    return int(to_host(view_of(scanned, scanned._host[-1:]), "the count of a mask")[0])


def _mask(view: ndarray, mask: ndarray, axis: int) -> tuple[int, tuple[int, ...]]:
    """Count a mask on the host; give the count and the shape of what it picks."""
    count = _count(_scan(mask)) if mask.size else 0
    if mask.size and (mask.ndim != view.ndim or axis != 0):
        _scan(mask)  # once more, broadcast
    return count, (*view.shape[:axis], count, *view.shape[axis + mask.ndim :])


def _get_mask(view: ndarray, mask: ndarray, axis: int) -> ndarray:
    _, shape = _mask(view, mask, axis)
    made = _fresh(shape, view.dtype)

    def work() -> None:
        made._host[...] = view._host[(slice(None),) * axis + (mask._host,)]

    run("mask", work, [view, mask], [made])
    return made


@acts("cupy.nonzero")
def nonzero(a: ndarray) -> tuple[ndarray, ...]:
    _demand_array(a)
    if a.ndim == 0:
        raise ValueError("Calling nonzero on 0d arrays is not allowed. Use cp.atleast_1d(scalar).nonzero() instead.")
    if not a.size:
        return tuple(_fresh(0, np.dtype(np.int64)) for _ in range(a.ndim))
    made = _fresh((_count(_scan(a)), a.ndim), np.dtype(np.int64))

    def work() -> None:
        made._host[...] = np.argwhere(a._host)

    run("nonzero", work, [a], [made])
    return tuple(made[:, axis] for axis in range(a.ndim))


# --- writing --------------------------------------------------------------------------------------


def put(array: ndarray, slices: Any, value: Any, op: str) -> None:
    """array[slices] = value, or += and the like with every place that is named twice counted twice."""
    view, arrays, axis = _split(array, _parts(slices))
    if len(arrays) == 1 and arrays[0].dtype.kind == "b":
        _put_mask(view, arrays[0], axis, value, op)
    elif arrays:
        places = arrays if len(arrays) == 1 else _places(view, arrays, axis)
        _scatter(view, places, axis, value, op)
    elif op == "update":
        _update(view, value)
    else:
        from . import _ufuncs

        _ufuncs.named(COMBINE[op].__name__)(view, value, view)


def _update(view: ndarray, value: Any) -> None:
    if not isinstance(value, ndarray):
        view.fill(value)  # which refuses arrays of the host
        return
    if view._host.shape == value.shape and view.strides == value.strides and view.data.ptr == value.data.ptr:
        return
    source = _without_leading_ones(value)
    np.broadcast_shapes(source.shape, view.shape)
    run("copy", lambda: np.copyto(view._host, source._host, casting="unsafe"), [source], [view])


def _without_leading_ones(value: ndarray) -> ndarray:
    ones = next((k for k, n in enumerate(value.shape) if n != 1), value.ndim)
    return view_of(value, value._host.reshape(value.shape[ones:])) if ones else value


def _of(view: ndarray, value: Any, shape: tuple[int, ...]) -> ndarray:
    """Bring a value to the device, the dtype and the shape of what it is put into."""
    from ._creation import array

    source = value.astype(view.dtype, copy=False) if isinstance(value, ndarray) else array(value, dtype=view.dtype)
    return view_of(source, np.broadcast_to(_without_leading_ones(source)._host, read_shape(shape)))


def _put_mask(view: ndarray, mask: ndarray, axis: int, value: Any, op: str) -> None:
    count, shape = _mask(view, mask, axis)
    if 0 in shape or not count:
        return
    source = _of(view, value, shape)
    where = (slice(None),) * axis + (mask._host,)

    def work() -> None:
        view._host[where] = source._host if op == "update" else COMBINE[op](view._host[where], source._host)

    run("mask", work, [source, mask], [view])


def _scatter(view: ndarray, places: Sequence[ndarray], axis: int, value: Any, op: str) -> None:
    shape = np.broadcast_shapes(*(part.shape for part in places))
    source = _of(view, value, view.shape[:axis] + shape + view.shape[axis + len(places) :])
    if op != "update" and view.dtype not in ATOMIC[op]:
        raise TypeError(f"cupy.{COMBINE[op].__name__}.at does not support {view.dtype}")
    backwards = (slice(None, None, -1),) * len(shape)
    before = (slice(None),) * axis
    assign: Callable[..., None] | None = None if op == "update" else COMBINE[op].at

    def work() -> None:
        where = before + tuple(part[backwards] for part in _wrapped(view, places, axis))
        values = source._host[before + backwards]
        if assign is None:
            view._host[where] = values
        else:
            assign(view._host, where, values)

    run(f"scatter {op}", work, [source, *places], [view])
