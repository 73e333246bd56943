"""Which loops take a convolution, the form of its weight for them, and what they are told of its tiles."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from xpconv._arrays.types import Array
from xpconv._compiled.filters import EDGE, SIDE
from xpconv._compiled.lanes import LANES
from xpconv._compiled.rows import BLOCK, TOGETHER
from xpconv._shapes.cuts import Tiles, sizes, slices
from xpconv._shapes.geometry import Geometry, Ints
from xpconv.algorithms import apart, dense, taps, windows
from xpconv.algorithms.pieces import Piece, Pieces, Place, Sums, part_of, stretches, three

FEW = 4  # taps that a pixel meets, up to which it is read where it lies
MANY = 5  # filters in a group from which on a number of a pixel meets a vector of them
RING = 96 << 10  # bytes of rows that are laid out for further filters, as a part of the second cache
FLAT = 256 << 10  # bytes of pixels whose axes are taken as one, where windows are pixels
MANY_CHANNELS = 16  # in a group from which on windows are taken through all rows, and filters share one's pixels
BAND = 160  # windows of a band whose weight's gradient is summed by vectors of filters
PAYS, PAY_FILTERS = 4_000_000, 8_000_000  # flops of a tile, some tenths of a millisecond of either kind of loops
QUICK = ("depthwise", "groups", "windows", "taps")  # loops of the first kind


def parts(geometry: Geometry, name: str) -> tuple[int, int]:
    """Give the groups whose filters begin a block of their own, and the filters of each."""
    groups = 1 if name == "groups" else geometry.groups
    return groups, geometry.filters // groups


@lru_cache(maxsize=4096)
def kind_of(geometry: Geometry, gradient: bool = False) -> str:
    """Name the loops of a geometry, or of its weight's gradient; a block has those of the whole."""
    geometry = geometry.whole or geometry
    alone = geometry.depthwise and geometry.channels >= BLOCK
    # elsewhere a pixel meets so many taps that it pays to lay it out, in one piece with its neighbours
    if alone and (side_by_side(geometry) or geometry.taps <= FEW * math.prod(geometry.stride)):
        return "depthwise"
    if geometry.groups > 1 and geometry.filters // geometry.groups < MANY:
        return "groups"
    if apart.takes(geometry, gradient):
        return "apart"
    if gradient:
        return "windows" if windows.takes(geometry, gradient) else "filters"
    if geometry.channels // geometry.groups < MANY_CHANNELS:
        kind, cost = ("windows", windows.fused(geometry)) if windows.takes(geometry) else ("filters", math.inf)
        if kind == "filters" and _short(geometry):
            kind = "dense"
    else:
        kind, cost = "dense", dense.fused(geometry)
        if geometry.filters < LANES and windows.serves(geometry) and windows.fused(geometry) < cost:
            kind, cost = "windows", windows.fused(geometry)
    return "taps" if taps.takes(geometry, cost) else kind


def _short(geometry: Geometry) -> bool:
    """Say whether rows of windows are so short that it pays to take windows through all rows: the bits are the same."""
    whole = geometry.filters // geometry.groups % BLOCK == 0 and not any(map(any, geometry.padding))
    return whole and geometry.output[-1] < BLOCK and geometry.output[-1] % TOGETHER > 0


def side_by_side(geometry: Geometry) -> bool:
    """Say whether windows share the three taps of a row, so that a pixel is read once for those that meet it."""
    return geometry.kernel[-1] == 3 and geometry.stride[-1] == geometry.dilation[-1] == 1


def weight_shape(geometry: Geometry, kind: str) -> Ints:
    """Give the shape of a weight as the loops take it, or of its gradient but for the end of the last vector."""
    kernel = three(geometry.kernel, 1)
    if kind == "depthwise":
        return *kernel, 1, geometry.channels
    if kind == "windows":
        return *kernel, geometry.channels, windows.padded(geometry.filters)
    if kind == "taps":
        return *kernel[:2], geometry.channels, 1, taps.given(geometry.kernel[-1], geometry.filters)
    groups, own = parts(geometry, kind)
    return groups * -(-own // BLOCK), *kernel, geometry.channels // geometry.groups * BLOCK


def sums_shape(geometry: Geometry) -> Ints:
    """Give the shape of a part of a weight's gradient as the loops sum it: of whole vectors."""
    kind = kind_of(geometry, gradient=True)
    *axes, last = weight_shape(geometry, kind)
    return (*axes, geometry.filters) if kind == "windows" else (*axes, -(-last // LANES) * LANES)


def finished_shape(geometry: Geometry) -> Ints:
    """Give the shape of the same numbers with input channels as the axis ahead of the last."""
    shape = sums_shape(geometry)
    alone = kind_of(geometry, gradient=True) in ("depthwise", "windows")
    return shape if alone else (*shape[:-1], shape[-1] // BLOCK, BLOCK)


class Layout(NamedTuple):
    """What the loops are told of a tile, how much work memory they take, and whether its axes are taken as one."""

    numbers: Array
    room: int
    flat: bool


@lru_cache(maxsize=4096)
def layout_of(
    geometry: Geometry,
    place: Place,
    output: Ints,
    itemsize: int,
    *,
    gradient: bool = False,
    solid: bool = True,
    there: Ints | None = None,
) -> Layout:
    """Describe a tile to the loops (`_compiled.rows`); `there`: of the image, the pixels that they are given (all)."""
    image, leads = place
    kind, pixels = kind_of(geometry, gradient), math.prod(output)
    flat = (
        solid
        and kind not in ("dense", "apart")  # whose windows are counted through all rows anyway
        and _pointwise(geometry)
        and output[1:] == geometry.output[1:]
        and pixels * geometry.channels * itemsize <= FLAT
    )
    if flat:  # no window is at the end of a row
        leads, output = (leads[0] * math.prod(output[1:]),), (pixels,)
    strides, gaps = three(geometry.stride, 1), three(geometry.dilation, 1)
    (deep, high, wide), columns = three(geometry.kernel, 1), output[-1]
    fan, own = geometry.channels // geometry.groups, geometry.filters // geometry.groups
    lines, tail = deep * ((high - 1) * gaps[1] + 1), (wide - 1) * gaps[2]
    chunk, ring, before = 0, 0, LANES
    more: Ints = ()
    if kind == "groups":
        across = -(-columns // TOGETHER) * TOGETHER + tail // strides[2]
        row = lines * strides[2] * across * fan * BLOCK  # of a block
        blocks = min(-(-geometry.filters // BLOCK), max(1, RING // (row * itemsize)))
        chunk, ring, before = blocks * BLOCK, blocks * row, blocks * BLOCK + TOGETHER * BLOCK
    elif kind == "windows":
        (chunk, ring), before = windows.band(geometry, output, itemsize, gradient), 0
    elif kind == "taps":
        chunk, before = taps.together(geometry, columns, itemsize), taps.room(geometry, columns, itemsize)
        more = (wide,)
    elif kind == "dense":
        # a part of an image has no padding where it ends within the image, and tiles that reach beyond it
        pixels_there = geometry.input if there is None else there
        laid = any(map(any, geometry.padding)) or dense.goes_beyond(geometry, pixels_there, leads, output)
        chunk, rows, ring = dense.tile(geometry, output, itemsize, laid)
        before, more = dense.room(0), (rows, 0, dense.blocks_of(geometry))
    elif kind == "apart":
        (chunk, ring), before = apart.band(geometry, output, itemsize, gradient), 0
    elif kind == "filters":
        across = (-(-columns // EDGE) * EDGE - 1) * strides[2] + tail + 1
        ring, before = lines * across * geometry.channels, BLOCK + SIDE
        if gradient:
            chunk = min(max(BAND // columns, 1), output[-2] if len(output) > 1 else 1)
            lines = deep * ((chunk - 1) * strides[1] + (high - 1) * gaps[1] + 1)
            across = (columns - 1) * strides[2] + tail + 1
            ring, before = lines * across * geometry.channels, chunk * columns * BLOCK
    axes = zip(three(leads, 0), strides, gaps, strict=True)
    numbers = np.array([image, *(n for axis in axes for n in axis), fan, own, chunk, *more], np.intp)
    if gradient and kind == "groups":
        before = columns * BLOCK + SIDE
    return Layout(numbers, ring + before, flat)


@lru_cache(maxsize=1024)
def pieces_of(geometry: Geometry, itemsize: int, solid: bool) -> Pieces:
    """Cut into pieces that pay for a thread; `solid`: the result has no gaps."""
    output, before = geometry.output, tuple(before for before, _ in geometry.padding)
    if kind_of(geometry) == "dense" and geometry.channels // geometry.groups >= MANY_CHANNELS:
        return _dense_pieces(geometry, itemsize)
    pays = (PAYS if kind_of(geometry) in ("depthwise", "groups") else PAY_FILTERS) // 2
    found, room, every, count = [], 0, slice(None), geometry.flops // pays
    for images, start, stop in stretches(geometry.batch, output, count + count % 2 if count > 1 else 1):
        leads = (start * geometry.stride[0] - before[0], *(-pixels for pixels in before[1:]))
        place, tile = (images.start, leads), (stop - start, *output[1:])
        numbers, size, flat = layout_of(geometry, place, tile, itemsize, solid=solid)
        solid = flat  # the first is the largest, and the others are taken as it is
        where = part_of(images, start, stop, output)
        if flat:
            size_of = math.prod(output[1:])
            where = (images, every, every, slice(start * size_of, stop * size_of))
        found.append(Piece(where, numbers, flat))
        room = max(room, size)
    return Pieces(tuple(found), room)


def _dense_pieces(geometry: Geometry, itemsize: int) -> Pieces:
    found, room = [], 0
    for images, (start, stop), blocks in dense.cuts(geometry):
        leads = geometry.reach(0, start, stop)[0], *(-before for before, _ in geometry.padding[1:])
        numbers, size, _ = layout_of(geometry, (images[0], leads), (stop - start, *geometry.output[1:]), itemsize)
        numbers = np.array([*numbers[:-2], blocks[0], blocks[1] - blocks[0]], np.intp)
        axes = (slice(None),) * (3 - geometry.rank) + (slice(start, stop),)
        alone = geometry.groups == 1 and blocks[1] - blocks[0] < dense.blocks_of(geometry)
        found.append(Piece((slice(*images), *axes), numbers, False, blocks if alone else (0, 0)))
        room = max(room, size)
    return Pieces(tuple(found), room)


@lru_cache(maxsize=1024)
def sums_of(geometry: Geometry, itemsize: int, tile: Ints, parts: int) -> Sums:
    """Cut a weight's gradient into partial sums over tiles."""
    tiles, room, found = Tiles((geometry.batch, *geometry.output), tile), 0, []
    for stretch in tiles.stretches(parts):
        pieces = []
        for region in map(tiles.__getitem__, range(*stretch)):
            leads = tuple(geometry.reach(axis, *part)[0] for axis, part in enumerate(region[1:]))
            place = region[0][0], leads
            numbers, size, flat = layout_of(geometry, place, sizes(region), itemsize, gradient=True)
            pieces.append(Piece(slices(region)[:-1], numbers, flat))
            room = max(room, size)
        found.append(tuple(pieces))
    return Sums(tuple(found), room)


def _pointwise(geometry: Geometry) -> bool:
    """Say whether each window is the pixel of its own place, not a neighbour as in some phases of a gradient."""
    alone = geometry.taps == math.prod(geometry.stride) == 1 and geometry.input == geometry.output
    return alone and not any(map(any, geometry.padding))
