"""What compiled loops are given: pieces of a convolution, arrays in one piece and of five axes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from xpconv._arrays.types import Array
from xpconv._compiled import build
from xpconv._shapes.geometry import Geometry, Interval, Ints
from xpconv._work.workspace import Workspace

Place = tuple[int, Ints]  # of a tile: the first image; along each axis the pixel of the first window's first tap

MOST = 32  # pieces of a convolution


class Piece(NamedTuple):
    """A part of a convolution, or of a weight's gradient, that the loops do in one go."""

    where: tuple[slice, ...]  # of the five axes of a result that lies in one piece; of the output's gradient
    numbers: Array  # what the loops know of it
    flat: bool  # all spatial axes are taken as one
    blocks: Interval = (0, 0)  # of the packed weight, that no other piece reads


class Pieces(NamedTuple):
    """What the loops do of a convolution, and how many numbers of work memory a worker takes."""

    each: tuple[Piece, ...]
    room: int


class Sums(NamedTuple):
    """The partial sums of a weight's gradient, piece by piece, and how many numbers of work memory a worker takes."""

    each: tuple[tuple[Piece, ...], ...]
    room: int


def pack(w: Array, target: Array, groups: int) -> None:
    """(*kernel, C/G, F) -> (B, KD, KH, KW, C/G·16), as `_compiled.rows.pack` does."""
    if w.dtype != target.dtype or not w.flags.aligned:
        w = np.array(w, target.dtype)
    w = w.reshape((*three(w.shape[:-2], 1), *w.shape[-2:]))
    build.get("weight", build.NAMES[target.dtype])(w, target, groups)


def whole(array: Array, dtype: np.dtype[Any]) -> Array:
    """Give an array in one piece in a dtype: itself, or a copy."""
    plain = array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned
    return array if plain else np.array(array, dtype, order="C")


def contiguous(work: Workspace, name: str, array: Array) -> Array:
    """Give an array in one piece in the dtype of the sums: itself, or a copy in a buffer."""
    if array.flags.c_contiguous and array.flags.aligned and array.dtype == work.sums:
        return array
    target = work.buffer(name, array.shape, np.dtype(work.sums))  # type: ignore[attr-defined]
    work.do(np.copyto, target, array)
    return target


def three(axes: Ints, fill: int) -> Ints:
    """Give three spatial axes, the first of them `fill` if there are less."""
    return (fill,) * (3 - len(axes)) + axes


def five(array: Array, flat: bool) -> Array:
    """(n, *spatial, C) -> (n, D, H, W, C), or (n, 1, 1, D·H·W, C)."""
    axes = (1, 1, math.prod(array.shape[1:-1])) if flat else three(array.shape[1:-1], 1)
    return array.reshape((array.shape[0], *axes, array.shape[-1]))


def alone(w: Array, geometry: Geometry, dtype: np.dtype[Any]) -> Array:
    """(*kernel, 1, C) -> (KD, KH, KW, 1, C), itself if it is in order."""
    return whole(w, dtype).reshape((*three(geometry.kernel, 1), 1, geometry.channels))


def by_taps(w: Array, target: Array) -> Array:
    """(*kernel, C, F) -> (KD, KH, C, 1, L): for each row and channel taps and filters, zeros behind the last."""
    rows = w.reshape((*three(w.shape[:-2], 1), *w.shape[-2:])).swapaxes(2, 3)  # (KD, KH, C, KW, F)
    size = rows.shape[3] * rows.shape[4]
    target[..., size:] = 0
    target[:, :, :, 0, :size].reshape(rows.shape)[...] = rows
    return target


def stretches(batch: int, pixels: Ints, count: int) -> Iterator[tuple[slice, int, int]]:
    """Cut images into about so many stretches: whole images, or some of the rows of one."""
    count = min(max(count, 1), MOST)
    each = -(-batch // count)  # images of a piece
    along = 1 if len(pixels) == 1 or each > 1 else min(-(-count // batch), pixels[0])
    rows = -(-pixels[0] // along)
    for n in range(0, batch, each):
        for start in range(0, pixels[0], rows):
            yield slice(n, n + each), start, min(start + rows, pixels[0])


def part_of(images: slice, start: int, stop: int, pixels: Ints) -> tuple[slice, ...]:
    """Give a stretch of the five axes of a result."""
    part = slice(start, stop) if stop - start < pixels[0] else slice(None)
    return (images, part) if len(pixels) == 3 else (images, slice(None), part)


@lru_cache(maxsize=1024)
def gradient_pieces(geometry: Geometry, count: int, more: Ints = (), room: int = 0) -> Pieces:
    """Cut a gradient of images, all phases in one loop, into about so many pieces; the loop is told `more`."""
    pixels, before, found = geometry.input, tuple(before for before, _ in geometry.padding), []
    for images, start, stop in stretches(geometry.batch, pixels, count):
        leads = (start + before[0], *before[1:])
        axes = zip(three(leads, 0), three(geometry.stride, 1), three(geometry.dilation, 1), strict=True)
        numbers = np.array([images.start, *(n for axis in axes for n in axis), *more], np.intp)
        found.append(Piece(part_of(images, start, stop, pixels), numbers, flat=False))
    return Pieces(tuple(found), room)
