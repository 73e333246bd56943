"""The adjoint of padding with pixels of the image: add what the padding received to the pixels that it repeats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from xpconv._arrays.space import Namespace, Traits, add_to, cast, empty, itemsize, write
from xpconv._engine.jobs import Tiles
from xpconv._plan.tiles import block
from xpconv._shapes.geometry import Ints, Pairs, Region, Run, runs

Array = Any


def fold_padding(
    xp: Namespace, dx: Array, padding: Pairs, mode: str, strip: Callable[[Region], Array], elements: int
) -> Array:
    """Add the gradient of each padded pixel to its source in dx (N, *spatial, C); use the array given back.

    `strip` gives the gradient of a region (n, *padded pixels, C) of the padded image, counted from the unpadded
    image's first pixel; it is asked for `elements` at most. Regions are taken in a fixed order.
    """
    size = tuple(dx.shape[1:-1])
    axes = [runs(mode, -before, n + after, n) for n, (before, after) in zip(size, padding, strict=True)]
    inside = tuple(0 if len(axis) == 1 else next(i for i, r in enumerate(axis) if r.first == 0) for axis in axes)
    for chosen in itertools.product(*(range(len(axis)) for axis in axes)):
        if chosen == inside:
            continue
        combination = [axis[i] for axis, i in zip(axes, chosen, strict=True)]
        shape = (dx.shape[0], *(run.length for run in combination))
        for tile in Tiles(shape, block(shape, max(elements // dx.shape[-1], 1))):
            dx = _add_strip(xp, dx, tile, combination, strip)
    return dx


def _add_strip(
    xp: Namespace, dx: Array, tile: Region, combination: list[Run], strip: Callable[[Region], Array]
) -> Array:
    spots = [(run.first + a, run.first + b) for run, (a, b) in zip(combination, tile[1:], strict=True)]
    gradient = strip((tile[0], *spots))
    index = [slice(*tile[0])]
    for axis, (run, (a, b)) in enumerate(zip(combination, tile[1:], strict=True), start=1):
        if run.step == 0:
            gradient = xp.sum(gradient, axis=axis, keepdims=True, dtype=gradient.dtype)
            index.append(slice(run.start, run.start + 1))
        elif run.step < 0:
            gradient = xp.flip(gradient, axis=axis)
            index.append(slice(run.start - b + 1, run.start - a + 1))
        else:
            index.append(slice(run.start + a, run.start + b))
    return add_to(xp, dx, (*index, slice(None)), gradient)


def strip_elements(max_workspace: int, itemsize: int) -> int:
    """Say how many elements a strip may have, so that it takes a quarter of the workspace."""
    return max(max_workspace // (4 * itemsize), 1)


def images_at_once(xp: Namespace, traits: Traits, shape: Ints, dtype: Any, sums: Any, max_workspace: int) -> int:
    """Say how many images to add up in the wider dtype of sums, in a quarter of the workspace.

    0: none, since `dtype` is that of the sums, or since one image is too large.
    """
    if dtype == sums:
        return 0
    return (
        shape[0]
        if not traits.mutable
        else min(strip_elements(max_workspace, itemsize(xp, sums)) // math.prod(shape[1:]), shape[0])
    )


def in_wide(
    images: Callable[[int, int], Array], xp: Namespace, traits: Traits, shape: Ints, dtype: Any, like: Array,
    layout: str, step: int,
) -> Array:  # fmt: skip
    """Make a result (N, *spatial, C) of `images(start, stop)`, which come in a wider dtype and are rounded once."""
    if not traits.mutable:
        return cast(xp, images(0, shape[0]), dtype)
    target = empty(xp, shape, dtype, like, layout)
    for start in range(0, shape[0], step):
        stop = min(start + step, shape[0])
        write(target, (slice(start, stop), *(slice(None),) * (len(shape) - 1)), images(start, stop))
    return target
