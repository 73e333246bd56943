"""Matrix products of NumPy arrays, cut into pieces that OpenBLAS multiplies where they lie.

For processors with AVX-512, OpenBLAS has kernels for products of at most a million multiply-adds that do without the
copies that its kernels for large ones begin with. Measured on one core, in 10^9 multiply-adds a second: 98 x 128 times
128 x 128 in float32 44 as a whole and 56 in pieces, 1536 x 27 times 27 x 32 34 and 50, 784 x 256 transposed times
784 x 64 45 and 54; in float64 1536 x 64 times 64 x 64 20 and 26.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._work import threads as _threads

Array = np.ndarray[Any, Any]

MOST = 1_000_000  # multiply-adds
DEEPEST = 1200  # products summed for an element, beyond which the pieces of wide matrices would be too thin
NARROW = 32  # columns of a matrix that is not wide: 400 x 2304 times 2304 x 8 24 as a whole and 44 in pieces
# products of a transposed matrix with more summed than LONG are cut into stretches of SHORT, if the result has at most
# ADDED elements: 1568 x 128 transposed times 1568 x 256 48 as a whole and 55 in four stretches
LONG, SHORT, ADDED = 640, 448, 1 << 16
# where MOST multiply-adds sum FEWEST products or more for each element, the sum is cut into matrices of at most
# MOST_SUMMED products, at most MANY of which are multiplied in one call, and added up: 1568 x 64 transposed times
# 1568 x 64 37 in four stretches and 44 in eight matrices of 196
MANY, FEWEST, MOST_SUMMED = 16, 96, 512
STACKED = 3 << 17  # bytes of a stack, at most; of a third, and 7 x 7 kernels of 3 channels take 1.2 times as long
THIN, THICK = 16, 128  # rows of a piece, at least and at most
LARGEST = 1 << 20  # bytes of a right-hand matrix in float64, which each row of pieces reads; twice as many in float32
KERNELS = frozenset({"SkylakeX", "Cooperlake", "SapphireRapids"})  # OpenBLAS's names of those it has such kernels for


@lru_cache(maxsize=1)
def has_kernels() -> bool:
    """Say whether a BLAS of this process, as a rule NumPy's, is one that has them."""
    return any(
        library.internal_api == "openblas" and getattr(library, "architecture", None) in KERNELS
        for library in _threads.blas()
    )


def lies_at_hand(inner: int, columns: int, itemsize: int) -> bool:
    """Say whether products with a right-hand matrix of so many rows and columns read it where it lies."""
    deep = inner > DEEPEST and columns > NARROW
    return has_kernels() and not deep and inner * columns * itemsize <= LARGEST * 8 // itemsize


def stretch(a: Array, b: Array) -> int:
    """Choose how much of the inner axis goes into one product, if their sum costs little beside them."""
    rows, inner, columns = int(a.shape[-2]), int(a.shape[-1]), int(b.shape[-1])
    plain = a.ndim == b.ndim == 2 and a.strides[-1] != a.itemsize and a.dtype == b.dtype
    if not (plain and a.dtype in (np.float32, np.float64) and inner > LONG and has_kernels()):
        return inner
    if min(rows, columns) < THIN or rows * columns > ADDED:
        return inner
    return -(-inner // -(-inner // SHORT))


def stack(a: Array, b: Array) -> tuple[int, int] | None:
    """Choose how a long transposed product is cut into a stack: (matrices, products summed in each), or None."""
    inner = int(a.shape[-1])
    plain = a.ndim == b.ndim == 2 and a.strides[0] == a.itemsize < a.strides[1] and a.dtype == b.dtype
    if not (plain and a.dtype in (np.float32, np.float64) and inner >= 2 * FEWEST and has_kernels()):
        return None
    return _stack(int(a.shape[0]), inner, int(b.shape[1]), a.itemsize)


def stacked(elements: int, itemsize: int) -> int:
    """Count the bytes of the stack that a product with so many elements may take at most, if it is of real numbers."""
    return min(MANY * elements * itemsize, STACKED) if 0 < elements <= MOST // FEWEST else 0


@lru_cache(maxsize=1024)
def _stack(rows: int, inner: int, columns: int, itemsize: int) -> tuple[int, int] | None:
    most = min(MOST // (rows * columns), MOST_SUMMED)
    if most < FEWEST or most >= inner:
        return None
    whole = (size for size in range(most, max(most // 2, FEWEST) - 1, -1) if inner % size == 0)
    size = next(whole, most)
    return min(inner // size, MANY, STACKED // (rows * columns * itemsize)), size


@lru_cache(maxsize=1024)
def piece(rows: int, inner: int, columns: int, itemsize: int, transposed: bool) -> tuple[int, int] | None:
    """Choose the rows and columns of the pieces; None if the product is best left as it is."""
    if rows * inner * columns <= MOST or not has_kernels():
        return None
    if rows <= THIN and inner <= DEEPEST:
        width = MOST // (rows * inner) // 64 * 64
        return (rows, width) if width else None
    if not lies_at_hand(inner, columns, itemsize):
        return None
    width = _even(columns, 32 if transposed or inner > 768 else 64, 16)
    height = _even(rows, min(MOST // (inner * width) // 8 * 8, THICK), 2)
    return (height, width) if height >= THIN else None


def _even(size: int, most: int, step: int) -> int:
    """Choose a length of pieces that leaves no rest, a multiple of `step` not far below `most`, if there is one."""
    if size <= most:
        return size
    return next((n for n in range(most, most // 2, -step) if size % n == 0), most)


def pieces(a: Array, b: Array, out: Array) -> Iterator[tuple[Array, Array, Array]]:
    """(…, M, K), (…, K, N), (…, M, N): give what np.matmul is to be called with."""
    (rows, inner), columns = a.shape[-2:], b.shape[-1]
    cut = None
    if rows * inner * columns > MOST and a.dtype in (np.float32, np.float64) and a.dtype == b.dtype == out.dtype:
        cut = piece(rows, inner, columns, a.itemsize, a.strides[-1] != a.itemsize)
    if cut is None:
        yield a, b, out
        return
    for (top, height), (left, width) in itertools.product(cuts(rows, cut[0]), cuts(columns, cut[1])):
        down, right = slice(top[0], top[1]), slice(left[0], left[1])
        # (…, M, K) -> (…, M/m, 1, m, K), (…, K, N) -> (…, 1, N/n, K, n), (…, M, N) -> (…, M/m, N/n, m, n)
        x = a[..., down, :].reshape((*a.shape[:-2], -1, 1, height, inner))
        y = b[..., right].reshape((*b.shape[:-2], 1, inner, -1, width)).swapaxes(-3, -2)
        z = out[..., down, right].reshape((*out.shape[:-2], x.shape[-4], height, y.shape[-3], width)).swapaxes(-3, -2)
        yield x, y, z


def cuts(size: int, step: int) -> list[tuple[tuple[int, int], int]]:
    """Cut range(size) into a stretch of whole pieces and the rest: (interval, length of a piece)."""
    whole = size // step * step
    return [((0, whole), step)] + [((whole, size), size - whole)] * (whole < size)
