"""The only file that knows that array libraries differ: namespaces, dtypes, windows, work arrays, writes."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import array_api_compat as compat
import array_api_extra as xpx
import numpy as np

Array = Any
Namespace = Any
DType = Any

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Traits:
    """What a library can do on one kind of device, as far as the plan and the driver care."""

    name: str
    mutable: bool = False  # results are allocated first and written tile by tile
    strided: bool = False  # overlapping windows can be had as a view
    threads: bool = False  # array calls let other Python threads run
    buffers: bool = False  # work arrays are written with out= and used again
    cache: int | None = None  # bytes that a tile's working set should fit; None: as large as the workspace allows
    kind: str = "cpu"
    looks: bool = False  # a value can be looked at without waiting for a device, and is no trace
    lazy: bool = False  # arrays may be cut into chunks, along which nothing can be transformed or put in place
    indexed: bool = False  # values can be put at places that arrays of indices give


# Of 2 to 6 MiB, on 19 layers, on cores with a second-level cache of 1 MiB and a shared third-level one of 32 MiB: 4 MiB
# takes 0.97 to 1.00 of the time of 2 MiB, and 0.5 to 0.8 of it where few channels make the array calls short.
NUMPY = Traits("numpy", mutable=True, strided=True, threads=True, buffers=True, cache=4 * MIB, looks=True)
TORCH = Traits("torch", mutable=True, strided=True, cache=4 * MIB, looks=True, indexed=True)
# Fewer, larger kernels: a tile's columns should fit a GPU's second-level cache (40 to 60 MB on data-centre parts).
CUPY = Traits("cupy", mutable=True, strided=True, cache=24 * MIB, kind="cuda", indexed=True)
TORCH_CUDA = replace(CUPY, name="torch")
JAX = Traits("jax", indexed=True)
DASK = Traits("dask", lazy=True)
OTHER = Traits("array api")


def _traits(array: Array, device: Any) -> Traits:
    if compat.is_cupy_array(array):
        return CUPY
    if compat.is_torch_array(array):
        return TORCH if str(device).startswith("cpu") else TORCH_CUDA
    if compat.is_jax_array(array):
        return JAX
    if compat.is_dask_array(array):
        return DASK
    return OTHER


def inspect(function: str, **arrays: Array) -> tuple[Namespace, Traits]:
    """Find the one namespace, device and dtype of a call's arrays; TypeError where they are not one.

    A bias b that is None is passed over.
    """
    given = {name: array for name, array in arrays.items() if array is not None or name != "b"}
    (first, x), *rest = given.items()
    if all(type(array) is np.ndarray for array in given.values()):
        xp, traits = _numpy_namespace(), NUMPY
    else:
        xp, traits = _inspect_any(function, given)
    for name, array in rest:
        if array.dtype != x.dtype:
            raise TypeError(
                f"{function}: the arrays of one call have one dtype; got {first}.dtype={dtype_name(x.dtype)}, "
                f"{name}.dtype={dtype_name(array.dtype)}; convert one with astype"
            )
    _check_kind(function, xp, first, x.dtype)
    return xp, traits


def inspect_apart(function: str, **arrays: Array) -> tuple[Namespace, Traits]:
    """Find the one namespace and device of a call's arrays, whose dtypes may differ."""
    xp, traits = _inspect_any(function, arrays)
    for name, array in arrays.items():
        _check_kind(function, xp, name, array.dtype)
    return xp, traits


@lru_cache(maxsize=1)
def _numpy_namespace() -> Namespace:
    return compat.array_namespace(np.empty(0))


def _inspect_any(function: str, given: dict[str, Array]) -> tuple[Namespace, Traits]:
    xp, device, first = None, None, ""
    for name, array in given.items():
        if not compat.is_array_api_obj(array):
            raise TypeError(f"{function}: {name} is an array; got {type(array).__name__}")
        if isinstance(array, (np.generic, np.matrix, np.ma.MaskedArray)):
            raise TypeError(f"{function}: {name} is a plain numpy.ndarray; got {type(array).__name__}")
        space, place = compat.array_namespace(array), _device(array)
        if xp is None:
            xp, device, first = space, place, name
        elif space is not xp:
            raise TypeError(
                f"{function}: the arrays of one call belong to one library; got {first}: {_name(xp)}, "
                f"{name}: {_name(space)}; convert one of them first"
            )
        elif place != device and place is not None and device is not None:
            raise TypeError(
                f"{function}: the arrays of one call are on one device; got {first}.device={device}, "
                f"{name}.device={place}; move one of them first"
            )
    x = given[first]
    return xp, NUMPY if isinstance(x, np.ndarray) else _traits(x, device)


def _name(xp: Namespace) -> str:
    return str(xp.__name__).removeprefix("array_api_compat.")


def _device(array: Array) -> Any:
    """Give the device; a traced array has none."""
    try:
        return compat.device(array)
    except (AttributeError, TypeError):
        return None


def _check_kind(function: str, xp: Namespace, name: str, dtype: DType) -> None:
    if not _numeric(xp, dtype):
        raise TypeError(
            f"{function}: {name} has a numeric dtype of this machine (integer, floating up to 64 bits, or complex of "
            f"such); got {name}.dtype={dtype_name(dtype)}; convert it with astype"
        )


@lru_cache(maxsize=256)
def _numeric(xp: Namespace, dtype: DType) -> bool:
    if isinstance(dtype, np.dtype) and (not dtype.isnative or dtype.char in "gG"):
        return False  # byte-swapped numbers and long doubles, which the faster paths do not take
    if dtype_name(dtype).startswith(("float4_", "float6_", "float8_")):
        return False  # PyTorch's count as floating, but have next to no arithmetic
    try:
        return is_kind(xp, dtype, "numeric")
    except (TypeError, ValueError):
        return False


@lru_cache(maxsize=256)
def _numpy_name(dtype: np.dtype[Any]) -> str:
    return str(dtype.name)  # which NumPy puts together anew each time


def dtype_name(dtype: DType) -> str:
    """Give a dtype's name as the standard has it, whatever the library prints."""
    if isinstance(dtype, np.dtype):
        return _numpy_name(dtype)
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None)
    return str(name or dtype).rpartition(".")[2]


# --- dtypes ---------------------------------------------------------------------------------------


def is_bfloat16(dtype: DType) -> bool:
    """Say whether this is ml_dtypes's bfloat16, which NumPy's own questions about dtypes do not know."""
    return isinstance(dtype, np.dtype) and dtype.itemsize == 2 and dtype_name(dtype) == "bfloat16"


@lru_cache(maxsize=256)
def is_kind(xp: Namespace, dtype: DType, kind: str) -> bool:
    """Ask the namespace whether a dtype is of a kind of the standard ("integral", "complex floating", …)."""
    if is_bfloat16(dtype):
        return kind in ("real floating", "numeric")
    return bool(xp.isdtype(dtype, kind))


@lru_cache(maxsize=256)
def itemsize(xp: Namespace, dtype: DType) -> int:
    """Count the bytes of one element."""
    if is_bfloat16(dtype):
        return 2
    if is_kind(xp, dtype, "integral"):
        return int(xp.iinfo(dtype).bits) // 8
    size = int(xp.finfo(dtype).bits) // 8
    return 2 * size if is_kind(xp, dtype, "complex floating") else size


@lru_cache(maxsize=256)
def accumulator(xp: Namespace, dtype: DType) -> DType:
    """Give the dtype that sums are taken in: float32 for the 16-bit floating types, otherwise the dtype itself."""
    return xp.float32 if not is_kind(xp, dtype, "integral") and itemsize(xp, dtype) == 2 else dtype


def result_dtype(function: str, xp: Namespace, dtype: DType, wanted: DType | str | None) -> DType:
    """Read the dtype= keyword: a wider dtype of the same kind, or the arrays' own."""
    if wanted is None:
        return dtype
    wanted = read_dtype(function, xp, wanted)
    kinds = ("integral", "real floating", "complex floating")
    try:
        wide = xp.result_type(dtype, wanted) == wanted
    except (TypeError, ValueError):
        wide = False
    if not wide or any(is_kind(xp, dtype, kind) != is_kind(xp, wanted, kind) for kind in kinds):
        raise TypeError(
            f"{function}: dtype is of the arrays' kind and at least as wide; got "
            f"dtype={dtype_name(wanted)} for arrays of {dtype_name(dtype)}"
        )
    return wanted


def read_dtype(function: str, xp: Namespace, wanted: DType | str) -> DType:
    """Turn a dtype or its name into the namespace's dtype."""
    name = wanted if isinstance(wanted, str) else None
    found = getattr(xp, name, None) if name else wanted
    if name == "bfloat16" and found is None and "ml_dtypes" in sys.modules:
        found = np.dtype(name)
    if isinstance(found, type) and issubclass(found, np.generic) and np.dtype(found).kind != "O":
        found = np.dtype(found)
    if found is None or not _numeric(xp, found):
        raise TypeError(f"{function}: dtype is a numeric dtype of the arrays' library, or a name; got dtype={wanted!r}")
    return found


def plain(array: Array) -> Array:
    """Give an array of a subclass of NumPy's as one of NumPy's own."""
    return array.view(np.ndarray) if isinstance(array, np.ndarray) else array


def cast(xp: Namespace, array: Array, dtype: DType) -> Array:
    """Convert an array's dtype, without a copy where it has it already."""
    return array if array.dtype == dtype else xp.astype(array, dtype)


def named_traits(function: str, device: Any, dtype: DType | str) -> tuple[Traits, Namespace, DType]:
    """Stand in for arrays that are only described: NumPy's traits, or CuPy's for a CUDA device."""
    kind = str(getattr(device, "type", device) or "cpu").lower().partition(":")[0]
    if kind not in ("cpu", "cuda", "gpu"):
        raise ValueError(f"{function}: device is None, 'cpu' or 'cuda'; got device={device!r}")
    xp = _numpy_namespace()
    return NUMPY if kind == "cpu" else CUPY, xp, read_dtype(function, xp, dtype)


def least(xp: Namespace, dtype: DType) -> Any:
    """Give what max pooling pads with: minus infinity, or an integer dtype's least value."""
    return int(xp.iinfo(dtype).min) if is_kind(xp, dtype, "integral") else -math.inf


def index_dtype(xp: Namespace, like: Array) -> DType:
    """Give int64, or what a library without it counts in (JAX with 64-bit types switched off)."""
    if isinstance(like, np.ndarray):
        return xp.int64
    return xp.__array_namespace_info__().default_dtypes(device=_device(like))["indexing"]


# --- shapes ---------------------------------------------------------------------------------------


def to_channels_last(xp: Namespace, array: Array, layout: str) -> Array:
    """(N, C, *spatial) -> (N, *spatial, C), a view where the library has views."""
    return array if layout == "channels_last" else xp.moveaxis(array, 1, -1)


def from_channels_last(xp: Namespace, array: Array, layout: str) -> Array:
    """(N, *spatial, C) -> (N, C, *spatial), a view where the library has views."""
    return array if layout == "channels_last" else xp.moveaxis(array, -1, 1)


def kernel_to_channels_last(xp: Namespace, w: Array, layout: str) -> Array:
    """(F, C/G, *kernel) -> (*kernel, C/G, F)."""
    if layout == "channels_last":
        return w
    return xp.permute_dims(w, (*range(2, w.ndim), 1, 0))


def kernel_from_channels_last(xp: Namespace, w: Array, layout: str) -> Array:
    """(*kernel, C/G, F) -> (F, C/G, *kernel)."""
    if layout == "channels_last":
        return w
    return xp.permute_dims(w, (w.ndim - 1, w.ndim - 2, *range(w.ndim - 2)))


def contiguous(xp: Namespace, array: Array) -> Array:
    """Give an array whose memory lies in the order of its axes, where the library can say so."""
    if isinstance(array, np.ndarray):
        return np.ascontiguousarray(array)
    return array.contiguous() if hasattr(array, "contiguous") else array


def fresh(xp: Namespace, array: Array) -> Array:
    """Copy what may be a view of an argument."""
    return xp.asarray(array, copy=True)


def empty(xp: Namespace, shape: Sequence[int], dtype: DType, like: Array, layout: str) -> Array:
    """Allocate a result whose memory has the caller's layout and give it, channels last, for writing."""
    device = {} if isinstance(like, np.ndarray) else {"device": compat.device(like)}
    if layout == "channels_last":
        return xp.empty(tuple(shape), dtype=dtype, **device)
    n, *spatial, c = shape
    return xp.moveaxis(xp.empty((n, c, *spatial), dtype=dtype, **device), 1, -1)


def zeros(xp: Namespace, shape: Sequence[int], dtype: DType, like: Array) -> Array:
    """Allocate zeros on the device of `like`."""
    device = None if isinstance(like, np.ndarray) else _device(like)
    return xp.zeros(tuple(shape), dtype=dtype) if device is None else xp.zeros(tuple(shape), dtype=dtype, device=device)


def arange(xp: Namespace, stop: int, dtype: DType, like: Array) -> Array:
    """Count from 0 to stop - 1 on the device of `like`."""
    device = None if isinstance(like, np.ndarray) else _device(like)
    return xp.arange(stop, dtype=dtype) if device is None else xp.arange(stop, dtype=dtype, device=device)


def host_array(xp: Namespace, values: Any, dtype: DType, like: Array) -> Array:
    """Move a NumPy array, or a short sequence of Python numbers, to the device of `like`."""
    device = None if isinstance(like, np.ndarray) else _device(like)
    values = values if isinstance(values, np.ndarray) else list(values)
    return xp.asarray(values, dtype=dtype) if device is None else xp.asarray(values, dtype=dtype, device=device)


_CONSTANTS: dict[Any, Array] = {}


def constant_matrix(xp: Namespace, key: Any, values: np.ndarray[Any, Any], dtype: DType, like: Array) -> Array:
    """Give a small matrix of constants in a dtype and on the device of `like`; `key` names it.

    NumPy and CuPy keep it: making it anew would cost more than a small call, and on a GPU a transfer.
    """
    device = None if isinstance(like, np.ndarray) else _device(like)
    kept = isinstance(like, np.ndarray) or compat.is_cupy_array(like)
    place = (xp.__name__, dtype_name(dtype), str(device), key)
    if kept and place in _CONSTANTS:
        return _CONSTANTS[place]
    found = xp.asarray(values, dtype=dtype) if device is None else xp.asarray(values, dtype=dtype, device=device)
    if kept:
        while len(_CONSTANTS) >= 256:  # of another kernel: a kilobyte or ten each
            _CONSTANTS.pop(next(iter(_CONSTANTS)), None)
        _CONSTANTS[place] = found
    return found


# --- writes ---------------------------------------------------------------------------------------


def write(target: Array, region: tuple[slice, ...], block: Array) -> None:
    """Write a block into an array that was allocated in the same call, converted to its dtype."""
    target[region] = block


def add_to(xp: Namespace, target: Array, region: tuple[slice, ...], block: Array) -> Array:
    """Add a block to a region of an array that was made in the same call; use the array given back."""
    block = cast(xp, block, target.dtype)
    if isinstance(target, np.ndarray):
        view = target[region]
        np.add(view, block, out=view)
        return target
    return xpx.at(target)[region].add(block, xp=xp)


def constant(xp: Namespace, shape: Sequence[int], fill: Any, like: Array) -> Array:
    """Make a constant array with the dtype and device of `like`."""
    device = None if isinstance(like, np.ndarray) else _device(like)
    if device is None:
        return xp.full(tuple(shape), fill, dtype=like.dtype)
    return xp.full(tuple(shape), fill, dtype=like.dtype, device=device)


def window_view(
    slab: Array, kernel: Sequence[int], output: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Array:
    """(n, *slab, C) -> (n, *output, *kernel, C), a view; only where the traits say `strided`.

    CuPy's `sliding_window_view` would wait for the device on every axis, so this is `as_strided` everywhere.
    """
    n, *_, c = slab.shape
    shape = (n, *output, *kernel, c)
    steps = slab.stride() if hasattr(slab, "stride") else slab.strides
    first, *spatial, last = steps
    strides = (
        first,
        *(a * s for a, s in zip(spatial, stride, strict=True)),
        *(a * d for a, d in zip(spatial, dilation, strict=True)),
        last,
    )
    if isinstance(slab, np.ndarray):
        return np.lib.stride_tricks.as_strided(slab, shape, strides, writeable=False)
    if hasattr(slab, "as_strided"):
        return slab.as_strided(shape, strides, slab.storage_offset())
    from cupy.lib.stride_tricks import as_strided  # CuPy is loaded: the slab is its array

    return as_strided(slab, shape, strides)
