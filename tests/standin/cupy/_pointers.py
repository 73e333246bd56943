"""Products of matrices by pointers, as cuBLAS takes them: column by column, with its conditions on what they are given.

What cuBLAS does not look at is looked at here: that every matrix lies in memory that somebody holds, and that no two
results share an element.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _devices, _dtypes, _memory, _watch
from ._arrays import ndarray
from ._kernels import run
from ._products import _rounded

TYPES = {0: np.float32, 1: np.float64, 2: np.float16, 4: np.complex64, 5: np.complex128}  # CUDA_R_32F, CUDA_R_64F, …
BFLOAT16 = 14  # CUDA_R_16BF
NARROW = (2, BFLOAT16)  # of factors whose products are summed in float32
COMPUTE = {  # the types that are summed in, and of what
    68: (np.float32, np.complex64), 69: (np.float32, np.complex64), 77: (np.float32, np.complex64),
    70: (np.float64, np.complex128), 71: (np.float64, np.complex128),
}  # fmt: skip
TF32 = 77
MOST = 1 << 20  # elements of results that are compared with each other one by one


class CUBLASError(RuntimeError):
    """CuPy's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{text} ({status})")
        self.status = status


@dataclass(frozen=True)
class _Batch:
    """Matrices at equal distances, each column by column."""

    pointer: int
    kind: int
    lead: int
    stride: int

    def array(self, count: int, rows: int, columns: int) -> ndarray:
        """(count, rows, columns), a view of the memory that the pointer lies in."""
        dtype = np.dtype(_dtypes.bfloat16() if self.kind == BFLOAT16 else TYPES[self.kind])
        size = dtype.itemsize
        memory = _memory.holder(self.pointer)
        if memory is None:
            _watch.mistake("bounds", f"a pointer to memory that nobody holds: {self.pointer:#x}")
        steps = (self.stride * size, size, self.lead * size)
        pointer = _memory.MemoryPointer(memory, self.pointer - memory.ptr)
        return ndarray((count, rows, columns), dtype, pointer, steps)


def gemmStridedBatchedEx(
    handle: int,
    transa: int,
    transb: int,
    m: int,
    n: int,
    k: int,
    alpha: int,
    A: int,
    Atype: int,
    lda: int,
    strideA: int,
    B: int,
    Btype: int,
    ldb: int,
    strideB: int,
    beta: int,
    C: int,
    Ctype: int,
    ldc: int,
    strideC: int,
    batchCount: int,
    computeType: int,
    algo: int,
) -> None:
    """C = alpha op(A) op(B) + beta C for each of the batch, op(A) being m x k and op(B) k x n."""
    if handle != _devices.Device().cublas_handle:
        raise CUBLASError(1, "CUBLAS_STATUS_NOT_INITIALIZED")
    if min(m, n, k, batchCount) < 0 or not {transa, transb} <= {0, 1}:
        raise CUBLASError(7, "CUBLAS_STATUS_INVALID_VALUE")
    least = max(1, k if transa else m), max(1, n if transb else k), max(1, m)
    if any(given < wanted for given, wanted in zip((lda, ldb, ldc), least, strict=True)):
        raise CUBLASError(7, "CUBLAS_STATUS_INVALID_VALUE: a leading dimension is smaller than a column")
    if computeType not in COMPUTE or {Atype, Btype, Ctype} - {*TYPES, BFLOAT16}:
        raise CUBLASError(15, "CUBLAS_STATUS_NOT_SUPPORTED")
    dtype = TYPES.get(Ctype, np.void)
    mixed = Atype == Btype and Atype in NARROW and Ctype == 0 and computeType != TF32
    if dtype not in COMPUTE[computeType] or not (Atype == Btype == Ctype or mixed):
        raise CUBLASError(15, "CUBLAS_STATUS_NOT_SUPPORTED")
    left = _Batch(A, Atype, lda, strideA).array(batchCount, *((k, m) if transa else (m, k)))
    right = _Batch(B, Btype, ldb, strideB).array(batchCount, *((n, k) if transb else (k, n)))
    made = _Batch(C, Ctype, ldc, strideC).array(batchCount, m, n)
    _demand_apart(made)
    one, share = (_number(pointer, np.dtype(dtype)) for pointer in (alpha, beta))

    def work() -> None:
        a = np.swapaxes(left._host, 1, 2) if transa else left._host
        b = np.swapaxes(right._host, 1, 2) if transb else right._host
        if mixed:
            a, b = a.astype(np.float32), b.astype(np.float32)
        if computeType == TF32:
            a, b = _rounded(np.array(a)), _rounded(np.array(b))
        found = np.multiply(np.matmul(a, b), one, dtype=dtype)
        made._host[...] = found + share * made._host if share else found

    real = 4 if np.dtype(dtype).kind == "c" else 1
    reads = [left, right, *([made] if share else [])]
    run("gemm strided batched", work, reads, [made], flops=2 * real * batchCount * m * n * k, library="cuBLAS")


def _number(pointer: int, dtype: np.dtype[Any]) -> Any:
    """Read a number of the host."""
    raw = (ctypes.c_char * dtype.itemsize).from_address(pointer)
    return np.frombuffer(raw, dtype)[0].copy()


def _nested(host: np.ndarray[Any, Any]) -> bool:
    """Whether each axis steps beyond all that those of shorter steps reach, so that no two elements can meet."""
    reach = host.itemsize
    for step, n in sorted((abs(step), n) for n, step in zip(host.shape, host.strides, strict=True) if n > 1):
        if step < reach:
            return False
        reach += (n - 1) * step
    return True


def _demand_apart(made: ndarray) -> None:
    """Demand that no two results share an element."""
    host = made._host
    if 1 < host.size <= MOST and not _nested(host):
        places = sum(np.ix_(*(np.arange(n) * step for n, step in zip(host.shape, host.strides, strict=True))))  # type: ignore[arg-type]
        if np.unique(places).size < host.size:  # type: ignore[arg-type]
            _watch.mistake("overlap", "two results of a batched product share an element")
