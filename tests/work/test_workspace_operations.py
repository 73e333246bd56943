"""The ceiling of `test_workspace`, for every operation that is no plain convolution or pooling."""

import math
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import beside, held, lessened
from tests.sizes import full

LIMITS = [(64, 2), (2, 8)]


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


@held(TRANSPOSES, LIMITS)
def test_conv_transpose(ceiling: int, name: str) -> None:
    x_shape, w_shape, options = TRANSPOSES[name]
    x, w = images(lessened(x_shape, ceiling, options.get("layout", "channels_last"))), images(w_shape)
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
IN_MODES = dict.fromkeys(PADDED, "circular")
IN_MODES |= {f"{name}, {mode}": mode for name in ("one large image", "as wide as the image") for mode in MODES[:2]}


# the mode changes where a strip's pixels lie, not how wide it is: in a normal run the widest is in one of them
@held(full(IN_MODES, [name for name in IN_MODES if not name.startswith("as wide as the image,")]), LIMITS)
def test_convolution_padded_with_pixels(ceiling: int, name: str) -> None:
    mode = IN_MODES[name]
    x_shape, w_shape, options = PADDED[name.partition(", ")[0]]
    least = 256 if name.startswith("as wide") else 16
    x_shape = lessened(x_shape, ceiling, options.get("layout", "channels_last"), least)
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


def image(name: str, ceiling: int) -> tuple[np.ndarray, tuple[int, ...], str]:
    """Draw the images of that name; their spatial sizes and their layout."""
    shape, layout = IMAGES[name]
    x = images(lessened(shape, ceiling, layout))
    return x, x.shape[1:-1] if layout == "channels_last" else x.shape[2:], layout


@pytest.mark.parametrize("mode", ["zeros", "replicate", "reflect"])
@held(IMAGES, LIMITS)
def test_pad(ceiling: int, name: str, mode: str) -> None:
    x, size, layout = image(name, ceiling)
    padding = tuple((n // 3, n // 2) for n in size)
    y = xc.pad(x, padding, mode=mode, layout=layout)
    assert beside(lambda: xc.pad(x, padding, mode=mode, layout=layout)) <= ceiling
    assert beside(lambda: xc.pad_vjp(y, x.shape, padding, mode=mode, layout=layout)) <= ceiling


NORMS = {"3.5": 3.5, "infinity": math.inf}
NORMED = [f"{name}, {p}" for name in IMAGES for p in NORMS]


@held(full(NORMED, [f"{name}, {list(NORMS)[place % 2]}" for place, name in enumerate(IMAGES)]), LIMITS)
def test_lp_pool(ceiling: int, name: str) -> None:
    name, p = name.split(", ")[0], NORMS[name.split(", ")[1]]
    x, _, layout = image(name, ceiling)
    options = {"stride": 2, "padding": 1, "layout": layout}
    y = xc.lp_pool(x, p, 3, **options)
    assert beside(lambda: xc.lp_pool(x, p, 3, **options)) <= ceiling
    assert beside(lambda: xc.lp_pool_vjp(y, x, p, 3, **options)) <= ceiling


SCALES = {"uneven": lambda n: n * 2 // 5, "few": lambda n: n // 12, "more": lambda n: n * 5 // 4}
PARTS = [f"{name}, {parts}" for name in IMAGES for parts in SCALES]


@held(full(PARTS, PARTS[::2]), [(2, 8)])  # the smallest ceiling is the hardest to keep
def test_adaptive_pools(ceiling: int, name: str) -> None:
    demand_adaptive_pools(ceiling, *name.split(", "))


@held(full(IMAGES, ["3-d"]), LIMITS[:1])
def test_adaptive_pools_in_much(ceiling: int, name: str) -> None:
    demand_adaptive_pools(ceiling, name, "uneven")


def demand_adaptive_pools(ceiling: int, name: str, parts: str) -> None:
    x, size, layout = image(name, ceiling)
    out = tuple(max(SCALES[parts](n), 1) for n in size)
    y = xc.adaptive_avg_pool(x, out, layout=layout)
    assert beside(lambda: xc.adaptive_avg_pool(x, out, layout=layout)) <= ceiling
    assert beside(lambda: xc.adaptive_avg_pool_vjp(y, x, out, layout=layout)) <= ceiling
    assert beside(lambda: xc.adaptive_max_pool(x, out, layout=layout, return_indices=True)) <= ceiling
    assert beside(lambda: xc.adaptive_max_pool_vjp(y, x, out, layout=layout)) <= ceiling


@held(IMAGES, LIMITS)
def test_unpool_unfold_and_fold(ceiling: int, name: str) -> None:
    x, size, layout = image(name, ceiling)
    y, indices = xc.max_pool(x, 2, return_indices=True, layout=layout)
    assert beside(lambda: xc.max_unpool(y, indices, size, layout=layout)) <= ceiling
    views = (np.asfortranarray(array) for array in (y, indices))
    assert beside(lambda views=tuple(views): xc.max_unpool(*views, size, layout=layout)) <= ceiling
    options = {"stride": 2, "padding": 1, "layout": layout}
    cols = xc.unfold(x, 3, **options)
    assert beside(lambda: xc.unfold(x, 3, **options)) <= ceiling
    assert beside(lambda: xc.fold(cols, x.shape, 3, **options)) <= ceiling


@held(["float16", "int8"], LIMITS)
def test_other_dtypes(ceiling: int, name: str) -> None:
    """Conversion to a wider dtype goes tile by tile, too."""
    dtype = name
    x, w = images(lessened((128, 28, 28, 16), ceiling), dtype), images((3, 3, 16, 16), dtype) // 3
    dz = np.full_like(x, 1 if dtype == "int8" else 2.0**-6)  # float16 holds the sums
    assert beside(lambda: xc.conv_vjp(dz, x, w, padding=1, padding_mode="reflect")) <= ceiling
    assert beside(lambda: xc.conv_transpose(x, w, stride=2)) <= ceiling
    cols = xc.unfold(x, 3)
    assert beside(lambda: xc.fold(cols, x.shape, 3)) <= ceiling
