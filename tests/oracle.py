"""The definitions in plain loops, to hold everything else against. Nothing is imported from xpconv.

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


# Geometry -------------------------------------------------------------------------------------------------------


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


# Layouts --------------------------------------------------------------------------------------------------------


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


# Convolution ----------------------------------------------------------------------------------------------------


def products(shape: Sites, batch: int, w_shape: tuple[int, ...], groups: int) -> Iterator[tuple]:
    """Index triples (of x, of w, of z) of every product in a convolution, x (N, *spatial, C), w (*kernel, C/G, F)."""
    c_group, f_group = w_shape[-2], w_shape[-1] // groups
    for o in shape.positions():
        for k, i in shape.taps(o):
            for n, g, c, f in itertools.product(range(batch), range(groups), range(c_group), range(f_group)):
                yield (n, *i, g * c_group + c), (*k, c, g * f_group + f), (n, *o, g * f_group + f)


@in_both_layouts(to_last, kernel_last, None, to_first)
def conv(
    x: Any, w: Any, b: Any = None, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> np.ndarray:
    """z[n, o, f] = b[f] + the sum over k, c of x[n, o·s - p + k·d, c] w[k, c, f]."""
    x, w = exact(x), exact(w)
    shape = sites(x.shape[1:-1], w.shape[:-2], stride, padding, dilation)
    z = np.zeros((x.shape[0], *shape.out, w.shape[-1]), np.result_type(x, w))
    if b is not None:
        z = z + exact(b)
    for at_x, at_w, at_z in products(shape, x.shape[0], w.shape, groups):
        z[at_z] += x[at_x] * w[at_w]
    return z


@in_both_layouts(to_last, kernel_last, shape_last, to_first)
def conv_input_grad(
    dz: Any, w: Any, input_shape: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> np.ndarray:
    """dx: each product of the convolution sends dz times the conjugate of its weight back to its pixel."""
    dz, w = exact(dz), exact(w)
    shape = sites(input_shape[1:-1], w.shape[:-2], stride, padding, dilation)
    dx = np.zeros(input_shape, np.result_type(dz, w))
    for at_x, at_w, at_z in products(shape, input_shape[0], w.shape, groups):
        dx[at_x] += dz[at_z] * w[at_w].conjugate()
    return dx


def _kernel_shape_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[2:], shape[1], shape[0])


@in_both_layouts(to_last, to_last, _kernel_shape_last, kernel_first)
def conv_weight_grad(
    dz: Any, x: Any, kernel_shape: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> np.ndarray:
    """dw: each product of the convolution sends dz times the conjugate of its pixel back to its weight."""
    dz, x = exact(dz), exact(x)
    shape = sites(x.shape[1:-1], kernel_shape[:-2], stride, padding, dilation)
    dw = np.zeros(kernel_shape, np.result_type(dz, x))
    for at_x, at_w, at_z in products(shape, x.shape[0], kernel_shape, groups):
        dw[at_w] += dz[at_z] * x[at_x].conjugate()
    return dw


def conv_bias_grad(dz: Any, *, layout: str = "channels_last") -> np.ndarray:
    """db[f] = the sum of dz over the batch and the spatial axes."""
    dz = exact(dz) if layout == "channels_last" else to_last(exact(dz))
    db = np.zeros(dz.shape[-1], dz.dtype)
    for row in dz.reshape(-1, dz.shape[-1]):
        db += row
    return db


def conv_vjp(dz: Any, x: Any, w: Any, *, layout: str = "channels_last", **options: Any) -> tuple:
    """(dx, dw, db) of a convolution."""
    return (
        conv_input_grad(dz, w, np.shape(x), layout=layout, **options),
        conv_weight_grad(dz, x, np.shape(w), layout=layout, **options),
        conv_bias_grad(dz, layout=layout),
    )


# Pooling --------------------------------------------------------------------------------------------------------


def pool_sites(x_shape: Any, window: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Sites:
    """Sites of a pooling window; no stride means the window."""
    return sites(x_shape[1:-1], window, window if stride is None else stride, padding, dilation, ceil_mode)


def planes(x_shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Batch index and channel of every plane."""
    return itertools.product(range(x_shape[0]), range(x_shape[-1]))


def is_nan(value: Any) -> bool:
    """Whether a number is NaN, in any arithmetic."""
    return value != value


def winners(x: np.ndarray, window: list[tuple], n: int, c: int) -> list[tuple]:
    """Input positions of every maximum of a window, in row-major order; a NaN wins alone, the first one of them."""
    inside = [i for _, i in window]
    for i in inside:
        if is_nan(x[(n, *i, c)]):
            return [i]
    best = max((x[(n, *i, c)] for i in inside), default=None)
    return [i for i in inside if x[(n, *i, c)] == best]


@in_both_layouts(to_last, None, to_first)
def max_pool(
    x: Any, window: Any, *, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum of each window and its flat index in the unpadded plane; no tap inside gives the least value and -1."""
    x = np.asarray(x)
    shape = pool_sites(x.shape, window, stride, padding, dilation, ceil_mode)
    y = np.empty((x.shape[0], *shape.out, x.shape[-1]), x.dtype)
    indices = np.empty(y.shape, np.int64)
    least = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    for o in shape.positions():
        taps = shape.taps(o)
        for n, c in planes(x.shape):
            won = winners(x, taps, n, c)
            y[(n, *o, c)] = x[(n, *won[0], c)] if won else least
            indices[(n, *o, c)] = np.ravel_multi_index(won[0], shape.size) if won else -1
    return y, indices


@in_both_layouts(to_last, to_last, None, to_first)
def max_pool_vjp(
    dy: Any,
    x: Any,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    ties: str = "first",
) -> np.ndarray:
    """Send each gradient to the first maximum of its window, to all of them, or to all in equal shares."""
    dy, x = exact(dy), np.asarray(x)
    shape = pool_sites(x.shape, window, stride, padding, dilation, ceil_mode)
    dx = np.zeros(x.shape, dy.dtype)
    for o in shape.positions():
        taps = shape.taps(o)
        for n, c in planes(x.shape):
            won = winners(x, taps, n, c)
            for i in won[:1] if ties == "first" else won:
                dx[(n, *i, c)] += dy[(n, *o, c)] / len(won) if ties == "split" else dy[(n, *o, c)]
    return dx


@in_both_layouts(to_last, None, to_first)
def avg_pool(
    x: Any,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> np.ndarray:
    """Mean over the taps inside the padded input, or inside the input alone; a window without a counted tap gives 0."""
    x = exact(x)
    shape = pool_sites(x.shape, window, stride, padding, dilation, ceil_mode)
    y = np.zeros((x.shape[0], *shape.out, x.shape[-1]), x.dtype)
    for o in shape.positions():
        count = len(shape.taps(o, beyond=count_include_pad))
        for n, c in planes(x.shape) if count else ():
            total = sum(x[(n, *i, c)] for _, i in shape.taps(o))
            y[(n, *o, c)] = total / count
    return y


@in_both_layouts(to_last, shape_last, None, to_first)
def avg_pool_vjp(
    dy: Any,
    input_shape: Any,
    window: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> np.ndarray:
    """Send each gradient, divided by its window's divisor, to every pixel of the window."""
    dy = exact(dy)
    shape = pool_sites(input_shape, window, stride, padding, dilation, ceil_mode)
    dx = np.zeros(input_shape, dy.dtype)
    for o in shape.positions():
        count = len(shape.taps(o, beyond=count_include_pad))
        for _, i in shape.taps(o):
            for n, c in planes(input_shape):
                dx[(n, *i, c)] += dy[(n, *o, c)] / count
    return dx


@in_both_layouts(to_last, None, to_first)
def pad(x: Any, padding: Any) -> np.ndarray:
    """Surround the spatial axes with zeros."""
    x = np.asarray(x)
    size = x.shape[1:-1]
    pairs = padding_pairs(padding, size, *[(1,) * len(size)] * 3)
    y = np.zeros(
        (x.shape[0], *[n + before + after for n, (before, after) in zip(size, pairs, strict=True)], x.shape[-1]),
        x.dtype,
    )
    for i in itertools.product(*map(range, size)):
        y[(slice(None), *[i_a + before for i_a, (before, _) in zip(i, pairs, strict=True)])] = x[(slice(None), *i)]
    return y
