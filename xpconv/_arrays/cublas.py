"""Products of matrices given by strides, which cuBLAS multiplies where they lie, whether they overlap or not.

CuPy's `matmul` copies a matrix whose rows lie apart, and knows no sum of products. It calls the function that is called
here, which is no public name of CuPy's, so `available` asks for a version whose source has been read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from xpconv._arrays.dtypes import dtype_name
from xpconv._arrays.types import Array

VERSIONS = ("14",)  # of CuPy, in which the function takes these arguments
ONLY = f"serves CuPy only (version {', '.join(VERSIONS)})"
# cudaDataType of the dtypes
DATA = {"float32": 0, "float64": 1, "float16": 2, "complex64": 4, "complex128": 5, "bfloat16": 14}
DEFAULT, PEDANTIC, TF32 = {"f": 68, "d": 70}, {"f": 69, "d": 71}, 77  # cublasComputeType_t, of the real dtypes
ALGORITHM = -1  # CUBLAS_GEMM_DEFAULT


@dataclass(frozen=True)
class Matrices:
    """Matrices in memory: element (row, column) of the i-th is number first + i * apart + row * lead + column."""

    array: Array  # in one piece
    lead: int
    apart: int = 0
    first: int = 0

    @property
    def pointer(self) -> int:
        """The address of the first element."""
        return int(self.array.data.ptr) + self.first * int(self.array.itemsize)


@dataclass(frozen=True)
class Sizes:
    """So many products of a matrix (rows, inner) with a matrix (inner, columns)."""

    count: int
    rows: int
    inner: int
    columns: int


@lru_cache(maxsize=1)
def available() -> bool:
    """Say whether the CuPy that is loaded has the function."""
    try:
        import cupy
        from cupy_backends.cuda.libs import cublas
    except ImportError:
        return False
    known = str(cupy.__version__).partition(".")[0] in VERSIONS and not getattr(cupy.cuda.runtime, "is_hip", False)
    return known and callable(getattr(cublas, "gemmStridedBatchedEx", None))


def multiply(
    left: Matrices, right: Matrices, out: Matrices, sizes: Sizes, *, add: bool = False, transposed: bool = False
) -> None:
    """Put the products into `out`, or add them to what is there; with `transposed`, left is (inner, rows).

    All arrays have one dtype, of those in DATA; or the factors have one of 16 bits, and `out` is float32.
    """
    from cupy.cuda.device import get_cublas_handle
    from cupy_backends.cuda.libs import cublas

    dtype = np.dtype(out.array.dtype)
    kind, factors = (DATA[dtype_name(array.dtype)] for array in (out.array, left.array))
    one, share = np.ones((), dtype), np.asarray(int(add), dtype)
    # cuBLAS reads columns where there are rows: it multiplies the transposed matrices, in the other order
    cublas.gemmStridedBatchedEx(
        get_cublas_handle(),
        0,
        int(transposed),
        sizes.columns,
        sizes.rows,
        sizes.inner,
        one.ctypes.data,
        right.pointer,
        factors,
        right.lead,
        right.apart,
        left.pointer,
        factors,
        left.lead,
        left.apart,
        share.ctypes.data,
        out.pointer,
        kind,
        out.lead,
        out.apart,
        sizes.count,
        _compute_type(dtype, narrow=factors != kind),
        ALGORITHM,
    )


def _compute_type(dtype: np.dtype[np.generic], *, narrow: bool) -> int:
    """Ask CuPy what it sums in, as its own products do; TF32 is of factors of 32 bits."""
    import cupy

    routines, real = cupy._core._routines_linalg, dtype.char.lower()
    chosen = routines.get_compute_type(dtype)
    if chosen == routines.COMPUTE_TYPE_TF32 and real == "f" and not narrow:
        return TF32
    return (PEDANTIC if chosen == routines.COMPUTE_TYPE_PEDANTIC else DEFAULT)[real]
