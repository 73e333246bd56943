"""Lp pooling of NumPy arrays in compiled loops, for the norms whose powers need no function of a library."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._pooling import compiled
from xpconv._pooling.compiled import ENOUGH, ONE
from xpconv._pooling.compiled_lists import MOST, readers_in_order, short, taps_in_order
from xpconv._pooling.lines import Strided
from xpconv._pooling.sweep import Cut, images_apart, sweep
from xpconv._pooling.windows import Windows
from xpconv._shapes.cuts import PARTS, block
from xpconv._shapes.geometry import Interval, Ints, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS
from xpconv._work.workspace import Workspace

Array = np.ndarray[Any, Any]

ORDERS, CUBES = {1.0: 1, 2.0: 2, 3.0: 3, math.inf: 0}, 3.0  # and what the loops call them


def lp_pool(call: Call, windows: Windows, x: Array, p: float) -> Array | None:
    """(N, *I, C) -> (N, *O, C): the norms; None where that is not served."""
    y: Array = call.space.empty(windows.output_shape, call.arithmetic.result, call.layout)
    windows, (pixels, target) = images_apart(call, windows, x, y)
    cuts = _bounded(call, windows, _cut(call, windows, windows.output), y.itemsize if p == CUBES else 0, 0)
    if cuts is None or not _fits(windows, p) or not compiled.serves("norms", call, windows, pixels, target):
        return None

    def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
        assert isinstance(work, BufferedWorkspace)
        (first, stop), rows = region[:2]
        for n in range(first, stop):
            out = target[n : n + 1, rows[0] : rows[1]]
            _norms(work, windows, p, pixels, out, _place(windows, p, (n, n + 1), rows))

    sweep(call, windows, cuts, step, windows.taps)
    return y


def lp_pool_vjp(call: Call, windows: Windows, dy: Array, x: Array, p: float) -> Array | None:
    """(N, *O, C), (N, *I, C) -> (N, *I, C): the gradient of the images; None where that is not served."""
    dx: Array = call.space.empty(windows.input_shape, call.arithmetic.result, call.layout)
    windows, (pixels, grads, target) = images_apart(call, windows, x, dy, dx)
    size = x.itemsize * (3 if p == CUBES else 2)  # of the norms and shares of windows, and of what scales those
    cuts = _bounded(call, windows, _cut(call, windows, windows.input), size, windows.lines[0].span)
    if cuts is None or not _fits(windows, p):
        return None
    if not compiled.serves("norms gradient", call, windows, pixels, grads, target):
        return None
    lists = [np.concatenate([of(line) for line in _lines(windows)]) for of in (taps_in_order, readers_in_order)]
    begins = lists[0].size, *_begins(windows, readers_in_order)
    both = np.concatenate(lists)

    def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
        assert isinstance(work, BufferedWorkspace)
        first, stop = _readers(windows, region[1])
        shape = (1, stop - first, *windows.output[1:], windows.channels)
        norms, shares = (work.buffer(name, shape, pixels.dtype) for name in ("norms", "shares"))
        for n in range(*region[0]):
            place = np.concatenate([_place(windows, p, (n, n + 1), (first, stop)), [*region[1], *begins]])
            _norms(work, windows, p, pixels, norms, place)
            kernel = build.get("norms gradient", build.NAMES[pixels.dtype])
            kernel(*map(_long, (pixels, grads, target)), place, both, _long(norms), _long(shares))

    sweep(call, windows, cuts, step, 2 * windows.taps)
    return dx


def _fits(windows: Windows, p: float) -> bool:
    """Say whether the loops serve a norm, and take less time than NumPy's calls, which go over rows."""
    enough = windows.channels >= compiled.LEAST // 4
    return p in ORDERS and windows.strided and enough and short(windows) and windows.taps <= MOST


def _norms(work: BufferedWorkspace, windows: Windows, p: float, x: Array, out: Array, place: Array) -> None:
    """Give the norms of a range of windows of one image."""
    lists = np.concatenate([taps_in_order(line) for line in _lines(windows)])
    scales = work.buffer("scales", out.shape if p == CUBES else (1,) * out.ndim, x.dtype)
    build.get("norms", build.NAMES[x.dtype])(_long(x), _long(out), place, lists, _long(scales))
    if p == CUBES:  # whose root is NumPy's power
        np.multiply(scales, np.power(out, 1 / p, out=out), out=out)


def _bounded(call: Call, windows: Windows, cuts: Cut, size: int, span: int) -> Cut | None:
    """Take so many rows at once, and threads, that work arrays of `size` bytes for each number fit the workspace.

    Those of the rows of windows themselves, or if there is a `span`, of the windows that read rows of pixels.
    """
    line, rows, workers = windows.lines[0], cuts.tile[1] + 1, 0
    row = size * math.prod(windows.output[1:]) * windows.channels
    while workers < cuts.workers and rows > 1:
        rows = rows // 2 if workers else rows - 1
        many = min((rows - 1 + span) // line.stride + 1, line.count) if span else rows
        workers = (call.options.room - UFUNC_BUFFERS) // (many * row + UFUNC_BUFFERS + 8 * min(windows.taps, MOST))
    if workers == 0:
        return None
    return Cut(cuts.shape, (cuts.tile[0], rows, *cuts.tile[2:]), cuts.channels, min(cuts.workers, workers))


def _cut(call: Call, windows: Windows, sizes: Ints) -> Cut:
    """Cut rows, of windows or of pixels, along the first axis alone."""
    shape = (windows.batch, *sizes)
    size = math.prod(windows.input_shape)
    pieces = max(1, min(PARTS, size // ENOUGH))
    images, rows = block(shape[:2], -(-math.prod(shape[:2]) // pieces))
    return Cut(shape, (images, rows, *sizes[1:]), windows.channels, max(1, call.options.threads))


def _readers(windows: Windows, rows: Interval) -> Interval:
    """Give the windows along the first axis that may read some of its pixels."""
    line = windows.lines[0]
    first = -(-(rows[0] + line.before - line.span + 1) // line.stride)
    last = (rows[1] - 1 + line.before) // line.stride
    first = min(max(first, 0), line.count - 1)
    return first, max(min(last + 1, line.count), first + 1)


def _lines(windows: Windows) -> tuple[Strided, ...]:
    return windows.lines + (ONE,) * (3 - windows.rank)


def _begins(windows: Windows, lists: Callable[[Strided], Array]) -> Ints:
    """Say where the lists of the second axis, and of the third, begin."""
    first, second, _ = (lists(line).size for line in _lines(windows))
    return first, first + second


def _place(windows: Windows, p: float, images: Interval, rows: Interval) -> Array:
    begins = _begins(windows, taps_in_order)
    return np.array([*images, images[0], *rows, rows[0], *begins, ORDERS[p], windows.taps], np.intp)


def _long(array: Array) -> Array:
    """(N, *spatial, C) -> (N, D, H, W, C), the last of them of one pixel."""
    return array.reshape(*array.shape[:-1], *(1,) * (5 - array.ndim), array.shape[-1])
