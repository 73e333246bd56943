"""Windows as an array (im2col) and their adjoint (col2im), for any array library."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.dtypes import accumulator, cast, itemsize
from xpconv._arrays.old import empty, inspect, zeros
from xpconv._arrays.types import Namespace, Traits
from xpconv._arrays.views import to_channels_last
from xpconv._engine import old as _run
from xpconv._options import current
from xpconv._pooling import portable as _pool_run
from xpconv._pooling import taps as pooling
from xpconv._pooling.portable import PhaseGradient
from xpconv._pooling.tiles import pool_tile
from xpconv._shapes import read
from xpconv._shapes.geometry import Geometry, Ints, Phase, Region
from xpconv._shapes.options import Padding, Size
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


def unfold(
    x: Array,
    window: Size,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    layout: str = "channels_last",
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
    xp, traits = inspect("unfold", x=x)
    geometry = read.windows("unfold", x.shape, window, read.Windowing(stride, padding, dilation, layout=layout))
    shape, order = _shape(geometry, layout), _order(geometry, layout)
    if geometry.batch == 0:
        return zeros(xp, shape, x.dtype, x)
    pixels = to_channels_last(xp, x, layout)
    size, workers = _tiles(geometry, (geometry.batch, *geometry.output), geometry.taps, xp, traits, x.dtype)
    target = empty(xp, shape, x.dtype, x, "channels_last") if traits.mutable else None
    view = None if target is None else xp.permute_dims(target, tuple(order.index(a) for a in range(len(order))))

    def compute(region: Region, work: Workspace) -> Array | None:
        slab, output = _run.slab(work, pixels, geometry, region), _run.sizes(region)
        if traits.strided:
            found = work.space.windows(slab, geometry.kernel, output, geometry.stride, geometry.dilation)
        else:
            taps = [value for _, value in pooling.tap_values(slab, geometry, output)]
            found = xp.reshape(
                xp.stack(taps, axis=geometry.rank + 1), (slab.shape[0], *output, *geometry.kernel, slab.shape[-1])
            )
        if view is None:
            return found
        view[tuple(slice(*interval) for interval in region)] = found
        return None

    jobs = _run.Jobs(compute, _run.Tiles((geometry.batch, *geometry.output), size))
    elements = geometry.positions * geometry.taps * geometry.channels
    blocks = _run.run([jobs], xp, traits, x.dtype, workers, elements, collect=view is None)
    return target if view is not None else xp.permute_dims(_run.join(xp, blocks, jobs.items), order)


def _tiles(
    geometry: Geometry, shape: Ints, elements: int, xp: Namespace, traits: Traits, dtype: Any
) -> tuple[Ints, int]:
    options = current()
    return pool_tile(
        geometry, shape, geometry.stride, elements, traits, itemsize(xp, dtype), options.room, options.threads
    )


def fold(
    cols: Array,
    input_shape: tuple[int, ...],
    window: Size,
    *,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    layout: str = "channels_last",
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
    xp, traits = inspect("fold", cols=cols)
    asked = read.Windowing(stride, padding, dilation, layout=layout)
    geometry = read.windows("fold", input_shape, window, asked, "input_shape")
    shape, order = _shape(geometry, layout), _order(geometry, layout)
    if tuple(cols.shape) != shape:
        raise ValueError(f"fold: cols has the shape of the windows, {shape}; got cols.shape={tuple(cols.shape)}")
    rank, sums = geometry.rank, accumulator(xp, cols.dtype)
    # the inverse order: (n, C, *K, *O) -> (n, *O, *K, C)
    windows_last = xp.permute_dims(cols, tuple(order.index(a) for a in range(len(order))))

    def tile(work: Workspace, region: Region) -> PhaseGradient:
        windows = _pool_run.windows_of(geometry, region)

        def phase_gradient(phase: Phase, part: Region) -> Array:
            total = None
            for tap, index in _pool_run.gather(phase, part, geometry, windows):
                one = windows_last[(*(slice(None),) * (rank + 1), *tap, slice(None))]
                # only the windows that this phase needs, zero beyond the ends
                spots = tuple(
                    (first + s.start, first + s.stop) for (first, _), s in zip(windows[1:], index[1:-1], strict=True)
                )
                share = _pool_run.gradient_slab(work, one, geometry, (windows[0], *spots))
                total = work.add("sum", total, cast(xp, share, work.dtype))
            return _pool_run.or_zeros(total, work, part, geometry, cols)

        return phase_gradient

    return _pool_run.over_input(tile, cols, geometry, xp, traits, sums, cols.dtype, 4, layout)
