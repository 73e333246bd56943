"""A workspace for a GPU whose library writes results where they belong: each kernel costs, so there are few."""

from __future__ import annotations

from collections.abc import Sequence

from xpconv._arrays import cublas
from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.space import Space
from xpconv._arrays.types import Array
from xpconv._work.workspace import Workspace


class DeviceWorkspace(Workspace):
    """Operations that take ``out=``: a product goes into the result, to the bias that is there before."""

    def __init__(self, space: Space, arithmetic: Arithmetic) -> None:
        super().__init__(space, arithmetic)
        self._place: tuple[int, Array | None] | None = None  # address of a result that is to be written, and its bias

    def destination(self, target: Array, region: tuple[slice, ...], bias: Array | None = None) -> Array | None:
        out = target[region]
        if self.arithmetic.exact is not None or out.dtype != self.sums or not out.flags.c_contiguous:
            self._place = None
            return None
        self._place = out.data.ptr, bias
        return out

    def flat(self, out: Array | None, shape: Sequence[int]) -> Array | None:
        return None if out is None else out.reshape(tuple(shape))

    def matmul(self, name: str, a: Array, b: Array, out: Array | None = None) -> Array:
        place, bias = self._place or (0, None)
        if out is None or out.data.ptr != place or bias is None or not self._plain(a, b):
            return self.xp.matmul(a, b, out=out)
        out[...] = bias  # one pass over the result instead of two after the product
        rows, inner = a.shape
        sizes = cublas.Sizes(1, rows, inner, b.shape[-1])
        places = cublas.Matrices(a, inner), cublas.Matrices(b, b.shape[-1]), cublas.Matrices(out, b.shape[-1])
        cublas.multiply(*places, sizes, add=True)
        self._place = place, None
        return out

    def _plain(self, *factors: Array) -> bool:
        """Say whether matrices can be multiplied as they lie."""
        return self.traits.overlaps and all(
            one.ndim == 2 and one.flags.c_contiguous and one.dtype == self.sums for one in factors
        )

    def store(self, target: Array, region: tuple[slice, ...], block: Array, bias: Array | None) -> None:
        out = target[region]
        there = block.data.ptr == out.data.ptr and block.strides == out.strides
        if bias is not None and there and self._place == (out.data.ptr, None):
            bias = None  # it is in the sum
        if bias is not None:
            self.xp.add(out if there else block, bias, out=out)
        elif not there:
            out[...] = block
