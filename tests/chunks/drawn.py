"""Calls drawn at random, with whole numbers, and how their arrays are cut into chunks."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import xpconv as xc

EXTENT = {1: 40, 2: 20, 3: 9}
KERNEL = {1: 7, 2: 4, 3: 3}
DTYPES = ("float32", "float32", "float64", "float16", "int8", "int32", "uint8", "complex64")
MODES = ("zeros", "zeros", "reflect", "replicate", "circular")
ROUNDED = {"avg_pool_vjp", "adaptive_avg_pool", "adaptive_avg_pool_vjp", "lp_pool", "lp_pool_vjp"}  # no whole numbers
Convert = Callable[[str, np.ndarray], Any]


@dataclass
class Drawn:
    """A call: a function's name, its arrays, which are cut into chunks, and its other arguments."""

    name: str
    arrays: dict[str, np.ndarray]
    options: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"

    def run(self, convert: Convert = lambda _, array: array, home: Any = xc, **more: Any) -> Any:
        """Call a function of this name, with the arrays converted; give its results as a tuple."""
        arrays = {name: convert(name, array) for name, array in self.arrays.items()}
        found = getattr(home, self.name)(**arrays, **self.options, **more)
        return found if isinstance(found, tuple) else (found,)


class Draw:
    """Draws calls."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.rng = np.random.default_rng(seed)

    def numbers(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """Whole numbers."""
        low = 0 if dtype == "uint8" else -3
        found = self.rng.integers(low, 4, shape).astype(dtype)
        return found + (1j * self.rng.integers(-3, 4, shape)).astype(dtype) if dtype == "complex64" else found

    def chunks(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Cut each axis: not at all, evenly, or anyhow, down to single pixels."""
        found = []
        for n in shape:
            style, left, sizes = self.random.random(), n, []
            even = self.random.randint(1, max(n, 1))
            while left:
                size = n if style < 0.25 else even if style < 0.6 else self.random.randint(1, max(1, n // 2))
                sizes.append(min(size, left))
                left -= sizes[-1]
            found.append(tuple(sizes) or (0,))
        return tuple(found)

    def call(self) -> Drawn:
        """Draw a call that NumPy arrays are served with."""
        while True:
            try:
                drawn = getattr(self, self.random.choice(KINDS))()
                drawn.run()
            except ValueError:
                continue
            return drawn

    def geometry(self) -> None:
        """Draw what all calls share."""
        pick = self.random
        self.rank = rank = pick.choice((1, 2, 2, 2, 3))
        self.layout = pick.choice(("channels_last", "channels_first"))
        self.batch = pick.randint(1, 3)
        self.size = tuple(pick.randint(1, EXTENT[rank]) for _ in range(rank))
        self.kernel = tuple(pick.randint(1, KERNEL[rank]) for _ in range(rank))
        self.stride = tuple(pick.randint(1, 4) for _ in range(rank))
        self.dilation = tuple(pick.randint(1, 3) for _ in range(rank))
        self.dtype = pick.choice(DTYPES)
        self.groups = pick.choice((1, 1, 2, 3))
        self.depth, self.width = pick.randint(1, 3), pick.randint(1, 3)

    def images(self, size: tuple[int, ...], channels: int, dtype: str | None = None) -> np.ndarray:
        """Draw images."""
        last = self.layout == "channels_last"
        shape = (self.batch, *size, channels) if last else (self.batch, channels, *size)
        return self.numbers(shape, dtype or self.dtype)

    def weight(self, depth: int, filters: int) -> np.ndarray:
        """Draw a weight."""
        last = self.layout == "channels_last"
        return self.numbers((*self.kernel, depth, filters) if last else (filters, depth, *self.kernel), self.dtype)

    def padding(self, *words: str) -> Any:
        """Draw a padding in any of its forms."""
        pick = self.random
        pairs = tuple((pick.randint(0, 5), pick.randint(0, 5)) for _ in range(self.rank))
        return pick.choice((0, 1, *words, pairs, tuple(a for a, _ in pairs), pick.randint(0, 4)))

    def convolution(self) -> dict[str, Any]:
        """Draw the options of a convolution."""
        return {
            "stride": self.stride,
            "padding": self.padding("same", "same_lower", "valid", "causal"),
            "dilation": self.dilation,
            "groups": self.groups,
            "padding_mode": self.random.choice(MODES),
            "layout": self.layout,
        }

    def like(self, drawn: Drawn) -> np.ndarray:
        """Draw a gradient of a call's first result."""
        found = drawn.run()[0]
        return self.numbers(found.shape, self.dtype)

    def conv(self) -> Drawn:
        self.geometry()
        options = self.convolution()
        arrays = {"x": self.images(self.size, self.groups * self.depth)}
        arrays["w"] = self.weight(self.depth, self.groups * self.width)
        if self.random.random() < 0.5:
            arrays["b"] = self.numbers((self.groups * self.width,), self.dtype)
        if self.dtype == "int8" and self.random.random() < 0.5:
            options["dtype"] = "int32"
        options["algorithm"] = self.random.choice(("auto", "direct", "gemm"))
        return Drawn("conv", arrays, options, self.dtype)

    def _of_conv(self, name: str, *wanted: str) -> Drawn:
        drawn = self.conv()
        try:
            drawn.options.pop("dtype", None)
            drawn.arrays.pop("b", None)
            drawn.arrays["dz"] = self.like(drawn)
        except ValueError:
            return drawn
        arrays = {key: drawn.arrays[key] for key in wanted}
        options = dict(drawn.options)
        if name == "conv_input_grad":
            options["input_shape"] = drawn.arrays["x"].shape
        if name == "conv_weight_grad":
            options["kernel_shape"] = drawn.arrays["w"].shape
        return Drawn(name, arrays, options, self.dtype)

    def conv_vjp(self) -> Drawn:
        return self._of_conv("conv_vjp", "dz", "x", "w")

    def conv_input_grad(self) -> Drawn:
        return self._of_conv("conv_input_grad", "dz", "w")

    def conv_weight_grad(self) -> Drawn:
        return self._of_conv("conv_weight_grad", "dz", "x")

    def conv_transpose(self) -> Drawn:
        self.geometry()
        options = self.convolution()
        del options["padding_mode"]
        options["padding"] = self.padding("same", "same_lower")
        most = [max(s, d) - 1 for s, d in zip(self.stride, self.dilation, strict=True)]
        options["output_padding"] = tuple(self.random.randint(0, n) for n in most)
        self.size = tuple(min(n, 9) for n in self.size)
        arrays = {"x": self.images(self.size, self.groups * self.width)}
        arrays["w"] = self.weight(self.depth, self.groups * self.width)
        if self.random.random() < 0.5:
            arrays["b"] = self.numbers((self.groups * self.depth,), self.dtype)
        return Drawn("conv_transpose", arrays, options, self.dtype)

    def conv_transpose_vjp(self) -> Drawn:
        drawn = self.conv_transpose()
        drawn.arrays.pop("b", None)
        try:
            arrays = {"dz": self.like(drawn), **drawn.arrays}
        except ValueError:
            return drawn
        return Drawn("conv_transpose_vjp", arrays, drawn.options, self.dtype)

    def pooling(self) -> dict[str, Any]:
        """Draw the options of a pooling."""
        pick = self.random
        span = [d * (k - 1) for k, d in zip(self.kernel, self.dilation, strict=True)]
        pairs = tuple((pick.randint(0, n), pick.randint(0, n)) for n in span)
        return {
            "window": self.kernel,
            "stride": pick.choice((None, self.stride)),
            "padding": pick.choice((0, "same", pairs)),
            "dilation": self.dilation,
            "ceil_mode": pick.random() < 0.5,
            "layout": self.layout,
        }

    def _pool(self, name: str, dtypes: tuple[str, ...], **more: Any) -> Drawn:
        self.geometry()
        self.dtype = self.random.choice(dtypes)
        return Drawn(name, {"x": self.images(self.size, self.depth)}, {**self.pooling(), **more}, self.dtype)

    def _pool_vjp(self, pooled: Drawn, name: str, drop: tuple[str, ...] = (), **more: Any) -> Drawn:
        try:
            arrays = {"dy": self.like(pooled), **pooled.arrays}
        except ValueError:
            return pooled
        options = {key: value for key, value in pooled.options.items() if key not in drop}
        return Drawn(name, arrays, {**options, **more}, self.dtype)

    def max_pool(self) -> Drawn:
        return self._pool("max_pool", ("float32", "int8", "float16"), return_indices=self.random.random() < 0.6)

    def max_pool_vjp(self) -> Drawn:
        pooled = self._pool("max_pool", ("float32", "int32", "float16"))
        ties = self.random.choice(("first", "all"))
        return self._placed(pooled, self._pool_vjp(pooled, "max_pool_vjp", ties=ties))

    def _placed(self, pooled: Drawn, vjp: Drawn) -> Drawn:
        """Give the places of the maxima to a gradient, and x itself or its shape."""
        if vjp is pooled or vjp.options.get("ties", "first") != "first" or self.random.random() < 0.5:
            return vjp
        x = vjp.arrays["x"]
        vjp.arrays["indices"] = Drawn(pooled.name, pooled.arrays, {**pooled.options, "return_indices": True}).run()[1]
        if self.random.random() < 0.5:
            del vjp.arrays["x"]
            vjp.options["x"] = x.shape
        return vjp

    def avg_pool(self) -> Drawn:
        return self._pool("avg_pool", ("float32", "float16", "complex64"), count_include_pad=self.random.random() < 0.5)

    def avg_pool_vjp(self) -> Drawn:
        pooled = self.avg_pool()
        vjp = self._pool_vjp(pooled, "avg_pool_vjp")
        if vjp is not pooled:
            vjp.options["input_shape"] = vjp.arrays.pop("x").shape
        return vjp

    def lp_pool(self) -> Drawn:
        return self._pool("lp_pool", ("float32", "float16"), p=self.random.choice((1, 2, 3.5)))

    def lp_pool_vjp(self) -> Drawn:
        return self._pool_vjp(self._pool("lp_pool", ("float32",), p=self.random.choice((1, 2))), "lp_pool_vjp")

    def _adaptive(self, name: str, dtypes: tuple[str, ...], **more: Any) -> Drawn:
        self.geometry()
        self.dtype = self.random.choice(dtypes)
        parts = tuple(self.random.randint(1, n if self.random.random() < 0.8 else 2 * n) for n in self.size)
        parts = self.random.choice((1, parts, parts, parts))
        options = {"output_shape": parts, "layout": self.layout, **more}
        return Drawn(name, {"x": self.images(self.size, self.depth)}, options, self.dtype)

    def adaptive_avg_pool(self) -> Drawn:
        return self._adaptive("adaptive_avg_pool", ("float32", "float16", "complex64"))

    def adaptive_avg_pool_vjp(self) -> Drawn:
        return self._pool_vjp(self.adaptive_avg_pool(), "adaptive_avg_pool_vjp")

    def adaptive_max_pool(self) -> Drawn:
        indices = self.random.random() < 0.6
        return self._adaptive("adaptive_max_pool", ("float32", "int8", "float16"), return_indices=indices)

    def adaptive_max_pool_vjp(self) -> Drawn:
        pooled = self._adaptive("adaptive_max_pool", ("float32", "int32", "float16"))
        return self._placed(pooled, self._pool_vjp(pooled, "adaptive_max_pool_vjp"))

    def max_unpool(self) -> Drawn:
        drawn = self.max_pool()
        drawn.options["return_indices"] = True
        drawn.options["stride"] = None  # so that windows share no pixel, and no index occurs twice
        drawn.options["dilation"] = 1
        drawn.options["padding"] = 0
        y, indices = drawn.run()
        sizes = drawn.arrays["x"].shape[1:-1] if self.layout == "channels_last" else drawn.arrays["x"].shape[2:]
        return Drawn(
            "max_unpool", {"y": y, "indices": indices}, {"output_shape": sizes, "layout": self.layout}, y.dtype.name
        )

    def unfold(self) -> Drawn:
        self.geometry()
        options = {"window": self.kernel, "stride": self.stride, "padding": self.padding("same", "causal")}
        options |= {"dilation": self.dilation, "layout": self.layout}
        return Drawn("unfold", {"x": self.images(self.size, self.depth)}, options, self.dtype)

    def fold(self) -> Drawn:
        drawn = self.unfold()
        try:
            cols = self.like(drawn)
        except ValueError:
            return drawn
        return Drawn("fold", {"cols": cols}, {**drawn.options, "input_shape": drawn.arrays["x"].shape}, self.dtype)

    def pad(self) -> Drawn:
        self.geometry()
        options = {"padding": self.padding(), "mode": self.random.choice(MODES), "layout": self.layout}
        return Drawn("pad", {"x": self.images(self.size, self.depth)}, options, self.dtype)

    def pad_vjp(self) -> Drawn:
        drawn = self.pad()
        try:
            dy = self.like(drawn)
        except ValueError:
            return drawn
        return Drawn("pad_vjp", {"dy": dy}, {**drawn.options, "input_shape": drawn.arrays["x"].shape}, self.dtype)


KINDS = (
    "conv",
    "conv",
    "conv_vjp",
    "conv_vjp",
    "conv_input_grad",
    "conv_weight_grad",
    "conv_transpose",
    "conv_transpose_vjp",
    "max_pool",
    "max_pool_vjp",
    "avg_pool",
    "avg_pool_vjp",
    "lp_pool",
    "lp_pool_vjp",
    "adaptive_avg_pool",
    "adaptive_avg_pool_vjp",
    "adaptive_max_pool",
    "adaptive_max_pool_vjp",
    "max_unpool",
    "unfold",
    "fold",
    "pad",
    "pad_vjp",
)
