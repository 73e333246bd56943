"""The definition, tap by tap: each tap's pixels times its slice of the weight, summed over the taps.

    z[n, o] = sum over k of slab[n, o * stride + k * dilation] @ w[k]

Where each group has one output channel and few input channels (depthwise above all) a tap's matrix product is thin, so
it becomes element-wise multiplications over the channels. Where there are few output channels in all (the gradient of
photographs), one product of all taps and output channels with all pixels,

    products (K·F, n·P) = weight (K·F, C) @ slab.T,    z[f, n, o] = sum over k of products[k, f, n, o + k],

so that the sum over the taps is a sum of shifted planes. Otherwise it is one (stacked) matrix product for each tap.
"""

from __future__ import annotations

import math
from typing import Any

from xpconv._arrays.dtypes import cast
from xpconv._arrays.types import Array
from xpconv._arrays.views import contiguous
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work import traced
from xpconv._work.fused import neighbours
from xpconv._work.workspace import Workspace
from xpconv.algorithms.base import Algorithm
from xpconv.algorithms.cost import Work, charged_products
from xpconv.algorithms.exact import product as multiply

THIN = 4  # input channels in a group up to which a tap is multiplied element by element
APART = 3  # times as long as charged take products of groups whose pixels lie apart (4 to 16 channels each)
FEW = 8  # output channels up to which all taps are multiplied with every pixel


class Direct(Algorithm):
    """The algorithm."""

    by_tap = True

    def noted(self, geometry: Geometry) -> bool:
        """Not the stacks of groups that are turned at the end."""
        return geometry.groups == 1 or _is_thin(geometry)

    def noted_gradient(self, geometry: Geometry) -> bool:
        """Only sums of products for each channel."""
        return geometry.depthwise

    def forward_work(self, geometry: Geometry) -> Work:
        """Copy each tap's pixels, multiply, add up."""
        c, f = geometry.channels, geometry.filters
        if _is_few(geometry):
            planes = geometry.taps * f
            thick = (1 << 20) // (
                2 * c + planes
            )  # tiles of a few MiB, beside which what two of them read counts little
            return Work(
                elements=2 * f,
                multiply_adds=1.5 * charged_products(1, c, planes),
                moved=c + 4 * f,
                runs=1 + planes // geometry.output[-1],
                calls=2 * geometry.taps,
                fused=1.4 * planes,
                read=c + planes,
                prepared=c * planes,
                thick=thick,
            )
        if geometry.depthwise:
            return _depthwise_work(geometry)
        if _is_thin(geometry):
            return Work(2 * f, 0, geometry.products * 5 * f, geometry.products, calls=3 * geometry.products)
        products = _products(geometry)
        return Work(c + 2 * f, products, geometry.taps * (2 * c + 3 * f), geometry.taps, calls=3 * geometry.taps + 3)

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Copy each tap's pixels and multiply them with the gradient."""
        c, f = geometry.channels, geometry.filters
        if geometry.depthwise:
            return _depthwise_work(geometry)
        if _is_thin(geometry):
            return Work(2 * f, 0, geometry.products * 4 * f, geometry.products, calls=3 * geometry.products)
        products = _products(geometry)
        return Work(c + f, products, geometry.taps * 2 * c + f, geometry.taps, calls=3 * geometry.taps + 3)

    def multiplies(self, geometry: Geometry) -> bool:
        """Not where a tap is multiplied element by element."""
        return not (geometry.depthwise or _is_thin(geometry))

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """(*kernel, C/G, F) -> itself, or (*kernel, C/G, G, F/G) with groups, or (K·F, C) for few output channels."""
        if _is_few(geometry):
            xp = work.xp
            rank = geometry.rank
            # (*K, C, F) -> (K·F, C), copied once at most, whatever order it lies in
            return contiguous(
                xp, xp.reshape(xp.permute_dims(w, (*range(rank), rank + 1, rank)), (-1, geometry.channels))
            )
        if geometry.groups == 1:
            return w
        return work.xp.reshape(w, (*w.shape[:-1], geometry.groups, -1))

    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """Sum over the taps."""
        xp, groups = work.xp, geometry.groups
        n = slab.shape[0]
        if geometry.depthwise:
            matrix = xp.reshape(cast(xp, weight, work.sums), (*geometry.kernel, geometry.filters))
            return work.window_products("sum", slab, matrix, geometry, output, out)
        if _is_few(geometry):
            return _sum_of_planes(work, slab, weight, geometry, output)
        if traced.in_a_loop(work.space, geometry):
            flat = xp.reshape(weight, (geometry.taps, *weight.shape[geometry.rank :]))

            def share(number: Any) -> Array:
                pixels = traced.tap(work.space, slab, geometry, output, number)
                return _add_tap(work, None, pixels, flat[number, ...], geometry)

            total = traced.total(work.space, geometry.taps, share)
        else:
            total = None
            for tap, offset in geometry.offsets():
                part = slab[(slice(None), *geometry.tap_slices(offset, output), slice(None))]
                total = _add_tap(work, total, part, weight[(*tap, ...)], geometry)
        if groups > 1 and not _is_thin(geometry):
            total = xp.permute_dims(total, (1, 0, 2))
        return xp.reshape(total, (n, *output, geometry.filters))

    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """Correlate each tap's pixels with the gradient of the output."""
        xp, groups = work.xp, geometry.groups
        if geometry.depthwise:
            return xp.reshape(work.window_products_grad(slab, dz, geometry, output), geometry.kernel_shape)
        rows = slab.shape[0] * math.prod(output)
        factors = work.sums if _is_thin(geometry) else work.factors
        gradient = xp.reshape(work.copy("gradient", dz, dz.shape, factors), (rows, groups, -1))
        if traced.in_a_loop(work.space, geometry):

            def value(number: Any) -> Array:
                pixels = traced.tap(work.space, slab, geometry, output, number)
                return _tap_grad(work, "product", pixels, gradient, geometry)

            found = traced.each(work.space, geometry.taps, value)
        else:
            taps = []
            for tap, offset in geometry.offsets():
                part = slab[(slice(None), *geometry.tap_slices(offset, output), slice(None))]
                taps.append(_tap_grad(work, f"product {tap}", part, gradient, geometry))
            found = work.stack(taps)
        return xp.reshape(found, geometry.kernel_shape)


def _add_tap(work: Workspace, total: Array | None, part: Array, matrix: Array, geometry: Geometry) -> Array:
    """Add the products of a tap's pixels (n, *O, C) to the running sum."""
    xp, groups = work.xp, geometry.groups
    rows = math.prod(part.shape[:-1])
    if groups == 1:
        pixels = work.copy("tap", part, (rows, geometry.channels))
        return work.add("sum", total, multiply(work, "product", pixels, matrix))
    if not _is_thin(geometry):
        pixels = xp.reshape(work.copy("tap", part, part.shape), (rows, groups, -1))
        # (n·O, G, C/G) @ (C/G, G, F/G) -> (G, n·O, F/G)
        product = multiply(work, "product", xp.permute_dims(pixels, (1, 0, 2)), xp.permute_dims(matrix, (1, 0, 2)))
        return work.add("sum", total, product)
    if part.dtype != work.sums:
        part = work.copy("thin", part, part.shape, work.sums)
    pixels, matrix = xp.reshape(part, (*part.shape[:-1], groups, -1)), cast(xp, matrix, work.sums)
    for channel in range(pixels.shape[-1]):
        product = work.call("product", "multiply", pixels[..., channel : channel + 1], matrix[channel, ...])
        total = work.add("sum", total, product)
    return total


def _tap_grad(work: Workspace, name: str, part: Array, gradient: Array, geometry: Geometry) -> Array:
    """(n, *O, C), (n·O, G, F/G) -> (C/G, F): correlate a tap's pixels with the gradient."""
    xp, groups = work.xp, geometry.groups
    factors = work.sums if _is_thin(geometry) else work.factors
    pixels = xp.reshape(work.copy("tap", part, part.shape, factors), (gradient.shape[0], groups, -1))
    if not _is_thin(geometry):
        # (G, C/G, n·O) @ (G, n·O, F/G) -> (C/G, G, F/G)
        transposed = xp.permute_dims(pixels, (1, 2, 0))
        product = multiply(work, name, transposed, xp.permute_dims(gradient, (1, 0, 2)))
        return xp.reshape(xp.permute_dims(product, (1, 0, 2)), (-1, geometry.filters))
    channels = []
    for channel in range(pixels.shape[-1]):
        product = work.call("product", "multiply", pixels[..., channel : channel + 1], gradient)
        channels.append(xp.reshape(xp.sum(product, axis=0, dtype=product.dtype), (geometry.filters,)))
    return work.stack(channels)


def _products(geometry: Geometry) -> float:
    groups = geometry.groups
    products = geometry.taps * groups * charged_products(1, geometry.channels // groups, geometry.filters // groups)
    return products * (APART if groups > 1 else 1)


def _is_thin(geometry: Geometry) -> bool:
    return 1 < geometry.groups == geometry.filters and geometry.channels // geometry.groups <= THIN


def _is_few(geometry: Geometry) -> bool:
    alone = max(geometry.stride) == max(geometry.dilation) == geometry.groups == 1
    return alone and geometry.filters <= min(FEW, geometry.channels // 2) and geometry.taps > 1


def _depthwise_work(geometry: Geometry) -> Work:
    f = geometry.filters
    merged = neighbours(geometry.output[-1], f, geometry.taps) if geometry.stride[-1] == 1 else 1
    return Work(2 * f, 0, 4 * f, math.ceil(geometry.taps / merged), fused=geometry.taps * f)


def _sum_of_planes(work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints) -> Array:
    """Multiply every pixel with all taps, and add up the planes, each in its place."""
    xp = work.xp
    pixels = work.copy("pixels", slab, (math.prod(slab.shape[:-1]), geometry.channels))
    products = multiply(work, "product", weight, xp.permute_dims(pixels, (1, 0)))
    planes = xp.reshape(products, (geometry.taps, geometry.filters, *slab.shape[:-1]))
    if traced.in_a_loop(work.space, geometry):
        shape = (1, geometry.filters, slab.shape[0], *output)

        def plane(number: Any) -> Array:
            _, *spots, _ = traced.starts_of(geometry.kernel, geometry.dilation, number)
            return work.space.part(planes, (number, 0 * number, 0 * number, *spots), shape)[0, ...]

        total = traced.total(work.space, geometry.taps, plane)
    else:
        total = None
        for tap, (_, offset) in enumerate(geometry.offsets()):
            view = planes[(tap, slice(None), slice(None), *geometry.tap_slices(offset, output))]
            total = work.add("sum", total, view)
    # (F, n, *O) -> (n, *O, F)
    return xp.permute_dims(total, (*range(1, geometry.rank + 2), 0))
