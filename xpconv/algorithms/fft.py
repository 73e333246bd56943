"""Fast Fourier transforms, tile by tile: overlap-save.

A tile of m outputs of a kernel of span r reads n = m + r - 1 pixels, the length of its transform; the outputs that the
circular convolution wraps around are those that are not kept.

    z = F^-1 [F x * conj(√N F w)]          gradient of the kernel: √N F^-1 [F x * conj(F dz)]

F keeps norms, as a transform of N points divided by √N: NumPy computes an unscaled transform of float32 in float64, in
2.4 to 8 times the time. Real arrays take real transforms. Data lie as (*n, tiles, channels), so the products at one
frequency are one matrix product:

    (P, T, C) @ (P, C, F) -> (P, T, F)

Source: A. Oppenheim, R. Schafer, "Discrete-time signal processing", section 8.7 (overlap-save).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from xpconv._arrays.dtypes import is_kind
from xpconv._arrays.types import Array
from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work.workspace import Workspace
from xpconv.algorithms.base import Algorithm
from xpconv.algorithms.cost import Work, charged_products
from xpconv.algorithms.spectra import Spectra

LENGTHS = sorted(
    2**a * 3**b * 5**c
    for a, b, c in itertools.product(range(15), range(4), range(3))
    if 2 <= 2**a * 3**b * 5**c <= 8192
)
MOST_POINTS = 1 << 18  # in a tile of one channel: a plane of 512 x 512, which a second-level cache nearly holds
# tiles that go through the matrix products together, which read the transformed weight (24 x 24 points, 64 channels:
# 0.83 ms for one tile, 1.7 ms for four)
FEWEST_TILES, MOST_TILES = 4, 8
PIECES = 16  # that the tiles are shared out in, if there are enough
STEP_COST = 4.0  # of a point of a transform, for each halving of its length, in multiply-adds of a matrix product


@lru_cache(maxsize=1024)
def lengths(span: Ints, output: Ints, batch: int, depth: int, channels: int, filters: int) -> Ints:
    """Choose the transform's length along each axis: the least arithmetic a call, the kernel's transform included."""
    choices = []
    for r, o in zip(span, output, strict=True):
        fits = [n for n in LENGTHS if n >= r] or [r]
        enough = next((i for i, n in enumerate(fits) if n >= r + o - 1), len(fits) - 1)
        choices.append(fits[: enough + 1] if r > 1 else [1])

    def cost(counts: Ints) -> float:
        total = math.prod(counts)
        steps = [n - r + 1 for n, r in zip(counts, span, strict=True)]
        tiles = batch * math.prod(-(-o // m) for o, m in zip(output, steps, strict=True))
        line = STEP_COST * math.log2(max(total, 2))
        large = max(total / MOST_POINTS, 1) ** 2
        return large * total * (tiles * (line * (channels + filters) + 2 * depth * filters) + line * depth * filters)

    # a few of all sizes, then those near the best
    some = min(itertools.product(*(c[::-1][:: -(-len(c) // 12)] for c in choices)), key=cost)
    places = [(c, c.index(n), -(-len(c) // 12)) for c, n in zip(choices, some, strict=True)]
    return min(itertools.product(*(c[max(i - near, 0) : i + near + 1] for c, i, near in places)), key=cost)


@dataclass(frozen=True)
class Fourier(Algorithm):
    """The algorithm."""

    exact = False
    fourier = True
    spreads = transforms = True  # a NaN reaches every output of its tile

    def refuses(self, geometry: Geometry) -> str:
        """Say why this geometry cannot be served; empty if it can."""
        if max(geometry.stride) > 1:
            return "serves stride 1 only"
        if geometry.groups > 1 and not geometry.channels == geometry.groups == geometry.filters:
            return "serves one group, or one channel and one filter in each group"
        if max(geometry.span) > LENGTHS[-1] // 2:
            return f"serves kernels that span at most {LENGTHS[-1] // 2} pixels"
        return ""

    def lengths(self, geometry: Geometry) -> Ints:
        """Give the length of the transform along each axis."""
        channels, filters = geometry.channels, geometry.filters
        if geometry.depthwise:
            channels = filters = 1  # so that they are those of any block of its channels
        return lengths(
            geometry.span, geometry.output, geometry.batch, geometry.channels // geometry.groups, channels, filters
        )

    def step(self, geometry: Geometry) -> Ints:
        """Give the outputs of a tile along each axis."""
        return tuple(n - r + 1 for n, r in zip(self.lengths(geometry), geometry.span, strict=True))

    def forward_work(self, geometry: Geometry) -> Work:
        """Copy the windows, transform, multiply, transform back, write."""
        return self._work(geometry, 4)

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Copy and transform the windows and the gradient, multiply, add up."""
        return self._work(geometry, 6)

    def _work(self, geometry: Geometry, copies: int) -> Work:
        counts, step = self.lengths(geometry), self.step(geometry)
        total, block = math.prod(counts), math.prod(step)
        half = total // counts[-1] * (counts[-1] // 2 + 1)
        c, f, depth = geometry.channels, geometry.filters, geometry.channels // geometry.groups
        tiles = math.prod(-(-o // m) for o, m in zip(geometry.output, step, strict=True))
        share = tiles / math.prod(geometry.output)
        line = math.log2(max(total, 2))
        products, rows = 0, 1
        if geometry.groups == 1 and f > 1:
            products = half * 4 * charged_products(1, depth, f)
            rows = min(max(geometry.batch * tiles // PIECES, FEWEST_TILES), MOST_TILES)
        return Work(
            # windows, their spectrum (with the copy between two axes), the products and what comes back of them
            elements=math.ceil((total * c + 6 * half * (c + f) + total * f) / block),
            multiply_adds=products * share,
            moved=math.ceil((copies * total * (c + f)) * share),
            runs=math.ceil(total * share),
            calls=20 + 10 * geometry.rank,
            prepared=6 * half * depth * f,
            domain=2 * half * depth * f,
            fixed_moved=4 * total * depth * f,
            points=line * total * (c + f) * share,
            fixed_points=line * total * depth * f,
            area=math.ceil(2 * half * max(c, f) / block),
            fixed_area=2 * half * depth * f,
            step=step,
            thick=rows * block,
        )

    def summed(self, geometry: Geometry) -> int:
        """Count rounding steps: those of the transforms; the sum over the channels.

        A transform of length n is off by at most about 7 u log2(n) of its norm (N. Higham, "Accuracy and stability of
        numerical algorithms", theorem 24.2), u the unit roundoff; the bound's magnitudes are norms accordingly.
        """
        depth = geometry.channels // geometry.groups
        return self._transforms(geometry) + 4 * (depth + 2)

    def summed_pixels(self, geometry: Geometry, tile: Ints) -> int:
        """Count the transforms' steps, as for the convolution, and the sum over the tiles."""
        tiles = tile[0] * math.prod(-(-o // m) for o, m in zip(tile[1:], self.step(geometry), strict=True))
        return self._transforms(geometry) + 4 * (tiles + 2)

    def _transforms(self, geometry: Geometry) -> int:
        """Count rounding steps of three transforms.

        Eight for each halving of the length, three for the scale of each axis, three for what makes up for it.
        """
        halvings = math.ceil(math.log2(max(math.prod(self.lengths(geometry)), 2)))
        return 3 * (8 * halvings + 3 * geometry.rank) + 3

    def grain(self, geometry: Geometry) -> float:
        """Count the points, since what underflows at each adds up in the next transform."""
        return 16.0 * math.prod(self.lengths(geometry))

    @property
    def of_magnitudes(self) -> Algorithm:
        """Take norms."""
        return FourierMagnitude()

    def amplification(self, geometry: Geometry) -> float:
        """Give the norm of a tile of ones."""
        return self._scale(geometry)

    def prepared_shape(self, geometry: Geometry, *, complex_data: bool) -> Ints | None:
        """(P, C/G, F)."""
        counts = self.lengths(geometry)
        points = math.prod(counts[:-1]) * (counts[-1] if complex_data else counts[-1] // 2 + 1)
        return (points, geometry.channels // geometry.groups, geometry.filters)

    def form(self, geometry: Geometry) -> Ints:
        """Give the lengths of the transform."""
        return self.lengths(geometry)

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """(*kernel, C/G, F) -> (P, C/G, F): conj(√N F w), zeros between the taps of a dilated kernel."""
        w = work.copy("kernel", w, w.shape, work.sums)
        found = self._conjugate(work, work.dilate("dilated", w, geometry.dilation), geometry)
        found *= self._scale(geometry)
        if out is None:
            return found
        out[...] = found
        return out

    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """Transform the windows, multiply, transform back."""
        xp, step = work.xp, self.step(geometry)
        product = Spectra(work, geometry).forward("product", self._pixels(work, slab, geometry, output), weight)
        blocks = self._back(work, product, geometry, step)
        tiles = [-(-o // m) for o, m in zip(output, step, strict=True)]
        blocks = xp.reshape(blocks, (*step, slab.shape[0], *tiles, geometry.filters))
        return work.interleave("outputs whole", blocks, output, out)

    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """Transform the windows and the gradient, multiply: (P, C/G, F)."""
        step = self.step(geometry)
        pixels = self._pixels(work, slab, geometry, output)
        gradient = work.gather("gradient", dz, step, step, output)
        gradient = work.xp.reshape(gradient, (*step, -1, geometry.filters))
        return Spectra(work, geometry).weight_grad("product", pixels, self._conjugate(work, gradient, geometry))

    def finish(self, work: Workspace, total: Array, geometry: Geometry) -> Array:
        """(P, C/G, F) -> (*kernel, C/G, F): the sum over all tiles, transformed back."""
        found = self._back(work, total, geometry, geometry.span)
        found = found[(*(slice(0, r, d) for r, d in zip(geometry.span, geometry.dilation, strict=True)), ...)]
        return found * self._scale(geometry)

    def _scale(self, geometry: Geometry) -> float:
        return math.sqrt(math.prod(self.lengths(geometry)))

    def _pixels(self, work: Workspace, slab: Array, geometry: Geometry, output: Ints) -> Array:
        """(n, *slab, C) -> (P, T, C): F x of each tile."""
        counts = self.lengths(geometry)
        windows = work.gather("windows", slab, counts, self.step(geometry), output)
        windows = work.xp.reshape(windows, (*counts, -1, geometry.channels))
        return self._there(work, windows, geometry)

    def _there(self, work: Workspace, data: Array, geometry: Geometry) -> Array:
        """(*at most n, A, B) -> (P, A, B): the transform of the leading axes, zeros after the data."""
        counts = self.lengths(geometry)
        complex_data = is_kind(work.xp, data.dtype, "complex floating")
        function = "fftn" if complex_data else "rfftn"
        found = work.transform(function, data, s=counts, axes=tuple(range(len(counts))), norm="ortho")
        return work.xp.reshape(found, (-1, *found.shape[len(counts) :]))

    def _conjugate(self, work: Workspace, data: Array, geometry: Geometry) -> Array:
        """Give conj(F conj(data)); for real data conj(F data)."""
        if is_kind(work.xp, data.dtype, "complex floating"):
            data = work.xp.conj(data)
        return work.xp.conj(self._there(work, data, geometry))

    def _back(self, work: Workspace, spectrum: Array, geometry: Geometry, size: Ints) -> Array:
        """(P, A, B) -> (*size, A, B): the first elements of the inverse transform, in the dtype of the sums."""
        counts, last = self.lengths(geometry), geometry.rank - 1
        complex_data = is_kind(work.xp, work.sums, "complex floating")
        half = counts[-1] if complex_data else counts[-1] // 2 + 1
        found = work.xp.reshape(spectrum, (*counts[:-1], half, *spectrum.shape[1:]))
        for axis, (n, kept) in enumerate(zip(counts, size, strict=True)):
            function = "irfft" if axis == last and not complex_data else "ifft"
            found = work.transform(function, found, n=n, axis=axis, norm="ortho")
            found = found[(*(slice(None),) * axis, slice(kept), ...)]  # no more than that goes through the next axis
        return found


@dataclass(frozen=True)
class FourierMagnitude(Fourier):
    """What the error of a transformed tile is measured by: the norm of its pixels times the sum of the weight.

    With e the relative error of a transform, in the Euclidean norm, the error of z is at most e ||x|| ||w|| for each of
    the transforms of x and w (Cauchy-Schwarz), and e ||z|| <= e ||x|| sum(abs(w)) for the inverse one.
    """

    def prepared_shape(self, geometry: Geometry, *, complex_data: bool) -> Ints | None:
        """Nothing is transformed."""
        return None

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """(*kernel, C/G, F) -> (C/G, F)."""
        return work.xp.sum(w, axis=tuple(range(geometry.rank)), dtype=w.dtype)

    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """Give each output of a tile the same bound."""
        xp, norms = work.xp, self._norms(work, slab, geometry)
        found = norms * weight if geometry.groups > 1 else work.space.matmul(norms, weight)
        found = self._in_range(found * _own_error(xp, slab, geometry.products), geometry)
        shape = (slab.shape[0], *(1,) * geometry.rank, geometry.filters)
        return xp.reshape(found, shape) + work.space.full((1, *output, 1), 0, found.dtype)

    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """Give the norm of the tile's pixels times the sum of its gradients, for all taps: (1, C/G, F)."""
        xp, norms = work.xp, self._norms(work, slab, geometry)
        sizes = xp.sum(dz, axis=tuple(range(1, geometry.rank + 1)), dtype=dz.dtype)
        if geometry.groups > 1:
            found = xp.sum(norms * sizes, axis=0, keepdims=True, dtype=sizes.dtype)
        else:
            found = work.space.matmul(xp.permute_dims(norms, (1, 0)), sizes)
        found = self._in_range(found * _own_error(xp, slab, math.prod(output) + slab.shape[0]), geometry)
        return xp.reshape(found, (1, -1, geometry.filters))

    def finish(self, work: Workspace, total: Array, geometry: Geometry) -> Array:
        """(1, C/G, F) -> (*kernel, C/G, F)."""
        blank = work.space.full((*geometry.kernel, 1, 1), 0, total.dtype)
        return work.xp.reshape(total, (*(1,) * geometry.rank, *total.shape[1:])) + blank

    def _norms(self, work: Workspace, slab: Array, geometry: Geometry) -> Array:
        """(n, *slab, C) -> (n, C)."""
        xp, axes = work.xp, tuple(range(1, geometry.rank + 1))
        peak = xp.max(slab, axis=axes, keepdims=True)  # squares of scaled values neither overflow nor vanish
        peak = xp.where(peak > 0, peak, xp.ones_like(peak))
        peak = work.space.clip(
            peak, None, float(xp.finfo(slab.dtype).max) ** 0.8
        )  # whose reciprocal is no denormal number
        scaled = xp.sqrt(xp.sum((slab / peak) ** 2, axis=axes, dtype=slab.dtype))
        return self._in_range(scaled * xp.reshape(peak, (slab.shape[0], -1)), geometry)

    def _in_range(self, values: Array, geometry: Geometry) -> Array:
        """Make infinite what could overflow in a transform, which is scaled after its sums."""
        length = 4.0 * math.prod(self.lengths(geometry))
        return values * length / length


def _own_error(xp: Any, slab: Array, count: int) -> float:
    """Give the factor that makes up for the rounding of sums over a slab and over `count` more numbers."""
    return float(1 + xp.finfo(slab.dtype).eps * (math.prod(slab.shape[1:-1]) + count + 8))
