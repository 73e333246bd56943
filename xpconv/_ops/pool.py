"""Max and average pooling and their gradients, for any array library."""

from __future__ import annotations

from typing import Any

from xpconv._arrays.dtypes import dtype_name, is_kind, least
from xpconv._arrays.old import index_dtype, inspect, inspect_apart
from xpconv._arrays.types import Namespace
from xpconv._arrays.views import to_channels_last
from xpconv._engine import old as _run
from xpconv._pooling import portable as _pool_run
from xpconv._pooling import sweep as _pool_tiles
from xpconv._pooling import taps as pooling
from xpconv._shapes import read
from xpconv._shapes.geometry import Geometry, Region
from xpconv._shapes.layout import in_layout
from xpconv._work.workspace import Workspace

Array = Any
Size = int | tuple[int, ...]
Padding = int | str | tuple[int, ...] | tuple[tuple[int, int], ...]

TIES = ("first", "all", "split")


def read_geometry(
    function: str, shape: Any, window: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, layout: Any,
    name: str = "x.shape",
) -> Geometry:  # fmt: skip
    """Read the shapes and options of a pooling."""
    return read.pool(
        function, shape, window, read.Windowing(stride, padding, dilation, layout=layout, ceil_mode=ceil_mode), name
    )


def check_gradient(function: str, dy: Array, geometry: Geometry, layout: str) -> None:
    """Check that a gradient has the output's shape."""
    wanted = in_layout(geometry.output_shape, layout)
    if tuple(dy.shape) != wanted:
        raise ValueError(f"{function}: dy has the shape of the output, {wanted}; got dy.shape={tuple(dy.shape)}")


def check_order(function: str, xp: Namespace, dtype: Any) -> None:
    """Refuse dtypes whose values have no order."""
    if is_kind(xp, dtype, "complex floating"):
        raise TypeError(
            f"{function}: complex numbers have no order; got x.dtype={dtype_name(dtype)}; pool a real part or abs(x)"
        )


def check_divisible(function: str, name: str, xp: Namespace, dtype: Any) -> None:
    """Refuse dtypes that an average leaves."""
    if is_kind(xp, dtype, "integral"):
        raise TypeError(
            f"{function}: an average of integers is no integer; got {name}.dtype={dtype_name(dtype)}; convert it "
            f"first, with {name}.astype(float32) say"
        )


def check_ties(function: str, xp: Namespace, dtype: Any, ties: str) -> None:
    """Check what becomes of equal maxima; shares are no integers."""
    if ties not in TIES:
        raise ValueError(f"{function}: ties is one of {', '.join(map(repr, TIES))}; got ties={ties!r}")
    if ties == "split":
        check_divisible(function, "dy", xp, dtype)


def max_pool(
    x: Array,
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: str = "channels_last",
    return_indices: bool = False,
) -> Array | tuple[Array, Array]:
    """Take the maximum of each window of each channel (1, 2 or 3 spatial axes).

    ``(N, *spatial, C) -> (N, *out, C)``, in ``channels_first`` ``(N, C, *spatial) -> (N, C, *out)``.

    Parameters
    ----------
    x : array
        The images. N may be 0, no other axis may be empty.
    window : int or one per spatial axis
        Taps of a window along each axis.
    stride : int or one per spatial axis, optional
        Pixels between neighbouring windows (the window's size).
    padding : int, ints, pairs or str
        As for `conv` (0); smaller than the window's span ``dilation * (window - 1) + 1`` on each side.
    dilation : int or one per spatial axis
        Pixels between neighbouring taps (1).
    ceil_mode : bool
        Round the output size up, as long as the last window starts inside the input or the leading padding (False).
    layout : str
        ``"channels_last"`` (default) or ``"channels_first"``.
    return_indices : bool
        Also give where each maximum was (False).

    Returns
    -------
    y : array
        In the library, on the device and with the dtype of x.
    indices : array of int64
        With `return_indices`: the place of each maximum, flat over the unpadded spatial axes of its plane, as
        PyTorch's. (int32 in JAX without 64-bit types.)

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        x is not an array of real numbers.

    Notes
    -----
    Padding holds minus infinity, or an integer dtype's least value; a window with no tap inside the input gives that
    value and the index -1. A NaN makes its windows NaN, with the index of the first one. Of equal maxima the first
    has the index. On NumPy a call allocates at most ``max_workspace`` bytes beside its results. Source: ONNX operator
    MaxPool; PyTorch's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x = np.array([1.0, 3.0, 2.0, 2.0, 5.0]).reshape(1, 5, 1)
    >>> y, indices = xc.max_pool(x, 2, ceil_mode=True, return_indices=True)
    >>> y[0, :, 0], indices[0, :, 0]
    (array([3., 2., 5.]), array([1, 2, 4]))

    """
    xp, traits = inspect("max_pool", x=x)
    check_order("max_pool", xp, x.dtype)
    geometry = read_geometry("max_pool", x.shape, window, stride, padding, dilation, ceil_mode, layout)
    fill, real = least(xp, x.dtype), is_kind(xp, x.dtype, "real floating")
    if traits.buffers:
        results = _pool_tiles.max_pool(x, geometry, xp, fill, layout, real, bool(return_indices))
        return results if return_indices else results[0]
    pixels = to_channels_last(xp, x, layout)
    places = index_dtype(xp, x) if return_indices else None

    def tile(work: Workspace, region: Region) -> tuple[Array, ...]:
        slab = _run.slab(work, pixels, geometry, region, fill)
        best = pooling.window_reduce(work, "maximum", slab, geometry, _run.sizes(region))
        if places is None:
            return (best,)
        hits = pooling.maxima(work, slab, geometry, region, "first", real)
        return best, pooling.plane_index(work, hits, geometry, region, places)

    dtypes = (x.dtype,) if places is None else (x.dtype, places)
    elements = 3 if places is None else 10 + geometry.taps // 4
    found = _pool_run.over_output(tile, pixels, geometry, xp, traits, x.dtype, dtypes, elements, layout)
    return found[0] if places is None else (found[0], found[1])


def max_pool_vjp(
    dy: Array,
    x: Array,
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    layout: str = "channels_last",
    ties: str = "first",
) -> Array:
    """Give the gradient of max pooling's input from the gradient of its output.

    ``(N, *out, C), (N, *spatial, C) -> (N, *spatial, C)``.

    Parameters
    ----------
    dy : array
        The gradient with respect to `max_pool`'s result, in its shape.
    x : array
        The images that `max_pool` had.
    window, stride, padding, dilation, ceil_mode, layout
        As `max_pool` had them.
    ties : str
        Which of equal maxima gets a window's gradient: ``"first"`` (default), ``"all"`` (each the whole gradient), or
        ``"split"`` (each an equal share).

    Returns
    -------
    array
        dx, shaped as x, in the library, on the device and with the dtype of x.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dy has not the shape of the output.
    TypeError
        The arrays differ in library, device or dtype, or are not real numbers.

    Notes
    -----
    Where windows overlap, gradients add up. The first NaN of a window gets its whole gradient, whatever `ties`. Maxima
    are found again from x, tile by tile; no index array is kept.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x = np.array([1.0, 3.0, 3.0, 2.0]).reshape(1, 4, 1)
    >>> dy = np.ones((1, 2, 1))
    >>> xc.max_pool_vjp(dy, x, 3, stride=1)[0, :, 0]
    array([0., 2., 0., 0.])
    >>> xc.max_pool_vjp(dy, x, 3, stride=1, ties="all")[0, :, 0]
    array([0., 2., 2., 0.])

    """
    name = "max_pool_vjp"
    xp, traits = inspect(name, x=x, dy=dy)
    check_order(name, xp, x.dtype)
    check_ties(name, xp, dy.dtype, ties)
    geometry = read_geometry(name, x.shape, window, stride, padding, dilation, ceil_mode, layout)
    check_gradient(name, dy, geometry, layout)
    return _pool_run.max_pool_vjp(dy, x, geometry, xp, traits, ties, layout)


def apart_max_pool_vjp(dy: Array, x: Array, window: Size, stride: Size) -> Array:
    """Give the gradient as `max_pool_vjp` does with ties "all", where dy has another dtype than x; in dy's."""
    name = "max_pool_vjp"
    xp, traits = inspect_apart(name, x=x, dy=dy)
    check_order(name, xp, x.dtype)
    check_order(name, xp, dy.dtype)
    geometry = read_geometry(name, x.shape, window, stride, 0, 1, False, "channels_last")
    check_gradient(name, dy, geometry, "channels_last")
    return _pool_run.max_pool_vjp(dy, x, geometry, xp, traits, "all", "channels_last")


def avg_pool(
    x: Array,
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: str = "channels_last",
) -> Array:
    """Take the mean of each window of each channel (1, 2 or 3 spatial axes).

    ``(N, *spatial, C) -> (N, *out, C)``, in ``channels_first`` ``(N, C, *spatial) -> (N, C, *out)``.

    Parameters
    ----------
    x : array
        The images. N may be 0, no other axis may be empty.
    window, stride, padding, dilation, ceil_mode, layout
        As for `max_pool`; padding holds zeros.
    count_include_pad : bool
        True (default): divide by the number of a window's taps inside the input or its padding. False: inside the
        input. Taps beyond the padding, which `ceil_mode` can bring, are never counted.

    Returns
    -------
    array
        In the library, on the device and with the dtype of x.

    Raises
    ------
    ValueError
        A shape or an option is unfit.
    TypeError
        x is not an array of floating or complex numbers.

    Notes
    -----
    16-bit floating types are summed in float32. A window with no tap to count (`dilation` can do that) gives 0. On
    NumPy a call allocates at most ``max_workspace`` bytes beside its result. Source: ONNX operator AveragePool;
    PyTorch's conventions.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> x = np.array([1.0, 3.0, 5.0]).reshape(1, 3, 1)
    >>> xc.avg_pool(x, 3, stride=1, padding=1, count_include_pad=False)[0, :, 0]
    array([2., 3., 4.])

    """
    xp, traits = inspect("avg_pool", x=x)
    check_divisible("avg_pool", "x", xp, x.dtype)
    geometry = read_geometry("avg_pool", x.shape, window, stride, padding, dilation, ceil_mode, layout)
    return _pool_run.avg_pool(x, geometry, xp, traits, bool(count_include_pad), layout)


def avg_pool_vjp(
    dy: Array,
    input_shape: tuple[int, ...],
    window: Size,
    *,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: str = "channels_last",
) -> Array:
    """Give the gradient of average pooling's input from the gradient of its output.

    ``(N, *out, C) -> (N, *spatial, C)``, the adjoint of `avg_pool`.

    Parameters
    ----------
    dy : array
        The gradient with respect to `avg_pool`'s result, in its shape.
    input_shape : tuple of int
        The whole shape of `avg_pool`'s x, in the given layout.
    window, stride, padding, dilation, ceil_mode, count_include_pad, layout
        As `avg_pool` had them.

    Returns
    -------
    array
        dx, of `input_shape`, in the library, on the device and with the dtype of dy.

    Raises
    ------
    ValueError
        A shape or an option is unfit; dy has not the shape of the output.
    TypeError
        dy is not an array of floating or complex numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> xc.avg_pool_vjp(np.ones((1, 2, 1)), (1, 3, 1), 2, stride=1)[0, :, 0]
    array([0.5, 1. , 0.5])

    """
    name = "avg_pool_vjp"
    xp, traits = inspect(name, dy=dy)
    check_divisible(name, "dy", xp, dy.dtype)
    geometry = read_geometry(name, input_shape, window, stride, padding, dilation, ceil_mode, layout, "input_shape")
    check_gradient(name, dy, geometry, layout)
    return _pool_run.avg_pool_vjp(dy, geometry, xp, traits, bool(count_include_pad), layout)
