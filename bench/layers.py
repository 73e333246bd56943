"""The layers that are measured, and the arrays of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from bench.errors import UsageError

Pair = tuple[int, int]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Layer:
    """A two-dimensional convolution with a square kernel on channels-last images."""

    batch: int
    height: int
    width: int
    channels: int
    filters: int
    kernel: int
    stride: int = 1
    padding: int | str = 0

    @property
    def name(self) -> str:
        """Images and channels in, channels out, kernel: ``8×56×56×64→64 3×3``."""
        images = f"{self.batch}×{self.height}×{self.width}×{self.channels}→{self.filters}"
        return f"{images} {self.kernel}×{self.kernel}" + (f" stride {self.stride}" if self.stride > 1 else "")

    @property
    def x_shape(self) -> tuple[int, ...]:
        """``(N, H, W, C)``."""
        return (self.batch, self.height, self.width, self.channels)

    @property
    def w_shape(self) -> tuple[int, ...]:
        """``(K, K, C, F)``."""
        return (self.kernel, self.kernel, self.channels, self.filters)

    @cached_property
    def pads(self) -> tuple[Pair, Pair]:
        """Pixels (before, after) each spatial axis; of an odd number, "same" puts the greater part after."""
        if self.padding != "same":
            return ((int(self.padding),) * 2,) * 2
        wanted = (max((-(-n // self.stride) - 1) * self.stride + self.kernel - n, 0) for n in self.x_shape[1:3])
        rows, columns = ((total // 2, total - total // 2) for total in wanted)
        return rows, columns

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """``(N, OH, OW, F)``."""
        sizes = (
            (n + sum(pads) - self.kernel) // self.stride + 1
            for n, pads in zip(self.x_shape[1:3], self.pads, strict=True)
        )
        return (self.batch, *sizes, self.filters)

    @property
    def gflop(self) -> float:
        """Two operations for each product of the forward pass, those with padding included."""
        return 2e-9 * prod(self.output_shape) * self.kernel**2 * self.channels

    @property
    def keywords(self) -> dict[str, Any]:
        """The options of `xpconv.conv`."""
        return {"stride": self.stride, "padding": self.padding}


LAYERS = (
    Layer(8, 56, 56, 64, 64, 3, padding=1),
    Layer(8, 28, 28, 128, 128, 3, padding=1),
    Layer(8, 56, 56, 64, 256, 1),
    Layer(32, 64, 64, 3, 8, 4, padding="same"),
    Layer(8, 224, 224, 3, 64, 7, stride=2, padding=3),
)
# the same kinds of layer, each done in well under a millisecond
QUICK = (
    Layer(2, 8, 8, 4, 4, 3, padding=1),
    Layer(2, 6, 6, 8, 8, 3, padding=1),
    Layer(2, 8, 8, 4, 16, 1),
    Layer(2, 8, 8, 3, 4, 4, padding="same"),
    Layer(2, 16, 16, 3, 8, 7, stride=2, padding=3),
)


def select(layers: tuple[Layer, ...], text: str) -> tuple[Layer, ...]:
    """Keep the layers whose name holds the text; ``x`` and ``->`` stand for ``×`` and ``→``."""

    def plain(name: str) -> str:
        return name.casefold().replace("×", "x").replace("→", "->")

    chosen = tuple(layer for layer in layers if plain(text) in plain(layer.name))
    if not chosen:
        names = "; ".join(plain(layer.name) for layer in layers)
        raise UsageError(f"no layer's name holds {text!r}; the layers are: {names}")
    return chosen


@dataclass(frozen=True)
class Data:
    """The arrays of a layer, float32: images, kernels, bias, and the gradient of the output."""

    x: Array
    w: Array
    b: Array
    dz: Array


def draw(layer: Layer) -> Data:
    """Draw standard normal data, the kernels scaled so that outputs are near one too; the same on every machine."""
    rng = np.random.default_rng(1)
    x, w, b, dz = (
        rng.standard_normal(shape, np.float32)
        for shape in (layer.x_shape, layer.w_shape, (layer.filters,), layer.output_shape)
    )
    return Data(x, w / np.float32(prod(layer.w_shape[:3]) ** 0.5), b, dz)
