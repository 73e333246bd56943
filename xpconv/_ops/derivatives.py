"""What `xpconv.torch` and `xpconv.jax` share; neither library is imported here."""

from __future__ import annotations

import math
from typing import Any

from xpconv._arrays.dtypes import cast, native, result_dtype
from xpconv._arrays.space import common_space
from xpconv._shapes import read
from xpconv._shapes.errors import freeze
from xpconv._shapes.geometry import Ints
from xpconv._shapes.layout import channels_last, in_layout

Array = Any
_ABSENT: Any = object()  # the operation has no weight

Options = tuple[tuple[str, Any], ...]


def options(**given: Any) -> Options:
    """Give keywords in a hashable form, which `dict` turns back."""
    return tuple(
        (name, value if value is None or isinstance(value, bool) else freeze(value)) for name, value in given.items()
    )


def arrays_of(
    library: str, function: str, x: Array, w: Array | None = _ABSENT, b: Array | None = None, dtype: Any = None
) -> tuple[Array, Array | None, Array | None]:
    """Check that the arrays are of the one library that is served; give them in the dtype= keyword's dtype."""
    given = {"x": x} if w is _ABSENT else {"x": x, "w": w}
    w = None if w is _ABSENT else w
    space = common_space(function, given if b is None else {**given, "b": b})
    if space.traits.name != library:
        raise TypeError(
            f"{function}: xpconv.{library} takes arrays of {library}; got x of {space.traits.name}; "
            f"use xpconv.{function}"
        )
    wanted = result_dtype(function, space.xp, native(x.dtype), dtype)
    x, w, b = (array if array is None else cast(space.xp, array, wanted) for array in (x, w, b))
    return x, w, b


def transposed(x_shape: Any, w_shape: Any, given: Options) -> tuple[Options, Ints, tuple[slice, ...]]:
    """Describe the convolution that a transposed one transposes.

    Gives its options, the whole shape of its input, and the index that takes this input out of the transposed one's
    output, which may have more pixels at the ends: those that no tap reaches.
    """
    layout = dict(given)["layout"]
    geometry = read.transpose("conv_transpose", x_shape, w_shape, read.Windowing(**dict(given)))
    pairs = tuple((before, max(after, 0)) for before, after in geometry.padding)
    size = tuple(n + min(after, 0) for n, (_, after) in zip(geometry.input, geometry.padding, strict=True))
    shape = in_layout((geometry.batch, *size, geometry.channels), layout)
    inner = options(
        stride=geometry.stride, padding=pairs, dilation=geometry.dilation, groups=geometry.groups, layout=layout
    )
    return inner, shape, tuple(slice(0, n) for n in shape)


def planes(shape: Any, layout: str) -> Ints:
    """Give the shape (N, pixels, C), or (N, C, pixels), of images of this shape with one spatial axis."""
    batch, *size, channels = channels_last(tuple(shape), layout)
    return in_layout((batch, math.prod(size), channels), layout)
