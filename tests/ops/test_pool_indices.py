"""Gradients of maxima at the places that the forward pass gave: the same values, from x's shape alone.

Gradients are whole numbers, so that the order of a sum does not show.
"""

import re
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import checks
from tests.backends import Backend
from tests.cases import CUT, FIRST, POOL, arrays, values
from tests.memory import MIB, beside
from tests.sizes import FULL, full, share

QUICK = ("numpy", "strict", "torch", "cupy")
GRAPHS = {"jax-jit": 12, "dask": 1}  # to build and compile one takes long: cases take turns, in so many parts
POOLED = full(
    list(POOL), ["2", "2-rest", "3-stride-2-padded", "no-tap-inside", "empty-batch", "1d-first", "3d-ceil-padded"]
)
PARTED = full(list(CUT), ["even", "uneven", "uneven-int-first", "up-and-down", "1d"])


def spoiled(x: np.ndarray) -> np.ndarray:
    flat = x.reshape(-1)
    flat[::5], flat[1::7], flat[2::9] = np.nan, -np.inf, np.inf
    return x


def each(names: list[str], dtypes: tuple[str, ...], few: list[str]) -> Any:
    """Every case and dtype, those of graphs in one dtype: a normal run has a few of these."""
    pairs = [(backend, name, dtype) for backend in QUICK for name in names for dtype in dtypes]
    for backend, parts in GRAPHS.items():
        own = few + [name for name in share(names, 0, parts) if name not in few] if FULL else few
        pairs += [(backend, name, dtypes[0]) for name in own]
    return pytest.mark.parametrize(("backend", "name", "dtype"), pairs, indirect=["backend"])


@each(POOLED, ("float32", "float16", "int32"), ["2", "3-stride-2-padded"])
def test_windows_at_a_stride(backend: Backend, name: str, dtype: str) -> None:
    if not backend.has(dtype):
        dtype = "float64"
    case = POOL[name]
    x, options = values(case.shape("x"), 0, dtype, -4, 4), case.options()
    x = x if dtype == "int32" else spoiled(x)
    dy = values(case.shape("dy"), 1, dtype, -40, 40)
    _, indices = backend.call(xc.max_pool, x, case.window, return_indices=True, **options)
    wanted = backend.call(xc.max_pool_vjp, dy, x, case.window, **options)
    places = backend.to_numpy(indices)
    got = backend.call(
        lambda dy, indices: xc.max_pool_vjp(dy, x.shape, case.window, indices=indices, **options), dy, places
    )
    checks.demand_kind(backend, got, dtype, x.shape)
    np.testing.assert_array_equal(backend.to_numpy(got), backend.to_numpy(wanted))
    got = backend.call(
        lambda dy, x, indices: xc.max_pool_vjp(dy, x, case.window, indices=indices, **options), dy, x, places
    )
    np.testing.assert_array_equal(backend.to_numpy(got), backend.to_numpy(wanted))


@each(PARTED, ("float32", "float16"), ["uneven"])
def test_parts(backend: Backend, name: str, dtype: str) -> None:
    if not backend.has(dtype):
        dtype = "float64"
    case = CUT[name]
    x, dy = (array.astype(dtype) for array in arrays(case).values())
    x, dy, options = spoiled(x), dy.round(), case.options()
    _, indices = backend.call(xc.adaptive_max_pool, x, case.out, return_indices=True, **options)
    wanted = backend.call(xc.adaptive_max_pool_vjp, dy, x, case.out, **options)
    got = backend.call(
        lambda dy, indices: xc.adaptive_max_pool_vjp(dy, x.shape, case.out, indices=indices, **options),
        dy,
        backend.to_numpy(indices),
    )
    checks.demand_kind(backend, got, dtype, x.shape)
    np.testing.assert_array_equal(backend.to_numpy(got), backend.to_numpy(wanted))


LARGE: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    "overlapping": ((2, 60, 50, 9), 3, {"stride": 1, "padding": 1}),
    "many images": ((70, 9, 8, 5), 5, {"stride": 2}),
    "long": ((1, 5000, 3), 40, {"stride": 7}),
    "cube": ((1, 14, 15, 16, 4), 3, {"stride": (1, 2, 1), "padding": 1}),
    "apart": ((3, 90, 80, 7), 3, {"stride": 4}),
    "windows of 600": ((1, 900, 2), 600, {"stride": 1}),
}


@pytest.mark.parametrize("mebibytes", [1, 64])
@pytest.mark.parametrize("layout", ["channels_last", FIRST])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", LARGE)
def test_sums_of_many_tiles(name: str, dtype: str, layout: str, mebibytes: int) -> None:
    shape, window, options = LARGE[name]
    x = values(shape, 0, dtype)
    options = {**options, "layout": layout}
    x = x if layout != FIRST else np.ascontiguousarray(np.moveaxis(x, -1, 1))
    with xc.set_options(max_workspace=mebibytes << 20, threads=2):
        y, indices = xc.max_pool(x, window, return_indices=True, **options)
        dy = values(y.shape, 1, dtype, -2, 2)
        wanted = xc.max_pool_vjp(dy, x, window, **options)
        got = xc.max_pool_vjp(dy, x.shape, window, indices=indices, **options)
    assert got.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("layout", ["channels_last", FIRST])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("stride", [1, 3])
def test_many_threads_stay_in_the_workspace(stride: int, dtype: str, layout: str) -> None:
    """Each holds the places that it puts at once; where some gradients go nowhere it holds more."""
    size, channels = (160 if stride == 1 else 400), (64 if FULL else 24)
    x = values((1, size, size, channels) if layout != FIRST else (1, channels, size, size), 0, dtype, -9, 9)
    options = {"stride": stride, "layout": layout}
    y, indices = xc.max_pool(x, 3, return_indices=True, **options)
    indices.reshape(-1)[::7] = -1
    with xc.set_options(max_workspace=MIB, threads=16):
        assert beside(lambda: xc.max_pool_vjp(y, x.shape, 3, indices=indices, **options)) <= MIB


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax-jit"], indirect=True)
@pytest.mark.parametrize("dilation", [1, 2])
def test_the_gradient_goes_where_the_indices_say(backend: Backend, dilation: int) -> None:
    """Any pixel of the plane, in the window or not; whole numbers, so that no order is told."""
    indices = np.random.default_rng(0).integers(-1, 42, (2, 6 - dilation, 7 - dilation, 3))
    dy = values(indices.shape, 1, "float32", -9, 9)
    wanted = np.zeros((2, 43, 3), "float32")
    for n, i, j, c in np.ndindex(indices.shape):
        wanted[n, indices[n, i, j, c], c] += dy[n, i, j, c]  # the last one is that of -1
    got = backend.call(
        lambda dy, indices: xc.max_pool_vjp(dy, (2, 6, 7, 3), 2, stride=1, dilation=dilation, indices=indices),
        dy,
        indices.astype(backend.index_dtype),
    )
    checks.demand(backend, got, wanted[:, :42].reshape(2, 6, 7, 3))


def said(call: Any) -> str:
    with pytest.raises((TypeError, ValueError)) as raised:
        call()
    return f"{raised.type.__name__}: {raised.value}"


def test_unfit_indices() -> None:
    x = values((1, 4, 4, 2), 0, "float32")
    y, indices = xc.max_pool(x, 2, return_indices=True)

    def told(given: Any, shape: Any = x.shape, **options: Any) -> str:
        return said(lambda: xc.max_pool_vjp(y, shape, 2, indices=given, **options))

    assert told(indices.astype("float32")) == (
        "TypeError: max_pool_vjp: indices are integers; got indices.dtype=float32"
    )
    assert told(indices[:, :1]) == (
        "ValueError: max_pool_vjp: indices has the shape of dy, (1, 2, 2, 2); got indices.shape=(1, 1, 2, 2)"
    )
    assert told(indices, ties="all") == (
        "ValueError: max_pool_vjp: indices are those of first maxima, so with them ties is 'first'; got ties='all'"
    )
    assert told(indices, (1, 4, 9, 2)).startswith("ValueError: max_pool_vjp: dy has the shape of the output")
    assert told(indices, (1, 4, 2)).startswith("ValueError: max_pool_vjp: ")
    assert told(indices.tolist()).startswith("TypeError: max_pool_vjp: ")
    assert said(lambda: xc.max_pool_vjp(y, x.shape, 2)).startswith("TypeError: max_pool_vjp: x is")


@pytest.mark.parametrize("backend", ["numpy", "torch", "dask"], indirect=True)
@pytest.mark.parametrize("stride", [1, 2])
def test_places_outside_are_refused(backend: Backend, stride: int) -> None:
    dy = np.ones((1, 4 // stride + 1, 1), "float32")
    for wrong in (6, -2):
        indices = np.zeros(dy.shape, np.int64)
        indices[0, 1] = wrong
        ends = f"{min(wrong, 0)} to {max(wrong, 0)}"
        text = f"max_pool_vjp: indices lie from -1 to 5 for an output of 6 pixels; got {ends}"
        with pytest.raises(ValueError, match=re.escape(text)):
            backend.to_numpy(
                backend.call(lambda dy, at: xc.max_pool_vjp(dy, (1, 6, 1), 2, stride=stride, indices=at), dy, indices)
            )
