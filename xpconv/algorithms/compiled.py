"""Convolutions of thin layers in loops that Numba compiles (`xpconv._compiled`), which no matrix product serves well.

Few filters in a group, depthwise ones for one, are taken as vectors that meet vectors of pixels; many filters as
vectors that meet one number of a pixel. Images are read where they lie, a tile's rows are laid out in a ring of a few
rows, no padded copy is made. The bias is laid down first, and what is summed is added to it in a fixed order.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from xpconv._arrays.types import Array
from xpconv._compiled import build
from xpconv._compiled.filters import EDGE, SIDE
from xpconv._compiled.lanes import LANES
from xpconv._compiled.rows import BLOCK, TOGETHER
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work.workspace import Workspace
from xpconv.algorithms.base import Algorithm
from xpconv.algorithms.cost import Work

MANY = 5  # filters in a group from which on a number of a pixel meets a vector of them
RING = 96 << 10  # bytes of rows that are laid out for further filters, as a part of the second cache
FLAT = 256 << 10  # bytes of pixels whose axes are taken as one, where windows are pixels
PAYS, PAY_FILTERS = 4_000_000, 8_000_000  # flops of a tile, some tenths of a millisecond of either kind of loops
MOST = 32  # pieces of a convolution
Place = tuple[int, Ints]  # of a tile: the first image; along each axis the pixel of the first window's first tap


class Piece(NamedTuple):
    """A part of a convolution that the loops do in one go, where the result lies in one piece."""

    where: tuple[slice, ...]  # of the result's five axes
    numbers: Array  # what the loops know of it
    room: int  # how many numbers of work memory they take
    flat: bool  # all spatial axes are taken as one


class Compiled(Algorithm):
    """The algorithm: sums of products, in other orders than `direct`."""

    exact = False  # floats round as gemm's do; integers are left to the others
    clips = True

    def refuses(self, geometry: Geometry) -> str:
        """Say why this geometry cannot be served; empty if it can."""
        return ""

    def kernel(self, geometry: Geometry, gradient: bool = False) -> str:
        """Name the loops."""
        few = geometry.groups > 1 and geometry.filters // geometry.groups < MANY
        return ("groups" if few else "filters") + " gradient" * gradient

    def forward_work(self, geometry: Geometry) -> Work:
        """Multiply and add vector by vector; lay rows out; read and write once."""
        return self._work(geometry)

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Multiply and add vector by vector; lay rows out; read twice."""
        return self._work(geometry)

    def _work(self, geometry: Geometry) -> Work:
        c, f = geometry.channels, geometry.filters
        fan, steps = c // geometry.groups, math.prod(geometry.stride[-2:])
        few = self.kernel(geometry) == "groups"
        size = math.prod(_packed(geometry))
        blocks = size // (geometry.products * BLOCK)
        if few:
            laid = LAID_OUT * fan * blocks * BLOCK * min(steps, geometry.taps)
            fused = GROUPS * size + laid + BEGUN * blocks
        else:
            own = f // geometry.groups
            half = geometry.groups * geometry.products * LANES if 0 < own % BLOCK <= LANES else 0
            short = geometry.products / (geometry.products + SHORT)
            begun = 0.75 * BEGUN * blocks + ODD * geometry.groups * (own % LANES)
            fused = FILTERS * (size - half) * short + LAID_OUT * c * min(steps, geometry.taps) + begun
            fused *= APART if geometry.groups > 1 else 1
        return Work(
            elements=max(f, BLOCK),
            multiply_adds=0,
            moved=c + f,
            runs=1,
            calls=1,
            pays=PAYS if few else PAY_FILTERS,
            fused=fused,
            read=max(fan * BLOCK - c, 0) if few else 0,
            prepared=size,
            domain=size,
        )

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """(*kernel, C/G, F) -> blocks of filters (B, KD, KH, KW, C/G·16), zeros behind the last of a group."""
        (blocks, *kernel, _), (groups, own) = _packed(geometry), _parts(geometry, self.kernel(geometry))
        packed = np.zeros((groups, blocks // groups, *kernel, w.shape[-2], BLOCK), np.dtype(work.sums))
        whole = own // BLOCK
        w = np.moveaxis(w.reshape((*kernel, -1, groups, own)), -2, 0)  # (G, KD, KH, KW, C/G, F/G)
        if whole:
            parts = w[..., : whole * BLOCK].reshape((*w.shape[:-1], whole, BLOCK))
            packed[:, :whole] = np.moveaxis(parts, -2, 1)
        if own % BLOCK:
            packed[:, whole, ..., : own % BLOCK] = w[..., whole * BLOCK :]
        return packed.reshape(_packed(geometry))

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
        run, bias = build.get(name, sums.name), np.ascontiguousarray(bias)
        work.do(run, five(x, flat), weight, bias, five(out, flat), numbers, room)  # type: ignore[attr-defined]
        return out

    def pieces(self, geometry: Geometry, itemsize: int, solid: bool = True) -> tuple[Piece, ...]:
        """Cut a convolution into pieces that pay for a thread: whole images, or some of the rows of one.

        `solid`: the result has no gaps.
        """
        return _pieces(geometry, itemsize, solid)

    def clipped_weight_grad(self, work: Workspace, x: Array, dz: Array, geometry: Geometry, place: Place) -> Array:
        """Give the part (B, KD, KH, KW, C/G, 16) that a tile's gradient (n, *output, F) has in the sum."""
        sums, name = np.dtype(work.sums), self.kernel(geometry)
        x, dz = contiguous(work, "images", x), contiguous(work, "gradient", dz)
        packed = work.buffer("weight", _packed(geometry), sums)  # type: ignore[attr-defined]
        numbers, size, flat = _layout(geometry, place, dz.shape[1:-1], sums.itemsize, gradient=True)
        room = work.buffer("rows", (size,), sums)  # type: ignore[attr-defined]
        build.get(f"{name} gradient", sums.name)(five(x, flat), five(dz, flat), packed, numbers, room)
        return packed.reshape((*packed.shape[:-1], -1, BLOCK))

    def finish(self, work: Workspace, total: Array, geometry: Geometry) -> Array:
        """(B, KD, KH, KW, C/G, 16) -> (*kernel, C/G, F)."""
        groups, own = _parts(geometry, self.kernel(geometry))
        parts = total.reshape((groups, -1, *total.shape[1:]))
        # (G, B/G, KD, KH, KW, C/G, 16) -> (KD, KH, KW, C/G, G, B/G·16)
        found = np.moveaxis(parts, (0, 1), (-3, -2)).reshape((*total.shape[1:-1], groups, -1))[..., :own]
        return found.reshape((*geometry.kernel, -1, geometry.filters))


# multiply-adds of `_plan.rates.RATES["cpu"].fused` that take as long as one of the loops', with the zeros behind the
# last filter; as laying out a number; as what is done once for a window and a block of filters; as a result that is
# written alone. Of what the plan charges matrix products too little for, as much is taken off here: so many products
# more they seem to sum, and those of groups, whose matrices lie apart, take twice the time
GROUPS, FILTERS, LAID_OUT, BEGUN, ODD, SHORT, APART = 0.19, 0.15, 0.9, 20.0, 4.0, 10, 0.5


def _parts(geometry: Geometry, name: str) -> tuple[int, int]:
    """Give the groups whose filters begin a block of their own, and the filters of each."""
    groups = 1 if name == "groups" else geometry.groups
    return groups, geometry.filters // groups


def _packed(geometry: Geometry) -> Ints:
    """Give the shape of a prepared weight."""
    few = geometry.groups > 1 and geometry.filters // geometry.groups < MANY
    groups, own = _parts(geometry, "groups" if few else "filters")
    fan = geometry.channels // geometry.groups
    return groups * -(-own // BLOCK), *_three(geometry.kernel, 1), fan * BLOCK


def contiguous(work: Workspace, name: str, array: Array) -> Array:
    """Give an array in one piece in the dtype of the sums: itself, or a copy in a buffer."""
    if array.flags.c_contiguous and array.flags.aligned and array.dtype == work.sums:
        return array
    target = work.buffer(name, array.shape, np.dtype(work.sums))  # type: ignore[attr-defined]
    work.do(np.copyto, target, array)  # type: ignore[attr-defined]
    return target


def _three(axes: Ints, fill: int) -> Ints:
    """Give three spatial axes, the first of them `fill` if there are less."""
    return (fill,) * (3 - len(axes)) + axes


def five(array: Array, flat: bool) -> Array:
    """(n, *spatial, C) -> (n, D, H, W, C), or (n, 1, 1, D·H·W, C)."""
    axes = (1, 1, math.prod(array.shape[1:-1])) if flat else _three(array.shape[1:-1], 1)
    return array.reshape((array.shape[0], *axes, array.shape[-1]))


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
    pixels = math.prod(output)
    flat = (
        solid
        and _pointwise(geometry)
        and output[1:] == geometry.output[1:]
        and pixels * geometry.channels * itemsize <= FLAT
    )
    if flat:  # no window is at the end of a row
        leads, output = (leads[0] * math.prod(output[1:]),), (pixels,)
    strides, gaps = _three(geometry.stride, 1), _three(geometry.dilation, 1)
    (deep, high, wide), columns = _three(geometry.kernel, 1), output[-1]
    fan, own = geometry.channels // geometry.groups, geometry.filters // geometry.groups
    lines, tail = deep * ((high - 1) * gaps[1] + 1), (wide - 1) * gaps[2]
    if Compiled().kernel(geometry) == "groups":
        across = -(-columns // TOGETHER) * TOGETHER + tail // strides[2]
        row = lines * strides[2] * across * fan * BLOCK  # of a block
        blocks = min(-(-geometry.filters // BLOCK), max(1, RING // (row * itemsize)))
        chunk, ring, before = blocks * BLOCK, blocks * row, blocks * BLOCK + TOGETHER * BLOCK
    else:
        across = (-(-columns // EDGE) * EDGE - 1) * strides[2] + tail + 1
        chunk, ring, before = 0, lines * across * geometry.channels, BLOCK + SIDE
    axes = zip(_three(leads, 0), strides, gaps, strict=True)
    numbers = np.array([image, *(n for axis in axes for n in axis), fan, own, chunk], np.intp)
    return _Layout(numbers, ring + (columns * BLOCK if gradient else before), flat)


@lru_cache(maxsize=1024)
def _pieces(geometry: Geometry, itemsize: int, solid: bool) -> tuple[Piece, ...]:
    output, before = geometry.output, tuple(before for before, _ in geometry.padding)
    pays = (PAYS if Compiled().kernel(geometry) == "groups" else PAY_FILTERS) // 2
    count = min(max(geometry.flops // pays, 1), MOST)
    alone = -(-geometry.batch // count)  # images of a piece
    along = 1 if geometry.rank == 1 or alone > 1 else min(-(-count // geometry.batch), output[0])
    rows, found = -(-output[0] // along), []
    for n in range(0, geometry.batch, alone):
        for start in range(0, output[0], rows):
            stop = min(start + rows, output[0])
            leads = (start * geometry.stride[0] - before[0], *(-pixels for pixels in before[1:]))
            layout = _layout(geometry, (n, leads), (stop - start, *output[1:]), itemsize, solid=solid)
            solid = layout.flat  # the first is the largest, and the others are taken as it is
            part, every = slice(start, stop) if along > 1 else slice(None), slice(None)
            axes: tuple[slice, ...] = (part,) if geometry.rank == 3 else (every, part)
            if layout.flat:
                size = math.prod(output[1:])
                axes = (every, every, slice(start * size, stop * size))
            found.append(Piece((slice(n, n + alone), *axes), *layout))
    return tuple(found)


def _pointwise(geometry: Geometry) -> bool:
    """Say whether each window is the pixel of its own place, not a neighbour as in some phases of a gradient."""
    alone = geometry.taps == math.prod(geometry.stride) == 1 and geometry.input == geometry.output
    return alone and not any(map(any, geometry.padding))
