"""Windows in graphs of one size, where arrays are traced (`Space.loops`): taps in a loop, or gathered by tables.

A graph of slices grows with the taps, and so does the time that compiling it takes (14×14: 4 s; these 0.2). Windows are
gathered, for the gradient of a loop that lays them out would copy them all for each tap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpconv._arrays.space import Space
from xpconv._arrays.types import Array
from xpconv._shapes.geometry import Geometry, Ints

FUSED = 16  # taps up to which slices are better: a compiler makes one pass of what is done with them (0.2 to 0.8 ms)


def in_a_loop(space: Space, geometry: Geometry) -> bool:
    """Say whether taps are gone over in a loop."""
    return space.loops and geometry.taps > FUSED


def starts_of(kernel: Sequence[int], dilation: Sequence[int], number: Any) -> tuple[Any, ...]:
    """Give where the pixels of a tap begin in a slab: (image, *axes, channel)."""
    starts: list[Any] = [0 * number]
    for taps, apart in zip(reversed(kernel), reversed(dilation), strict=True):
        starts.insert(0, number % taps * apart)
        number = number // taps
    return (0 * number, *starts)


def part_at(space: Space, slab: Array, starts: Sequence[Any], counts: Sequence[int], stride: Sequence[int]) -> Array:
    """(n, *slab, C) -> (n, *counts, C): so many pixels along each axis, from where they begin."""
    reached = [(n - 1) * step + 1 for n, step in zip(counts, stride, strict=True)]
    part = space.part(slab, starts, (slab.shape[0], *reached, slab.shape[-1]))
    return part[(slice(None), *(slice(None, None, step) for step in stride), slice(None))]


def tap(space: Space, slab: Array, geometry: Geometry, output: Ints, number: Any) -> Array:
    """(n, *slab, C) -> (n, *output, C): the pixels of a tap."""
    starts = starts_of(geometry.kernel, geometry.dilation, number)
    return part_at(space, slab, starts, output, geometry.stride)


def columns(space: Space, slab: Array, geometry: Geometry, output: Ints, groups: int) -> Array:
    """(n, *slab, C) -> (n·O, G, K·C/G): the windows, gathered axis by axis."""
    xp, rank, shape = space.xp, geometry.rank, [slab.shape[0]]
    lines = zip(output, geometry.kernel, geometry.stride, geometry.dilation, strict=True)
    for axis, (count, taps, stride, dilation) in enumerate(lines, start=1):
        table = np.arange(count)[:, None] * stride + np.arange(taps) * dilation
        slab = xp.take(slab, space.array(table.reshape(-1), space.index_dtype), axis=axis)
        shape += [count, taps]
    whole = xp.reshape(slab, (*shape, groups, -1))
    # (n, O, K, O, K, …, G, C/G) -> (n, *O, G, *K, C/G)
    order = (0, *range(1, 2 * rank, 2), 2 * rank + 1, *range(2, 2 * rank + 1, 2), 2 * rank + 2)
    return xp.reshape(xp.permute_dims(whole, order), (shape[0] * math.prod(output), groups, -1))


def total(space: Space, taps: int, share: Callable[[Any], Array]) -> Array:
    """Add up what the taps contribute, in order."""
    return space.loop(1, taps, lambda number, found: found + share(number), share(0))


def each(space: Space, taps: int, value: Callable[[Any], Array]) -> Array:
    """Give what the taps contribute, one behind another along a new first axis."""
    first = value(0)
    found = space.zeros((taps, *first.shape), first.dtype)

    def step(number: Any, found: Array) -> Array:
        return space.put_part(found, space.xp.expand_dims(value(number), axis=0), (number, *(0 * number,) * first.ndim))

    return space.loop(0, taps, step, found)
