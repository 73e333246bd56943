"""CuPy's array: NumPy's numbers in memory that only kernels may touch."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import _devices, _dtypes, _kernels, _memory, _streams, _watch
from ._kernels import run
from ._memory import Memory, MemoryPointer
from ._transfers import Host, HostSide


class Flags:
    """What CuPy says of memory's order: no more than this, and nothing can be set."""

    def __init__(self, flags: Any, owndata: bool) -> None:
        self._found = {"C_CONTIGUOUS": flags.c_contiguous, "F_CONTIGUOUS": flags.f_contiguous, "OWNDATA": owndata}

    c_contiguous = property(lambda self: self._found["C_CONTIGUOUS"])
    f_contiguous = property(lambda self: self._found["F_CONTIGUOUS"])
    owndata = property(lambda self: self._found["OWNDATA"])
    fnc = property(lambda self: self.f_contiguous and not self.c_contiguous)
    forc = property(lambda self: self.f_contiguous or self.c_contiguous)

    def __getitem__(self, name: str) -> bool:
        if name not in self._found:
            raise KeyError(f"{name} is not defined for cupy.ndarray.flags")
        return bool(self._found[name])


class ndarray(HostSide):
    """An array on a device. `_host` is NumPy's view of the bytes, for kernels alone."""

    __slots__ = ("__weakref__", "_host", "_memory", "base")
    __module__ = "cupy"
    __array_priority__ = 100

    _host: Host
    _memory: Memory
    base: ndarray | None

    def __init__(
        self,
        shape: Any,
        dtype: Any = float,
        memptr: MemoryPointer | None = None,
        strides: Sequence[int] | None = None,
        order: str = "C",
    ) -> None:
        dtype = _dtypes.supported(dtype)
        shape = read_shape(shape)
        if memptr is None:
            if strides is not None:
                raise ValueError("the stand-in makes arrays with strides only on given memory")
            self._host, self._memory = _allocate(shape, dtype, order or "C")
            mark_unwritten(self._host)
        else:
            steps = tuple(strides) if strides is not None else np.empty(shape, dtype, order=order or "C").strides  # type: ignore[call-overload]
            _demand_inside(memptr, shape, steps, dtype)
            self._memory = memptr.mem
            self._host = _at(memptr, shape, steps, dtype)
        self.base = None

    # --- what an array is

    shape = property(lambda self: self._host.shape)
    strides = property(lambda self: self._host.strides)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    device = property(lambda self: _devices.Device(self._memory.device_id))
    flags = property(lambda self: Flags(self._host.flags, self.base is None))

    @shape.setter
    def shape(self, shape: Any) -> None:
        found = _reshaped(self._host, read_shape(shape))
        if found is None:
            raise AttributeError(
                "Incompatible shape for in-place modification. Use `.reshape()` to make a copy with the desired shape."
            )
        self._host = found

    @property
    def data(self) -> MemoryPointer:
        place = int(self._host.__array_interface__["data"][0]) if self._memory.size else 0
        return MemoryPointer(self._memory, place - self._memory.ptr)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "descr": self.dtype.descr,
            "stream": _streams.current_stream().ptr or 1,
            "version": 3,
            "strides": None if self._host.flags.c_contiguous else self.strides,
            "data": (self.data.ptr, False),
        }

    @property
    def T(self) -> ndarray:
        return self if self.ndim < 2 else view_of(self, self._host.T)

    @property
    def mT(self) -> ndarray:
        if self.ndim < 2:
            raise ValueError("matrix transpose with ndim < 2 is undefined")
        return self.swapaxes(-1, -2)

    @property
    def real(self) -> ndarray:
        return view_of(self, self._host.real) if self.dtype.kind == "c" else self

    @property
    def imag(self) -> ndarray:
        if self.dtype.kind == "c":
            return view_of(self, self._host.imag)
        return zeros(self.shape, self.dtype)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[ndarray]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # --- copies

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> ndarray:
        for name, value in (("casting", casting), ("subok", subok)):
            if value is not None:
                raise TypeError(f"{name} is not supported yet")
        dtype, order = np.dtype(dtype), order or "K"
        if dtype == self.dtype and not copy and _in_order(self._host, order):
            return self
        made = fresh_like(self._host, _dtypes.supported(dtype), order)
        if self.dtype.kind == "c" and dtype.kind in "iuf":
            _dtypes.demand_cast(self.dtype, dtype, "unsafe")
        copy_elements(self, made, "astype" if dtype != self.dtype else "copy")
        return made

    def copy(self, order: str = "C") -> ndarray:
        if self.size and self._memory.device_id != _devices.current():
            return _from_other_device(self, order)
        return self.astype(self.dtype, order=order)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        with self.device:
            return self.copy()

    def fill(self, value: Any) -> None:
        if isinstance(value, ndarray):
            if value.shape != ():
                raise ValueError("non-scalar cupy.ndarray cannot be used for fill")
            given = value.astype(self.dtype, copy=False)
            run("fill", lambda: np.copyto(self._host, given._host), [given], [self])
            return
        number = np.asarray(value, dtype=self.dtype)
        if number.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if number == 0 and self._host.flags.c_contiguous:  # of -0.0 as well, which so loses its sign
            run("memset", lambda: self._host.fill(0), [], [self])
        else:
            run("fill", lambda: np.copyto(self._host, number), [], [self])

    # --- views

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        if isinstance(dtype, builtin_type) and issubclass(dtype, ndarray):
            dtype = None
        return view_of(self, self._host.view() if dtype is None else self._host.view(np.dtype(dtype)))

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> ndarray:
        wanted = shape[0] if len(shape) == 1 else shape
        if order == "F" or (order == "A" and self.flags.fnc):
            return self.T.reshape(read_shape(wanted)[::-1], copy=copy).T
        wanted = known_shape(wanted, self.size)
        found = _reshaped(self._host, wanted)
        if found is not None:
            return view_of(self, found).copy() if copy else view_of(self, found)
        if copy is False:
            raise ValueError("Unable to avoid creating a copy while reshaping.")
        made = self.copy()
        made._host = made._host.reshape(wanted)
        return made

    def ravel(self, order: str = "C") -> ndarray:
        return contiguous(self.reshape(-1, order=order))

    def flatten(self, order: str = "C") -> ndarray:
        made = self.copy(order) if order in ("C", "A", "K") else self.T.copy()
        return made.reshape(-1)

    def transpose(self, *axes: Any) -> ndarray:
        return view_of(self, self._host.transpose(*axes))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return view_of(self, self._host.swapaxes(axis1, axis2))

    def squeeze(self, axis: Any = None) -> ndarray:
        return view_of(self, self._host.squeeze(axis))

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ndarray:
        found = self._host.diagonal(offset, axis1, axis2)
        if found.size:
            found.flags.writeable = True  # which NumPy's own is not
        return view_of(self, found)

    def __getitem__(self, slices: Any) -> ndarray:
        from ._indices import get

        return get(self, slices)

    def __setitem__(self, slices: Any, value: Any) -> None:
        from ._indices import put

        put(self, slices, value, "update")

    def _scatter_op(self, slices: Any, value: Any, op: str) -> None:
        from ._indices import put

        put(self, slices, value, op)


builtin_type = type  # `view` has a parameter of that name


# --- memory ---------------------------------------------------------------------------------------


def read_shape(shape: Any) -> tuple[int, ...]:
    """Read a shape: a number or a sequence of them."""
    found = tuple(map(operator.index, shape)) if np.iterable(shape) else (operator.index(shape),)
    if len(found) > 64:
        raise ValueError(f"maximum supported dimension for an ndarray is 64, found {len(found)}")
    return found


def known_shape(shape: Any, size: int) -> tuple[int, ...]:
    """Read a shape in which one number may be -1."""
    found = read_shape(shape)
    if found.count(-1) > 1 or any(n < -1 for n in found):
        raise ValueError("can only specify only one unknown dimension")
    known = functools.reduce(operator.mul, (n for n in found if n != -1), 1)
    if -1 in found:
        if not known or size % known:
            raise ValueError("total size of new array must be unchanged")
        found = tuple(size // known if n == -1 else n for n in found)
    elif known != size:
        raise ValueError("total size of new array must be unchanged")
    return found


def _allocate(shape: tuple[int, ...], dtype: np.dtype[Any], order: str) -> tuple[Host, Memory]:
    if any(n < 0 for n in shape):
        raise ValueError("Negative dimensions are not allowed")
    nbytes = functools.reduce(operator.mul, shape, dtype.itemsize)
    memory = _memory.alloc(nbytes).mem
    return np.ndarray(shape, dtype, buffer=memory.buffer if nbytes else None, order=order), memory  # type: ignore[call-overload]


def fresh(shape: Any, dtype: np.dtype[Any], order: str = "C") -> ndarray:
    """Make an array that one kernel will write all of; while a stream is captured it shows that it has not yet."""
    if _streams.current_line().graph is not None:
        return ndarray(shape, dtype, order=order)
    made = ndarray.__new__(ndarray)
    made._host, made._memory = _allocate(read_shape(shape), dtype, order)
    made.base = None
    return made


def fresh_like(host: Host, dtype: np.dtype[Any], order: str) -> ndarray:
    """Make an array of the same shape, for a kernel to write all of, in an order of memory: C, F, A or K."""
    if order == "A":
        order = "F" if host.flags.fnc else "C"
    if order == "K":
        order = "C" if host.flags.c_contiguous else "F" if host.flags.f_contiguous else "K"
    if order != "K":
        return fresh(host.shape, dtype, order)
    axes = sorted(range(host.ndim), key=lambda axis: -abs(host.strides[axis]))
    made = fresh([host.shape[axis] for axis in axes], dtype)
    made._host = made._host.transpose(np.argsort(axes))
    return made


def mark_unwritten(host: Host) -> None:
    """Fill memory with what shows that nothing has been written to it."""
    if _kernels.computes:
        host[...] = _dtypes.unwritten(host.dtype)


def view_of(array: ndarray, host: Host) -> ndarray:
    """Make a view of an array's memory."""
    made = ndarray.__new__(ndarray)
    made._host, made._memory = host, array._memory
    made.base = array if array.base is None else array.base
    return made


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    made = fresh(read_shape(shape), _dtypes.supported(dtype), order or "C")
    run("memset", lambda: made._host.fill(0), [], [made])
    return made


def _reshaped(host: Host, shape: tuple[int, ...]) -> Host | None:
    """Give a view of that shape, if there is one, without copying anything."""
    try:
        return host.reshape(shape, copy=False)
    except ValueError:
        return None
    except TypeError:  # NumPy 2.0
        found = host.reshape(shape)
        return found if not host.size or np.may_share_memory(found, host) else None


def _in_order(host: Host, order: str) -> bool:
    flags = host.flags
    return {"K": True, "A": flags.forc, "C": flags.c_contiguous, "F": flags.f_contiguous}[order]


def contiguous(array: ndarray, order: str = "C") -> ndarray:
    """Copy an array unless its memory lies in the order of its axes."""
    return array if _in_order(array._host, order) else array.astype(array.dtype, order=order)


def _demand_inside(
    pointer: MemoryPointer, shape: tuple[int, ...], strides: Sequence[int], dtype: np.dtype[Any]
) -> None:
    if len(shape) != len(strides):
        raise ValueError("len(shape) != len(strides)")
    if 0 in shape:
        return
    steps = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
    start = pointer.ptr - pointer.mem.ptr
    first = start + sum(min(0, step) for step in steps)
    last = start + sum(max(0, step) for step in steps) + dtype.itemsize
    end = pointer.mem.buffer.size
    if first < 0 or last > end:
        _watch.mistake("bounds", f"a view of bytes {first} to {last} of memory that has {end}")


def _at(pointer: MemoryPointer, shape: tuple[int, ...], strides: Sequence[int], dtype: np.dtype[Any]) -> Host:
    buffer, start = pointer.mem.buffer, pointer.ptr - pointer.mem.ptr
    if 0 in shape:
        return np.empty(shape, dtype)
    try:
        return np.ndarray(shape, dtype, buffer, start, tuple(strides))
    except (ValueError, TypeError):  # out of bounds, which is noted
        return np.full(shape, _dtypes.unwritten(dtype))


# --- copies ---------------------------------------------------------------------------------------


def copy_elements(source: ndarray, target: ndarray, name: str = "copy") -> None:
    """Copy with a kernel, broadcast and cast."""
    run(name, lambda: np.copyto(target._host, source._host, casting="unsafe"), [source], [target])


def _from_other_device(array: ndarray, order: str) -> ndarray:
    with array.device:
        source = contiguous(array, "F" if order == "F" else "C")
        line = _streams.current_line()
    made = fresh_like(source._host, source.dtype, "K")
    here = _streams.current_line()
    _streams.merge(here.after, line.now())  # a copy between devices waits for both
    _streams.enqueue(here, [source._memory.accesses], [made._memory.accesses], "a copy between devices")
    _watch.kernel("copy between devices", [source._host], [made._host], 0, here.key[0])
    np.copyto(made._host, source._host)
    return made
