"""The ceiling of `test_workspace` where the weight alone is about as large as the workspace, or larger."""

import itertools
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import MIB, beside
from tests.sizes import full
from xpconv._shapes.layout import in_layout

# spatial size of the images, kernel, channels, filters, options
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, int, dict[str, Any]]] = {
    "7x7": ((9, 9), (7, 7), 64, 128, {}),
    "3x3": ((8, 8), (3, 3), 128, 256, {"padding": 1}),
    "stride": ((9, 9), (3, 3), 128, 256, {"stride": 2}),
    "dilated": ((9, 9), (3, 3), 128, 256, {"padding": 2, "dilation": 2}),
    "two groups": ((8, 8), (3, 3), 256, 256, {"groups": 2}),
    "pointwise": ((6, 6), (1, 1), 512, 512, {}),
    "1-d": ((40,), (9,), 128, 256, {}),
    "3-d": ((4, 5, 4), (2, 3, 2), 128, 128, {"padding": 1}),
}
DTYPES = ("float32", "float16", "complex64", "int8")
LAYOUTS = ("channels_last", "channels_first")
IN_TURN = [("float32", "channels_first"), ("float16", "channels_last"), ("complex64", "channels_first")]


def arrays(
    name: str, dtype: str, layout: str
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Draw the weight and the gradient of the output, small whole numbers; the shapes of both arguments; options."""
    size, kernel, channels, filters, options = LAYERS[name]
    rng, depth = np.random.default_rng(0), channels // options.get("groups", 1)
    last = layout == "channels_last"
    shape = (*kernel, depth, filters) if last else (filters, depth, *kernel)
    w = rng.integers(-1, 2, shape).astype(dtype)
    if dtype == "complex64":
        w.imag = rng.integers(-1, 2, shape)
    x = in_layout((1, *size, channels), layout)
    plan = xc.explain(x, shape, layout=layout, of="weight_grad", **options)
    dz = rng.integers(-1, 2, in_layout(plan.geometry.output_shape, layout)).astype(dtype)
    return w, dz, x, shape, {**options, "layout": layout}


@pytest.mark.parametrize(("dtype", "layout"), full(itertools.product(DTYPES, LAYOUTS), IN_TURN))
@pytest.mark.parametrize("name", LAYERS)
def test_weight_gradients(name: str, dtype: str, layout: str) -> None:
    """The result is put together in the caller's layout and dtype, and is that of ample room."""
    _, dz, x_shape, shape, options = arrays(name, dtype, layout)
    x = np.random.default_rng(1).integers(-1, 2, x_shape).astype(dtype)
    wanted = xc.conv_weight_grad(dz, x, shape, **options)
    ceiling = 4 * MIB if name == "two groups" else MIB  # a group's sums have to fit
    with xc.set_options(max_workspace=ceiling, threads=2):
        got = xc.conv_weight_grad(dz, x, shape, **options)
        assert beside(lambda: xc.conv_weight_grad(dz, x, shape, **options)) <= ceiling
    assert got.dtype == wanted.dtype
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, wanted)


def test_sums_of_one_large_group() -> None:
    """A group's sums are cut by its input channels, where they are rounded into another dtype."""
    x, dz = np.ones((1, 4, 4, 256), np.float16), np.ones((1, 4, 4, 512), np.float16)
    with xc.set_options(max_workspace=2 * MIB, threads=1):
        assert (xc.conv_weight_grad(dz, x, (3, 3, 128, 512), padding=1, groups=2)[1, 1] == 16).all()
        assert beside(lambda: xc.conv_weight_grad(dz, x, (3, 3, 128, 512), padding=1, groups=2)) <= 2 * MIB


@pytest.mark.parametrize("layout", full(LAYOUTS, LAYOUTS[1:]))
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("name", LAYERS)
def test_input_gradients(name: str, dtype: str, layout: str) -> None:
    """A conjugate weight, and groups that are laid out anew, are copied block by block; the plan counts them."""
    w, dz, x_shape, shape, options = arrays(name, dtype, layout)
    wanted = xc.conv_input_grad(dz, w, x_shape, **options)
    with xc.set_options(max_workspace=MIB, threads=2):
        plan = xc.explain(x_shape, shape, dtype=dtype, of="input_grad", **options)
        got = xc.conv_input_grad(dz, w, x_shape, **options)
        assert beside(lambda: xc.conv_input_grad(dz, w, x_shape, **options)) <= plan.workspace <= MIB
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", full(["3x3", "stride", "1-d"], ["3x3"]))
def test_complex_transposed_gradients(name: str, layout: str) -> None:
    w, x, _, _, options = arrays(name, "complex64", layout)
    dz = xc.conv_transpose(x, w, **options)
    wanted = xc.conv_transpose_vjp(dz, x, w, **options)
    with xc.set_options(max_workspace=MIB, threads=2):
        got = xc.conv_transpose_vjp(dz, x, w, **options)
        assert beside(lambda: xc.conv_transpose_vjp(dz, x, w, **options)) <= MIB
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["int16", "float16"])
def test_converted_weights_are_laid_out_once(dtype: str) -> None:
    x, w = np.ones((1, 128, 12, 12), dtype), np.ones((32, 128, 3, 3), dtype)
    with xc.set_options(max_workspace=MIB, threads=1):
        assert beside(lambda: xc.conv(x, w, layout="channels_first", algorithm="gemm")) <= MIB


@pytest.mark.parametrize("layout", LAYOUTS)
def test_few_filters(layout: str) -> None:
    """The planes of few filters take a weight whose channels lie side by side, which is one copy."""
    x = np.ones(in_layout((1, 12, 12, 512), layout))
    w = np.ones((9, 9, 512, 2) if layout == "channels_last" else (2, 512, 9, 9))
    with xc.set_options(max_workspace=2 * MIB, threads=2):
        assert beside(lambda: xc.conv(x, w, layout=layout, algorithm="direct")) <= 2 * MIB


# images, weight, gradient of the output
MIXED = [("float32", "float64", "float64"), ("uint8", "float64", "float32"), ("float32", "complex64", "complex64")]


@pytest.mark.parametrize(("images", "weight", "gradient"), MIXED)
def test_the_course_converts_tile_by_tile(images: str, weight: str, gradient: str) -> None:
    """No argument is converted as a whole; the results are those of arrays in their common dtype."""
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 9, (30, 16, 16, 16)).astype(images), rng.standard_normal((3, 3, 16, 16)).astype(weight)
    b, options, common = np.ones((1, 1, 1, 16), images), {"stride": 1, "pad": 1}, np.result_type(images, weight)
    with xc.set_options(max_workspace=MIB, threads=2):
        z, cache = xc.conv_forward(x, w, b, options)
        dz = z.astype(gradient)
        assert beside(lambda: xc.conv_forward(x, w, b, options)[0]) <= MIB
        assert beside(lambda: xc.conv_backward(dz, cache)) <= MIB
        found = (z, *xc.conv_backward(dz, cache))
    z, cache = xc.conv_forward(*(array.astype(common) for array in (x, w, b)), options)
    for one, other in zip(found, (z, *xc.conv_backward(dz.astype(common), cache)), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())
