"""Adaptive pooling beyond the catalogue: NaN among infinities, sizes of many tiles, PyTorch's."""

import math

import numpy as np
import pytest

import xpconv as xc
from tests import checks, oracle
from tests.backends import Backend
from tests.cases import CUT, FIRST, Shape, arrays, values, whole
from tests.ops.tiled import tiled
from tests.sizes import full
from xpconv.testing import assert_adjoint

ALL = ["numpy", "numpy-readonly", "strict-device1", "torch", "jax-jit", "dask", "cupy", "dpnp"]
BACKENDS = full(ALL, ["numpy", "strict-device1", "torch", "cupy", "dpnp"])


@pytest.mark.parametrize("name", ["even", "uneven", "uneven-int-first", "up-and-down", "1d"])
@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_maxima_propagate_nan(backend: Backend, name: str) -> None:
    """The first NaN of a window takes the value, the index and the gradient; minus infinity is a number."""
    case = CUT[name]
    x, dy = arrays(case).values()
    flat = x.reshape(-1)
    flat[::5], flat[1::7], flat[2::9] = np.nan, -np.inf, np.inf
    wanted, at = oracle.adaptive_max_pool(x, case.out, **case.options())
    assert np.isnan(wanted).any()
    y, indices = backend.call(xc.adaptive_max_pool, x, case.out, return_indices=True, **case.options())
    checks.demand(backend, y, wanted)
    checks.demand(backend, indices, at, backend.index_dtype)
    got = backend.call(xc.adaptive_max_pool_vjp, dy, x, case.out, **case.options())
    checks.demand(backend, got, oracle.adaptive_max_pool_vjp(dy, x, case.out, **case.options()))


@tiled
@pytest.mark.parametrize("parts", [(7, 9), (64, 100), (200, 31)])
@pytest.mark.parametrize("dtype", ["float64"])
def test_adjoint_of_averages(backend: Backend, parts: Shape, dtype: str, mebibytes: int) -> None:
    """Data in multiples of every window's size: each division is exact."""
    shape = (2, 96, 77, 8)
    common = math.lcm(*{len(pixels) for _, pixels in oracle.adaptive_windows(shape[1:-1], parts)})
    assert 3 * common * 96 * 77 < 2**53  # every sum is exact in float64
    x, dy = (whole(s, i, dtype) * common for i, s in enumerate((shape, (2, *parts, 8))))
    with xc.set_options(max_workspace=mebibytes << 20):
        y = backend.to_numpy(backend.call(xc.adaptive_avg_pool, x, parts))
        dx = backend.to_numpy(backend.call(xc.adaptive_avg_pool_vjp, dy, x, parts))
    assert_adjoint(y, dy, (x, dx))


@tiled
@pytest.mark.parametrize("parts", [(7, 9), (64, 100)])
def test_maxima_where_they_are_linear(backend: Backend, parts: Shape, mebibytes: int) -> None:
    """⟨y, dy⟩ = ⟨x, dx⟩, for a window's gradient goes to a pixel that has the window's value."""
    x, dy = values((2, 96, 77, 8), 1, "float32", -50, 50), whole((2, *parts, 8), 2)
    with xc.set_options(max_workspace=mebibytes << 20):
        y = backend.to_numpy(backend.call(xc.adaptive_max_pool, x, parts))
        dx = backend.to_numpy(backend.call(xc.adaptive_max_pool_vjp, dy, x, parts))
    assert_adjoint(y, dy, (x, dx))


@pytest.mark.needs("torch")
@pytest.mark.parametrize("parts", [(4, 3), (2, 7), (10, 8)])
def test_it_is_pytorchs(parts: Shape) -> None:
    import torch

    x = whole((2, 4, 9, 7), 1, "float64")
    y, indices = xc.adaptive_max_pool(x, parts, return_indices=True, layout=FIRST)
    theirs = torch.nn.functional.adaptive_max_pool2d(torch.asarray(x), parts, return_indices=True)
    np.testing.assert_array_equal(y, theirs[0].numpy())
    np.testing.assert_array_equal(indices, theirs[1].numpy())
    scaled = x * math.lcm(*{len(p) for _, p in oracle.adaptive_windows((9, 7), parts)})
    means = torch.nn.functional.adaptive_avg_pool2d(torch.asarray(scaled), parts)
    np.testing.assert_array_equal(xc.adaptive_avg_pool(scaled, parts, layout=FIRST), means.numpy())
