"""Padding of spatial axes."""

from __future__ import annotations

from typing import Any

from xpconv._backend import empty, from_channels_last, inspect, to_channels_last, write
from xpconv._geometry import LAYOUTS, PADDING_MODES, Call, Ints, channels_last, freeze
from xpconv._workspace import workspace

Array = Any
Padding = int | str | tuple[int, ...] | tuple[tuple[int, int], ...]


def pad(x: Array, padding: Padding, *, mode: str = "zeros", layout: str = "channels_last") -> Array:
    """Pad the spatial axes of a batch of images (1, 2 or 3 spatial axes).

    ``(N, *spatial, C) -> (N, *(before + n + after), C)``, in ``channels_first`` ``(N, C, *spatial)`` likewise.

    Parameters
    ----------
    x : array
        The images. N may be 0, no other axis may be empty.
    padding : int, ints or pairs
        Pixels added before and after: one integer, one per axis, or a (before, after) pair per axis; ``"valid"`` is 0.
    mode : str
        ``"zeros"``.
    layout : str
        ``"channels_last"`` (default) or ``"channels_first"``.

    Returns
    -------
    array
        A new array in the library, on the device and with the dtype of x.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        x is not a numeric array.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.pad(np.ones((1, 2, 1)), ((1, 2),))[0, :, 0]
    array([0., 1., 1., 0., 0.])

    """
    xp, traits = inspect("pad", x=x)
    shape = freeze(tuple(x.shape))
    call = Call("pad", (("x.shape", shape), ("padding", padding), ("layout", layout)))
    call.choice("layout", layout, LAYOUTS)
    call.choice("mode", mode, PADDING_MODES)
    rank = len(shape) - 2
    if rank not in (1, 2, 3):
        call.fail(f"x has {len(shape)} axes; 3, 4 or 5 are wanted: 1, 2 or 3 spatial axes")
    call.sizes("x", shape, rank)
    if padding in ("same", "same_lower", "causal"):
        call.fail("padding is given in pixels: without a kernel these words have no meaning")
    size: Ints = channels_last(shape, layout)[1:-1]
    pairs = call.padding(freeze(padding), size, size, size)
    x = to_channels_last(xp, x, layout)
    if not traits.mutable:
        padded = workspace(xp, traits, x.dtype).pad("", x, ((0, 0), *pairs, (0, 0)), 0)
        return from_channels_last(xp, padded, layout)
    target = empty(
        xp,
        (shape[0], *(before + n + after for n, (before, after) in zip(size, pairs, strict=True)), x.shape[-1]),
        x.dtype, x, layout,
    )  # fmt: skip
    inside: list[slice] = [slice(None)]
    for n, (before, after) in zip(size, pairs, strict=True):
        write(target, (*inside, slice(0, before)), 0)
        write(target, (*inside, slice(before + n, before + n + after)), 0)
        inside.append(slice(before, before + n))
    write(target, tuple(inside), x)
    return from_channels_last(xp, target, layout)
