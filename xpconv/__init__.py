"""Convolution and pooling, forward and backward, from one source for NumPy, CuPy and every Array API library."""

import typing as _typing
from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec

from xpconv._ops.adaptive import adaptive_avg_pool, adaptive_avg_pool_vjp, adaptive_max_pool, adaptive_max_pool_vjp
from xpconv._ops.conv import conv, conv_input_grad, conv_vjp, conv_weight_grad
from xpconv._ops.explain import explain
from xpconv._ops.lp import lp_pool, lp_pool_vjp
from xpconv._ops.padding import pad, pad_vjp
from xpconv._ops.pool import avg_pool, avg_pool_vjp, max_pool, max_pool_vjp
from xpconv._ops.prepare import prepare_conv
from xpconv._ops.transpose import conv_transpose, conv_transpose_vjp
from xpconv._ops.unpool import max_unpool
from xpconv._ops.windows import fold, unfold
from xpconv._options import set_options
from xpconv._version import version as _version
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

if _typing.TYPE_CHECKING:
    from xpconv import algorithms as algorithms
    from xpconv import bounds as bounds
    from xpconv import course as course
    from xpconv import dask as dask
    from xpconv import data as data
    from xpconv import jax as jax
    from xpconv import nn as nn
    from xpconv import onnx as onnx
    from xpconv import testing as testing
    from xpconv import torch as torch
    from xpconv import verify as verify

__version__ = _version()

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
    "prepare_conv",
    "set_options",
    "unfold",
    "zero_pad",
]

_SUBMODULES = ("algorithms", "bounds", "course", "data", "nn", "testing", "verify")
# each imports the library of its name
_BINDINGS = {"torch": "PyTorch", "jax": "JAX", "dask": "Dask", "onnx": "ONNX"}


def __dir__() -> list[str]:
    here = [name for name in _BINDINGS if _find_spec(name) is not None]
    return sorted([*__all__, *_SUBMODULES, *here, "__version__"])


if not _typing.TYPE_CHECKING:  # a type checker knows the names, and should see a wrong one

    def __getattr__(name: str) -> _typing.Any:
        """Import a submodule when it is asked for."""
        if name not in _SUBMODULES and name not in _BINDINGS:
            raise AttributeError(f"module 'xpconv' has no attribute {name!r}")
        if name in _BINDINGS and _find_spec(name) is None:
            remedy = f"which is not installed: python -m pip install {name}"
            raise AttributeError(f"xpconv.{name} serves {_BINDINGS[name]}, {remedy}")
        return _import_module(f"xpconv.{name}")
