"""Cut arrays into tiles; sees shapes and traits only."""

from __future__ import annotations

import math

from xpconv._arrays.types import Traits
from xpconv._shapes.cuts import PARTS, block
from xpconv._shapes.geometry import Geometry, Ints


def pool_tile(
    geometry: Geometry, shape: Ints, stride: Ints, elements: int, traits: Traits, itemsize: int, max_workspace: int,
    threads: int,
) -> tuple[Ints, int]:  # fmt: skip
    """Cut (n, *windows) into tiles and say how many may run at once; `elements` work values for each window's pixel."""

    def size(tile: Ints) -> int:
        slab = tile[0] * math.prod((n + 1) * s + w for n, s, w in zip(tile[1:], stride, geometry.span, strict=True))
        return (slab + elements * math.prod(tile) * math.prod(stride)) * geometry.channels * itemsize

    share = max_workspace // (4 if traits.threads else 2)
    cache = share if traits.cache is None else min(traits.cache, share)
    pixel = (math.prod(stride) + elements) * geometry.channels * itemsize
    pixels = max(cache // pixel, 1)
    if traits.threads:
        pixels = min(pixels, max(-(-math.prod(shape) // PARTS), (1 << 20) // pixel, 1))
    tile = block(shape, pixels)
    while math.prod(tile) > 1 and size(tile) > max_workspace:
        tile = block(shape, math.prod(tile) // 2)
    return tile, max(1, min(threads, max_workspace // max(size(tile), 1)) if traits.threads else 1)
