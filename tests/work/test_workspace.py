"""What one call allocates beside its results stays under `max_workspace`, at any batch and image, by tracemalloc."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import MIB, beside, held, lessened
from tests.sizes import full
from xpconv._work.memory import Held, pool

# mebibytes, threads; None leaves the default ceiling of 64 MiB
LIMITS: list[tuple[Any, int]] = [(None, 8), (None, 1), (8, 2), (2, 1), (2, 8)]


# x, w, options: each far beyond the ceilings as a padded copy or as columns
CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "many images": ((512, 28, 28, 16), (3, 3, 16, 16), {"padding": 1}),
    "one large image": ((1, 1400, 1300, 4), (3, 3, 4, 4), {"padding": "same"}),
    "stride 2": ((8, 224, 224, 3), (7, 7, 3, 32), {"padding": 3, "stride": 2}),
    "pointwise": ((16, 112, 112, 16), (1, 1, 16, 32), {}),
    "dilated": ((2, 400, 380, 8), (3, 3, 8, 8), {"padding": 6, "dilation": 6, "stride": (1, 2)}),
    "depthwise": ((8, 112, 112, 32), (3, 3, 1, 32), {"padding": 1, "groups": 32}),
    "1-d": ((2, 400_000, 4), (9, 4, 4), {"padding": "causal"}),
    "3-d": ((2, 48, 56, 64, 4), (3, 3, 3, 4, 8), {"padding": 1}),
    "channels first": ((32, 16, 64, 60), (16, 16, 3, 3), {"padding": 1, "layout": "channels_first"}),
    "one wide row": ((1, 1, 300_000, 4), (1, 5, 4, 4), {"padding": "same"}),
    "channels": ((1, 16, 16, 256), (3, 3, 256, 256), {"padding": 1}),
}


def arrays(name: str, ceiling: int, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Build x and w of a layer; their values do not matter."""
    x_shape, w_shape, options = CONVOLUTIONS[name]
    x_shape = lessened(x_shape, ceiling, options.get("layout", "channels_last"))
    return np.full(x_shape, 0.5, dtype), np.full(w_shape, 0.25, dtype), options


@held(CONVOLUTIONS, LIMITS, few=("many images", "one large image"))
def test_conv(ceiling: int, name: str) -> None:
    x, w, options = arrays(name, ceiling)
    bias = np.ones(w.shape[0 if "layout" in options else -1], np.float32)
    assert beside(lambda: xc.conv(x, w, bias, **options)) <= ceiling


@held(CONVOLUTIONS, LIMITS, few=("one large image",))
def test_conv_gradients(ceiling: int, name: str) -> None:
    x, w, options = arrays(name, ceiling)
    dz = np.ones_like(xc.conv(x, w, **options))
    assert beside(lambda: xc.conv_input_grad(dz, w, x.shape, **options)) <= ceiling
    assert beside(lambda: xc.conv_weight_grad(dz, x, w.shape, **options)) <= ceiling
    assert beside(lambda: xc.conv_vjp(dz, x, w, **options)) <= ceiling


@pytest.mark.parametrize("algorithm", ["direct", "gemm"])
@held(["float16", "float64", "int8"], LIMITS)
def test_other_dtypes(ceiling: int, name: str, algorithm: str) -> None:
    """Conversion to a wider dtype goes tile by tile, too."""
    dtype = name
    x, w, options = arrays("many images", ceiling, dtype)
    x = x[:128]
    dz = np.full((*x.shape[:-1], w.shape[-1]), 1 if dtype == "int8" else 2.0**-5, dtype)  # float16 holds the sums
    options = {**options, "algorithm": algorithm, "dtype": "int32" if dtype == "int8" else None}
    assert beside(lambda: xc.conv(x, w, **options)) <= ceiling
    assert beside(lambda: xc.conv_vjp(dz, x, w, **options)) <= ceiling


POOLS: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    "many images": ((512, 28, 28, 16), 2, {}),
    "one large image": ((1, 1400, 1300, 4), 3, {"stride": 2, "padding": 1}),
    "overlapping": ((6, 96, 96, 32), 5, {"stride": 1, "padding": "same"}),
    "ceil": ((8, 111, 113, 32), (3, 2), {"stride": (4, 3), "padding": (1, 0), "ceil_mode": True}),
    "1-d": ((2, 400_000, 4), 9, {"stride": 1, "dilation": 3}),
    "3-d": ((2, 48, 56, 64, 4), 2, {}),
    "channels first": ((32, 16, 64, 60), 3, {"stride": 2, "padding": 1, "layout": "channels_first"}),
}


def pool_of(name: str, ceiling: int) -> tuple[tuple[int, ...], Any, dict[str, Any]]:
    """Give the shape, the window and the options of a layer."""
    shape, window, options = POOLS[name]
    return lessened(shape, ceiling, options.get("layout", "channels_last")), window, options


@held(POOLS, LIMITS, few=("many images",))
def test_pools(ceiling: int, name: str) -> None:
    shape, window, options = pool_of(name, ceiling)
    x = np.random.default_rng(0).integers(0, 4, shape).astype(np.float32)
    assert beside(lambda: xc.max_pool(x, window, **options)) <= ceiling
    assert beside(lambda: xc.max_pool(x, window, return_indices=True, **options)) <= ceiling
    assert beside(lambda: xc.avg_pool(x, window, **options)) <= ceiling
    assert beside(lambda: xc.avg_pool(x, window, count_include_pad=False, **options)) <= ceiling


@held(POOLS, LIMITS, few=("many images",))
def test_pool_gradients(ceiling: int, name: str) -> None:
    shape, window, options = pool_of(name, ceiling)
    x = np.random.default_rng(0).integers(0, 4, shape).astype(np.float32)
    dy = np.ones_like(xc.avg_pool(x, window, **options))
    for ties in ("first", "all", "split"):
        assert beside(lambda ties=ties: xc.max_pool_vjp(dy, x, window, ties=ties, **options)) <= ceiling
    assert beside(lambda: xc.avg_pool_vjp(dy, shape, window, **options)) <= ceiling


@held(["many images"], LIMITS)
def test_pad_and_the_course(ceiling: int, name: str) -> None:
    x, w, _ = arrays(name, ceiling)
    b = np.ones((1, 1, 1, 16), np.float32)
    assert beside(lambda: xc.pad(x, 2)) <= ceiling
    _, cache = xc.conv_forward(x, w, b, {"stride": 1, "pad": 1})
    assert beside(lambda: xc.conv_forward(x, w, b, {"stride": 1, "pad": 1})[0]) <= ceiling
    dz = np.ones_like(x)
    assert beside(lambda: xc.conv_backward(dz, cache)) <= ceiling
    assert beside(lambda: xc.pool_forward(x, {"f": 3, "stride": 2})[0]) <= ceiling


@held(CONVOLUTIONS, LIMITS)
def test_explain_names_no_less_than_what_is_allocated(ceiling: int, name: str) -> None:
    x, w, options = arrays(name, ceiling)
    plan = xc.explain(x.shape, w.shape, dtype="float32", **options)
    assert beside(lambda: xc.conv(x, w, **options)) <= plan.workspace <= ceiling


def test_the_measure_sees_an_allocation() -> None:
    """One array of 3 MiB more than the result is seen as that."""
    x = np.ones(MIB // 8)

    def wasteful() -> np.ndarray:
        return (np.ones(3 * MIB // 8) + 1)[: x.size] + x

    assert 3 * MIB <= beside(wasteful) < 7 * MIB


def test_kept_memory_leaves_room_for_transforms() -> None:
    """A library's Fourier transforms allocate for themselves."""
    x, w, options = arrays("3-d", 64 * MIB)
    z = xc.conv(x, w, **options)

    def call() -> Any:
        with Held() as held:
            for _ in range(60):
                held.empty((MIB // 8,), np.uint8)
        return xc.conv_weight_grad(z, x, w.shape, algorithm="fft", **options)

    with xc.set_options(max_workspace=8 * MIB, threads=2):
        assert beside(call) <= 8 * MIB


def test_a_transposed_weight_is_counted() -> None:
    """The weight of an input gradient is laid out anew where there is room, beside strips of padding, too."""
    dz, w = np.ones((1, 4, 870, 300), np.float32), np.ones((3, 3, 300, 300), np.float32)
    options: dict[str, Any] = {"padding": 1, "padding_mode": "reflect", "algorithm": "direct"}
    with xc.set_options(max_workspace=4 * MIB, threads=1):
        assert beside(lambda: xc.conv_input_grad(dz, w, dz.shape, **options)) <= 4 * MIB


@pytest.mark.slow
def test_many_shapes_of_tiles() -> None:
    """Each tap of a dilated kernel reads tiles of its own shape at the edges."""
    x, w = np.ones((1, 120, 120, 4), np.float32), np.ones((41, 41, 4, 2), np.float32)
    with xc.set_options(max_workspace=MIB, threads=1):
        assert beside(lambda: xc.conv(x, w, padding=60, dilation=3, algorithm="direct")) <= MIB


def test_all_work_arrays_are_given_back() -> None:
    x = np.ones((2, 40, 40, 8), np.complex64)
    z = np.ones((2, 40, 40, 1), np.complex64)
    before = pool._used
    xc.conv_weight_grad(z, x, (3, 3, 8, 1), padding=1, padding_mode="reflect")
    assert pool._used == before


@pytest.mark.parametrize("dtype", ["float32", "complex128", "int32", "int64"])
@pytest.mark.parametrize("channels", full([32, 96], [96]))
def test_small_weight_gradients_need_little(channels: int, dtype: str) -> None:
    x, dz = np.ones((1, 6, 6, channels), dtype), np.ones((1, 6, 6, 32), dtype)
    shape = (3, 3, channels, 32)
    with xc.set_options(max_workspace=MIB, threads=1):
        assert (xc.conv_weight_grad(dz, x, shape, padding=1)[1, 1] == 36).all()
        assert beside(lambda: xc.conv_weight_grad(dz, x, shape, padding=1)) <= MIB
