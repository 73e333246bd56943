"""The engine of adaptive pooling on NumPy against window after window, whatever the views and tiles."""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import beside
from tests.sizes import FULL, full, share
from xpconv._pooling import reduce, sweep

# sizes, parts: primes, with common factors, more parts than pixels, windows of many pixels, one and three axes
CUTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "13 into 6": ((13, 13), (6, 6)),
    "common factors": ((28, 50), (35, 20)),
    "primes": ((31, 97), (97, 31)),
    "few": ((64, 75), (3, 7)),
    "one part, and one too many": ((9, 7), (1, 8)),
    "one axis": ((101,), (24,)),
    "three axes": ((5, 12, 9), (3, 8, 10)),
    "long windows": ((1003,), (4,)),
}


@pytest.fixture(params=["views", "gathered"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take strided views, or gather, whatever the sizes."""
    monkeypatch.setattr(reduce, "SMALL", 0 if request.param == "views" else 1 << 40)


@pytest.fixture(params=["one tile", "many tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a tile as it is, or cut it into small ones for three threads."""
    if request.param == "many tiles":
        monkeypatch.setattr(sweep, "CACHE", 4000)
        monkeypatch.setattr(sweep, "SHARE", 1)


def windows(size: tuple[int, ...], parts: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    for place in itertools.product(*map(range, parts)):
        yield place, tuple(slice(o * n // m, -(-(o + 1) * n // m)) for o, n, m in zip(place, size, parts, strict=True))


def by_windows(x: np.ndarray, dy: np.ndarray, parts: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Pool channels-last images window after window, in float64; NaN counts as the maximum, the first of equals too."""
    x, dy, size = x.astype(float), dy.astype(float), x.shape[1:-1]
    found = {name: np.zeros(dy.shape) for name in ("mean", "max", "place")}
    found |= {name: np.zeros(x.shape) for name in ("mean's", "max's")}
    plane = np.arange(np.prod(size)).reshape(size)
    for place, spot in windows(size, parts):
        window, here = x[(slice(None), *spot)], (slice(None), *place)
        pixels = window.reshape(len(x), -1, x.shape[-1])
        found["mean"][here] = pixels.mean(axis=1)
        first = pixels.argmax(axis=1)  # NumPy's is the first NaN where there is one
        found["max"][here] = np.take_along_axis(pixels, first[:, None], axis=1)[:, 0]
        found["place"][here] = plane[spot].reshape(-1)[first]
        found["mean's"][(slice(None), *spot)] += dy[here].reshape(len(x), *(1,) * len(size), -1) / pixels.shape[1]
        share = found["max's"].reshape(len(x), -1, x.shape[-1])
        n, c = np.indices(first.shape)
        np.add.at(share, (n, found["place"][here].astype(int), c), dy[here])
    return found


def moved(array: np.ndarray, layout: str) -> np.ndarray:
    return array if layout == "channels_last" else np.ascontiguousarray(np.moveaxis(array, -1, 1))


def back(array: Any, layout: str) -> np.ndarray:
    return array if layout == "channels_last" else np.moveaxis(array, 1, -1)


@functools.cache
def drawn(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Draw x and dy; what is right, and the size of the gradient of the means without cancellation."""
    size, parts = CUTS[name]
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (3, *size, 2)).astype(dtype)
    dy = rng.integers(-3, 4, (3, *parts, 2)).astype(dtype)
    return x, dy, by_windows(x, dy, parts), by_windows(x, np.abs(dy), parts)["mean's"]


@pytest.mark.usefixtures("way", "tiles")
@pytest.mark.parametrize(
    ("dtype", "layout"),
    full(
        itertools.product(["float32", "float64", "float16"], ["channels_last", "channels_first"]),
        [("float32", "channels_last"), ("float16", "channels_first")],
    ),
)
@pytest.mark.parametrize("name", CUTS)
def test_every_operation(name: str, dtype: str, layout: str) -> None:
    size, parts = CUTS[name]
    x, dy, wanted, magnitudes = drawn(name, dtype)
    # Sums of whole numbers are exact. A mean is a quotient, rounded in the dtype of the sums and then in that of the
    # result; a gradient adds up r quotients, so each is rounded r times, and so are those that it is compared with.
    # What is left where they cancel may be rounded to a multiple of the least number.
    unit = float(np.finfo(dtype).eps) / 2
    wide = float(np.finfo("float32" if dtype == "float16" else dtype).eps) / 2
    least = float(np.finfo(dtype).smallest_subnormal) / 2
    readers = int(np.prod([-(-m // n) + 1 for n, m in zip(size, parts, strict=True)]))
    images, gradient = moved(x, layout), moved(dy, layout)
    with xc.set_options(threads=3):
        y = xc.adaptive_avg_pool(images, parts, layout=layout)
        assert (np.abs(back(y, layout) - wanted["mean"]) <= 1.01 * (unit + 2 * wide) * np.abs(wanted["mean"])).all()
        dx = xc.adaptive_avg_pool_vjp(gradient, images, parts, layout=layout)
        off = np.abs(back(dx, layout) - wanted["mean's"])
        allowed = unit * np.abs(wanted["mean's"]) + 2 * (readers + 1) * wide * magnitudes + least
        assert (off <= 1.01 * allowed).all()
        best = xc.adaptive_max_pool(images, parts, layout=layout)
        again, place = xc.adaptive_max_pool(images, parts, layout=layout, return_indices=True)
        dx = xc.adaptive_max_pool_vjp(gradient, images, parts, layout=layout)
    assert y.dtype == best.dtype == again.dtype == dx.dtype == dtype
    assert place.dtype == np.int64
    np.testing.assert_array_equal(back(best, layout), wanted["max"])
    np.testing.assert_array_equal(back(again, layout), wanted["max"])
    np.testing.assert_array_equal(back(place, layout), wanted["place"])
    np.testing.assert_array_equal(back(dx, layout), wanted["max's"])


@pytest.mark.usefixtures("way", "tiles")
@pytest.mark.parametrize("name", CUTS)
def test_nan_and_infinity(name: str) -> None:
    size, parts = CUTS[name]
    rng = np.random.default_rng(1)
    x = rng.integers(-2, 3, (2, *size, 3)).astype("float32")
    x[rng.random(x.shape) < 0.02] = np.nan
    x[rng.random(x.shape) < 0.02] = -np.inf
    dy = rng.integers(-3, 4, (2, *parts, 3)).astype("float32")
    with np.errstate(all="ignore"):
        wanted = by_windows(x, dy, parts)
    y, place = xc.adaptive_max_pool(x, parts, return_indices=True)
    np.testing.assert_array_equal(y, wanted["max"])
    np.testing.assert_array_equal(place, wanted["place"])
    np.testing.assert_array_equal(xc.adaptive_max_pool(x, parts), wanted["max"])
    np.testing.assert_array_equal(xc.adaptive_max_pool_vjp(dy, x, parts), wanted["max's"])
    np.testing.assert_array_equal(np.isnan(xc.adaptive_avg_pool(x, parts)), np.isnan(wanted["mean"]))


@pytest.mark.parametrize("views", ["strided", "reversed", "broadcast"])
def test_views_of_images(views: str) -> None:
    rng = np.random.default_rng(2)
    whole = rng.standard_normal((4, 30, 34, 6)).astype("float32")
    x = {
        "strided": whole[::2, 1::2, ::2, ::3],
        "reversed": whole[:, ::-1, ::-1, ::-1],
        "broadcast": np.broadcast_to(whole[:, :, :1, :], whole.shape),
    }[views]
    parts = (7, 9)
    for function in (xc.adaptive_avg_pool, xc.adaptive_max_pool):
        np.testing.assert_array_equal(function(x, parts), function(x.copy(), parts))
    dy = rng.standard_normal((x.shape[0], *parts, x.shape[-1])).astype("float32")
    for vjp in (xc.adaptive_avg_pool_vjp, xc.adaptive_max_pool_vjp):
        np.testing.assert_array_equal(vjp(dy[:, ::-1], x, parts), vjp(dy[:, ::-1].copy(), x.copy(), parts))


# what is read is many times the workspace, what is made of it little
LONG = [((501, 501), (2, 2)), ((90_001 if FULL else 30_001,), (20,)), ((2, 301, 150), (2, 3, 2))]


@pytest.mark.parametrize(
    ("size", "parts", "dtype"),
    [  # sizes and dtypes take turns
        (*line, dtype)
        for place, line in enumerate(LONG)
        for dtype in share(("int8", "float16", "float32", "float64"), place, 4)
    ],
)
def test_long_windows_stay_in_the_workspace(size: tuple[int, ...], parts: tuple[int, ...], dtype: str) -> None:
    x = np.random.default_rng(4).integers(-9, 10, (1, *size, 4)).astype(dtype)
    with xc.set_options(max_workspace=1 << 20, threads=3):
        y = xc.adaptive_max_pool(x, parts)
        calls = [lambda: xc.adaptive_max_pool(x, parts), lambda: xc.adaptive_max_pool(x, parts, return_indices=True)]
        if dtype != "float16":  # its gradient is summed in 32 bits, by the functions that serve every library
            calls.append(lambda: xc.adaptive_max_pool_vjp(y, x, parts))
        if dtype != "int8":
            calls += [lambda: xc.adaptive_avg_pool(x, parts), lambda: xc.adaptive_avg_pool_vjp(y, x, parts)]
        for call in calls:
            assert beside(call) <= 1 << 20


@pytest.mark.parametrize(
    ("size", "parts", "channels"),
    [((28, 50), (35, 20), 5), ((31, 97), (97, 31), 5), ((40, 600), (7, 11), 1), ((6000,), (101,), 1)],
)
def test_the_same_bits_with_any_number_of_threads(
    size: tuple[int, ...], parts: tuple[int, ...], channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SHARE", 1)
    monkeypatch.setattr(reduce, "SMALL", 4)  # six images of one axis are views, three are gathered
    rng = np.random.default_rng(3)
    x = rng.standard_normal((6, *size, channels)).astype("float32")
    dy = rng.standard_normal((6, *parts, channels)).astype("float32")
    found = []
    for threads in (1, 2, 5):
        with xc.set_options(threads=threads):
            found.append(
                (
                    xc.adaptive_avg_pool(x, parts),
                    xc.adaptive_avg_pool_vjp(dy, x, parts),
                    xc.adaptive_max_pool_vjp(dy, x, parts),
                )
            )
    for other in found[1:]:
        for one, first in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(one, first)


@pytest.mark.parametrize("size", [4, 5, 23])
def test_a_sum_of_negative_zeros_is_one(size: int) -> None:
    x = np.full((2, size, 32), -0.0)
    assert np.signbit(xc.adaptive_avg_pool(x, 3)).all()
    assert np.signbit(xc.adaptive_avg_pool_vjp(np.full((2, size, 32), -0.0), np.zeros((2, 3, 32)), size)).all()
