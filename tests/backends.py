"""The array libraries that every operation is tested on: the package's guises, and those that trace or forbid."""

import contextlib
import functools
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from unittest import mock

import array_api_compat
import numpy as np

import xpconv
from tests import nvrtc, standin
from xpconv._tools import guises as _guises
from xpconv._tools import libraries as _libraries
from xpconv._tools.libraries import PACKAGES, Library, LibraryError

Array = Any


@dataclass(frozen=True)
class Backend:
    """A library on a device, the way arrays go in, and how a function is called; the verifier's bench takes it too."""

    name: str
    library: Library
    guise: str = "plain"  # "plain", "readonly", "compiled", "jit", "x64" or "lazy"
    lacks: frozenset[str] = frozenset()  # dtypes that are not there

    def __str__(self) -> str:
        return self.name

    @cached_property
    def xp(self) -> Any:
        """The namespace that results must have."""
        return array_api_compat.array_namespace(self.asarray(np.zeros(1, np.float32)))

    @cached_property
    def device(self) -> Any:
        """The device that results must be on."""
        return array_api_compat.device(self.asarray(np.zeros(1, np.float32)))

    @property
    def index_dtype(self) -> str:
        """Dtype of max_pool's indices: int64, or the widest integer of the library's device."""
        return "int32" if "int64" in self.lacks else "int64"

    def has(self, dtype: str) -> bool:
        """Whether arrays of that dtype exist here."""
        return dtype not in self.lacks

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Give what has to hold around every use of the library's arrays."""
        if self.guise == "x64":
            import jax

            with jax.enable_x64(True):  # of this thread alone
                yield
        elif self.guise == "compiled":
            # a few channels will do, so that small cases show what the loops do
            with xpconv.set_options(compiled=True), mock.patch("xpconv._pooling.compiled.LEAST", 1):
                yield
        else:
            yield

    def asarray(self, data: Any, dtype: str | None = None) -> Array:
        """Copy a NumPy array to this backend, dtype kept or (bfloat16) rounded."""
        with self.scope():
            array = self.library.asarray(data, dtype)
        if self.guise == "readonly":
            array.flags.writeable = False
        return array

    def to_numpy(self, array: Array) -> np.ndarray:
        """Copy an array of this backend to NumPy; a dask array is computed here, and nowhere else."""
        if self.guise == "lazy":
            array = array.compute(scheduler="synchronous")
        with self.scope():
            return self.library.to_numpy(array)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give what calls a pure function of arrays here: compiled once, or forbidden to compute."""
        if self.guise == "jit":
            return self.library.compiled(function)
        if self.guise in ("compiled", "x64", "lazy"):
            return lambda *arrays: self.raw(function, *arrays)
        return function

    def raw(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a function on arguments that are this backend's already: traced, lazy or plain, as the guise says."""
        with self.scope():
            if self.guise == "jit":
                return _jitted(function, arguments, options)
            if self.guise == "lazy":
                return _without_compute(function, arguments, options)
            return function(*arguments, **options)

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Move the NumPy arrays among the arguments here, call, and demand that no argument has changed."""
        here = [self.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
        result = self.raw(function, *here, **options)
        demand_unchanged(self, arguments, here)
        return result


def demand_unchanged(backend: Backend, before: Any, after: Any) -> None:
    """Compare the bytes of arguments after a call with the NumPy arrays that they were made from."""
    for position, (old, new) in enumerate(zip(before, after, strict=True)):
        if isinstance(old, np.ndarray):
            now = backend.to_numpy(new)
            same = now.shape == old.shape and now.dtype == old.dtype and now.tobytes() == old.tobytes()
            assert same, f"argument {position} was mutated on {backend}"


def _is_array(value: Any) -> bool:
    return bool(array_api_compat.is_array_api_obj(value))


def _jitted(function: Callable[..., Any], arguments: Any, options: Any) -> Any:
    """Trace the arrays; everything else is a constant of the trace."""
    import jax

    places = [i for i, a in enumerate(arguments) if _is_array(a)]

    def traced(*arrays: Any) -> Any:
        filled = list(arguments)
        for place, array in zip(places, arrays, strict=True):
            filled[place] = array
        return function(*filled, **options)

    return jax.jit(traced)(*[arguments[i] for i in places])


class ComputeError(AssertionError):
    """An operation computed a dask graph, where it should only have built one."""


def _without_compute(function: Callable[..., Any], arguments: Any, options: Any) -> Any:
    import dask

    def forbidden(*_: Any, **__: Any) -> None:
        raise ComputeError("an operation computed a dask graph")

    with dask.config.set(scheduler=forbidden):
        return function(*arguments, **options)


WIDE = frozenset({"float64", "complex128", "int64", "uint64"})
NARROW = frozenset({"float16", "bfloat16"})
UNSIGNED = frozenset({"uint16", "uint32", "uint64"})  # PyTorch stores them and does not add them
COMPILED = ("jax", "jax-jit", "jax-x64")  # each shape anew
SLOW = (*COMPILED, "dask")

# what a library shows only if it is called in a certain way
_WAYS = {"numpy-compiled": "compiled", "dask": "lazy", "jax-jit": "jit", "jax-x64": "x64"}
LACKS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("strict", "strict-device1"), NARROW),
    "strict-no-float64": NARROW | {"float64", "complex128"},
    "torch": UNSIGNED,
    "dpnp": frozenset({"bfloat16"}),
    **dict.fromkeys(("jax", "jax-jit"), WIDE),
}
# name -> library, device, whether its arrays are read-only
_FORMS: dict[str, tuple[str, str | None, bool]] = {
    **_guises.GUISES,
    "numpy-compiled": ("numpy", None, False),
    "strict-no-float64": ("strict", "no_float64", False),
    "jax-jit": ("jax", None, False),
    "jax-x64": ("jax", None, False),
}
BACKENDS = {name: library for name, (library, _, _) in _FORMS.items()} | {"numpy-compiled": "numba"}  # what it needs
ALWAYS = "numpy,strict"
STANDIN = "cupy-standin"  # what CuPy is where it has no device: tests that name "cupy" run on it then, by this name


def shown(name: str) -> str:
    """Give the name that a backend goes by in this run."""
    return STANDIN if name == "cupy" and standin.is_installed() else name


@functools.cache
def load(name: str) -> Backend:
    """Import a backend; LibraryError says why it cannot be used."""
    library, device, readonly = _FORMS[name]
    guise = "readonly" if readonly else _WAYS.get(name, "plain")
    return Backend(shown(name), _libraries.load(library, device), guise, LACKS.get(name, frozenset()))


@functools.cache
def usable(library: str) -> bool:
    """Whether tests of a library can run here: it is installed, or a stand-in is; nothing is imported."""
    stands_in = library == "cupy" and standin.is_installed()
    if library == "nvrtc":
        return nvrtc.path() is not None
    if library == "cupy itself":
        return standin.real() is not None
    return stands_in or importlib.util.find_spec(PACKAGES.get(library, library)) is not None


def names(*chosen: str) -> list[str]:
    """Name the backends, or the chosen ones, whose library is usable here."""
    return [name for name in chosen or BACKENDS if usable(BACKENDS[name])]


def missing(libraries: str) -> list[str]:
    """One line for each of the comma-separated libraries that cannot be used here."""
    lines = []
    for name in filter(None, (part.strip() for part in libraries.split(","))):
        try:
            if name in ("cupy", STANDIN):
                if shown("cupy") != name:
                    raise LibraryError(f"backend {name!r} was asked for, and CuPy is here {standin.describe()}")
                name = "cupy"
            _libraries.load(name)
        except LibraryError as error:
            lines.append(str(error))
    return lines
