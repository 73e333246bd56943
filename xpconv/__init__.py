"""Convolution and pooling, forward and backward, from one source for NumPy, CuPy and every Array API library."""

from importlib.metadata import version as _version

from xpconv._ops.adaptive import adaptive_avg_pool, adaptive_avg_pool_vjp, adaptive_max_pool, adaptive_max_pool_vjp
from xpconv._ops.conv import conv, conv_input_grad, conv_vjp, conv_weight_grad
from xpconv._ops.explain import explain
from xpconv._ops.lp import lp_pool, lp_pool_vjp
from xpconv._ops.padding import pad, pad_vjp
from xpconv._ops.pool import avg_pool, avg_pool_vjp, max_pool, max_pool_vjp
from xpconv._ops.transpose import conv_transpose, conv_transpose_vjp
from xpconv._ops.unpool import max_unpool
from xpconv._ops.windows import fold, unfold
from xpconv._options import set_options
from xpconv.bounds import error_bound
from xpconv.course import (
    conv_backward,
    conv_forward,
    conv_single_step,
    create_mask_from_window,
    distribute_value,
    pool_backward,
    pool_forward,
    zero_pad,
)

__version__ = _version("xpconv")

__all__ = [
    "adaptive_avg_pool",
    "adaptive_avg_pool_vjp",
    "adaptive_max_pool",
    "adaptive_max_pool_vjp",
    "avg_pool",
    "avg_pool_vjp",
    "conv",
    "conv_backward",
    "conv_forward",
    "conv_input_grad",
    "conv_single_step",
    "conv_transpose",
    "conv_transpose_vjp",
    "conv_vjp",
    "conv_weight_grad",
    "create_mask_from_window",
    "distribute_value",
    "error_bound",
    "explain",
    "fold",
    "lp_pool",
    "lp_pool_vjp",
    "max_pool",
    "max_pool_vjp",
    "max_unpool",
    "pad",
    "pad_vjp",
    "pool_backward",
    "pool_forward",
    "set_options",
    "unfold",
    "zero_pad",
]
