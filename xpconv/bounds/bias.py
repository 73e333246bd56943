"""The error bound of the gradient of a bias."""

from __future__ import annotations

import math

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast, itemsize
from xpconv._arrays.space import is_chunked
from xpconv._arrays.types import Array, DType
from xpconv._arrays.views import plain
from xpconv._chunks.blocks import by_blocks
from xpconv._convolution.bias_grad import additions, bias_grad
from xpconv._engine.jobs import SMALL
from xpconv._shapes import read
from xpconv._shapes.cuts import Tiles, block, slices
from xpconv._shapes.keywords import keywords
from xpconv._shapes.options import Layout
from xpconv.bounds.terms import Steps, bounded, terms


@keywords
def conv_bias_grad_error_bound(dz: Array, *, layout: Layout = "channels_last", dtype: DType | None = None) -> Array:
    """Bound the rounding error of the db of `conv_vjp` and of `conv_transpose_vjp`, element by element.

    ``(N, *out, F) -> (F,)``

    Parameters
    ----------
    dz : array
        The gradient that the function gets; one, two or three spatial axes.
    layout : str
        ``"channels_last"`` (default) or ``"channels_first"``.
    dtype : dtype or str, optional
        As for `conv_vjp`.

    Returns
    -------
    array
        At least ``abs(computed - exact)``, as `error_bound` gives it.

    Raises
    ------
    ValueError
        dz has no spatial axis or more than three, or an empty one, or layout is unknown.
    TypeError
        dz is not numeric, or dtype is unfit.

    Notes
    -----
    The sum over all pixels is a tree of sums of at most 128 numbers, then of pairs of tiles. ``gamma(d)`` times the
    sum of absolute values, d the additions from a leaf to the root: some hundreds where there are millions of pixels.
    Where arrays cannot be written (JAX) a compiler may join the sums, so d is the number of pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from xpconv.bounds import conv_bias_grad_error_bound
    >>> bool((conv_bias_grad_error_bound(np.ones((8, 64, 64, 2), np.float32)) < 1).all())
    True

    """
    if is_chunked(dz):
        return by_blocks(conv_bias_grad_error_bound, locals())
    name = "conv_bias_grad_error_bound"
    call = Call.of(name, dz=dz, layout=layout, dtype=dtype)
    *spatial, filters = read.images(name, "dz.shape", dz.shape, layout)
    xp, arithmetic = call.xp, call.arithmetic
    if arithmetic.is_whole:
        return call.space.zeros((filters,), arithmetic.wanted)
    grads, real = plain(call.images(dz)), arithmetic.magnitudes.sums
    shape, pixels = tuple(spatial), math.prod(spatial)
    if not pixels:
        return call.space.zeros((filters,), real)
    # absolute values of so many numbers at a time, and of their sums pairs: in the workspace, and no deeper a tree
    room = min(SMALL, call.room // (4 * itemsize(xp, dz.dtype) + 4 * itemsize(xp, real)))
    tiles = Tiles(shape, block(shape, max(room // filters, 1)))
    measured = call.of_magnitudes(xp.abs)

    def magnitude(first: int, stop: int) -> Array:
        if stop - first > 1:
            middle = (first + stop) // 2
            return magnitude(first, middle) + magnitude(middle, stop)
        part = cast(xp, measured.seen(grads[slices(tiles[first])]), real)
        return bias_grad(measured, part, tuple(part.shape[:-1]))

    with np.errstate(over="ignore", invalid="ignore"):
        bound = magnitude(0, len(tiles))
    own = additions(tiles.tile, filters, call.traits) + (len(tiles) - 1).bit_length()
    count = max(additions(shape, filters, call.traits), own, 1)
    return bounded(
        xp, bound, terms(xp, arithmetic.sums, Steps(count, losses=pixels)), arithmetic.sums, arithmetic.result
    )
