"""Going over the taps of windows in a loop that stands in the graph, where arrays are traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from xpconv._arrays.types import Array
from xpconv._pooling.windows import Windows
from xpconv._shapes.geometry import Region
from xpconv._work import traced
from xpconv._work.workspace import Workspace

State = tuple[Array, ...]


def tap_starts(windows: Windows, number: Any) -> tuple[Any, ...]:
    """Give where the pixels of a tap of windows at a stride begin in a slab: (image, *axes, channel)."""
    return traced.starts_of([line.kernel for line in windows.lines], [line.dilation for line in windows.lines], number)


def tap_at(work: Workspace, windows: Windows, region: Region, slab: Array, starts: Sequence[Any]) -> Array:
    """(n, *slab, C) -> (n, *windows, C): the pixels of a tap, by where they begin."""
    counts = [stop - start for start, stop in region[1:]]
    return traced.part_at(work.space, slab, starts, counts, windows.stride)


def in_a_loop(
    work: Workspace,
    windows: Windows,
    region: Region,
    axis: int,
    slabs: Sequence[Array],
    begin: Callable[..., State],
    step: Callable[..., State],
) -> State:
    """Go over the taps along an axis: `begin` is given the pixels of the first, `step` a state and those of the next.

    They are gathered by a table, of which a window that has fewer taps than the longest reads its last pixel again.
    """
    line, (start, stop) = windows.lines[axis], region[1 + axis]
    if windows.strided:
        numbers = np.arange(line.kernel)[:, None] * line.dilation + np.arange(stop - start) * line.stride
    else:
        numbers = np.stack([pick.index for pick in line.taps((start, stop))])
    table = work.space.array(numbers, work.space.index_dtype)

    def values(number: Any) -> Iterator[Array]:
        index = work.xp.reshape(work.space.part(table, (number, 0 * number), (1, stop - start)), (-1,))
        return (work.xp.take(slab, index, axis=1 + axis) for slab in slabs)

    first = begin(*(work.xp.take(slab, table[0, :], axis=1 + axis) for slab in slabs))
    found: State = work.space.loop(1, len(numbers), lambda number, state: step(state, *values(number)), first)
    return found
