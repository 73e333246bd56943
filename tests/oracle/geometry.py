"""Arithmetic, geometry and layouts of the oracle: which pixels each window looks at.

Arithmetic is float64, complex128 or Python integers (dtype object), whatever the data was. Every function works
channels last; `layout="channels_first"` moves axes at its door and again at its exit.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


def exact(array: Any) -> np.ndarray:
    """Copy data to the arithmetic of the oracle: Python integers, float64 or complex128."""
    array = np.asarray(array)
    wide = {"i": object, "u": object, "O": object, "c": np.complex128}.get(array.dtype.kind, np.float64)
    return array.astype(wide)


def gauge(array: Any) -> np.ndarray:
    """Absolute values, for the size of rounding errors; abs(Re) + abs(Im) bounds both parts of complex products."""
    wide = exact(array)
    return abs(wide.real) + abs(wide.imag) if wide.dtype.kind == "c" else abs(wide)


# Geometry -------------------------------------------------------------------------------------------------------------


def per_axis(value: Any, rank: int) -> tuple[int, ...]:
    """An int stands for every axis; otherwise one per axis."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


def padding_pairs(padding: Any, size: tuple[int, ...], kernel: Any, stride: Any, dilation: Any) -> list[tuple]:
    """Resolve a padding form into a (before, after) pair for each axis."""
    pairs = []
    for axis, (n, k, s, d) in enumerate(zip(size, kernel, stride, dilation, strict=True)):
        span = d * (k - 1) + 1
        # what it takes for the last of ceil(n / s) windows to end at the end
        short = max((math.ceil(n / s) - 1) * s + span - n, 0)
        if isinstance(padding, str):
            pair = {
                "valid": (0, 0),
                "same": (short // 2, short - short // 2),
                "same_lower": (short - short // 2, short // 2),
                "causal": (span - 1, 0),
            }[padding]
        elif isinstance(padding, int):
            pair = (padding, padding)
        elif isinstance(padding[axis], int):
            pair = (padding[axis], padding[axis])
        else:
            pair = tuple(padding[axis])
        pairs.append(pair)
    return pairs


@dataclass(frozen=True)
class Sites:
    """Which input position each kernel offset of each output position looks at; one list of pairs for each axis."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    out: tuple[int, ...]

    def positions(self) -> Iterator[tuple[int, ...]]:
        """Every output position."""
        return itertools.product(*map(range, self.out))

    def taps(self, o: tuple[int, ...], beyond: bool = False) -> list[tuple[tuple, tuple]]:
        """(kernel offset, input position) of the window at `o`: inside the input, or `beyond` it inside the padding."""
        found = []
        for k in itertools.product(*map(range, self.kernel)):
            i = tuple(
                o_a * s - before + k_a * d
                for o_a, k_a, s, d, (before, _) in zip(o, k, self.stride, self.dilation, self.pads, strict=True)
            )
            reach = self.pads if beyond else ((0, 0),) * len(i)
            if all(-lo <= i_a < n + hi for i_a, n, (lo, hi) in zip(i, self.size, reach, strict=True)):
                found.append((k, i))
        return found


def sites(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool = False) -> Sites:
    """Read the options and give the sites, with the output size of the contract."""
    size = tuple(size)
    rank = len(size)
    kernel, stride, dilation = per_axis(kernel, rank), per_axis(stride, rank), per_axis(dilation, rank)
    pads = padding_pairs(padding, size, kernel, stride, dilation)
    out = []
    for n, k, s, d, (before, after) in zip(size, kernel, stride, dilation, pads, strict=True):
        room = n + before + after - (d * (k - 1) + 1)
        steps = room // s  # rounds down, below zero too
        if ceil_mode:
            steps = -(-room // s)
            if steps * s >= n + before:  # the last window starts inside the input or the leading padding
                steps -= 1
        out.append(steps + 1)
    return Sites(size, kernel, stride, dilation, tuple(pads), tuple(out))


def planes(x_shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Batch index and channel of every plane."""
    return itertools.product(range(x_shape[0]), range(x_shape[-1]))


# Layouts --------------------------------------------------------------------------------------------------------------


def to_last(x: Any) -> np.ndarray:
    """(N, C, *spatial) -> (N, *spatial, C)."""
    return np.moveaxis(x, 1, -1)


def to_first(x: Any) -> np.ndarray:
    """(N, *spatial, C) -> (N, C, *spatial)."""
    return np.moveaxis(x, -1, 1)


def kernel_last(w: Any) -> np.ndarray:
    """(F, C/G, *kernel) -> (*kernel, C/G, F)."""
    return np.moveaxis(w, (0, 1), (-1, -2))


def kernel_first(w: Any) -> np.ndarray:
    """(*kernel, C/G, F) -> (F, C/G, *kernel)."""
    return np.moveaxis(w, (-1, -2), (0, 1))


def shape_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(N, C, *spatial) -> (N, *spatial, C)."""
    return (shape[0], *shape[2:], shape[1])


def in_both_layouts(*moves: Any) -> Any:
    """Let a channels-last function take `layout=`: `moves` (None for a shape-free argument) go with its arguments."""

    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def both(*arguments: Any, layout: str = "channels_last", **options: Any) -> Any:
            if layout == "channels_last":
                return function(*arguments, **options)
            moved = list(arguments)
            for number, move in enumerate(moves[:-1]):
                if move is not None and number < len(moved) and moved[number] is not None:
                    moved[number] = move(moved[number])
            result = function(*moved, **options)
            back = moves[-1]
            return tuple(map(back, result)) if isinstance(result, tuple) else back(result)

        return both

    return decorate
