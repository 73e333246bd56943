"""xpconv's operations as PyTorch autograd functions, differentiable any number of times.

Autograd sees through the plain functions as well, but then it keeps what each step of the forward pass made: the
columns of every tile, which is the input times the number of a kernel's taps. Here the backward pass is xpconv's own:
it keeps the arguments (for maxima their places instead) and nothing else, works within ``max_workspace``, computes only
the gradients that are asked for, and gives the same bits on every run. It is itself made of such functions, so
``create_graph=True`` works to any order.

Forward mode and ``torch.func.vmap`` are left to the plain functions.
"""

from __future__ import annotations

from typing import Any

import torch

from xpconv._ops.differentiable import OPERATIONS, Functions, Setting, gradients

__all__ = ["avg_pool", "conv", "conv_transpose", "max_pool"]

Tensor = Any


class _Call(torch.autograd.Function):  # type: ignore[misc]
    """An operation of the table, by its name."""

    generate_vmap_rule = True

    @staticmethod
    def forward(name: str, setting: Setting, *arrays: Tensor) -> Any:
        return OPERATIONS[name].evaluate(setting, *arrays)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.name, ctx.setting, *arrays = inputs
        used = OPERATIONS[ctx.name].used(ctx.needs_input_grad[2:])
        if isinstance(output, tuple):
            ctx.mark_non_differentiable(output[1])
            arrays.append(output[1])
        ctx.save_for_backward(*(array if place in used else None for place, array in enumerate(arrays)))

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        kept = [array if array is None else array.conj() for array in ctx.saved_tensors]  # PyTorch's are adjoints
        found = gradients(_Call.apply, ctx.name, ctx.setting, dy, kept, ctx.needs_input_grad[2:])
        return None, None, *found


def _apply(name: str, setting: Setting, *arrays: Tensor) -> Any:
    """Evaluate an operation; where its gradients are going to be wanted, with what they look at."""
    keeping = OPERATIONS[name].keeping
    if keeping and torch.is_grad_enabled() and any(array.requires_grad for array in arrays):
        return _Call.apply(keeping, setting, *arrays)[0]
    return _Call.apply(name, setting, *arrays)


FUNCTIONS = Functions("torch", _apply)
conv = FUNCTIONS.conv
conv_transpose = FUNCTIONS.conv_transpose
max_pool = FUNCTIONS.max_pool
avg_pool = FUNCTIONS.avg_pool
