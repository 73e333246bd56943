"""Lp pooling of NumPy arrays in compiled loops, for the norms whose powers need no function of a library."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._compiled import build
from xpconv._pooling import compiled
from xpconv._pooling.compiled import ENOUGH, ONE
from xpconv._pooling.lines import Windows
from xpconv._pooling.sweep import Cut, images_apart, sweep
from xpconv._shapes.cuts import PARTS, block
from xpconv._shapes.geometry import Interval, Ints, Region
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.memory import UFUNC_BUFFERS
from xpconv._work.workspace import Workspace

Array = np.ndarray[Any, Any]

ORDERS = {1.0: 1, 2.0: 2, math.inf: 0}  # and what the loops call them


def lp_pool(call: Call, windows: Windows, x: Array, p: float) -> Array | None:
    """(N, *I, C) -> (N, *O, C): the norms; None where that is not served."""
    y: Array = call.space.empty(windows.output_shape, call.arithmetic.result, call.layout)
    windows, (pixels, target) = images_apart(call, windows, x, y)
    if not _fits(windows, p) or not compiled.serves("norms", call, windows, pixels, target):
        return None

    def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
        assert isinstance(work, BufferedWorkspace)
        _norms(work, windows, p, pixels, target, _place(windows, region[0], 0, region[1], 0))

    sweep(call, windows, _cut(call, windows, windows.output), step, windows.taps)
    return y


def lp_pool_vjp(call: Call, windows: Windows, dy: Array, x: Array, p: float) -> Array | None:
    """(N, *O, C), (N, *I, C) -> (N, *I, C): the gradient of the images; None where that is not served."""
    dx: Array = call.space.empty(windows.input_shape, call.arithmetic.result, call.layout)
    windows, (pixels, grads, target) = images_apart(call, windows, x, dy, dx)
    if not _fits(windows, p):
        return None
    line, size = windows.lines[0], x.dtype.itemsize
    row = 2 * math.prod(windows.output[1:]) * windows.channels * size  # bytes of norms and shares of a row of windows
    tile, workers = _cut(call, windows, windows.input), 0
    rows = tile.tile[1] + 1
    while workers < tile.workers and rows > 1:
        rows = rows // 2 if workers else rows - 1
        needs = min((rows - 1 + line.span) // line.stride + 1, line.count) * row
        workers = (call.options.room - UFUNC_BUFFERS) // (needs + 4 * windows.channels * size + UFUNC_BUFFERS)
    if workers == 0 or not compiled.serves("norms gradient", call, windows, pixels, grads, target):
        return None

    def step(work: Workspace, region: Region, own: slice, part: Windows) -> None:
        assert isinstance(work, BufferedWorkspace)
        first, stop = _readers(windows, region[1])
        shape = (1, stop - first, *windows.output[1:], *(1,) * (3 - windows.rank), windows.channels)
        norms, shares = (work.buffer(name, shape, pixels.dtype) for name in ("norms", "shares"))
        for n in range(*region[0]):
            place = _place(windows, (n, n + 1), n, (first, stop), first, *region[1])
            _norms(work, windows, p, pixels, norms, place)
            kernel = build.get("norms gradient", build.NAMES[pixels.dtype])
            kernel(_long(pixels), _long(grads), _long(target), place, ORDERS[p], norms, shares)

    cuts = Cut(tile.shape, (tile.tile[0], rows, *tile.tile[2:]), tile.channels, min(tile.workers, workers))
    sweep(call, windows, cuts, step, 2 * windows.taps)
    return dx


def _fits(windows: Windows, p: float) -> bool:
    """Say whether the loops serve a norm, and take less time than NumPy's calls, which go over rows."""
    return p in ORDERS and windows.strided and windows.channels >= compiled.LEAST // 4


def _norms(work: BufferedWorkspace, windows: Windows, p: float, x: Array, y: Array, place: Array) -> None:
    largest, total = (work.buffer(name, (windows.channels,), x.dtype) for name in ("largest", "total"))
    build.get("norms", build.NAMES[x.dtype])(_long(x), _long(y), place, ORDERS[p], largest, total)


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


def _place(windows: Windows, images: Interval, image: int, rows: Interval, row: int, *more: int) -> Array:
    lines = windows.lines + (ONE,) * (3 - windows.rank)
    axes = (number for line in lines for number in (line.kernel, line.stride, line.dilation, line.before))
    return np.array([*images, image, *rows, row, *axes, *more], np.intp)


def _long(array: Array) -> Array:
    """(N, *spatial, C) -> (N, D, H, W, C), the last of them of one pixel."""
    return array.reshape(*array.shape[:-1], *(1,) * (5 - array.ndim), array.shape[-1])
