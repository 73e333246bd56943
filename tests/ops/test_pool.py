"""Pooling beyond the catalogue: sizes of many tiles, views, integers at their least, constants."""

import numpy as np
import pytest

import xpconv as xc
from tests import checks, oracle
from tests.backends import Backend
from tests.cases import POOL, values
from tests.oracle import by_slices
from tests.sizes import full


def test_averages_of_a_power_of_two_are_exact(numpy_backend: Backend) -> None:
    x = values((2, 6, 8, 3), 0, "float32", -3, 3)
    checks.demand(numpy_backend, xc.avg_pool(x, (2, 4)), oracle.avg_pool(x, (2, 4)))


def test_average_of_a_constant_is_that_constant_where_padding_does_not_count(numpy_backend: Backend) -> None:
    x = np.full((1, 7, 8, 2), 3.0, np.float32)
    options = {"stride": 2, "padding": 1, "ceil_mode": True}
    y = xc.avg_pool(x, 4, count_include_pad=False, **options)
    checks.demand(numpy_backend, y, np.full(y.shape, 3.0))
    assert (xc.avg_pool(x, 4, **options) < 3).any()


# a library, and how much it may hold at once
TILED = [("numpy", 2), ("numpy", 64), *((name, size) for name in ("torch", "strict", "cupy") for size in (2, 64))]
LARGE = {
    "2": ((4, 120, 130, 16), 2, {}),
    "3-stride-2": ((4, 121, 130, 16), 3, {"stride": 2, "padding": 1}),
    "ceil": ((3, 121, 131, 7), (3, 2), {"stride": (4, 3), "padding": (1, 0), "ceil_mode": True}),
    "dilated": ((2, 100, 90, 9), (3, 2), {"stride": 1, "dilation": (4, 7), "padding": ((8, 3), (0, 7))}),
    "large-window": ((1, 90, 80, 2), 13, {"stride": 1, "padding": "same"}),
    "1d": ((3, 40_000, 4), 5, {"stride": 2, "padding": ((4, 1),)}),
    "3d": ((2, 30, 33, 31, 5), (2, 3, 2), {"stride": (2, 1, 3), "padding": (1, 2, 0)}),
    "one-channel": ((1, 700, 600, 1), 2, {"stride": 1}),
    "many-channels": ((2, 7, 9, 3000), 3, {"stride": 2, "padding": 1}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "mebibytes"), full(TILED, TILED[:1]), indirect=["backend"])
@pytest.mark.parametrize("name", LARGE)
def test_tiles_meet_without_a_seam(backend: Backend, name: str, mebibytes: int) -> None:
    """Sizes that are cut into many tiles, forward and backward."""
    shape, window, options = LARGE[name]
    x = values(shape, 0, "float32", -9, 9)
    y_shape = by_slices.avg_pool(0.0, x[:1, ..., :1], window, **options)[0].shape
    dy = values((shape[0], *y_shape[1:-1], shape[-1]), 1, "float32", -3, 3)
    y, indices, dx = by_slices.max_pool(dy, x, window, **options)
    mean, spread = by_slices.avg_pool(dy, x, window, **options)
    size, spread_size = by_slices.avg_pool(abs(dy), abs(x), window, **options)
    terms = int(np.prod(oracle.per_axis(window, x.ndim - 2))) + 1
    with xc.set_options(max_workspace=mebibytes << 20):
        results = backend.call(xc.max_pool, x, window, return_indices=True, **options)
        gradient = backend.call(xc.max_pool_vjp, dy, x, window, **options)
        average = backend.call(xc.avg_pool, x, window, **options)
        average_gradient = backend.call(xc.avg_pool_vjp, dy, x.shape, window, **options)
    for got, expected, dtype in (
        (results[0], y, "float32"),
        (results[1], indices, backend.index_dtype),
        (gradient, dx, "float32"),
    ):
        checks.demand_kind(backend, got, dtype, expected.shape)
        np.testing.assert_array_equal(backend.to_numpy(got), expected)
    checks.demand(backend, average, mean, magnitude=size, terms=terms)
    checks.demand(backend, average_gradient, spread, magnitude=spread_size, terms=terms)


@pytest.mark.parametrize("dtype", full(["float64", "int8", "uint8", "int32", "int64"], ["float64", "int8", "uint8"]))
@pytest.mark.parametrize("name", ["3-stride-2-padded", "padding-beyond-half", "no-tap-inside"])
@pytest.mark.parametrize(
    "backend",
    full(["numpy", "strict", "torch", "dask", "cupy", "dpnp"], ["numpy", "torch", "cupy", "dpnp"]),
    indirect=True,
)
def test_max_pool_of_other_dtypes(backend: Backend, name: str, dtype: str) -> None:
    """Padding of integers is their least value, which an input may hold too."""
    case = POOL[name]
    info = np.iinfo(dtype) if dtype[0] in "iu" else np.finfo(dtype)
    rng = np.random.default_rng(5)
    x = rng.choice(np.array([info.min, info.min, 3, 4], dtype), case.shape("x"))
    expected, at = oracle.max_pool(x, case.window, **case.options())
    y, indices = backend.call(xc.max_pool, x, case.window, return_indices=True, **case.options())
    checks.demand(backend, y, expected, dtype)
    checks.demand(backend, indices, at, backend.index_dtype)


def test_a_window_of_minus_infinities_gives_the_first_of_them() -> None:
    """Padding is minus infinity as well, but an index points to a pixel."""
    x = np.full((1, 3, 3, 1), -np.inf, np.float32)
    y, indices = xc.max_pool(x, 2, stride=1, padding=1, return_indices=True)
    assert (y == -np.inf).all()
    assert indices[0, ..., 0].tolist() == [[0, 0, 1, 2], [0, 0, 1, 2], [3, 3, 4, 5], [6, 6, 7, 8]]


def test_pooling_views(numpy_backend: Backend) -> None:
    """Reversed, strided and broadcast arrays."""
    for x in (
        values((2, 6, 7, 3), 0, "float32", -3, 3)[:, ::-1, ::-2],
        values((6, 2, 7, 3), 0, "float32", -3, 3).swapaxes(0, 1),
        np.broadcast_to(values((1, 6, 1, 3), 0, "float32", -3, 3), (2, 6, 5, 3)),
    ):
        options = {"stride": 1, "padding": 1}
        checks.demand(numpy_backend, xc.max_pool(x, 3, **options), oracle.max_pool(x, 3, **options)[0])
        mean, size = oracle.avg_pool(x, 3, **options), oracle.avg_pool(abs(x), 3, **options)
        checks.demand(numpy_backend, xc.avg_pool(x, 3, **options), mean, magnitude=size, terms=10)
