"""Products at each point of a transformed domain, shared by the algorithms that transform."""

from __future__ import annotations

from dataclasses import dataclass

from xpconv._arrays.types import Array
from xpconv._shapes.geometry import Geometry
from xpconv._work.workspace import Workspace


@dataclass(frozen=True)
class Spectra:
    """Pixels (P, T, C) and a weight (P, C/G, F): for each of P points, one matrix product over the channels.

    With one channel and one filter in each group the products are element-wise.
    """

    work: Workspace
    geometry: Geometry

    @property
    def thin(self) -> bool:
        """Say whether the products are element-wise."""
        return self.geometry.groups > 1 or self.geometry.channels == self.geometry.filters == 1

    def forward(self, name: str, pixels: Array, weight: Array) -> Array:
        """(P, T, C), (P, C/G, F) -> (P, T, F)."""
        if self.thin:
            return self.work.call(name, "multiply", pixels, weight)
        return self.work.matmul(name, pixels, weight)

    def weight_grad(self, name: str, pixels: Array, gradient: Array) -> Array:
        """(P, T, C), (P, T, F) -> (P, C/G, F): summed over the tiles."""
        xp = self.work.xp
        if self.thin:
            product = self.work.call(name, "multiply", pixels, gradient)
            return xp.sum(product, axis=1, keepdims=True, dtype=product.dtype)
        return self.work.matmul(name, xp.permute_dims(pixels, (0, 2, 1)), gradient)
