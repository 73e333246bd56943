"""JAX: jitted forward passes, channels last; XLA decides itself how many threads it uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.layers import Array, Data, Layer

NOTE = "JAX: jitted, waited for; XLA's threads cannot be set reliably, so it uses what it finds"


def _ready(function: Any, *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments).block_until_ready()


def _compiled(jax: Any, function: Callable[..., Any]) -> Any:
    return jax.jit(function)


def conv(jax: Any, layer: Layer, data: Data) -> Callable[[], Any]:
    """Give the call of a layer's convolution; its first call compiles."""

    def run(x: Any, w: Any, b: Any) -> Any:
        return b + jax.lax.conv_general_dilated(
            x, w, (layer.stride,) * 2, layer.pads, dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=layer.groups,
        )  # fmt: skip

    return _ready(_compiled(jax, run), *map(jax.numpy.asarray, (data.x, data.w, data.b)))


def pool(jax: Any, x: Array, kind: str, window: int, stride: int, padding: int) -> Callable[[], Any]:
    """Give the call of a pooling; its first call compiles."""
    lax = jax.lax
    size, steps = (1, window, window, 1), (1, stride, stride, 1)
    pads = ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0))

    def run(x: Any) -> Any:
        if kind == "max":
            return lax.reduce_window(x, -jax.numpy.inf, lax.max, size, steps, pads)
        return lax.reduce_window(x, 0.0, lax.add, size, steps, pads) / window**2

    return _ready(_compiled(jax, run), jax.numpy.asarray(x))
