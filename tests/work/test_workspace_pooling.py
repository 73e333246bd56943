"""The ceiling of `test_workspace` where pooling meets it hardest: large windows, narrow dtypes, many channels."""

import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import MIB, beside
from xpconv import bounds
from xpconv._work.memory import pool

# shape, dtype, window, options
HARD: dict[str, tuple[tuple[int, ...], str, Any, dict[str, Any]]] = {
    "as large as the image": ((1, 320, 512, 110), "float32", (320, 512), {}),
    "as large as the image, channels first": ((1, 8, 300, 300), "float32", 300, {"layout": "channels_first"}),
    "as large as the image, float16": ((1, 256, 256, 16), "float16", 256, {}),
    "as large as the image, padded": ((1, 200, 512, 16), "float32", (200, 512), {"padding": 3, "stride": 5}),
    "window 112": ((1, 113, 114, 24), "float32", 112, {"stride": 1}),
    "window 130 by 200": ((1, 140, 230, 16), "float32", (130, 200), {"stride": (7, 29)}),
    "int8": ((8, 112, 112, 32), "int8", 3, {"stride": 2, "padding": 1}),
    "float16": ((3, 112, 112, 32), "float16", 3, {"stride": 2, "padding": 1}),
    "many channels": ((1, 8, 8, 60_000), "float32", 2, {}),
    "many channels, overlapping": ((1, 6, 6, 60_000), "float32", 3, {"stride": 1, "padding": 1}),
    "no tap inside": ((1, 64, 65, 32), "float32", 2, {"dilation": 40, "padding": 39, "stride": 3}),
    "stride beyond the window": ((1, 700, 700, 8), "float32", 2, {"stride": 5}),
}


# in 1 MiB these are as hard, and take a tenth of the time
IN_LITTLE: dict[str, tuple[tuple[int, ...], str, Any, dict[str, Any]]] = {
    "as large as the image": ((1, 96, 160, 110), "float32", (96, 160), {}),
    "as large as the image, channels first": ((1, 8, 120, 120), "float32", 120, {"layout": "channels_first"}),
    "as large as the image, float16": ((1, 128, 128, 16), "float16", 128, {}),
    "as large as the image, padded": ((1, 100, 256, 16), "float32", (100, 256), {"padding": 3, "stride": 5}),
    "int8": ((2, 112, 112, 32), "int8", 3, {"stride": 2, "padding": 1}),
    "float16": ((1, 112, 112, 16), "float16", 3, {"stride": 2, "padding": 1}),
    "many channels": ((1, 4, 4, 60_000), "float32", 2, {}),
    "many channels, overlapping": ((1, 3, 3, 60_000), "float32", 3, {"stride": 1, "padding": 1}),
    "no tap inside": ((1, 64, 65, 12), "float32", 2, {"dilation": 40, "padding": 39, "stride": 3}),
}


@pytest.mark.parametrize(("mebibytes", "threads"), [pytest.param(64, 8, marks=pytest.mark.slow), (1, 8)])
@pytest.mark.parametrize("name", HARD)
def test_pools(name: str, mebibytes: int, threads: int) -> None:
    shape, dtype, window, options = IN_LITTLE.get(name, HARD[name]) if mebibytes == 1 else HARD[name]
    x = np.random.default_rng(0).integers(-3, 4, shape).astype(dtype)
    most = mebibytes * MIB
    with xc.set_options(max_workspace=most, threads=threads):
        y = xc.max_pool(x, window, **options)
        assert beside(lambda: xc.max_pool(x, window, **options)) <= most
        assert beside(lambda: xc.max_pool(x, window, return_indices=True, **options)) <= most
        for ties in ("first", "all"):
            assert beside(lambda ties=ties: xc.max_pool_vjp(y, x, window, ties=ties, **options)) <= most, ties
        if dtype != "int8":
            assert beside(lambda: xc.avg_pool(x, window, **options)) <= most
            assert beside(lambda: xc.avg_pool_vjp(y, shape, window, **options)) <= most


@pytest.mark.parametrize("ties", ["first", "all", "split"])
@pytest.mark.parametrize("name", ["window 112", "window 130 by 200", "as large as the image, padded", "no tap inside"])
def test_gradients_do_not_depend_on_the_workspace(name: str, ties: str) -> None:
    """In little of it no copy is made of the pixels of a window, in enough of it one is."""
    shape, dtype, window, options = HARD[name]
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, shape).astype(dtype)
    x[0, 40, 30:50, 3:7] = np.nan
    dy = rng.integers(-9, 10, xc.max_pool(x, window, **options).shape).astype(dtype)
    found = []
    for mebibytes in (1, 512):
        with xc.set_options(max_workspace=mebibytes * MIB):
            found.append(xc.max_pool_vjp(dy, x, window, ties=ties, **options))
    if ties == "split":  # shares are rounded, and may be added in another order
        bound = bounds.max_pool_vjp_error_bound(dy, x, window, ties=ties, **options)
        assert (np.abs(found[0] - found[1]) <= 2 * bound).all()
    else:
        np.testing.assert_array_equal(*found)


def test_a_large_stride_keeps_nothing() -> None:
    x = np.ones((1, 600, 600, 1), np.float32)
    y = xc.avg_pool(x, 512, stride=500, padding=100)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    xc.avg_pool_vjp(y, x.shape, 512, stride=500, padding=100)
    xc.max_pool_vjp(y, x, 512, stride=500, padding=100)
    pool.clear()  # work memory is kept, up to max_workspace
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert kept < MIB // 2
