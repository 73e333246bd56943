"""Faults in the course's pooling, forward and backward, and its functions of one window: the slips that people make."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from xpconv.verify.faults.fault import SHAPE, VALUES, Array, Fault, Function, Wrap, course

Cache = tuple[Any, ...]
SEEN = f"{VALUES}|{SHAPE}|raised (ValueError|IndexError)"
NO_CACHE = r"gives \(result, cache\)"

# --- pooling --------------------------------------------------------------------------------------


def _pool_forward(step: str = "stride", reach: str = "f", start: float = -np.inf) -> Wrap:
    """Go through the windows: `step` and `reach` are the hyperparameters used, 1 if there is none of that name."""

    def wrap(right: Function) -> Function:
        def pool_forward(A_prev: Array, h: dict[str, int], mode: str = "max") -> Any:
            A = np.zeros_like(right(A_prev, h, mode)[0])
            move, size = h.get(step, 1), h.get(reach, 1)
            for row, column in np.ndindex(*A.shape[1:3]):
                window = A_prev[:, row * move : row * move + size, column * move : column * move + size]
                best = np.maximum(window.max(axis=(1, 2)), A.dtype.type(start))
                A[:, row, column] = best if mode == "max" else window.mean(axis=(1, 2))
            return A, (A_prev, h)

        return pool_forward

    return wrap


def _pooled(change: Callable[[Array, dict[str, int], str, Function, Array], Array]) -> Wrap:
    def wrap(right: Function) -> Function:
        def pool_forward(A_prev: Array, h: dict[str, int], mode: str = "max") -> Any:
            A, cache = right(A_prev, h, mode)
            return change(A, h, mode, right, A_prev), cache

        return pool_forward

    return wrap


def _other(mode: str) -> str:
    return "max" if mode == "average" else "average"


def _sized(sizes: Callable[[int, dict[str, int]], tuple[int, int, int]]) -> Wrap:
    """Go through windows whose f, stride and number along an axis follow from its pixels in another way."""

    def wrap(right: Function) -> Function:
        def pool_forward(A_prev: Array, h: dict[str, int], mode: str = "max") -> Any:
            (f, step, rows), (_, _, columns) = (sizes(n, h) for n in A_prev.shape[1:3])
            A = np.zeros((len(A_prev), rows, columns, A_prev.shape[3]), A_prev.dtype)
            for row, column in np.ndindex(rows, columns):
                window = A_prev[:, row * step : row * step + f, column * step : column * step + f]
                A[:, row, column] = window.max(axis=(1, 2)) if mode == "max" else window.mean(axis=(1, 2))
            return A, (A_prev, h)

        return pool_forward

    return wrap


Part = Callable[[Array, Array], Array]  # from a window and its dA to what the window's pixels get


def _first(x: Array, g: Array) -> Array:
    return (np.arange(x.size).reshape(x.shape) == np.argmax(x)) * g


def _mask(x: Array) -> Array:
    """Mark every maximum; of several NaN the first, as the library does."""
    return _first(x, True) if np.isnan(x.max()) else x == x.max()


def _pool_backward(
    maximum: Part = lambda x, g: _mask(x) * g,
    average: Part = lambda x, g: np.full(x.shape, g / x.size),
    step: str = "stride",
    assigned: bool = False,
    upstream: Callable[[Array, tuple[int, ...]], Array] = lambda dA, place: dA[place],
    masked: Callable[[Array, Array, Array], Array] = lambda A_prev, dA, dA_prev: A_prev,
) -> Wrap:
    """Go through the windows as the course does; `assigned` has = for +=, `step` is the hyperparameter used.

    For maxima, `upstream` gives the gradient of a window, and `masked` the array whose windows the mask is made of.
    """

    def wrap(right: Function) -> Function:
        def pool_backward(dA: Array, cache: Cache, mode: str = "max") -> Array:
            A_prev, h = cache
            move, f = h.get(step, 1), h["f"]
            result = np.zeros_like(A_prev)
            for i, row, column, c in np.ndindex(*dA.shape):
                place = (i, slice(row * move, row * move + f), slice(column * move, column * move + f), c)
                if mode == "max":
                    part = maximum(masked(A_prev, dA, result)[place], upstream(dA, (i, row, column, c)))
                else:
                    part = average(A_prev[place], dA[i, row, column, c])
                result[place] = part if assigned else result[place] + part
            return result

        return pool_backward

    return wrap


pool_forward, pool_backward, create_mask_from_window, distribute_value = (
    partial(course, name) for name in ("pool_forward", "pool_backward", "create_mask_from_window", "distribute_value")
)

FAULTS: tuple[Fault, ...] = (
    pool_forward(
        "mode confused",
        _pooled(lambda A, h, mode, right, x: right(x, h, _other(mode))[0]),
        "max where average was asked for, and the other way round",
    ),
    pool_forward(
        "window cut by the stride", _pool_forward(reach="stride"), "vert_end = vert_start + stride instead of + f"
    ),
    pool_forward("stride left out of the loop", _pool_forward(step=""), "vert_start = h instead of h * stride"),
    pool_forward("maximum from 0", _pool_forward(start=0), "negative numbers are lost"),
    pool_forward(
        "average not divided", _pooled(lambda A, h, mode, right, x: A if mode == "max" else A * h["f"] ** 2), "a sum"
    ),
    pool_forward(
        "pooled over the channels too",
        _pooled(
            lambda A, h, mode, right, x: np.repeat(
                A.max(3, keepdims=True) if mode == "max" else A.mean(3, keepdims=True),
                A.shape[3],
                3,
            )
        ),
        "the window is cut without its channel c",
    ),
    pool_forward(
        "minimum for the maximum",
        _pooled(lambda A, h, mode, right, x: A if mode == "average" else -right(-x, h, mode)[0]),
        "np.min instead of np.max",
    ),
    pool_forward(
        "average in both modes",
        _pooled(lambda A, h, mode, right, x: right(x, h, "average")[0]),
        'mode == "max" is never true, or np.mean stands in both branches',
    ),
    pool_forward(
        "maximum in both modes",
        _pooled(lambda A, h, mode, right, x: right(x, h, "max")[0]),
        "mode is not looked at, or np.max stands in both branches",
    ),
    pool_forward(
        "f and stride exchanged",
        _sized(lambda n, h: (h["stride"], h["f"], max((n - h["stride"]) // h["f"] + 1, 0))),
        "f = hparameters['stride'] and stride = hparameters['f']",
        sign=SEEN,
    ),
    pool_forward(
        "size rounded up",
        _sized(lambda n, h: (h["f"], h["stride"], -(-(n - h["f"]) // h["stride"]) + 1)),
        "np.ceil where int() or // rounds down, so that the last windows end beyond the image",
        sign=SEEN,
        core=False,
    ),
    pool_forward(
        "no cache", lambda right: lambda *given, **more: right(*given, **more)[0], "A alone is returned", sign=NO_CACHE
    ),
    pool_forward("zeros", _pooled(lambda A, *_: np.zeros_like(A)), "A is never filled"),
    pool_backward(
        "mask times the window",
        _pool_backward(lambda x, g: _mask(x) * x),
        "the mask is multiplied with A_prev, not with dA",
    ),
    pool_backward(
        "mask of the gradient",
        _pool_backward(lambda x, g: (x == np.max(x)) * g, masked=lambda A_prev, dA, dA_prev: dA),
        "the mask is made of a window of dA, not of A_prev",
        sign=SEEN,
    ),
    pool_backward(
        "mask of the result",
        _pool_backward(masked=lambda A_prev, dA, dA_prev: dA_prev),
        "the mask is made of a window of dA_prev, not of A_prev",
    ),
    pool_backward(
        "gradients summed",
        _pool_backward(upstream=lambda dA, place: np.sum(dA[place[0], :, :, place[3]], dtype=dA.dtype)),
        "np.sum(dA[i, :, :, c]) instead of dA[i, h, w, c]",
    ),
    pool_backward(
        "all gradients summed",
        _pool_backward(upstream=lambda dA, place: np.sum(dA, dtype=dA.dtype)),
        "np.sum(dA) instead of dA[i, h, w, c]",
    ),
    pool_backward("mask alone", _pool_backward(lambda x, g: 1 * _mask(x)), "the mask is not multiplied with dA"),
    pool_backward(
        "maximum for the gradient",
        _pool_backward(lambda x, g: _mask(x) * np.max(x)),
        "np.max of the window instead of dA",
    ),
    pool_backward(
        "average divided by the sum",
        _pool_backward(average=lambda x, g: np.full(x.shape, g / sum(x.shape))),
        "dA / (f + f) instead of dA / (f * f)",
        core=False,
    ),
    pool_backward(
        "average divided once",
        _pool_backward(average=lambda x, g: np.full(x.shape, g / x.shape[0])),
        "dA / f instead of dA / (f * f)",
    ),
    pool_backward("zeros", lambda right: lambda *given, **more: 0 * right(*given, **more), "dA_prev is never filled"),
    pool_backward("first maximum only", _pool_backward(_first), "one of several maxima gets it, by argmax"),
    pool_backward(
        "gradient split among the maxima",
        _pool_backward(lambda x, g: _mask(x) * (g / np.sum(_mask(x), dtype=x.dtype))),
        "each of several maxima gets a part",
    ),
    pool_backward(
        "no mask",
        _pool_backward(lambda x, g: np.full(x.shape, g)),
        "every pixel of a window gets the gradient of its maximum",
    ),
    pool_backward(
        "average not divided",
        _pool_backward(average=lambda x, g: np.full(x.shape, g)),
        "every pixel of a window gets all of dA",
    ),
    pool_backward("= for +=", _pool_backward(assigned=True), "windows that overlap overwrite each other"),
    pool_backward("stride left out of the loop", _pool_backward(step=""), "vert_start = h instead of h * stride"),
    pool_backward(
        "mode confused",
        lambda right: lambda dA, cache, mode="max": right(dA, cache, _other(mode)),
        "max where average was asked for, and the other way round",
    ),
    pool_backward(
        "average in both modes",
        lambda right: lambda dA, cache, mode="max": right(dA, cache, "average"),
        'mode == "max" is never true, or dA is shared out in both branches',
    ),
    pool_backward(
        "maximum in both modes",
        lambda right: lambda dA, cache, mode="max": right(dA, cache, "max"),
        "mode is not looked at, or the mask stands in both branches",
    ),
    create_mask_from_window(
        "largest magnitude",
        lambda right: lambda x: np.abs(x) == np.max(np.abs(x)),
        "np.abs, by which -3 is larger than 2",
    ),
    create_mask_from_window("first maximum only", lambda right: lambda x: _first(x, True), "by argmax"),
    create_mask_from_window("everything", lambda right: lambda x: x == x, "x is compared with itself"),
    create_mask_from_window("minimum", lambda right: lambda x: x == x.min(), "min for max"),
    create_mask_from_window(
        "the maximum itself",
        lambda right: lambda x: np.asarray(np.max(x)),
        "np.max(x) instead of x == np.max(x)",
        sign=SHAPE,
    ),
    create_mask_from_window(
        "window where it is largest",
        lambda right: lambda x: x * (x == np.max(x)),
        "the mask is multiplied with x, where True and False belong",
        sign="wrong dtype",
    ),
    create_mask_from_window("turned over", lambda right: lambda x: x != np.max(x), "!= instead of =="),
    create_mask_from_window(
        "maximum of each column",
        lambda right: lambda x: x == np.max(x, axis=0),
        "np.max(x, axis=0) instead of np.max(x)",
    ),
    create_mask_from_window(
        "position of the maximum", lambda right: lambda x: np.asarray(np.argmax(x)), "np.argmax(x)", sign=SHAPE
    ),
    distribute_value(
        "divided by the sum",
        lambda right: lambda dz, shape: np.full(shape, dz / (shape[0] + shape[1])),
        "dz / (n_H + n_W) instead of dz / (n_H * n_W)",
        sign=f"{VALUES}|wrong dtype",
    ),
    distribute_value(
        "height and width exchanged",
        lambda right: lambda dz, shape: right(dz, shape[::-1]),
        "n_W, n_H = shape instead of n_H, n_W = shape",
        sign=SHAPE,
    ),
    distribute_value(
        "whole numbers",
        lambda right: lambda dz, shape: np.full(shape, np.asarray(dz // (shape[0] * shape[1]))),
        "// instead of /",
        sign=f"{VALUES}|wrong dtype",
    ),
    distribute_value(
        "divided by the width",
        lambda right: lambda dz, shape: right(dz * shape[0], shape),
        "dz / n_W instead of dz / (n_H n_W)",
    ),
    distribute_value(
        "one number",
        lambda right: lambda dz, shape: np.asarray(dz / (shape[0] * shape[1])),
        "np.ones(shape) is missing",
        sign=SHAPE,
    ),
    distribute_value(
        "multiplied",
        lambda right: lambda dz, shape: right(dz * (shape[0] * shape[1]) ** 2, shape),
        "dz * (n_H * n_W) instead of dz / (n_H * n_W)",
    ),
    distribute_value(
        "not divided", lambda right: lambda dz, shape: right(dz * (shape[0] * shape[1]), shape), "every entry is dz"
    ),
    distribute_value(
        "divided by the height",
        lambda right: lambda dz, shape: right(dz * shape[1], shape),
        "dz / n_H instead of dz / (n_H n_W)",
    ),
)
