"""Sums of products in loops that Numba compiles (`xpconv._compiled`), mostly at a better rate than matrix products.

Channels that are convolved alone are taken as vectors that meet vectors of weights, where they lie in the images. Other
groups of few filters are taken so as well, many filters as vectors that meet one number of a pixel: for these a tile's
rows are laid out in a ring of a few rows, those of groups group by group (`apart`), or where there are many channels,
read where they lie, if there is no padding (`dense`). No padded copy is made. The bias is laid down first, and what is
summed is added to it in a fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from xpconv._arrays.types import Array
from xpconv._compiled import build
from xpconv._compiled.filters import EDGE, SIDE
from xpconv._compiled.lanes import LANES
from xpconv._compiled.rows import BLOCK, TOGETHER
from xpconv._shapes.cuts import Tiles, sizes, slices
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work.workspace import Workspace
from xpconv.algorithms import apart, dense, taps, windows
from xpconv.algorithms.base import Algorithm
from xpconv.algorithms.cost import Work
from xpconv.algorithms.pieces import (
    Piece,
    Pieces,
    Place,
    Sums,
    alone,
    by_taps,
    contiguous,
    five,
    gradient_pieces,
    pack,
    part_of,
    stretches,
    three,
    whole,
)

FEW = 4  # taps that a pixel meets, up to which it is read where it lies
MANY = 5  # filters in a group from which on a number of a pixel meets a vector of them
RING = 96 << 10  # bytes of rows that are laid out for further filters, as a part of the second cache
FLAT = 256 << 10  # bytes of pixels whose axes are taken as one, where windows are pixels
MANY_CHANNELS = 16  # in a group from which on windows are taken through all rows, and filters share one's pixels
BAND = 160  # windows of a band whose weight's gradient is summed by vectors of filters
PAYS, PAY_FILTERS = 4_000_000, 8_000_000  # flops of a tile, some tenths of a millisecond of either kind of loops
QUICK = ("depthwise", "groups", "windows", "taps")  # loops of the first kind


class Compiled(Algorithm):
    """The algorithm: sums of products, in other orders than `direct`."""

    exact = False  # floats round as gemm's do; integers are left to the others
    clips = in_place = True

    def kernel(self, geometry: Geometry, gradient: bool = False) -> str:
        """Name the loops."""
        return _kind(geometry, gradient) + " gradient" * gradient

    def crowds(self, geometry: Geometry, gradient: bool = False) -> bool:
        """Say whether there are too many sums at once for float64."""
        kind, fan = _kind(geometry, gradient), geometry.channels // geometry.groups
        return kind in ("dense", "apart") and not gradient and fan >= MANY_CHANNELS

    def forward_work(self, geometry: Geometry) -> Work:
        """Multiply and add vector by vector; lay rows out; read and write once."""
        return self._work(geometry, _kind(geometry))

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Multiply and add vector by vector; lay rows out; read twice."""
        return self._work(geometry, _kind(geometry, gradient=True), gradient=True)

    def _work(self, geometry: Geometry, kind: str, gradient: bool = False) -> Work:
        c, f = geometry.channels, geometry.filters
        fan, steps = c // geometry.groups, math.prod(geometry.stride[-2:])
        size = math.prod(_packed(geometry, kind))
        pixels = min(steps, geometry.taps)  # that are read for a window
        blocks = size // (geometry.products * BLOCK)
        if kind == "depthwise":
            fused = (GROUPS if _side_by_side(geometry) else SINGLE) * size + BEGUN * blocks
        elif kind == "groups":
            fused = GROUPS * size + LAID_OUT * fan * blocks * BLOCK * pixels + BEGUN * blocks
        elif kind == "windows":
            fused = windows.fused(geometry, gradient)
        elif kind == "taps":
            fused = taps.fused(geometry)
        elif kind == "dense":
            fused = dense.fused(geometry)
        elif kind == "apart":
            fused = apart.fused(geometry)
        else:
            half = geometry.products * LANES if 0 < f % BLOCK <= LANES else 0
            short = geometry.products / (geometry.products + SHORT)
            begun = 0.75 * BEGUN * blocks + ODD * (f % LANES)
            fused = FILTERS * (size - half) * short + LAID_OUT * c * pixels + begun
        return Work(
            elements=max(f, BLOCK),
            multiply_adds=0,
            moved=c * (pixels if kind == "depthwise" else 1) + f,
            runs=1,
            calls=1,
            pays=PAYS if kind in QUICK else PAY_FILTERS,
            fused=fused,
            read=max(fan * BLOCK - c, 0) if kind == "groups" else 0,
            prepared=size,
            fixed_moved=round(dense.PACKED * size) if kind == "dense" else 0,
            domain=math.prod(_summed(geometry)),
            strip=windows.sums(geometry) if gradient and kind == "windows" else 0,
        )

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """(*kernel, C/G, F) -> the form of `packed`."""
        return self.packed(w, geometry, np.dtype(work.sums), np.empty)

    def packed(
        self, w: Array, geometry: Geometry, dtype: np.dtype[Any], make: Callable[[Ints, np.dtype[Any]], Array]
    ) -> Array:
        """(*kernel, C/G, F) -> (KD, KH, KW, 1, C) where channels are alone, itself if it is in order.

        (KD, KH, KW, C, F) for vectors of windows, itself too where no third filter has to be filled up. Else in an
        array that is made: blocks of filters (B, KD, KH, KW, C/G·16), zeros behind the last.
        """
        kernel, kind = three(geometry.kernel, 1), _kind(geometry)
        if kind == "depthwise":
            return alone(w, geometry, dtype)
        shape = _packed(geometry, kind)
        if kind == "windows" and shape[-1] == geometry.filters and w.flags.c_contiguous:
            return whole(w, dtype).reshape(shape)
        target = make(shape, dtype)
        if kind == "taps":
            return by_taps(w, target)
        if kind == "windows":
            target[..., : geometry.filters] = w.reshape((*kernel, *w.shape[-2:]))
            target[..., geometry.filters :] = 0
        else:
            pack(w, target, _parts(geometry, kind)[0])
        return target

    def room_for(
        self, geometry: Geometry, dtype: np.dtype[Any], make: Callable[[Ints, np.dtype[Any]], Array]
    ) -> Array | None:
        """Make the array of `packed` where each piece packs what it alone reads; None where the whole is packed."""
        if _kind(geometry) != "dense" or self.pieces(geometry, dtype.itemsize).each[0].blocks == (0, 0):
            return None
        return make(_packed(geometry, "dense"), dtype)

    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """(n, *slab, C) -> (n, *output, F), of pixels with their padding."""
        return self.clipped(
            work, slab, weight, None, geometry, ((0, (0,) * geometry.rank), (slab.shape[0], *output)), out
        )

    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """(n, *slab, C), (n, *output, F) -> (B, KD, KH, KW, C/G, 16), of pixels with their padding."""
        return self.clipped_weight_grad(work, slab, dz, geometry, (0, (0,) * geometry.rank))

    def clipped(
        self,
        work: Workspace,
        x: Array,
        weight: Array,
        bias: Array | None,
        geometry: Geometry,
        tile: tuple[Place, Ints],
        out: Array | None,
    ) -> Array:
        """Give the outputs (n, *output, F) of a tile of so many, which starts at a place of images without padding."""
        (place, shape), sums = tile, np.dtype(work.sums)
        x, name = contiguous(work, "images", x), self.kernel(geometry)
        if bias is None:
            bias = work.space.constant("no bias", np.zeros(geometry.filters), sums)
        if out is None or not out.flags.aligned:
            out = work.buffer("outputs", (*shape, geometry.filters), sums)  # type: ignore[attr-defined]
        solid = out.flags.c_contiguous
        numbers, size, flat = _layout(geometry, place, shape[1:], sums.itemsize, solid=solid)
        room = work.buffer("rows", (size,), sums)  # type: ignore[attr-defined]
        run, bias = build.get(name, build.NAMES[sums]), whole(bias, sums)
        work.do(run, five(x, flat), weight, bias, five(out, flat), numbers, room)
        return out

    def pieces(self, geometry: Geometry, itemsize: int, solid: bool = True) -> Pieces:
        """Cut a convolution into pieces that pay for a thread: whole images, or some of the rows of one.

        `solid`: the result has no gaps.
        """
        return _pieces(geometry, itemsize, solid)

    def strided(self, geometry: Geometry) -> str:
        """Name the loop that has all phases of the gradient of the images; empty if each has its own."""
        if math.prod(geometry.stride) == 1:
            return ""
        kinds = {_kind(phase.geometry) for phase in geometry.phases if phase.geometry is not None}
        if kinds == {"taps"}:
            return "taps images"
        return "depthwise images" * (kinds == {"depthwise"} and geometry.channels >= BLOCK)

    def images_weight(
        self, w: Array, geometry: Geometry, dtype: np.dtype[Any], make: Callable[[Ints, np.dtype[Any]], Array]
    ) -> Array:
        """(*kernel, C/G, F) -> the form that this loop takes."""
        if geometry.depthwise:
            return alone(w, geometry, dtype)
        shape = *three(geometry.kernel, 1)[:2], geometry.filters, 1, taps.given(geometry.kernel[-1], geometry.channels)
        return by_taps(w.swapaxes(-1, -2), make(shape, dtype))

    def gradient_pieces(self, geometry: Geometry, itemsize: int) -> Pieces:
        """Cut that gradient into pieces that pay for a thread."""
        count = 2 * geometry.flops // PAYS
        if geometry.depthwise:
            return gradient_pieces(geometry, count)
        together, room = taps.gradient_room(geometry, itemsize)
        more = geometry.channels, geometry.filters, together, geometry.kernel[-1]
        return gradient_pieces(geometry, count, more, room)

    def sums(self, geometry: Geometry, itemsize: int, tile: Ints, parts: int) -> Sums:
        """Cut a weight's gradient into partial sums over tiles."""
        return _sums(geometry, itemsize, tile, parts)

    def clipped_weight_grad(
        self, work: Workspace, x: Array, dz: Array, geometry: Geometry, place: Place, out: Array | None = None
    ) -> Array:
        """Give the part (…, C/G, 16), or of channels that are alone (KD, KH, KW, 1, V·8), of a tile's gradient."""
        sums = np.dtype(work.sums)
        x, dz = contiguous(work, "images", x), contiguous(work, "gradient", dz)
        packed = work.buffer("weight", _summed(geometry), sums)  # type: ignore[attr-defined]
        numbers, size, flat = _layout(geometry, place, dz.shape[1:-1], sums.itemsize, gradient=True)
        room = work.buffer("rows", (size,), sums)  # type: ignore[attr-defined]
        build.get(self.kernel(geometry, gradient=True), build.NAMES[sums])(
            five(x, flat), five(dz, flat), packed, numbers, room
        )
        return packed.reshape(_finished(geometry))

    def summed_shape(self, geometry: Geometry) -> Ints:
        """Give the shape of a part of a weight's gradient as the loops sum it."""
        return _summed(geometry)

    def finish(self, work: Workspace | None, total: Array, geometry: Geometry) -> Array:
        """(…, C/G, 16) or (KD, KH, KW, 1, V·8) -> (*kernel, C/G, F)."""
        kind = _kind(geometry, gradient=True)
        if kind == "depthwise":  # the last vector holds the last channels
            rest = geometry.channels % LANES
            if rest:
                total = np.concatenate((total[..., :-LANES], total[..., -rest:]), axis=-1)
        if kind in ("depthwise", "windows"):
            return total.reshape((*geometry.kernel, -1, geometry.filters))
        groups, own = _parts(geometry, kind)
        parts = total.reshape((groups, -1, *total.shape[1:]))
        # (G, B/G, KD, KH, KW, C/G, 16) -> (KD, KH, KW, C/G, G, B/G·16)
        found = parts.transpose((2, 3, 4, 5, 0, 1, 6)).reshape((*total.shape[1:-1], groups, -1))[..., :own]
        return found.reshape((*geometry.kernel, -1, geometry.filters))

    def unpacked(self, total: Array, geometry: Geometry) -> Array:
        """Turn a weight's gradient in the shape of the loops into a new array (*kernel, C/G, F)."""
        found = self.finish(None, total.reshape(_finished(geometry)), geometry)
        return found.copy() if np.may_share_memory(found, total) else found


# multiply-adds of `_plan.rates.RATES["cpu"].fused` that take as long as one of the loops', with the zeros behind the
# last filter, or of pixels that are read for each; as laying out a number; as what is done once for a window and a
# block of filters; as a result that is written alone. Of what the plan charges matrix products too little for, as much
# is taken off here: so many products more they seem to sum
GROUPS, FILTERS, SINGLE, LAID_OUT, BEGUN, ODD, SHORT = 0.19, 0.15, 0.32, 0.9, 20.0, 4.0, 10


def _parts(geometry: Geometry, name: str) -> tuple[int, int]:
    """Give the groups whose filters begin a block of their own, and the filters of each."""
    groups = 1 if name == "groups" else geometry.groups
    return groups, geometry.filters // groups


@lru_cache(maxsize=4096)
def _kind(geometry: Geometry, gradient: bool = False) -> str:
    """Name the loops of a geometry, or of its weight's gradient."""
    alone = geometry.depthwise and geometry.channels >= BLOCK
    # elsewhere a pixel meets so many taps that it pays to lay it out, in one piece with its neighbours
    if alone and (_side_by_side(geometry) or geometry.taps <= FEW * math.prod(geometry.stride)):
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
        # a part of an image may have no padding where the whole has some, and is taken as that is
        kind, cost = "dense", dense.fused(geometry, laid=True)
        if geometry.filters < LANES and windows.serves(geometry) and windows.fused(geometry) < cost:
            kind, cost = "windows", windows.fused(geometry)
    return "taps" if taps.takes(geometry, cost) else kind


def _short(geometry: Geometry) -> bool:
    """Say whether rows of windows are so short that it pays to take windows through all rows: the bits are the same."""
    whole = geometry.filters // geometry.groups % BLOCK == 0 and not any(map(any, geometry.padding))
    return whole and geometry.output[-1] < BLOCK and geometry.output[-1] % TOGETHER > 0


def _side_by_side(geometry: Geometry) -> bool:
    """Say whether windows share the three taps of a row, so that a pixel is read once for those that meet it."""
    return geometry.kernel[-1] == 3 and geometry.stride[-1] == geometry.dilation[-1] == 1


def _packed(geometry: Geometry, kind: str) -> Ints:
    """Give the shape of a weight as the loops take it, or of its gradient but for the end of the last vector."""
    kernel = three(geometry.kernel, 1)
    if kind == "depthwise":
        return *kernel, 1, geometry.channels
    if kind == "windows":
        return *kernel, geometry.channels, windows.padded(geometry.filters)
    if kind == "taps":
        return *kernel[:2], geometry.channels, 1, taps.given(geometry.kernel[-1], geometry.filters)
    groups, own = _parts(geometry, kind)
    return groups * -(-own // BLOCK), *kernel, geometry.channels // geometry.groups * BLOCK


def _summed(geometry: Geometry) -> Ints:
    """Give the shape of a part of a weight's gradient as the loops sum it: of whole vectors."""
    kind = _kind(geometry, gradient=True)
    *axes, last = _packed(geometry, kind)
    return (*axes, geometry.filters) if kind == "windows" else (*axes, -(-last // LANES) * LANES)


def _finished(geometry: Geometry) -> Ints:
    """Give the shape of the same numbers with input channels as the axis ahead of the last."""
    shape = _summed(geometry)
    alone = _kind(geometry, gradient=True) in ("depthwise", "windows")
    return shape if alone else (*shape[:-1], shape[-1] // BLOCK, BLOCK)


class _Layout(NamedTuple):
    """What the loops are told of a tile, how much work memory they take, and whether its axes are taken as one."""

    numbers: Array
    room: int
    flat: bool


@lru_cache(maxsize=4096)
def _layout(
    geometry: Geometry, place: Place, output: Ints, itemsize: int, *, gradient: bool = False, solid: bool = True
) -> _Layout:
    """Describe a tile to the loops (`_compiled.rows`)."""
    image, leads = place
    kind, pixels = _kind(geometry, gradient), math.prod(output)
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
        laid = any(map(any, geometry.padding)) or dense.goes_beyond(geometry, leads, output)
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
    return _Layout(numbers, ring + before, flat)


@lru_cache(maxsize=1024)
def _pieces(geometry: Geometry, itemsize: int, solid: bool) -> Pieces:
    output, before = geometry.output, tuple(before for before, _ in geometry.padding)
    if _kind(geometry) == "dense" and geometry.channels // geometry.groups >= MANY_CHANNELS:
        return _dense_pieces(geometry, itemsize)
    pays = (PAYS if _kind(geometry) in ("depthwise", "groups") else PAY_FILTERS) // 2
    found, room, every, count = [], 0, slice(None), geometry.flops // pays
    for images, start, stop in stretches(geometry.batch, output, count + count % 2 if count > 1 else 1):
        leads = (start * geometry.stride[0] - before[0], *(-pixels for pixels in before[1:]))
        place, tile = (images.start, leads), (stop - start, *output[1:])
        numbers, size, flat = _layout(geometry, place, tile, itemsize, solid=solid)
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
        numbers, size, _ = _layout(geometry, (images[0], leads), (stop - start, *geometry.output[1:]), itemsize)
        numbers = np.array([*numbers[:-2], blocks[0], blocks[1] - blocks[0]], np.intp)
        axes = (slice(None),) * (3 - geometry.rank) + (slice(start, stop),)
        alone = geometry.groups == 1 and blocks[1] - blocks[0] < dense.blocks_of(geometry)
        found.append(Piece((slice(*images), *axes), numbers, False, blocks if alone else (0, 0)))
        room = max(room, size)
    return Pieces(tuple(found), room)


@lru_cache(maxsize=1024)
def _sums(geometry: Geometry, itemsize: int, tile: Ints, parts: int) -> Sums:
    tiles, room, found = Tiles((geometry.batch, *geometry.output), tile), 0, []
    for stretch in tiles.stretches(parts):
        pieces = []
        for region in map(tiles.__getitem__, range(*stretch)):
            leads = tuple(geometry.reach(axis, *part)[0] for axis, part in enumerate(region[1:]))
            place = region[0][0], leads
            numbers, size, flat = _layout(geometry, place, sizes(region), itemsize, gradient=True)
            pieces.append(Piece(slices(region)[:-1], numbers, flat))
            room = max(room, size)
        found.append(tuple(pieces))
    return Sums(tuple(found), room)


def _pointwise(geometry: Geometry) -> bool:
    """Say whether each window is the pixel of its own place, not a neighbour as in some phases of a gradient."""
    alone = geometry.taps == math.prod(geometry.stride) == 1 and geometry.input == geometry.output
    return alone and not any(map(any, geometry.padding))
