"""The algorithms: one file each, all with the interface below. A new one is added by naming it in REGISTRY."""

from __future__ import annotations

from typing import Any, Protocol

from xpconv._geometry import Geometry, Ints
from xpconv._workspace import Workspace
from xpconv.algorithms import direct, gemm
from xpconv.algorithms._work import Work

Array = Any


class Algorithm(Protocol):
    """What the plan and the driver ask of an algorithm. All arrays are channels last and in the dtype of the sums."""

    def refuses(self, geometry: Geometry) -> str:
        """Say why this geometry cannot be served; empty if it can."""

    def forward_work(self, geometry: Geometry) -> Work:
        """Count what one output pixel costs in `correlate`."""

    def weight_grad_work(self, geometry: Geometry) -> Work:
        """Count what one output pixel costs in `weight_grad`."""

    def summed(self, geometry: Geometry) -> int:
        """Count the rounding steps that one output element can have gone through, for the error bound."""

    def prepare(self, xp: Any, w: Array, geometry: Geometry) -> Array:
        """Bring the weight (*kernel, C/G, F) into the form that `correlate` takes, once a call."""

    def correlate(
        self, work: Workspace, slab: Array, weight: Array, geometry: Geometry, output: Ints, out: Array | None
    ) -> Array:
        """(n, *slab, C) -> (n, *output, F), unpadded; may use `out`, a contiguous array of the result's size."""

    def weight_grad(self, work: Workspace, slab: Array, dz: Array, geometry: Geometry, output: Ints) -> Array:
        """(n, *slab, C), (n, *output, F) -> (*kernel, C/G, F), the tile's part of the sum."""


REGISTRY: dict[str, Algorithm] = {"direct": direct, "gemm": gemm}
