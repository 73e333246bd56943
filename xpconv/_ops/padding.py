"""Padding of spatial axes."""

from __future__ import annotations

import itertools
from typing import Any

from xpconv import _options
from xpconv._arrays.space import (
    accumulator,
    cast,
    empty,
    fresh,
    from_channels_last,
    inspect,
    itemsize,
    to_channels_last,
    write,
)
from xpconv._engine.fold import fold_padding, images_at_once, in_wide, strip_elements
from xpconv._shapes.geometry import Region, runs
from xpconv._shapes.read import channels_last, freeze, in_layout, read_padding, whole_shape
from xpconv._work.buffered import workspace

Array = Any
Padding = int | str | tuple[int, ...] | tuple[tuple[int, int], ...]


def pad(x: Array, padding: Padding, *, mode: str = "zeros", layout: str = "channels_last") -> Array:
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
        pixel) or ``"circular"`` (the other end, at most n).
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
    xp, traits = inspect("pad", x=x)
    shape = freeze(tuple(x.shape))
    size, pairs = read_padding("pad", "x.shape", shape, freeze(padding), freeze(mode), freeze(layout))
    padded = (shape[0], *(before + n + after for n, (before, after) in zip(size, pairs, strict=True)))
    x = to_channels_last(xp, x, layout)
    if not traits.mutable:
        work = workspace(xp, traits, x.dtype)
        if not any(map(any, pairs)):
            return from_channels_last(xp, fresh(xp, x), layout)
        if mode == "zeros":
            return from_channels_last(xp, work.pad("", x, ((0, 0), *pairs, (0, 0)), 0), layout)
        pieces = [runs(mode, -before, n + after, n) for n, (before, after) in zip(size, pairs, strict=True)]
        return from_channels_last(xp, work.repeat("", x, pieces), layout)
    target = empty(xp, (*padded, x.shape[-1]), x.dtype, x, layout)
    if mode == "zeros":
        inside: list[slice] = [slice(None)]
        for n, (before, after) in zip(size, pairs, strict=True):
            write(target, (*inside, slice(0, before)), 0)
            write(target, (*inside, slice(before + n, before + n + after)), 0)
            inside.append(slice(before, before + n))
        write(target, tuple(inside), x)
        return from_channels_last(xp, target, layout)
    pieces = [runs(mode, -before, n + after, n) for n, (before, after) in zip(size, pairs, strict=True)]
    for combination in itertools.product(*pieces):
        place, source, flipped = [slice(None)], [slice(None)], []
        for axis, (run, (before, _)) in enumerate(zip(combination, pairs, strict=True), start=1):
            place.append(slice(run.first + before, run.first + before + run.length))
            if run.step < 0:
                flipped.append(axis)
                source.append(slice(run.start - run.length + 1, run.start + 1))
            else:
                source.append(run.source)
        part = x[(*source, slice(None))]
        write(target, (*place, slice(None)), xp.flip(part, axis=tuple(flipped)) if flipped else part)
    return from_channels_last(xp, target, layout)


def pad_vjp(
    dy: Array, input_shape: tuple[int, ...], padding: Padding, *, mode: str = "zeros", layout: str = "channels_last"
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
    name = "pad_vjp"
    xp, traits = inspect(name, dy=dy)
    shape = whole_shape(name, "input_shape", input_shape)
    size, pairs = read_padding(name, "input_shape", shape, freeze(padding), freeze(mode), freeze(layout))
    batch, channels = shape[0], channels_last(shape, layout)[-1]
    wanted = (batch, *(before + n + after for n, (before, after) in zip(size, pairs, strict=True)), channels)
    if tuple(dy.shape) != in_layout(wanted, layout):
        raise ValueError(
            f"{name}: dy has the padded shape, {in_layout(wanted, layout)}; got dy.shape={tuple(dy.shape)}"
        )
    dy = to_channels_last(xp, dy, layout)

    def folded(first: int, images: int, dtype: Any) -> Array:
        def strip(region: Region) -> Array:
            spots = (slice(low + b, high + b) for (low, high), (b, _) in zip(region[1:], pairs, strict=True))
            start, stop = region[0]
            return cast(xp, dy[(slice(first + start, first + stop), *spots, slice(None))], dtype)

        inside = strip(((0, images), *((0, n) for n in size)))
        if traits.mutable:
            dx = empty(xp, (images, *size, channels), dtype, dy, layout)
            write(dx, (slice(None),) * dx.ndim, inside)
        else:
            dx = fresh(xp, inside)
        if mode == "zeros" or batch == 0:
            return dx
        room = strip_elements(_options.current().max_workspace, itemsize(xp, dtype))
        return fold_padding(xp, dx, pairs, mode, strip, room)

    sums, whole = accumulator(xp, dy.dtype), (batch, *size, channels)
    step = images_at_once(xp, traits, whole, dy.dtype, sums, _options.current().max_workspace // 2)
    if step == 0 or mode == "zeros":
        dx = folded(0, batch, dy.dtype)
    else:  # 16-bit floating numbers are added up in 32 bits
        dx = in_wide(
            lambda start, stop: folded(start, stop - start, sums), xp, traits, whole, dy.dtype, dy, layout, step
        )  # fmt: skip
    return from_channels_last(xp, dx, layout)
