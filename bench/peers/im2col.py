"""The plain way on any library with strided views: all windows as one matrix, one product."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

import numpy as np

from bench.layers import FORWARD, Data, Layer
from bench.peers.peer import Entry, Peer, Where

MOST_BYTES = 4 * 2**30


class Im2col(Peer):
    """Where the matrix of windows is not too large."""

    titles: ClassVar[Mapping[str, str]] = {"im2col": "im2col"}

    def conv(self, layer: Layer, data: Data, where: Where) -> list[Entry]:
        """Run one product."""
        if column_bytes(layer, np.dtype(where.dtype).itemsize) > MOST_BYTES:
            return []
        own = data.each(where.put)
        return [Entry("im2col", FORWARD, lambda: conv(where.xp, own.x, own.w, own.b, layer), lambda given: [given])]


def column_bytes(layer: Layer, itemsize: int) -> int:
    """Bytes of the matrix of windows."""
    return itemsize * prod(layer.output_shape[:3]) * layer.kernel**2 * layer.channels


def conv(xp: Any, x: Any, w: Any, b: Any, layer: Layer) -> Any:
    """Pad, copy every window, multiply."""
    padded = xp.pad(x, ((0, 0), *layer.pads, (0, 0)))
    batch, height, width, filters = layer.output_shape
    kernel, groups, spread = layer.kernel, layer.groups, layer.dilation
    depth = layer.channels // groups
    n, row, column, channel = padded.strides
    windows = xp.lib.stride_tricks.as_strided(
        padded,
        (batch, height, width, kernel, kernel, groups, depth),
        (n, row * layer.stride, column * layer.stride, row * spread, column * spread, channel * depth, channel),
    )
    # (N, OH, OW, K, K, G, C/G) -> (G, N·OH·OW, K·K·C/G), (K, K, C/G, F) -> (G, K·K·C/G, F/G)
    columns = windows.transpose(5, 0, 1, 2, 3, 4, 6).reshape(groups, batch * height * width, -1)
    kernels = w.reshape(-1, groups, filters // groups).transpose(1, 0, 2)
    product = columns @ kernels
    return product.transpose(1, 0, 2).reshape(batch, height, width, filters) + b


PEER = Im2col
