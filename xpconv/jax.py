"""xpconv's operations with JAX derivatives of their own, under ``jit``, ``vmap`` and ``grad`` of ``grad``.

JAX differentiates the plain functions as well, but then it keeps what each step of the forward pass made: the columns
of every window, which is the input times the number of a kernel's taps. Here the backward pass is xpconv's own: it
keeps the arguments (for maxima their places instead) and nothing else, and the gradient of the input is a set of plain
convolutions. It is itself made of such functions, so ``jax.grad`` works to any order, as does ``jax.jacrev`` of
``jax.jacrev``.

Forward mode (``jax.jvp``, ``jax.jacfwd``, ``jax.hessian``) is left to the plain functions: JAX refuses it for these.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax

from xpconv._ops.differentiable import OPERATIONS, Functions, Setting, gradients

__all__ = ["avg_pool", "conv", "conv_transpose", "max_pool"]

Array = Any


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _call(name: str, setting: Setting, *arrays: Array) -> Any:
    """Evaluate an operation of the table."""
    return OPERATIONS[name].evaluate(setting, *arrays)


def _forward(name: str, setting: Setting, *arrays: Array) -> tuple[Any, list[Array | None]]:
    keeping = OPERATIONS[name].keeping
    found = _call(keeping or name, setting, *arrays)
    kept = [*arrays, *found[1:]] if isinstance(found, tuple) else arrays
    used = OPERATIONS[keeping or name].used([True] * len(arrays))
    return found[0] if keeping else found, [array if place in used else None for place, array in enumerate(kept)]


def _backward(name: str, setting: Setting, kept: list[Array | None], dy: Any) -> tuple[Array | None, ...]:
    dy = dy[0] if isinstance(dy, tuple) else dy  # indices have no gradient
    operation = OPERATIONS[name].keeping or name
    return gradients(_call, operation, setting, dy, kept, [True] * len(kept))


_call.defvjp(_forward, _backward)

FUNCTIONS = Functions("jax", _call)
conv = FUNCTIONS.conv
conv_transpose = FUNCTIONS.conv_transpose
max_pool = FUNCTIONS.max_pool
avg_pool = FUNCTIONS.avg_pool
