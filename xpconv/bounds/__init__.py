"""Error bounds that follow from the arithmetic, elementwise; nothing is fitted.

Each is a relative error times a magnitude: what the same algorithm gives for absolute values, or norms where it is a
Fourier transform, plus what underflow can cost. The derivation is in docs/error-bounds.md.
"""

from xpconv.bounds.bias import conv_bias_grad_error_bound
from xpconv.bounds.conv import (
    conv_input_grad_error_bound,
    conv_weight_grad_error_bound,
    error_bound,
)
from xpconv.bounds.pool import (
    avg_pool_error_bound,
    avg_pool_vjp_error_bound,
    lp_pool_error_bound,
    max_pool_vjp_error_bound,
)
from xpconv.bounds.transpose import conv_transpose_error_bound

__all__ = [
    "avg_pool_error_bound",
    "avg_pool_vjp_error_bound",
    "conv_bias_grad_error_bound",
    "conv_input_grad_error_bound",
    "conv_transpose_error_bound",
    "conv_weight_grad_error_bound",
    "error_bound",
    "lp_pool_error_bound",
    "max_pool_vjp_error_bound",
]
