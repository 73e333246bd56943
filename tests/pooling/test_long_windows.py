"""Long windows take time that grows with the work: few tiles, whatever the workspace; right, and within it."""

import functools
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import MIB, beside
from tests.oracle import by_slices
from tests.sizes import full
from xpconv._pooling import averages, maxima, routes

# shape, window, options; the sums of the windows' sizes lie on both sides of where calls on tiles are kept
LONG: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    "below": ((1, 587, 16), 508, {"stride": 1}),
    "at": ((1, 591, 16), 512, {"stride": 1}),
    "beyond": ((1, 1280, 4), 1200, {"stride": 1}),
    "strides": ((1, 4000, 4), 900, {"stride": 300}),
    "side by side": ((1, 32_000, 1), 1600, {}),
    "dilated": ((2, 900, 3), 40, {"stride": 2, "dilation": 15, "padding": 300}),
    "planes": ((1, 70, 76, 4), (31, 27), {"stride": 1}),
    "planes of strides": ((1, 120, 110, 3), (50, 41), {"stride": (2, 3), "padding": (20, 7)}),
    "volumes": ((1, 18, 20, 24, 2), (9, 8, 11), {"stride": 1}),
}


def counted(monkeypatch: pytest.MonkeyPatch, holder: Any, name: str) -> list[int]:
    """Count the calls of a function from now on."""
    right, count = getattr(holder, name), [0]

    def counting(*arguments: Any, **keywords: Any) -> Any:
        count[0] += 1
        return right(*arguments, **keywords)

    monkeypatch.setattr(holder, name, counting)
    return count


def whole(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-30, 31, shape).astype("float32")


@pytest.mark.parametrize("mebibytes", [1, 64])
@pytest.mark.parametrize("name", LONG)
def test_few_tiles(name: str, mebibytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile costs some calls for each tap: windows one by one would take as many tiles as there are windows."""
    shape, window, options = LONG[name]
    x = whole(shape, 0)
    with xc.set_options(max_workspace=mebibytes * MIB, threads=1):
        y = xc.max_pool(x, window, **options)
        windows = y.size // y.shape[-1]
        for holder, function, call in (
            (routes, "pixels_of", lambda: xc.max_pool_vjp(y, x, window, **options)),
            (maxima, "reduced", lambda: xc.max_pool(x, window, **options)),
            (maxima, "first_maxima", lambda: xc.max_pool(x, window, return_indices=True, **options)),
            (averages, "reduced", lambda: xc.avg_pool(x, window, **options)),
            (averages, "spread_sum", lambda: xc.avg_pool_vjp(y, shape, window, **options)),
        ):
            count = counted(monkeypatch, holder, function)
            call()
            assert 0 < count[0] <= max(windows // 20, 4), function


@functools.cache
def sliced(name: str) -> tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray]:
    """Draw a gradient; give what maxima and means are, by slices."""
    shape, window, options = LONG[name]
    x = whole(shape, 0)
    dy = whole(xc.max_pool(x, window, **options).shape, 1)
    means = by_slices.avg_pool(dy, x.astype(float), window, count_include_pad=False, **options)
    return dy, by_slices.max_pool(dy, x, window, **options), means[0]


@pytest.mark.parametrize("mebibytes", [1, 64])
@pytest.mark.parametrize("name", LONG)
def test_results(name: str, mebibytes: int) -> None:
    """Whole numbers, whose sums are exact in any order; means are quotients of such sums, rounded once."""
    shape, window, options = LONG[name]
    x = whole(shape, 0)
    dy, (y, indices, dx), exact = sliced(name)
    with xc.set_options(max_workspace=mebibytes * MIB, threads=2):
        found = xc.max_pool(x, window, return_indices=True, **options)
        np.testing.assert_array_equal(found[0], y)
        np.testing.assert_array_equal(found[1], indices)
        np.testing.assert_array_equal(xc.max_pool_vjp(dy, x, window, **options), dx)
        mean = xc.avg_pool(x, window, count_include_pad=False, **options)
    assert (np.abs(mean - exact) <= np.finfo("float32").eps * np.abs(exact)).all()


SEVERAL = [(name, "float32") for name in LONG] + [("planes", dtype) for dtype in ("float16", "int8")]


@pytest.mark.parametrize(("name", "dtype"), full(SEVERAL, [*SEVERAL[::2], *SEVERAL[-2:]]))
def test_they_stay_in_the_workspace(name: str, dtype: str) -> None:
    shape, window, options = LONG[name]
    x = whole(shape, 0).astype(dtype)
    with xc.set_options(max_workspace=MIB, threads=3):
        y = xc.max_pool(x, window, **options)
        calls = [lambda: xc.max_pool(x, window, return_indices=True, **options)]
        calls += [lambda ties=ties: xc.max_pool_vjp(y, x, window, ties=ties, **options) for ties in ("first", "all")]
        if dtype != "int8":
            calls += [lambda: xc.avg_pool(x, window, **options), lambda: xc.avg_pool_vjp(y, shape, window, **options)]
        for call in calls:
            assert beside(call) <= MIB
