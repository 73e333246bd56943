"""Generated geometries against the oracle: exactly, on whole numbers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xpconv as xc
from tests import backends, checks, oracle, sizes, strategies
from tests.backends import Backend
from tests.cases import arrays, sites, taps, values
from xpconv.algorithms import EVERYWHERE, REGISTRY
from xpconv.verify.catalogue.setups import Conv, Pool

ALGORITHMS = ("auto", *(name for name in EVERYWHERE if not REGISTRY[name].transforms))  # those that serve every case
FLOATS = st.sampled_from(["float32", "float64"])


def check_convolution(backend: Backend, case: Conv, dtype: str, algorithm: str, seed: int) -> None:
    """Forward and backward of one geometry."""
    a = arrays(case, dtype, seed=seed)
    x, w, b, dz = (a[name] for name in ("x", "w", "b", "dz"))
    options = {**case.options(), "algorithm": algorithm}
    checks.demand(backend, backend.call(xc.conv, x, w, b, **options), oracle.conv(x, w, b, **case.options()), dtype)
    expected = oracle.conv_vjp(dz, x, w, **case.options())
    for got, wanted in zip(backend.call(xc.conv_vjp, dz, x, w, **options), expected, strict=True):
        checks.demand(backend, got, wanted, dtype)


def check_max_pool(backend: Backend, case: Pool, dtype: str, ties: str, seed: int) -> None:
    """Values, indices and gradient of one geometry, on data full of ties."""
    a = arrays(case, dtype, seed=seed)
    x, dy = a["x"], a["dy"] * 12  # shares of up to four maxima stay whole
    y, indices = backend.call(xc.max_pool, x, case.window, return_indices=True, **case.options())
    expected, at = oracle.max_pool(x, case.window, **case.options())
    checks.demand(backend, y, expected, dtype)
    checks.demand(backend, indices, at, backend.index_dtype)
    options = {**case.options(), "ties": ties}
    wanted = oracle.max_pool_vjp(dy, x, case.window, **options)
    sizes = oracle.max_pool_vjp(abs(dy), x, case.window, **options) if ties == "split" else None
    got = backend.call(xc.max_pool_vjp, dy, x, case.window, **options)
    checks.demand(backend, got, wanted, dtype, sizes, taps(case) + 1)


def check_avg_pool(backend: Backend, case: Pool, padded: bool, dtype: str, seed: int) -> None:
    """Values and gradient of one geometry; a division may round."""
    x, dy = arrays(case, dtype, seed=seed).values()
    options = {**case.options(), "count_include_pad": padded}
    got = backend.call(xc.avg_pool, x, case.window, **options)
    wanted, sizes = (oracle.avg_pool(a, case.window, **options) for a in (x, abs(x)))
    checks.demand(backend, got, wanted, dtype, sizes, taps(case) + 1)
    got = backend.call(xc.avg_pool_vjp, dy, x.shape, case.window, **options)
    wanted, sizes = (oracle.avg_pool_vjp(a, x.shape, case.window, **options) for a in (dy, abs(dy)))
    checks.demand(backend, got, wanted, dtype, sizes, taps(case) + 1)


def check_pad(backend: Backend, shape: tuple, padding: object, layout: str) -> None:
    """Zeros around an array."""
    x = values(shape, 0, "float32", -3, 3)
    got = backend.call(xc.pad, x, padding, layout=layout)
    checks.demand(backend, got, oracle.pad(x, padding, layout=layout))


@settings(max_examples=sizes.count(200, 500, 20_000))
@given(strategies.convolutions(), FLOATS, st.sampled_from(ALGORITHMS), strategies.seeds)
def test_convolutions(numpy_backend: Backend, case: Conv, dtype: str, algorithm: str, seed: int) -> None:
    check_convolution(numpy_backend, case, dtype, algorithm, seed)


@settings(max_examples=sizes.count(100, 400, 8_000))
@given(strategies.pools(), FLOATS, st.sampled_from(["first", "all", "split"]), strategies.seeds)
def test_max_pools(numpy_backend: Backend, case: Pool, dtype: str, ties: str, seed: int) -> None:
    check_max_pool(numpy_backend, case, dtype, ties, seed)


@settings(max_examples=sizes.count(70, 300, 6_000))
@given(strategies.pools(), st.booleans(), FLOATS, strategies.seeds)
def test_avg_pools(numpy_backend: Backend, case: Pool, padded: bool, dtype: str, seed: int) -> None:
    check_avg_pool(numpy_backend, case, padded, dtype, seed)


@settings(max_examples=sizes.count(50, 100, 2_000))
@given(strategies.pads())
def test_pads(numpy_backend: Backend, pad: dict) -> None:
    check_pad(numpy_backend, **pad)


@pytest.mark.parametrize("name", ["strict-no-float64", "torch"])
@settings(max_examples=sizes.count(30, 100, 2_000))
@given(strategies.convolutions(), strategies.pools(), st.sampled_from(["first", "all", "split"]), strategies.seeds)
def test_other_backends(name: str, case: Conv, pool: Pool, ties: str, seed: int) -> None:
    """Arrays that cannot be strided, and arrays with strides of their own."""
    backend = backends.load(name)
    check_convolution(backend, case, "float32", "auto", seed)
    check_max_pool(backend, pool, "float32", ties, seed)
    check_avg_pool(backend, pool, bool(seed % 2), "float32", seed)


@settings(max_examples=sizes.count(50, 100, 2_000))
@given(strategies.convolutions(), strategies.pools())
def test_the_generators_build_legal_geometries(case: Conv, pool: Pool) -> None:
    """Every output has a pixel, groups divide, and a pool's padding is below its span: nothing was filtered."""
    assert min(sites(case).out) >= 1
    assert case.channels % case.groups == case.filters % case.groups == 0
    assert min(sites(pool).out) >= 1
    window, dilation = (oracle.per_axis(v, len(pool.size)) for v in (pool.window, pool.dilation))
    for k, d, pair in zip(window, dilation, sites(pool).pads, strict=True):
        assert max(pair) < d * (k - 1) + 1
