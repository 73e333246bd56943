"""Faults in the general operations and in the engine beneath them."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import numpy as np

from xpconv.verify.faults import SHAPE, Array, Fault, Function, Wrap

CONV = ("conv",)
GRADIENTS = ("conv_input_grad", "conv_weight_grad")
SLAB = "xpconv._engine.jobs:slab"


def _keywords(**forced: Any) -> Wrap:
    """Ignore keywords: force them to a value."""
    return lambda right: lambda *arrays, **options: right(*arrays, **{**options, **forced})


def _result(change: Any) -> Wrap:
    """Change the right result."""
    return lambda right: lambda *arrays, **options: change(right(*arrays, **options))


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


def _zero_filled(right: Function) -> Function:
    return lambda x, geometry, xp, fill, *rest: right(x, geometry, xp, 0, *rest)


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


def _groups_backwards(right: Function) -> Function:
    def prepare(xp: Any, w: Array, geometry: Any) -> Array:
        weight = right(xp, w, geometry)
        return weight[::-1] if geometry.groups > 1 else weight

    return prepare


def _last_tap_left_out(right: Function) -> Function:
    def line(geometry: Any, axis: int, windows: Any) -> Any:
        kernel = (*geometry.kernel[:-1], max(geometry.kernel[-1] - 1, 1))
        return right(replace(geometry, kernel=kernel), axis, windows)

    return line


def _mutating(right: Function) -> Function:
    def pad(x: Array, padding: Any, **options: Any) -> Array:
        y = right(x, padding, **options)
        x[..., :1] = 7
        return y

    return pad


def _view(right: Function) -> Function:
    def pad(x: Array, padding: Any, **options: Any) -> Array:
        y = right(x, padding, **options)
        return x if y.shape == x.shape else y

    return pad


def _broken(right: Function) -> Function:
    def pad(*arguments: Any, **options: Any) -> Array:
        raise RuntimeError("no kernel image is available")

    return pad


def _on_the_host(right: Function) -> Function:
    return lambda *a, **o: np.asarray(_on_the_default_device(right)(*a, **o))


def _on_the_default_device(right: Function) -> Function:
    device = importlib.import_module("array_api_strict").Device
    return lambda *a, **o: right(*a, **o).to_device(device("CPU_DEVICE"))


def _fault(name: str, imitates: str, operations: tuple[str, ...], *plants: tuple[str, Wrap], **more: Any) -> Fault:
    return Fault(name, imitates, plants, operations, **more)


FAULTS: tuple[Fault, ...] = (
    _fault("padding ignored", "padding= is never read", CONV, ("xpconv:conv", _keywords(padding=0)), sign=SHAPE),
    _fault("stride ignored", "stride= is never read", CONV, ("xpconv:conv", _keywords(stride=1)), sign=SHAPE),
    _fault("dilation ignored", "dilation= is never read", CONV, ("xpconv:conv", _keywords(dilation=1)), sign=SHAPE),
    _fault("pad off by one", "the padded image is shifted by a pixel", CONV, (SLAB, _shifted)),
    _fault(
        "stride of the taps ignored", "each tap reads neighbouring pixels", CONV,
        ("xpconv._shapes.geometry:Geometry.tap_slices", _tap_slices),
    ),
    _fault(
        "dilation of the taps ignored", "the taps lie side by side", CONV,
        ("xpconv._shapes.geometry:Geometry.offsets", _undilated),
    ),
    _fault(
        "kernel axes swapped", "column offsets are used for rows", CONV,
        ("xpconv._shapes.geometry:Geometry.offsets", _swapped),
    ),
    _fault("groups ignored", "each group reads the first one's channels", CONV, ("xpconv:conv", _first_group_for_all)),
    _fault(
        "groups in the wrong order", "each group gets another's weights", CONV,
        ("xpconv.algorithms.gemm:prepare", _groups_backwards),
    ),
    _fault(
        "kernel flipped", "a convolution where a correlation is meant", CONV,
        ("xpconv:conv", lambda right: lambda x, w, b=None, *, layout="channels_last", **o: right(
            x, np.flip(w, tuple(range(w.ndim - 2) if layout == "channels_last" else range(2, w.ndim))), b,
            layout=layout, **o,
        )),
    ),
    _fault("bias forgotten", "b is never added", CONV, ("xpconv:conv", lambda right: lambda x, w, b=None, **o: right(
        x, w, **o))),
    _fault("bias added twice", "by the product and by the store", CONV, (
        "xpconv:conv", lambda right: lambda x, w, b=None, **o: right(x, w, None if b is None else b + b, **o))),
    _fault(
        "last tile skipped", "an index that ends one early", CONV, ("xpconv._engine.jobs:empty", _zeroed),
        ("xpconv._engine.jobs:Tiles.__len__", lambda right: lambda tiles: max(right(tiles) - 1, 1)), core=False,
    ),
    _fault(
        "one thread's partial sum lost", "the sums of all workers but one are added", GRADIENTS[1:],
        ("xpconv._convolution.weight_grad:run", _one_lost), core=False,
    ),
    _fault(
        "sums in float16", "float16 is not summed in float32", CONV,
        ("xpconv._ops.conv:accumulator", lambda right: lambda xp, dtype: dtype), dtypes=("float16",), core=False,
        sign="off by more",
    ),
    _fault(
        "input rounded to TF32", "a switch that trades digits for speed", CONV, (SLAB, _result(_coarse)),
        sign="off by more",
    ),
    _fault("zeros", "the result is never filled", CONV, ("xpconv:conv", _result(lambda z: 0 * z))),
    _fault(
        "kernel not flipped in the gradient", "dx is the correlation with w as it is", GRADIENTS[:1],
        ("xpconv._convolution.phases:adjoint_kernel", lambda right: lambda xp, w, taps, geometry: np.flip(
            right(xp, w, taps, geometry), tuple(range(geometry.rank)))),
    ),
    _fault("dw flipped", "dw is turned over", GRADIENTS[1:], ("xpconv:conv_weight_grad", lambda right: (
        lambda dz, x, shape, *, layout="channels_last", **o: np.flip(
            right(dz, x, shape, layout=layout, **o), -1 if layout == "channels_first" else 0,
        ).copy()))),
    _fault(
        "gradient × 1.001", "dx is nearly right", GRADIENTS[:1],
        ("xpconv:conv_input_grad", _result(lambda dx: dx * dx.dtype.type(1.001))),
    ),
    _fault(
        "conjugate forgotten", "the gradients of complex numbers use w and x as they are", ("conv_vjp",),
        ("xpconv._convolution.passes:is_kind", lambda right: lambda *_: False), dtypes=("complex64",),
    ),
    _fault("gradient negated", "a sign", GRADIENTS[1:], ("xpconv:conv_weight_grad", _result(lambda dw: -dw))),
    _fault("dx and dw of the first image", "a loop over the batch that ends early", ("conv_vjp",), (
        "xpconv:conv_vjp", lambda right: lambda dz, x, w, **o: right(
            np.where(np.arange(len(dz)).reshape(-1, *[1] * (dz.ndim - 1)) > 0, 0, dz).astype(dz.dtype), x, w, **o))),
    _fault(
        "bound too small", "error_bound promises what does not hold", CONV,
        ("xpconv:error_bound", _result(lambda bound: bound / 1000)), sign="by error_bound",
    ),
    _fault(
        "bound too large", "error_bound promises nothing", CONV,
        ("xpconv:error_bound", _result(lambda bound: bound * 1000)), sign="promises less",
    ),
    _fault(
        "maximum padded with 0", "0 for minus infinity", ("max_pool",), ("xpconv._pooling.sweep:max_pool", _zero_filled)
    ),
    _fault(
        "last tap of a window left out", "a loop that ends one early", ("max_pool",),
        ("xpconv._pooling.reduce:line", _last_tap_left_out),
    ),
    _fault(
        "NaN dropped", "a NaN equals nothing, so no pixel is the maximum", ("max_pool",),
        ("xpconv._pooling.sweep:has_nan", lambda right: lambda work, values: False),
    ),
    _fault(
        "NaN ignored", "nanmax for max", ("max_pool",),
        ("xpconv:max_pool", lambda right: lambda x, window, **o: right(
            np.where(np.isnan(x), -np.inf, x).astype(x.dtype), window, **o)),
    ),
    _fault(
        "all maxima for the first", "a mask instead of an index", ("max_pool_vjp",),
        ("xpconv:max_pool_vjp", _keywords(ties="all")),
    ),
    _fault(
        "first maximum for all", "an index instead of a mask", ("pool_backward",),
        ("xpconv._pooling.sweep:max_pool_vjp", lambda right: lambda *arguments: right(*arguments[:-1], "first")),
    ),
    _fault(
        "indices over the padded plane", "they are not shifted back", ("max_pool",),
        ("xpconv:max_pool", _result(lambda r: (r[0], r[1] + 1) if isinstance(r, tuple) else r)), sign="indices: ",
    ),
    _fault(
        "count_include_pad ignored", "every divisor counts the padding", ("avg_pool",),
        ("xpconv:avg_pool", _keywords(count_include_pad=True)),
    ),
    _fault(
        "divisor of the windows at the edge", "ceil_mode's windows divide by all their taps", ("avg_pool",),
        ("xpconv._pooling.reduce:divisor", lambda right: lambda geometry, region, padded, dtype: dtype.type(
            geometry.taps)),
    ),
    _fault(
        "average not divided", "a sum", ("avg_pool_vjp",),
        ("xpconv._pooling.reduce:divisor", lambda right: lambda geometry, region, padded, dtype: dtype.type(1)),
    ),
    _fault("argument mutated", "it works in place", ("pad",), ("xpconv:pad", _mutating), sign="argument x was changed"),
    _fault(
        "argument returned", "the result is the argument itself where nothing is padded", ("pad",),
        ("xpconv:pad", _view), sign="shares memory", core=False,
    ),
    _fault(
        "wrong dtype", "float64 creeps in", ("pad",), ("xpconv:pad", _result(lambda y: y.astype(np.float64))),
        sign="wrong dtype",
    ),
    _fault("list returned", "no array comes back", ("pad",), ("xpconv:pad", _result(list)), sign="is no array"),
    _fault("exception", "the library is broken", ("pad",), ("xpconv:pad", _broken), sign="raised RuntimeError"),
    _fault(
        "wrong namespace", "a NumPy array comes back", ("pad",), ("xpconv:pad", _on_the_host),
        sign="another library", library="strict", device="device1",
    ),
    _fault(
        "wrong device", "device= is forgotten", ("pad",), ("xpconv:pad", _on_the_default_device),
        sign="wrong device", library="strict", device="device1",
    ),
    _fault(
        "cache without the arguments", "copies are kept", ("pool_forward",), ("xpconv:pool_forward", _result(
            lambda r: (r[0], (r[1][0].copy(), r[1][1])))), sign="cache does not hold",
    ),
)  # fmt: skip
