"""Winograd's minimal filtering: kernels and small tiles of pixels are evaluated at a few points, and multiplied there.

A tile of m outputs of a kernel with r taps reads n = m + r - 1 pixels. With polynomials evaluated at n points (n - 1
numbers and infinity),

    z = A' [(G w) * (B' x)]          gradient of the kernel: G' [(B' x) * (A dz)]

so n products serve m outputs instead of m r. Along several axes the matrices are applied one axis after another, each
a matrix product, to data laid out (points, tiles, channels), and at each of the P points there is one of the channels:

    (P, T, C) @ (P, C, F) -> (P, T, F)

Sources: S. Winograd, "Arithmetic complexity of computations", SIAM, 1980; A. Lavin, S. Gray, "Fast algorithms for
convolutional neural networks", CVPR 2016; for the choice of points B. Barabasz et al., "Error analysis and improving
the accuracy of Winograd convolution for deep neural networks", ACM TOMS 46 (2020). The matrices follow from the points
in exact rationals.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv._arrays.types import Array
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work.workspace import Workspace
from xpconv.algorithms.base import Algorithm
from xpconv.algorithms.cost import Work, charged_products
from xpconv.algorithms.spectra import Spectra

Matrix = list[list[Fraction]]

# Largest error in float32 over the largest output, 256 channels of normal numbers, as measured by
# `python -m bench points`: 4 points 6e-7, 6 points 3e-6 (1e-5 with 0, +-1, +-2), 8 points 1e-5.
POINTS: dict[int, tuple[Fraction, ...]] = {
    4: (Fraction(0), Fraction(1), Fraction(-1)),
    6: (Fraction(0), Fraction(2, 3), Fraction(-2, 3), Fraction(3, 2), Fraction(-3, 2)),
    8: tuple(Fraction(*p) for p in ((0, 1), (4, 7), (-4, 7), (1, 1), (-1, 1), (7, 4), (-7, 4))),
}
LONGEST = {4: 3, 6: 5, 8: 7}  # taps that so many points serve; with fewer taps the outer points cost accuracy
SHORTEST = {4: 2, 6: 2, 8: 6}
MOST_MAGNIFIED = 500.0  # more points along an axis only as long as rounding errors stay below this
# Tiles in one of the driver's: fewer, and the products are bound by reading the weight, and threads by waiting for the
# interpreter between array calls (measured on two cores: 12.7 ms with 56 of 64 channels, 6.2 ms with 196).
FEWEST_TILES, MOST_TILES = 100, 256
PIECES = 8  # that a call is cut into if the tiles suffice


@dataclass(frozen=True)
class Transform:
    """The matrices of F(m, r) along one axis, in float64."""

    output: np.ndarray[Any, Any]  # A', (m, n)
    weight: np.ndarray[Any, Any]  # G, (n, r)
    pixels: np.ndarray[Any, Any]  # B', (n, n)


@lru_cache(maxsize=64)
def transform(count: int, taps: int) -> Transform:
    """Round the matrices for `count` points and a kernel of so many taps; one point stands for an axis left alone."""
    if count == 1:
        one = np.ones((1, 1))
        return Transform(one, one, one)
    return Transform(*(np.array(matrix, dtype=float) for matrix in exact_matrices(count, taps)))


def exact_matrices(count: int, taps: int, points: Sequence[Fraction] | None = None) -> tuple[Matrix, Matrix, Matrix]:
    """Derive A', G and B' from the points, those of POINTS or others, and infinity."""
    points = POINTS[count] if points is None else points
    others = [[q for q in points if q != p] for p in points]
    values = [math.prod((p - q for q in rest), start=Fraction(1)) for p, rest in zip(points, others, strict=True)]

    def powers(width: int) -> list[list[Fraction]]:
        """Evaluate 1, t, t^2, … at each point; infinity sees the leading coefficient."""
        finite = [[p**j for j in range(width)] for p in points]
        return [*finite, [Fraction(int(j == width - 1)) for j in range(width)]]

    weight = [[v / d for v in row] for row, d in zip(powers(taps), (*values, Fraction(1)), strict=True)]
    pixels = [[*_polynomial(rest), Fraction(0)] for rest in others] + [_polynomial(points)]
    output = [list(column) for column in zip(*powers(count - taps + 1), strict=True)]
    # powers of two taken from one matrix and given to the other change no rounding
    scale = [Fraction(2) ** round(math.log2(max(map(abs, row)))) for row in pixels]
    weight = [[v * s for v in row] for row, s in zip(weight, scale, strict=True)]
    return output, weight, [[v / s for v in row] for row, s in zip(pixels, scale, strict=True)]


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the monic polynomial with these roots, the constant first."""
    result = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *result]
        result = [a - root * b for a, b in zip(shifted, [*result, Fraction(0)], strict=True)]
    return result


@lru_cache(maxsize=256)
def _matrix(name: str, count: int, taps: int, absolute: bool) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = getattr(transform(count, taps), name.removesuffix("'"))
    found = found.T if name.endswith("'") else found
    return np.abs(found) if absolute else found


@lru_cache(maxsize=256)
def _gain(count: int, taps: int) -> float:
    names = ("output", "weight", "pixels", "output'", "weight'", "pixels'")
    sums = [float(s) for name in names for s in _matrix(name, count, taps, True).sum(axis=1)]
    return max(1.0, *sums, *(1 / s for s in sums if s))


def _options(taps: int) -> list[int]:
    """Numbers of points that serve an axis."""
    if taps == 1:
        return [1]
    return [n for n in POINTS if SHORTEST[n] <= taps <= LONGEST[n]]


@lru_cache(maxsize=1024)
def points(kernel: Ints, output: Ints, batch: int, channels: int, filters: int) -> Ints:
    """Choose the number of points along each axis: the least arithmetic, transforms included."""

    def cost(counts: Ints) -> float:
        steps = [n - r + 1 for n, r in zip(counts, kernel, strict=True)]
        total, block = math.prod(counts), math.prod(steps)
        tiles = batch * math.prod(-(-o // m) for o, m in zip(output, steps, strict=True))
        # a copied element is charged like eight products
        pixels = total * channels * (2 * sum(counts) + 8)
        filtered = filters * (2 * math.prod(counts[:-1]) * block + 8 * block)
        weight = total * channels * filters * (math.prod(kernel) + 8)
        return tiles * (pixels + filtered + total * channels * filters) + weight

    choices = list(itertools.product(*map(_options, kernel)))
    accurate = [counts for counts in choices if magnification(counts, kernel) <= MOST_MAGNIFIED]
    return min(accurate or choices, key=cost)


@lru_cache(maxsize=256)
def magnification(counts: Ints, kernel: Ints) -> float:
    """Give the largest sum of abs(A) abs(G) abs(B) over the pixels of a tile, for any output and tap."""
    total = 1.0
    for count, taps in zip(counts, kernel, strict=True):
        a, g, b = (np.abs(_matrix(name, count, taps, False)) for name in ("output", "weight", "pixels"))
        total *= float(((a * b.sum(axis=1)) @ g).max())  # (m, n) * (n,) @ (n, r)
    return total


@dataclass(frozen=True)
class Winograd(Algorithm):
    """The algorithm; with `absolute`, on absolute values of everything, for its error bound."""

    absolute: bool = False
    exact = False
    spreads = transforms = True  # a NaN reaches every output of its tile

    def refuses(self, geometry: Geometry) -> str:
        """Say why this geometry cannot be served; empty if it can."""
        if max(geometry.stride) > 1 or max(geometry.dilation) > 1:
            return "serves stride 1 and dilation 1 only"
        if max(geometry.kernel) > max(LONGEST.values()) or max(geometry.kernel) < 2:
            return f"serves kernels of 2 to {max(LONGEST.values())} taps along an axis only"
        if geometry.groups > 1 and not geometry.channels == geometry.groups == geometry.filters:
            return "serves one group, or one channel and one filter in each group"
        return ""

    def points(self, geometry: Geometry) -> Ints:
        """Give the number of points along each axis."""
        return points(geometry.kernel, geometry.output, geometry.batch, geometry.channels, geometry.filters)

    def step(self, geometry: Geometry) -> Ints:
        """Give the outputs of a tile along each axis."""
        return tuple(n - r + 1 for n, r in zip(self.points(geometry), geometry.kernel, strict=True))

    def forward_work(self, geometry: Geometry) -> Work:
        """Copy the windows, transform, multiply, transform back, write."""
        return self._work(geometry, geometry.filters * (math.prod(self.step(geometry)) + 2), False)

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Copy and transform the windows and the gradient, multiply."""
        return self._work(geometry, geometry.filters * 2 * math.prod(self.step(geometry)), True)

    def _work(self, geometry: Geometry, moved: int, gradient: bool) -> Work:
        counts, step = self.points(geometry), self.step(geometry)
        total, block = math.prod(counts), math.prod(step)
        c, f, depthwise = geometry.channels, geometry.filters, geometry.groups > 1
        tiles = math.prod(-(-o // m) for o, m in zip(geometry.output, step, strict=True))
        share = tiles / math.prod(geometry.output)  # tiles of one image over its pixels, ragged ones too
        # the transforms, whose products with small matrices run at half the rate
        products = 2 * total * (sum(counts) * c + sum(step) * f)
        moved += total * 2 * c
        if depthwise:
            moved += total * 3 * c
        else:
            products += total * charged_products(1, c, f)
        domain = total * (1 if depthwise else c) * f
        thick = min(max(geometry.batch * tiles // PIECES, FEWEST_TILES), MOST_TILES)
        return Work(
            elements=math.ceil(2 * total * (max(c, f) + (max(c, f) if gradient else 0)) / block),
            multiply_adds=products * share,
            moved=math.ceil(moved * share),
            runs=math.ceil(total * share),
            calls=12 + 4 * geometry.rank,
            prepared=domain,
            domain=domain,
            fixed_multiply_adds=domain * geometry.taps,
            fixed_moved=domain * 2,
            step=step,
            thick=thick * block,
        )

    def summed(self, geometry: Geometry) -> int:
        """Count the sums of the three transforms, n or r products along each axis, and the C products for each point.

        The numbers in the three matrices of an axis are rounded, too.
        """
        depth = geometry.channels // geometry.groups
        return depth + 2 * sum(self.points(geometry)) + sum(geometry.kernel) + 3 * geometry.rank

    def summed_pixels(self, geometry: Geometry, tile: Ints) -> int:
        """Count the sums of the three transforms, n or m products along each axis, and one product for each tile."""
        counts, step = self.points(geometry), self.step(geometry)
        tiles = tile[0] * math.prod(-(-o // m) for o, m in zip(tile[1:], step, strict=True))
        return tiles + 2 * sum(counts) + sum(step) + 3 * geometry.rank

    def grain(self, geometry: Geometry) -> float:
        """Take the largest sum of a row or a column that follows what underflows, and the least that precedes it."""
        counts = self.points(geometry)
        return 4 * sum(counts) * math.prod(itertools.starmap(_gain, zip(counts, geometry.kernel, strict=True)))

    def matrices(self, geometry: Geometry) -> int:
        """Count a product for each transform of each axis, and that of the channels."""
        return 1 + 3 * geometry.rank

    def panelled(self, geometry: Geometry) -> Ints | None:
        """(C, F), at each point."""
        return None if geometry.groups > 1 else (geometry.channels, geometry.filters)

    @property
    def of_magnitudes(self) -> Algorithm:
        """Take absolute values of everything."""
        return Winograd(absolute=True)

    def amplification(self, geometry: Geometry) -> float:
        """Say by how much rounding errors are magnified, for numbers of one size."""
        return magnification(self.points(geometry), geometry.kernel)

    def prepared_shape(self, geometry: Geometry, *, complex_data: bool) -> Ints:
        """(P, C, F), or (P, 1, C) for one channel in each group."""
        return (math.prod(self.points(geometry)), geometry.channels // geometry.groups, geometry.filters)

    def form(self, geometry: Geometry) -> Ints:
        """Give the points along each axis."""
        return self.points(geometry)

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """(*kernel, C, F) -> (P, C, F): G w."""
        found = self._apply(work, "weight", work.copy("left", w, w.shape, work.sums), geometry, out=out)
        return work.xp.reshape(found, (-1, w.shape[-2], w.shape[-1])) if out is None else out

    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """Transform the windows, multiply, transform back."""
        counts, step = self.points(geometry), self.step(geometry)
        windows = work.gather("left", slab, counts, step, output)

        def transformed() -> Array:
            found = work.xp.reshape(
                self._apply(work, "pixels", windows, geometry), (math.prod(counts), -1, geometry.channels)
            )
            # two buffers hold everything in turn
            here, there = ("left", "right") if sum(n > 1 for n in counts) % 2 == 0 else ("right", "left")
            product = Spectra(work, geometry).forward(there, found, weight)
            blocks = work.xp.reshape(product, (*windows.shape[:-1], geometry.filters))
            return self._apply(work, "output", blocks, geometry, (here, there))

        blocks = work.again((id(weight), windows.shape), transformed)
        return work.interleave("whole", blocks, output, out)

    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """Transform the windows and the gradient, multiply: (P, C, F)."""
        counts, step, xp = self.points(geometry), self.step(geometry), work.xp
        windows = work.gather("left", slab, counts, step, output)
        gradient = work.gather("gradient", dz, step, step, output)
        spectra = Spectra(work, geometry)

        def product() -> Array:
            pixels = self._apply(work, "pixels", windows, geometry)
            spread = self._apply(work, "output'", gradient, geometry, ("gradient there", "gradient"))
            pixels = xp.reshape(pixels, (math.prod(counts), -1, geometry.channels))
            spread = xp.reshape(spread, (math.prod(counts), -1, geometry.filters))
            return spectra.weight_grad("product", pixels, spread)

        # element-wise products are summed as well, which is not noted
        return product() if spectra.thin else work.again((windows.shape, gradient.shape), product)

    def finish(self, work: Workspace, total: Array, geometry: Geometry) -> Array:
        """(P, C, F) -> (*kernel, C, F): G' applied to the sum over all tiles."""
        spread = work.xp.reshape(total, (*self.points(geometry), *total.shape[1:]))
        return self._apply(work, "weight'", work.copy("left", spread, spread.shape, work.sums), geometry)

    def _apply(
        self,
        work: Workspace,
        name: str,
        data: Array,
        geometry: Geometry,
        buffers: tuple[str, str] = ("right", "left"),
        out: Array | None = None,
    ) -> Array:
        """(*n, …) -> (*m, …): multiply with the matrix of each axis, in two buffers in turn.

        `buffers` names one that is free, and one that is used: `data` lies there, or in none.

        The result of an even number of axes lies in the used one, of an odd one in the free one; or with `out`, an
        array (M, …) of all M points one after the other, there.
        """
        (free, used), xp, rank = buffers, work.xp, geometry.rank
        last = max(axis for axis, count in enumerate(self.points(geometry)) if count > 1)
        sizes, tail = list(data.shape[:rank]), data.shape[rank:]
        for axis, (count, taps) in enumerate(zip(self.points(geometry), geometry.kernel, strict=True)):
            if count == 1:
                continue
            values = _matrix(name, count, taps, self.absolute)
            m = work.space.constant((name, count, taps, self.absolute), values, data.dtype)
            # (before, n, after) -> (before, m, after)
            data = xp.reshape(data, (math.prod(sizes[:axis]), sizes[axis], -1))
            place = None if out is None or axis < last else out.reshape((data.shape[0], values.shape[0], -1))
            data = work.matmul(free, m, data, place)
            sizes[axis] = values.shape[0]
            free, used = used, free
        return xp.reshape(data, (*sizes, *tail))
