"""The passes of a convolution: dtypes, plan, driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from xpconv import _options
from xpconv._arrays.dtypes import limits, real_dtype, signed, with_dtype
from xpconv._arrays.space import (
    Namespace,
    Traits,
    accumulator,
    cast,
    contiguous,
    from_channels_last,
    is_kind,
    itemsize,
    kernel_from_channels_last,
    kernel_to_channels_last,
    to_channels_last,
)
from xpconv._convolution import input_grad as _run_input_grad
from xpconv._convolution.bias_grad import channel_sum
from xpconv._convolution.weight_grad import correlate_weight_grad
from xpconv._engine.fold import fold_padding, images_at_once, in_wide, strip_elements
from xpconv._engine.jobs import Each
from xpconv._plan.choose import Plan, choose
from xpconv._shapes.geometry import Geometry, Region
from xpconv._work.memory import Held
from xpconv.algorithms.exact import arithmetic

Array = Any


def plan_for(
    function: str, algorithm: str, geometry: Geometry, xp: Namespace, traits: Traits, sums: Any, *,
    gradient: bool = False, share: int = 4, inputs: Any = None,
) -> Plan:  # fmt: skip
    """Plan a pass with the options in force and so many quarters of the workspace.

    `inputs` is the dtype of the arrays and `sums` that of the sums, which is also that of arrays not named.
    """
    options = _options.current()
    inputs = sums if inputs is None else inputs
    dtypes = arithmetic(xp, inputs, sums, True)
    size, room = itemsize(xp, sums), options.room // 4 * share
    if dtypes.exact is not None:
        size = max(size, dtypes.exact.itemsize)
    return choose(
        function, algorithm, geometry, traits, size, room, options.threads, gradient, dtypes.exact,
        inputs != dtypes.factors, is_kind(xp, sums, "integral"),
        0.0 if is_kind(xp, sums, "integral") else limits(xp, sums)[0] / 2,
        not is_kind(xp, sums, "complex floating"),
    )  # fmt: skip


def input_grad(
    function: str, dz: Array, w: Array, geometry: Geometry, xp: Namespace, traits: Traits, *, algorithm: str,
    dtype: Any, layout: str, each: Each | None = None, planned: Callable[[Plan, Geometry], None] | None = None,
) -> Array:  # fmt: skip
    """Give the gradient of the images, the padding's share added to the pixels that it repeats.

    With `each`, which makes magnitudes of both factors, what the rounding error is measured by, in the real dtype of
    the sums; `planned` is told what would run.
    """
    wanted = dtype
    dtype, dz, w = signed(xp, traits, wanted, dz, w)
    accumulated = sums = accumulator(xp, dtype)
    step = images_at_once(xp, traits, geometry.input_shape, dtype, sums, _options.current().max_workspace)
    if each is not None:
        wanted = dtype = sums = real_dtype(xp, sums)
    w, dz = kernel_to_channels_last(xp, w, layout), to_channels_last(xp, dz, layout)
    if each is None and is_kind(xp, w.dtype, "complex floating"):
        w = xp.conj(w)
    zeros = replace(geometry, mode="zeros")
    share = 1 if geometry.mode != "zeros" else 4  # strips of padding take a quarter

    def plan(part: Geometry) -> Plan:
        found = plan_for(function, algorithm, part, xp, traits, accumulated, share=share, inputs=dz.dtype)
        if planned is not None:
            planned(found, part)
        return found

    driven = partial(
        _run_input_grad.input_grad, w=w, plan=plan, xp=xp, traits=traits, sums=sums, each=each,
        by_phases=algorithm != "auto", share=share,
    )  # fmt: skip

    if geometry.batch == 0:  # nothing runs, but a wrong option is refused all the same
        for phase in geometry.phases:
            if phase.geometry is not None:
                plan(phase.geometry)
    if geometry.mode == "zeros" or geometry.batch == 0:
        dx = driven(dz, geometry=zeros, dtype=dtype, layout=layout)
        return with_dtype(xp, traits, from_channels_last(xp, dx, layout), wanted)

    def padded(dz: Array, batch: int, dtype: Any, layout: str) -> Array:
        dx = driven(dz, geometry=replace(zeros, batch=batch), dtype=dtype, layout=layout)

        def strip(region: Region) -> Array:
            pads = tuple((before + low, 0) for (before, _), (low, _) in zip(geometry.padding, region[1:], strict=True))
            size = tuple(high - low for low, high in region[1:])
            start, stop = region[0]
            part = replace(zeros, batch=stop - start, input=size, padding=pads)
            return driven(dz[start:stop, ...], geometry=part, dtype=sums, layout="channels_last")

        size = itemsize(xp, accumulated)
        elements = strip_elements(_options.current().max_workspace, size)
        with Held(elements * size):
            return fold_padding(xp, dx, geometry.padding, geometry.mode, strip, elements)

    if step == 0:
        dx = padded(dz, geometry.batch, dtype, layout)
    else:
        dx = in_wide(
            lambda start, stop: padded(dz[start:stop, ...], stop - start, sums, "channels_last"),
            xp, traits, geometry.input_shape, dtype, dz, layout, step,
        )  # fmt: skip
    return with_dtype(xp, traits, from_channels_last(xp, dx, layout), wanted)


def weight_grad(
    function: str, dz: Array, x: Array, geometry: Geometry, xp: Namespace, traits: Traits, *, algorithm: str,
    dtype: Any, layout: str,
) -> Array:  # fmt: skip
    """Give the gradient of the kernels."""
    wanted = dtype
    dtype, dz, x = signed(xp, traits, wanted, dz, x)
    sums = accumulator(xp, dtype)
    dw = correlate_weight_grad(
        to_channels_last(xp, x, layout), to_channels_last(xp, dz, layout), geometry,
        plan_for(function, algorithm, geometry, xp, traits, sums, gradient=True, inputs=x.dtype), xp, traits,
        sums=sums, each=xp.conj if is_kind(xp, x.dtype, "complex floating") else None,
    )  # fmt: skip
    dw = contiguous(xp, kernel_from_channels_last(xp, cast(xp, dw, dtype), layout))
    return with_dtype(xp, traits, dw, wanted)


def bias_grad(dz: Array, xp: Namespace, traits: Traits, dtype: Any, layout: str) -> Array:
    """Sum the gradient of an output over batch and pixels; in `dtype`."""
    summed, dz = signed(xp, traits, dtype, dz)
    dz = to_channels_last(xp, dz, layout)
    db = channel_sum(dz, tuple(dz.shape[:-1]), xp, traits, accumulator(xp, summed))
    return with_dtype(xp, traits, cast(xp, db, summed), dtype)
