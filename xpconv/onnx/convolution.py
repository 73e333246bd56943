"""Conv, ConvTranspose, ConvInteger and QLinearConv as classes for ONNX's reference evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

import xpconv as xc
from xpconv.onnx.attributes import demand_kernel, padding, pairs, per_axis
from xpconv.onnx.memory import channels_first, channels_last

Array = Any
COPIED = 1 << 25  # bytes of images whose channels are laid last before they are convolved
SIZES = 8  # of images, for which a node keeps its convolution


def _convolve(operator: str, x: Array, w: Array, b: Array | None, attributes: dict[str, Any], dtype: Any = None) -> Any:
    """Call `xpconv.conv` with what ONNX's four attributes of windows, group and kernel_shape say."""
    return xc.conv(x, w, b, dtype=dtype, **_options(operator, x, w, attributes))


def _options(operator: str, x: Array, w: Array, attributes: dict[str, Any]) -> dict[str, Any]:
    rank = x.ndim - 2
    demand_kernel(operator, attributes["kernel_shape"], w.shape)
    return {
        "stride": per_axis(attributes["strides"], rank),
        "padding": padding(operator, attributes["auto_pad"], attributes["pads"], rank),
        "dilation": per_axis(attributes["dilations"], rank),
        "groups": attributes["group"],
        "layout": "channels_first",
    }


class Conv(OpRun):  # type: ignore[misc]
    """Convolve, as `xpconv.conv` does.

    In an `Evaluator` it knows the arrays that are a part of the model, ``constants``. With such a kernel and bias it
    prepares the convolution once for each size of the images. Then the channels of its result lie last in memory, and
    so do those of what is computed element by element from it: what comes next finds them as they are wanted.
    """

    op_domain = ""
    constants: Mapping[str, Array] = {}

    def _run(self, x: Array, w: Array, b: Array | None = None, **attributes: Any) -> tuple[Array]:
        if self.has_linked_attribute or not self._constant(w, b):
            return (_convolve("Conv", x, w, b, attributes),)
        prepared = self.__dict__.setdefault("_prepared", {})
        images = channels_last(x)
        if x.shape[1:] not in prepared:
            if len(prepared) == SIZES:
                prepared.clear()
            options = _options("Conv", x, w, attributes) | {"layout": "channels_last"}
            kernel = w.transpose(*range(2, w.ndim), 1, 0)  # (F, C/G, *kernel) -> (*kernel, C/G, F)
            prepared[x.shape[1:]] = xc.prepare_conv(kernel, b, input_shape=images.shape, **options)
        if not images.flags.c_contiguous and images.nbytes <= COPIED:
            images = np.ascontiguousarray(images)
        return (channels_first(prepared[x.shape[1:]](images)),)

    def _constant(self, *arrays: Array | None) -> bool:
        """Say whether these are the model's own: an input of the same name may stand for one of them."""
        names = self.input[1 : 1 + len(arrays)]
        return all(a is None or self.constants.get(name) is a for name, a in zip(names, arrays, strict=False))


class ConvTranspose(OpRun):  # type: ignore[misc]
    """Convolve transposed, as `xpconv.conv_transpose` does; an output may be longer than what its taps reach."""

    op_domain = ""

    def _run(self, x: Array, w: Array, b: Array | None = None, **attributes: Any) -> tuple[Array]:
        rank = x.ndim - 2
        demand_kernel("ConvTranspose", attributes["kernel_shape"], w.shape)
        strides, dilations = (per_axis(attributes[name], rank) for name in ("strides", "dilations"))
        extra = per_axis(attributes["output_padding"], rank, default=0)
        limits = [max(pair) for pair in zip(strides, dilations, strict=True)]
        if any(more >= limit for more, limit in zip(extra, limits, strict=True)):
            raise ValueError(f"ConvTranspose: output_padding is below max(stride, dilation); got {extra}")
        whole = [
            (n - 1) * s + d * (k - 1) + 1
            for n, s, d, k in zip(x.shape[2:], strides, dilations, w.shape[2:], strict=True)
        ]  # what the taps reach
        size = _wanted_size(x.shape[2:], strides, attributes)
        if size is None:
            pads = padding("ConvTranspose", attributes["auto_pad"], attributes["pads"], rank) or pairs("", None, rank)
            cut = [(before, after - more) for (before, after), more in zip(pads, extra, strict=True)]
        else:
            upper = attributes["auto_pad"] == "SAME_UPPER"
            cut = [_cut(reach, more, n, upper) for reach, more, n in zip(whole, extra, size, strict=True)]
        y = xc.conv_transpose(
            x,
            w,
            b,
            stride=strides,
            padding=tuple((before, max(after, 0)) for before, after in cut),
            dilation=dilations,
            groups=attributes["group"],
            layout="channels_first",
        )
        return (_lengthened(y, [max(-after, 0) for _, after in cut], b),)


def _wanted_size(size: tuple[int, ...], strides: tuple[int, ...], attributes: dict[str, Any]) -> list[int] | None:
    """Give the output's spatial sizes where they are asked for; then pads says nothing."""
    if attributes["output_shape"]:
        return list(attributes["output_shape"])[-len(size) :]
    if attributes["auto_pad"] in ("SAME_UPPER", "SAME_LOWER"):
        return [n * s for n, s in zip(size, strides, strict=True)]
    return None


def _cut(reach: int, more: int, wanted: int, upper: bool) -> tuple[int, int]:
    """Split what an axis has too much, the odd pixel after (upper) or before; below 0 is what it lacks, at its end."""
    total = max(reach + more - wanted, 0)
    before = total // 2 if upper else total - total // 2
    return before, reach - wanted - before


def _lengthened(y: Array, missing: list[int], b: Array | None) -> Array:
    """Add pixels at the ends of the spatial axes that no tap reaches: they hold the bias."""
    if not any(missing):
        return y
    whole = np.zeros((*y.shape[:2], *(n + more for n, more in zip(y.shape[2:], missing, strict=True))), y.dtype)
    if b is not None:
        whole += b.reshape(-1, *[1] * len(missing))
    whole[tuple(slice(n) for n in y.shape)] = y
    return whole


def _spread(numbers: Array, rank: int) -> Array:
    """Let numbers, one for all or one for each entry of the first axis, broadcast with an array of that rank."""
    return numbers.reshape(-1, *[1] * (rank - 1)) if numbers.size > 1 else numbers.reshape(())


def _without_zero_point(x: Array, zero_point: Array | None) -> Array:
    """Subtract a zero point, one for all or one for each entry of the first axis; int16 holds every difference."""
    if zero_point is None or not np.any(zero_point):
        return x
    zero_point = _spread(np.asarray(zero_point), x.ndim)
    return x.astype(np.int16) - zero_point.astype(np.int16)


def _whole_numbers(operator: str, x: Array, w: Array, b: Array | None, attributes: dict[str, Any]) -> Array:
    """Convolve 8-bit numbers, or differences of such, exactly in int32."""
    if x.dtype != w.dtype:
        x, w = x.astype(np.int16), w.astype(np.int16)
    z = _convolve(operator, x, w, None, attributes, dtype=np.int32)
    return z if b is None else z + b.reshape(-1, *[1] * (z.ndim - 2))


class ConvInteger(OpRun):  # type: ignore[misc]
    """Convolve 8-bit integers exactly, with sums in int32."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        w: Array,
        x_zero_point: Array | None = None,
        w_zero_point: Array | None = None,
        **attributes: Any,
    ) -> tuple[Array]:
        x, w = _without_zero_point(x, x_zero_point), _without_zero_point(w, w_zero_point)
        return (_whole_numbers("ConvInteger", x, w, None, attributes),)


class QLinearConv(OpRun):  # type: ignore[misc]
    """Convolve quantised numbers exactly, scale the sums, round half to even, add the zero point, and saturate."""

    op_domain = ""

    def _run(self, x: Array, *others: Array, **attributes: Any) -> tuple[Array]:
        x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, *bias = others
        x, w = _without_zero_point(x, x_zero_point), _without_zero_point(w, w_zero_point)
        z = _whole_numbers("QLinearConv", x, w, bias[0] if bias else None, attributes)
        scale = np.asarray(x_scale * w_scale / y_scale, np.float32)  # one for all or one for each output channel
        limits = np.iinfo(y_zero_point.dtype)
        scale = _spread(scale, z.ndim - 1)
        y = np.rint(z * scale.astype(np.float64)) + y_zero_point.reshape(()).astype(np.float64)
        return (np.clip(y, limits.min, limits.max).astype(y_zero_point.dtype),)
