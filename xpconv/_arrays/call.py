"""One call of an operation: its name, where its arrays live, its dtypes, its layout and the options in force."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv import _options
from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.dtypes import cast, native, result_dtype
from xpconv._arrays.space import Space, common_space
from xpconv._arrays.types import Array, DType, Namespace, Traits
from xpconv._arrays.views import (
    contiguous,
    from_channels_last,
    kernel_from_channels_last,
    kernel_to_channels_last,
    to_channels_last,
)
from xpconv._options import Options


@dataclass(frozen=True)
class Lens:
    """How the factors of a call are seen, where not as they are: conjugate, or as magnitudes."""

    look: Callable[[Array], Array]
    magnitudes: bool = False  # what rounding errors are measured by


@dataclass(frozen=True, eq=False)
class Call:
    """What all steps of a call need to know beside the arrays and the geometry; made once, when the call begins."""

    name: str
    space: Space
    arithmetic: Arithmetic
    layout: str
    options: Options
    lens: Lens | None = None
    quarters: int = 4  # of the workspace
    asks: bool = False  # what would run, and nothing runs
    known: dict[Hashable, Any] = field(init=False, default_factory=dict)  # what follows from it and from shapes

    @staticmethod
    def of(name: str, *, layout: str = "channels_last", dtype: DType | str | None = None, **arrays: Array) -> Call:
        """Begin a call with these arrays, the first of which decides; a bias b that is None is passed over.

        TypeError where the arrays are not of one library, device and dtype, or `dtype` is unfit.
        """
        given = {label: array for label, array in arrays.items() if array is not None or label != "b"}
        space = common_space(name, given)
        own = native(next(iter(given.values())).dtype)
        wanted = own if dtype is None else result_dtype(name, space.xp, own, dtype)
        if space.traits.buffers and type(layout) is str:
            return _kept(name, space, own, wanted, layout, _options.current())
        return _made(name, space, own, wanted, layout, _options.current())

    @staticmethod
    def mixed(name: str, dtype: DType, **arrays: Array) -> Call:
        """Begin a call that converts tiles to `dtype`, which one array at least has not, and which holds all."""
        space = common_space(name, arrays, one_dtype=False)
        other = next(native(array.dtype) for array in arrays.values() if native(array.dtype) != dtype)
        arithmetic = Arithmetic.of(space.xp, other, dtype, space.has_double)
        return Call(name, space, arithmetic, "channels_last", _options.current().on(space.memory))

    @property
    def xp(self) -> Namespace:
        """The namespace of the call's arrays."""
        return self.space.xp

    @property
    def traits(self) -> Traits:
        """What their library can do."""
        return self.space.traits

    @property
    def room(self) -> int:
        """Count the bytes of work memory that a plan may use."""
        return self.options.room // 4 * self.quarters

    def with_quarters(self, quarters: int) -> Call:
        """Give the same call with so many quarters of the workspace."""
        return self if quarters == self.quarters else replace(self, quarters=quarters)

    def in_sums(self) -> Call:
        """Give the same call for results that are not rounded yet, channels last."""
        sums = self.arithmetic.sums
        arithmetic = replace(self.arithmetic, result=sums, wanted=sums)
        return replace(self, arithmetic=arithmetic, layout="channels_last")

    def in_dtype(self, dtype: DType) -> Call:
        """Give the same call with arrays and results of one dtype, in which all is done."""
        arithmetic = Arithmetic.plain(self.xp, native(dtype))
        return self if arithmetic is self.arithmetic else replace(self, arithmetic=arithmetic)

    def conjugated(self) -> Call:
        """Give the same call with its images seen conjugate, if they are complex."""
        return replace(self, lens=Lens(self.xp.conj)) if self.arithmetic.is_complex else self

    def of_magnitudes(self, factor: Callable[[Array], Array]) -> Call:
        """Give the same call on magnitudes, which `factor` makes of factors."""
        return replace(self, arithmetic=self.arithmetic.magnitudes, lens=Lens(factor, magnitudes=True))

    @property
    def narrow(self) -> bool:
        """Say whether the library multiplies factors of 16 bits as they are, and sums in 32."""
        return self.traits.overlaps and self.arithmetic.narrow and not self.measures

    @property
    def measures(self) -> bool:
        """Say whether the call is on magnitudes, to measure a rounding error by."""
        return self.lens is not None and self.lens.magnitudes

    def seen(self, array: Array) -> Array:
        """Look at factors through the lens."""
        return array if self.lens is None else self.lens.look(array)

    def conj(self, array: Array) -> Array:
        """Conjugate complex numbers."""
        return self.xp.conj(array) if self.arithmetic.is_complex else array

    def conj_own(self, array: Array) -> Array:
        """Conjugate an array that nobody else has, in its place if the library can."""
        if self.arithmetic.is_complex and self.traits.buffers:
            return np.conjugate(array, out=array)
        return self.conj(array)

    def read(self, array: Array) -> Array:
        """Read an argument in the dtype that is computed with; in the other byte order it is converted tile by tile."""
        inputs = self.arithmetic.inputs
        if array.dtype == inputs:
            return array
        return self.space.reread(
            array, inputs if native(array.dtype) is array.dtype else np.dtype(inputs).newbyteorder()
        )

    def images(self, array: Array) -> Array:
        """(N, C, *spatial) or (N, *spatial, C), an argument -> (N, *spatial, C)."""
        array = self.read(array)
        return array if self.layout == "channels_last" else to_channels_last(self.xp, array, self.layout)

    def kernel(self, w: Array) -> Array:
        """(F, C/G, *K) or (*K, C/G, F), an argument -> (*K, C/G, F)."""
        w = self.read(w)
        return w if self.layout == "channels_last" else kernel_to_channels_last(self.xp, w, self.layout)

    def bias(self, b: Array | None) -> Array | None:
        """(F,), an argument, or None."""
        return None if b is None else self.read(b)

    def give(self, array: Array) -> Array:
        """(N, *spatial, C) -> the caller's layout and dtype."""
        return self.space.reread(from_channels_last(self.xp, array, self.layout), self.arithmetic.wanted)

    def give_kernel(self, dw: Array) -> Array:
        """(*K, C/G, F), rounded or not -> the caller's layout and dtype, in one piece of memory."""
        dw = kernel_from_channels_last(self.xp, cast(self.xp, dw, self.arithmetic.result), self.layout)
        return self.space.reread(contiguous(self.xp, dw), self.arithmetic.wanted)

    def give_bias(self, db: Array) -> Array:
        """(F,) in the dtype of the sums -> the caller's dtype."""
        return self.space.reread(cast(self.xp, db, self.arithmetic.result), self.arithmetic.wanted)

    def zeros(self, shape: Any) -> Array:
        """(N, *spatial, C), channels last: a result of zeros."""
        return self.space.zeros(shape, self.arithmetic.result)


def _made(name: str, space: Space, own: DType, wanted: DType, layout: str, options: Options) -> Call:
    """Begin a call in which arrays have one dtype, and the result another, perhaps."""
    arithmetic = Arithmetic.of(space.xp, own, wanted, space.has_double)
    return Call(name, space, arithmetic, layout, options.on(space.memory))


_kept = lru_cache(maxsize=256)(_made)


def forget() -> None:
    """Forget the calls that are kept for those that are alike, and what is known of them."""
    _kept.cache_clear()
