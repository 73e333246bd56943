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
from typing import Any

import numpy as np

from xpconv._arrays.types import Array
from xpconv._compiled import build
from xpconv._compiled.lanes import LANES
from xpconv._compiled.rows import BLOCK
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work.workspace import Workspace
from xpconv.algorithms import apart, dense, loops, taps, windows
from xpconv.algorithms.base import Algorithm
from xpconv.algorithms.cost import Work
from xpconv.algorithms.pieces import (
    Pieces,
    Place,
    Sums,
    alone,
    by_taps,
    contiguous,
    five,
    gradient_pieces,
    pack,
    three,
    whole,
)


class Compiled(Algorithm):
    """The algorithm: sums of products, in other orders than `direct`."""

    exact = False  # floats round as gemm's do; integers are left to the others
    clips = in_place = True

    def kernel(self, geometry: Geometry, gradient: bool = False) -> str:
        """Name the loops."""
        return loops.kind_of(geometry, gradient) + " gradient" * gradient

    def crowds(self, geometry: Geometry, gradient: bool = False) -> bool:
        """Say whether there are too many sums at once for float64."""
        kind, fan = loops.kind_of(geometry, gradient), geometry.channels // geometry.groups
        return kind in ("dense", "apart") and not gradient and fan >= loops.MANY_CHANNELS

    def forward_work(self, geometry: Geometry) -> Work:
        """Multiply and add vector by vector; lay rows out; read and write once."""
        return self._work(geometry, loops.kind_of(geometry))

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Multiply and add vector by vector; lay rows out; read twice."""
        return self._work(geometry, loops.kind_of(geometry, gradient=True), gradient=True)

    def _work(self, geometry: Geometry, kind: str, gradient: bool = False) -> Work:
        c, f = geometry.channels, geometry.filters
        fan, steps = c // geometry.groups, math.prod(geometry.stride[-2:])
        size = math.prod(loops.weight_shape(geometry, kind))
        pixels = min(steps, geometry.taps)  # that are read for a window
        blocks = size // (geometry.products * BLOCK)
        if kind == "depthwise":
            fused = (GROUPS if loops.side_by_side(geometry) else SINGLE) * size + BEGUN * blocks
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
            pays=loops.PAYS if kind in loops.QUICK else loops.PAY_FILTERS,
            fused=fused,
            read=max(fan * BLOCK - c, 0) if kind == "groups" else 0,
            prepared=size,
            fixed_moved=round(dense.PACKED * size) if kind == "dense" else 0,
            domain=math.prod(loops.sums_shape(geometry)),
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
        kernel, kind = three(geometry.kernel, 1), loops.kind_of(geometry)
        if kind == "depthwise":
            return alone(w, geometry, dtype)
        shape = loops.weight_shape(geometry, kind)
        if kind == "windows" and shape[-1] == geometry.filters and w.flags.c_contiguous:
            return whole(w, dtype).reshape(shape)
        target = make(shape, dtype)
        if kind == "taps":
            return by_taps(w, target)
        if kind == "windows":
            target[..., : geometry.filters] = w.reshape((*kernel, *w.shape[-2:]))
            target[..., geometry.filters :] = 0
        else:
            pack(w, target, loops.parts(geometry, kind)[0])
        return target

    def room_for(
        self, geometry: Geometry, dtype: np.dtype[Any], make: Callable[[Ints, np.dtype[Any]], Array]
    ) -> Array | None:
        """Make the array of `packed` where each piece packs what it alone reads; None where the whole is packed."""
        if loops.kind_of(geometry) != "dense" or self.pieces(geometry, dtype.itemsize).each[0].blocks == (0, 0):
            return None
        return make(loops.weight_shape(geometry, "dense"), dtype)

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
        there = tuple(x.shape[1:-1])
        numbers, size, flat = loops.layout_of(geometry, place, shape[1:], sums.itemsize, solid=solid, there=there)
        room = work.buffer("rows", (size,), sums)  # type: ignore[attr-defined]
        run, bias = build.get(name, build.NAMES[sums]), whole(bias, sums)
        work.do(run, five(x, flat), weight, bias, five(out, flat), numbers, room)
        return out

    def pieces(self, geometry: Geometry, itemsize: int, solid: bool = True) -> Pieces:
        """Cut a convolution into pieces that pay for a thread: whole images, or some of the rows of one.

        `solid`: the result has no gaps.
        """
        return loops.pieces_of(geometry, itemsize, solid)

    def strided(self, geometry: Geometry) -> str:
        """Name the loop that has all phases of the gradient of the images; empty if each has its own."""
        if math.prod(geometry.stride) == 1:
            return ""
        kinds = {loops.kind_of(phase.geometry) for phase in geometry.phases if phase.geometry is not None}
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
        count = 2 * geometry.flops // loops.PAYS
        if geometry.depthwise:
            return gradient_pieces(geometry, count)
        together, room = taps.gradient_room(geometry, itemsize)
        more = geometry.channels, geometry.filters, together, geometry.kernel[-1]
        return gradient_pieces(geometry, count, more, room)

    def sums(self, geometry: Geometry, itemsize: int, tile: Ints, parts: int) -> Sums:
        """Cut a weight's gradient into partial sums over tiles."""
        return loops.sums_of(geometry, itemsize, tile, parts)

    def clipped_weight_grad(
        self, work: Workspace, x: Array, dz: Array, geometry: Geometry, place: Place, out: Array | None = None
    ) -> Array:
        """Give the part (…, C/G, 16), or of channels that are alone (KD, KH, KW, 1, V·8), of a tile's gradient."""
        sums = np.dtype(work.sums)
        x, dz = contiguous(work, "images", x), contiguous(work, "gradient", dz)
        packed = work.buffer("weight", loops.sums_shape(geometry), sums)  # type: ignore[attr-defined]
        numbers, size, flat = loops.layout_of(geometry, place, dz.shape[1:-1], sums.itemsize, gradient=True)
        room = work.buffer("rows", (size,), sums)  # type: ignore[attr-defined]
        build.get(self.kernel(geometry, gradient=True), build.NAMES[sums])(
            five(x, flat), five(dz, flat), packed, numbers, room
        )
        return packed.reshape(loops.finished_shape(geometry))

    def summed_shape(self, geometry: Geometry) -> Ints:
        """Give the shape of a part of a weight's gradient as the loops sum it."""
        return loops.sums_shape(geometry)

    def finish(self, work: Workspace | None, total: Array, geometry: Geometry) -> Array:
        """(…, C/G, 16) or (KD, KH, KW, 1, V·8) -> (*kernel, C/G, F)."""
        kind = loops.kind_of(geometry, gradient=True)
        if kind == "depthwise":  # the last vector holds the last channels
            rest = geometry.channels % LANES
            if rest:
                total = np.concatenate((total[..., :-LANES], total[..., -rest:]), axis=-1)
        if kind in ("depthwise", "windows"):
            return total.reshape((*geometry.kernel, -1, geometry.filters))
        groups, own = loops.parts(geometry, kind)
        parts = total.reshape((groups, -1, *total.shape[1:]))
        # (G, B/G, KD, KH, KW, C/G, 16) -> (KD, KH, KW, C/G, G, B/G·16)
        found = parts.transpose((2, 3, 4, 5, 0, 1, 6)).reshape((*total.shape[1:-1], groups, -1))[..., :own]
        return found.reshape((*geometry.kernel, -1, geometry.filters))

    def unpacked(self, total: Array, geometry: Geometry) -> Array:
        """Turn a weight's gradient in the shape of the loops into a new array (*kernel, C/G, F)."""
        found = self.finish(None, total.reshape(loops.finished_shape(geometry)), geometry)
        return found.copy() if np.may_share_memory(found, total) else found


# multiply-adds of `_plan.rates.RATES["cpu"].fused` that take as long as one of the loops', with the zeros behind the
# last filter, or of pixels that are read for each; as laying out a number; as what is done once for a window and a
# block of filters; as a result that is written alone. Of what the plan charges matrix products too little for, as much
# is taken off here: so many products more they seem to sum
GROUPS, FILTERS, SINGLE, LAID_OUT, BEGUN, ODD, SHORT = 0.19, 0.15, 0.32, 0.9, 20.0, 4.0, 10
