"""Cases: convolutions and poolings as networks have them, their passes, and the arrays of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, TypeVar

import numpy as np

from bench.errors import UsageError

Pair = tuple[int, int]
Array = np.ndarray[Any, Any]

FORWARD, BOTH = "forward", "forward + backward"
INPUT, WEIGHT = "input gradient", "weight gradient"  # each alone
# the arrays that a pass gives, in xpconv's layout
RESULTS = {
    FORWARD: ("result",),
    BOTH: ("input gradient", "weight gradient", "bias gradient"),  # of a pooling only the first
    INPUT: ("input gradient",),
    WEIGHT: ("weight gradient",),
}


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
    dilation: int = 1

    @property
    def name(self) -> str:
        """Images and channels in, channels out, kernel: ``8×56×56×64→64 3×3``."""
        images = f"{self.batch}×{self.height}×{self.width}×{self.channels}→{self.filters}"
        grouped = f" {self.groups} groups" if self.groups > 1 else ""
        return (
            f"{images} {self.kernel}×{self.kernel}"
            + (" depthwise" if self.depthwise else grouped)
            + (f" stride {self.stride}" if self.stride > 1 else "")
            + (f" dilation {self.dilation}" if self.dilation > 1 else "")
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

    @property
    def span(self) -> int:
        """Pixels from a window's first tap to its last."""
        return self.dilation * (self.kernel - 1) + 1

    @cached_property
    def pads(self) -> tuple[Pair, Pair]:
        """Pixels (before, after) each spatial axis; of an odd number, "same" puts the greater part after."""
        if self.padding != "same":
            return ((int(self.padding),) * 2,) * 2
        wanted = (max((-(-n // self.stride) - 1) * self.stride + self.span - n, 0) for n in self.x_shape[1:3])
        rows, columns = ((total // 2, total - total // 2) for total in wanted)
        return rows, columns

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """``(N, OH, OW, F)``."""
        sizes = (
            (n + sum(pads) - self.span) // self.stride + 1 for n, pads in zip(self.x_shape[1:3], self.pads, strict=True)
        )
        return (self.batch, *sizes, self.filters)

    @property
    def gflop(self) -> float:
        """Two operations for each product of the forward pass, those with padding included."""
        return 2e-9 * prod(self.output_shape) * self.kernel**2 * self.channels / self.groups

    @property
    def keywords(self) -> dict[str, Any]:
        """The options of `xpconv.conv`, which are PyTorch's too."""
        found = {"stride": self.stride, "padding": self.padding, "groups": self.groups}
        return found if self.dilation == 1 else found | {"dilation": self.dilation}


@dataclass(frozen=True)
class Pool:
    """A pooling of square windows on channels-last images."""

    kind: str  # "max" or "average"
    batch: int
    height: int
    width: int
    channels: int
    window: int
    stride: int
    padding: int = 0
    more: int = 0  # pixels of padding after an axis, beside those

    @property
    def name(self) -> str:
        """Images, kind, and window, stride and padding: ``8×112×112×64 max 3/2/1``."""
        sizes = "×".join(map(str, self.x_shape))
        after = f"+{self.more}" if self.more else ""
        return f"{sizes} {self.kind} {self.window}/{self.stride}/{self.padding}{after}"

    @property
    def x_shape(self) -> tuple[int, ...]:
        """``(N, H, W, C)``."""
        return (self.batch, self.height, self.width, self.channels)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """``(N, OH, OW, C)``."""
        wide = 2 * self.padding + self.more - self.window
        sizes = ((n + wide) // self.stride + 1 for n in (self.height, self.width))
        return (self.batch, *sizes, self.channels)

    @property
    def whole(self) -> bool:
        """Whether a window is the image."""
        return self.padding == self.more == 0 and (self.height, self.width) == (self.window, self.window)

    @property
    def keywords(self) -> dict[str, Any]:
        """The options of `xpconv.max_pool` and `xpconv.avg_pool` beside the window."""
        padding = ((self.padding, self.padding + self.more),) * 2 if self.more else self.padding
        return {"stride": self.stride, "padding": padding}


Case = Layer | Pool
Chosen = TypeVar("Chosen", bound=Case)


def select(cases: tuple[Chosen, ...], text: str) -> tuple[Chosen, ...]:
    """Keep the cases whose name holds the text; ``x`` and ``->`` stand for ``×`` and ``→``."""

    def plain(name: str) -> str:
        return name.casefold().replace("×", "x").replace("→", "->")

    chosen = tuple(case for case in cases if plain(text) in plain(case.name))
    if not chosen:
        names = "; ".join(plain(case.name) for case in cases)
        raise UsageError(f"no layer's name holds {text!r}; the layers are: {names}")
    return chosen


@dataclass(frozen=True)
class Data:
    """The arrays of a case: images, kernels and bias, which a pooling has none of, and the gradient of the output."""

    x: Any
    w: Any
    b: Any
    dz: Any

    def each(self, change: Callable[[Any], Any]) -> Data:
        """Change every array."""
        return Data(*(None if array is None else change(array) for array in (self.x, self.w, self.b, self.dz)))


Numbers = Callable[[tuple[int, ...]], Any]


def arrays(case: Case, numbers: Numbers) -> Data:
    """Make a case's arrays of normal numbers, the kernels scaled so that outputs are near one too."""
    if isinstance(case, Pool):
        return Data(numbers(case.x_shape), None, None, numbers(case.output_shape))
    x, w, b, dz = map(numbers, (case.x_shape, case.w_shape, (case.filters,), case.output_shape))
    return Data(x, w / np.float32(prod(case.w_shape[:3]) ** 0.5), b, dz)


def draw(case: Case) -> Data:
    """Draw a case's arrays, float32; the same on every machine."""
    rng = np.random.default_rng(1)
    return arrays(case, lambda shape: rng.standard_normal(shape, np.float32))
