"""A convolution that is prepared once and called many times."""

from __future__ import annotations

from functools import partial
from typing import Any

from xpconv._arrays.call import Call
from xpconv._arrays.types import Array, DType
from xpconv._convolution.prepared import PreparedConv, prepared_conv
from xpconv._ops.conv import conv
from xpconv._shapes import read
from xpconv._shapes.keywords import keywords
from xpconv._shapes.options import AlgorithmName, Layout, Padding, PaddingMode, Size
from xpconv._shapes.read import Windowing


@keywords
def prepare_conv(
    w: Array,
    b: Array | None = None,
    *,
    input_shape: tuple[int, ...],
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
    algorithm: AlgorithmName = "auto",
    dtype: DType | None = None,
) -> PreparedConv:
    """Do once what a convolution does before it sees images: checks, plan, the weight in its algorithm's form.

    ``(*kernel, C/G, F), (F,) -> a callable: (N, *spatial, C) -> (N, *out, F)``.

    Parameters
    ----------
    w : array
        The kernels, as for `conv`; a copy of them is kept.
    b : array, optional
        The bias, as for `conv`; a copy of it is kept.
    input_shape : tuple of int
        The whole shape of the images in the given layout. Their number is what the first plan is made for; a call may
        have any number.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, dtype
        As for `conv`.

    Returns
    -------
    PreparedConv
        ``prepared(x, out=None)`` gives the bits of ``conv(x, w, b, …)`` under the options that were in force when it
        was prepared, in a new array or in `out`: an array of the result's shape and dtype, of x's library and on its
        device, that can be written and shares no memory with x. ``prepared.plan`` says what runs, and prints as
        `explain` does. ``prepared.nbytes`` counts what is kept.

    Raises
    ------
    ValueError
        As `conv`; x has another shape than `input_shape` beside the number of images; `out` is unfit.
    TypeError
        As `conv`; x or `out` is of another library, device or dtype.

    Notes
    -----
    Later changes of w and b are not seen. Beside their copies, the weight is kept in the forms that the algorithms take
    for the sizes of a batch that came last, together at most ``max_workspace`` bytes (or one form), and on NumPy a
    convolution of up to 0.26 Mflop, or one that runs in compiled loops, keeps its work arrays, half a MiB at most, for
    each of these sizes and each thread that has been in a call at the same time. Several threads may call at once.
    Images in Dask's chunks are convolved by blocks, as `conv` does, and nothing beside the copies is of use to them.

    Examples
    --------
    >>> import numpy as np
    >>> import xpconv as xc
    >>> rng = np.random.default_rng(0)
    >>> w, b = rng.standard_normal((3, 3, 4, 8)), np.zeros(8)
    >>> prepared = xc.prepare_conv(w, b, input_shape=(2, 5, 7, 4), stride=2, padding=1)
    >>> x = rng.standard_normal((2, 5, 7, 4))
    >>> np.array_equal(prepared(x), xc.conv(x, w, b, stride=2, padding=1))
    True
    >>> prepared.plan.algorithm
    'gemm'

    """
    asked = Windowing(stride, padding, dilation, groups, padding_mode, layout)
    return _prepared(w, b, input_shape, asked, {"algorithm": algorithm, "dtype": dtype})


def prepare_in_tiles(
    w: Array, b: Array, input_shape: tuple[int, ...], asked: Windowing, algorithm: AlgorithmName
) -> PreparedConv:
    """Prepare a convolution in compact tiles, so that a block of its result can be computed by itself, to the bit."""
    return _prepared(w, b, input_shape, asked, {"algorithm": algorithm, "dtype": None}, compact=True)


def _prepared(
    w: Array,
    b: Array | None,
    input_shape: tuple[int, ...],
    asked: Windowing,
    more: dict[str, Any],
    *,
    compact: bool = False,
) -> PreparedConv:
    name = "prepare_conv"
    call = Call.of(name, w=w, b=b, layout=asked.layout, dtype=more["dtype"])
    geometry = read.conv(name, input_shape, w.shape, asked, ("input_shape", "w.shape"))
    if b is not None:
        read.whole(name, "b", b.shape, (geometry.filters,), "the output channels")
    lazily = partial(
        conv,
        stride=asked.stride,
        padding=asked.padding,
        dilation=asked.dilation,
        groups=asked.groups,
        padding_mode=asked.mode,
        layout=asked.layout,
        **more,
    )
    return prepared_conv(call, geometry, more["algorithm"], w, b, lazily, compact)
