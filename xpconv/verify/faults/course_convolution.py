"""Faults in the course's padding and convolution, forward and backward: the slips that people make there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from xpconv.verify.faults.fault import RAISED, SHAPE, VALUES, Array, Fault, Function, Wrap, course

Cache = tuple[Any, ...]
EITHER = f"{SHAPE}|{VALUES}"
NO_CACHE = r"gives \(result, cache\)"

# --- zero_pad, and what conv_forward makes of it --------------------------------------------------


def _surround(X: Array, before: int, after: int, mode: Any = "constant") -> Array:
    return np.pad(X, ((0, 0), (before, after), (before, after), (0, 0)), mode)


PADDINGS: dict[str, tuple[Callable[[Array, int], Array], str, str]] = {
    "padding dropped": (lambda X, pad: X.copy(), "pad is never used", SHAPE),
    "pad off by one": (lambda X, pad: _surround(X, max(pad - 1, 0), max(pad - 1, 0)), "one ring too few", SHAPE),
    "padding on one side": (lambda X, pad: _surround(X, 0, 2 * pad), "all of it below and on the right", VALUES),
    "padding before, not after": (lambda X, pad: _surround(X, pad, 0), "above and on the left only", SHAPE),
    "edge repeated": (lambda X, pad: _surround(X, pad, pad, "edge"), "the border instead of zeros", VALUES),
    "height padded only": (
        lambda X, pad: np.pad(X, ((0, 0), (pad, pad), (0, 0), (0, 0))),
        "the width is left as it is",
        SHAPE,
    ),
    "width padded only": (
        lambda X, pad: np.pad(X, ((0, 0), (0, 0), (pad, pad), (0, 0))),
        "the height is left as it is",
        SHAPE,
    ),
    "padded with pad": (
        lambda X, pad: np.pad(X, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=pad),
        "constant_values=pad, where zeros belong",
        VALUES,
    ),
    "padded with ones": (
        lambda X, pad: np.pad(X, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=1),
        "constant_values=1, where zeros belong",
        VALUES,
    ),
    "the image repeated": (lambda X, pad: _surround(X, pad, pad, "wrap"), "mode='wrap', where zeros belong", VALUES),
    "pad twice": (lambda X, pad: _surround(X, 2 * pad, 2 * pad), "two rings for one", SHAPE),
}
# what conv_forward gives with one of them may have a likelier cause
LIKELIER = {
    "padding before, not after": (
        "pad counted once",
        "n_H = (n_H_prev - f + pad) / stride + 1; or padded above and on the left only",
    )
}
EVERY_AXIS = ("every axis padded", "examples and channels too: np.pad(X, pad)")


def _pads(pad: Callable[[Array, int], Array]) -> Wrap:
    return lambda right: lambda X, width: pad(X, width)


def _pads_first(pad: Callable[[Array, int], Array]) -> Wrap:
    def wrap(right: Function) -> Function:
        def conv_forward(A_prev: Array, W: Array, b: Array, h: dict[str, int]) -> Any:
            Z, _ = right(pad(A_prev, h["pad"]), W, b, {**h, "pad": 0})
            return Z, (A_prev, W, b, h)

        return conv_forward

    return wrap


# --- conv_forward ---------------------------------------------------------------------------------


def _forward(change: Callable[..., Any]) -> Wrap:
    """Change the arguments A_prev, W, b, hparameters of the right function; the cache holds them as they were."""

    def wrap(right: Function) -> Function:
        def conv_forward(A_prev: Array, W: Array, b: Array, h: dict[str, int]) -> Any:
            return right(*change(A_prev, W, b, h))[0], (A_prev, W, b, h)

        return conv_forward

    return wrap


def _after(change: Callable[[Array, dict[str, int]], Array]) -> Wrap:
    """Change the right result."""

    def wrap(right: Function) -> Function:
        def conv_forward(A_prev: Array, W: Array, b: Array, h: dict[str, int]) -> Any:
            Z, cache = right(A_prev, W, b, h)
            return change(Z, h), cache

        return conv_forward

    return wrap


def _looped(pads: bool = True, reach: str = "") -> Wrap:
    """Go through the windows as the course does, which raises something where a window is cut short."""

    def wrap(right: Function) -> Function:
        def conv_forward(A_prev: Array, W: Array, b: Array, h: dict[str, int]) -> Any:
            Z = np.zeros_like(right(A_prev, W, b, h)[0])
            x = _surround(A_prev, h["pad"], h["pad"]) if pads else A_prev
            step, size = h["stride"], h.get(reach, W.shape[0])
            for i, row, column, c in np.ndindex(*Z.shape):
                window = x[i, row * step : row * step + size, column * step : column * step + size]
                Z[i, row, column, c] = np.sum(window * W[..., c]) + b[0, 0, 0, c]
            return Z, (A_prev, W, b, h)

        return conv_forward

    return wrap


def _rounded_up(right: Function) -> Function:
    def conv_forward(A_prev: Array, W: Array, b: Array, h: dict[str, int]) -> Any:
        step, f = h["stride"], W.shape[0]
        x = _surround(A_prev, h["pad"], h["pad"])
        height, width = (-(-(n - f) // step) + 1 for n in x.shape[1:3])
        Z = np.zeros((len(x), height, width, W.shape[3]), right(A_prev, W, b, h)[0].dtype)
        for i, row, column, c in np.ndindex(*Z.shape):
            window = x[i, row * step : row * step + f, column * step : column * step + f]
            Z[i, row, column, c] = np.sum(window * W[..., c]) + b[0, 0, 0, c]
        return Z, (A_prev, W, b, h)

    return conv_forward


def _side_by_side(right: Function) -> Function:
    def conv_forward(A_prev: Array, W: Array, b: Array, h: dict[str, int]) -> Any:
        size = right(A_prev, W, b, h)[0].shape
        Z = right(A_prev, W, b, {**h, "stride": 1})[0]
        return Z[:, : size[1], : size[2]].copy(), (A_prev, W, b, h)

    return conv_forward


# --- conv_backward --------------------------------------------------------------------------------


def _conv_backward(
    dZ: Array, cache: Cache, step: int | None = None, assigned: str = "", pads: bool = True
) -> tuple[Array, Array, Array]:
    """Go through the windows as the course does; `assigned` has = for +=, `step` stands for the stride.

    Without `pads` the windows of dW are cut from A_prev itself, which raises something where they are cut short.
    """
    A_prev, W, b, h = cache
    pad, f = h["pad"], W.shape[0]
    step = h["stride"] if step is None else step
    x = _surround(A_prev, pad, pad)
    source = x if pads else A_prev
    found = {"dA_prev": np.zeros_like(x), "dW": np.zeros_like(W), "db": np.zeros_like(b)}

    def add(name: str, place: Any, value: Array) -> None:
        if name == assigned:
            found[name][place] = value
        else:
            found[name][place] += value

    for i, row, column, c in np.ndindex(*dZ.shape):
        window = (i, slice(row * step, row * step + f), slice(column * step, column * step + f))
        add("dA_prev", window, W[..., c] * dZ[i, row, column, c])
        add("dW", (..., c), source[window] * dZ[i, row, column, c])
        add("db", (..., c), dZ[i, row, column, c])
    height, width = A_prev.shape[1:3]
    return found["dA_prev"][:, pad : pad + height, pad : pad + width].copy(), found["dW"], found["db"]


def _as_the_course(**ways: Any) -> Wrap:
    return lambda right: lambda dZ, cache: _conv_backward(dZ, cache, **ways)


def _backward(change: Callable[..., Any]) -> Wrap:
    """Change the right gradients; `change` gets them, dZ and the cache."""

    def wrap(right: Function) -> Function:
        return lambda dZ, cache: change(*right(dZ, cache), dZ, cache)

    return wrap


def _cut_to_nothing(dA: Array, dW: Array, db: Array, dZ: Array, cache: Cache) -> Any:
    """Cut [pad:-pad], which is empty where pad is 0, and assign that."""
    pad = cache[3]["pad"]
    whole = _surround(dA, pad, pad)
    result = np.zeros_like(dA)
    result[:] = whole[:, pad:-pad, pad:-pad]
    return result, dW, db


def _of_padded(dZ: Array, cache: Cache) -> Array:
    """Give the gradient of the padded image, padding and all."""
    A_prev, W, b, h = cache
    return _conv_backward(dZ, (_surround(A_prev, h["pad"], h["pad"]), W, b, {**h, "pad": 0}))[0]


def _cut_at_the_start(dA: Array, dW: Array, db: Array, dZ: Array, cache: Cache) -> Any:
    """Cut the gradient of the padded image to its first rows and columns."""
    return _of_padded(dZ, cache)[:, : dA.shape[1], : dA.shape[2]].copy(), dW, db


def _random(like: Array) -> Array:
    return np.random.default_rng().standard_normal(like.shape).astype(like.dtype)


def _flipped_kernel(right: Function) -> Function:
    def conv_backward(dZ: Array, cache: Cache) -> Any:
        A_prev, W, b, h = cache
        dA, _, _ = right(dZ, (A_prev, W[::-1, ::-1].copy(), b, h))
        return dA, *right(dZ, cache)[1:]

    return conv_backward


def _padded_cache(right: Function) -> Function:
    def conv_backward(dZ: Array, cache: Cache) -> Any:
        pad = cache[3]["pad"]
        return _conv_backward(dZ, (_surround(cache[0], pad, pad), *cache[1:]))

    return conv_backward


def _wrong_axes(dA: Array, dW: Array, db: Array, dZ: Array, cache: Cache) -> Any:
    """Sum dZ over height, width and filters, and leave the batch."""
    total = dZ.sum(axis=(1, 2, 3), dtype=db.dtype)
    return dA, dW, np.resize(total, db.shape)


zero_pad, conv_single_step, conv_forward, conv_backward = (
    partial(course, name) for name in ("zero_pad", "conv_single_step", "conv_forward", "conv_backward")
)

FAULTS: tuple[Fault, ...] = (
    *(zero_pad(name, _pads(pad), why, sign=sign) for name, (pad, why, sign) in PADDINGS.items()),
    zero_pad(EVERY_AXIS[0], _pads(lambda X, pad: np.pad(X, pad)), EVERY_AXIS[1], sign=SHAPE),
    conv_single_step(
        "an array for a number",
        lambda right: lambda a, W, b: np.sum(a * W) + b,
        "the axes of b stay on it: float(b.item()), or b.item(), makes a number of b",
        sign=SHAPE,
    ),
    conv_single_step(
        "not summed", lambda right: lambda a, W, b: a * W + b, "the products are not added up", sign=SHAPE
    ),
    conv_single_step(
        "summed over one axis",
        lambda right: lambda a, W, b: np.sum(a * W, axis=0) + b,
        "np.sum with an axis adds up only that one",
        sign=SHAPE,
    ),
    conv_single_step(
        "sum for product", lambda right: lambda a, W, b: np.sum(a + W) + b[0, 0, 0], "a + W instead of a * W"
    ),
    conv_single_step(
        "product of the sums",
        lambda right: lambda a, W, b: np.sum(a) * np.sum(W) + b[0, 0, 0],
        "np.sum(a) * np.sum(W) instead of np.sum(a * W)",
    ),
    conv_single_step("bias subtracted", lambda right: lambda a, W, b: right(a, W, -b), "- b instead of + b"),
    conv_single_step("bias forgotten", lambda right: lambda a, W, b: right(a, W, 0 * b), "b is never added"),
    conv_single_step(
        "bias for every product",
        lambda right: lambda a, W, b: right(a, W, b * W.size),
        "b is added before the sum, np.sum(a * W + b)",
    ),
    conv_single_step(
        "kernel flipped",
        lambda right: lambda a, W, b: right(a, W[::-1, ::-1].copy(), b),
        "the convolution of signal processing, which the course does not mean",
    ),
    *(
        conv_forward(told, _pads_first(pad), line, sign=EITHER)
        for pad, (told, line) in ((pad, LIKELIER.get(name, (name, why))) for name, (pad, why, _) in PADDINGS.items())
    ),
    conv_forward(
        "size rounded up",
        _rounded_up,
        "np.ceil where int() or // rounds down, so that the last windows end beyond the image",
        sign=RAISED,
        core=False,
    ),
    conv_forward(
        "stride ignored",
        _forward(lambda A, W, b, h: (A, W, b, {**h, "stride": 1})),
        "the output is as large as with stride 1",
        sign=SHAPE,
    ),
    conv_forward("stride left out of the loop", _side_by_side, "vert_start = h instead of h * stride", core=False),
    conv_forward(
        "windows of the unpadded image",
        _looped(pads=False),
        "the windows are cut from A_prev, not A_prev_pad",
        sign=RAISED,
    ),
    conv_forward(
        "window cut by the stride",
        _looped(reach="stride"),
        "vert_end = vert_start + stride instead of + f",
        sign=RAISED,
        core=False,
    ),
    conv_forward(
        "size without + 1",
        _after(lambda Z, h: Z[:, :-1, :-1].copy()),
        "n_H = (n_H_prev - f + 2 pad) / stride",
        sign=SHAPE,
    ),
    conv_forward(
        "kernel flipped",
        _forward(lambda A, W, b, h: (A, W[::-1, ::-1].copy(), b, h)),
        "the convolution of signal processing, which the course does not mean",
    ),
    conv_forward(
        "kernel axes swapped",
        _forward(lambda A, W, b, h: (A, W.swapaxes(0, 1).copy(), b, h)),
        "W is indexed by column, then row",
    ),
    conv_forward(
        "height and width swapped",
        _forward(lambda A, W, b, h: (A.swapaxes(1, 2).copy(), W, b, h)),
        "the windows are cut by column, then row",
        sign=EITHER,
    ),
    conv_forward(
        "channels swapped",
        _forward(lambda A, W, b, h: (A[..., ::-1].copy(), W, b, h)),
        "the input channels run backwards",
    ),
    conv_forward(
        "one filter for all",
        _forward(lambda A, W, b, h: (A, np.repeat(W[..., :1], b.size, 3), b, h)),
        "W[:, :, :, 0] instead of W[:, :, :, c]",
    ),
    conv_forward(
        "one image for all",
        _forward(lambda A, W, b, h: (np.repeat(A[:1], len(A), 0), W, b, h)),
        "A_prev[0] instead of A_prev[i]",
    ),
    conv_forward("bias forgotten", _forward(lambda A, W, b, h: (A, W, 0 * b, h)), "b is never added"),
    conv_forward("bias added twice", _forward(lambda A, W, b, h: (A, W, 2 * b, h)), "once in each function"),
    conv_forward(
        "one bias for all",
        _forward(lambda A, W, b, h: (A, W, np.repeat(b[..., :1], b.size, 3), h)),
        "b[:, :, :, 0] instead of b[:, :, :, c]",
    ),
    conv_forward(
        "no cache", lambda right: lambda *given: right(*given)[0], "the result alone is returned", sign=NO_CACHE
    ),
    conv_forward(
        "first channel alone",
        _forward(lambda A, W, b, h: (A, np.concatenate([W[..., :1, :], 0 * W[..., 1:, :]], 2), b, h)),
        "only the first input channel is used",
    ),
    conv_forward(
        "negative numbers lost",
        _after(lambda Z, h: np.maximum(Z, 0)),
        "np.maximum(Z, 0): the activation is no part of the convolution",
    ),
    conv_forward("zeros", _after(lambda Z, h: np.zeros_like(Z)), "Z is never filled"),
    conv_backward(
        "= for += in dA_prev",
        _as_the_course(assigned="dA_prev"),
        "windows that overlap overwrite each other",
        core=False,
    ),
    conv_backward("= for += in dW", _as_the_course(assigned="dW"), "the last window overwrites the others"),
    conv_backward("= for += in db", _as_the_course(assigned="db"), "the last window overwrites the others"),
    conv_backward(
        "pad 0 cuts everything", _backward(_cut_to_nothing), "[pad:-pad] is empty where pad is 0", sign=RAISED
    ),
    conv_backward(
        "padding left on dA_prev",
        _backward(lambda dA, dW, db, dZ, cache: (_of_padded(dZ, cache), dW, db)),
        "the gradient of the padded image is returned",
        sign=SHAPE,
    ),
    conv_backward(
        "dW from the unpadded image",
        _as_the_course(pads=False),
        "windows of A_prev, not A_prev_pad",
        sign=RAISED,
    ),
    conv_backward("cache of the padded image", _padded_cache, "the cache of conv_forward holds A_prev_pad", sign=SHAPE),
    conv_backward(
        "gradients start from random numbers",
        _backward(lambda dA, dW, db, *_: tuple(g + _random(g) for g in (dA, dW, db))),
        "np.random where np.zeros belongs",
    ),
    conv_backward(
        "dA_prev cut at the wrong place",
        _backward(_cut_at_the_start),
        "the padding is cut off below and on the right only",
    ),
    conv_backward("db zero", _backward(lambda dA, dW, db, *_: (dA, dW, 0 * db)), "db is never filled"),
    conv_backward("dW zero", _backward(lambda dA, dW, db, *_: (dA, 0 * dW, db)), "dW is never filled"),
    conv_backward("dA_prev zero", _backward(lambda dA, dW, db, *_: (0 * dA, dW, db)), "dA_prev is never filled"),
    conv_backward(
        "order of the results",
        _backward(lambda dA, dW, db, *_: (dW, dA, db)),
        "dW and dA_prev are returned in each other's place",
        sign=SHAPE,
    ),
    conv_backward(
        "stride left out of the loop",
        _as_the_course(step=1),
        "vert_start = h instead of h * stride",
    ),
    conv_backward("kernel flipped in dA_prev", _flipped_kernel, "W is turned over, as a library would"),
    conv_backward("dW flipped", _backward(lambda dA, dW, db, *_: (dA, dW[::-1, ::-1].copy(), db)), "dW is turned over"),
    conv_backward("db over the wrong axes", _backward(_wrong_axes), "the sum keeps the batch"),
    conv_backward(
        "gradients divided by the batch",
        _backward(lambda dA, dW, db, dZ, _: (dA, dW / dZ.shape[0], db / dZ.shape[0])),
        "dW and db are the mean over the batch, where the course has the sum",
    ),
    conv_backward(
        "dW divided by the batch",
        _backward(lambda dA, dW, db, dZ, _: (dA, dW / dZ.shape[0], db)),
        "the mean over the batch, where the course has the sum",
    ),
    conv_backward(
        "db divided by the batch",
        _backward(lambda dA, dW, db, dZ, _: (dA, dW, db / dZ.shape[0])),
        "the mean over the batch, where the course has the sum",
    ),
    conv_backward(
        "gradient × 1.001", _backward(lambda dA, dW, db, *_: (dA, dW * dW.dtype.type(1.001), db)), "dW is nearly right"
    ),
)
