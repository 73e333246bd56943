"""The pixels that the windows of a tile read."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Lens
from xpconv._arrays.dtypes import native
from xpconv._arrays.types import Array
from xpconv._shapes.geometry import Geometry, Ints, Region, runs
from xpconv._work.buffered import workspace
from xpconv._work.workspace import Workspace


def slab(
    work: Workspace,
    x: Array,
    geometry: Geometry,
    region: Region,
    *,
    lens: Lens | None = None,
    step: Ints = (),
    behind: int = 0,
) -> Array:
    """Give the pixels (n, *slab, C) that a region's windows read: `x` itself, or at the edge a small padded copy.

    With a step, the windows are those of whole tiles, of so many outputs along each axis. So many pixels `behind` lie
    after the last in memory, zeros.
    """
    if geometry.mode == "zeros":
        region = _whole(region, step)
    reaches = [geometry.reach(axis, start, stop) for axis, (start, stop) in enumerate(region[1:])]
    if geometry.mode != "zeros":
        pieces = [runs(geometry.mode, *reach, n) for reach, n in zip(reaches, geometry.input, strict=True)]
        source = x[(slice(*region[0]), ...)]
        if lens is None:
            part = work.repeat("slab", source, pieces)
            return work.pad_behind(part, ((0, 0),) * part.ndim, behind) if behind else part
        alone = workspace(work.space, Arithmetic.plain(work.xp, native(x.dtype)))
        try:
            part = lens.look(alone.repeat("", source, pieces))  # a new array
        finally:
            alone.release()
        return work.pad_behind(part, ((0, 0),) * part.ndim, behind) if behind else work.pixels("slab", part)
    return surrounded(work, "slab", x, (region[0], *reaches), lens=lens, behind=behind)


def inside(
    work: Workspace, x: Array, geometry: Geometry, region: Region, *, lens: Lens | None = None, step: Ints = ()
) -> tuple[Array, tuple[int, Ints]]:
    """Give pixels of images, none of them padding, and where a region begins there: image, first pixel of a window.

    `x` itself, if it lies in one piece, or what the region's windows read. The first pixel, along each axis, is that of
    the first tap of the region's first window, and may lie before the pixels. With a step, the windows are those of
    whole tiles.
    """
    region = _whole(region, step)
    reaches = [geometry.reach(axis, start, stop) for axis, (start, stop) in enumerate(region[1:])]
    if lens is None and x.flags.c_contiguous and x.flags.aligned and x.dtype == work.dtype:
        return x, (region[0][0], tuple(low for low, _ in reaches))
    cuts = [clip(reach, n)[0] for reach, n in zip(reaches, geometry.input, strict=True)]
    part = x[(slice(*region[0]), *(slice(*cut) for cut in cuts), slice(None))]
    place = 0, tuple(low - first for (low, _), (first, _) in zip(reaches, cuts, strict=True))
    return (part if lens is None else lens.look(part)), place


def _whole(region: Region, step: Ints) -> Region:
    """Extend a region to whole tiles of so many outputs along each axis, if there are such."""
    if not step:
        return region
    stops = (start + -(-(stop - start) // m) * m for (start, stop), m in zip(region[1:], step, strict=True))
    return (region[0], *((start, stop) for (start, _), stop in zip(region[1:], stops, strict=True)))


def surrounded(
    work: Workspace,
    name: str,
    array: Array,
    ranges: Region,
    *,
    fill: Any = 0,
    lens: Lens | None = None,
    behind: int = 0,
) -> Array:
    """Give ranges of an array (N, *spatial, C), of images and along each spatial axis; `fill` beyond its ends."""
    index, widths = [slice(*ranges[0])], [(0, 0)]
    for n, reach in zip(array.shape[1:-1], ranges[1:], strict=True):
        inside, width = clip(reach, n)
        index.append(slice(*inside))
        widths.append(width)
    part = array[(*index, slice(None))]
    if lens is not None:
        part = lens.look(part)
    if behind:
        return work.pad_behind(part, (*widths, (0, 0)), behind)
    if any(before or after for before, after in widths):
        return work.pad(name, part, (*widths, (0, 0)), fill)
    return work.pixels(name, part)


def clip(reach: tuple[int, int], size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Cut an interval into what lies in range(size), and how much lies before and after."""
    low, high = reach
    first = min(max(low, 0), size)
    last = max(min(high, size), first)
    before = min(max(-low, 0), high - low)
    return (first, last), (before, high - low - before - (last - first))
