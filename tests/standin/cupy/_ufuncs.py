"""Ufuncs: the first of CuPy's loops that the operands' dtypes can be cast to, whatever NumPy would choose."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from . import _dtypes
from ._arrays import fresh, ndarray
from ._kernels import run
from ._table import TABLE, NotModelledError

DType = np.dtype[Any]
SCORE = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
WEAK = {int: 1, float: 2, complex: 3}
OTHER_NAMES = {"abs": "absolute", "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh"} | {
    "atan": "arctan", "atan2": "arctan2", "atanh": "arctanh", "pow": "power", "conj": "conjugate", "fix": "trunc",
    "bitwise_not": "invert", "bitwise_invert": "invert", "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift", "mod": "remainder",
}  # fmt: skip
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
SCATTERS = {"add": "add", "subtract": "sub", "maximum": "max", "minimum": "min"} | {
    "bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor",
}  # fmt: skip


class Loop(NamedTuple):
    """The dtypes of one loop."""

    inputs: tuple[DType, ...]
    outputs: tuple[DType, ...]


class Scalar:
    """A number among the operands: Python's are weak, they follow the arrays' dtypes."""

    shape = ()

    def __init__(self, value: Any) -> None:
        self.value = value
        self.weak: Any = False
        if type(value) is bool:
            self.dtype = np.dtype(bool)
        elif type(value) is int:
            self.dtype, self.weak = np.dtype(np.uint64 if value >= 1 << 63 else np.int64), int
        elif type(value) is float:
            self.dtype, self.weak = np.dtype(float), float
        elif type(value) is complex:
            self.dtype, self.weak = np.dtype(complex), complex
        elif isinstance(value, np.generic) and _dtypes.is_supported(value.dtype):
            self.dtype = value.dtype
        else:
            raise TypeError(f"Unsupported type {type(value)}")


def operand(value: Any) -> ndarray | Scalar:
    """Read an operand; arrays of other libraries are refused."""
    return value if isinstance(value, ndarray) else Scalar(value)


def _score(dtype: DType) -> int:
    return 2 if dtype == _dtypes.bfloat16() else SCORE[dtype.kind]


class ufunc:
    """A function element by element."""

    __module__ = "cupy"

    def __init__(self, name: str, nin: int, nout: int, types: str) -> None:
        self.__name__, self.name = name, f"cupy_{OTHER_NAMES.get(name, name)}"
        self.nin, self.nout, self.nargs = nin, nout, nin + nout
        self.types = [one for one in types.split() if "E" not in one or _dtypes.bfloat16() is not None]
        self._loops = [loop for loop in map(self._read, self.types) if loop is not None]
        self._numpy: Any = getattr(np, OTHER_NAMES.get(name, name), None)
        self._of_types = functools.cache(self._of_types)  # type: ignore[method-assign]

    @staticmethod
    def _read(types: str) -> Loop | None:
        if "V" in types:  # of structures
            return None
        inputs, outputs = (tuple(map(_dtypes.from_char, chars)) for chars in types.split("->"))
        return Loop(inputs, outputs)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"<ufunc '{self.name}'>"

    # --- which loop

    def loop(self, operands: list[ndarray | Scalar], dtype: DType | None) -> Loop:
        """Choose as CuPy does; TypeError where there is none."""
        given = tuple(one.dtype for one in operands)
        if dtype is not None:
            found = next((loop for loop in self._loops if all(one == dtype for one in loop.outputs)), None)
        else:
            found = self._of_types(given, tuple(one.weak if isinstance(one, Scalar) else False for one in operands))
        if found is None:
            raise TypeError(f"Wrong type ({dtype or given}) of arguments for {self.name}")
        return found

    def _of_types(self, given: tuple[DType, ...], weak: tuple[Any, ...]) -> Loop | None:
        strong = [_score(dtype) for dtype, is_weak in zip(given, weak, strict=True) if not is_weak]
        highest = max((WEAK[one] for one in weak if one), default=-1)
        if highest == -1 or not strong or max(strong) < highest:
            weak = (False,) * len(given)
        elif self.__name__ in COMPARISONS and any(
            one is int and other.kind in "iu" for one, other in zip(weak, given[::-1], strict=True)
        ):
            weak = (False,) * len(given)  # a number out of an integer's range is compared, not refused
        for loop in self._loops:
            if all(map(_fits, given, loop.inputs, weak)):
                return loop
        return None

    # --- the call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        out, where = kwargs.pop("out", None), kwargs.pop("_where", None)
        dtype, casting = kwargs.pop("dtype", None), kwargs.pop("casting", "same_kind")
        if kwargs:
            raise TypeError(f"Wrong arguments {kwargs}")
        if self._numpy is None or where is not None:
            raise NotModelledError(
                f"the stand-in does not act out {self.name}{' with _where' if where is not None else ''}"
            )
        if not self.nin <= len(args) <= self.nargs:
            raise TypeError(
                f"Wrong number of arguments for {self.name!r}. "
                f"It must be either {self.nin} or {self.nargs} (with outputs), but given {len(args)}."
            )
        outs = self._outs(args[self.nin :], out)
        operands = [operand(one) for one in args[: self.nin]]
        loop = self.loop(operands, None if dtype is None else np.dtype(dtype))
        shape = np.broadcast_shapes(*(one.shape for one in (*operands, *outs) if one is not None))
        made = [self._made(given, shape, wanted, casting) for given, wanted in zip(outs, loop.outputs, strict=True)]
        self._run(operands, loop, made, outs)
        return made[0] if self.nout == 1 else tuple(made)

    def _outs(self, given: tuple[Any, ...], out: Any) -> list[Any]:
        if out is not None:
            if given:
                raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
            given = out if isinstance(out, tuple) else (out,)
            if len(given) != self.nout:
                raise ValueError("The 'out' tuple must have exactly one entry per ufunc output")
        for one in given:
            if one is not None and not isinstance(one, ndarray):
                if isinstance(one, np.ndarray):
                    raise TypeError(f"Unsupported type {type(one)}")
                raise TypeError("Output arguments type must be cupy.ndarray")
        return [*given, *[None] * (self.nout - len(given))]

    def _made(self, given: ndarray | None, shape: tuple[int, ...], wanted: DType, casting: str) -> ndarray:
        if given is None:
            return fresh(shape, wanted)
        if given.shape != shape:
            raise ValueError("Out shape is mismatched")
        _dtypes.demand_cast(wanted, given.dtype, casting, "output operand")
        return given

    def _run(self, operands: list[ndarray | Scalar], loop: Loop, made: list[ndarray], outs: list[Any]) -> None:
        inputs: list[Any] = []
        for one, wanted in zip(operands, loop.inputs, strict=True):
            if isinstance(one, Scalar):
                inputs.append(_number(one.value, wanted))
            elif any(out is not None and one is not out and np.may_share_memory(one._host, out._host) for out in outs):
                inputs.append(one.copy())
            else:
                inputs.append(one)
        function = self._numpy

        def work() -> None:
            hosts = [
                one._host.astype(wanted, copy=False) if isinstance(one, ndarray) else one
                for one, wanted in zip(inputs, loop.inputs, strict=True)
            ]
            function(*hosts, out=tuple(one._host for one in made), casting="unsafe")

        run(self.name, work, [one for one in inputs if isinstance(one, ndarray)], made)

    # --- other ways to call

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        if self.__name__ not in SCATTERS:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        a._scatter_op(indices, b, SCATTERS[self.__name__])

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"`{self.name}.reduce` is not supported yet")
        return (array.sum if self.__name__ == "add" else array.prod)(axis, dtype, out, keepdims)


def _fits(given: DType, wanted: DType, weak: Any) -> bool:
    if np.can_cast(given, wanted):
        return True
    try:
        return bool(weak) and np.result_type(weak(0), wanted) == wanted
    except TypeError:
        return False


def _number(value: Any, dtype: DType) -> Any:
    """Give a number a loop's dtype; what does not fit raises, as it does where CuPy stores it."""
    with np.errstate(all="ignore"):
        return np.asarray(value, dtype=dtype)


@functools.cache
def named(name: str) -> ufunc:
    """CuPy's ufunc of a name; one object, whoever asks."""
    entry = TABLE["spaces"]["cupy"][name]
    return ufunc(name, entry["nin"], entry["nout"], entry["types"])


# --- operators ------------------------------------------------------------------------------------
# As CuPy does: another array of its own goes straight to the ufunc, everything else by NumPy's protocol.

OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
    "mod": "remainder", "lshift": "left_shift", "rshift": "right_shift", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "pow": "power",
}  # fmt: skip


def _leaves_it_to(other: Any) -> bool:
    """Say whether the other operand is to answer."""
    if hasattr(other, "__array_ufunc__"):
        return other.__array_ufunc__ is None
    return getattr(other, "__array_priority__", 0) > ndarray.__array_priority__


def _binary(name: str) -> tuple[Any, Any, Any]:
    function, of_numpy = named(name), getattr(np, name)

    def forward(self: ndarray, other: Any) -> Any:
        if isinstance(other, ndarray):
            return function(self, other)
        return NotImplemented if _leaves_it_to(other) else of_numpy(self, other)

    def reflected(self: ndarray, other: Any) -> Any:
        return NotImplemented if _leaves_it_to(other) else of_numpy(other, self)

    def in_place(self: ndarray, other: Any) -> Any:
        return function(self, other, self)

    return forward, reflected, in_place


def _power(self: ndarray, other: Any) -> Any:
    fast = {(int, 2): "square", (float, 0.5): "sqrt", (float, 2.0): "square", (float, -1.0): "reciprocal"}
    name = fast.get((type(other), other)) if type(other) in (int, float) else None
    if name is None:
        return _GENERAL_POWER(self, other)
    plain = self.dtype.kind in ("ifc" if type(other) is int else "fc")
    return named(name)(self, dtype=None if plain else np.result_type(self.dtype, other))


def _unary(function: ufunc) -> Any:
    return lambda self: function(self)


def _comparison(name: str) -> Any:
    function, of_numpy = named(name), getattr(np, name)

    def compare(self: ndarray, other: Any) -> Any:
        if isinstance(other, ndarray):
            return function(self, other)
        if _leaves_it_to(other):
            return NotImplemented
        if name in ("equal", "not_equal") and (other is None or type(other).__eq__ is object.__eq__):
            made = fresh(self.shape, np.dtype(bool))
            run("fill", lambda: made._host.fill(name == "not_equal"), [], [made])
            return made
        return of_numpy(self, other)

    return compare


def _array_ufunc(self: ndarray, function: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """NumPy's ufunc was called on an array of the device: CuPy's of the same name answers."""
    operands = inputs
    if "out" in kwargs:
        if len(kwargs["out"]) != 1:
            raise ValueError("The 'out' parameter must have exactly one array value")
        operands += kwargs["out"]
        kwargs["out"] = kwargs["out"][0]
    if function.__name__ not in TABLE["spaces"]["cupy"]:
        return NotImplemented
    for one in operands:
        if not isinstance(one, ndarray | np.ndarray | np.generic) and type(one) not in (bool, int, float, complex):
            return NotImplemented
    if function.__name__ == "matmul":
        from ._products import matmul

        return matmul(*inputs, **kwargs)
    own = named(function.__name__)
    if function.__name__ in COMPARISONS:
        inputs = tuple(x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in inputs)
    return (own if method == "__call__" else getattr(own, method))(*inputs, **kwargs)


def _array_function(self: ndarray, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's function was called on an array of the device: CuPy's of the same name answers."""
    import cupy

    try:
        space = functools.reduce(getattr, function.__module__.split(".")[1:], cupy)
        own = getattr(space, function.__name__)
    except AttributeError:
        return NotImplemented
    if own is function or not all(issubclass(t, ndarray | np.ndarray) for t in types):
        return NotImplemented
    return own(*args, **kwargs)


def _attach() -> None:
    for short, name in OPERATORS.items():
        for prefix, method in zip(("", "r", "i"), _binary(name), strict=True):
            setattr(ndarray, f"__{prefix}{short}__", method)
    for short, name in zip(("eq", "ne", "lt", "le", "gt", "ge"), COMPARISONS, strict=True):
        setattr(ndarray, f"__{short}__", _comparison(name))
    for short, name in {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}.items():
        setattr(ndarray, f"__{short}__", _unary(named(name)))
    more: Any = ndarray
    more.__divmod__ = lambda self, other: named("divmod")(self, other)
    more.__hash__ = None
    more.__array_ufunc__, more.__array_function__ = _array_ufunc, _array_function
    more.conj = more.conjugate = lambda self: named("conjugate")(self) if self.dtype.kind == "c" else self


_attach()
_GENERAL_POWER: Any = ndarray.__pow__  # type: ignore[attr-defined]
ndarray.__pow__ = _power  # type: ignore[attr-defined]
