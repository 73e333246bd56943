"""Faults in how the course's loops cut their windows and index the gradient, each in each of the four functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpconv.verify.faults.fault import SHAPE, VALUES, Array, Fault, Function, Wrap, course

Index = tuple[Any, ...]


def _span(n: int, s: int, f: int) -> slice:
    return slice(n * s, n * s + f)


def _from_one(n: int, s: int, f: int) -> slice:
    return slice((n - 1) * s + 1, (n - 1) * s + f)


@dataclass(frozen=True)
class Loop:
    """The loop over the windows of the course, wrong in one way.

    `cut` makes the example, rows and columns of a window from i, h, w, stride and f; `taken` makes the place in the
    output, or in its gradient, that belongs to the window; `first` and `less` cut the ranges of h and w, `alone`
    that of i.
    """

    cut: Callable[[int, int, int, int, int], Index] = lambda i, h, w, s, f: (i, _span(h, s, f), _span(w, s, f))
    taken: Callable[[int, int, int, int], Index] = lambda i, h, w, s: (i, h, w)
    first: int = 0
    less: int = 0
    alone: bool = False  # the first example

    def places(self, size: tuple[int, ...], s: int, f: int) -> Iterator[tuple[Index, Index, int]]:
        """Go through the output: the window, the place, the channel."""
        for i in range(min(size[0], 1) if self.alone else size[0]):
            for h in range(self.first, size[1] - self.less):
                for w in range(self.first, size[2] - self.less):
                    for c in range(size[3]):
                        yield self.cut(i, h, w, s, f), (*self.taken(i, h, w, s), c), c


# what is wrong -> the loop, and the line of code
LOOPS: dict[str, tuple[Loop, str]] = {
    "h for w": (
        Loop(cut=lambda i, h, w, s, f: (i, _span(h, s, f), _span(h, s, f))),
        "horiz_start = h * stride instead of w * stride",
    ),
    "w for h": (
        Loop(cut=lambda i, h, w, s, f: (i, _span(w, s, f), _span(w, s, f))),
        "vert_start = w * stride instead of h * stride",
    ),
    "h and w exchanged": (
        Loop(cut=lambda i, h, w, s, f: (i, _span(w, s, f), _span(h, s, f))),
        "the rows are cut by w, the columns by h",
    ),
    "counted from 1": (
        Loop(cut=lambda i, h, w, s, f: (i, _from_one(h, s, f), _from_one(w, s, f))),
        "vert_start = (h - 1) * stride + 1, as in a language that counts from 1",
    ),
    "window moved by one": (
        Loop(cut=lambda i, h, w, s, f: (i, slice(h * s + 1, h * s + 1 + f), slice(w * s + 1, w * s + 1 + f))),
        "vert_start = h * stride + 1",
    ),
    "window one pixel short": (
        Loop(cut=lambda i, h, w, s, f: (i, _span(h, s, f - 1), _span(w, s, f - 1))),
        "vert_end = vert_start + f - 1",
    ),
    "window one pixel long": (
        Loop(cut=lambda i, h, w, s, f: (i, _span(h, s, f + 1), _span(w, s, f + 1))),
        "vert_end = vert_start + f + 1",
    ),
    "stride added": (
        Loop(cut=lambda i, h, w, s, f: (i, slice(h + s, h + s + f), slice(w + s, w + s + f))),
        "vert_start = h + stride instead of h * stride",
    ),
    "window size for the stride": (
        Loop(cut=lambda i, h, w, s, f: (i, _span(h, f, f), _span(w, f, f))),
        "vert_start = h * f instead of h * stride",
    ),
    "all examples": (
        Loop(cut=lambda i, h, w, s, f: (slice(None), _span(h, s, f), _span(w, s, f))),
        "the window is cut from every example, not from example i",
    ),
    "first example for all": (
        Loop(cut=lambda i, h, w, s, f: (0, _span(h, s, f), _span(w, s, f))),
        "[0] instead of [i]",
    ),
    "first example alone": (
        Loop(alone=True),
        "the other examples are left out, by range(1) or by a return inside the loop",
    ),
    "loop from 1": (Loop(first=1), "range(1, n_H) leaves the first row and column out"),
    "loop ends early": (Loop(less=1), "range(n_H - 1) leaves the last row and column out"),
}
# of the results only
RESULTS: dict[str, tuple[Loop, str]] = {
    "only the first example": (
        Loop(taken=lambda i, h, w, s: (0, h, w)),
        "the result of every example goes to example 0",
    ),
}
# of the gradients only
GRADIENTS: dict[str, tuple[Loop, str]] = {
    "gradient taken at the pixel": (
        Loop(taken=lambda i, h, w, s: (i, h * s, w * s)),
        "[i, vert_start, horiz_start, c] instead of [i, h, w, c]",
    ),
    "gradient of h and w exchanged": (
        Loop(taken=lambda i, h, w, s: (i, w, h)),
        "[i, w, h, c] instead of [i, h, w, c]",
    ),
    "gradient of the first example": (
        Loop(taken=lambda i, h, w, s: (0, h, w)),
        "[0, h, w, c] instead of [i, h, w, c]",
    ),
}


def _padded(A_prev: Array, pad: int) -> Array:
    return np.pad(A_prev, ((0, 0), (pad, pad), (pad, pad), (0, 0)))


def _conv_forward(loop: Loop) -> Wrap:
    def wrap(right: Function) -> Function:
        def conv_forward(A_prev: Array, W: Array, b: Array, h: dict[str, int]) -> Any:
            Z = np.zeros_like(right(A_prev, W, b, h)[0])
            x = _padded(A_prev, h["pad"])
            for window, place, c in loop.places(Z.shape, h["stride"], W.shape[0]):
                Z[place] = np.sum(x[window] * W[..., c]) + b[0, 0, 0, c]
            return Z, (A_prev, W, b, h)

        return conv_forward

    return wrap


def _pool_forward(loop: Loop) -> Wrap:
    def wrap(right: Function) -> Function:
        def pool_forward(A_prev: Array, h: dict[str, int], mode: str = "max") -> Any:
            A = np.zeros_like(right(A_prev, h, mode)[0])
            for window, place, c in loop.places(A.shape, h["stride"], h["f"]):
                values = A_prev[(*window, c)]
                A[place] = np.max(values) if mode == "max" else np.mean(values)
            return A, (A_prev, h)

        return pool_forward

    return wrap


def _conv_backward(loop: Loop) -> Wrap:
    def wrap(right: Function) -> Function:
        def conv_backward(dZ: Array, cache: Any) -> Any:
            A_prev, W, b, h = cache
            pad = h["pad"]
            x = _padded(A_prev, pad)
            dx, dW, db = np.zeros_like(x), np.zeros_like(W), np.zeros_like(b)
            for window, place, c in loop.places(dZ.shape, h["stride"], W.shape[0]):
                dx[window] += W[..., c] * dZ[place]
                dW[..., c] += x[window] * dZ[place]
                db[..., c] += dZ[place]
            return dx[:, pad : pad + A_prev.shape[1], pad : pad + A_prev.shape[2]].copy(), dW, db

        return conv_backward

    return wrap


def _pool_backward(loop: Loop) -> Wrap:
    def wrap(right: Function) -> Function:
        def pool_backward(dA: Array, cache: Any, mode: str = "max") -> Array:
            A_prev, h = cache
            dA_prev = np.zeros_like(A_prev)
            for window, place, c in loop.places(dA.shape, h["stride"], h["f"]):
                part = A_prev[(*window, c)]
                share = part == np.max(part) if mode == "max" else np.full((h["f"], h["f"]), 1 / h["f"] ** 2, dA.dtype)
                dA_prev[(*window, c)] += share * dA[place]
            return dA_prev

        return pool_backward

    return wrap


WRAPS: dict[str, Callable[[Loop], Wrap]] = {
    "conv_forward": _conv_forward,
    "pool_forward": _pool_forward,
    "conv_backward": _conv_backward,
    "pool_backward": _pool_backward,
}
# a fault of this name, told by another file
TOLD = {"conv_forward": ("first example for all", "h and w exchanged")}
SEEN = f"{VALUES}|{SHAPE}|raised (ValueError|IndexError)"


def _faults(function: str) -> Iterator[Fault]:
    loops = LOOPS | (GRADIENTS if function.endswith("backward") else RESULTS)
    for name, (loop, line) in loops.items():
        if name not in TOLD.get(function, ()):
            yield course(function, name, WRAPS[function](loop), line, sign=SEEN, core=False)


FAULTS: tuple[Fault, ...] = tuple(fault for function in WRAPS for fault in _faults(function))
