"""The convolutions of a network, prepared for as long as its parameters stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xpconv import _options
from xpconv._convolution.prepared import PreparedConv
from xpconv._ops.prepare import prepare_in_tiles
from xpconv._options import Options
from xpconv.nn.checks import Array, Params
from xpconv.nn.windowed import Conv


@dataclass(frozen=True)
class _Kept:
    """A convolution, and what it was prepared from."""

    weight: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any]
    pixels: tuple[int, ...]  # of an image, channels included
    options: Options
    prepared: PreparedConv | None  # None: preparing saves less than comparing the weight takes

    def fits(self, weight: Any, bias: Any, x: Any) -> bool:
        """Say whether the parameters are the same bits, and the images of the same size."""
        same = self.pixels == x.shape[1:] and self.options == _options.current()
        return same and (self.prepared is None or (_same(weight, self.weight) and _same(bias, self.bias)))


class PreparedLayers:
    """What is kept, by the number of the layer. A copy begins with nothing."""

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def __reduce__(self) -> tuple[type[PreparedLayers], tuple[()]]:
        return PreparedLayers, ()

    def forward(self, number: int, layer: Conv, own: Params, x: Array) -> Array | None:
        """Give the output of a layer, or None where preparing does not serve: no plain NumPy arrays, odd parameters."""
        weight: Any = own.get("weight")
        bias: Any = own.get("bias")
        if not all(type(array) is np.ndarray and array.itemsize <= 8 for array in (weight, bias, x)):
            return None
        kept = self._kept.get(number)
        if kept is None or not kept.fits(weight, bias, x):
            try:
                kept = self._kept[number] = _prepare(layer, weight, bias, x)
            except (TypeError, ValueError):  # `conv` says the same, in its own name
                return None
        return None if kept.prepared is None or x.dtype != weight.dtype else kept.prepared(x)


def _prepare(layer: Conv, weight: Any, bias: Any, x: Any) -> _Kept:
    found = prepare_in_tiles(weight, bias, x.shape, layer.windowing, layer.algorithm)
    pixels, options = x.shape[1:], _options.current()
    if not found.saves:
        return _Kept(weight[:0], bias[:0], pixels, options, None)
    own: Any = found.parameters
    return _Kept(own[0], own[1], pixels, options, found)


def _same(a: Any, b: Any) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    whole = np.dtype(f"i{a.itemsize}")
    return bool(np.array_equal(np.ascontiguousarray(a).view(whole), np.ascontiguousarray(b).view(whole)))
