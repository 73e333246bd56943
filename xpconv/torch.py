"""xpconv's operations as PyTorch autograd functions, differentiable any number of times.

Autograd sees through the plain functions as well, but then it keeps what each step of the forward pass made: the
columns of every tile, which is the input times the number of a kernel's taps. Here the backward pass is xpconv's own:
it keeps the arguments and nothing else, works within ``max_workspace``, computes only the gradients that are asked for,
and gives the same bits on every run. It is itself made of such functions, so ``create_graph=True`` works to any order.

Forward mode and ``torch.func.vmap`` are left to the plain functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from xpconv._ops.conv import conv as plain_conv
from xpconv._ops.conv import conv_input_grad, conv_weight_grad
from xpconv._ops.derivatives import Options, arrays_of, options, planes, transposed
from xpconv._ops.pool import avg_pool as plain_avg_pool
from xpconv._ops.pool import avg_pool_vjp, max_pool_vjp
from xpconv._ops.pool import max_pool as plain_max_pool
from xpconv._ops.transpose import conv_transpose as plain_conv_transpose

__all__ = ["avg_pool", "conv", "conv_transpose", "max_pool"]

Tensor = Any
Size = int | tuple[int, ...]
Padding = int | str | tuple[int, ...] | tuple[tuple[int, int], ...]
Map = Callable[[Tensor, Tensor | None], Tensor]


class _Slot(torch.autograd.Function):  # type: ignore[misc]
    """Differentiate dz · conv(x, w) by the slot 0 (dz), 1 (x) or 2 (w): a map of the arrays in the two other slots.

    The form is linear in each slot, so the gradients of such a map are maps of this kind, the result's gradient in
    its slot.
    """

    @staticmethod
    def forward(first: Tensor, second: Tensor, b: Tensor | None, slot: int, shapes: Any, given: Options) -> Tensor:
        if slot == 0:
            return plain_conv(first, second, b, **dict(given))
        function = conv_input_grad if slot == 1 else conv_weight_grad
        return function(first, second, shapes[slot - 1], **dict(given))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        first, second, _, ctx.slot, ctx.shapes, ctx.given = inputs
        _keep(ctx, first, second)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        slots = list(ctx.saved_tensors)
        slots.insert(ctx.slot, gradient)
        found: list[Tensor | None] = []
        for slot, needed in zip([s for s in range(3) if s != ctx.slot], ctx.needs_input_grad, strict=False):
            others = [array for s, array in enumerate(slots) if s != slot]
            found.append(_Slot.apply(*others, None, slot, ctx.shapes, ctx.given) if needed else None)
        db = _channel_sum(gradient, ctx.given) if ctx.needs_input_grad[2] else None
        return (*found, db, None, None, None)


class _ConvTranspose(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor | None, given: Options) -> Tensor:
        return plain_conv_transpose(x, w, b, **dict(given))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, w, _, given = inputs
        ctx.given, shape, ctx.inner = transposed(x.shape, w.shape, given)
        ctx.shapes = shape, tuple(w.shape)
        _keep(ctx, x, w)

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        (x, w), needed, inner = ctx.saved_tensors, ctx.needs_input_grad, dz[ctx.inner]
        dx = _Slot.apply(inner, w.conj(), None, 0, ctx.shapes, ctx.given) if needed[0] else None
        dw = _Slot.apply(x, inner, None, 2, ctx.shapes, ctx.given).conj() if needed[1] else None
        return dx, dw, _channel_sum(dz, ctx.given) if needed[2] else None, None


def _keep(ctx: Any, first: Tensor, second: Tensor) -> None:
    """Save of two factors the one that the other's gradient needs."""
    needed = ctx.needs_input_grad
    ctx.save_for_backward(first if needed[1] else None, second if needed[0] else None)


def _channel_sum(dz: Tensor, given: Options) -> Tensor:
    channel = dz.ndim - 1 if dict(given)["layout"] == "channels_last" else 1
    return dz.sum(dim=[axis for axis in range(dz.ndim) if axis != channel])


class _Linear(torch.autograd.Function):  # type: ignore[misc]
    """Apply a linear map whose adjoint is known; `fixed` is what both may look at."""

    @staticmethod
    def forward(array: Tensor, fixed: Tensor | None, there: Map, back: Map) -> Tensor:
        return there(array, fixed)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, fixed, ctx.there, ctx.back = inputs
        ctx.save_for_backward(fixed)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _Linear.apply(gradient, ctx.saved_tensors[0], ctx.back, ctx.there), None, None, None


class _MaxPool(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(x: Tensor, window: Size, given: Options, return_indices: bool) -> Any:
        return plain_max_pool(x, window, return_indices=return_indices, **dict(given))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, ctx.window, ctx.given, return_indices = inputs
        ctx.save_for_backward(x)
        if return_indices:
            ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        back, there = (partial(function, ctx.window, ctx.given) for function in (_put_back, _select))
        return _Linear.apply(dy, ctx.saved_tensors[0], back, there), None, None, None


def _put_back(window: Size, given: Options, dy: Tensor, x: Tensor) -> Tensor:
    return max_pool_vjp(dy, x, window, **dict(given))


def _select(window: Size, given: Options, g: Tensor, x: Tensor) -> Tensor:
    layout = dict(given)["layout"]
    _, indices = plain_max_pool(x, window, return_indices=True, **dict(given))
    flat = indices.reshape(planes(indices.shape, layout))
    picked = torch.gather(g.reshape(planes(g.shape, layout)), 1 if layout == "channels_last" else 2, flat.clamp(min=0))
    return torch.where(flat < 0, 0, picked).reshape(indices.shape)  # -1: a window without a tap in the image


def conv(
    x: Tensor, w: Tensor, b: Tensor | None = None, *, stride: Size = 1, padding: Padding = 0, dilation: Size = 1,
    groups: int = 1, padding_mode: str = "zeros", layout: str = "channels_last", algorithm: str = "auto",
    dtype: Any = None,
) -> Tensor:  # fmt: skip
    """Convolve as `xpconv.conv`; `dtype` converts the arguments first, `algorithm` is also that of the gradients."""
    x, w, b = arrays_of("torch", "conv", x, w, b, dtype)
    given = options(
        stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode, layout=layout,
        algorithm=algorithm,
    )  # fmt: skip
    return _Slot.apply(x, w, b, 0, (tuple(x.shape), tuple(w.shape)), given)


def conv_transpose(
    x: Tensor, w: Tensor, b: Tensor | None = None, *, stride: Size = 1, padding: Padding = 0,
    output_padding: Size = 0, dilation: Size = 1, groups: int = 1, layout: str = "channels_last",
) -> Tensor:  # fmt: skip
    """Convolve transposed, as `xpconv.conv_transpose`."""
    x, w, b = arrays_of("torch", "conv_transpose", x, w, b)
    given = options(
        stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups, layout=layout
    )
    return _ConvTranspose.apply(x, w, b, given)


def max_pool(
    x: Tensor, window: Size, *, stride: Size | None = None, padding: Padding = 0, dilation: Size = 1,
    ceil_mode: bool = False, layout: str = "channels_last", return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
    """Take maxima as `xpconv.max_pool`; of equal ones the first gets the gradient. Indices have none."""
    arrays_of("torch", "max_pool", x)
    given = options(stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, layout=layout)
    return _MaxPool.apply(x, window, given, return_indices)


def avg_pool(
    x: Tensor, window: Size, *, stride: Size | None = None, padding: Padding = 0, dilation: Size = 1,
    ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "channels_last",
) -> Tensor:  # fmt: skip
    """Take means as `xpconv.avg_pool`."""
    arrays_of("torch", "avg_pool", x)
    given = options(
        stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, count_include_pad=count_include_pad,
        layout=layout,
    )  # fmt: skip
    shape, keywords = tuple(x.shape), dict(given)
    return _Linear.apply(
        x, None, lambda array, _: plain_avg_pool(array, window, **keywords),
        lambda dy, _: avg_pool_vjp(dy, shape, window, **keywords),
    )  # fmt: skip
