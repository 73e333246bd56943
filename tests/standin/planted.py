"""Mistakes that a program for CuPy may hold, with how the stand-in finds each; right programs, which it lets pass."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Program = Callable[[Any, Any], Any]  # of cupy and of array-api-compat's namespace


@dataclass(frozen=True)
class Raises:
    """The program raises, as it would on a GPU, or as `MistakeError` where a GPU would not."""

    error: str
    match: str


@dataclass(frozen=True)
class Sees:
    """The program runs, and the watch has it in one of its lists."""

    where: str
    what: str


Found = Raises | Sees
MISTAKES: dict[str, tuple[Program, Found]] = {}
RIGHT: dict[str, Program] = {}


def planted(name: str, found: Found) -> Callable[[Program], Program]:
    def register(program: Program) -> Program:
        MISTAKES[name] = program, found
        return program

    return register


def right(name: str) -> Callable[[Program], Program]:
    def register(program: Program) -> Program:
        RIGHT[name] = program
        return program

    return register


def numbers(cp: Any, *shape: int, dtype: Any = np.float32) -> Any:
    """An array of the current device, nothing noted of how it came there but on its stream."""
    size = int(np.prod(shape, dtype=int))
    return cp.arange(size, dtype=dtype).reshape(shape)


# --- to the host without saying so ----------------------------------------------------------------

planted("np.asarray of a device array", Raises("TypeError", "Implicit conversion"))(
    lambda cp, xp: np.asarray(numbers(cp, 3))
)
planted("NumPy's function that CuPy has not", Raises("TypeError", "no implementation found"))(
    lambda cp, xp: np.block([numbers(cp, 3)])
)
planted("float of a 0-d array", Sees("waits", "float"))(lambda cp, xp: float(numbers(cp, 3).sum()))
planted("int of a 0-d array", Sees("waits", "int"))(lambda cp, xp: int(numbers(cp, 3).argmax()))
planted("a comparison in an if", Sees("waits", "bool"))(lambda cp, xp: 1 if numbers(cp, 3).max() > 1 else 0)
planted("item", Sees("transfers", "item"))(lambda cp, xp: numbers(cp, 1).item())
planted("an array in a message", Sees("waits", "format"))(lambda cp, xp: f"{numbers(cp, 3)}")
planted("a count of an array as a range", Raises("TypeError", "interpreted as an integer"))(
    lambda cp, xp: range(numbers(cp, 3).argmax())
)
planted("operator.index of an array", Raises("TypeError", "interpreted as an integer"))(
    lambda cp, xp: operator.index(numbers(cp, 3, dtype=np.int64).max())
)

# --- waits that no name tells of ------------------------------------------------------------------


@planted("a mask as an index", Sees("waits", "the count of a mask"))
def _(cp: Any, xp: Any) -> Any:
    x = numbers(cp, 3, 4)
    return x[x > 5]


@planted("a mask as an index to write to", Sees("waits", "the count of a mask"))
def _(cp: Any, xp: Any) -> None:
    x = numbers(cp, 3, 4)
    x[x > 5] = 0


planted("array-api-compat's clip", Sees("waits", "the count of a mask"))(lambda cp, xp: xp.clip(numbers(cp, 3), 0, 1))
planted("array-api-compat's sign", Sees("waits", "the count of a mask"))(lambda cp, xp: xp.sign(numbers(cp, 3)))
planted("nonzero", Sees("waits", "the count of a mask"))(lambda cp, xp: xp.nonzero(numbers(cp, 3)))
planted("where with one argument", Sees("waits", "the count of a mask"))(lambda cp, xp: cp.where(numbers(cp, 3) > 1))
planted("unique", Sees("waits", "the count of a mask"))(lambda cp, xp: cp.unique(numbers(cp, 3)))
planted("repeat by counts on the device", Sees("waits", "get"))(
    lambda cp, xp: cp.repeat(numbers(cp, 3), numbers(cp, 3, dtype=np.int64))
)
planted("CuPy's sliding_window_view", Sees("waits", "the check of sliding_window_view"))(
    lambda cp, xp: cp.lib.stride_tricks.sliding_window_view(numbers(cp, 9), 3)
)

# --- the host's arrays ----------------------------------------------------------------------------

planted("a NumPy array among CuPy's", Raises("TypeError", "Unsupported type"))(
    lambda cp, xp: numbers(cp, 3) + np.ones(3, np.float32)
)
planted("a NumPy array of no axis among CuPy's", Raises("TypeError", "Unsupported type"))(
    lambda cp, xp: numbers(cp, 3) * np.array(2.0)
)
planted("NumPy's function of both", Raises("TypeError", "Unsupported type"))(
    lambda cp, xp: np.maximum(numbers(cp, 3), np.ones(3))
)
planted("a NumPy array to join with CuPy's", Raises("TypeError", "Unsupported type"))(
    lambda cp, xp: cp.concatenate([numbers(cp, 3), np.ones(3, np.float32)])
)
planted("a NumPy array in a choice", Raises("TypeError", "Unsupported type"))(
    lambda cp, xp: xp.where(numbers(cp, 3) > 1, numbers(cp, 3), np.ones(3, np.float32))
)


@planted("a NumPy array as a value", Raises("ValueError", "non-scalar numpy.ndarray cannot be used for fill"))
def _(cp: Any, xp: Any) -> None:
    numbers(cp, 2, 3)[0] = np.ones(3, np.float32)


planted("a list of the host in each call", Sees("transfers", "array"))(
    lambda cp, xp: numbers(cp, 3) * cp.asarray([1, 2, 3])
)
planted("a list of the host as an index", Sees("transfers", "array"))(lambda cp, xp: numbers(cp, 3)[[0, 2]])
planted("take by a list of the host", Sees("transfers", "array"))(lambda cp, xp: cp.take(numbers(cp, 3), [0, 2]))
planted("a stack of nine arrays, whose pointers go to the device", Sees("transfers", "array"))(
    lambda cp, xp: xp.stack([numbers(cp, 3)] * 9)
)

# --- what CuPy has not ----------------------------------------------------------------------------

planted("a sum with where=", Raises("TypeError", "unexpected keyword argument 'where'"))(
    lambda cp, xp: cp.sum(numbers(cp, 3), where=numbers(cp, 3) > 1)
)
planted("a maximum with initial=", Raises("TypeError", "unexpected keyword argument 'initial'"))(
    lambda cp, xp: xp.max(numbers(cp, 3), initial=0)
)
planted("take with mode=", Raises("TypeError", "unexpected keyword argument 'mode'"))(
    lambda cp, xp: cp.take(numbers(cp, 3), cp.arange(2), 0, mode="clip")
)
planted("a ufunc with where=", Raises("TypeError", "Wrong arguments"))(
    lambda cp, xp: cp.add(numbers(cp, 3), 1, where=numbers(cp, 3) > 1)
)
planted("astype with casting=", Raises("TypeError", "casting is not supported yet"))(
    lambda cp, xp: numbers(cp, 3).astype(np.float64, casting="safe")
)
planted("a function that CuPy has not", Raises("AttributeError", "unstack"))(lambda cp, xp: cp.unstack(numbers(cp, 3)))
planted("long doubles", Raises("ValueError", "Unsupported dtype"))(lambda cp, xp: cp.zeros(3, np.longdouble))
planted("bits of floating numbers", Raises("TypeError", "Wrong type"))(lambda cp, xp: numbers(cp, 3) & 1)
planted("a quotient of complex numbers, rounded down", Raises("TypeError", "Wrong type"))(
    lambda cp, xp: numbers(cp, 3).astype(np.complex64) // 2
)
planted("clip of complex numbers", Raises("TypeError", "Wrong type"))(
    lambda cp, xp: cp.clip(numbers(cp, 3).astype(np.complex64), 0, 1)
)
planted("scattered sums of bytes", Raises("TypeError", "does not support uint8"))(
    lambda cp, xp: cp.add.at(numbers(cp, 3, dtype=np.uint8), cp.arange(3), 1)
)
planted("asking whether an array can be written", Raises("AttributeError", "writeable"))(
    lambda cp, xp: numbers(cp, 3).flags.writeable
)
planted("a device as a key", Raises("TypeError", "unhashable"))(lambda cp, xp: {numbers(cp, 3).device: 1})
planted("sorting a view in place", Raises("NotImplementedError", "non-contiguous"))(
    lambda cp, xp: numbers(cp, 4, 3).T.sort()
)

# --- casts ----------------------------------------------------------------------------------------


@planted("an addition in place that would cast", Raises("TypeError", "Cannot cast output operand"))
def _(cp: Any, xp: Any) -> None:
    x = numbers(cp, 3, dtype=np.int32)
    x += 0.5


planted("out= of another kind", Raises("TypeError", "Cannot cast output operand"))(
    lambda cp, xp: cp.add(numbers(cp, 3), 1, out=cp.empty(3, np.int32))
)
planted("a product with out= of another dtype", Raises("ValueError", "Not supported dtype combination"))(
    lambda cp, xp: cp.dot(numbers(cp, 2, 2), numbers(cp, 2, 2), out=cp.empty((2, 2), np.float64))
)
planted("a number that does not fit", Raises("OverflowError", "out of bounds"))(
    lambda cp, xp: numbers(cp, 3, dtype=np.uint8) + 300
)

# --- memory ---------------------------------------------------------------------------------------

planted("reading what nothing was written to", Raises("MistakeError", "unwritten"))(lambda cp, xp: cp.empty(3).get())
planted("a sum over what nothing was written to", Raises("MistakeError", "unwritten"))(
    lambda cp, xp: (cp.empty((2, 3), np.float32) * 2).sum(1).get()
)
planted("whole numbers that nothing was written to", Raises("MistakeError", "unwritten"))(
    lambda cp, xp: cp.empty(3, np.int64).get()
)


@planted("a border that was left out", Raises("MistakeError", "unwritten"))
def _(cp: Any, xp: Any) -> Any:
    x = cp.empty((4, 4), np.float32)
    x[1:-1, 1:-1] = 1
    return x.get()


planted("windows beyond the memory", Raises("MistakeError", "bounds"))(
    lambda cp, xp: cp.lib.stride_tricks.as_strided(numbers(cp, 3, 4), (3, 3), (16, 12))
)
planted("windows before the memory", Raises("MistakeError", "bounds"))(
    lambda cp, xp: cp.lib.stride_tricks.as_strided(numbers(cp, 6)[2:], (4,), (-4,))
)
planted("an index out of range", Sees("notes", "index"))(lambda cp, xp: cp.take(numbers(cp, 3), cp.arange(4)))


@planted("the last of several values for one place", Raises("AssertionError", "not the last"))
def _(cp: Any, xp: Any) -> None:
    x = cp.zeros(2)
    x[cp.zeros(3, np.int64)] = cp.arange(3.0)
    assert x.get()[0] == 2, "not the last"


planted("an allocation for each call", Sees("allocations", ""))(lambda cp, xp: numbers(cp, 3) + numbers(cp, 3))

# --- streams --------------------------------------------------------------------------------------


@planted("an array of another stream", Raises("MistakeError", "race"))
def _(cp: Any, xp: Any) -> Any:
    with cp.cuda.Stream(non_blocking=True):
        x = numbers(cp, 3)
    return x + 1


@planted("writing over what another stream reads", Raises("MistakeError", "race"))
def _(cp: Any, xp: Any) -> None:
    x = numbers(cp, 3)
    cp.cuda.Device().synchronize()
    with cp.cuda.Stream(non_blocking=True):
        _ = x + 1
    x.fill(0)


@planted("memory given back while another stream reads it", Raises("MistakeError", "race"))
def _(cp: Any, xp: Any) -> Any:
    x = numbers(cp, 7777)
    cp.cuda.Device().synchronize()
    with cp.cuda.Stream(non_blocking=True):
        y = x + 1
    del x
    return numbers(cp, 7777), y


@planted("one plan of cuFFT, whose work area two streams write to", Raises("MistakeError", "race"))
def _(cp: Any, xp: Any) -> Any:
    x = numbers(cp, 3, 43, dtype=np.complex64)
    cp.cuda.Device().synchronize()
    with cp.cuda.Stream(non_blocking=True):
        one = cp.fft.fft(x)
    with cp.cuda.Stream(non_blocking=True):
        return one, cp.fft.fft(x)


@planted("an event that is recorded too early", Raises("MistakeError", "race"))
def _(cp: Any, xp: Any) -> Any:
    stream = cp.cuda.Stream(non_blocking=True)
    event = stream.record()
    with stream:
        x = numbers(cp, 3)
    cp.cuda.get_current_stream().wait_event(event)
    return x + 1


def _captured(cp: Any, program: Callable[[], Any]) -> Any:
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            program()
        finally:
            graph = stream.end_capture()
    return graph


@planted("a product while a stream is captured", Raises("NotImplementedError", "cuBLAS API during stream capture"))
def _(cp: Any, xp: Any) -> Any:
    x = numbers(cp, 2, 2)
    cp.cuda.Device().synchronize()
    return _captured(cp, lambda: x @ x)


planted("a copy to the device while a stream is captured", Raises("RuntimeError", "H2D transfers are disallowed"))(
    lambda cp, xp: _captured(cp, lambda: cp.asarray([1, 2]))
)


@planted("waiting while a stream is captured", Raises("CUDARuntimeError", "StreamCapture"))
def _(cp: Any, xp: Any) -> Any:
    return _captured(cp, lambda: cp.cuda.get_current_stream().synchronize())


@planted("what a captured stream has not done yet", Raises("MistakeError", "unwritten"))
def _(cp: Any, xp: Any) -> Any:
    made = []
    _captured(cp, lambda: made.append(cp.arange(3.0)))
    return made[0].get()


# --- devices --------------------------------------------------------------------------------------


@planted("an array of a device that is not current", Raises("ValueError", "Peer access is unavailable"))
def _(cp: Any, xp: Any) -> Any:
    with cp.cuda.Device(1):
        x = numbers(cp, 3)
    return x + 1


@planted("device= that CuPy does not look at", Raises("AssertionError", "elsewhere"))
def _(cp: Any, xp: Any) -> None:
    assert xp.zeros(3, device=cp.cuda.Device(1)).device == cp.cuda.Device(1), "elsewhere"


@planted("a product of a device that is not current", Raises("MistakeError", "device"))
def _(cp: Any, xp: Any) -> Any:
    with cp.cuda.Device(1):
        x = numbers(cp, 2, 2)
    return x @ x


@planted("a stream of another device", Raises("RuntimeError", "does not match with the current device"))
def _(cp: Any, xp: Any) -> None:
    with cp.cuda.Device(1):
        stream = cp.cuda.Stream()
    with stream:
        pass


# --- right programs -------------------------------------------------------------------------------


@right("an event between two streams")
def _(cp: Any, xp: Any) -> Any:
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        x = numbers(cp, 3)
    cp.cuda.get_current_stream().wait_event(stream.record())
    return x + 1


@right("a stream that waits for the null stream by itself")
def _(cp: Any, xp: Any) -> Any:
    x = numbers(cp, 3)
    with cp.cuda.Stream():
        y = x + 1
    return y + x


@right("memory given back after the other stream is done")
def _(cp: Any, xp: Any) -> Any:
    x = numbers(cp, 7777)
    here, other = cp.cuda.get_current_stream(), cp.cuda.Stream(non_blocking=True)
    other.wait_event(here.record())
    with other:
        y = x + 1
    here.wait_event(other.record())
    del x
    return numbers(cp, 7777), y


@right("a graph that is launched")
def _(cp: Any, xp: Any) -> None:
    made = []
    graph = _captured(cp, lambda: made.append(cp.arange(3.0) + 1))
    stream = cp.cuda.Stream(non_blocking=True)
    graph.launch(stream)
    here = cp.cuda.get_current_stream()
    here.wait_event(stream.record())
    assert made[0].get(blocking=False).tolist() == [1, 2, 3]


@right("everything on the device that is current")
def _(cp: Any, xp: Any) -> Any:
    with cp.cuda.Device(1):
        x = numbers(cp, 2, 2)
        assert xp.zeros(3).device == x.device
        return x @ x + 1


@right("windows that stay in their memory")
def _(cp: Any, xp: Any) -> Any:
    return cp.lib.stride_tricks.as_strided(numbers(cp, 3, 4), (3, 2, 3), (16, 4, 4)) + 1


@right("limits by minimum and maximum, choices by where")
def _(cp: Any, xp: Any) -> Any:
    x = numbers(cp, 3)
    return xp.where(x > 1, xp.minimum(x, xp.full((), 2, dtype=x.dtype)), cp.clip(x, 0, 1))


@right("a stack of eight arrays")
def _(cp: Any, xp: Any) -> Any:
    return xp.stack([numbers(cp, 3)] * 8)


@right("numbers of NumPy and of Python among arrays")
def _(cp: Any, xp: Any) -> Any:
    return np.float32(2) * numbers(cp, 3) + 1 - np.sqrt(numbers(cp, 3))


@right("NaN that was meant")
def _(cp: Any, xp: Any) -> Any:
    x = cp.full(3, np.nan) + numbers(cp, 3)
    assert np.isnan(x.get(blocking=False)).all()
