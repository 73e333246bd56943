"""The layers that are measured, and the arrays of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Protocol, TypeVar

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
    groups: int = 1

    @property
    def name(self) -> str:
        """Images and channels in, channels out, kernel: ``8×56×56×64→64 3×3``."""
        images = f"{self.batch}×{self.height}×{self.width}×{self.channels}→{self.filters}"
        grouped = f" {self.groups} groups" if self.groups > 1 else ""
        return (
            f"{images} {self.kernel}×{self.kernel}"
            + (" depthwise" if self.depthwise else grouped)
            + (f" stride {self.stride}" if self.stride > 1 else "")
        )

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.groups > 1 and self.groups == self.channels == self.filters

    @property
    def x_shape(self) -> tuple[int, ...]:
        """``(N, H, W, C)``."""
        return (self.batch, self.height, self.width, self.channels)

    @property
    def w_shape(self) -> tuple[int, ...]:
        """``(K, K, C/G, F)``."""
        return (self.kernel, self.kernel, self.channels // self.groups, self.filters)

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
        return 2e-9 * prod(self.output_shape) * self.kernel**2 * self.channels / self.groups

    @property
    def keywords(self) -> dict[str, Any]:
        """The options of `xpconv.conv`."""
        return {"stride": self.stride, "padding": self.padding, "groups": self.groups}


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
QUICK_GROUPED = (Layer(2, 8, 8, 4, 4, 3, padding=1, groups=4), Layer(1, 9, 9, 4, 6, 3, stride=2, groups=2))

BATCH = 8


def depthwise(size: int, channels: int, kernel: int, stride: int = 1, batch: int = BATCH) -> Layer:
    """Give a depthwise layer whose output has the input's size, or that over the stride."""
    return Layer(batch, size, size, channels, channels, kernel, stride, kernel // 2, channels)


def bottlenecks(batch: int, size: int, channels: int, width: int) -> tuple[Layer, ...]:
    """Give the distinct convolutions of a stage of ResNet-50; it halves its input of this size, the first does not."""
    first = channels == width
    stride, out = (1, size) if first else (2, size // 2)
    layers = (
        Layer(batch, size, size, channels, width, 1),
        Layer(batch, size, size, width, width, 3, stride, 1),  # v1.5: the 3×3 one strides
        Layer(batch, out, out, width, 4 * width, 1),
        Layer(batch, size, size, channels, 4 * width, 1, stride),
        Layer(batch, out, out, 4 * width, width, 1),
        Layer(batch, out, out, width, width, 3, 1, 1),
    )
    return tuple(dict.fromkeys(layers))


def resnet50(batch: int) -> tuple[Layer, ...]:
    """Give every distinct convolution of ResNet-50 for images of 224×224, as in torchvision."""
    stages = ((56, 64, 64), (56, 256, 128), (28, 512, 256), (14, 1024, 512))
    return (
        Layer(batch, 224, 224, 3, 64, 7, 2, 3),
        *(layer for stage in stages for layer in bottlenecks(batch, *stage)),
    )


RESNET50 = resnet50(BATCH)
LENET5 = (Layer(32, 32, 32, 1, 6, 5), Layer(32, 14, 14, 6, 16, 5), Layer(32, 5, 5, 16, 120, 5))
COURSE = (
    Layer(2, 5, 7, 4, 8, 3, stride=2, padding=1),  # the notebook's own example
    Layer(32, 64, 64, 3, 8, 4, padding="same"),
    Layer(32, 8, 8, 8, 16, 2, padding="same"),
    Layer(32, 64, 64, 3, 32, 3, padding="same"),
    Layer(32, 32, 32, 32, 64, 3, padding="same"),
)
MOBILENETV2 = tuple(
    depthwise(size, channels, 3, stride)
    for size, channels, stride in (
        (112, 32, 1), (112, 96, 2), (56, 144, 1), (56, 144, 2), (28, 192, 1), (28, 192, 2), (14, 384, 1),
        (14, 576, 1), (14, 576, 2), (7, 960, 1),
    )
)  # fmt: skip
CONVNEXT = tuple(depthwise(size, channels, 7) for size, channels in ((56, 96), (28, 192), (14, 384), (7, 768)))
LARGE = (
    depthwise(56, 64, 31, batch=2),
    depthwise(28, 128, 31, batch=2),
    Layer(1, 256, 256, 3, 8, 31, padding=15),
    Layer(1, 512, 512, 1, 1, 63, padding=31),
)
SETS: dict[str, tuple[Layer, ...]] = {
    "first": LAYERS, "resnet50": RESNET50, "lenet5": LENET5, "course": COURSE, "mobilenetv2": MOBILENETV2,
    "convnext": CONVNEXT, "large": LARGE,
}  # fmt: skip
SETS["all"] = tuple(dict.fromkeys(layer for layers in SETS.values() for layer in layers))
BY_LOOPS = ("first", "course")  # sets on which the course's loops are timed too


class Named(Protocol):
    """Whatever is chosen by its name."""

    @property
    def name(self) -> str:
        """What the command line looks in."""
        ...


Case = TypeVar("Case", bound=Named)


def select(layers: tuple[Case, ...], text: str) -> tuple[Case, ...]:
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
