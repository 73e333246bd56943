"""Transposed convolution, padding modes, Lp and adaptive pooling, unpooling, unfold and fold, on every backend."""

import functools
import math
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import checks, oracle
from tests.backends import BACKENDS, Backend
from tests.cases import COMPILED, POOL, Conv, Pool, Shape, grid, in_layout, values
from tests.oracle import per_axis

FIRST = "channels_first"
SMALL = ["numpy", "numpy-readonly", "strict-device1", "torch", "jax-jit", "dask", "cupy"]
NIGHTLY = os.environ.get("XPCONV_TEST_SIZE") == "nightly"


def whole(shape: Shape, seed: int, dtype: str = "float32") -> np.ndarray:
    """Small whole numbers: their sums are exact, and ties abound."""
    return values(shape, seed, dtype, -3, 3)


# Transposed convolution -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Transpose:
    """A transposed convolution: shapes and options, no data."""

    size: Shape
    kernel: Shape
    batch: int = 2
    channels: int = 2
    filters: int = 3
    groups: int = 1
    stride: Any = 1
    padding: Any = 0
    output_padding: Any = 0
    dilation: Any = 1
    layout: str = "channels_last"

    @property
    def options(self) -> dict[str, Any]:
        """The options, as keywords."""
        names = ("stride", "padding", "output_padding", "dilation", "groups", "layout")
        return {name: getattr(self, name) for name in names}

    @property
    def w_shape(self) -> Shape:
        """Shape of w."""
        filters = self.filters // self.groups
        last = self.layout == "channels_last"
        return (*self.kernel, filters, self.channels) if last else (self.channels, filters, *self.kernel)

    @property
    def out(self) -> Shape:
        """Output size."""
        return oracle.transpose_pads(
            self.size, self.kernel, self.stride, self.padding, self.output_padding, self.dilation
        )[1]

    @property
    def terms(self) -> dict[str, int]:
        """Most products that one element of each result sums; the bias counts as one more."""
        kernel, pixels = math.prod(self.kernel), self.batch * math.prod(self.size)
        return {
            "z": kernel * self.channels // self.groups + 1,
            "dx": kernel * self.filters // self.groups,
            "dw": pixels,
            "db": self.batch * math.prod(self.out),
        }

    def data(self, dtype: str = "float32", exact: bool = True) -> dict[str, np.ndarray]:
        """Arrays x, w, b and dz."""
        shapes = {
            "x": in_layout(self.layout, self.batch, self.size, self.channels),
            "w": self.w_shape,
            "b": (self.filters,),
            "dz": in_layout(self.layout, self.batch, self.out, self.filters),
        }
        draw = whole if exact else values
        return {name: draw(shape, seed, dtype) for seed, (name, shape) in enumerate(shapes.items())}


@functools.cache
def transposed(case: Transpose, dtype: str, exact: bool, absolute: bool) -> dict[str, np.ndarray]:
    """What the oracle gives for a case's data, or for its absolute values."""
    a = case.data(dtype, exact)
    if absolute:
        a = {name: oracle.gauge(array) for name, array in a.items()}
    found = oracle.conv_transpose_vjp(a["dz"], a["x"], a["w"], **case.options)
    z = oracle.conv_transpose(a["x"], a["w"], a["b"], **case.options)
    return dict(zip(("z", "dx", "dw", "db"), (z, *found), strict=True))


TRANSPOSE: dict[str, Transpose] = {
    "1x1": Transpose((3, 4), (1, 1)),
    "3x3": Transpose((3, 4), (3, 3)),
    "one-pixel": Transpose((1, 1), (3, 2), batch=1, channels=1, filters=1),
    "stride-2": Transpose((3, 4), (3, 3), stride=2, padding=1),
    "stride-2-extra": Transpose((3, 4), (3, 3), stride=2, padding=1, output_padding=1),
    "strides-differ": Transpose((3, 4), (2, 3), stride=(1, 3), padding=(0, 1), output_padding=(0, 2)),
    "stride-beyond-kernel": Transpose((3, 3), (1, 2), stride=(3, 4)),
    "stride-beyond-kernel-extra": Transpose((3, 3), (1, 2), stride=(3, 4), output_padding=(2, 3)),
    "asymmetric-padding": Transpose((4, 5), (3, 4), stride=2, padding=((2, 0), (1, 3))),
    "padding-beyond-kernel": Transpose((6, 7), (2, 2), padding=(2, 3)),
    "valid": Transpose((3, 3), (2, 3), stride=2, padding="valid"),
    "same": Transpose((4, 3), (3, 4), padding="same"),
    "same-stride": Transpose((4, 3), (4, 3), stride=2, padding="same"),
    "same-lower-stride": Transpose((4, 3), (4, 3), stride=2, padding="same_lower"),
    "same-stride-beyond-kernel": Transpose((3, 2), (1, 2), stride=(3, 4), padding="same"),
    "same-lower-stride-beyond-kernel": Transpose((3, 2), (2, 1), stride=(5, 3), padding="same_lower"),
    "same-dilated": Transpose((4, 5), (3, 2), stride=2, dilation=(2, 3), padding="same"),
    "same-extra": Transpose((4, 5), (3, 3), stride=3, padding="same", output_padding=1),
    "same-lower-extra": Transpose((4, 5), (4, 5), stride=2, padding="same_lower", output_padding=1),
    "dilation": Transpose((4, 3), (3, 2), dilation=(2, 3), padding=1),
    "dilation-extra": Transpose((4, 3), (3, 2), dilation=(2, 4), stride=(1, 2), padding=1, output_padding=(1, 3)),
    "dilation-beyond-input": Transpose((1, 2), (3, 2), dilation=(4, 5), stride=2),
    "groups": Transpose((3, 4), (3, 2), channels=4, filters=6, groups=2, stride=2),
    "depthwise": Transpose((3, 4), (3, 3), channels=3, filters=3, groups=3, padding=1, stride=2),
    "depthwise-multiplier": Transpose((3, 4), (2, 2), channels=2, filters=4, groups=2, stride=2),
    "empty-batch": Transpose((3, 4), (3, 3), batch=0, stride=2),
    "1d": Transpose((5,), (4,), stride=3, padding=((2, 1),)),
    "1d-same": Transpose((4,), (2,), stride=3, padding="same", groups=2, filters=2),
    "3d": Transpose((2, 3, 2), (2, 3, 2), stride=(1, 2, 3), padding=(1, 0, 1), output_padding=(0, 1, 2)),
    "3d-dilation": Transpose((2, 2, 3), (2, 2, 1), dilation=(2, 1, 3), stride=2, padding=((1, 0), (0, 1), (0, 0))),
}
for _name in ("stride-2-extra", "strides-differ", "same-stride-beyond-kernel", "groups", "empty-batch", "1d", "3d"):
    TRANSPOSE[f"{_name}-first"] = replace(TRANSPOSE[_name], layout=FIRST)
CORE_TRANSPOSE = ("same-lower-stride-beyond-kernel", "dilation-extra", "groups-first", "1d-same")


@pytest.mark.parametrize(("backend", "name"), grid(TRANSPOSE, CORE_TRANSPOSE), indirect=["backend"])
def test_conv_transpose(backend: Backend, name: str) -> None:
    case = TRANSPOSE[name]
    a, wanted = case.data(), transposed(case, "float32", True, False)
    checks.demand(backend, backend.call(xc.conv_transpose, a["x"], a["w"], a["b"], **case.options), wanted["z"])
    found = backend.call(xc.conv_transpose_vjp, a["dz"], a["x"], a["w"], **case.options)
    for key, result in zip(("dx", "dw", "db"), found, strict=True):
        checks.demand(backend, result, wanted[key])


@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("name", ["strides-differ", "groups-first", "dilation-extra"])
@pytest.mark.parametrize("backend", ["numpy", "strict", "torch", "dask", "cupy"], indirect=True)
def test_conv_transpose_of_real_and_complex_numbers(backend: Backend, name: str, dtype: str) -> None:
    if not backend.has(dtype):
        pytest.skip(f"{backend} has no {dtype}")
    case = TRANSPOSE[name]
    a = case.data(dtype, exact=False)
    wanted, sizes = (transposed(case, dtype, False, absolute) for absolute in (False, True))
    z = backend.call(xc.conv_transpose, a["x"], a["w"], a["b"], **case.options)
    found = backend.call(xc.conv_transpose_vjp, a["dz"], a["x"], a["w"], **case.options)
    for key, result in zip(("z", "dx", "dw", "db"), (z, *found), strict=True):
        checks.demand(backend, result, wanted[key], dtype, sizes[key], case.terms[key])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_conv_transpose_of_integers_wraps(numpy_backend: Backend, dtype: str) -> None:
    case = TRANSPOSE["3x3"]
    low, high = (0, 200) if dtype == "uint8" else (-100, 100)
    x, w = (values(case.data()[name].shape, 5, dtype, low, high) for name in ("x", "w"))
    dz = values(case.data()["dz"].shape, 6, dtype, low, high)
    checks.demand(numpy_backend, xc.conv_transpose(x, w), oracle.conv_transpose(x, w), dtype)
    for got, wanted in zip(xc.conv_transpose_vjp(dz, x, w), oracle.conv_transpose_vjp(dz, x, w), strict=True):
        checks.demand(numpy_backend, got, wanted, dtype)


# Padding with pixels of the image -------------------------------------------------------------------------------

MODES = ("zeros", "reflect", "replicate", "circular")
PADS: dict[str, tuple[Shape, Any, str]] = {
    "int": ((2, 4, 3, 2), 2, "channels_last"),
    "ints": ((2, 3, 5, 1), (1, 3), "channels_last"),
    "pairs": ((1, 4, 3, 2), ((3, 0), (1, 2)), "channels_last"),
    "nothing": ((2, 3, 4, 2), 0, "channels_last"),
    "valid": ((2, 3, 4, 2), "valid", "channels_last"),
    "one-side": ((2, 3, 4, 2), ((0, 0), (0, 3)), "channels_last"),
    "first": ((2, 3, 4, 5), ((2, 1), (0, 4)), FIRST),
    "1d": ((2, 4, 3), ((3, 2),), "channels_last"),
    "1d-first": ((2, 3, 4), 3, FIRST),
    "3d": ((2, 3, 2, 4, 2), (2, 1, 3), "channels_last"),
    "3d-first": ((1, 2, 3, 2, 4), ((0, 2), (1, 0), (3, 3)), FIRST),
    "empty-batch": ((0, 3, 4, 2), 1, "channels_last"),
}
CORE_PADS = ("pairs", "1d-first")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("backend", "name"), grid(PADS, CORE_PADS), indirect=["backend"])
def test_pad(backend: Backend, name: str, mode: str) -> None:
    shape, padding, layout = PADS[name]
    x = whole(shape, 1)
    wanted = oracle.pad(x, padding, mode=mode, layout=layout)
    checks.demand(backend, backend.call(xc.pad, x, padding, mode=mode, layout=layout), wanted)
    dy = whole(wanted.shape, 2)
    got = backend.call(xc.pad_vjp, dy, shape, padding, mode=mode, layout=layout)
    checks.demand(backend, got, oracle.pad_vjp(dy, shape, padding, mode=mode, layout=layout))


def test_replication_reaches_any_distance(numpy_backend: Backend) -> None:
    mode = "replicate"
    x, padding = whole((1, 1, 2, 2), 1), ((4, 7), (0, 5))
    wanted = oracle.pad(x, padding, mode=mode)
    checks.demand(numpy_backend, xc.pad(x, padding, mode=mode), wanted)
    dy = whole(wanted.shape, 2)
    checks.demand(
        numpy_backend, xc.pad_vjp(dy, x.shape, padding, mode=mode), oracle.pad_vjp(dy, x.shape, padding, mode=mode)
    )


PADDED: dict[str, Conv] = {
    "3x3": Conv((4, 5), (3, 3), padding=1),
    "as-far-as-reflection-goes": Conv((3, 4), (3, 3), padding=(2, 3)),
    "same": Conv((5, 6), (3, 4), padding="same"),
    "same-lower-stride": Conv((5, 6), (4, 4), stride=2, padding="same_lower"),
    "causal": Conv((6, 7), (3, 2), padding="causal", dilation=(2, 3)),
    "asymmetric": Conv((4, 5), (3, 2), padding=((2, 0), (1, 3)), stride=(2, 1)),
    "stride-dilation": Conv((7, 8), (3, 2), padding=(3, 4), stride=(2, 3), dilation=(3, 4)),
    "stride-beyond-kernel": Conv((7, 5), (1, 2), padding=2, stride=(3, 4)),
    "groups": Conv((4, 4), (3, 3), padding=1, channels=4, filters=4, groups=2),
    "depthwise-first": Conv((5, 4), (3, 3), padding=1, channels=3, filters=3, groups=3, layout=FIRST),
    "1d": Conv((5,), (4,), padding=((1, 3),), stride=2),
    "1d-first": Conv((5,), (3,), padding=4, layout=FIRST),
    "3d": Conv((3, 4, 2), (2, 3, 2), padding=(1, 2, 1), stride=(1, 2, 1), batch=1),
    "3d-first": Conv((2, 3, 3), (2, 1, 2), padding=((1, 0), (0, 0), (2, 1)), layout=FIRST, batch=1),
    "empty-batch": Conv((4, 5), (3, 3), padding=1, batch=0),
}
CORE_PADDED = ("1d-first", "asymmetric")


@functools.cache
def padded(case: Conv, mode: str) -> tuple[np.ndarray, ...]:
    """What the oracle gives: z, dx, dw and db."""
    a, options = case.data(), {**case.options, "padding_mode": mode}
    z = oracle.conv(a["x"], a["w"], a["b"], **options)
    return (z, *oracle.conv_vjp(a["dz"], a["x"], a["w"], **options))


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize(("backend", "name"), grid(PADDED, CORE_PADDED), indirect=["backend"])
def test_convolution_pads_with_pixels(backend: Backend, name: str, mode: str) -> None:
    case = PADDED[name]
    a, wanted = case.data(), padded(case, mode)
    options = {**case.options, "padding_mode": mode}
    z = backend.call(xc.conv, a["x"], a["w"], a["b"], **options)
    for got, expected in zip((z, *backend.call(xc.conv_vjp, a["dz"], a["x"], a["w"], **options)), wanted, strict=True):
        checks.demand(backend, got, expected)


@pytest.mark.parametrize("algorithm", ["direct", "gemm"])
@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("name", PADDED)
def test_each_gradient_of_a_padded_convolution_alone(
    numpy_backend: Backend, name: str, mode: str, algorithm: str
) -> None:
    case = PADDED[name]
    a, wanted = case.data("float64"), padded(case, mode)
    options = {**case.options, "padding_mode": mode, "algorithm": algorithm}
    checks.demand(numpy_backend, xc.conv(a["x"], a["w"], a["b"], **options), wanted[0], "float64")
    dx = xc.conv_input_grad(a["dz"], a["w"], case.x_shape, **options)
    dw = xc.conv_weight_grad(a["dz"], a["x"], case.w_shape, **options)
    checks.demand(numpy_backend, dx, wanted[1], "float64")
    checks.demand(numpy_backend, dw, wanted[2], "float64")


# Lp pooling -----------------------------------------------------------------------------------------------------

POW = 4  # units of roundoff that a power may be off by: two units in the last place, as every library's is
POWERS = (0.5, 1, 2, 3.5, math.inf)
LP_NAMES = (
    "2-rest", "3-stride-2-padded-ceil", "asymmetric-padding-first", "same-lower", "causal", "stride-beyond-window",
    "dilated-padded", "dilated-ceil", "no-tap-inside", "empty-batch", "1d-first", "3d-ceil-padded",
)  # fmt: skip
LP = {name: POOL[name] for name in LP_NAMES}
CORE_LP = ("dilated-padded",)


def norm_units(p: float, taps: int) -> float:
    """Units of roundoff of a p-norm of so many taps, each scaled by the largest; none for p = infinity.

    A scaled magnitude (1 unit) to the power p: p + POW units, and the additions: taps - 1 more, all of numbers above 0.
    The root divides that by p and adds POW; its exponent 1 / p, rounded, adds log(sum) / p, the sum being at least
    1 and at most `taps`; the scale adds 1.
    """
    if p == math.inf:
        return 0
    return (p + POW + taps - 1 + math.log(taps)) / p + POW + 1


def slope_units(p: float, taps: int) -> float:
    """Units of roundoff of a gradient: slope, sign and product of a window, and as many additions as windows meet."""
    if p == math.inf:
        return 2 + taps
    return abs(p - 1) * (norm_units(p, taps) + 1) + POW + 2 + taps


@functools.cache
def lp(case: Pool, p: float, dtype: str) -> tuple[np.ndarray, ...]:
    """What the oracle gives: y, dx and the size of dx without cancellation."""
    a = case.data(dtype, whole=False)
    dx, size = (oracle.lp_pool_vjp(f(a["dy"]), f(a["x"]), p, case.window, **case.options) for f in (np.asarray, abs))
    return oracle.lp_pool(a["x"], p, case.window, **case.options), dx, size


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize(("backend", "name"), grid(LP, CORE_LP), indirect=["backend"])
def test_lp_pool(backend: Backend, name: str, p: float) -> None:
    case = POOL[name]
    a, (y, dx, size) = case.data(whole=False), lp(case, p, "float32")
    got = backend.call(xc.lp_pool, a["x"], p, case.window, **case.options)
    checks.demand(backend, got, y, magnitude=y, terms=math.ceil(norm_units(p, case.terms)))
    got = backend.call(xc.lp_pool_vjp, a["dy"], a["x"], p, case.window, **case.options)
    checks.demand(backend, got, dx, magnitude=size, terms=math.ceil(slope_units(p, case.terms)))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("name", ["3-overlapping", "1d-first"])
def test_lp_pool_of_other_dtypes(numpy_backend: Backend, name: str, p: float, dtype: str) -> None:
    case = POOL[name]
    a, (y, dx, size) = case.data(dtype, whole=False), lp(case, p, dtype)
    got = numpy_backend.call(xc.lp_pool, a["x"], p, case.window, **case.options)
    checks.demand(numpy_backend, got, y, dtype, y, math.ceil(norm_units(p, case.terms)))
    got = numpy_backend.call(xc.lp_pool_vjp, a["dy"], a["x"], p, case.window, **case.options)
    checks.demand(numpy_backend, got, dx, dtype, size, math.ceil(slope_units(p, case.terms)))


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("backend", SMALL, indirect=True)
def test_lp_pool_of_zeros_and_of_extremes(backend: Backend, p: float) -> None:
    """An all-zero window has no slope; squares of 1e±30 leave float32's range and the norm does not."""
    zeros = np.zeros((1, 4, 1), np.float32)
    checks.demand(backend, backend.call(xc.lp_pool, zeros, p, 2), np.zeros((1, 2, 1)))
    checks.demand(backend, backend.call(xc.lp_pool_vjp, np.ones((1, 2, 1), np.float32), zeros, p, 2), zeros)
    x = np.array([1e30, -1e30, 1e-30, 1e-30], np.float32).reshape(1, 4, 1)
    y = oracle.lp_pool(x, p, 2)
    units = math.ceil(norm_units(p, 2))
    checks.demand(backend, backend.call(xc.lp_pool, x, p, 2), y, magnitude=y, terms=units)


def test_equal_magnitudes_share_the_gradient_of_the_largest(numpy_backend: Backend) -> None:
    x = np.array([[2.0], [-2.0], [1.0], [-3.0]])[None]
    dx = xc.lp_pool_vjp(np.array([[[6.0], [5.0]]]), x, math.inf, 2)
    checks.demand(numpy_backend, dx, [[[3.0], [-3.0], [0.0], [-5.0]]], "float64")


@pytest.mark.parametrize("p", POWERS)
def test_lp_pool_of_nan_and_infinity(numpy_backend: Backend, p: float) -> None:
    """Each reaches the windows that contain it and no other."""
    x = np.array([1.0, np.nan, 3.0, 0.0, np.inf, 2.0]).reshape(1, 6, 1)
    y = xc.lp_pool(x, p, 2)
    np.testing.assert_array_equal(y, np.array([np.nan, 3, np.inf]).reshape(1, 3, 1))


# Adaptive pooling -----------------------------------------------------------------------------------------------

ADAPTIVE: dict[str, tuple[Shape, Any, str]] = {
    "even": ((2, 4, 6, 2), 2, "channels_last"),
    "even-first": ((2, 3, 6, 4), (3, 2), FIRST),
    "odd": ((2, 5, 7, 2), (2, 3), "channels_last"),
    "odd-first": ((2, 3, 7, 5), 3, FIRST),
    "global": ((2, 5, 3, 2), 1, "channels_last"),
    "identity": ((2, 3, 4, 2), (3, 4), "channels_last"),
    "upsampling": ((2, 2, 3, 2), (5, 7), "channels_last"),
    "up-and-down": ((2, 3, 8, 1), (7, 3), "channels_last"),
    "one-pixel": ((1, 1, 1, 1), (3, 2), "channels_last"),
    "one-less": ((1, 6, 5, 2), (5, 4), "channels_last"),
    "empty-batch": ((0, 5, 7, 2), 3, "channels_last"),
    "empty-batch-even": ((0, 4, 6, 2), 2, "channels_last"),
    "1d": ((2, 11, 3), 4, "channels_last"),
    "1d-first": ((2, 2, 10), 7, FIRST),
    "1d-upsampling": ((2, 3, 1), 8, "channels_last"),
    "3d": ((1, 3, 5, 4, 2), (2, 3, 4), "channels_last"),
    "3d-first": ((1, 2, 3, 2, 5), (2, 3, 2), FIRST),
}
CORE_ADAPTIVE = ("odd-first", "up-and-down")


def with_dtypes(*dtypes: str) -> list[Any]:
    """Every backend with every case in the first dtype; every case in the others where it is quick."""
    pairs = grid(ADAPTIVE, CORE_ADAPTIVE)
    chosen = [(*pair, dtypes[0]) for pair in pairs]
    chosen += [(*pair, dtype) for dtype in dtypes[1:] for pair in pairs if NIGHTLY or pair[0] in ("numpy", "torch")]
    return [pytest.param(*one, id="-".join(one)) for one in chosen]


def adaptive_data(name: str, dtype: str = "float32", exact: bool = True) -> tuple[np.ndarray, np.ndarray, Any, str]:
    """Arrays x and dy, output_shape and layout."""
    shape, parts, layout = ADAPTIVE[name]
    channels = shape[-1] if layout == "channels_last" else shape[1]
    out = in_layout(layout, shape[0], per_axis(parts, len(shape) - 2), channels)
    draw = whole if exact else values
    return draw(shape, 1, dtype), draw(out, 2, dtype), parts, layout


@pytest.mark.parametrize(
    ("backend", "name", "dtype"), with_dtypes("float32", "float16", "float64", "complex64"), indirect=["backend"]
)
def test_adaptive_avg_pool(backend: Backend, name: str, dtype: str) -> None:
    """A sum of whole numbers is exact; its division, and in the gradient the sum of shares, round."""
    if not backend.has(dtype):
        pytest.skip(f"{backend} has no {dtype}")
    x, dy, parts, layout = adaptive_data(name, dtype, exact=False)
    taps = max(len(pixels) for _, pixels in oracle.adaptive_windows(spatial(x.shape, layout), parts))
    readers = math.prod(per_axis(parts, x.ndim - 2))
    wanted, size = (oracle.adaptive_avg_pool(f(x), parts, layout=layout) for f in (np.asarray, oracle.gauge))
    got = backend.call(xc.adaptive_avg_pool, x, parts, layout=layout)
    checks.demand(backend, got, wanted, dtype, size, taps + 1)
    wanted, size = (oracle.adaptive_avg_pool_vjp(f(dy), x, parts, layout=layout) for f in (np.asarray, oracle.gauge))
    got = backend.call(xc.adaptive_avg_pool_vjp, dy, x, parts, layout=layout)
    checks.demand(backend, got, wanted, dtype, size, readers + 1)


def spatial(shape: Shape, layout: str) -> Shape:
    """Spatial sizes of a whole shape."""
    return shape[1:-1] if layout == "channels_last" else shape[2:]


@pytest.mark.parametrize(("backend", "name", "dtype"), with_dtypes("float32", "int32", "uint8"), indirect=["backend"])
def test_adaptive_max_pool(backend: Backend, name: str, dtype: str) -> None:
    """Values, indices and gradient, on data full of ties: the first one wins."""
    x, dy, parts, layout = adaptive_data(name)
    if dtype != "float32":
        x, dy = abs(x).astype(dtype), abs(dy).astype(dtype)
    wanted, at = oracle.adaptive_max_pool(x, parts, layout=layout)
    y, indices = backend.call(xc.adaptive_max_pool, x, parts, layout=layout, return_indices=True)
    checks.demand(backend, y, wanted, dtype)
    checks.demand(backend, indices, at, backend.index_dtype)
    checks.demand(backend, backend.call(xc.adaptive_max_pool, x, parts, layout=layout), wanted, dtype)
    got = backend.call(xc.adaptive_max_pool_vjp, dy, x, parts, layout=layout)
    checks.demand(backend, got, oracle.adaptive_max_pool_vjp(dy, x, parts, layout=layout), dtype)


@pytest.mark.parametrize("name", ["even", "odd", "odd-first", "up-and-down", "1d"])
@pytest.mark.parametrize("backend", SMALL, indirect=True)
def test_adaptive_max_pool_propagates_nan(backend: Backend, name: str) -> None:
    """The first NaN of a window takes the value, the index and the gradient; minus infinity is a number."""
    x, dy, parts, layout = adaptive_data(name)
    flat = x.reshape(-1)
    flat[::5], flat[1::7], flat[2::9] = np.nan, -np.inf, np.inf
    wanted, at = oracle.adaptive_max_pool(x, parts, layout=layout)
    assert np.isnan(wanted).any()
    y, indices = backend.call(xc.adaptive_max_pool, x, parts, layout=layout, return_indices=True)
    checks.demand(backend, y, wanted)
    checks.demand(backend, indices, at, backend.index_dtype)
    got = backend.call(xc.adaptive_max_pool_vjp, dy, x, parts, layout=layout)
    checks.demand(backend, got, oracle.adaptive_max_pool_vjp(dy, x, parts, layout=layout))


# Unpooling ------------------------------------------------------------------------------------------------------


UNPOOL_NAMES = ("2", "3-stride-2-padded", "no-tap-inside", "empty-batch", "1d-first", "3d-ceil-padded")
UNPOOL = {name: POOL[name] for name in UNPOOL_NAMES}


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize(("backend", "name"), grid(UNPOOL, ("no-tap-inside", "1d-first")), indirect=["backend"])
def test_max_unpool(backend: Backend, name: str, dtype: str) -> None:
    """What was a maximum is back where it was; an index of -1 puts nothing anywhere."""
    case = POOL[name]
    # distinct values: where windows overlap, equal indices have equal values
    x = (np.random.default_rng(3).permutation(math.prod(case.x_shape)) + 1).reshape(case.x_shape).astype(dtype)
    y, indices = oracle.max_pool(x, case.window, **case.options)
    indices = indices.astype(backend.index_dtype)
    size = spatial(case.x_shape, case.layout)
    got = backend.call(xc.max_unpool, y, indices, size, layout=case.layout)
    checks.demand(backend, got, oracle.max_unpool(y, indices, size, layout=case.layout), dtype)


def test_max_unpool_into_another_size(numpy_backend: Backend) -> None:
    """The flat indices are read in the shape that is asked for, here with one int for both axes."""
    y, indices = whole((2, 2, 3, 2), 1) + 7, np.arange(24).reshape(2, 2, 3, 2)
    got = xc.max_unpool(y, indices, 5)
    checks.demand(numpy_backend, got, oracle.max_unpool(y, indices, 5))


# Windows as arrays ----------------------------------------------------------------------------------------------

FOLD: dict[str, dict[str, Any]] = {
    "2": {"shape": (2, 4, 5, 2), "window": 2},
    "3x2-stride": {"shape": (2, 6, 5, 2), "window": (3, 2), "stride": (2, 1)},
    "stride-beyond-window": {"shape": (2, 7, 8, 1), "window": (1, 2), "stride": (3, 4)},
    "dilated": {"shape": (1, 6, 7, 2), "window": 3, "dilation": (2, 3), "padding": (1, 2)},
    "pairs": {"shape": (2, 4, 3, 2), "window": 2, "padding": ((2, 0), (0, 3)), "stride": 2},
    "padding-beyond-window": {"shape": (1, 2, 3, 1), "window": 2, "padding": 3},
    "same": {"shape": (2, 5, 4, 2), "window": (3, 4), "padding": "same", "stride": 2},
    "same-lower": {"shape": (2, 5, 4, 2), "window": (2, 4), "padding": "same_lower"},
    "causal": {"shape": (2, 4, 3, 1), "window": (3, 2), "padding": "causal", "dilation": 2},
    "valid": {"shape": (2, 4, 3, 1), "window": (4, 3), "padding": "valid"},
    "first": {"shape": (2, 3, 4, 5), "window": (2, 3), "padding": 1, "stride": (1, 2), "layout": FIRST},
    "1d": {"shape": (2, 7, 2), "window": 3, "stride": 2, "padding": ((1, 2),)},
    "1d-first": {"shape": (2, 2, 7), "window": 4, "dilation": 2, "padding": 2, "layout": FIRST},
    "3d": {"shape": (1, 3, 4, 3, 2), "window": (2, 1, 3), "stride": (1, 2, 1), "padding": (1, 0, 1)},
    "3d-first": {"shape": (1, 2, 3, 2, 3), "window": 2, "dilation": (1, 1, 2), "layout": FIRST},
    "empty-batch": {"shape": (0, 4, 5, 2), "window": 2, "padding": 1},
}
CORE_FOLD = ("dilated", "1d-first")


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize(("backend", "name"), grid(FOLD, CORE_FOLD), indirect=["backend"])
def test_unfold_and_fold(backend: Backend, name: str, dtype: str) -> None:
    if dtype != "float32" and backend.name in COMPILED and not NIGHTLY:
        pytest.skip("integers are compiled in the nightly run")
    options = dict(FOLD[name])
    shape, window = options.pop("shape"), options.pop("window")
    x = whole(shape, 1, dtype)
    wanted = oracle.unfold(x, window, **options)
    checks.demand(backend, backend.call(xc.unfold, x, window, **options), wanted, dtype)
    cols = whole(wanted.shape, 2, dtype)
    got = backend.call(xc.fold, cols, shape, window, **options)
    checks.demand(backend, got, oracle.fold(cols, shape, window, **options), dtype)


# Adjoints: exact, at sizes that are cut into tiles --------------------------------------------------------------

LARGE = ["numpy", "torch", "jax-jit", "cupy"]
TILED = [("numpy", 64), ("numpy", 2), ("torch", 64), ("torch", 2), ("jax-jit", 64), ("cupy", 64), ("cupy", 2)]
tiled = pytest.mark.parametrize(("backend", "mebibytes"), TILED, indirect=["backend"])


@tiled
@pytest.mark.parametrize("layout", ["channels_last", FIRST])
def test_adjoint_of_conv_transpose(backend: Backend, layout: str, mebibytes: int) -> None:
    options = {"stride": (2, 3), "padding": ((1, 0), (2, 3)), "output_padding": (1, 2), "dilation": (2, 1), "groups": 4}
    case = Transpose((61, 47), (3, 4), channels=16, filters=24, layout=layout, **options)
    a = case.data()
    with xc.set_options(max_workspace=mebibytes << 20):
        z = backend.to_numpy(backend.call(xc.conv_transpose, a["x"], a["w"], **case.options))
        dx, dw, db = map(backend.to_numpy, backend.call(xc.conv_transpose_vjp, a["dz"], a["x"], a["w"], **case.options))
    checks.demand_adjoint(z, a["dz"], (a["x"], dx), (a["w"], dw))
    over = tuple(axis for axis in range(4) if axis != (3 if layout == "channels_last" else 1))
    np.testing.assert_array_equal(db, a["dz"].sum(over, dtype=np.float64))


@tiled
@pytest.mark.parametrize("mode", MODES[1:])
def test_adjoint_of_a_padded_convolution(backend: Backend, mode: str, mebibytes: int) -> None:
    options = {"padding": ((9, 4), (3, 12)), "stride": (2, 1), "dilation": (3, 2)}
    case = Conv((83, 71), (4, 3), channels=8, filters=8, bias=False, **options)
    a, options = case.data(), {**case.options, "padding_mode": mode}
    with xc.set_options(max_workspace=mebibytes << 20):
        z = backend.to_numpy(backend.call(xc.conv, a["x"], a["w"], **options))
        dx, dw, _ = map(backend.to_numpy, backend.call(xc.conv_vjp, a["dz"], a["x"], a["w"], **options))
    checks.demand_adjoint(z, a["dz"], (a["x"], dx), (a["w"], dw))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", LARGE, indirect=True)
def test_adjoint_of_pad(backend: Backend, mode: str) -> None:
    x, padding = whole((3, 97, 130, 8), 1), ((40, 7), (0, 60))
    y = backend.to_numpy(backend.call(xc.pad, x, padding, mode=mode))
    dy = whole(y.shape, 2)
    dx = backend.to_numpy(backend.call(xc.pad_vjp, dy, x.shape, padding, mode=mode))
    checks.demand_adjoint(y, dy, (x, dx))


@tiled
def test_adjoint_of_unfold(backend: Backend, mebibytes: int) -> None:
    x, options = whole((2, 90, 77, 8), 1), {"stride": (2, 1), "padding": "same", "dilation": (1, 4)}
    with xc.set_options(max_workspace=mebibytes << 20):
        cols = backend.to_numpy(backend.call(xc.unfold, x, (3, 4), **options))
        other = whole(cols.shape, 2)
        folded = backend.to_numpy(backend.call(xc.fold, other, x.shape, (3, 4), **options))
    checks.demand_adjoint(cols, other, (x, folded))


@tiled
@pytest.mark.parametrize("parts", [(7, 9), (64, 100), (200, 31)])
def test_adjoint_of_adaptive_avg_pool(backend: Backend, parts: Shape, mebibytes: int) -> None:
    """Data in multiples of every window's size: each division is exact."""
    shape = (2, 96, 77, 8)
    sizes = {len(pixels) for _, pixels in oracle.adaptive_windows(shape[1:-1], parts)}
    common = math.lcm(*sizes)
    assert 3 * common * 96 * 77 < 2**53  # every sum is exact in float64
    x, dy = (whole(s, i, "float64") * common for i, s in enumerate((shape, (2, *parts, 8))))
    if not backend.has("float64"):
        pytest.skip(f"{backend} has no float64")
    with xc.set_options(max_workspace=mebibytes << 20):
        y = backend.to_numpy(backend.call(xc.adaptive_avg_pool, x, parts))
        dx = backend.to_numpy(backend.call(xc.adaptive_avg_pool_vjp, dy, x, parts))
    checks.demand_adjoint(y, dy, (x, dx))


@tiled
@pytest.mark.parametrize("parts", [(7, 9), (64, 100)])
def test_adaptive_max_pool_where_it_is_linear(backend: Backend, parts: Shape, mebibytes: int) -> None:
    """⟨y, dy⟩ = ⟨x, dx⟩, for a window's gradient goes to a pixel that has the window's value."""
    x, dy = values((2, 96, 77, 8), 1, "float32", -50, 50), whole((2, *parts, 8), 2)
    with xc.set_options(max_workspace=mebibytes << 20):
        y = backend.to_numpy(backend.call(xc.adaptive_max_pool, x, parts))
        dx = backend.to_numpy(backend.call(xc.adaptive_max_pool_vjp, dy, x, parts))
    checks.demand_adjoint(y, dy, (x, dx))


# PyTorch, in place of the oracle --------------------------------------------------------------------------------


def test_pytorch_agrees(numpy_backend: Backend) -> None:
    """Where PyTorch has the operation, its options mean the same; on whole numbers, so exactly."""
    torch = pytest.importorskip("torch")
    nn = torch.nn.functional
    x, options = whole((2, 4, 9, 7), 1, "float64"), {"layout": FIRST}
    there = torch.asarray(x)

    def same(mine: Any, theirs: Any) -> None:
        np.testing.assert_array_equal(np.asarray(mine), theirs.numpy())

    w, b = whole((4, 3, 3, 4), 2, "float64"), whole((6,), 3, "float64")
    geometry = {"stride": (2, 3), "padding": (1, 2), "output_padding": (1, 2), "dilation": (2, 1), "groups": 2}
    same(
        xc.conv_transpose(x, w, b, **geometry, **options),
        nn.conv_transpose2d(there, torch.asarray(w), torch.asarray(b), **geometry),
    )
    for parts in ((4, 3), (2, 7), (10, 8)):
        y, indices = xc.adaptive_max_pool(x, parts, return_indices=True, **options)
        theirs = nn.adaptive_max_pool2d(there, parts, return_indices=True)
        same(y, theirs[0])
        same(indices, theirs[1])
        sizes = {len(p) for _, p in oracle.adaptive_windows((9, 7), parts)}
        scaled = x * math.lcm(*sizes)
        same(xc.adaptive_avg_pool(scaled, parts, **options), nn.adaptive_avg_pool2d(torch.asarray(scaled), parts))
    y, indices = xc.max_pool(x, 2, return_indices=True, **options)
    same(
        xc.max_unpool(y, indices, (9, 7), **options),
        nn.max_unpool2d(torch.asarray(y), torch.asarray(indices), 2, output_size=(9, 7)),
    )
    geometry = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
    cols = xc.unfold(x, (3, 2), **geometry, **options)
    flat = nn.unfold(there, (3, 2), **geometry)
    same(cols.reshape(flat.shape), flat)
    same(xc.fold(cols, x.shape, (3, 2), **geometry, **options), nn.fold(flat, (9, 7), (3, 2), **geometry))
    for mode, theirs in (("reflect", "reflect"), ("replicate", "replicate"), ("circular", "circular")):
        same(xc.pad(x, ((3, 2), (1, 4)), mode=mode, **options), nn.pad(there, (1, 4, 3, 2), mode=theirs))
    # PyTorch divides nothing either: (Σ x^p)^(1/p), which rounds
    y = xc.lp_pool(x, 2, 3, stride=2, **options)
    bound = checks.tolerance(y, 2 * math.ceil(norm_units(2, 9)), "float64")
    checks.demand_close(y, nn.lp_pool2d(abs(there), 2, 3, stride=2).numpy(), bound)


def test_every_backend_was_meant() -> None:
    """The short lists of backends name what there is."""
    assert set(SMALL) | set(LARGE) | set(COMPILED) <= set(BACKENDS)
