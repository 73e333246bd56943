"""Matrix products: which of them cuBLAS does, what is copied first, and what it rounds in."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from . import _dtypes
from ._arrays import Host, copy_elements, fresh, ndarray, view_of, zeros
from ._creation import demand_array
from ._kernels import run
from ._table import NotModelledError, acts

COMPUTE_TYPES = {
    "COMPUTE_TYPE_TBD": 0, "COMPUTE_TYPE_DEFAULT": 1, "COMPUTE_TYPE_PEDANTIC": 2, "COMPUTE_TYPE_FP16": 3,
    "COMPUTE_TYPE_FP32": 4, "COMPUTE_TYPE_FP64": 5, "COMPUTE_TYPE_BF16": 6, "COMPUTE_TYPE_TF32": 7,
}  # fmt: skip
_chosen: dict[str, int] = {}


def _family(dtype: Any) -> str:
    dtype = np.dtype(dtype)
    if dtype == _dtypes.bfloat16():
        return "bf16"
    for chars in ("e", "fF", "dD"):
        if dtype.char in chars:
            return chars
    raise TypeError(f"dtype is not supported: {dtype}")


def get_compute_type(dtype: Any) -> int:
    """What products of a dtype are summed in: read from CUPY_TF32 once, then as it was set."""
    family = _family(dtype)
    if not _chosen.get(family):
        tf32 = family == "fF" and int(os.getenv("CUPY_TF32", "0")) > 0
        _chosen[family] = COMPUTE_TYPES["COMPUTE_TYPE_TF32" if tf32 else "COMPUTE_TYPE_DEFAULT"]
    return _chosen[family]


def set_compute_type(dtype: Any, compute_type: int) -> None:
    if compute_type not in COMPUTE_TYPES.values():
        raise ValueError(f"Unknown compute type: {compute_type}")
    _chosen[_family(dtype)] = compute_type


def _rounded(host: Host) -> Host:
    """Round a factor to TF32's ten bits of fraction."""
    if host.dtype.kind == "c":
        return (_rounded(host.real.copy()) + 1j * _rounded(host.imag.copy())).astype(host.dtype)
    bits = host.view(np.uint32).astype(np.uint64)
    return ((bits + 0x0FFF + ((bits >> 13) & 1)) & 0xFFFFE000).astype(np.uint32).view(np.float32)


def _factor(host: Host, dtype: np.dtype[Any]) -> Host:
    """What the sums are taken of: float16 and bfloat16 in float32, float32 rounded where TF32 is on."""
    if dtype.char == "e" or dtype == _dtypes.bfloat16():
        return host.astype(np.float32)
    host = host.astype(dtype)
    if dtype.char in "fF" and get_compute_type(dtype) == COMPUTE_TYPES["COMPUTE_TYPE_TF32"]:
        return _rounded(np.ascontiguousarray(host))
    return host


def _launch(name: str, a: ndarray, b: ndarray, made: ndarray, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Multiply a stack of matrices with one kernel."""
    real = 4 if dtype.kind == "c" else 1
    flops = 2 * real * int(np.prod(made.shape)) * a.shape[-1]

    def work() -> None:
        found = np.matmul(_factor(a._host, dtype), _factor(b._host, dtype))
        np.copyto(made._host, found.reshape(shape), casting="unsafe")

    run(name, work, [a, b], [made], flops=flops, library=None if dtype.kind in "biu" else "cuBLAS")


def _ready(a: ndarray, dtype: np.dtype[Any]) -> ndarray:
    """Cast a matrix, and copy it if it lies neither in C's nor in Fortran's order."""
    a = a.astype(dtype, copy=False)
    return a if a._host.flags.forc else a.copy()


@acts("cupy.dot")
def dot(a: Any, b: Any, out: ndarray | None = None) -> ndarray:
    """The last axis of a with the one before last of b, as one matrix product."""
    demand_array(a, b)
    if a.ndim == 0 or b.ndim == 0:
        from ._ufuncs import named

        return named("multiply")(a, b, out=out)
    dtype = np.promote_types(a.dtype, b.dtype)
    if out is not None and (out.dtype != dtype or not out._host.flags.c_contiguous):
        raise ValueError(
            "Not supported dtype combination." if out.dtype != dtype else "Output array must be C-contiguous"
        )
    left = a.reshape(1, -1) if a.ndim == 1 else a
    right = b.reshape(-1, 1) if b.ndim == 1 else b
    if left.shape[-1] != right.shape[-2]:
        raise ValueError("Axis dimension mismatch")
    shape = (a.shape[:-1] if a.ndim > 1 else ()) + ((b.shape[:-2] + b.shape[-1:]) if b.ndim > 1 else ())
    rows = left.reshape(-1, left.shape[-1]) if left.ndim != 2 else left
    columns = right if right.ndim == 2 else view_of(right, np.moveaxis(right._host, -2, 0)).reshape(right.shape[-2], -1)
    return _product(rows, columns, shape, dtype, out)


def _product(a: ndarray, b: ndarray, shape: tuple[int, ...], dtype: np.dtype[Any], out: ndarray | None) -> ndarray:
    if not a.size or not b.size:
        made = zeros(shape, dtype) if out is None else out
        made.fill(0)
        return made
    overlaps = out is not None and any(np.may_share_memory(out._host, one._host) for one in (a, b))
    made = fresh(shape, dtype) if out is None or overlaps else out
    if a.shape[0] == 1 and b.shape[1] == 1:  # an inner product: multiplied, then summed
        factors = fresh(a.shape[1], dtype)
        run("cupy_multiply", lambda: None, [a, b], [factors])
        _launch("cupy_sum", a, b, made, shape, dtype)
    else:
        _launch("gemm", _ready(a, dtype), _ready(b, dtype), made, shape, dtype)
    if overlaps:
        assert out is not None
        copy_elements(made, out)
        return out
    return made


@acts("cupy.matmul", "cupy.linalg.matmul")
def matmul(*args: Any, casting: str = "same_kind", out: Any = None) -> ndarray:
    """Two matrices by one product; stacks by one call for all, copied to lie in one piece first."""
    if len(args) != 2:
        raise ValueError(f"According to `signature`, `func` requires 2 arguments, but {len(args)} given")
    a, b = args
    demand_array(a, b)
    out = out[0] if isinstance(out, tuple) else out
    if out is not None:
        demand_array(out)
        _dtypes.demand_cast(np.promote_types(a.dtype, b.dtype), out.dtype, casting, "out dtype")
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("Scalar operands are not allowed, use '*' instead")
    if max(a.ndim, b.ndim) > 2:
        return _stacked(a, b, out)
    dtype = np.promote_types(a.dtype, b.dtype)
    if out is None or (out.dtype == dtype and out._host.flags.c_contiguous):
        return dot(a, b, out)
    copy_elements(dot(a, b), out)
    return out


def _stacked(a: ndarray, b: ndarray, out: ndarray | None) -> ndarray:
    wanted = np.promote_types(a.dtype, b.dtype)
    dtype = np.dtype(np.float32) if wanted.char == "e" else wanted
    if dtype == _dtypes.bfloat16():
        raise TypeError(f"dtype is not supported: {dtype}")
    left = a.reshape(1, -1) if a.ndim == 1 else a
    right = b.reshape(-1, 1) if b.ndim == 1 else b
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(f"shapes ({a.shape}) and ({b.shape}) not aligned")
    stacks = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = stacks + ((left.shape[-2],) if a.ndim > 1 else ()) + ((right.shape[-1],) if b.ndim > 1 else ())
    if out is not None and out.shape != shape:
        raise ValueError("Output array has an invalid size")
    if not a.size or not b.size:
        made = zeros(shape, wanted) if out is None else out
        made.fill(0)
        return made
    left, right = (one.astype(dtype, order="C", copy=False) for one in (left, right))
    made = fresh(shape, dtype)
    ones = [(1,) * (len(stacks) + 2 - one.ndim) + one.shape[:-2] for one in (left, right)]
    if any(n != wide for one in ones for n, wide in zip(one, stacks, strict=True)):
        for one in (left, right, made):  # a matrix that several products share: a table of pointers for each operand
            run("cupy_mat_ptrs", lambda: None, [one], [fresh(stacks, np.dtype(np.uintp))])
        _launch("gemm batched", left, right, made, shape, dtype)
    else:
        _launch("gemm strided batched", left, right, made, shape, dtype)
    if out is None and dtype == wanted:
        return made
    target = fresh(shape, wanted) if out is None else out
    copy_elements(made, target)
    return target


@acts("cupy.tensordot")
def tensordot(a: ndarray, b: ndarray, axes: Any = 2) -> ndarray:
    """Bring the summed axes together and multiply two matrices."""
    demand_array(a, b)
    if isinstance(axes, int):
        first, second = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        first, second = ([one] if isinstance(one, int) else list(one) for one in axes)
    first, second = [range(a.ndim)[k] for k in first], [range(b.ndim)[k] for k in second]
    if len(first) != len(second) or any(a.shape[i] != b.shape[j] for i, j in zip(first, second, strict=True)):
        raise ValueError("Axis dimension mismatch")
    kept, others = [k for k in range(a.ndim) if k not in first], [k for k in range(b.ndim) if k not in second]
    k = int(np.prod([a.shape[i] for i in first], dtype=int))
    shape = tuple(a.shape[i] for i in kept) + tuple(b.shape[j] for j in others)
    left = a.transpose(*kept, *first).reshape(-1, k) if a.size else a.reshape(0, 1)
    right = b.transpose(*second, *others).reshape(k, -1) if b.size else b.reshape(1, 0)
    return _product(left, right, shape, np.promote_types(a.dtype, b.dtype), None)


@acts("cupy.vdot")
def vdot(a: ndarray, b: ndarray) -> ndarray:
    demand_array(a, b)
    return dot(a.conj().ravel(), b.ravel())


@acts("cupy.inner")
def inner(a: ndarray, b: ndarray) -> ndarray:
    demand_array(a, b)
    return tensordot(a, b, ((a.ndim - 1,), (b.ndim - 1,)))


@acts("cupy.outer")
def outer(a: ndarray, b: ndarray, out: ndarray | None = None) -> ndarray:
    demand_array(a, b)
    from ._ufuncs import named

    return named("multiply")(a.reshape(-1, 1), b.reshape(1, -1), out=out)


@acts("cupy.einsum")
def einsum(*operands: Any, **kwargs: Any) -> ndarray:
    """Only products of two operands, which CuPy turns into one matrix product with views and copies."""
    subscripts, *arrays = operands
    unknown = set(kwargs) - {"dtype", "optimize", "casting", "out"}
    if unknown:
        raise TypeError(f"Did not understand the following kwargs: {sorted(unknown)}")
    if not isinstance(subscripts, str) or len(arrays) > 2 or kwargs.get("out") is not None:
        raise NotModelledError("the stand-in acts out einsum of a string and at most two arrays")
    demand_array(*arrays)
    found = np.einsum(subscripts, *(np.empty(one.shape, one.dtype) for one in arrays))
    made = fresh(found.shape, found.dtype)
    run(
        "gemm of einsum" if len(arrays) > 1 else "cupy_sum",
        lambda: np.copyto(made._host, np.einsum(subscripts, *(one._host for one in arrays))),
        arrays,
        [made],
        library="cuBLAS" if len(arrays) > 1 and made.dtype.kind in "fc" else None,
    )
    return made


def _attach() -> None:
    more: Any = ndarray
    more.dot = lambda self, b, out=None: dot(self, b, out)
    more.__matmul__ = lambda self, other: (matmul if isinstance(other, ndarray) else np.matmul)(self, other)
    more.__rmatmul__ = lambda self, other: np.matmul(other, self)


_attach()
