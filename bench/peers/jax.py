"""JAX: jitted forward passes, channels last; XLA decides itself how many threads it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from bench.layers import FORWARD, Case, Data, Layer, Pool
from bench.peers.peer import Entry, Peer, Where

NOTE = "JAX: jitted, waited for; XLA's threads cannot be set reliably, so it uses what it finds; forward only"


class Jax(Peer):
    """Functions of ``jax.lax``; their first call compiles."""

    titles: ClassVar[Mapping[str, str]] = {"jax": "JAX"}
    library = "JAX"
    packages = ("jax",)
    notes: ClassVar[Mapping[type[Case], str]] = {Layer: NOTE, Pool: NOTE}
    rotates = False  # each further set would be one more function to compile and wait for

    def conv(self, layer: Layer, data: Data, where: Where) -> list[Entry]:
        """Run `conv_general_dilated`."""
        lax, axes = self.module.lax, ("NHWC", "HWIO", "NHWC")
        steps, spread = (layer.stride,) * 2, (layer.dilation,) * 2

        def run(x: Any, w: Any, b: Any) -> Any:
            return b + lax.conv_general_dilated(
                x,
                w,
                steps,
                layer.pads,
                rhs_dilation=spread,
                dimension_numbers=axes,
                feature_group_count=layer.groups,
            )

        return [self._compiled(run, where, data.x, data.w, data.b)]

    def pool(self, pool: Pool, data: Data, where: Where) -> list[Entry]:
        """Run `reduce_window`."""
        lax, least = self.module.lax, -self.module.numpy.inf
        window, steps = (1, pool.window, pool.window, 1), (1, pool.stride, pool.stride, 1)
        pads = ((0, 0), *[(pool.padding, pool.padding + pool.more)] * 2, (0, 0))

        def run(x: Any) -> Any:
            if pool.kind == "max":
                return lax.reduce_window(x, least, lax.max, window, steps, pads)
            return lax.reduce_window(x, 0.0, lax.add, window, steps, pads) / pool.window**2

        return [self._compiled(run, where, data.x)]

    def _compiled(self, run: Callable[..., Any], where: Where, *arrays: Any) -> Entry:
        compiled = self.module.jit(run)
        factors = [self.module.numpy.asarray(array.astype(where.dtype)) for array in arrays]
        return Entry("jax", FORWARD, lambda: compiled(*factors).block_until_ready(), lambda found: [np.asarray(found)])


PEER = Jax
