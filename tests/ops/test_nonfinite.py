"""A NaN or an infinity reaches only the windows that contain it."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import backends, checks, oracle, sizes
from tests.backends import Backend
from tests.cases import CONV, POOL, arrays, taps, values
from xpconv.algorithms import EVERYWHERE

BAD = [np.nan, np.inf, -np.inf]
pytestmark = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # what infinities of two signs add to
BACKENDS = ["numpy", "strict", "torch", "jax-jit", "dask", "cupy", "dpnp"]
CONVOLUTIONS = ["same", "stride-2", "dilation-2", "groups-2", "1d-causal-dilated", "3d-groups-first"]
GRADIENTS = ["3x3", "stride-leaves-a-rest", "dilation-2", "groups-2", "1d"]
MAX_POOLS = ["3-overlapping", "3-stride-2-padded-ceil", "dilated-padded", "padding-beyond-half", "1d"]
AVG_POOLS = ["3-overlapping", "2-rest-ceil", "dilated-padded", "1d"]


def spread(names: list[str]) -> list[tuple[str, str, float]]:
    """NumPy with everything, the others with one case, or with all where nothing is compiled, in a full run."""
    return [
        (backend, name, value)
        for backend in BACKENDS
        for name in names
        for value in BAD
        if backend == "numpy"
        or (name == names[0] and (sizes.FULL or value == np.inf))
        or (sizes.FULL and backend not in backends.SLOW)
        or sizes.NIGHTLY
    ]


def poisoned(array: np.ndarray, value: float, count: int = 2) -> np.ndarray:
    """Put a value at a few places."""
    array = array.copy()
    array.flat[np.random.default_rng(3).choice(array.size, count, replace=False)] = value
    return array


def demand_local(backend: Backend, got: Any, clean: np.ndarray, dirty: np.ndarray) -> None:
    """Demand the oracle's result, and that it is a fault of some elements only."""
    touched = ~((clean == dirty) | (np.isnan(clean) & np.isnan(dirty)))
    assert touched.any()
    assert not touched.all()
    checks.demand(backend, got, dirty)


@pytest.mark.parametrize(("backend", "name", "value"), spread(CONVOLUTIONS), indirect=["backend"])
def test_conv(backend: Backend, name: str, value: float) -> None:
    case = CONV[name]
    a = arrays(case)
    w = a["w"] * 2 + 1  # no zero, whose product with an infinity would be NaN in one order of work alone
    x = poisoned(a["x"], value, 1)
    clean, dirty = (oracle.conv(image, w, **case.options()) for image in (a["x"], x))
    demand_local(backend, backend.call(xc.conv, x, w, **case.options()), clean, dirty)


@pytest.mark.parametrize(("backend", "name", "value"), spread(GRADIENTS), indirect=["backend"])
def test_gradients(backend: Backend, name: str, value: float) -> None:
    """A bad pixel of dz reaches the pixels of its window; of x, the weights that meet it."""
    case = CONV[name]
    a = {key: array * 2 + 1 for key, array in arrays(case).items()}
    w, options = a["w"], case.options()
    dz, x = poisoned(a["dz"], value, 1), poisoned(a["x"], value, 1)
    clean, dirty = (oracle.conv_input_grad(g, w, x.shape, **options) for g in (a["dz"], dz))
    demand_local(backend, backend.call(xc.conv_input_grad, dz, w, x.shape, **options), clean, dirty)
    expected = oracle.conv_weight_grad(a["dz"], x, w.shape, **options)
    checks.demand(backend, backend.call(xc.conv_weight_grad, a["dz"], x, w.shape, **options), expected)


@pytest.mark.parametrize("algorithm", ["auto", *EVERYWHERE])
def test_a_nan_in_a_large_image_stays_where_it_is(numpy_backend: Backend, algorithm: str) -> None:
    """Across tiles and threads; the weights at the edge meet zeros, which stay zeros."""
    x, w = values((2, 90, 80, 8), 0, "float32", -3, 3), values((3, 3, 8, 8), 1, "float32", 1, 3)
    clean, bound = (f(x, w, padding=1, algorithm=algorithm) for f in (xc.conv, xc.error_bound))
    x[1, 40, 0, 3] = np.nan
    dirty = numpy_backend.call(xc.conv, x, w, padding=1, algorithm=algorithm)
    nan = np.isnan(dirty)
    assert nan.sum() == 3 * 2 * 8
    assert nan[1, 39:42, :2].all()
    # a tile that is computed again is rounded differently
    assert (abs(dirty[~nan] - clean[~nan]) <= 2 * bound[~nan]).all()


@pytest.mark.parametrize("algorithm", ["auto", *EVERYWHERE])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_gradients_in_large_images(numpy_backend: Backend, value: float, algorithm: str) -> None:
    """An infinity in dz reaches the pixels of its window and, of the kernels, its filter alone."""
    rng = np.random.default_rng(0)
    x, w, dz = (rng.standard_normal(s, np.float32) for s in ((2, 50, 60, 8), (3, 3, 8, 8), (2, 50, 60, 8)))
    dz[1, 20, 30, 5] = value
    dx, dw, db = numpy_backend.call(xc.conv_vjp, dz, x, w, padding=1, algorithm=algorithm)
    bad = ~np.isfinite(dx)
    assert bad[1, 19:22, 29:32].all()
    assert bad.sum() == 9 * 8
    assert (np.isfinite(dw) == (np.arange(8) != 5)).all()
    assert (np.isfinite(db) == (np.arange(8) != 5)).all()


@pytest.mark.parametrize(("backend", "name", "value"), spread(MAX_POOLS), indirect=["backend"])
def test_max_pool(backend: Backend, name: str, value: float) -> None:
    """The first NaN of a window takes its value, its index and its whole gradient, whatever the ties."""
    case = POOL[name]
    a = arrays(case)
    x, dy = poisoned(a["x"], value, 8), a["dy"]
    expected, at = oracle.max_pool(x, case.window, **case.options())
    y, indices = backend.call(xc.max_pool, x, case.window, return_indices=True, **case.options())
    checks.demand(backend, y, expected)
    checks.demand(backend, indices, at, backend.index_dtype)
    for ties in ("first", "all", "split"):
        options = {**case.options(), "ties": ties}
        wanted = oracle.max_pool_vjp(dy, x, case.window, **options)
        size = oracle.max_pool_vjp(abs(dy), x, case.window, **options) if ties == "split" else None
        got = backend.call(xc.max_pool_vjp, dy, x, case.window, **options)
        checks.demand(backend, got, wanted, magnitude=size, terms=taps(case) + 1)


@pytest.mark.parametrize(("backend", "name", "value"), spread(AVG_POOLS), indirect=["backend"])
def test_avg_pool(backend: Backend, name: str, value: float) -> None:
    case = POOL[name]
    a = arrays(case)
    x, dy = poisoned(a["x"], value, 3), poisoned(a["dy"], value, 1)
    y = oracle.avg_pool(x, case.window, **case.options())
    dx = oracle.avg_pool_vjp(dy, x.shape, case.window, **case.options())
    got_y = backend.call(xc.avg_pool, x, case.window, **case.options())
    got_dx = backend.call(xc.avg_pool_vjp, dy, x.shape, case.window, **case.options())
    largest = np.float64(3 * taps(case))  # of any sum of whole numbers here
    for got, expected in ((got_y, y), (got_dx, dx)):
        checks.demand_kind(backend, got, "float32", expected.shape)
        got = backend.to_numpy(got)
        finite = np.isfinite(expected)
        assert finite.any()
        assert not finite.all()
        checks.demand_same(got[~finite], expected[~finite])
        checks.demand_close(got[finite], expected[finite], checks.tolerance(largest, taps(case) + 1, "float32"))


def test_gradients_of_max_pooling_carry_nan(numpy_backend: Backend) -> None:
    """A NaN in dy reaches the pixel that won its window, and no other."""
    x, dy = values((1, 6, 6, 1), 0, "float32", -3, 3), values((1, 3, 3, 1), 1, "float32", 1, 3)
    dy[0, 1, 1, 0] = np.nan
    got = numpy_backend.call(xc.max_pool_vjp, dy, x, 2)
    checks.demand(numpy_backend, got, oracle.max_pool_vjp(dy, x, 2))
    assert np.isnan(got).sum() == 1
