"""ONNX's attributes in xpconv's words; what is not given is None there, or an empty list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Numbers = Sequence[int] | None
Pairs = tuple[tuple[int, int], ...]

WORDS = {"VALID": 0, "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}


def per_axis(values: Numbers, rank: int, default: int = 1) -> tuple[int, ...]:
    """Give one number for each spatial axis."""
    return tuple(values) if values else (default,) * rank


def pairs(operator: str, pads: Numbers, rank: int) -> Pairs:
    """Turn all starts and then all ends into a pair for each axis."""
    numbers = tuple(pads) if pads else (0,) * (2 * rank)
    if len(numbers) != 2 * rank:
        raise ValueError(f"{operator}: pads holds a start and an end for each of {rank} spatial axes; got {numbers}")
    return tuple(zip(numbers[:rank], numbers[rank:], strict=True))


def padding(operator: str, auto_pad: str, pads: Numbers, rank: int) -> Any:
    """Give xpconv's padding: pixels, or a word that looks after them."""
    if auto_pad == "NOTSET":
        return pairs(operator, pads, rank)
    if auto_pad not in WORDS:
        raise ValueError(f"{operator}: auto_pad is NOTSET or one of {', '.join(WORDS)}; got {auto_pad!r}")
    return WORDS[auto_pad]


def demand_kernel(operator: str, kernel_shape: Numbers, w_shape: tuple[int, ...]) -> None:
    """Refuse an attribute that contradicts the kernel."""
    if kernel_shape and tuple(kernel_shape) != tuple(w_shape[2:]):
        raise ValueError(f"{operator}: kernel_shape is that of W; got {tuple(kernel_shape)} and W.shape={w_shape}")
