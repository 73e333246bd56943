"""Cut the channels of a layer into blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from xpconv._shapes.geometry import Geometry, Interval


@dataclass(frozen=True)
class Cut:
    """Channels that are taken apart from the others."""

    geometry: Geometry
    inputs: slice
    filters: slice
    weights: tuple[Any, ...]  # index of the weights (*K, C/G, F)


def intervals(size: int, step: int) -> list[Interval]:
    """Cut range(size) into pieces of `step`."""
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def channel_blocks(geometry: Geometry, count: int) -> list[Cut]:
    """Cut the groups, or where there is one the input channels."""
    if count == 1:
        return [Cut(geometry, slice(None), slice(None), (...,))]
    depth, width = geometry.channels // geometry.groups, geometry.filters // geometry.groups
    blocks = []
    if geometry.groups == 1:
        for a, b in intervals(geometry.channels, -(-geometry.channels // count)):
            blocks.append(
                Cut(replace(geometry, channels=b - a), slice(a, b), slice(None), (..., slice(a, b), slice(None)))
            )
        return blocks
    for a, b in intervals(geometry.groups, -(-geometry.groups // count)):
        part = replace(geometry, channels=(b - a) * depth, filters=(b - a) * width, groups=b - a)
        filters = slice(a * width, b * width)
        blocks.append(Cut(part, slice(a * depth, b * depth), filters, (..., filters)))
    return blocks
