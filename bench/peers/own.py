"""xpconv itself, by its public functions; a further column of ours is a title and entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import xpconv as xc
from bench.layers import BOTH, FORWARD, INPUT, WEIGHT, Data, Layer, Pool
from bench.peers.peer import Entry, Peer, Where

XPCONV = "xpconv"


class Own(Peer):
    """The calls as a user writes them."""

    titles: ClassVar[Mapping[str, str]] = {XPCONV: XPCONV}

    def conv(self, layer: Layer, data: Data, where: Where) -> list[Entry]:
        """Run `conv` and its gradients."""
        own = data.each(where.put)
        x, w, b, dz = own.x, own.w, own.b, own.dz
        keywords = layer.keywords
        if where.layout != "channels_last":
            keywords |= {"layout": where.layout}

        def forward() -> Any:
            return xc.conv(x, w, b, **keywords)

        def both() -> Any:
            return xc.conv(x, w, b, **keywords), xc.conv_vjp(dz, x, w, **keywords)

        return [
            Entry(XPCONV, FORWARD, forward, _alone),
            Entry(XPCONV, BOTH, both, _gradients),
            Entry(XPCONV, INPUT, lambda: xc.conv_input_grad(dz, w, x.shape, **keywords), _alone),
            Entry(XPCONV, WEIGHT, lambda: xc.conv_weight_grad(dz, x, w.shape, **keywords), _alone),
        ]

    def pool(self, pool: Pool, data: Data, where: Where) -> list[Entry]:
        """Run `max_pool` or `avg_pool`, and its gradient."""
        own = data.each(where.put)
        x, dy, window, keywords = own.x, own.dz, pool.window, pool.keywords

        def forward() -> Any:
            return (xc.max_pool if pool.kind == "max" else xc.avg_pool)(x, window, **keywords)

        def both() -> Any:
            if pool.kind == "max":
                return forward(), xc.max_pool_vjp(dy, x, window, **keywords)
            return forward(), xc.avg_pool_vjp(dy, x.shape, window, **keywords)

        return [Entry(XPCONV, FORWARD, forward, _alone), Entry(XPCONV, BOTH, both, lambda given: [given[1]])]


def _alone(given: Any) -> list[Any]:
    return [given]


def _gradients(given: Any) -> Any:
    return given[1]


PEER = Own
