"""Input checks of the course's functions, in the course's words."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from xpconv._arrays.dtypes import is_kind, native, promote
from xpconv._arrays.space import mixed_space, space_of
from xpconv._arrays.views import plain
from xpconv._shapes.keywords import meant, near
from xpconv._shapes.options import POOL_MODES

Array = Any
Cache = tuple[Any, ...]
HParameters = dict[str, int]


@contextmanager
def named(function: str, **names: str) -> Iterator[None]:
    """Put the course's names of functions and arguments into the errors of an operation."""
    try:
        yield
    except (TypeError, ValueError) as error:
        _, named_itself, rule = str(error).partition(": ")
        text = rule if named_itself else str(error)  # an array library's own error names no operation
        for inner, outer in names.items():
            text = re.sub(rf"\b{inner}\b(?!=)", outer, text)
        raise type(error)(f"{function}: {text}") from None


def read_hparameters(function: str, hparameters: Any, **least: int) -> tuple[int, ...]:
    """Read the whole numbers of hparameters that are asked for, each at least so large."""
    values = []
    for name, bound in least.items():
        try:
            value = hparameters[name]
            number = operator.index(value)
        except (KeyError, TypeError, IndexError):
            others = [key for key in hparameters if key not in least] if isinstance(hparameters, Mapping) else []
            other = near(name, others)
            raise ValueError(
                f"{function}: hparameters is a dictionary with an integer {name!r}; got hparameters={hparameters!r}"
                f"{f'; did you mean {name!r} by {other!r}?' if other else ''}"
            ) from None
        if number < bound or isinstance(value, bool):
            raise ValueError(f"{function}: hparameters[{name!r}] is an integer from {bound} up; got {value!r}")
        values.append(number)
    return tuple(values)


def check_axes(function: str, name: str, array: Array, wanted: str) -> None:
    """Check how many axes an array has."""
    count = wanted.count(",") + 1
    if array.ndim != count:
        raise ValueError(f"{function}: {name} has the shape ({wanted}); got {name}.shape={tuple(array.shape)}")


def check_mode(function: str, mode: Any) -> None:
    """Check the word that names a kind of pooling."""
    if mode not in POOL_MODES:
        raise ValueError(f"{function}: mode is 'max' or 'average'; got mode={mode!r}{meant(mode, POOL_MODES)}")


def read_pad(width: Any) -> int:
    """Read the number of pixels that `zero_pad` adds."""
    try:
        number = operator.index(width)
    except TypeError:
        number = -1
    if number < 0 or isinstance(width, bool):
        raise ValueError(f"zero_pad: pad is an integer from 0 up; got pad={width!r}")
    return number


def check_conv(function: str, images: Array, filters: Array, bias: Array, hparameters: Any) -> tuple[Any, int, int]:
    """Check what `conv_forward` gets: ``-> namespace, stride, padding``."""
    xp = mixed_space(function, A_prev=images, W=filters, b=bias).xp
    check_axes(function, "A_prev", images, "m, n_H_prev, n_W_prev, n_C_prev")
    check_axes(function, "W", filters, "f, f, n_C_prev, n_C")
    if tuple(bias.shape) != (1, 1, 1, filters.shape[3]):
        raise ValueError(
            f"{function}: b has the shape (1, 1, 1, n_C), here (1, 1, 1, {filters.shape[3]}); "
            f"got b.shape={tuple(bias.shape)}"
        )
    stride, width = read_hparameters(function, hparameters, stride=1, pad=0)
    return xp, stride, width


def check_pool(function: str, images: Array, hparameters: Any, mode: Any) -> tuple[Any, int, int]:
    """Check what `pool_forward` gets: ``-> namespace, window, stride``."""
    xp = mixed_space(function, A_prev=images).xp
    check_axes(function, "A_prev", images, "m, n_H_prev, n_W_prev, n_C_prev")
    check_mode(function, mode)
    window, stride = read_hparameters(function, hparameters, f=1, stride=1)
    return xp, window, stride


def tile_by_tile(*arrays: Array, bias: Array | None = None) -> Any:
    """Give the floating dtype that NumPy arrays have in common, if tiles have to be converted to it; None if not.

    Elsewhere the arrays are converted as a whole; so are integers, which are multiplied by the width of their dtype.
    """
    given = arrays if bias is None else (*arrays, bias)
    dtypes = [native(array.dtype) for array in given]
    if not all(isinstance(array, np.ndarray) and array.dtype.kind in "iufc" for array in given):
        return None
    common = np.result_type(*dtypes)
    return common if common.kind in "fc" and any(dtype != common for dtype in dtypes[: len(arrays)]) else None


def common(function: str, xp: Any, **arrays: Array) -> Any:
    """Give the dtype that arrays have in common, as `promote` converts to, and convert nothing."""
    empty = {name: plain(array)[:0, ...] for name, array in arrays.items()}
    return native(promote(function, xp, **empty)[0].dtype)


def averaged(function: str, xp: Any, **arrays: Array) -> Any:
    """Give the floating dtype in which arrays are averaged: their common one, or the default of integers.

    Where the library knows none (floats and integers, by the standard), that of the first.
    """
    first = next(iter(arrays.values()))
    try:
        dtype = common(function, xp, **arrays)
    except TypeError:
        dtype = native(first.dtype)
    return space_of(first).default_float if is_kind(xp, dtype, "integral") else dtype


def floating(xp: Any, array: Array) -> Array:
    """Convert integers to the library's default floating numbers; the rest stays."""
    return xp.astype(array, space_of(array).default_float) if is_kind(xp, array.dtype, "integral") else array
