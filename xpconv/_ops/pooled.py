"""What the public functions of pooling share: which dtypes they refuse, and the places of maxima."""

from __future__ import annotations

import math
from typing import Any

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import dtype_name, is_kind
from xpconv._arrays.space import mixed_space, space_of
from xpconv._arrays.views import to_channels_last
from xpconv._shapes import read
from xpconv._shapes.keywords import meant
from xpconv._shapes.options import TIES, Layout, Size

Array = Any

WORTH = 16  # taps: of 4, values and gradient took 3.5 ms, with places 4.4; of 49 3.5 and 1.6, of 64 1.8 and 1.2


def check_order(call: Call, dtype: Any) -> None:
    """Refuse dtypes whose values have no order."""
    if is_kind(call.xp, dtype, "complex floating"):
        raise TypeError(
            f"{call.name}: complex numbers have no order; got x.dtype={dtype_name(dtype)}; pool a real part or abs(x)"
        )


def check_divisible(call: Call, name: str, dtype: Any) -> None:
    """Refuse dtypes that an average leaves."""
    if is_kind(call.xp, dtype, "integral"):
        raise TypeError(
            f"{call.name}: an average of integers is no integer; got {name}.dtype={dtype_name(dtype)}; convert it "
            f"first, with {name}.astype(float32) say"
        )


def check_ties(call: Call, dtype: Any, ties: str) -> None:
    """Check what becomes of equal maxima; shares are no integers."""
    if ties not in TIES:
        raise ValueError(
            f"{call.name}: ties is one of {', '.join(map(repr, TIES))}; got ties={ties!r}{meant(ties, TIES)}"
        )
    if ties == "split":
        check_divisible(call, "dy", dtype)


def is_shape(x: Any) -> bool:
    """Say whether images are given by their shape alone."""
    return isinstance(x, (tuple, list))


def begin(name: str, layout: Layout, dy: Array, x: Any, indices: Array | None) -> Call:
    """Begin a gradient of maxima, of the images or, where indices are given, their shape."""
    if indices is not None and is_shape(x):
        call = Call.of(name, dy=dy, layout=layout)
    else:
        call = Call.of(name, x=x, dy=dy, layout=layout)
    check_order(call, dy.dtype)
    return call


def images_of_indices(call: Call, indices: Array, dy: Array, ties: str = "first") -> Array:
    """Check the indices of maxima; give them channels last."""
    name, xp = call.name, call.xp
    mixed_space(name, dy=dy, indices=indices)
    if not is_kind(xp, indices.dtype, "integral"):
        raise TypeError(f"{name}: indices are integers; got indices.dtype={dtype_name(indices.dtype)}")
    if ties != "first":
        raise ValueError(f"{name}: indices are those of first maxima, so with them ties is 'first'; got ties={ties!r}")
    read.whole(name, "indices", indices.shape, tuple(dy.shape), "dy")
    return to_channels_last(xp, indices, call.layout)


def keeps_indices(x: Array, window: Size, stride: Size | None, dilation: Size) -> bool:
    """Say whether the gradient of maxima is worth their places: what these cost beyond the values, it saves.

    On NumPy that is so where windows share no pixel and are large; the maxima of small ones are found again as fast.
    """
    traits = space_of(x).traits
    if not traits.buffers:
        return not traits.lazy

    def sizes(option: Size) -> tuple[int, ...]:
        return (option,) * (x.ndim - 2) if isinstance(option, int) else tuple(option)

    taps = sizes(window)
    steps = taps if stride is None else sizes(stride)
    apart = all(s >= d * (k - 1) + 1 for k, s, d in zip(taps, steps, sizes(dilation), strict=False))
    return apart and math.prod(taps) >= WORTH


def give_maxima(call: Call, found: tuple[Array, ...]) -> Array | tuple[Array, Array]:
    """Give maxima, and their places if they were asked for, in the caller's layout."""
    y, *places = found
    return (call.give(y), call.in_dtype(places[0].dtype).give(places[0])) if places else call.give(y)
