"""Windows multiplied where they lie: a batch of products for each row of the kernel, and no window is copied.

The padded images are one long line of pixels, and the row of a window that begins at pixel p is kw * C numbers of it,
side by side. Every kw-th window overlaps none of the others, so those are a matrix whose rows are kw * C apart; the kw
matrices that begin at the pixels 0 ... kw - 1 overlap each other, and are a batch, C apart:

    z[p] = sum over the rows t of the kernel of line[p + t] (kw·C) @ weight[t] (kw·C, F)

Windows that reach over the end of a row of the image are computed too and never read. The gradient of the weight is
summed over the same matrices, transposed, times the gradient of the output, with zeros where there is no output.

Source: the layout of rows is that of "im2row" without the copy, as in M. Cho, D. Brand, "MEC: memory-efficient
convolution for deep neural network", ICML 2017, which lowers along one axis only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from xpconv._arrays.cublas import Matrices, Sizes, multiply
from xpconv._arrays.types import Array
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work.workspace import Workspace
from xpconv.algorithms.base import Algorithm
from xpconv.algorithms.cost import Work, charged_products


class Rows(Algorithm):
    """The algorithm."""

    exact = False  # of floats it is; integers have no such products
    overlaps = narrow = True
    spreads_gradient = True  # a NaN in the images times the zeros between rows of outputs
    copies_weight = True

    def refuses(self, geometry: Geometry) -> str:
        """Say why this geometry cannot be served; empty if it can."""
        if max(geometry.stride) > 1 or geometry.dilation[-1] > 1:
            return "serves stride 1 only, without dilation along the last axis"
        if geometry.kernel[-1] == 1 or geometry.groups > 1:
            return "serves one group only, and two taps or more along the last axis"
        return ""

    def behind(self, geometry: Geometry) -> int:
        """Count what the last rows of the matrices may read."""
        return geometry.kernel[-1] - 1

    def forward_work(self, geometry: Geometry) -> Work:
        """Copy the pixels, multiply all positions, add to the sum of all but the first, copy out."""
        filters, sums = geometry.filters, math.prod(geometry.kernel[:-1])
        more = _more(geometry)
        return Work(
            elements=filters,
            multiply_adds=more * charged_products(1, geometry.products, filters),
            moved=math.ceil(more * (2 * geometry.channels + 2 * filters * (sums - 1)) + 2 * filters),
            runs=0,
            calls=3 + sums,
            prepared=geometry.products * filters,
            read=filters,
        )

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Copy the pixels and the gradient, multiply all positions."""
        filters, more = geometry.filters, _more(geometry)
        return Work(
            elements=filters,
            multiply_adds=more * charged_products(1, geometry.products, filters),
            moved=math.ceil(more * 2 * (geometry.channels + filters)),
            runs=0,
            calls=5 + geometry.taps // math.prod(geometry.kernel[-2:-1]),
            read=filters,
        )

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """(*kernel, C, F) -> (*kernel, C, F), in one piece."""
        return w if w.flags.c_contiguous else w.copy()

    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """(n, *slab, C) -> (n, *output, F), a view of what all positions give."""
        channels, filters, along = geometry.channels, geometry.filters, geometry.kernel[-1]
        z = work.space.empty((*slab.shape[:-1], filters), work.sums)
        sizes = Sizes(along, _count(slab, geometry, output), along * channels, filters)
        for number, (_, start) in enumerate(_rows(slab, geometry)):
            windows = Matrices(slab, along * channels, channels, start * channels)
            row = Matrices(weight, filters, 0, number * along * channels * filters)
            multiply(windows, row, Matrices(z, along * filters, filters), sizes, add=number > 0)
        return z[(slice(None), *map(slice, output), slice(None))]

    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """(n, *slab, C), (n, *output, F) -> (*kernel, C, F): the rows along the axis before the last are a batch."""
        channels, filters, along = geometry.channels, geometry.filters, geometry.kernel[-1]
        after = [(0, have - needed) for have, needed in zip(slab.shape[1:-1], output, strict=True)]
        gradient = work.pad("gradient", dz, [(0, 0), *after, (0, 0)], 0)
        dw = work.space.empty(geometry.kernel_shape, work.sums)
        batch, size = math.prod(geometry.kernel[-2:-1]), along * channels * filters
        sizes = Sizes(batch, along * channels, _count(slab, geometry, output), filters)
        apart = slab.shape[-2] * geometry.dilation[-2] * channels if geometry.rank > 1 else 0
        for number, (tap, start) in enumerate(_rows(slab, geometry)):
            if any(tap[-2:-1]):
                continue
            for first in range(along):
                windows = Matrices(slab, along * channels, apart, (start + first) * channels)
                grads = Matrices(gradient, along * filters, 0, first * filters)
                part = Matrices(dw, filters, size, number * size)
                multiply(windows, grads, part, sizes, add=first > 0, transposed=True)
        return dw


def _more(geometry: Geometry) -> float:
    """Give the positions that are multiplied for each output."""
    padded = math.prod(geometry.slab_size(axis, n) for axis, n in enumerate(geometry.output))
    return padded / math.prod(geometry.output)


def _count(slab: Array, geometry: Geometry, output: Ints) -> int:
    """Count the rows of a matrix: up to the window of the last output, every so-many-th of those that begin a pixel."""
    last: int = slab.shape[0] - 1
    for have, needed in zip(slab.shape[1:-1], output, strict=True):
        last = last * have + needed - 1
    return last // geometry.kernel[-1] + 1


def _rows(slab: Array, geometry: Geometry) -> Iterator[tuple[Ints, int]]:
    """Give the rows of the kernel: their taps along the other axes, a zero for the last, and how many pixels on."""
    for tap, offset in geometry.offsets():
        if tap[-1] == 0:
            start = 0
            for have, at in zip(slab.shape[1:-1], offset, strict=True):
                start = start * have + at
            yield tap, start
