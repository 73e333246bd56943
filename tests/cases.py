"""Cases by name: every feature of the contract, alone and in the combinations that break things.

A case knows its shapes, makes its data from a seed, and keeps what the oracle says about it.
"""

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests import oracle
from tests.backends import BACKENDS, WIDE

Shape = tuple[int, ...]


def in_layout(layout: str, batch: int, size: Shape, channels: int) -> Shape:
    """Shape of an array of images."""
    return (batch, *size, channels) if layout == "channels_last" else (batch, channels, *size)


def values(shape: Shape, seed: int, dtype: str, low: int | None = None, high: int | None = None) -> np.ndarray:
    """Whole numbers in [low, high] if they are given, otherwise normal numbers; a function of its arguments alone."""
    rng = np.random.default_rng([seed, *shape])
    if low is not None and high is not None:
        return rng.integers(low, high, shape, endpoint=True).astype(dtype)
    if np.dtype(dtype).kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


@dataclass(frozen=True)
class Conv:
    """A convolution: shapes and options, no data."""

    size: Shape
    kernel: Shape
    batch: int = 2
    channels: int = 2
    filters: int = 3
    groups: int = 1
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    layout: str = "channels_last"
    bias: bool = True

    @property
    def options(self) -> dict[str, Any]:
        """The options of the geometry, as keywords."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "layout": self.layout,
        }

    @property
    def x_shape(self) -> Shape:
        """Shape of x."""
        return in_layout(self.layout, self.batch, self.size, self.channels)

    @property
    def w_shape(self) -> Shape:
        """Shape of w."""
        channels = self.channels // self.groups
        if self.layout == "channels_last":
            return (*self.kernel, channels, self.filters)
        return (self.filters, channels, *self.kernel)

    @property
    def sites(self) -> oracle.Sites:
        """Which pixels each window looks at."""
        return oracle.sites(self.size, self.kernel, self.stride, self.padding, self.dilation)

    @property
    def z_shape(self) -> Shape:
        """Shape of the result."""
        return in_layout(self.layout, self.batch, self.sites.out, self.filters)

    @property
    def terms(self) -> dict[str, int]:
        """Most products that one element of each result sums; the bias counts as one more."""
        outputs = self.batch * int(np.prod(self.sites.out))
        kernel = int(np.prod(self.kernel))
        return {
            "z": kernel * (self.channels // self.groups) + 1,
            "dx": kernel * (self.filters // self.groups),
            "dw": outputs,
            "db": outputs,
        }

    def data(self, dtype: str = "float32", whole: bool = True, seed: int = 0) -> dict[str, np.ndarray]:
        """Arrays x, w, b and dz: small whole numbers whose sums are exact in any dtype here, or normal numbers."""
        span = (0, 3) if np.dtype(dtype).kind == "u" else (-3, 3)
        low, high = span if whole else (None, None)
        shapes = {"x": self.x_shape, "w": self.w_shape, "b": (self.filters,), "dz": self.z_shape}
        arrays = {name: values(shape, seed + i, dtype, low, high) for i, (name, shape) in enumerate(shapes.items())}
        if not self.bias:
            arrays["b"] = None
        return arrays

    def expected(self, dtype: str = "float32", whole: bool = True, seed: int = 0) -> dict[str, np.ndarray]:
        """What the oracle gives for that data: z, dx, dw and db."""
        return _convolve(self, dtype, whole, seed, False)

    def magnitude(self, dtype: str = "float32", whole: bool = True, seed: int = 0) -> dict[str, np.ndarray]:
        """What the oracle gives for the absolute values of that data."""
        return _convolve(self, dtype, whole, seed, True)


@functools.cache
def _convolve(case: Conv, dtype: str, whole: bool, seed: int, absolute: bool) -> dict[str, np.ndarray]:
    arrays = case.data(dtype, whole, seed)
    if absolute:
        # real and imaginary parts meet in one complex product: abs(Re) + abs(Im) bounds both
        arrays = {name: None if a is None else oracle.gauge(a) for name, a in arrays.items()}
    dx, dw, db = oracle.conv_vjp(arrays["dz"], arrays["x"], arrays["w"], **case.options)
    return {"z": oracle.conv(arrays["x"], arrays["w"], arrays["b"], **case.options), "dx": dx, "dw": dw, "db": db}


@dataclass(frozen=True)
class Pool:
    """A pooling: shapes and options, no data."""

    size: Shape
    window: Any
    batch: int = 2
    channels: int = 2
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False
    layout: str = "channels_last"
    count_include_pad: bool = True

    @property
    def options(self) -> dict[str, Any]:
        """The options that max and average pooling share, as keywords."""
        names = ("stride", "padding", "dilation", "ceil_mode", "layout")
        return {name: getattr(self, name) for name in names}

    @property
    def avg_options(self) -> dict[str, Any]:
        """The options of average pooling."""
        return {**self.options, "count_include_pad": self.count_include_pad}

    @property
    def x_shape(self) -> Shape:
        """Shape of x."""
        return in_layout(self.layout, self.batch, self.size, self.channels)

    @property
    def sites(self) -> oracle.Sites:
        """Which pixels each window looks at."""
        stride = self.window if self.stride is None else self.stride
        return oracle.sites(self.size, self.window, stride, self.padding, self.dilation, self.ceil_mode)

    @property
    def y_shape(self) -> Shape:
        """Shape of the result."""
        return in_layout(self.layout, self.batch, self.sites.out, self.channels)

    @property
    def terms(self) -> int:
        """Taps of a window, which is also the most windows that share a pixel."""
        return int(np.prod(oracle.per_axis(self.window, len(self.size))))

    def data(self, dtype: str = "float32", whole: bool = True, seed: int = 0) -> dict[str, np.ndarray]:
        """Arrays x and dy: whole numbers with many ties, or normal numbers."""
        low, high = (-3, 3) if whole else (None, None)
        return {
            "x": values(self.x_shape, seed, dtype, low, high),
            "dy": values(self.y_shape, seed + 1, dtype, low, high),
        }


CONV: dict[str, Conv] = {
    "1x1": Conv((4, 5), (1, 1)),
    "3x3": Conv((5, 6), (3, 3)),
    "3x3-no-bias": Conv((5, 4), (3, 3), bias=False),
    "3x3-same": Conv((5, 4), (3, 3), padding="same"),
    "3x3-one-output": Conv((3, 3), (3, 3), batch=1),
    "one-pixel": Conv((1, 1), (1, 1), batch=1, channels=1, filters=1),
    "rectangular": Conv((5, 7), (2, 4), padding=(1, 2)),
    "asymmetric-padding": Conv((4, 5), (3, 2), padding=((2, 0), (1, 3))),
    "padding-beyond-kernel": Conv((3, 2), (2, 2), padding=(3, 4)),
    "even-kernel-same": Conv((5, 5), (2, 4), padding="same"),
    "even-kernel-same-lower": Conv((5, 5), (2, 4), padding="same_lower"),
    "stride-2": Conv((7, 6), (3, 3), stride=2, padding=1),
    "stride-2-same-odd": Conv((7, 4), (3, 3), stride=2, padding="same"),
    "stride-2-same-lower": Conv((6, 4), (3, 3), stride=2, padding="same_lower"),
    "stride-beyond-kernel": Conv((7, 8), (1, 2), stride=(3, 4)),
    "stride-leaves-a-rest": Conv((8, 9), (3, 3), stride=3),
    "strides-differ": Conv((7, 9), (3, 2), stride=(1, 3), padding=(0, 1)),
    "dilation-2": Conv((7, 8), (3, 3), dilation=2, padding=2),
    "dilation-3-stride-2": Conv((9, 10), (3, 2), dilation=(3, 2), stride=2, padding=(3, 1)),
    "dilation-4-stride-6": Conv((13, 12), (3, 3), dilation=4, stride=6, padding=4, batch=1),
    "dilation-beyond-input": Conv((3, 4), (3, 2), dilation=(4, 5), padding=(4, 3)),
    "groups-2": Conv((5, 4), (3, 3), channels=4, filters=6, groups=2, padding=1),
    "depthwise": Conv((5, 6), (3, 3), channels=3, filters=3, groups=3, padding=1),
    "depthwise-multiplier": Conv((6, 5), (3, 2), channels=2, filters=4, groups=2, stride=2, padding=1),
    "causal": Conv((5, 4), (3, 2), padding="causal", dilation=(2, 1)),
    "valid": Conv((5, 4), (3, 2), padding="valid"),
    "empty-batch": Conv((4, 5), (3, 3), batch=0, padding=1),
    "1d": Conv((9,), (3,), stride=2, padding=((1, 2),)),
    "1d-causal-dilated": Conv((7,), (2,), padding="causal", dilation=3),
    "1d-depthwise": Conv((8,), (4,), channels=3, filters=3, groups=3, padding="same"),
    "3d": Conv((3, 4, 3), (2, 3, 2), padding=1),
    "3d-stride-dilation": Conv(
        (5, 4, 3), (2, 1, 2), stride=(2, 3, 1), dilation=(2, 1, 2), padding=((1, 0), (0, 1), (1, 1))
    ),
    "3d-groups": Conv((3, 2, 3), (2, 2, 1), channels=4, filters=2, groups=2, batch=1),
}

FIRST_OF_CONV = ("3x3-same", "asymmetric-padding", "stride-2", "depthwise-multiplier", "1d", "3d-groups", "empty-batch")
CONV |= {f"{name}-first": replace(CONV[name], layout="channels_first") for name in FIRST_OF_CONV}

POOL: dict[str, Pool] = {
    "2": Pool((4, 6), 2),
    "2-rest": Pool((5, 7), 2),
    "2-rest-ceil": Pool((5, 7), 2, ceil_mode=True),
    "3-stride-2": Pool((7, 6), 3, stride=2),
    "3-stride-2-padded": Pool((7, 6), 3, stride=2, padding=1),
    "3-stride-2-padded-ceil": Pool((6, 8), 3, stride=2, padding=1, ceil_mode=True),
    "3-overlapping": Pool((5, 5), 3, stride=1, padding=1),
    "padding-beyond-half": Pool((4, 5), 3, stride=1, padding=2),
    "asymmetric-padding": Pool((5, 4), (3, 2), stride=(2, 1), padding=((2, 0), (0, 1))),
    "same": Pool((5, 6), (3, 2), stride=(2, 1), padding="same"),
    "same-lower": Pool((5, 6), (3, 2), stride=(2, 1), padding="same_lower"),
    "causal": Pool((5, 4), (3, 2), stride=1, padding="causal"),
    "valid": Pool((5, 4), (3, 2), stride=1, padding="valid"),
    "rectangular": Pool((5, 8), (1, 4), stride=(2, 3)),
    "stride-beyond-window": Pool((7, 8), 2, stride=(3, 5)),
    "ceil-drops-last": Pool((3, 6), 2, stride=3, padding=((0, 1), (0, 1)), ceil_mode=True),
    "ceil-drops-last-padded": Pool((3, 6), 2, stride=4, padding=1, ceil_mode=True),
    "ceil-starts-in-leading-padding": Pool((1, 2), 3, stride=2, padding=2, ceil_mode=True),
    "ceil-window-beyond-input": Pool((2, 3), 3, stride=2, ceil_mode=True),
    "dilated": Pool((6, 7), 2, stride=1, dilation=(3, 2)),
    "dilated-padded": Pool((5, 6), (3, 2), stride=2, dilation=2, padding=(2, 1)),
    "dilated-ceil": Pool((6, 5), 2, stride=2, dilation=(2, 3), padding=1, ceil_mode=True),
    "no-tap-inside": Pool((1, 2), 2, stride=1, dilation=(4, 3), padding=((2, 3), (1, 2))),
    "empty-batch": Pool((4, 5), 2, batch=0),
    "1d": Pool((9,), 3, stride=2, padding=((1, 2),)),
    "1d-ceil": Pool((8,), 3, stride=2, ceil_mode=True),
    "3d": Pool((4, 3, 4), (2, 1, 2), stride=(2, 1, 1)),
    "3d-ceil-padded": Pool((3, 4, 5), 2, padding=(1, 0, 1), ceil_mode=True, batch=1),
}
FIRST_OF_POOL = ("2-rest-ceil", "3-stride-2-padded", "asymmetric-padding", "dilated-padded", "1d", "3d-ceil-padded")
POOL |= {f"{name}-first": replace(POOL[name], layout="channels_first") for name in FIRST_OF_POOL}

# for the backends that take long to compile or to plan: every feature once
CORE_CONV = (
    "1x1", "3x3-same", "asymmetric-padding", "strides-differ", "dilation-3-stride-2", "groups-2",
    "depthwise-multiplier-first", "empty-batch", "1d", "3d-stride-dilation",
)  # fmt: skip
CORE_POOL = (
    "2-rest", "3-stride-2-padded-ceil", "3-overlapping", "asymmetric-padding-first", "stride-beyond-window",
    "dilated-padded", "no-tap-inside", "empty-batch", "1d", "3d-ceil-padded",
)  # fmt: skip
COMPILED = ("jax", "jax-jit", "jax-x64")  # each shape anew
SLOW = (*COMPILED, "dask")


def spread(items: Iterable[Any], few: Sequence[Any], backends: Iterable[str] = BACKENDS) -> list[tuple[str, Any]]:
    """Every backend with every item; the slow ones take a few of them, and the nightly run everything."""
    items = list(items)
    taken = {b: few[:3] if b == "jax-x64" else few if b in SLOW else items for b in backends}
    if os.environ.get("XPCONV_TEST_SIZE") == "nightly":
        taken = dict.fromkeys(backends, items)
    return [(b, item) for b in backends for item in items if item in taken[b]]


def with_dtypes(pairs: Iterable[tuple[str, Any]], dtypes: Iterable[str]) -> list[tuple[str, Any, str]]:
    """Each pair of a backend and an item with each dtype that the backend has; JAX has its wide ones in one guise."""
    dtypes = list(dtypes)
    return [(b, i, d) for b, i in pairs for d in dtypes if d not in BACKENDS[b][3] and (b != "jax-x64" or d in WIDE)]


def grid(table: dict[str, Any], core: tuple[str, ...]) -> list[tuple[str, str]]:
    """Every backend with every case of a table, or the core of it."""
    return spread(table, core)
