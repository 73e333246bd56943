"""Tiled im2col: copy each window of a tile into a row, then one matrix product with the weight.

    columns (n·O, K·C) @ weight (K·C, F) -> (n·O, F)

and for the gradient of the weight columns.T (K·C, n·O) @ dz (n·O, F). The columns exist for one tile at a time, so they
stay in the cache. With groups the matrices are stacked, one for each group.

Source: K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for document processing",
2006; the tiling follows S. Chetlur et al., "cuDNN: efficient primitives for deep learning", 2014.
"""

from __future__ import annotations

import math

from xpconv._arrays.dtypes import cast
from xpconv._arrays.types import Array
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work import traced
from xpconv._work.workspace import Workspace
from xpconv.algorithms.base import Algorithm
from xpconv.algorithms.cost import Work, charged_products
from xpconv.algorithms.exact import product as multiply

ITEM = 1 / 3  # of the time of a contiguous piece takes one of a group's channels, of which many are copied in a call


class Gemm(Algorithm):
    """The algorithm."""

    copies_weight = narrow = True

    def noted(self, geometry: Geometry) -> bool:
        """All are."""
        return True

    def noted_gradient(self, geometry: Geometry) -> bool:
        """All are."""
        return True

    def panelled(self, geometry: Geometry) -> Ints | None:
        """(K·C, F)."""
        return None if geometry.groups > 1 else (geometry.products, geometry.filters)

    def forward_work(self, geometry: Geometry) -> Work:
        """Write and read the columns, one product."""
        columns, runs = _columns_work(geometry)
        groups, filters = geometry.groups, geometry.filters
        products = groups * charged_products(1, geometry.products, filters // groups)
        copied = geometry.products * filters if groups > 1 or geometry.taps > 1 else 0
        return Work(columns + filters, products, 2 * columns + filters * (groups > 1), runs, prepared=copied)

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Write and read the columns, one product with the gradient."""
        columns, runs = _columns_work(geometry)
        groups, filters = geometry.groups, geometry.filters
        products = groups * charged_products(1, geometry.products, filters // groups)
        return Work(columns + filters, products, 2 * columns + filters, runs)

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """(*kernel, C/G, F) -> (K·C, F), or (G, K·C/G, F/G) with groups."""
        xp = work.xp
        if geometry.groups == 1:
            return xp.reshape(w, (geometry.products, geometry.filters))
        w = xp.reshape(w, (geometry.products, geometry.groups, -1))
        # (K·C/G, G, F/G) -> (G, K·C/G, F/G)
        return xp.permute_dims(w, (1, 0, 2))

    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """Multiply the windows with the weight."""
        shape = (slab.shape[0], *output, geometry.filters)
        windows = columns(work, slab, geometry, output)
        if geometry.groups == 1:
            flat = work.flat(out, (windows.shape[0], geometry.filters))
            if flat is not None:
                multiply(work, "product", windows, weight, flat)
                return out
            return work.xp.reshape(multiply(work, "product", windows, weight), shape)
        product = multiply(work, "product", windows, weight)
        # (G, n·O, F/G) -> (n·O, G, F/G)
        turned = work.xp.permute_dims(product, (1, 0, 2))
        flat = work.flat(out, turned.shape)
        if flat is not None:
            work.write(flat, turned)
            return out
        return work.copy("turned", turned, shape, product.dtype)

    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """Multiply the transposed windows with the gradient of the output."""
        xp, groups = work.xp, geometry.groups
        windows = columns(work, slab, geometry, output)
        rows = windows.shape[-2]
        if groups == 1:
            product = multiply(work, "product", windows.T, work.copy("gradient", dz, (rows, geometry.filters)))
            return xp.reshape(product, geometry.kernel_shape)
        # (n·O, G, F/G) -> (G, n·O, F/G)
        stacked = xp.permute_dims(xp.reshape(work.copy("gradient", dz, dz.shape), (rows, groups, -1)), (1, 0, 2))
        product = multiply(work, "product", xp.permute_dims(windows, (0, 2, 1)), stacked)
        return work.copy("turned", xp.permute_dims(product, (1, 0, 2)), geometry.kernel_shape, product.dtype)


def _columns_work(geometry: Geometry) -> tuple[int, float]:
    columns = geometry.taps * geometry.channels
    if geometry.groups > 1:
        return columns, ITEM * columns // (geometry.channels // geometry.groups)
    merged = geometry.kernel[-1] if geometry.dilation[-1] == 1 else 1  # neighbouring taps lie side by side
    return columns, geometry.taps // merged


def columns(work: Workspace, slab: Array, geometry: Geometry, output: Ints) -> Array:
    """(n, *slab, C) -> (n·O, K·C), or (G, n·O, K·C/G) with groups."""
    xp, groups = work.xp, geometry.groups
    rows = slab.shape[0] * math.prod(output)
    if not work.traits.strided:
        if work.space.loops and geometry.taps > 1:
            joined = traced.columns(work.space, cast(xp, slab, work.factors), geometry, output, groups)
        else:
            taps = []
            for _, offset in geometry.offsets():
                tap = slab[(slice(None), *geometry.tap_slices(offset, output), slice(None))]
                taps.append(xp.reshape(tap, (rows, groups, -1)))
            joined = cast(xp, taps[0] if len(taps) == 1 else xp.concat(taps, axis=-1), work.factors)
        # (n·O, G, K·C/G) -> (G, n·O, K·C/G)
        return xp.reshape(joined, (rows, -1)) if groups == 1 else xp.permute_dims(joined, (1, 0, 2))
    if geometry.taps == groups == max(geometry.stride) == 1:
        return work.copy("columns", slab, (rows, geometry.products))
    view = work.space.windows(slab, geometry.kernel, output, geometry.stride, geometry.dilation)
    if groups == 1:
        return work.copy("columns", view, (rows, geometry.products))
    # (n, *O, *K, C) -> (G, n, *O, *K, C/G)
    view = xp.moveaxis(xp.reshape(view, (*view.shape[:-1], groups, -1)), -2, 0)
    return work.copy("columns", view, (groups, rows, geometry.products))
