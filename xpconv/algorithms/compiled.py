"""Convolutions of thin layers in loops that Numba compiles (`xpconv._compiled`), which no matrix product serves well.

Depthwise ones run over neighbouring channels, those with many filters in a group over the filters, the others over
pixels. Images are read where they lie: the taps beyond them are left out, no padded copy is made. The bias is laid down
first, and what is summed is added to it in a fixed order.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.types import Array
from xpconv._compiled import build
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work.workspace import Workspace
from xpconv.algorithms.base import Algorithm
from xpconv.algorithms.cost import Work

MANY = 24  # filters in a group from which on they are what the innermost loop runs over
SHORT = 64  # channels below which the innermost loop takes several pixels as one
PAYS = 4_000_000  # flops, some tenths of a millisecond
LENGTH = 128  # numbers that it then runs over, at least
Place = tuple[int, Ints]  # of a tile: the first image; along each axis the pixel of the first window's first tap


class Compiled(Algorithm):
    """The algorithm: sums of products, in other orders than `direct`."""

    exact = False  # floats round as gemm's do; integers are left to the others
    clips = True

    def refuses(self, geometry: Geometry) -> str:
        """Say why this geometry cannot be served; empty if it can."""
        return ""

    def kernel(self, geometry: Geometry, gradient: bool = False) -> str:
        """Name the loops."""
        if geometry.depthwise:
            name = "depthwise"
        else:
            name = "filters" if geometry.filters // geometry.groups >= MANY else "planes"
        return f"{name} gradient" if gradient else name

    def forward_work(self, geometry: Geometry) -> Work:
        """Multiply and add element by element; read and write once."""
        return self._work(geometry)

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Multiply and add element by element; read twice."""
        return self._work(geometry)

    def _work(self, geometry: Geometry) -> Work:
        c, f, groups = geometry.channels, geometry.filters, geometry.groups
        products, name = geometry.products * f, self.kernel(geometry)
        size = math.prod(geometry.kernel_shape)
        if name == "planes":
            steps = math.prod(geometry.stride[-2:])
            return Work(
                elements=f,
                multiply_adds=0,
                moved=c + f,
                runs=1,
                calls=4,
                pays=PAYS,
                fused=PLANES * products + LAID_OUT * (c * min(steps, geometry.taps) + f),
                read=c // groups * steps + 4,
                prepared=size,
                domain=size,
            )
        thin = FILTERS * (1 + THIN / (f // groups))
        fused = thin * products if name == "filters" else CHANNELS * products + PIXEL
        return Work(
            elements=f,
            multiply_adds=0,
            moved=c + 2 * f,
            runs=1,
            calls=4,
            pays=PAYS,
            fused=fused,
            prepared=size * merged(geometry) if geometry.depthwise else size,
            domain=size,
        )

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """(*kernel, C/G, F) -> (KD, KH, KW, m·C), (KD, KH, KW, C/G, F) or (F, C/G, KD, KH, KW), in one piece."""
        name, kernel = self.kernel(geometry), _three(geometry.kernel, 1)
        if name == "depthwise":
            repeated = np.tile(w.reshape((*kernel, geometry.filters)), (1, 1, 1, merged(geometry)))
            return np.ascontiguousarray(repeated)
        w = w.reshape((*kernel, *w.shape[-2:]))
        return np.ascontiguousarray(w if name == "filters" else np.moveaxis(w, (-1, -2), (0, 1)))

    def form(self, geometry: Geometry) -> Ints:
        """Give how often a depthwise weight is repeated."""
        return (merged(geometry),)

    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """(n, *slab, C) -> (n, *output, F), of pixels with their padding."""
        return self.clipped(
            work, slab, weight, None, geometry, ((0, (0,) * geometry.rank), (slab.shape[0], *output)), out
        )

    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """(n, *slab, C), (n, *output, F) -> (*kernel, C/G, F), of pixels with their padding."""
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
        if out is None or not (out.flags.c_contiguous and out.flags.aligned):
            out = work.buffer("outputs", (*shape, geometry.filters), sums)  # type: ignore[attr-defined]
        if bias is None:
            bias = work.space.constant("no bias", np.zeros(geometry.filters), sums)
        arguments = [_five(x), weight, np.ascontiguousarray(bias), _five(out), _place(geometry, place)]
        run = build.get(name, sums.name)
        if name == "depthwise":
            arguments.append(weight.shape[-1] // geometry.channels)
        else:
            arguments.append(geometry.groups)
        if name == "planes":
            arguments.append(_room(work, geometry, shape[1:], sums))
        work.do(run, *arguments)  # type: ignore[attr-defined]
        return out

    def clipped_weight_grad(self, work: Workspace, x: Array, dz: Array, geometry: Geometry, place: Place) -> Array:
        """Give the part (*kernel, C/G, F) that a tile's gradient (n, *output, F) has in the sum."""
        sums, kernel = np.dtype(work.sums), _three(geometry.kernel, 1)
        name, depth, filters = self.kernel(geometry), geometry.channels // geometry.groups, geometry.filters
        x, dz = contiguous(work, "images", x), contiguous(work, "gradient", dz)
        shape = {"depthwise": (*kernel, filters), "filters": (*kernel, depth, filters)}.get(
            name, (filters, depth, *kernel)
        )
        found = work.buffer("weight", shape, sums)  # type: ignore[attr-defined]
        arguments = [_five(x), _five(dz), found, _place(geometry, place)]
        if name != "depthwise":
            arguments.append(geometry.groups)
        if name == "planes":
            arguments.append(_room(work, geometry, dz.shape[1:-1], sums))
            found = np.moveaxis(found, (0, 1), (-1, -2))
        build.get(f"{name} gradient", sums.name)(*arguments)
        return found.reshape((*geometry.kernel, depth, filters))


# multiply-adds of `_plan.rates.RATES["cpu"].fused` that take as long as one of the loops', as laying out a number, as a
# pixel; and filters as many as a product's start costs
CHANNELS, FILTERS, PLANES, LAID_OUT, PIXEL, THIN = 0.5, 0.25, 0.5, 4.0, 20.0, 12.0


def merged(geometry: Geometry) -> int:
    """Count the pixels that are taken as one with as many channels more, where windows and taps lie side by side."""
    alone = not geometry.depthwise or geometry.channels >= SHORT
    if alone or geometry.stride[-1] > 1 or geometry.dilation[-1] > 1:
        return 1
    return max(1, min(-(-LENGTH // geometry.channels), geometry.output[-1] // 4))


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


def _five(array: Array) -> Array:
    """(n, *spatial, C) -> (n, D, H, W, C)."""
    return array.reshape((array.shape[0], *_three(array.shape[1:-1], 1), array.shape[-1]))


def _place(geometry: Geometry, place: Place) -> Array:
    """Give what the loops know of a tile: the first image; of each axis the first pixel, the stride, the dilation."""
    return _numbers(*place, geometry.stride, geometry.dilation)


@lru_cache(maxsize=4096)
def _numbers(image: int, leads: Ints, stride: Ints, dilation: Ints) -> Array:
    axes = zip(_three(leads, 0), _three(stride, 1), _three(dilation, 1), strict=True)
    return np.array([image, *(n for axis in axes for n in axis)], np.intp)


def _room(work: Workspace, geometry: Geometry, output: Ints, sums: Any) -> Array:
    """Give the work memory of the loops over planes."""
    (_, rows, columns), (deep, high, wide) = _three(output, 1), _three(geometry.kernel, 1)
    (_, down, right), (_, gap_h, gap_w) = _three(geometry.stride, 1), _three(geometry.dilation, 1)
    tall, across = rows + (high - 1) * gap_h // down, columns + (wide - 1) * gap_w // right
    size = deep * (geometry.channels // geometry.groups) * down * right * tall * across + 4 * rows * across
    return work.buffer("planes", (size,), sums)  # type: ignore[attr-defined]
