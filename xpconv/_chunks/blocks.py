"""Where the public functions hand over arrays in chunks: which operation is built how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xpconv._chunks import adaptive, adjoints, bounds, correlation, gradients, padding, pools, unpool
from xpconv._chunks.asked import Asked

BUILDERS: dict[str, Callable[[Asked], Any]] = {
    "conv": correlation.conv,
    "conv_input_grad": gradients.input_grad,
    "conv_weight_grad": gradients.weight_grad,
    "conv_vjp": gradients.vjp,
    "conv_transpose": gradients.transpose,
    "conv_transpose_vjp": gradients.transpose_vjp,
    "adaptive_avg_pool": adaptive.pool,
    "adaptive_avg_pool_vjp": adaptive.pool_vjp,
    "adaptive_max_pool": adaptive.pool,
    "adaptive_max_pool_vjp": adaptive.pool_vjp,
    "apart_max_pool_vjp": adjoints.pool_vjp,
    "error_bound": bounds.conv,
    "conv_input_grad_error_bound": bounds.pixels,
    "conv_weight_grad_error_bound": bounds.weight,
    "conv_bias_grad_error_bound": bounds.bias,
    "conv_transpose_error_bound": bounds.pixels,
    "avg_pool_error_bound": pools.pool,
    "avg_pool_vjp_error_bound": adjoints.pool_vjp,
    "lp_pool_error_bound": pools.pool,
    "max_pool_vjp_error_bound": adjoints.pool_vjp,
    "max_pool": pools.pool,
    "max_unpool": unpool.unpool,
    "max_pool_vjp": adjoints.pool_vjp,
    "avg_pool": pools.pool,
    "avg_pool_vjp": adjoints.pool_vjp,
    "lp_pool": pools.pool,
    "lp_pool_vjp": adjoints.pool_vjp,
    "unfold": pools.unfold,
    "fold": adjoints.fold,
    "pad": padding.pad,
    "pad_vjp": padding.pad_vjp,
}


def by_blocks(function: Callable[..., Any], given: Mapping[str, Any], halo: str = "auto", chunks: Any = None) -> Any:
    """Make the graph of an operation on arrays in chunks; `given` holds its arguments by name."""
    return BUILDERS[function.__name__](Asked(function, given, halo, chunks))
