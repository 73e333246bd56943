"""xpconv's operations with JAX derivatives of their own, under ``jit``, ``vmap`` and ``grad`` of ``grad``.

JAX differentiates the plain functions as well, but then it keeps what each step of the forward pass made: the columns
of every window, which is the input times the number of a kernel's taps. Here the backward pass is xpconv's own: it
keeps the arguments and nothing else, and the gradient of the input is a set of plain convolutions. It is itself made of
such functions, so ``jax.grad`` works to any order, as does ``jax.jacrev`` of ``jax.jacrev``.

Forward mode (``jax.jvp``, ``jax.jacfwd``, ``jax.hessian``) is left to the plain functions: JAX refuses it for these.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from xpconv._ops.conv import conv as plain_conv
from xpconv._ops.conv import conv_input_grad, conv_weight_grad
from xpconv._ops.derivatives import Options, arrays_of, options, planes, transposed
from xpconv._ops.pool import avg_pool as plain_avg_pool
from xpconv._ops.pool import avg_pool_vjp, max_pool_vjp
from xpconv._ops.pool import max_pool as plain_max_pool
from xpconv._ops.transpose import conv_transpose as plain_conv_transpose

__all__ = ["avg_pool", "conv", "conv_transpose", "max_pool"]

Array = Any
Size = int | tuple[int, ...]
Padding = int | str | tuple[int, ...] | tuple[tuple[int, int], ...]


# dz · conv(x, w), with the plain product of complex numbers, as JAX has it, is linear in each of dz, x and w. Its
# derivative by the slot 0 (dz), 1 (x) or 2 (w) is a map of the arrays in the two other slots, and the gradients of
# such a map are maps of this kind, the result's gradient in its slot.


def _evaluate(first: Array, second: Array, b: Array | None, slot: int, shapes: Any, given: Options) -> Array:
    if slot == 0:
        return plain_conv(first, second, b, **dict(given))
    # xpconv's gradients are adjoints, which conjugate the image or the kernel; here it is conjugated back
    function = conv_input_grad if slot == 1 else conv_weight_grad
    return function(first, _conjugate(second), shapes[slot - 1], **dict(given))


def _evaluate_forward(first: Array, second: Array, b: Array | None, slot: int, shapes: Any, given: Options) -> Any:
    return _slot(first, second, b, slot, shapes, given), (first, second, b)


def _evaluate_backward(slot: int, shapes: Any, given: Options, kept: Any, gradient: Array) -> tuple[Array | None, ...]:
    first, second, b = kept
    slots = [first, second]
    slots.insert(slot, gradient)
    found = []
    for place in [s for s in range(3) if s != slot]:
        others = [array for s, array in enumerate(slots) if s != place]
        found.append(_slot(*others, None, place, shapes, given))
    return found[0], found[1], None if b is None else _channel_sum(gradient, given)


_slot = jax.custom_vjp(_evaluate, nondiff_argnums=(3, 4, 5))
_slot.defvjp(_evaluate_forward, _evaluate_backward)


def _transpose(x: Array, w: Array, b: Array | None, given: Options) -> Array:
    return plain_conv_transpose(x, w, b, **dict(given))


def _transpose_forward(x: Array, w: Array, b: Array | None, given: Options) -> Any:
    return _conv_transpose(x, w, b, given), (x, w, b)


def _transpose_backward(given: Options, kept: Any, dz: Array) -> tuple[Array | None, ...]:
    x, w, b = kept
    inner_given, shape, index = transposed(x.shape, w.shape, given)
    inner, shapes = dz[index], (shape, tuple(w.shape))
    dx = _slot(inner, w, None, 0, shapes, inner_given)
    dw = _slot(x, inner, None, 2, shapes, inner_given)
    return dx, dw, None if b is None else _channel_sum(dz, given)


_conv_transpose = jax.custom_vjp(_transpose, nondiff_argnums=(3,))
_conv_transpose.defvjp(_transpose_forward, _transpose_backward)


def _conjugate(array: Array) -> Array:
    return jnp.conj(array) if jnp.iscomplexobj(array) else array


def _channel_sum(dz: Array, given: Options) -> Array:
    channel = dz.ndim - 1 if dict(given)["layout"] == "channels_last" else 1
    return jnp.sum(dz, axis=tuple(axis for axis in range(dz.ndim) if axis != channel))


# Max pooling selects, its gradient puts back where it was selected, and the gradient of that selects again. An average
# and its gradient are each other's adjoints.


def _max(x: Array, window: Size, given: Options) -> Array:
    return plain_max_pool(x, window, **dict(given))


def _put(dy: Array, x: Array, window: Size, given: Options) -> Array:
    return max_pool_vjp(dy, x, window, **dict(given))


def _take(g: Array, x: Array, window: Size, given: Options) -> Array:
    layout = dict(given)["layout"]
    _, indices = plain_max_pool(x, window, return_indices=True, **dict(given))
    flat = jnp.reshape(indices, planes(indices.shape, layout))
    images, axis = jnp.reshape(g, planes(g.shape, layout)), 1 if layout == "channels_last" else 2
    picked = jnp.take_along_axis(images, jnp.clip(flat, 0), axis=axis)
    return jnp.reshape(jnp.where(flat < 0, 0, picked), indices.shape)  # -1: a window without a tap in the image


def _mean(x: Array, shape: Any, window: Size, given: Options) -> Array:
    return plain_avg_pool(x, window, **dict(given))


def _spread(dy: Array, shape: Any, window: Size, given: Options) -> Array:
    return avg_pool_vjp(dy, shape, window, **dict(given))


_max_pool = jax.custom_vjp(_max, nondiff_argnums=(1, 2))
_put_back, _select = (jax.custom_vjp(function, nondiff_argnums=(2, 3)) for function in (_put, _take))
_avg_pool, _spread_out = (jax.custom_vjp(function, nondiff_argnums=(1, 2, 3)) for function in (_mean, _spread))
_max_pool.defvjp(
    lambda x, window, given: (_max_pool(x, window, given), x),
    lambda window, given, x, dy: (_put_back(dy, x, window, given),),
)
_put_back.defvjp(
    lambda dy, x, window, given: (_put_back(dy, x, window, given), x),
    lambda window, given, x, g: (_select(g, x, window, given), jnp.zeros_like(x)),
)
_select.defvjp(
    lambda g, x, window, given: (_select(g, x, window, given), x),
    lambda window, given, x, dy: (_put_back(dy, x, window, given), jnp.zeros_like(x)),
)
_avg_pool.defvjp(
    lambda x, *rest: (_avg_pool(x, *rest), None), lambda *rest: (_spread_out(rest[-1], *rest[:-2]),)
)  # fmt: skip
_spread_out.defvjp(
    lambda dy, *rest: (_spread_out(dy, *rest), None), lambda *rest: (_avg_pool(rest[-1], *rest[:-2]),)
)  # fmt: skip


def conv(
    x: Array, w: Array, b: Array | None = None, *, stride: Size = 1, padding: Padding = 0, dilation: Size = 1,
    groups: int = 1, padding_mode: str = "zeros", layout: str = "channels_last", algorithm: str = "auto",
    dtype: Any = None,
) -> Array:  # fmt: skip
    """Convolve as `xpconv.conv`; `dtype` converts the arguments first, `algorithm` is also that of the gradients."""
    x, w, b = arrays_of("jax", "conv", x, w, b, dtype)
    given = options(
        stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode, layout=layout,
        algorithm=algorithm,
    )  # fmt: skip
    return _slot(x, w, b, 0, (tuple(x.shape), tuple(w.shape)), given)


def conv_transpose(
    x: Array, w: Array, b: Array | None = None, *, stride: Size = 1, padding: Padding = 0, output_padding: Size = 0,
    dilation: Size = 1, groups: int = 1, layout: str = "channels_last",
) -> Array:  # fmt: skip
    """Convolve transposed, as `xpconv.conv_transpose`."""
    x, w, b = arrays_of("jax", "conv_transpose", x, w, b)
    given = options(
        stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups, layout=layout
    )
    return _conv_transpose(x, w, b, given)


def max_pool(
    x: Array, window: Size, *, stride: Size | None = None, padding: Padding = 0, dilation: Size = 1,
    ceil_mode: bool = False, layout: str = "channels_last", return_indices: bool = False,
) -> Array | tuple[Array, Array]:  # fmt: skip
    """Take maxima as `xpconv.max_pool`; of equal ones the first gets the gradient. Indices have none."""
    arrays_of("jax", "max_pool", x)
    given = options(stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, layout=layout)
    (_, size), = options(window=window)  # fmt: skip
    y = _max_pool(x, size, given)
    if not return_indices:
        return y
    return y, plain_max_pool(jax.lax.stop_gradient(x), window, return_indices=True, **dict(given))[1]


def avg_pool(
    x: Array, window: Size, *, stride: Size | None = None, padding: Padding = 0, dilation: Size = 1,
    ceil_mode: bool = False, count_include_pad: bool = True, layout: str = "channels_last",
) -> Array:  # fmt: skip
    """Take means as `xpconv.avg_pool`."""
    arrays_of("jax", "avg_pool", x)
    given = options(
        stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode, count_include_pad=count_include_pad,
        layout=layout,
    )  # fmt: skip
    (_, size), = options(window=window)  # fmt: skip
    return _avg_pool(x, tuple(x.shape), size, given)
