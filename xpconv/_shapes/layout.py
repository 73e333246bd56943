"""The order of the axes of a shape: channels last inside the library, the caller's outside."""

from __future__ import annotations

from xpconv._shapes.geometry import Ints


def channels_last(shape: Ints, layout: str) -> Ints:
    """Reorder a whole input or output shape to channels last."""
    return shape if layout == "channels_last" else (shape[0], *shape[2:], shape[1])


def in_layout(shape: Ints, layout: str) -> Ints:
    """Give a whole channels-last input or output shape in the caller's layout."""
    return shape if layout == "channels_last" else (shape[0], shape[-1], *shape[1:-1])


def channels_last_kernel(shape: Ints, layout: str) -> Ints:
    """Reorder a whole weight shape to (*kernel, C/G, F)."""
    return shape if layout == "channels_last" else (*shape[2:], shape[1], shape[0])
