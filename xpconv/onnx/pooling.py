"""The pools of ONNX as classes for its reference evaluator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

import xpconv as xc
from xpconv.onnx.attributes import padding, pairs, per_axis
from xpconv.onnx.memory import channels_first, channels_last, lie_last

Array = Any


def _windows(operator: str, x: Array, attributes: dict[str, Any]) -> dict[str, Any]:
    """Give the keywords of xpconv's pools; older opsets lack some of the attributes."""
    rank = x.ndim - 2
    return {
        "stride": per_axis(attributes["strides"], rank),
        "padding": padding(operator, attributes["auto_pad"], attributes["pads"], rank),
        "dilation": per_axis(attributes.get("dilations"), rank),
        "ceil_mode": bool(attributes.get("ceil_mode")),
        "layout": "channels_first",
    }


def _pool(pool: Callable[..., Array], x: Array, *what: Any, **windows: Any) -> Array:
    """Pool; where channels lie last in memory they do so in the result."""
    if not lie_last(x):
        return pool(x, *what, **windows)
    return channels_first(pool(channels_last(x), *what, **windows | {"layout": "channels_last"}))


class MaxPool(OpRun):  # type: ignore[misc]
    """Take maxima, and where they are: flat over the whole tensor, as ONNX counts them."""

    op_domain = ""

    def _run(self, x: Array, **attributes: Any) -> tuple[Array, ...]:
        windows = _windows("MaxPool", x, attributes)
        if len(self.output) < 2 or not self.output[1]:
            return (_pool(xc.max_pool, x, tuple(attributes["kernel_shape"]), **windows),)
        y, places = xc.max_pool(x, tuple(attributes["kernel_shape"]), return_indices=True, **windows)
        return y, _counted_over_all(places, x.shape, bool(attributes.get("storage_order")))


def _counted_over_all(places: Array, shape: tuple[int, ...], column_major: bool) -> Array:
    """Count places over all images and channels; -1, of a window without a tap, stays."""
    batch, channels, *size = shape
    planes = np.arange(batch * channels).reshape(batch, channels, *[1] * len(size)) * math.prod(size)
    inside = places
    if column_major:  # within a plane the first spatial axis runs fastest
        inside = np.ravel_multi_index(np.unravel_index(np.maximum(places, 0), size), size, order="F")
    return np.where(places < 0, -1, inside + planes)


class AveragePool(OpRun):  # type: ignore[misc]
    """Take means; the padding counts only where it is asked for, which is not the default of `xpconv.avg_pool`."""

    op_domain = ""

    def _run(self, x: Array, **attributes: Any) -> tuple[Array]:
        windows = _windows("AveragePool", x, attributes)
        counted = bool(attributes["count_include_pad"])
        return (_pool(xc.avg_pool, x, tuple(attributes["kernel_shape"]), count_include_pad=counted, **windows),)


class LpPool(OpRun):  # type: ignore[misc]
    """Take p-norms."""

    op_domain = ""

    def _run(self, x: Array, **attributes: Any) -> tuple[Array]:
        windows = _windows("LpPool", x, attributes)
        return (_pool(xc.lp_pool, x, attributes["p"], tuple(attributes["kernel_shape"]), **windows),)


def _whole(pool: Callable[..., Array], x: Array, *p: int) -> Array:
    """Pool each plane, of any number of spatial axes, as a line of all its pixels."""
    size = math.prod(x.shape[2:])
    shape = (*x.shape[:2], *[1] * (x.ndim - 2))
    if lie_last(x):
        line = channels_last(x).reshape(x.shape[0], size, x.shape[1])
        return pool(line, *p, size).reshape(shape)
    return pool(x.reshape(*x.shape[:2], size), *p, size, layout="channels_first").reshape(shape)


class GlobalMaxPool(OpRun):  # type: ignore[misc]
    """Take the maximum of each plane."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (_whole(xc.max_pool, x),)


class GlobalAveragePool(OpRun):  # type: ignore[misc]
    """Take the mean of each plane."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (_whole(xc.avg_pool, x),)


class GlobalLpPool(OpRun):  # type: ignore[misc]
    """Take the p-norm of each plane."""

    op_domain = ""

    def _run(self, x: Array, p: int) -> tuple[Array]:
        return (_whole(xc.lp_pool, x, p),)


class MaxUnpool(OpRun):  # type: ignore[misc]
    """Put maxima back where they were; an output_shape adds zeros at the ends of the axes."""

    op_domain = ""

    def _run(self, y: Array, indices: Array, output_shape: Array | None = None, **attributes: Any) -> tuple[Array]:
        rank = y.ndim - 2
        kernel, strides = tuple(attributes["kernel_shape"]), per_axis(attributes["strides"], rank)
        size = tuple(
            (n - 1) * s + k - before - after
            for n, s, k, (before, after) in zip(
                y.shape[2:], strides, kernel, pairs("MaxUnpool", attributes["pads"], rank), strict=True
            )
        )
        planes = np.arange(math.prod(y.shape[:2])).reshape(*y.shape[:2], *[1] * rank) * math.prod(size)
        x = xc.max_unpool(y, np.where(indices < 0, -1, indices - planes), size, layout="channels_first")
        if output_shape is None or tuple(output_shape) == x.shape:
            return (x,)
        wanted = tuple(map(int, output_shape))
        if len(wanted) != x.ndim or any(n < m for n, m in zip(wanted, x.shape, strict=True)):
            raise ValueError(f"MaxUnpool: output_shape is at least {x.shape}, what the windows cover; got {wanted}")
        whole = np.zeros(wanted, x.dtype)
        whole[tuple(map(slice, x.shape))] = x
        return (whole,)
