"""Windows as an array (im2col) and their adjoint (col2im), for any array library."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpconv._arrays.call import Call
from xpconv._arrays.dtypes import cast, native
from xpconv._arrays.space import is_chunked
from xpconv._arrays.views import window_steps
from xpconv._chunks.blocks import by_blocks
from xpconv._engine.results import Kept, Result, Written
from xpconv._pooling import folding, looped, portable
from xpconv._pooling.windows import Windows
from xpconv._shapes import read
from xpconv._shapes.cuts import sizes
from xpconv._shapes.geometry import Geometry, Ints, Region
from xpconv._shapes.keywords import keywords
from xpconv._shapes.options import Layout, Padding, Size
from xpconv._shapes.read import Windowing
from xpconv._work import traced
from xpconv._work.workspace import Workspace

Array = Any


def _shape(geometry: Geometry, layout: str) -> Ints:
    n, c = geometry.batch, geometry.channels
    if layout == "channels_last":
        return (n, *geometry.output, *geometry.kernel, c)
    return (n, c, *geometry.kernel, *geometry.output)


def _order(geometry: Geometry, layout: str) -> Ints:
    """Give the axes that bring (n, *O, *K, C) into the layout."""
    rank = geometry.rank
    if layout == "channels_last":
        return tuple(range(2 * rank + 2))
    # (n, *O, *K, C) -> (n, C, *K, *O)
    return (0, 2 * rank + 1, *range(rank + 1, 2 * rank + 1), *range(1, rank + 1))


@keywords
def unfold(
    x: Array,
    window: Size,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    layout: Layout = "channels_last",
) -> Array:
    """Copy each window of a batch of images (im2col; 1, 2 or 3 spatial axes).

    ``(N, *spatial, C) -> (N, *out, *window, C)``, in ``channels_first``
    ``(N, C, *spatial) -> (N, C, *window, *out)``.

    Parameters
    ----------
    x : array
        The images.
    window : int or one per spatial axis
        Taps of a window along each axis.
    stride, padding, dilation, layout
        As for `conv`; padding holds zeros.

    Returns
    -------
    array
        A new array in the library, on the device and with the dtype of x; it is ``prod(window)`` times as large as x at
        stride 1.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        x is not a numeric array.

    Notes
    -----
    `conv` is a matrix product of the unfolded images with the kernel, without ever making them whole. In
    ``channels_first`` a reshape to ``(N, C * prod(window), prod(out))`` gives PyTorch's layout.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.unfold(np.arange(4.0).reshape(1, 4, 1), 2, stride=2)[0, :, :, 0]
    array([[0., 1.],
           [2., 3.]])
    """
    if is_chunked(x):
        return by_blocks(unfold, locals())
    name = "unfold"
    call = Call.of(name, x=x, layout=layout).in_dtype(x.dtype)
    geometry = read.windows(name, x.shape, window, Windowing(stride, padding, dilation, layout=layout))
    if geometry.batch == 0:
        return call.space.zeros(_shape(geometry, layout), native(x.dtype))
    return _unfold(call, geometry, call.images(x))


def _unfold(call: Call, geometry: Geometry, x: Array) -> Array:
    """(N, *I, C) -> (N, *O, *K, C), in the layout of the call."""
    windows, order = Windows.of(geometry), _order(geometry, call.layout)
    target: Array | None = None
    result: Result = Kept(call.space, call.arithmetic)
    if call.traits.mutable:
        target = call.space.empty(_shape(geometry, call.layout), native(x.dtype))
        result = Written(call.xp.permute_dims(target, tuple(order.index(a) for a in range(len(order)))))

    def tile(work: Workspace, region: Region, own: slice) -> list[Array]:
        slab, output = portable.slab(work, windows, region, x[..., own]), sizes(region)
        if call.traits.strided:
            return [call.space.windows(slab, geometry.kernel, output, geometry.stride, geometry.dilation)]
        if work.space.loops:
            found = traced.columns(work.space, slab, geometry, output, 1)
        else:
            found = call.xp.stack(list(portable.each_tap(work, windows, region, slab)), axis=geometry.rank + 1)
        return [call.xp.reshape(found, (slab.shape[0], *output, *geometry.kernel, slab.shape[-1]))]

    found = portable.over_output(call, windows, tile, [result], geometry.taps)[0]
    return call.xp.permute_dims(found, order) if target is None else target


@keywords
def fold(
    cols: Array,
    input_shape: tuple[int, ...],
    window: Size,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    layout: Layout = "channels_last",
) -> Array:
    """Add windows up where they came from (col2im): the adjoint of `unfold`.

    ``(N, *out, *window, C) -> (N, *spatial, C)``, in ``channels_first``
    ``(N, C, *window, *out) -> (N, C, *spatial)``.

    Parameters
    ----------
    cols : array
        The windows, shaped as `unfold`'s result.
    input_shape : tuple of int
        The whole shape of the images, in the given layout.
    window, stride, padding, dilation, layout
        As `unfold` had them.

    Returns
    -------
    array
        Of `input_shape`, in the library, on the device and with the dtype of cols. What lies in the padding is dropped.

    Raises
    ------
    ValueError
        A shape or an option is unfit; cols has not the shape of the windows.
    TypeError
        cols is not a numeric array.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.fold(np.ones((1, 3, 2, 1)), (1, 4, 1), 2)[0, :, 0]
    array([1., 2., 2., 1.])
    """
    if is_chunked(cols):
        return by_blocks(fold, locals())
    name = "fold"
    call = Call.of(name, cols=cols, layout=layout)
    asked = Windowing(stride, padding, dilation, layout=layout)
    geometry = read.windows(name, input_shape, window, asked, "input_shape")
    shape, order = _shape(geometry, layout), _order(geometry, layout)
    read.whole(name, "cols", cols.shape, shape, "the windows")
    # the inverse order: (n, C, *K, *O) -> (n, *O, *K, C)
    cols = call.xp.permute_dims(call.read(cols), tuple(order.index(a) for a in range(len(order))))
    return call.give(_fold(call, Windows.of(geometry), cols))


def _fold(call: Call, windows: Windows, cols: Array) -> Array:
    """(N, *O, *K, C) -> (N, *I, C)."""
    if call.traits.buffers and _lie_apart(windows):
        return _fold_apart(call, windows, cols)
    if call.traits.buffers and (found := folding.on_numpy(call, windows, cols)) is not None:
        return found
    if looped.serves(call, windows):
        return looped.fold(call, windows, cols)

    def tile(work: Workspace, readers: Region, own: slice) -> portable.Gradient:
        def gradient(pixels: portable.Pixels) -> Array:
            total = None
            for picks in pixels.readings():
                one = cols[(*(slice(None),) * (windows.rank + 1), *(pick.tap for pick in picks), own)]
                # only the windows that these pixels need, zero beyond the ends
                spots = [
                    (first + pick.index.start, first + pick.index.stop)
                    for (first, _), pick in zip(readers[1:], picks, strict=True)
                ]
                share = portable.gradients(work, (readers[0], *spots), one)
                total = work.add("sum", total, cast(work.xp, share, work.sums))
            return total

        return gradient

    return portable.over_input(call, windows, tile, Result.of(call, windows.input_shape), 4)


def _lie_apart(windows: Windows) -> bool:
    """Say whether windows share no pixel, and lie inside the image."""
    whole = (0, windows.batch), *((0, line.count) for line in windows.lines)
    return windows.inside(whole) and all(line.stride >= line.span for line in windows.lines)


def _fold_apart(call: Call, windows: Windows, cols: Array) -> Array:
    """(N, *O, *K, C) -> (N, *I, C), on NumPy: with nothing to add up, the columns are copied where they came from."""
    lines, target = windows.lines, call.space.empty(windows.input_shape, call.arithmetic.result, call.layout)
    if any(line.count * line.kernel < line.size for line in lines):
        target.fill(0)
    steps = window_steps(target.strides, windows.stride, [line.dilation for line in lines])
    np.lib.stride_tricks.as_strided(target, cols.shape, steps)[...] = cols
    return target
