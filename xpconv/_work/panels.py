"""Right-hand matrices of many products, in panels of neighbouring columns, each of which lies in one piece.

The kernels of OpenBLAS that multiply matrices where they lie (`products`) read a few columns of each row. Rows of 256
columns lie a kilobyte apart, of 1024 four, by a power of two as a rule, and so fall into the same few lines of a cache.
Measured on two cores, time with panels over time without: 1 x 1 kernels, 64 -> 256 channels 0.89, 512 -> 256 0.90,
256 -> 1024 0.92, input gradient of 256 -> 1024 0.92; 3 x 3 with stride 2, 256 -> 256 channels 0.92.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpconv._work import products as _products

Array = np.ndarray[Any, Any]

WIDTH, NARROWER = 64, 32  # columns of a panel, where few or many products are summed
LONG = 1536  # products summed, above which it is NARROWER
LEAST = 1 << 14  # elements of a matrix below which it is near enough
MOVED = 8  # flops that moving a number counts as, for `run` to see whether threads pay
LINE = 16  # columns of a transposed matrix that are copied at once, which uses up its cache lines
REPAID = 512  # rows in all, of the left-hand matrices, that a panel is copied for
# rows that the kernels take at once: pieces of 13 rows run at 46, of 12 at 50 * 10^9 multiply-adds a second
AT_ONCE = {WIDTH: 4, NARROWER: 6}


def width(inner: int, columns: int) -> int:
    """Choose the columns of a panel; 0 where a matrix is best left as it is."""
    most = WIDTH if inner <= LONG else NARROWER
    deep = AT_ONCE[most] * most * inner > _products.MOST  # a piece would be too large for the kernels
    return most if columns > most and inner * columns >= LEAST and not deep and _products.has_kernels() else 0


def repaid(w: Array, pixels: int) -> bool:
    """Say whether a weight (*K, C, F) is worth a copy for so many pixels, or is copied in any case."""
    copied = w.strides[-1] != w.itemsize and math.prod(w.shape[:-2]) > 1
    return copied or pixels >= REPAID


@dataclass(frozen=True)
class Panels:
    """A matrix (K, N), or a stack (…, K, N), in panels."""

    parts: tuple[Array, ...]  # (…, n, K, width): n panels of one width; then what is left over, narrower

    @property
    def ndim(self) -> int:
        return self.parts[0].ndim - 1

    @property
    def shape(self) -> tuple[int, ...]:
        columns = sum(part.shape[-3] * part.shape[-1] for part in self.parts)
        return (*self.parts[0].shape[:-3], self.parts[0].shape[-2], columns)

    def each(self) -> Iterator[tuple[slice, Array]]:
        """Give the columns of each panel, and the panel (…, K, width)."""
        start = 0
        for part in self.parts:
            for panel in range(part.shape[-3]):
                yield slice(start, start + part.shape[-1]), part[..., panel, :, :]
                start += part.shape[-1]


def shapes(shape: tuple[int, ...], width: int) -> list[tuple[int, ...]]:
    """Give the shapes of the parts for a matrix of a shape (…, K, N)."""
    *lead, inner, columns = shape
    sizes = [(columns // width, width), (1, columns % width)]
    return [(*lead, count, inner, size) for count, size in sizes if count * size]


def pieces(a: Array, b: Panels, out: Array) -> Iterator[tuple[Array, Array, Array]]:
    """(…, M, K), (…, K, N), (…, M, N): give what np.matmul is to be called with."""
    rows, inner = a.shape[-2:]
    start = 0
    for part in b.parts:
        count, size = part.shape[-3], part.shape[-1]
        stop = start + count * size
        height = _height(rows, _products.MOST // (inner * size), AT_ONCE.get(size, 2))
        for (top, bottom), step in _products.cuts(rows, height):
            # (…, M, K) -> (…, M/m, 1, m, K), (…, n, K, w) -> (…, 1, n, K, w), (…, M, N) -> (…, M/m, n, m, w)
            x = a[..., top:bottom, :].reshape((*a.shape[:-2], -1, 1, step, inner))
            z = out[..., top:bottom, start:stop].reshape((*out.shape[:-2], x.shape[-4], step, count, size))
            yield x, part[..., None, :, :, :], z.swapaxes(-3, -2)
        start = stop


def _height(rows: int, most: int, unit: int) -> int:
    """Cut rows into pieces of about the same height, whole multiples of a unit but for what is left over."""
    most = max(min(most, _products.THICK) // unit, 1) * unit
    even = -(-rows // max(-(-rows // most), 1))
    return -(-even // unit) * unit
