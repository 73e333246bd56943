"""Tiled im2col with several neighbouring outputs in a row of the product.

Neighbouring windows overlap, so copying each of them copies most pixels many times, in short pieces where there are few
channels, and the product has few columns where there are few filters. So the windows of `b` neighbours along the last
axis are copied as one, and the weight is laid out with a shifted copy of itself for each, zeros elsewhere: a block
Toeplitz matrix.

    columns (n·O/b, K'·C) @ weight (K'·C, b·F) -> (n·O/b, b·F) = (n·O, F)        K' = K with k + (b - 1) s last taps

That is up to b times the arithmetic and, where a window moves by little of its length, nearly as many times less to
copy. The gradient of the weight is summed as such a matrix, whose b copies are added up at the end. With groups there
is such a matrix for each.

Source: R. M. Gray, "Toeplitz and circulant matrices: a review", Foundations and Trends in Communications and
Information Theory 2 (2006), for convolutions as matrices of this kind.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

from xpconv._arrays.types import Array
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work.workspace import Workspace
from xpconv.algorithms.cost import Work, charged_products
from xpconv.algorithms.gemm import ITEM, Gemm, columns

MOST = 8  # outputs in a row
CALLS = 8  # of array functions, for each tile and for each call
# elements that are moved in the time of what lies between them in a call, which is not noted: 0.1 ms
BETWEEN = 800_000
# multiply-adds that take as long as copying an element (8 bytes), and as each contiguous piece of a copy: the ratios of
# `_plan.rates.RATES["cpu"]`, which stands above this module; change them together
COPIED, PIECE = 12, 192


class Toeplitz(Gemm):
    """The algorithm.

    A zero that is added rounds nothing, and the copies of the weight share a tile's pixels, so errors are gemm's.
    """

    exact = False  # floats round as gemm's do; integers are left to gemm, and its sums are (*K', b, C, F)
    spreads = True  # a NaN times the zeros of the weight
    copies_weight = narrow = False

    def noted(self, geometry: Geometry) -> bool:
        """Not the looks at results."""
        return False

    def noted_gradient(self, geometry: Geometry) -> bool:
        """Nor those."""
        return False

    def panelled(self, geometry: Geometry) -> Ints | None:
        """None: the weight is small, and most of it zeros."""
        return None

    def forward_work(self, geometry: Geometry) -> Work:
        """Write and read the columns of a row, one product."""
        if outputs(geometry) == 1:
            return _alone(super().forward_work(geometry), geometry)
        work = _work(geometry)
        copies = 1 + (geometry.groups > 1)
        moved = (1 + 2 * copies) * work.domain + BETWEEN
        return replace(work, prepared=copies * work.domain, domain=0, fixed_moved=moved)

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Write and read the columns of a row, one product with the gradient."""
        if outputs(geometry) == 1:
            return replace(
                _alone(super().weight_grad_work(geometry), geometry), domain=geometry.products * geometry.filters
            )
        work = _work(geometry)
        return replace(work, fixed_moved=2 * work.domain + BETWEEN)

    def form(self, geometry: Geometry) -> Ints:
        """Give the outputs in a row."""
        return (outputs(geometry),)

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """(*kernel, C, F) -> (K'·C, b·F): a shifted copy for each output in a row, beside each other.

        With groups (*kernel, C/G, F) -> (G, K'·C/G, b·F/G).
        """
        (b, joined), step, taps = _joined(geometry), geometry.stride[-1], geometry.kernel[-1]
        if b == 1:
            return super().prepare(work, w, geometry)
        shape = (*joined.kernel, geometry.channels // geometry.groups, b, geometry.filters)
        if work.traits.mutable:
            matrix = work.space.zeros(shape, w.dtype)
            for i in range(b):
                taken = slice(i * step, i * step + taps)
                place = (*(slice(None),) * (geometry.rank - 1), taken, slice(None), slice(i, i + 1))
                matrix[place] = work.xp.expand_dims(w, axis=-2)
        else:
            still = [(0, 0)] * (geometry.rank - 1)
            ends = [(i * step, (b - 1 - i) * step) for i in range(b)]
            matrix = work.xp.stack([work.pad("", w, (*still, both, (0, 0), (0, 0)), 0) for both in ends], axis=-2)
        if geometry.groups > 1:
            matrix = work.xp.reshape(matrix, (joined.products, b, geometry.groups, -1))
            # (K'·C/G, b, G, F/G) -> (G, K'·C/G, b, F/G)
            matrix = work.xp.permute_dims(matrix, (2, 0, 1, 3))
            return work.xp.reshape(matrix, (geometry.groups, joined.products, -1))
        return work.xp.reshape(matrix, (joined.products, joined.filters))

    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """(n, *slab, C), (K'·C, b·F) -> (n, *output, F)."""
        b, joined = _joined(geometry)
        if b == 1:
            return super().correlate(work, slab, weight, geometry, output, out)
        rows = (*output[:-1], -(-output[-1] // b))
        windows = _columns(work, slab, joined, rows)
        even = rows[-1] * b == output[-1]
        groups, shape = geometry.groups, (slab.shape[0], *rows, b, geometry.filters)
        if groups > 1:
            product = work.matmul("product", windows, weight)
            parts = (*shape[:-1], groups, geometry.filters // groups)
            # (G, n·O/b, b·F/G) -> (n·O/b, b, G, F/G)
            turned = work.xp.reshape(product, (groups, windows.shape[1], b, -1))
            turned = work.xp.reshape(work.xp.permute_dims(turned, (1, 2, 0, 3)), (-1, b, *parts[-2:]))
            flat = work.flat(out, turned.shape) if even else None
            if flat is not None:
                work.write(flat, turned)
                return out
            product = work.copy("turned", turned, shape, product.dtype)
        else:
            flat = work.flat(out, (windows.shape[0], joined.filters)) if even else None
            product = work.matmul("product", windows, weight, flat)
            if flat is not None:
                return out
        # (n·O/b, b·F) -> (n, *O/b, b, F) -> (n, *O, F), axes split and then merged, as Dask wants it
        whole = work.xp.reshape(product, shape)
        whole = work.xp.reshape(whole, (slab.shape[0], *rows[:-1], rows[-1] * b, geometry.filters))
        return whole if even else whole[..., : output[-1], :]

    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """(n, *slab, C), (n, *output, F) -> (*K', b, C, F)."""
        (b, joined), xp, rank = _joined(geometry), work.xp, geometry.rank
        if b == 1:
            return xp.expand_dims(super().weight_grad(work, slab, dz, geometry, output), axis=-3)
        rows = (*output[:-1], -(-output[-1] // b))
        windows = _columns(work, slab, joined, rows)
        if missing := rows[-1] * b - output[-1]:
            dz = work.pad("gradient", dz, (*((0, 0),) * rank, (0, missing), (0, 0)), 0)
        # axes split and then merged, as Dask wants it: (n, *O, F) -> (n, *O/b, b, F) -> (n·O/b, b·F)
        dz = xp.reshape(dz, (dz.shape[0], *rows, b, geometry.filters))
        if geometry.groups > 1:
            return self._grouped_grad(work, windows, dz, geometry, joined)
        gradient = work.copy("gradient", dz, (windows.shape[0], joined.filters))
        product = work.matmul("product", windows.T, gradient)
        product = xp.reshape(product, (joined.products, b, geometry.filters))
        product = xp.reshape(product, (*joined.kernel, geometry.channels, b, geometry.filters))
        # (*K', C, b, F) -> (*K', b, C, F)
        return xp.moveaxis(product, -2, -3)

    def _grouped_grad(self, work: Workspace, windows: Array, dz: Array, geometry: Geometry, joined: Geometry) -> Array:
        """(G, n·O/b, K'·C/G), (n, *O/b, b, F) -> (*K', b, C/G, F)."""
        xp, groups, rank, b = work.xp, geometry.groups, geometry.rank, dz.shape[-2]
        parts = xp.reshape(dz, (*dz.shape[:-1], groups, geometry.filters // groups))
        # (n, *O/b, b, G, F/G) -> (G, n·O/b, b·F/G)
        parts = xp.moveaxis(parts, -2, 0)
        gradient = work.copy("gradient", parts, (groups, windows.shape[1], joined.filters // groups))
        product = work.matmul("product", xp.permute_dims(windows, (0, 2, 1)), gradient)
        product = xp.reshape(product, (groups, *joined.kernel, geometry.channels // groups, b, -1))
        # (G, *K', C/G, b, F/G) -> (*K', b, C/G, G, F/G)
        turned = xp.permute_dims(product, (*range(1, rank + 1), rank + 2, rank + 1, 0, rank + 3))
        shape = (*joined.kernel, b, geometry.channels // groups, geometry.filters)
        return work.copy("turned", turned, shape, product.dtype)

    def finish(self, work: Workspace, total: Array, geometry: Geometry) -> Array:
        """(*K', b, C, F) -> (*kernel, C, F): add up what the copies of the weight got."""
        step, taps = geometry.stride[-1], geometry.kernel[-1]
        found = None
        for i in range(total.shape[-3]):
            found = work.add("summed", found, total[..., i * step : i * step + taps, i, :, :])
        return found


def outputs(geometry: Geometry) -> int:
    """Choose how many neighbouring outputs go into a row: two at least where windows may overlap, the least work."""
    if geometry.kernel[-1] == 1 or geometry.dilation[-1] > 1 or geometry.depthwise:
        return 1
    groups, (length, stride) = geometry.groups, (geometry.output[-1], geometry.stride[-1])
    channels, filters = geometry.channels // groups, geometry.filters // groups
    return _outputs(geometry.kernel, stride, length, channels, filters, groups > 1)


@lru_cache(maxsize=1024)
def _outputs(kernel: Ints, stride: int, length: int, channels: int, filters: int, grouped: bool) -> int:
    def cost(b: int) -> float:
        above, across = math.prod(kernel[:-1]), kernel[-1] + (b - 1) * stride
        columns = above * across * channels
        pieces = above * (ITEM * across if grouped else 1)  # taps beside each other lie in one piece without groups
        row = charged_products(1, columns, b * filters) + COPIED * columns + PIECE * pieces
        return -(-length // b) * row

    return min(range(1 if grouped else 2, min(MOST, length) + 1), key=cost, default=1)


def _joined(geometry: Geometry) -> tuple[int, Geometry]:
    """Give the number of outputs in a row, and the geometry in which they are one."""
    b, step = outputs(geometry), geometry.stride[-1]
    return b, replace(
        geometry,
        filters=b * geometry.filters,
        kernel=(*geometry.kernel[:-1], geometry.kernel[-1] + (b - 1) * step),
        output=(*geometry.output[:-1], -(-geometry.output[-1] // b)),
        stride=(*geometry.stride[:-1], b * step),
    )


def _alone(work: Work, geometry: Geometry) -> Work:
    """Add to gemm's work that results are looked at for NaN."""
    return replace(work, moved=work.moved + geometry.filters, calls=CALLS, step=(1,) * geometry.rank)


def _work(geometry: Geometry) -> Work:
    b, joined = _joined(geometry)
    rows = joined.output[-1] / geometry.output[-1]  # for each output pixel
    groups = geometry.groups
    columns, copies = joined.products * groups, 1 + (groups > 1)  # what was computed group by group is laid out anew
    pieces = math.prod(geometry.kernel[:-1]) if groups == 1 else ITEM * joined.taps * groups
    return Work(
        # in a padding mode, a second slab
        elements=-(-columns // b) + copies * geometry.filters + (geometry.mode != "zeros") * geometry.channels,
        multiply_adds=groups * charged_products(1, joined.products, joined.filters // groups) * rows,
        # the results are looked at for NaN, or the gradient is copied
        moved=math.ceil(2 * columns * rows) + (2 * copies - 1) * geometry.filters,
        runs=pieces * rows + (ITEM * groups if groups > 1 else 0),
        calls=CALLS,
        domain=joined.products * joined.filters,
        step=(*(1,) * (geometry.rank - 1), b),
    )


def _columns(work: Workspace, slab: Array, joined: Geometry, rows: Ints) -> Array:
    """(n, *slab, C) -> (n·O/b, K'·C), or (G, n·O/b, K'·C/G) with groups."""
    slab = work.extend("columns", slab, joined.kernel, joined.stride, rows)
    return columns(work, slab, joined, rows)
