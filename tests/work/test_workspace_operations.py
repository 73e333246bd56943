"""The ceiling of `test_workspace`, for every operation that is no plain convolution or pooling."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import MIB, beside

LIMITS = [(64 * MIB, 2), (2 * MIB, 8)]


@pytest.fixture(scope="module", params=LIMITS, ids=lambda limit: f"{limit[0] // MIB}MiB-{limit[1]}")
def ceiling(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the limit and the threads, and give the limit."""
    most, threads = request.param
    with xc.set_options(max_workspace=most, threads=threads):
        yield most


def images(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """Whole numbers with many ties."""
    return np.random.default_rng(0).integers(-3, 4, shape).astype(dtype)


# x, w, options: each array is beyond the smaller ceiling many times over
TRANSPOSES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "stride 2": ((4, 112, 112, 16), (3, 3, 8, 16), {"stride": 2, "padding": 1, "output_padding": 1}),
    "one large image": ((1, 500, 450, 4), (4, 4, 4, 4), {"stride": 2, "padding": "same"}),
    "stride beyond kernel": ((4, 100, 100, 16), (2, 2, 8, 16), {"stride": 3, "padding": "same"}),
    "dilated, groups": ((4, 120, 110, 16), (3, 3, 4, 16), {"dilation": 4, "groups": 4}),
    "1-d": ((2, 200_000, 4), (9, 4, 4), {"stride": 2}),
    "3-d": ((1, 32, 40, 48, 8), (2, 2, 2, 4, 8), {"stride": 2}),
    "channels first": ((16, 16, 64, 60), (16, 8, 3, 3), {"stride": 2, "layout": "channels_first"}),
}


@pytest.mark.parametrize("name", TRANSPOSES)
def test_conv_transpose(ceiling: int, name: str) -> None:
    x_shape, w_shape, options = TRANSPOSES[name]
    x, w = images(x_shape), images(w_shape)
    z = xc.conv_transpose(x, w, **options)
    assert beside(lambda: xc.conv_transpose(x, w, **options)) <= ceiling
    assert beside(lambda: xc.conv_transpose_vjp(z, x, w, **options)) <= ceiling


PADDED: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "many images": ((200, 28, 28, 16), (3, 3, 16, 16), {"padding": 1}),
    "one large image": ((1, 800, 750, 4), (3, 3, 4, 4), {"padding": "same"}),
    "as wide as the image": ((2, 256, 256, 8), (3, 3, 8, 8), {"padding": 200, "stride": 2}),
    "dilated": ((2, 400, 380, 8), (3, 3, 8, 8), {"padding": ((12, 0), (3, 20)), "dilation": 6}),
    "depthwise": ((8, 112, 112, 32), (3, 3, 1, 32), {"padding": 1, "groups": 32}),
    "1-d": ((2, 200_000, 4), (9, 4, 4), {"padding": "causal"}),
    "3-d": ((1, 48, 56, 64, 4), (3, 3, 3, 4, 8), {"padding": 1}),
    "channels first": ((32, 16, 64, 60), (16, 16, 3, 3), {"padding": 1, "layout": "channels_first"}),
}
MODES = ("reflect", "replicate", "circular")
# every layer in one mode, two of them in each
IN_MODES = [(name, "circular") for name in PADDED]
IN_MODES += [(name, mode) for name in ("one large image", "as wide as the image") for mode in MODES[:2]]


@pytest.mark.parametrize(("name", "mode"), IN_MODES)
def test_convolution_padded_with_pixels(ceiling: int, name: str, mode: str) -> None:
    x_shape, w_shape, options = PADDED[name]
    x, w = images(x_shape), images(w_shape)
    z = xc.conv(x, w, padding_mode=mode, **options)
    assert beside(lambda: xc.conv(x, w, padding_mode=mode, **options)) <= ceiling
    assert beside(lambda: xc.conv_vjp(z, x, w, padding_mode=mode, **options)) <= ceiling


IMAGES: dict[str, tuple[tuple[int, ...], str]] = {
    "many images": ((200, 28, 28, 16), "channels_last"),
    "one large image": ((1, 800, 750, 4), "channels_last"),
    "1-d": ((2, 120_000, 8), "channels_last"),
    "3-d": ((1, 48, 56, 64, 4), "channels_last"),
    "channels first": ((32, 16, 64, 60), "channels_first"),
}


def spatial(name: str) -> tuple[int, ...]:
    """Spatial sizes of the images of that name."""
    shape, layout = IMAGES[name]
    return shape[1:-1] if layout == "channels_last" else shape[2:]


@pytest.mark.parametrize("mode", ["zeros", "replicate", "reflect"])
@pytest.mark.parametrize("name", IMAGES)
def test_pad(ceiling: int, name: str, mode: str) -> None:
    shape, layout = IMAGES[name]
    x, padding = images(shape), tuple((n // 3, n // 2) for n in spatial(name))
    y = xc.pad(x, padding, mode=mode, layout=layout)
    assert beside(lambda: xc.pad(x, padding, mode=mode, layout=layout)) <= ceiling
    assert beside(lambda: xc.pad_vjp(y, shape, padding, mode=mode, layout=layout)) <= ceiling


@pytest.mark.parametrize("p", [3.5, math.inf])
@pytest.mark.parametrize("name", IMAGES)
def test_lp_pool(ceiling: int, name: str, p: float) -> None:
    shape, layout = IMAGES[name]
    x, options = images(shape), {"stride": 2, "padding": 1, "layout": layout}
    y = xc.lp_pool(x, p, 3, **options)
    assert beside(lambda: xc.lp_pool(x, p, 3, **options)) <= ceiling
    assert beside(lambda: xc.lp_pool_vjp(y, x, p, 3, **options)) <= ceiling


@pytest.mark.parametrize("parts", ["few", "uneven", "more"])
@pytest.mark.parametrize("name", IMAGES)
def test_adaptive_pools(ceiling: int, name: str, parts: str) -> None:
    shape, layout = IMAGES[name]
    if parts != "uneven" and ceiling > 2 * MIB:
        pytest.skip("the smallest ceiling is the hardest to keep")
    x = images(shape)
    scale = {
        "few": lambda n: n // 12,
        "uneven": lambda n: n * 2 // 5,
        "more": lambda n: n * 5 // 4,
    }
    out = tuple(map(scale[parts], spatial(name)))
    y = xc.adaptive_avg_pool(x, out, layout=layout)
    assert beside(lambda: xc.adaptive_avg_pool(x, out, layout=layout)) <= ceiling
    assert beside(lambda: xc.adaptive_avg_pool_vjp(y, x, out, layout=layout)) <= ceiling
    assert beside(lambda: xc.adaptive_max_pool(x, out, layout=layout, return_indices=True)) <= ceiling
    assert beside(lambda: xc.adaptive_max_pool_vjp(y, x, out, layout=layout)) <= ceiling


@pytest.mark.parametrize("name", IMAGES)
def test_unpool_unfold_and_fold(ceiling: int, name: str) -> None:
    shape, layout = IMAGES[name]
    x = images(shape)
    y, indices = xc.max_pool(x, 2, return_indices=True, layout=layout)
    assert beside(lambda: xc.max_unpool(y, indices, spatial(name), layout=layout)) <= ceiling
    options = {"stride": 2, "padding": 1, "layout": layout}
    cols = xc.unfold(x, 3, **options)
    assert beside(lambda: xc.unfold(x, 3, **options)) <= ceiling
    assert beside(lambda: xc.fold(cols, shape, 3, **options)) <= ceiling


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_other_dtypes(ceiling: int, dtype: str) -> None:
    """Conversion to a wider dtype goes tile by tile, too."""
    x, w = images((128, 28, 28, 16), dtype), images((3, 3, 16, 16), dtype) // 3
    dz = np.full_like(x, 1 if dtype == "int8" else 2.0**-6)  # float16 holds the sums
    assert beside(lambda: xc.conv_vjp(dz, x, w, padding=1, padding_mode="reflect")) <= ceiling
    assert beside(lambda: xc.conv_transpose(x, w, stride=2)) <= ceiling
    cols = xc.unfold(x, 3)
    assert beside(lambda: xc.fold(cols, x.shape, 3)) <= ceiling
