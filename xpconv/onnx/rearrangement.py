"""Col2Im and Pad as classes for ONNX's reference evaluator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

import xpconv as xc
from xpconv.onnx.attributes import pairs, per_axis

Array = Any


class Col2Im(OpRun):  # type: ignore[misc]
    """Add windows up where they overlap, as `xpconv.fold` does."""

    op_domain = ""

    def _run(self, cols: Array, image_shape: Array, block_shape: Array, **attributes: Any) -> tuple[Array]:
        image, block = tuple(map(int, image_shape)), tuple(map(int, block_shape))
        rank = len(image)
        pads = pairs("Col2Im", attributes["pads"], rank)
        strides, dilations = (per_axis(attributes[name], rank) for name in ("strides", "dilations"))
        steps = [
            (n + before + after - d * (k - 1) - 1) // s + 1
            for n, (before, after), d, k, s in zip(image, pads, dilations, block, strides, strict=True)
        ]
        channels, rest = divmod(cols.shape[1], math.prod(block))
        if rest or cols.shape[2] != math.prod(steps):
            raise ValueError(
                f"Col2Im: windows {block} on an image {image} are {tuple(steps)}; the input's axes 1 and 2 hold a "
                f"multiple of {math.prod(block)} and {math.prod(steps)}; got a shape of {cols.shape}"
            )
        windows = cols.reshape(cols.shape[0], channels, *block, *steps)
        options: dict[str, Any] = {
            "stride": strides,
            "padding": pads,
            "dilation": dilations,
            "layout": "channels_first",
        }
        return (xc.fold(windows, (cols.shape[0], channels, *image), block, **options),)


MODES = ("constant", "reflect", "edge", "wrap")  # NumPy's words are the same


class Pad(OpRun):  # type: ignore[misc]
    """Pad any axes of anything, and crop those with negative pads."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        pads: Array,  # until opset 10 an attribute, as is value
        constant_value: Array | None = None,
        axes: Array | None = None,
        mode: str = "constant",
        value: float | None = None,
    ) -> tuple[Array]:
        chosen = range(x.ndim) if axes is None else [int(axis) % x.ndim for axis in axes]
        widths = [(0, 0)] * x.ndim
        for axis, pair in zip(chosen, pairs("Pad", [int(n) for n in pads], len(chosen)), strict=True):
            widths[axis] = pair
        x = x[tuple(slice(max(-lo, 0), n + min(hi, 0)) for n, (lo, hi) in zip(x.shape, widths, strict=True))]
        widths = [(max(lo, 0), max(hi, 0)) for lo, hi in widths]
        if mode == "constant":
            return (_framed(x, widths, value if constant_value is None else constant_value),)
        if mode not in MODES:
            raise ValueError(f"Pad: mode is one of {', '.join(MODES)}; got {mode!r}")
        word: Any = mode
        return (np.pad(x, widths, mode=word),)


def _framed(x: Array, widths: list[tuple[int, int]], value: Array | float | None) -> Array:
    """Lay an array in a larger one that holds a constant, by default the zero of its kind: 0, False or ''."""
    shape = [lo + n + hi for n, (lo, hi) in zip(x.shape, widths, strict=True)]
    nothing = "" if x.dtype.kind in "OUS" else 0
    fill = nothing if value is None or np.size(value) == 0 else np.asarray(value).reshape(())[()]
    framed = np.full(shape, fill, x.dtype)
    framed[tuple(slice(lo, lo + n) for n, (lo, _) in zip(x.shape, widths, strict=True))] = x
    return framed
