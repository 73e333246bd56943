"""Max unpooling: put values back where their maxima were, for any array library."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.dtypes import dtype_name, is_kind
from xpconv._arrays.scatter import put_back
from xpconv._arrays.space import is_chunked, mixed_space
from xpconv._chunks.blocks import by_blocks
from xpconv._shapes.errors import Facts, freeze
from xpconv._shapes.keywords import keywords
from xpconv._shapes.layout import channels_last
from xpconv._shapes.options import LAYOUTS, Layout

Array = Any


@keywords
def max_unpool(
    y: Array, indices: Array, output_shape: int | tuple[int, ...], *, layout: Layout = "channels_last"
) -> Array:
    """Put each value where its maximum was, zeros elsewhere: the inverse of `max_pool` as far as there is one.

    ``(N, *pooled, C), (N, *pooled, C) -> (N, *output_shape, C)``, in ``channels_first`` likewise.

    Parameters
    ----------
    y : array
        The pooled images.
    indices : array of integers
        Where each value goes, flat over the spatial axes of its plane, as ``max_pool(..., return_indices=True)``
        gives it. A value with the index -1 goes nowhere.
    output_shape : int or one per spatial axis
        The spatial sizes of the result.
    layout : str
        ``"channels_last"`` (default) or ``"channels_first"``.

    Returns
    -------
    array
        In the library, on the device and with the dtype of y. Where an index occurs more than once, the last of its
        values stands, in row-major order of the pooled images.

    Raises
    ------
    ValueError
        A shape or an option is unfit, or an index lies outside. (Where that cannot be seen without waiting for a device
        or breaking a trace, on CuPy, JAX, array-api-strict and PyTorch on a GPU or under its transforms, values with
        such indices are dropped.)
    TypeError
        The arrays differ in library or device, or the indices are not integers.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x = np.array([1.0, 3.0, 2.0, 5.0]).reshape(1, 4, 1)
    >>> y, indices = xc.max_pool(x, 2, return_indices=True)
    >>> xc.max_unpool(y, indices, 4)[0, :, 0]
    array([0., 3., 0., 5.])
    """
    if is_chunked(y, indices):
        return by_blocks(max_unpool, locals())
    name = "max_unpool"
    space = mixed_space(name, y=y, indices=indices)
    xp = space.xp
    if not is_kind(xp, indices.dtype, "integral"):
        raise TypeError(f"{name}: indices are integers; got indices.dtype={dtype_name(indices.dtype)}")
    shape = freeze(tuple(y.shape))
    facts = Facts(name, (("y.shape", shape), ("output_shape", output_shape), ("layout", layout)))
    facts.choice("layout", freeze(layout), LAYOUTS)
    rank = len(shape) - 2
    if rank not in (1, 2, 3):
        facts.fail(f"y has {len(shape)} axes; 3, 4 or 5 are wanted: 1, 2 or 3 spatial axes")
    facts.sizes("y", shape, rank)
    if tuple(indices.shape) != shape:
        facts.fail(f"indices have the shape of y; got indices.shape={tuple(indices.shape)}")
    sizes = facts.per_axis("output_shape", freeze(output_shape), rank)
    batch, *_, channels = channels_last(shape, layout)
    facts.countable("output_shape", (batch, *sizes, channels))
    return put_back(name, space, y, indices, sizes, layout)
