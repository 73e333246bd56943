"""A workspace for a GPU whose library writes results where they belong: each kernel costs, so there are few."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from xpconv._arrays import cublas, cufft
from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.dtypes import cast, itemsize
from xpconv._arrays.space import Space
from xpconv._arrays.types import Array
from xpconv._work.workspace import FEW, Workspace

TILE = 128  # rows and columns of a product that a processor makes at once
CUT = 1.5  # times as long as its arithmetic a product of few tiles takes at most: the library cuts the sum itself
SHORTEST = 256  # products that are summed for an element in a piece of a sum, at least
PIECE = 58  # multiply-adds of an element that take as long as writing and reading it once more


class DeviceWorkspace(Workspace):
    """Operations that take ``out=``: a product goes into the result, to the bias that is there before."""

    def __init__(self, space: Space, arithmetic: Arithmetic) -> None:
        super().__init__(space, arithmetic)
        self._place, self._added = 0, False  # address of the result that is to be written; its bias is in it
        self._bias: Array | None = None

    def destination(self, target: Array, region: tuple[slice, ...], bias: Array | None = None) -> Array | None:
        out = target[region]
        if self.arithmetic.exact is not None or out.dtype != self.sums or not out.flags.c_contiguous:
            self._place = 0
            return None
        self._place, self._bias, self._added = out.data.ptr, bias, False
        return out

    def transform(self, function: str, data: Array, **options: Any) -> Array:
        if not self.traits.plans:
            return super().transform(function, data, **options)
        return cufft.transform(self.areas, getattr(self.xp.fft, function), data, **options)

    def flat(self, out: Array | None, shape: Sequence[int]) -> Array | None:
        return None if out is None else out.reshape(tuple(shape))

    def matmul(self, name: str, a: Array, b: Array, out: Array | None = None) -> Array:
        if out is None and a.ndim == 2 and self._plain(a.T, b):
            return self._in_pieces(a, b)
        plain, narrow = self._plain(a, b), a.dtype == self.factors != self.sums and self.arithmetic.exact is None
        if narrow and not plain:  # the library's own products would round to 16 bits
            a, b, narrow = cast(self.xp, a, self.sums), cast(self.xp, b, self.sums), False
        given = out is not None and out.data.ptr == self._place and self._bias is not None
        # several outputs may lie in a row of the product (toeplitz), and the bias is that of one
        fits = given and self._bias.shape[-1] == b.shape[-1]  # type: ignore[union-attr]
        add = plain and fits and not self._added
        if not (add or narrow):
            return self.xp.matmul(a, b, out=out)
        if out is None:
            out = self.space.empty((a.shape[0], b.shape[-1]), self.sums)
        if add:
            out[...] = self._bias  # one pass over the result instead of two after the product
            self._added = True
        rows, inner = a.shape
        sizes = cublas.Sizes(1, rows, inner, b.shape[-1])
        places = cublas.Matrices(a, inner), cublas.Matrices(b, b.shape[-1]), cublas.Matrices(out, b.shape[-1])
        cublas.multiply(*places, sizes, add=add)
        return out

    def _in_pieces(self, a: Array, b: Array) -> Array:
        """Multiply a transposed matrix, in so many pieces of the sum that they occupy the device."""
        (rows, inner), columns = a.shape, b.shape[-1]
        most = self.spare // max(rows * columns * itemsize(self.xp, self.sums), 1)
        count = pieces(rows, inner, columns, most, self.space.processors)
        if count == 1 and a.dtype == self.sums:
            return self.xp.matmul(a, b)
        length = inner // count
        parts = self.space.empty((count, rows, columns), self.sums)
        cublas.multiply(
            cublas.Matrices(a, rows, length * rows),
            cublas.Matrices(b, columns, length * columns),
            cublas.Matrices(parts, columns, rows * columns),
            cublas.Sizes(count, rows, length, columns),
            transposed=True,
        )
        return parts[0] if count == 1 else self.xp.sum(parts, axis=0, dtype=self.sums)

    def _plain(self, *factors: Array) -> bool:
        """Say whether matrices can be multiplied as they lie, and in their own dtype."""
        own = factors[0].dtype
        return (
            self.traits.overlaps
            and self.arithmetic.exact is None
            and own in (self.sums, self.factors)
            and all(one.ndim == 2 and one.flags.c_contiguous and one.dtype == own for one in factors)
        )

    def stack(self, arrays: Sequence[Array]) -> Array:
        if len(arrays) <= FEW:
            return self.xp.stack(arrays)
        # of more at once the library copies a table of addresses to the device
        parts = [self.xp.stack(arrays[i : i + FEW]) for i in range(0, len(arrays), FEW)]
        while len(parts) > 1:
            parts = [self.xp.concat(parts[i : i + FEW]) for i in range(0, len(parts), FEW)]
        return parts[0]

    def store(self, target: Array, region: tuple[slice, ...], block: Array, bias: Array | None) -> None:
        out = target[region]
        there = block.data.ptr == out.data.ptr and block.strides == out.strides
        if there and self._added and self._place == out.data.ptr:
            return
        if bias is not None and not self.traits.casts and out.dtype != block.dtype:
            out[...] = block + bias
        elif bias is not None:
            self.xp.add(out if there else block, bias, out=out)
        elif not there:
            out[...] = block


@lru_cache(maxsize=1024)
def pieces(rows: int, inner: int, columns: int, most: int, processors: int) -> int:
    """Choose into how many pieces of equal length a sum is cut, `most` at most, so that few processors are idle."""
    tiles = -(-rows // TILE) * -(-columns // TILE)

    def cost(count: int) -> float:
        waves = -(-count * tiles // processors) * processors / (count * tiles)
        return (waves if count * tiles >= processors else min(waves, CUT)) + (count > 1) * PIECE * count / inner

    longest = max(min(most, inner // SHORTEST, 2 * processors), 1)
    return min((n for n in range(1, longest + 1) if inner % n == 0), key=cost)
