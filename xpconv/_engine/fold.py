"""The adjoint of padding with pixels of the image: add what the padding received to the pixels that it repeats."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xpconv._arrays.space import Space
from xpconv._arrays.types import Array
from xpconv._shapes.cuts import Strip

BACKWARDS = slice(None, None, -1)


class Folding(NamedTuple):
    """Where a strip of the padding is added, and how."""

    pixels: tuple[slice, ...]  # that it repeats
    summed: tuple[int, ...]  # axes along which all of it repeats one pixel
    flipped: tuple[int, ...]  # axes along which it repeats them from the last to the first

    @staticmethod
    def of(strip: Strip) -> Folding:
        """Read it off the runs of a strip."""
        index, summed, flipped = [slice(*strip.images)], [], []
        for axis, (run, (a, b)) in enumerate(zip(strip.runs, strip.places, strict=True), start=1):
            if run.step == 0:
                summed.append(axis)
                index.append(slice(run.start, run.start + 1))
            elif run.step < 0:
                flipped.append(axis)
                index.append(slice(run.start - b + 1, run.start - a + 1))
            else:
                index.append(slice(run.start + a, run.start + b))
        return Folding((*index, slice(None)), tuple(summed), tuple(flipped))

    def add(self, space: Space, dx: Array, gradient: Array) -> Array:
        """Add the gradient of the strip (n, *pixels, C); use the array given back."""
        if isinstance(gradient, np.ndarray):
            for axis in self.summed:
                gradient = np.add.reduce(gradient, axis=axis, keepdims=True, dtype=gradient.dtype)
            for axis in self.flipped:
                gradient = gradient[(slice(None),) * axis + (BACKWARDS,)]
        else:
            for axis in self.summed:
                gradient = space.xp.sum(gradient, axis=axis, keepdims=True, dtype=gradient.dtype)
            for axis in self.flipped:
                gradient = space.xp.flip(gradient, axis=axis)
        return space.add_to(dx, self.pixels, gradient)


def add_strip(space: Space, dx: Array, strip: Strip, gradient: Array) -> Array:
    """Add the gradient of a strip of the padding (n, *pixels, C) to its source in dx; use the array given back."""
    return Folding.of(strip).add(space, dx, gradient)
