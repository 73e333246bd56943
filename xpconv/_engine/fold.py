"""The adjoint of padding with pixels of the image: add what the padding received to the pixels that it repeats."""

from __future__ import annotations

from xpconv._arrays.space import Space
from xpconv._arrays.types import Array
from xpconv._shapes.cuts import Strip


def add_strip(space: Space, dx: Array, strip: Strip, gradient: Array) -> Array:
    """Add the gradient of a strip of the padding (n, *pixels, C) to its source in dx; use the array given back."""
    xp = space.xp
    index = [slice(*strip.images)]
    for axis, (run, (a, b)) in enumerate(zip(strip.runs, strip.places, strict=True), start=1):
        if run.step == 0:
            gradient = xp.sum(gradient, axis=axis, keepdims=True, dtype=gradient.dtype)
            index.append(slice(run.start, run.start + 1))
        elif run.step < 0:
            gradient = xp.flip(gradient, axis=axis)
            index.append(slice(run.start - b + 1, run.start - a + 1))
        else:
            index.append(slice(run.start + a, run.start + b))
    return space.add_to(dx, (*index, slice(None)), gradient)
