"""The layers with a window: Conv, MaxPool, AvgPool, thin over the operations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.space import is_chunked
from xpconv._ops.conv import conv, conv_in_tiles, conv_vjp, conv_weight_grad, gradient_of_bias
from xpconv._ops.pool import avg_pool, avg_pool_vjp, max_pool, max_pool_vjp
from xpconv._ops.pooled import keeps_indices
from xpconv._shapes.keywords import keywords_of, meant
from xpconv._shapes.options import LAYOUTS, AlgorithmName, Layout, Padding, PaddingMode, Size
from xpconv._shapes.read import Windowing
from xpconv.nn.checks import Array, Cache, Params, entry, positive_int
from xpconv.nn.layers import HostParams, he_normal
from xpconv.nn.summary import products


@keywords_of
@dataclass(frozen=True)
class Conv:
    """Correlate with a learned kernel and add a bias: ``(N, *spatial, C) -> (N, *out, F)``.

    Parameters
    ----------
    features : int
        Number F of output channels.
    kernel : int or tuple of int
        Size of the kernel, one for all spatial axes or one each.
    stride, padding, dilation, groups, padding_mode, layout, algorithm
        As in `xpconv.conv`.

    Raises
    ------
    TypeError
        `features`, `kernel` or `groups` is not an integer; what `xpconv.conv` refuses.
    ValueError
        One of them is below 1 or does not divide the channels; what `xpconv.conv` refuses.

    Notes
    -----
    The parameters are ``weight``, ``(*kernel, C / groups, F)`` in ``channels_last`` and ``(F, C / groups, *kernel)``
    in ``channels_first``, drawn with variance 2 / (number of products in one output), and ``bias`` (F,), zero at
    the start. The kernel is not flipped.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Conv(4, 3, padding="same")
    >>> params = layer.init(np.random.default_rng(0), (8, 8, 1))
    >>> params["weight"].shape, layer.forward(params, np.ones((2, 8, 8, 1), dtype=np.float32))[0].shape
    ((3, 3, 1, 4), (2, 8, 8, 4))
    """

    features: int
    kernel: Size
    stride: Size = 1
    padding: Padding = 0
    dilation: Size = 1
    groups: int = 1
    padding_mode: PaddingMode = "zeros"
    layout: Layout = "channels_last"
    algorithm: AlgorithmName = "auto"
    gives_new: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive_int("Conv", "features", self.features)
        positive_int("Conv", "groups", self.groups)
        for size in self.kernel if isinstance(self.kernel, tuple) else (self.kernel,):
            positive_int("Conv", "kernel", size)
        if self.layout not in LAYOUTS:
            raise ValueError(
                f"Conv: layout is 'channels_last' or 'channels_first'; got {self.layout!r}{meant(self.layout, LAYOUTS)}"
            )

    def init(self, rng: np.random.Generator, input_shape: tuple[int, ...], dtype: str = "float32") -> HostParams:
        """Draw ``weight`` and a zero ``bias`` (F,) for inputs of the shape ``(*spatial, C)`` or ``(C, *spatial)``."""
        rank = len(input_shape) - 1
        kernel = self.kernel if isinstance(self.kernel, tuple) else (self.kernel,) * rank
        if rank < 1 or len(kernel) != rank:
            raise ValueError(
                f"Conv: input_shape is the spatial axes and the channels, without the batch, and the kernel has one "
                f"size per spatial axis; got input_shape={input_shape}, kernel={self.kernel}"
            )
        last = self.layout == "channels_last"
        channels = positive_int("Conv", "the number of channels", input_shape[-1 if last else 0])
        if channels % self.groups or self.features % self.groups:
            raise ValueError(
                f"Conv: groups divides the input channels and the features; got groups={self.groups}, "
                f"{channels} input channels, features={self.features}"
            )
        depth = channels // self.groups
        shape = (*kernel, depth, self.features) if last else (self.features, depth, *kernel)
        weight = he_normal(rng, shape, math.prod(kernel) * depth, dtype)
        return {"weight": weight, "bias": np.zeros(self.features, dtype=dtype)}

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        """``(N, *spatial, C) -> (N, *out, F)``; the cache is x."""
        return conv(x, entry("Conv", params, "weight"), entry("Conv", params, "bias"), **self._options()), x

    def values(self, params: Params, x: Array) -> Array:
        """``(N, *spatial, C) -> (N, *out, F)``, without a cache, in tiles that a block of the output meets few of."""
        w, b = entry("Conv", params, "weight"), entry("Conv", params, "bias")
        if is_chunked(x, w, b):
            return self.forward(params, x)[0]
        return conv_in_tiles(x, w, b, self.windowing, self.algorithm)

    def multiplications(self, params: Params, output_shape: tuple[int, ...]) -> int:
        """Count the products for one input, whose output has this shape (without the batch axis)."""
        return products(math.prod(entry("Conv", params, "weight").shape), self.features, output_shape)

    def backward(self, params: Params, cache: Array, dy: Array) -> tuple[Array, Params]:
        """``(N, *out, F) -> (N, *spatial, C)``, and the gradients of ``weight`` and ``bias``."""
        dx, dw, db = conv_vjp(dy, cache, entry("Conv", params, "weight"), **self._options())
        return dx, {"weight": dw, "bias": db}

    def gradients(self, params: Params, cache: Array, dy: Array) -> Params:
        """``(N, *out, F) ->`` the gradients of ``weight`` and ``bias``."""
        weight = entry("Conv", params, "weight")
        if is_chunked(dy, cache, weight):  # lazily, so the gradient of the images is not computed
            _, dw, db = conv_vjp(dy, cache, weight, **self._options())
            return {"weight": dw, "bias": db}
        dw = conv_weight_grad(dy, cache, weight.shape, **self._options())
        return {"weight": dw, "bias": gradient_of_bias(Call.of("Conv", dy=dy, layout=self.layout), dy)}

    @property
    def windowing(self) -> Windowing:
        """The options of its windows."""
        return Windowing(self.stride, self.padding, self.dilation, self.groups, self.padding_mode, self.layout)

    def _options(self) -> dict[str, Any]:
        names = ("stride", "padding", "dilation", "groups", "padding_mode", "layout", "algorithm")
        return {name: getattr(self, name) for name in names}


@keywords_of
@dataclass(frozen=True)
class MaxPool:
    """Take the maximum of each window: ``(N, *spatial, C) -> (N, *out, C)``.

    Parameters
    ----------
    window, stride, padding, dilation, ceil_mode, layout
        As in `xpconv.max_pool`; the stride is the window if it is None.

    Raises
    ------
    TypeError, ValueError
        What `xpconv.max_pool` and `xpconv.max_pool_vjp` refuse.

    Notes
    -----
    Where a window has several maxima, the first takes the whole gradient, as in PyTorch.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> MaxPool(2).forward({}, x)[0][0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """

    window: Size
    stride: Size | None = None
    padding: Padding = 0
    dilation: Size = 1
    ceil_mode: bool = False
    layout: Layout = "channels_last"
    gives_new: ClassVar[bool] = True

    def init(self, rng: np.random.Generator, input_shape: tuple[int, ...], dtype: str = "float32") -> HostParams:
        """There are no parameters."""
        return {}

    def forward(self, params: Params, x: Array) -> tuple[Array, Cache]:
        """``(N, *spatial, C) -> (N, *out, C)``; the cache is x, or its shape and the places of the maxima."""
        if not keeps_indices(x, self.window, self.stride, self.dilation):
            return self.values(params, x), x
        y, indices = max_pool(x, self.window, return_indices=True, **self._options())
        return y, (tuple(x.shape), indices)

    def values(self, params: Params, x: Array) -> Array:
        """``(N, *spatial, C) -> (N, *out, C)``, without a cache."""
        y: Array = max_pool(x, self.window, **self._options())
        return y

    def backward(self, params: Params, cache: Cache, dy: Array) -> tuple[Array, Params]:
        """``(N, *out, C) -> (N, *spatial, C)``."""
        x, indices = cache if isinstance(cache, tuple) else (cache, None)
        return max_pool_vjp(dy, x, self.window, ties="first", indices=indices, **self._options()), {}

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "ceil_mode", "layout")}


@keywords_of
@dataclass(frozen=True)
class AvgPool:
    """Take the average of each window: ``(N, *spatial, C) -> (N, *out, C)``.

    Parameters
    ----------
    window, stride, padding, dilation, ceil_mode, count_include_pad, layout
        As in `xpconv.avg_pool`; the stride is the window if it is None.

    Raises
    ------
    TypeError, ValueError
        What `xpconv.avg_pool` and `xpconv.avg_pool_vjp` refuse.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> AvgPool(2).forward({}, x)[0][0, :, :, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """

    window: Size
    stride: Size | None = None
    padding: Padding = 0
    dilation: Size = 1
    ceil_mode: bool = False
    count_include_pad: bool = True
    layout: Layout = "channels_last"
    gives_new: ClassVar[bool] = True

    def init(self, rng: np.random.Generator, input_shape: tuple[int, ...], dtype: str = "float32") -> HostParams:
        """There are no parameters."""
        return {}

    def forward(self, params: Params, x: Array) -> tuple[Array, tuple[int, ...]]:
        """``(N, *spatial, C) -> (N, *out, C)``; the cache is the shape of x."""
        return avg_pool(x, self.window, **self._options()), tuple(x.shape)

    def backward(self, params: Params, cache: tuple[int, ...], dy: Array) -> tuple[Array, Params]:
        """``(N, *out, C) -> (N, *spatial, C)``."""
        return avg_pool_vjp(dy, cache, self.window, **self._options()), {}

    def _options(self) -> dict[str, Any]:
        names = ("stride", "padding", "dilation", "ceil_mode", "count_include_pad", "layout")
        return {name: getattr(self, name) for name in names}
