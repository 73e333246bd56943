"""Every attribute of the operators beside ONNX Runtime, in one, two and three dimensions."""

import importlib
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.onnx.runtime import by_runtime, by_us
from xpconv.testing import assert_within_bound

pytestmark = pytest.mark.needs("onnx", "onnxruntime")


def whole(shape: tuple[int, ...], dtype: str = "float32", least: int = -4, seed: int = 0) -> np.ndarray:
    """Whole numbers, whose sums are exact."""
    return np.random.default_rng(seed).integers(least, 5, shape).astype(dtype)


Case = tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]
X1, X2, X3 = (2, 4, 13), (2, 4, 9, 11), (1, 4, 6, 5, 7)

CONVOLUTIONS: dict[str, Case] = {
    "1d": (X1, (6, 4, 3), {}),
    "1d strided": (X1, (6, 4, 3), {"strides": [3], "pads": [2, 1]}),
    "pads": (X2, (3, 4, 3, 2), {"pads": [1, 0, 2, 3]}),
    "strides": (X2, (3, 4, 3, 3), {"strides": [2, 3], "kernel_shape": [3, 3]}),
    "dilations": (X2, (3, 4, 3, 2), {"dilations": [2, 3], "pads": [2, 2, 2, 2]}),
    "group": (X2, (6, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "depthwise": (X2, (8, 1, 3, 3), {"group": 4, "auto_pad": "SAME_UPPER"}),
    "3d": (X3, (2, 4, 2, 3, 3), {"strides": [1, 2, 2], "pads": [0, 1, 1, 1, 1, 0]}),
    "valid": (X2, (3, 4, 3, 2), {"auto_pad": "VALID", "strides": [2, 2]}),
    "same upper": (X2, (3, 4, 4, 2), {"auto_pad": "SAME_UPPER"}),
    "same lower": (X2, (3, 4, 4, 2), {"auto_pad": "SAME_LOWER"}),
    "same upper strided": (X2, (3, 4, 3, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    "same lower strided": (X2, (3, 4, 3, 4), {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    "same of 1d": (X1, (2, 4, 4), {"auto_pad": "SAME_LOWER", "strides": [2]}),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv(name: str, bias: bool) -> None:
    x_shape, w_shape, attributes = CONVOLUTIONS[name]
    arrays = whole(x_shape), whole(w_shape, seed=1), whole(w_shape[:1], seed=2) if bias else None
    np.testing.assert_array_equal(by_us("Conv", *arrays, **attributes), by_runtime("Conv", *arrays, **attributes))


TRANSPOSED: dict[str, Case] = {
    "1d": (X1, (4, 3, 3), {"strides": [2]}),
    "pads": (X2, (4, 3, 3, 2), {"pads": [1, 0, 2, 1], "strides": [2, 2]}),
    "output padding": (X2, (4, 3, 3, 3), {"strides": [2, 3], "output_padding": [1, 2]}),
    "less than its padding": (X2, (4, 3, 3, 3), {"strides": [2, 3], "output_padding": [1, 2], "pads": [1, 1, 1, 1]}),
    "dilations": (X2, (4, 3, 3, 2), {"dilations": [2, 3]}),
    "group": (X2, (4, 3, 3, 3), {"group": 2, "strides": [2, 2]}),
    "3d": (X3, (4, 2, 2, 3, 3), {"strides": [1, 2, 2], "pads": [0, 1, 1, 1, 1, 0]}),
    "valid": (X2, (4, 3, 3, 2), {"auto_pad": "VALID"}),
    "same upper": (X2, (4, 3, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same lower": (X2, (4, 3, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "shorter shape": (X2, (4, 3, 3, 3), {"output_shape": [18, 21], "strides": [2, 2]}),
    "shorter shape, the rest after": (
        X2, (4, 3, 3, 3), {"output_shape": [18, 22], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    ),
    "longer shape": (X2, (4, 3, 3, 3), {"output_shape": [20, 24], "strides": [2, 2]}),
    "shape with output padding": (
        X2, (4, 3, 3, 3), {"output_shape": [20, 23], "strides": [2, 2], "output_padding": [1, 1]},
    ),
    "shape of 1d": (X1, (4, 3, 3), {"output_shape": [26], "strides": [2]}),
}  # fmt: skip


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_conv_transpose(name: str, bias: bool) -> None:
    x_shape, w_shape, attributes = TRANSPOSED[name]
    filters = w_shape[1] * attributes.get("group", 1)
    arrays = whole(x_shape), whole(w_shape, seed=1), whole((filters,), seed=2) if bias else None
    ours, theirs = (by("ConvTranspose", *arrays, **attributes) for by in (by_us, by_runtime))
    np.testing.assert_array_equal(ours, theirs)


def test_a_kernel_smaller_than_the_stride_and_same() -> None:
    """The output is as long as ONNX says, the image times the stride; ONNX Runtime makes it shorter."""
    x, w = whole(X1), whole((4, 3, 2), seed=1)
    attributes = {"auto_pad": "SAME_UPPER", "strides": [3]}
    ours, theirs = (by("ConvTranspose", x, w, **attributes) for by in (by_us, by_runtime))
    assert ours.shape[2] == 3 * 13
    np.testing.assert_array_equal(ours[..., : theirs.shape[2]], theirs)
    assert not ours[..., theirs.shape[2] :].any()


INTEGERS = [
    (x, w, x_zero, w_zero)
    for x, w in (("uint8", "uint8"), ("uint8", "int8"))
    for x_zero, w_zero in ((None, None), (3, None), (0, 2), (7, 2))
]


@pytest.mark.parametrize(("x_dtype", "w_dtype", "x_zero", "w_zero"), INTEGERS)
def test_conv_integer(x_dtype: str, w_dtype: str, x_zero: int | None, w_zero: int | None) -> None:
    """Padding holds the zero point, that is, nothing."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, X2).astype(x_dtype)
    w = rng.integers(-100, 100, (6, 2, 3, 3)).astype(w_dtype)
    zeros = [None if n is None else np.array(n, d) for n, d in ((x_zero, x_dtype), (w_zero, w_dtype))]
    attributes = {"group": 2, "pads": [1, 1, 1, 1], "strides": [2, 2]}
    ours, theirs = (by("ConvInteger", x, w, *zeros, kind="int32", **attributes) for by in (by_us, by_runtime))
    assert ours.dtype == np.int32
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("many", [False, True], ids=["one scale", "a scale for each filter"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("w_dtype", ["uint8", "int8"])
def test_qlinear_conv(w_dtype: str, bias: bool, many: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, X2).astype("uint8")
    w = rng.integers(-64, 65, (6, 4, 3, 3)).astype(w_dtype)  # two products fit in 16 bits, where ONNX Runtime adds them
    filters = 6 if many else 1
    w_zero = np.zeros(filters, w_dtype) if w_dtype == "int8" else np.full(filters, 128, w_dtype)
    scale = rng.uniform(0.001, 0.01, filters).astype("f")
    quantised = [x, np.float32([0.02]), np.uint8([7]), w, scale, w_zero, np.float32([0.4]), np.uint8([133])]
    quantised = [a.reshape(()) if a.size == 1 else a for a in quantised]
    arrays = (*quantised, rng.integers(-5000, 5000, 6).astype("int32")) if bias else quantised
    attributes = {"pads": [1, 1, 1, 1]}
    ours, theirs = (by("QLinearConv", *arrays, **attributes).astype(int) for by in (by_us, by_runtime))
    assert (theirs > 0).any()
    assert (theirs < 255).any()
    assert np.abs(ours - theirs).max() <= 1  # one rounds a product of float32 to float32 before it rounds to integers
    assert (ours != theirs).mean() < 0.01


QUANTISED: dict[str, Case] = {
    "1d": (X1, (6, 4, 3), {"strides": [2], "pads": [1, 0]}),
    "pads": (X2, (6, 4, 3, 2), {"pads": [1, 0, 2, 3]}),
    "strides and dilations": (X2, (6, 4, 3, 3), {"strides": [2, 3], "dilations": [2, 1], "pads": [1, 1, 1, 1]}),
    "group": (X2, (6, 2, 3, 3), {"group": 2, "kernel_shape": [3, 3]}),
    "depthwise": (X2, (4, 1, 3, 3), {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same lower": (X2, (6, 4, 2, 4), {"auto_pad": "SAME_LOWER"}),
    "3d": (X3, (2, 4, 2, 3, 3), {"strides": [1, 2, 2], "pads": [0, 1, 1, 1, 1, 0]}),
}


@pytest.mark.parametrize(("x_dtype", "w_dtype"), [("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")])
@pytest.mark.parametrize("name", QUANTISED)
def test_qlinear_conv_with_exact_scales(name: str, x_dtype: str, w_dtype: str) -> None:
    """Products with powers of two are exact, so ties too: half to even, then the zero point, then the limits."""
    x_shape, w_shape, attributes = QUANTISED[name]
    rng = np.random.default_rng(0)
    lowest = np.iinfo(x_dtype).min
    x = (rng.integers(0, 256, x_shape) + lowest).astype(x_dtype)
    w_zero = np.array(64 if w_dtype == "uint8" else 0, w_dtype)  # of int8 ONNX Runtime takes 0 alone
    w = (rng.integers(-64, 65, w_shape) + int(w_zero)).astype(w_dtype)
    x_zero, y_zero = (np.array(n + lowest, x_dtype) for n in (120, 100))
    scales = [np.float32(2.0**power) for power in (-2, -4, 0)]
    bias = rng.integers(-300, 300, w_shape[0]).astype("int32")
    quantised = [np.asarray(a) for a in (x, scales[0], x_zero, w, scales[1], w_zero, scales[2], y_zero, bias)]
    ours, theirs = (by("QLinearConv", *quantised, **attributes) for by in (by_us, by_runtime))
    limits = np.iinfo(x_dtype)
    assert {int(limits.min), int(limits.max)} < set(theirs.ravel().tolist())
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


POOLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strides": {"strides": [2, 3]},
    "pads": {"pads": [1, 0, 2, 1], "strides": [2, 2]},
    "ceil": {"ceil_mode": 1, "strides": [2, 3], "pads": [0, 1, 1, 1]},
    "dilations": {"dilations": [2, 3]},
    "same upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    "same lower": {"auto_pad": "SAME_LOWER", "strides": [2, 1]},
    "valid": {"auto_pad": "VALID", "strides": [2, 2]},
}


@pytest.mark.parametrize("name", POOLS)
def test_max_pool(name: str) -> None:
    """Ties too: whole numbers have many."""
    attributes = {"kernel_shape": [3, 2], **POOLS[name]}
    for order in (0, 1):
        ours, theirs = (
            by("MaxPool", whole(X2), outputs=2, storage_order=order, **attributes) for by in (by_us, by_runtime)
        )
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
    np.testing.assert_array_equal(by_us("MaxPool", whole(X2), **attributes), ours[0])


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("name", POOLS)
def test_average_pool(name: str, include: int) -> None:
    attributes = {"kernel_shape": [3, 2], "count_include_pad": include, **POOLS[name]}
    ours, theirs = (by("AveragePool", whole(X2), **attributes) for by in (by_us, by_runtime))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("name", [name for name in POOLS if name != "ceil"])
def test_lp_pool(name: str, p: int) -> None:
    attributes = {"kernel_shape": [3, 2], "p": p, **POOLS[name]}
    ours, theirs = (by("LpPool", whole(X2), **attributes) for by in (by_us, by_runtime))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("operator", ["Conv", "MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 2), (2, 2), (3, 1)])
def test_same_with_dilations_and_short_windows(operator: str, stride: int, dilation: int, upper: bool) -> None:
    """As ONNX says: ceil(n / stride) outputs; ONNX Runtime's pools forget the dilation, so it is given the pixels."""
    kernel = [3, 1] if operator != "Conv" else [3, 2]
    totals = [
        max((-(-n // stride) - 1) * stride + (k - 1) * dilation + 1 - n, 0) for n, k in zip(X2[2:], kernel, strict=True)
    ]
    starts = [total // 2 if upper else total - total // 2 for total in totals]
    pads = [*starts, *(total - start for total, start in zip(totals, starts, strict=True))]
    shape = {"strides": [stride] * 2, "dilations": [dilation] * 2, "kernel_shape": kernel}
    arrays = [whole(X2)] + [whole((3, 4, *kernel), seed=1)] * (operator == "Conv")
    ours = by_us(operator, *arrays, auto_pad="SAME_UPPER" if upper else "SAME_LOWER", **shape)
    assert ours.shape[2:] == tuple(-(-n // stride) for n in X2[2:])
    np.testing.assert_allclose(ours, by_runtime(operator, *arrays, pads=pads, **shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [X1, X3])
def test_pools_of_other_ranks(shape: tuple[int, ...]) -> None:
    rank = len(shape) - 2
    for operator in ("MaxPool", "AveragePool", "LpPool"):
        attributes = {"kernel_shape": [2] * rank, "strides": [2] * rank, "pads": [1, *[0] * (2 * rank - 1)]}
        ours, theirs = (by(operator, whole(shape), **attributes) for by in (by_us, by_runtime))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [X1, X2, X3])
@pytest.mark.parametrize("operator", ["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"])
def test_global_pools(operator: str, shape: tuple[int, ...]) -> None:
    attributes = {"p": 3} if operator == "GlobalLpPool" else {}
    ours, theirs = (by(operator, whole(shape), opset=21, **attributes) for by in (by_us, by_runtime))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_global_pools_of_four_spatial_axes() -> None:
    x = whole((2, 3, 2, 3, 2, 2)).astype("float64")
    axes = (2, 3, 4, 5)
    np.testing.assert_array_equal(by_us("GlobalMaxPool", x), x.max(axes, keepdims=True))
    np.testing.assert_allclose(by_us("GlobalAveragePool", x), x.mean(axes, keepdims=True), rtol=1e-14, atol=1e-14)


def test_max_unpool_puts_back_what_max_pool_took() -> None:
    windows = {"kernel_shape": [2, 3], "strides": [2, 3]}
    x = np.random.default_rng(0).permutation(2 * 3 * 6 * 9).reshape(2, 3, 6, 9).astype("f")
    y, places = by_us("MaxPool", x, outputs=2, **windows)
    ours, theirs = (by("MaxUnpool", y, places, **windows) for by in (by_us, by_runtime))
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(ours, np.where(np.isin(x, y), x, 0))
    longer = by_us("MaxUnpool", y, places, np.array([2, 3, 7, 9]), **windows)
    np.testing.assert_array_equal(longer[:, :, :6], ours)
    with pytest.raises(ValueError, match="output_shape is at least"):
        by_us("MaxUnpool", y, places, np.array([2, 3, 5, 9]), **windows)


MODES = ["constant", "reflect", "edge", "wrap"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "int8"])
@pytest.mark.parametrize("mode", MODES)
def test_pad(mode: str, dtype: str) -> None:
    x = whole((3, 4, 5), "int64", least=0).astype(dtype)
    for pads in ([0, 1, 2, 1, 0, 3], [0, 0, -1, 0, 2, 1], [0, 0, 0, 0, -2, -1]):
        ours, theirs = (by("Pad", x, np.array(pads), mode=mode, opset=19) for by in (by_us, by_runtime))
        np.testing.assert_array_equal(ours, theirs)


def test_pad_with_a_value_and_chosen_axes() -> None:
    x = whole((3, 4, 5))
    chosen = np.array([1, 2, 0, 3]), np.array(7, "f"), np.array([-1, 0])
    ours, theirs = (by("Pad", x, *chosen, opset=19) for by in (by_us, by_runtime))
    assert ours.shape == (8, 4, 6)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("nothing", [False, "", 0j, np.float16(0)])
def test_pad_of_other_types(nothing: Any) -> None:
    x = np.array([["a", "b"]], object) if nothing == "" else np.ones((1, 2), type(nothing))
    padded = by_us("Pad", x, np.array([0, 1, 1, 0]), opset=19, kind=x.dtype)
    assert padded.shape == (2, 3)
    np.testing.assert_array_equal(padded[:1, 1:], x)
    assert padded[1, 0] == padded[0, 0] == nothing
    assert padded.dtype == x.dtype


@pytest.mark.parametrize("dilation", [1, 2])
def test_col2im_adds_up_what_overlaps(dilation: int) -> None:
    """The adjoint of taking windows, which ONNX Runtime says as well."""
    cols = whole((2, 3 * 4, 5 * 4 if dilation == 1 else 4 * 3))
    sizes = np.array([5, 5])
    attributes = {"strides": [1, 1], "pads": [0, 0, 1, 0], "dilations": [dilation, dilation]}
    ours, theirs = (by("Col2Im", cols, sizes, np.array([2, 2]), **attributes) for by in (by_us, by_runtime))
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="Col2Im: windows"):
        by_us("Col2Im", cols[:, :, 1:], sizes, np.array([2, 2]), **attributes)


@pytest.mark.needs("ml_dtypes")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats(dtype: str) -> None:
    """float16 and bfloat16 are summed in float32, so that the result is within the bound of the dtype."""
    kind = np.dtype(importlib.import_module("ml_dtypes").bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(X2).astype(kind), rng.standard_normal((6, 2, 3, 3)).astype(kind)
    z = by_us("Conv", x, w, group=2, pads=[1, 1, 1, 1])
    assert z.dtype == kind
    options = {"groups": 2, "padding": 1, "layout": "channels_first"}
    exact = xc.conv(x.astype("float64"), w.astype("float64"), **options)
    assert_within_bound(z.astype("float64"), exact, xc.error_bound(x, w, **options).astype("float64"))
    for operator in ("MaxPool", "AveragePool", "LpPool"):
        y = by_us(operator, x, kernel_shape=[2, 2], strides=[2, 2])
        wide = by_us(operator, x.astype("float64"), kernel_shape=[2, 2], strides=[2, 2])
        np.testing.assert_allclose(y.astype("float64"), wide, rtol=2.0**-7 if dtype == "bfloat16" else 2.0**-10)
        assert y.dtype == kind


ONCE = {
    "Conv": ((X2, (3, 4, 3, 3)), {}),
    "ConvTranspose": ((X2, (4, 3, 3, 3)), {}),
    "MaxPool": ((X2,), {"kernel_shape": [2, 2]}),
    "AveragePool": ((X2,), {"kernel_shape": [2, 2]}),
    "LpPool": ((X2,), {"kernel_shape": [2, 2]}),
    "GlobalLpPool": ((X2,), {}),
}


@pytest.mark.parametrize("operator", ONCE)
def test_every_opset_from_11_on(operator: str) -> None:
    """Older opsets lack attributes; the results are the same bits."""
    from onnx.defs import onnx_opset_version

    shapes, attributes = ONCE[operator]
    arrays = [whole(shape, seed=i) for i, shape in enumerate(shapes)]
    newest = by_us(operator, *arrays, opset=onnx_opset_version(), **attributes)
    for opset in range(11, onnx_opset_version()):
        np.testing.assert_array_equal(by_us(operator, *arrays, opset=opset, **attributes), newest)
    np.testing.assert_allclose(by_runtime(operator, *arrays, opset=11, **attributes), newest, rtol=1e-5)


@pytest.mark.parametrize("opset", [11, 13, 18, 19, 21, 23, 24, 25])
def test_pad_of_every_opset(opset: int) -> None:
    x = whole((3, 4, 5))
    for mode in MODES[:3]:
        padded = by_us("Pad", x, np.array([0, 1, 2, 1, 0, 3]), mode=mode, opset=opset)
        np.testing.assert_array_equal(padded, by_us("Pad", x, np.array([0, 1, 2, 1, 0, 3]), mode=mode, opset=19))


REFUSED = [
    ("Conv", (X2, (3, 4, 3, 3)), {"kernel_shape": [2, 2]}, "Conv: kernel_shape is that of W"),
    ("Conv", (X2, (3, 4, 3, 3)), {"pads": [1, 1]}, "Conv: pads holds a start and an end for each of 2 spatial axes"),
    ("Conv", (X2, (3, 4, 3, 3)), {"auto_pad": "FULL"}, "Conv: auto_pad is NOTSET or one of VALID"),
    ("Conv", ((1, 1, 2, 2, 2, 2), (1, 1, 1, 1, 1, 1)), {}, "1, 2 or 3 spatial axes"),
    ("ConvTranspose", (X2, (4, 3, 3, 3)), {"output_padding": [1, 1]}, "output_padding is below max"),
    ("MaxPool", (X2,), {"kernel_shape": [2, 2], "pads": [2, 2, 2, 2]}, "padding is smaller than the window's span"),
]


@pytest.mark.parametrize(("operator", "shapes", "attributes", "message"), REFUSED)
def test_what_is_refused(operator: str, shapes: Any, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        by_us(operator, *map(whole, shapes), **attributes)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="Pad: mode is one of constant, reflect, edge, wrap"):
        by_us("Pad", whole((3,)), np.array([1, 1]), mode="mirror", opset=19)
