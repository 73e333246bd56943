"""Fourier transforms: by cuFFT's plans, which are kept with their work areas, over contiguous copies.

How large a work area is, cuFFT alone knows; here it is as large as the complex numbers of the transform.
"""

from __future__ import annotations

import collections
import functools
import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _devices, _memory
from ._arrays import contiguous, fresh, ndarray, zeros
from ._creation import arange
from ._kernels import run
from ._table import acts

SIZE = 16  # plans that are kept, for each thread and device
NARROW = frozenset("efF")


class Way(NamedTuple):
    """Which transform: of complex numbers ("C2C"), from real ("R2C") or to real ones ("C2R"), and who divides."""

    kind: str
    inverse: bool
    norm: str | None

    def plain(self) -> Any:
        """NumPy's transform without a factor."""
        name = {"C2C": "ifftn" if self.inverse else "fftn", "R2C": "rfftn", "C2R": "irfftn"}[self.kind]
        return functools.partial(getattr(np.fft, name), norm="forward" if self.inverse else "backward")

    def scale(self, a: ndarray, count: int) -> None:
        norm = self.norm or "backward"
        if norm not in ("backward", "ortho", "forward"):
            raise ValueError(f'Invalid norm value {norm}, should be "backward", "ortho", or "forward".')
        if norm == "ortho":
            a /= math.sqrt(count)
        elif norm == ("backward" if self.inverse else "forward"):
            a /= count


class Node(NamedTuple):
    """A plan in the cache, as its iterator gives it."""

    plan: _memory.MemoryPointer  # its work area

    @property
    def memsize(self) -> int:
        return self.plan.mem.size


class PlanCache:
    """The plans of one thread on one device, the one used last at the end."""

    def __init__(self) -> None:
        self.size = SIZE
        self.plans: collections.OrderedDict[Any, _memory.MemoryPointer] = collections.OrderedDict()

    def plan(self, key: Any, nbytes: int) -> _memory.MemoryPointer:
        """Give the work area of the plan of that key, which is made unless it is there."""
        if key in self.plans:
            self.plans.move_to_end(key)
            return self.plans[key]
        made = _memory.alloc(nbytes)
        if self.size:  # otherwise it is not kept
            self.plans[key] = made
        self.limit()
        return made

    def __iter__(self) -> Iterator[tuple[Any, Node]]:
        """The one used last first."""
        return ((key, Node(plan)) for key, plan in reversed(self.plans.items()))

    def __delitem__(self, key: Any) -> None:
        if self.size:
            del self.plans[key]

    def limit(self) -> None:
        while len(self.plans) > self.size >= 0:
            self.plans.popitem(last=False)

    def get_size(self) -> int:
        return self.size

    def set_size(self, size: int) -> None:
        self.size = size
        self.limit()

    def get_curr_size(self) -> int:
        return len(self.plans)

    def get_curr_memsize(self) -> int:
        return sum(plan.mem.size for plan in self.plans.values())

    def clear(self) -> None:
        self.plans.clear()


_local = threading.local()


def get_plan_cache() -> PlanCache:
    kept = _local.__dict__.setdefault("caches", {})
    return kept.setdefault(_devices.current(), PlanCache())


def clear_plan_cache() -> None:
    get_plan_cache().clear()


def set_plan_cache_size(size: int) -> None:
    get_plan_cache().set_size(size)


def get_plan_cache_size() -> int:
    return get_plan_cache().size


# --- one transform --------------------------------------------------------------------------------


def _converted(a: Any, real: bool) -> ndarray:
    """Cast to what cuFFT takes: float32 or float64 for real input, complex64 or complex128 otherwise."""
    if not isinstance(a, ndarray):
        raise TypeError("The input array a must be a cupy.ndarray")
    dtype = (
        np.dtype("f" if a.dtype.char in NARROW else "d") if real else np.dtype("F" if a.dtype.char in NARROW else "D")
    )
    return a if a.dtype == dtype else a.astype(dtype)


def _cooked(a: ndarray, sizes: Sequence[int | None], axes: Sequence[int], half: bool) -> ndarray:
    """Cut the input to the sizes that are asked for, or copy it into zeros."""
    for k, (size, axis) in enumerate(zip(sizes, axes, strict=True)):
        wanted = size // 2 + 1 if half and size is not None and k == len(axes) - 1 else size
        if wanted is None or wanted == a.shape[axis]:
            continue
        place = [slice(None)] * a.ndim
        place[axis] = slice(0, min(wanted, a.shape[axis]))
        if wanted < a.shape[axis]:
            a = a[tuple(place)]
        else:
            shape = list(a.shape)
            shape[axis] = wanted
            larger = zeros(shape, a.dtype)
            larger[tuple(place)] = a
            a = larger
    return a


def _transform(a: ndarray, way: Way, axes: tuple[int, ...], out_size: int | None) -> ndarray:
    """Run one plan over axes of an array that lies in one piece."""
    for axis in axes:
        if a.shape[axis] < 1:
            raise ValueError(f"Invalid number of FFT data points ({a.shape[axis]}) specified.")
    kind, function = way.kind, way.plain()
    options: dict[str, Any] = {"axes": axes}
    if kind == "C2R":
        options["s"] = (*(a.shape[k] for k in axes[:-1]), out_size)
    shape = list(a.shape)
    if kind != "C2C":
        shape[axes[-1]] = a.shape[axes[-1]] // 2 + 1 if kind == "R2C" else int(out_size or 0)
    dtype = {"C2C": a.dtype, "R2C": np.dtype(a.dtype.char.upper()), "C2R": np.dtype(a.dtype.char.lower())}[kind]
    made = fresh(shape, dtype, "F" if a.flags.fnc else "C")
    size = (
        max(math.prod(a.shape), math.prod(shape)) * (8 if a.dtype.char in "fF" else 16) // (1 if kind == "C2C" else 2)
    )
    area = get_plan_cache().plan((kind, a.dtype.char, a.shape, axes, out_size), size)
    run(
        f"cufft {kind}",
        lambda: np.copyto(made._host, function(a._host, **options)),
        [a],
        [made],
        library="cuFFT",
        scratch=[area.mem],
    )
    return made


def _along(a: ndarray, axis: int, way: Way, out_size: int | None = None) -> ndarray:
    """One axis: brought to the end, copied unless it is an array of its own that lies in one piece."""
    axis %= a.ndim
    source = a if axis == a.ndim - 1 else a.swapaxes(axis, -1)
    if source.base is not None or not source.flags.c_contiguous or way.kind == "C2R":
        source = source.copy()
    last = source.ndim - 1
    made = _transform(source, way, (last,), out_size)
    way.scale(made, source.shape[-1] if way.kind == "R2C" else made.shape[-1])
    return made if axis == a.ndim - 1 else made.swapaxes(axis, -1)


def _one(a: Any, n: int | None, axis: int, way: Way) -> ndarray:
    ready = _cooked(_converted(a, way.kind == "R2C"), (n,), (axis,), way.kind == "C2R")
    out_size = None if way.kind != "C2R" else n if n is not None else 2 * (ready.shape[axis] - 1)
    return _along(ready, axis, way, out_size)


def _many(a: Any, s: Any, axes: Any, way: Way) -> ndarray:
    """Several axes: one plan where they are neighbours at one end, otherwise one after the other."""
    if not isinstance(a, ndarray):
        raise TypeError("The input array a must be a cupy.ndarray")
    if axes is None:
        axes = range(a.ndim - (a.ndim if s is None else len(s)), a.ndim)
    axes = tuple(k % a.ndim for k in axes)
    if s is not None and len(s) != len(axes):
        raise ValueError("Shape and axes have different lengths.")
    sizes = (None,) * len(axes) if s is None else tuple(s)
    out_size = None
    if way.kind == "C2R":
        out_size = sizes[-1] if sizes[-1] is not None else 2 * (a.shape[axes[-1]] - 1)
    ordered = tuple(sorted(axes)) if way.kind == "C2C" else (*sorted(axes[:-1]), axes[-1])
    by_one = len(axes) > 1 and _neighbours(ordered, a.ndim) and (way.kind == "C2C" or not a.flags.f_contiguous)
    ready = _converted(a, way.kind == "R2C")
    if not by_one:
        return _one_by_one(_cooked(ready, sizes, axes, way.kind == "C2R"), axes, way, out_size)
    order = "F" if ready.flags.f_contiguous else "C"
    ready = contiguous(_cooked(contiguous(ready, order), sizes, axes, way.kind == "C2R"), order)
    if way.kind == "C2R":
        ready = ready.copy()  # cuFFT may write over it
    made = _transform(ready, way, ordered, out_size)
    of = ready if way.kind == "R2C" else made
    way.scale(made, math.prod(of.shape[k] for k in ordered))
    return made


def _one_by_one(a: ndarray, axes: tuple[int, ...], way: Way, out_size: int | None) -> ndarray:
    if way.kind == "R2C":
        a = _along(a, axes[-1], way)
    for axis in axes if way.kind == "C2C" else axes[:-1]:
        a = _along(a, axis, way._replace(kind="C2C"))
    return _along(a, axes[-1], way, out_size) if way.kind == "C2R" else a


def _neighbours(ordered: tuple[int, ...], ndim: int) -> bool:
    at_an_end = 0 in ordered or ndim - 1 in ordered
    return len(ordered) <= 3 and at_an_end and all(b - a == 1 for a, b in itertools.pairwise(ordered))


# --- the names ------------------------------------------------------------------------------------


@acts("cupy.fft.fft")
def fft(a: ndarray, n: int | None = None, axis: int = -1, norm: str | None = None) -> ndarray:
    return _one(a, n, axis, Way("C2C", False, norm))


@acts("cupy.fft.ifft")
def ifft(a: ndarray, n: int | None = None, axis: int = -1, norm: str | None = None) -> ndarray:
    return _one(a, n, axis, Way("C2C", True, norm))


@acts("cupy.fft.rfft")
def rfft(a: ndarray, n: int | None = None, axis: int = -1, norm: str | None = None) -> ndarray:
    return _one(a, n, axis, Way("R2C", False, norm))


@acts("cupy.fft.irfft")
def irfft(a: ndarray, n: int | None = None, axis: int = -1, norm: str | None = None) -> ndarray:
    return _one(a, n, axis, Way("C2R", True, norm))


@acts("cupy.fft.fftn", "cupy.fft.fft2")
def fftn(a: ndarray, s: Any = None, axes: Any = None, norm: str | None = None) -> ndarray:
    return _many(a, s, axes, Way("C2C", False, norm))


@acts("cupy.fft.ifftn", "cupy.fft.ifft2")
def ifftn(a: ndarray, s: Any = None, axes: Any = None, norm: str | None = None) -> ndarray:
    return _many(a, s, axes, Way("C2C", True, norm))


@acts("cupy.fft.rfftn", "cupy.fft.rfft2")
def rfftn(a: ndarray, s: Any = None, axes: Any = None, norm: str | None = None) -> ndarray:
    return _many(a, s, axes, Way("R2C", False, norm))


@acts("cupy.fft.irfftn", "cupy.fft.irfft2")
def irfftn(a: ndarray, s: Any = None, axes: Any = None, norm: str | None = None) -> ndarray:
    return _many(a, s, axes, Way("C2R", True, norm))


def _frequencies(found: np.ndarray[Any, Any]) -> ndarray:
    made = arange(found.size, dtype=found.dtype)
    run("cupy_multiply", lambda: np.copyto(made._host, found), [], [made])
    return made


@acts("cupy.fft.fftfreq")
def fftfreq(n: int, d: float = 1.0) -> ndarray:
    return _frequencies(np.fft.fftfreq(n, d))


@acts("cupy.fft.rfftfreq")
def rfftfreq(n: int, d: float = 1.0) -> ndarray:
    return _frequencies(np.fft.rfftfreq(n, d))


@acts("cupy.fft.fftshift")
def fftshift(x: ndarray, axes: Any = None) -> ndarray:
    from ._shapes import roll

    along = range(x.ndim) if axes is None else (axes,) if isinstance(axes, int) else axes
    return roll(x, tuple(x.shape[k] // 2 for k in along), tuple(along))
