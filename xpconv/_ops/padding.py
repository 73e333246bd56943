"""Padding of spatial axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast, itemsize, native
from xpconv._arrays.space import is_chunked
from xpconv._arrays.types import Array, DType
from xpconv._arrays.views import fresh
from xpconv._chunks.blocks import by_blocks
from xpconv._engine.fold import BACKWARDS, Folding
from xpconv._shapes import read
from xpconv._shapes.cuts import intervals, padding_strips
from xpconv._shapes.geometry import Geometry, runs
from xpconv._shapes.keywords import keywords
from xpconv._shapes.layout import in_layout
from xpconv._shapes.options import Layout, Padding, PaddingMode
from xpconv._shapes.read import Windowing
from xpconv._work.buffered import workspace

LITTLE = 1 << 17  # elements of which all are set to zero in less time than those of the padding, piece by piece
FEW = 64  # strips of a padding that are kept for the next call


@keywords
def pad(x: Array, padding: Padding, *, mode: PaddingMode = "zeros", layout: Layout = "channels_last") -> Array:
    """Pad the spatial axes of a batch of images (1, 2 or 3 spatial axes).

    ``(N, *spatial, C) -> (N, *(before + n + after), C)``, in ``channels_first`` ``(N, C, *spatial)`` likewise.

    Parameters
    ----------
    x : array
        The images. N may be 0, no other axis may be empty.
    padding : int, ints or pairs
        Pixels added before and after: one integer, one per axis, or a (before, after) pair per axis; ``"valid"`` is 0.
    mode : str
        ``"zeros"`` (default), ``"reflect"`` (mirrored at the border pixel, at most n - 1), ``"replicate"`` (the border
        pixel) or ``"circular"`` (the other end, round and round).
    layout : str
        ``"channels_last"`` (default) or ``"channels_first"``.

    Returns
    -------
    array
        A new array in the library, on the device and with the dtype of x.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        x is not a numeric array.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.pad(np.ones((1, 2, 1)), ((1, 2),))[0, :, 0]
    array([0., 1., 1., 0., 0.])

    """
    if is_chunked(x):
        return by_blocks(pad, locals())
    call = Call.of("pad", x=x, layout=layout)
    geometry = read.padding("pad", "x.shape", x.shape, Windowing(padding=padding, mode=mode, layout=layout))
    images = call.images(x)
    return call.give(_written(call, images, geometry) if call.traits.mutable else _joined(call, images, geometry))


def _joined(call: Call, x: Array, geometry: Geometry) -> Array:
    """(N, *spatial, C) -> (N, *padded, C), side by side."""
    if not any(map(any, geometry.padding)):
        return fresh(call.xp, x)
    work = workspace(call.space, Arithmetic.plain(call.xp, native(x.dtype)))
    if geometry.mode == "zeros":
        return work.pad("", x, ((0, 0), *geometry.padding, (0, 0)), 0)
    pairs = zip(geometry.input, geometry.padding, strict=True)
    return work.repeat("", x, [runs(geometry.mode, -before, n + after, n) for n, (before, after) in pairs])


class _Copy(NamedTuple):
    """A part of the padded image, the pixels that it repeats, and along which axes from the last to the first."""

    place: tuple[slice, ...]
    source: tuple[slice, ...]
    flipped: tuple[int, ...]


@lru_cache(maxsize=256)
def _copies(geometry: Geometry) -> tuple[_Copy, ...]:
    """Cut the padded image into parts that repeat pixels of the image, the image itself among them."""
    found, pairs = [], zip(geometry.input, geometry.padding, strict=True)
    for combination in itertools.product(*(runs(geometry.mode, -low, n + high, n) for n, (low, high) in pairs)):
        place, source, flipped = [slice(None)], [slice(None)], []
        for axis, (run, (before, _)) in enumerate(zip(combination, geometry.padding, strict=True), start=1):
            place.append(slice(run.first + before, run.first + before + run.length))
            if run.step < 0:
                flipped.append(axis)
                source.append(slice(run.start - run.length + 1, run.start + 1))
            else:
                source.append(run.source)
        found.append(_Copy((*place, slice(None)), (*source, slice(None)), tuple(flipped)))
    return tuple(found)


@lru_cache(maxsize=256)
def _places(geometry: Geometry) -> tuple[tuple[slice, ...], ...]:
    """Say where a padded image holds zeros, and last where the image."""
    inside: tuple[slice, ...] = (slice(None),)
    found = []
    for n, (before, after) in zip(geometry.input, geometry.padding, strict=True):
        ends = (0, before), (before + n, before + n + after)
        found += [(*inside, slice(*end)) for end in ends if end[0] < end[1]]
        inside = (*inside, slice(before, before + n))
    return (*found, inside)


def _written(call: Call, x: Array, geometry: Geometry) -> Array:
    """(N, *spatial, C) -> (N, *padded, C), in memory of its own."""
    target = call.space.empty(geometry.output_shape, native(x.dtype), call.layout)
    if geometry.mode == "zeros":
        *blanks, inside = _places(geometry)
        if math.prod(geometry.output_shape) <= LITTLE:
            target[...] = 0
            blanks = []
        for blank in blanks:
            target[blank] = 0
        target[inside] = x
        return target
    backwards = isinstance(x, np.ndarray)  # not all libraries have such views
    for copy in _copies(geometry):
        part = x[copy.source]
        if copy.flipped and backwards:
            part = part[tuple(BACKWARDS if axis in copy.flipped else slice(None) for axis in range(x.ndim))]
        target[copy.place] = call.xp.flip(part, axis=copy.flipped) if copy.flipped and not backwards else part
    return target


@keywords
def pad_vjp(
    dy: Array,
    input_shape: tuple[int, ...],
    padding: Padding,
    *,
    mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
) -> Array:
    """Give the gradient of `pad`'s input from the gradient of its output.

    ``(N, *(before + n + after), C) -> (N, *spatial, C)``, the adjoint of `pad`.

    Parameters
    ----------
    dy : array
        The gradient with respect to `pad`'s result, in its shape.
    input_shape : tuple of int
        The whole shape of `pad`'s x, in the given layout.
    padding, mode, layout
        As `pad` had them.

    Returns
    -------
    array
        dx, of `input_shape`, in the library, on the device and with the dtype of dy: a new array.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dy has not the padded shape.
    TypeError
        dy is not a numeric array.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.pad_vjp(np.ones((1, 5, 1)), (1, 3, 1), 1, mode="replicate")[0, :, 0]
    array([2., 1., 2.])
    """
    if is_chunked(dy):
        return by_blocks(pad_vjp, locals())
    name = "pad_vjp"
    call = Call.of(name, dy=dy, layout=layout)
    geometry = read.padding(name, "input_shape", input_shape, Windowing(padding=padding, mode=mode, layout=layout))
    wanted = in_layout(geometry.output_shape, layout)
    if tuple(dy.shape) != wanted:
        raise ValueError(f"{name}: dy has the padded shape, {wanted}; got dy.shape={tuple(dy.shape)}")
    grads, inputs, sums = call.images(dy), call.arithmetic.inputs, call.arithmetic.sums
    if inputs == sums or mode == "zeros":
        return call.give(_fold(call, grads, geometry, inputs))
    # 16-bit floating numbers are added up in 32 bits
    if not call.traits.mutable:
        return call.give(cast(call.xp, _fold(call, grads, geometry, sums), inputs))
    step = call.options.max_workspace // (8 * itemsize(call.xp, sums)) // math.prod(geometry.input_shape[1:])
    if step == 0:  # one image is too large
        return call.give(_fold(call, grads, geometry, inputs))
    target = call.space.empty(geometry.input_shape, inputs, layout)
    for start, stop in intervals(geometry.batch, step):
        part = replace(geometry, batch=stop - start)
        target[start:stop, ...] = _fold(call, grads[start:stop, ...], part, sums)
    return call.give(target)


def _fold(call: Call, dy: Array, geometry: Geometry, dtype: DType) -> Array:
    """(n, *padded, C) -> (n, *spatial, C): add what the padding got to the pixels that it repeats, in a dtype."""
    part = cast(call.xp, dy[(*_places(geometry)[-1], slice(None))], dtype)
    if call.traits.mutable:
        dx = call.space.empty(geometry.input_shape, dtype, call.layout)
        dx[...] = part
    else:
        dx = fresh(call.xp, part)
    if geometry.mode == "zeros" or geometry.batch == 0:
        return dx
    elements = max(call.options.max_workspace // (4 * itemsize(call.xp, dtype)), 1)
    few = _few_strips(geometry, elements)
    for spots, folding in _strips(geometry, elements) if few is None else few:
        dx = folding.add(call.space, dx, cast(call.xp, dy[spots], dtype))
    return dx


def _strips(geometry: Geometry, elements: int) -> Iterator[tuple[tuple[slice, ...], Folding]]:
    """Cut the padding into strips of at most so many elements: where each lies, and where it is added."""
    for strip in padding_strips(geometry, elements):
        pixels = zip(strip.pixels, geometry.padding, strict=True)
        spots = (slice(low + before, high + before) for (low, high), (before, _) in pixels)
        yield (slice(*strip.images), *spots, slice(None)), Folding.of(strip)


@lru_cache(maxsize=256)
def _few_strips(geometry: Geometry, elements: int) -> tuple[tuple[tuple[slice, ...], Folding], ...] | None:
    """Keep the strips, unless there are many."""
    found = tuple(itertools.islice(_strips(geometry, elements), FEW + 1))
    return found if len(found) <= FEW else None
