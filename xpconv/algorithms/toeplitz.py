"""Tiled im2col with several neighbouring outputs in a row of the product.

Neighbouring windows overlap, so copying each of them copies most pixels many times, in short pieces where there are few
channels, and the product has few columns where there are few filters. So the windows of `b` neighbours along the last
axis are copied as one, and the weight is laid out with a shifted copy of itself for each, zeros elsewhere: a block
Toeplitz matrix.

    columns (n·O/b, K'·C) @ weight (K'·C, b·F) -> (n·O/b, b·F) = (n·O, F)        K' = K with k + (b - 1) s last taps

That is up to b times the arithmetic and, where a window moves by little of its length, nearly as many times less to
copy. The gradient of the weight is summed as such a matrix, whose b copies are added up at the end.

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
from xpconv.algorithms.gemm import Gemm, columns

MOST = 8  # outputs in a row
CALLS = 8  # of array functions, for each tile and for each call
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
        return replace(work, prepared=work.domain, domain=0, fixed_moved=3 * work.domain)

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Write and read the columns of a row, one product with the gradient."""
        if outputs(geometry) == 1:
            return replace(
                _alone(super().weight_grad_work(geometry), geometry), domain=geometry.products * geometry.filters
            )
        work = _work(geometry)
        return replace(work, fixed_moved=2 * work.domain)

    def form(self, geometry: Geometry) -> Ints:
        """Give the outputs in a row."""
        return (outputs(geometry),)

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """(*kernel, C, F) -> (K'·C, b·F): a shifted copy for each output in a row, beside each other."""
        (b, joined), step, taps = _joined(geometry), geometry.stride[-1], geometry.kernel[-1]
        if b == 1:
            return super().prepare(work, w, geometry)
        shape = (*joined.kernel, geometry.channels, b, geometry.filters)
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
        flat = work.flat(out, (windows.shape[0], joined.filters)) if even else None
        product = work.matmul("product", windows, weight, flat)
        if flat is not None:
            return out
        # (n·O/b, b·F) -> (n, *O/b, b, F) -> (n, *O, F), axes split and then merged, as Dask wants it
        whole = work.xp.reshape(product, (slab.shape[0], *rows, b, geometry.filters))
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
        gradient = work.copy("gradient", dz, (windows.shape[0], joined.filters))
        product = work.matmul("product", windows.T, gradient)
        product = xp.reshape(product, (joined.products, b, geometry.filters))
        product = xp.reshape(product, (*joined.kernel, geometry.channels, b, geometry.filters))
        # (*K', C, b, F) -> (*K', b, C, F)
        return xp.moveaxis(product, -2, -3)

    def finish(self, work: Workspace, total: Array, geometry: Geometry) -> Array:
        """(*K', b, C, F) -> (*kernel, C, F): add up what the copies of the weight got."""
        step, taps = geometry.stride[-1], geometry.kernel[-1]
        found = None
        for i in range(total.shape[-3]):
            found = work.add("summed", found, total[..., i * step : i * step + taps, i, :, :])
        return found


def outputs(geometry: Geometry) -> int:
    """Choose how many neighbouring outputs go into a row: two at least where windows may overlap, the least work."""
    if geometry.kernel[-1] == 1 or geometry.dilation[-1] > 1 or geometry.groups > 1:
        return 1
    return _outputs(geometry.kernel, geometry.stride[-1], geometry.output[-1], geometry.channels, geometry.filters)


@lru_cache(maxsize=1024)
def _outputs(kernel: Ints, stride: int, length: int, channels: int, filters: int) -> int:
    def cost(b: int) -> float:
        above = math.prod(kernel[:-1])
        columns = above * (kernel[-1] + (b - 1) * stride) * channels
        row = charged_products(1, columns, b * filters) + COPIED * columns + PIECE * above
        return -(-length // b) * row

    return min(range(2, min(MOST, length) + 1), key=cost, default=1)


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
    return Work(
        # in a padding mode, a second slab
        elements=-(-joined.products // b) + geometry.filters + (geometry.mode != "zeros") * geometry.channels,
        multiply_adds=charged_products(1, joined.products, joined.filters) * rows,
        # the results are looked at for NaN, or the gradient is copied
        moved=math.ceil(2 * joined.products * rows) + geometry.filters,
        runs=math.prod(geometry.kernel[:-1]) * rows,
        calls=CALLS,
        domain=joined.products * joined.filters,
        step=(*(1,) * (geometry.rank - 1), b),
    )


def _columns(work: Workspace, slab: Array, joined: Geometry, rows: Ints) -> Array:
    """(n, *slab, C) -> (n·O/b, K'·C)."""
    slab = work.extend("columns", slab, joined.kernel, joined.stride, rows)
    return columns(work, slab, joined, rows)
