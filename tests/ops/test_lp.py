"""Lp pooling beyond the catalogue: a power that is not a half of a whole number, extremes, NaN, PyTorch's."""

import math

import numpy as np
import pytest

import xpconv as xc
from tests import checks, oracle
from tests.backends import Backend
from tests.cases import FIRST, POOL, arrays, taps, whole
from tests.sizes import full

ALL = ["numpy", "numpy-readonly", "strict-device1", "torch", "jax-jit", "dask", "cupy", "dpnp"]
BACKENDS = full(ALL, ["numpy", "strict-device1", "torch", "cupy", "dpnp"])
POW = 4  # units of roundoff that a power may be off by: two units in the last place, as every library's is
POWERS = (0.5, 1, 2, 3.5, math.inf)
NAMES = ("3-stride-2-padded-ceil", "pairs-first", "dilated-padded", "no-tap-inside", "empty-batch", "1d-first")


def norm_units(p: float, taps: int) -> float:
    """Units of roundoff of a p-norm of so many taps, each scaled by the largest; none for p = infinity.

    A scaled magnitude (1 unit) to the power p: p + POW units, and the additions: taps - 1 more, all of numbers above 0.
    The root divides that by p and adds POW; its exponent 1 / p, rounded, adds log(sum) / p, the sum being at least
    1 and at most `taps`; the scale adds 1.
    """
    if p == math.inf:
        return 0
    return (p + POW + taps - 1 + math.log(taps)) / p + POW + 1


def slope_units(p: float, taps: int) -> float:
    """Units of roundoff of a gradient: slope, sign and product of a window, and as many additions as windows meet."""
    if p == math.inf:
        return 2 + taps
    return abs(p - 1) * (norm_units(p, taps) + 1) + POW + 2 + taps


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", ["numpy", "torch", "cupy", "dpnp"], indirect=True)
def test_a_power_between(backend: Backend, name: str, dtype: str) -> None:
    case, p = POOL[name], 3.5
    x, dy = arrays(case, dtype, exact=False).values()
    options, count = case.options(), taps(case)
    y = oracle.lp_pool(x, p, case.window, **options)
    got = backend.call(xc.lp_pool, x, p, case.window, **options)
    checks.demand(backend, got, y, dtype, y, math.ceil(norm_units(p, count)))
    dx, size = (oracle.lp_pool_vjp(f(dy), f(x), p, case.window, **options) for f in (np.asarray, abs))
    got = backend.call(xc.lp_pool_vjp, dy, x, p, case.window, **options)
    checks.demand(backend, got, dx, dtype, size, math.ceil(slope_units(p, count)))


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_zeros_and_extremes(backend: Backend, p: float) -> None:
    """An all-zero window has no slope; squares of 1e±30 leave float32's range and the norm does not."""
    zeros = np.zeros((1, 4, 1), np.float32)
    checks.demand(backend, backend.call(xc.lp_pool, zeros, p, 2), np.zeros((1, 2, 1)))
    checks.demand(backend, backend.call(xc.lp_pool_vjp, np.ones((1, 2, 1), np.float32), zeros, p, 2), zeros)
    x = np.array([1e30, -1e30, 1e-30, 1e-30], np.float32).reshape(1, 4, 1)
    y = oracle.lp_pool(x, p, 2)
    units = math.ceil(norm_units(p, 2))
    checks.demand(backend, backend.call(xc.lp_pool, x, p, 2), y, magnitude=y, terms=units)


def test_equal_magnitudes_share_the_gradient_of_the_largest(numpy_backend: Backend) -> None:
    x = np.array([[2.0], [-2.0], [1.0], [-3.0]])[None]
    dx = xc.lp_pool_vjp(np.array([[[6.0], [5.0]]]), x, math.inf, 2)
    checks.demand(numpy_backend, dx, [[[3.0], [-3.0], [0.0], [-5.0]]], "float64")


@pytest.mark.parametrize("p", POWERS)
def test_nan_and_infinity(numpy_backend: Backend, p: float) -> None:
    """Each reaches the windows that contain it and no other."""
    x = np.array([1.0, np.nan, 3.0, 0.0, np.inf, 2.0]).reshape(1, 6, 1)
    y = xc.lp_pool(x, p, 2)
    np.testing.assert_array_equal(y, np.array([np.nan, 3, np.inf]).reshape(1, 3, 1))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("p", POWERS)
def test_a_pixel_that_no_window_reads_has_no_gradient(numpy_backend: Backend, p: float, value: float) -> None:
    x = np.array([1.0, 2.0, value, 4.0, 3.0, value]).reshape(1, 6, 1)
    dx = xc.lp_pool_vjp(np.ones((1, 2, 1)), x, p, 2, stride=3)
    assert dx[0, 2, 0] == 0
    assert dx[0, 5, 0] == 0
    assert np.isfinite(dx).all()


@pytest.mark.needs("torch")
def test_it_is_pytorchs() -> None:
    """PyTorch divides nothing either: (Σ x^p)^(1/p), which rounds."""
    import torch

    x = whole((2, 4, 9, 7), 1, "float64")
    y = xc.lp_pool(x, 2, 3, stride=2, layout=FIRST)
    bound = checks.tolerance(y, 2 * math.ceil(norm_units(2, 9)), "float64")
    theirs = torch.nn.functional.lp_pool2d(abs(torch.asarray(x)), 2, 3, stride=2)
    checks.demand_close(y, theirs.numpy(), bound)
