"""Between host and device: what copies there, what copies back and waits, what is refused."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _dtypes, _streams, _watch

if TYPE_CHECKING:
    from ._arrays import ndarray

Host = np.ndarray[Any, Any]
SHOWN = ("repr", "str", "format")  # what a person looks at may be anything


def to_host(
    array: Any, what: str, stream: Any = None, order: str = "C", out: Host | None = None, blocking: bool = True
) -> Host:
    """Copy an array to the host, and wait for it."""
    from ._arrays import contiguous

    if out is not None:
        if not isinstance(out, np.ndarray):
            raise TypeError("Only numpy.ndarray can be obtained from cupy.ndarray")
        if out.dtype != array.dtype or out.shape != array.shape:
            raise (TypeError if out.dtype != array.dtype else ValueError)("out has another dtype or shape")
    if array.size == 0:
        return np.empty(array.shape, array.dtype) if out is None else out
    with array.device:
        stream = stream or _streams.current_stream()
        line = stream._line()
        order = "F" if order == "A" and array.flags.f_contiguous else "C" if order == "A" else order
        with stream:
            source = contiguous(array, order)
        _streams.demand_no_capture(line, "D2H transfers")
        _streams.enqueue(line, [source._memory.accesses], [], what)
        _watch.transfer(what, "to host", array.nbytes)
        if blocking:
            _streams.wait_for([line], what)
    found = np.array(source._host, order=order) if out is None else out  # type: ignore[call-overload]
    if out is not None:
        out[...] = source._host
    if _dtypes.shows_unwritten(found):
        tell = _watch.note if what in SHOWN else _watch.mistake
        tell("unwritten", f"{what} brings to the host what nothing has been written to")
    return found


def from_host(array: ndarray, values: Host, what: str, stream: Any = None) -> None:
    """Copy numbers of the host to an array; the host does not wait."""
    line = (stream or _streams.current_stream())._line()
    _streams.demand_no_capture(line, "H2D transfers")
    _streams.enqueue(line, [], [array._memory.accesses], what)
    _watch.transfer(what, "to device", array.nbytes)
    array._host[...] = values


class HostSide:
    """The methods of an array that bring it to the host, or the host's numbers to it."""

    __slots__ = ()

    def get(self, stream: Any = None, order: str = "C", out: Host | None = None, blocking: bool = True) -> Host:
        return to_host(self, "get", stream, order, out, blocking)

    def set(self: Any, arr: Host, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not self.flags.forc:
            raise RuntimeError("Cannot set to non-contiguous array")
        with self.device:
            from_host(self, arr, "set", stream)

    def __array__(self, dtype: Any = None) -> Host:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def item(self: Any) -> Any:
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return to_host(self, "item").item()

    def tolist(self) -> Any:
        return to_host(self, "tolist").tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return to_host(self, "tobytes").tobytes(order)  # type: ignore[arg-type]

    def __bool__(self: Any) -> bool:
        if self.size == 0:
            text = "The truth value of an empty array is ambiguous. Use `array.size > 0` to check that it is not empty."
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            return False
        if self.size > 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
        return bool(to_host(self, "bool"))

    def __int__(self) -> int:
        return int(to_host(self, "int"))

    def __float__(self) -> float:
        return float(to_host(self, "float"))

    def __complex__(self) -> complex:
        return complex(to_host(self, "complex"))

    def __repr__(self) -> str:
        return repr(to_host(self, "repr"))

    def __str__(self) -> str:
        return str(to_host(self, "str"))

    def __format__(self, format_spec: str) -> str:
        return format(to_host(self, "format"), format_spec)

    def __reduce__(self) -> Any:
        from ._creation import array

        return array, (to_host(self, "pickle"),)
