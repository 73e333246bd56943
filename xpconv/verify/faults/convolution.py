"""Faults in convolution and its gradients: the public functions, and the engine beneath them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from xpconv.verify.faults.fault import SHAPE, Array, Fault, Function, changed, forced, library

CONV = ("conv",)
GRADIENTS = ("conv_input_grad", "conv_weight_grad")
SLAB = "xpconv._convolution.tile:slab"


def _coarse(a: Array) -> Array:
    """Round to ten binary digits after the first, as TF32 does."""
    fraction, exponent = np.frexp(a)
    return np.ldexp(np.round(fraction * 2048) / 2048, exponent).astype(a.dtype)


def _zeroed(empty: Function) -> Function:
    """Start results at zero, so that what is not written does not happen to be right."""

    def zeros(*arguments: Any) -> Array:
        array = empty(*arguments)
        array[...] = 0
        return array

    return zeros


def _one_lost(run: Function) -> Function:
    def lossy(*arguments: Any, **options: Any) -> list[Any]:
        found: list[Any] = run(*arguments, **options)
        if len(found) > 1:
            found[-1] = 0 * found[-1]
        return found

    return lossy


def _shifted(slab: Function) -> Function:
    """Read the pixels of an image with padding one too far to the right."""

    def off_by_one(work: Any, x: Array, geometry: Any, *rest: Any, **options: Any) -> Array:
        found = slab(work, x, geometry, *rest, **options)
        return np.roll(found, 1, axis=1) if any(map(any, geometry.padding)) else found

    return off_by_one


def _unwidened(decide: Function) -> Function:
    def decided(xp: Any, dtype: Any, wanted: Any, double: bool) -> Any:
        return replace(decide(xp, dtype, wanted, double), seen=wanted, factors=wanted, sums=wanted)

    return decided


def _tap_slices(right: Function) -> Function:
    return lambda geometry, offset, output: tuple(slice(a, a + n) for a, n in zip(offset, output, strict=True))


def _undilated(right: Function) -> Function:
    return lambda geometry: ((tap, tap) for tap, _ in right(geometry))


def _swapped(right: Function) -> Function:
    def offsets(geometry: Any) -> Any:
        for tap, offset in right(geometry):
            square = geometry.rank == 2 and len(set(zip(geometry.kernel, geometry.dilation, strict=True))) == 1
            yield tap, offset[::-1] if square else offset

    return offsets


def _first_group_for_all(right: Function) -> Function:
    def conv(
        x: Array, w: Array, b: Any = None, *, groups: int = 1, layout: str = "channels_last", **options: Any
    ) -> Array:
        axis = 1 if layout == "channels_first" else x.ndim - 1
        first = np.take(x, np.arange(x.shape[axis]) % (x.shape[axis] // groups), axis=axis)
        return right(first, w, b, groups=groups, layout=layout, **options)

    return conv


def _flipped(right: Function) -> Function:
    def conv(x: Array, w: Array, b: Any = None, *, layout: str = "channels_last", **options: Any) -> Array:
        taps = range(w.ndim - 2) if layout == "channels_last" else range(2, w.ndim)
        return right(x, np.flip(w, tuple(taps)), b, layout=layout, **options)

    return conv


def _flipped_gradient(right: Function) -> Function:
    def conv_weight_grad(dz: Array, x: Array, shape: Any, *, layout: str = "channels_last", **options: Any) -> Array:
        dw = right(dz, x, shape, layout=layout, **options)
        return np.flip(dw, -1 if layout == "channels_first" else 0).copy()

    return conv_weight_grad


def _unflipped(right: Function) -> Function:
    return lambda xp, w, taps, geometry: np.flip(right(xp, w, taps, geometry), tuple(range(geometry.rank)))


def _first_image(right: Function) -> Function:
    def conv_vjp(dz: Array, x: Array, w: Array, **options: Any) -> Any:
        others = np.arange(len(dz)).reshape(-1, *[1] * (dz.ndim - 1)) > 0
        return right(np.where(others, 0, dz).astype(dz.dtype), x, w, **options)

    return conv_vjp


def _groups_backwards(right: Function) -> Function:
    def prepare(algorithm: Any, work: Any, w: Array, geometry: Any, out: Any = None) -> Array:
        weight = right(algorithm, work, w, geometry, out)
        return weight[::-1] if geometry.groups > 1 else weight

    return prepare


FAULTS: tuple[Fault, ...] = (
    library("padding ignored", "padding= is never read", CONV, ("xpconv:conv", forced(padding=0)), sign=SHAPE),
    library("stride ignored", "stride= is never read", CONV, ("xpconv:conv", forced(stride=1)), sign=SHAPE),
    library("dilation ignored", "dilation= is never read", CONV, ("xpconv:conv", forced(dilation=1)), sign=SHAPE),
    library("pad off by one", "the padded image is shifted by a pixel", CONV, (SLAB, _shifted)),
    library(
        "stride of the taps ignored",
        "each tap reads neighbouring pixels",
        CONV,
        ("xpconv._shapes.geometry:Geometry.tap_slices", _tap_slices),
    ),
    library(
        "dilation of the taps ignored",
        "the taps lie side by side",
        CONV,
        ("xpconv._shapes.geometry:Geometry.offsets", _undilated),
    ),
    library(
        "kernel axes swapped",
        "column offsets are used for rows",
        CONV,
        ("xpconv._shapes.geometry:Geometry.offsets", _swapped),
    ),
    library("groups ignored", "each group reads the first one's channels", CONV, ("xpconv:conv", _first_group_for_all)),
    library(
        "groups in the wrong order",
        "each group gets another's weights",
        CONV,
        ("xpconv.algorithms.gemm:Gemm.prepare", _groups_backwards),
    ),
    library(
        "kernel flipped",
        "a convolution where a correlation is meant",
        CONV,
        ("xpconv:conv", _flipped),
    ),
    library(
        "bias forgotten",
        "b is never added",
        CONV,
        ("xpconv:conv", forced(b=None)),
    ),
    library(
        "bias added twice",
        "by the product and by the store",
        CONV,
        ("xpconv:conv", lambda right: lambda x, w, b=None, **o: right(x, w, None if b is None else b + b, **o)),
    ),
    library(
        "last tile skipped",
        "an index that ends one early",
        CONV,
        ("xpconv._arrays.space:Space.empty", _zeroed),
        ("xpconv._shapes.cuts:Tiles.__len__", lambda right: lambda tiles: max(right(tiles) - 1, 1)),
        core=False,
    ),
    library(
        "one thread's partial sum lost",
        "the sums of all workers but one are added",
        GRADIENTS[1:],
        ("xpconv._convolution.weight_grad:run", _one_lost),
        core=False,
    ),
    library(
        "sums in float16",
        "float16 is not summed in float32",
        CONV,
        ("xpconv._arrays.arithmetic:_decide", _unwidened),
        dtypes=("float16",),
        core=False,
        sign="off by more",
    ),
    library(
        "input rounded to TF32",
        "a switch that trades digits for speed",
        CONV,
        (SLAB, changed(_coarse)),
        sign="off by more",
    ),
    library(
        "bias of a prepared convolution forgotten",
        "what is kept is the weight alone",
        ("prepare_conv",),
        (
            "xpconv._ops.prepare:prepared_conv",
            lambda right: (
                lambda call, geometry, algorithm, w, b, *more: right(call, geometry, algorithm, w, None, *more)
            ),
        ),
    ),
    library("zeros", "the result is never filled", CONV, ("xpconv:conv", changed(lambda z: 0 * z))),
    library(
        "kernel not flipped in the gradient",
        "dx is the correlation with w as it is",
        GRADIENTS[:1],
        ("xpconv._convolution.input_grad:adjoint", _unflipped),
    ),
    library(
        "dw flipped",
        "dw is turned over",
        GRADIENTS[1:],
        ("xpconv:conv_weight_grad", _flipped_gradient),
    ),
    library(
        "gradient × 1.001",
        "dx is nearly right",
        GRADIENTS[:1],
        ("xpconv:conv_input_grad", changed(lambda dx: dx * dx.dtype.type(1.001))),
    ),
    library(
        "conjugate forgotten",
        "the gradients of complex numbers use w and x as they are",
        ("conv_vjp",),
        ("xpconv._ops.conv:input_grad", forced(conjugate=False)),
        ("xpconv._arrays.call:Call.conjugated", lambda right: lambda call: call),
        dtypes=("complex64",),
    ),
    library("gradient negated", "a sign", GRADIENTS[1:], ("xpconv:conv_weight_grad", changed(lambda dw: -dw))),
    library(
        "dx and dw of the first image",
        "a loop over the batch that ends early",
        ("conv_vjp",),
        ("xpconv:conv_vjp", _first_image),
    ),
    library(
        "bound too small",
        "error_bound promises what does not hold",
        CONV,
        ("xpconv:error_bound", changed(lambda bound: bound / 1000)),
        sign="by error_bound",
    ),
    library(
        "bound too large",
        "error_bound promises nothing",
        CONV,
        ("xpconv:error_bound", changed(lambda bound: bound * 1000)),
        sign="promises less",
    ),
)
