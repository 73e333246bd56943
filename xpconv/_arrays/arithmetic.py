"""In which dtypes a call multiplies, adds and gives its results: decided once, from the arrays' dtype and `dtype=`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

from xpconv._arrays.dtypes import accumulator, is_kind, itemsize, limits, real_dtype
from xpconv._arrays.types import DType, Namespace

DEPTH = 1024  # products of split numbers in a stretch, at most: their pieces take memory


@dataclass(frozen=True)
class Exact:
    """How integers are multiplied exactly in a floating type."""

    itemsize: int  # of the floating type, 4 or 8
    bits: int  # of a piece of a number
    pieces: int  # that a number is split into
    terms: int  # products whose sum is exact in the floating type
    width: int  # bits of the sums

    @property
    def products(self) -> int:
        """Matrix products of pieces for one of the numbers."""
        return sum((i + j) * self.bits < self.width for i in range(self.pieces) for j in range(self.pieces))


class Numbers(NamedTuple):
    """What a plan needs to know of an arithmetic."""

    itemsize: int  # of the widest work array
    exact: Exact | None  # how integers are multiplied
    converted: bool  # not in the dtype that they come in, so that the weight is copied
    whole: bool
    complex: bool
    roundoff: float  # of the sums


@dataclass(frozen=True)
class Arithmetic:
    """Every dtype of one call."""

    xp: Namespace
    inputs: DType  # of the arrays, as they are read
    seen: DType  # of the pixels that an algorithm gets
    factors: DType  # of matrix products
    sums: DType
    result: DType  # that sums are rounded to
    wanted: DType  # what the caller gets: the same bits as `result`
    exact: Exact | None = None  # integers multiplied in a floating type
    double: bool = True  # float64 is there

    @staticmethod
    def plain(xp: Namespace, dtype: DType) -> Arithmetic:
        """Do everything in one dtype."""
        return _plain(xp, dtype)

    @staticmethod
    def of(xp: Namespace, dtype: DType, wanted: DType, double: bool) -> Arithmetic:
        """Decide for arrays of a dtype and results of another; `double`: float64 is there."""
        return _decide(xp, dtype, wanted, double)

    @property
    def is_whole(self) -> bool:
        """Say whether the numbers are integers."""
        return is_kind(self.xp, self.sums, "integral")

    @property
    def is_complex(self) -> bool:
        """Say whether the numbers are complex."""
        return is_kind(self.xp, self.sums, "complex floating")

    @cached_property
    def narrow(self) -> bool:
        """Say whether factors are floats of 16 bits, which are summed in 32."""
        return not self.is_whole and itemsize(self.xp, self.inputs) == 2 < itemsize(self.xp, self.sums)

    @cached_property
    def magnitudes(self) -> Arithmetic:
        """Give the arithmetic of absolute values: all in the real dtype of the sums."""
        return replace(_plain(self.xp, real_dtype(self.xp, self.sums)), inputs=self.inputs)

    @cached_property
    def numbers(self) -> Numbers:
        """Give what a plan needs to know."""
        xp, sums, exact = self.xp, self.sums, self.exact
        return Numbers(
            itemsize=max(itemsize(xp, sums), 0 if exact is None else exact.itemsize),
            exact=exact,
            converted=self.inputs != self.factors,
            whole=self.is_whole,
            complex=self.is_complex,
            roundoff=0.0 if self.is_whole else limits(xp, sums)[0] / 2,
        )


@lru_cache(maxsize=256)
def _plain(xp: Namespace, dtype: DType) -> Arithmetic:
    return Arithmetic(xp, dtype, dtype, dtype, dtype, dtype, dtype)


@lru_cache(maxsize=256)
def _decide(xp: Namespace, dtype: DType, wanted: DType, double: bool) -> Arithmetic:
    inputs, result = dtype, wanted
    if dtype == wanted and is_kind(xp, wanted, "unsigned integer"):
        # Sums and products modulo 2^bits are the same bits for signed and unsigned ones, bounds are tighter for signed
        # numbers, and PyTorch has no arithmetic for wide unsigned ones.
        inputs = result = getattr(xp, f"int{8 * itemsize(xp, dtype)}")
    sums = accumulator(xp, result)
    exact = None
    if is_kind(xp, inputs, "integral") and is_kind(xp, sums, "integral"):
        exact = _exact(xp, inputs, sums, double)
    if exact is None:
        found, plain = Arithmetic(xp, inputs, sums, sums, sums, result, wanted, double=double), _plain(xp, dtype)
        return plain if found == plain else found
    factors = real_types(xp, exact)[0] if exact.pieces == 1 else sums
    return Arithmetic(xp, inputs, inputs, factors, sums, result, wanted, exact, double)


def _exact(xp: Namespace, inputs: DType, sums: DType, double: bool) -> Exact | None:
    found = xp.iinfo(inputs)
    bits, width = int(found.bits), int(xp.iinfo(sums).bits)
    largest = max(-int(found.min), int(found.max))
    if bits == 8:
        return Exact(itemsize=4, bits=bits, pieces=1, terms=(1 << 24) // largest**2, width=width)
    if not double:
        return None
    if bits == 16:
        return Exact(itemsize=8, bits=bits, pieces=1, terms=(1 << 53) // largest**2, width=width)
    piece = 16 if bits == 32 else 22
    terms = min((1 << 53) // (1 << 2 * piece), DEPTH)
    return Exact(itemsize=8, bits=piece, pieces=-(-bits // piece), terms=terms, width=width)


def real_types(xp: Namespace, exact: Exact) -> tuple[DType, DType]:
    """Give the floating type that integers are multiplied in, and the integer type that holds all its results."""
    return (xp.float32, xp.int32) if exact.itemsize == 4 else (xp.float64, xp.int64)
