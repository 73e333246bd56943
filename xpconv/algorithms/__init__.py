"""The algorithms: one file each, all with the interface below. A new one is added by naming it in REGISTRY."""

from __future__ import annotations

from typing import Any, Protocol

from xpconv._shapes.geometry import Geometry, Ints
from xpconv._work.workspace import Workspace
from xpconv.algorithms import direct, gemm, toeplitz
from xpconv.algorithms.cost import Work
from xpconv.algorithms.fft import Fourier, FourierMagnitude
from xpconv.algorithms.winograd import Winograd

Array = Any


class Algorithm(Protocol):
    """What the plan and the driver ask of an algorithm. All arrays are channels last and in the dtype of the sums."""

    exact: bool  # it serves integers, and sums a weight gradient in the form of the result
    spreads: bool  # a NaN can reach windows that do not contain it
    transforms: bool  # it multiplies in another domain: larger errors, not exact on whole numbers, many array calls
    fourier: bool  # it needs the library's Fourier transforms
    by_tap: bool  # it serves a kernel as the sum of its taps, each by itself

    def refuses(self, geometry: Geometry) -> str:
        """Say why this geometry cannot be served; empty if it can."""

    def forward_work(self, geometry: Geometry) -> Work:
        """Count what one output pixel costs in `correlate`."""

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Count what one output pixel costs in `weight_grad`."""

    def summed(self, geometry: Geometry) -> int:
        """Count the rounding steps that one output element can have gone through, for the error bound."""

    def summed_pixels(self, geometry: Geometry, tile: Ints) -> int:
        """Count those of an element of the weight gradient, in `weight_grad` of one tile and in `finish`."""

    def grain(self, geometry: Geometry) -> float:
        """Say how many times the smallest normal number an underflow on the way can cost; 1 if nothing amplifies it."""

    def amplification(self, geometry: Geometry) -> float:
        """Say by how much rounding errors are magnified, for numbers of one size."""

    def prepared_shape(self, geometry: Geometry, complex_data: bool) -> Ints | None:
        """Give the shape of a prepared weight whose axis -2 is that of (*kernel, C/G, F), if preparing is much work.

        It is then done for some channels at a time.
        """

    def prepare(self, work: Workspace, w: Array, geometry: Geometry, out: Array | None = None) -> Array:
        """Bring the weight (*kernel, C/G, F) into the form that `correlate` takes, once a call.

        Where `prepared_shape` gives a shape, it may be wanted in `out`.
        """

    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """(n, *slab, C) -> (n, *output, F), unpadded; may write into `out`, an array of the result's size.

        The slab may hold more pixels at the end of an axis than the outputs read.
        """

    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """(n, *slab, C), (n, *output, F) -> the tile's part of a sum that `finish` turns into the gradient."""

    def finish(self, work: Workspace, total: Array, geometry: Geometry) -> Array:
        """Turn the sum over the tiles, or some of its channels (axis -2), into (*kernel, C/G, F)."""


REGISTRY: dict[str, Algorithm] = {
    "direct": direct, "gemm": gemm, "toeplitz": toeplitz, "winograd": Winograd(), "fft": Fourier(),
}  # fmt: skip
# what the error of each is measured by: the same sums over absolute values
MAGNITUDES: dict[str, Algorithm] = {
    "direct": direct, "gemm": gemm, "toeplitz": toeplitz, "winograd": Winograd(absolute=True),
    "fft": FourierMagnitude(),
}  # fmt: skip
