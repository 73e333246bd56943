"""xpconv with compiled kernels, and with its weight prepared too: further columns of ours, where Numba is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import xpconv as xc
from bench.layers import FORWARD, Data, Layer, Pool
from bench.peers.own import Own
from bench.peers.peer import Entry, Where

FAST, PREPARED = "fast", "prepared"


class Fast(Own):
    """The same calls, which take compiled kernels wherever that is predicted to pay; none waits for one."""

    titles: ClassVar[Mapping[str, str]] = {FAST: "xpconv\nfast", PREPARED: "fast,\nprepared"}
    library = "Numba"
    packages = ("numba",)

    def conv(self, layer: Layer, data: Data, where: Where) -> list[Entry]:
        """Run `conv` and its gradients, and what `prepare_conv` gives."""
        found = [_fast(entry) for entry in super().conv(layer, data, where)]
        own = data.each(where.put)
        with xc.set_options(compiled=True):
            prepared = xc.prepare_conv(own.w, own.b, input_shape=layer.x_shape, **layer.keywords)

        def forward() -> Any:
            return prepared(own.x)

        return [*found, Entry(PREPARED, FORWARD, forward, lambda given: [given])]

    def pool(self, pool: Pool, data: Data, where: Where) -> list[Entry]:
        """Run `max_pool` or `avg_pool`, and its gradient."""
        return [_fast(entry) for entry in super().pool(pool, data, where)]


def _fast(entry: Entry) -> Entry:
    return replace(entry, name=FAST, call=_compiled(entry.call))


def _compiled(call: Callable[[], Any]) -> Callable[[], Any]:
    def fast() -> Any:
        with xc.set_options(compiled=True):
            return call()

    return fast


PEER = Fast
