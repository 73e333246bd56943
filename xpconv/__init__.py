"""Convolution and pooling, forward and backward, from one source for NumPy, CuPy and every Array API library."""

from importlib.metadata import version as _version

from xpconv._explain import explain
from xpconv._options import set_options
from xpconv.bounds import error_bound
from xpconv.conv import conv, conv_input_grad, conv_vjp, conv_weight_grad
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
from xpconv.padding import pad, pad_vjp
from xpconv.pool import avg_pool, avg_pool_vjp, max_pool, max_pool_vjp
from xpconv.transpose import conv_transpose, conv_transpose_vjp

__version__ = _version("xpconv")

__all__ = [
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
    "max_pool",
    "max_pool_vjp",
    "pad",
    "pad_vjp",
    "pool_backward",
    "pool_forward",
    "set_options",
    "zero_pad",
]
