"""Gradients of pooling by other means than a definition: finite differences, results by hand, indices."""

import math

import numpy as np
import pytest

import xpconv as xc
from tests import checks, oracle
from tests.backends import Backend
from tests.cases import POOL, values


@pytest.mark.parametrize("name", ["2-rest", "3-stride-2-padded", "dilated-padded", "1d", "3d"])
def test_max_pool_vjp_is_the_slope_on_distinct_values(name: str) -> None:
    """A finite difference, exact: the values are whole and 2 apart, and no step of 1 changes who wins."""
    case = POOL[name]
    shape, options = case.shape("x"), case.options()
    x = 2.0 * np.random.default_rng(1).permutation(math.prod(shape)).reshape(shape)
    dy = values(case.shape("dy"), 2, "float64", -3, 3)
    dx = xc.max_pool_vjp(dy, x, case.window, **options)
    before = (xc.max_pool(x, case.window, **options) * dy).sum()
    for index in np.ndindex(shape):
        stepped = x.copy()
        stepped[index] += 1
        slope = (xc.max_pool(stepped, case.window, **options) * dy).sum() - before
        assert slope == dx[index]


def test_ties_by_hand() -> None:
    x = np.array([[3.0, 3.0], [1.0, 3.0]], np.float32).reshape(1, 2, 2, 1)
    dy = np.full((1, 1, 1, 1), 6, np.float32)
    for ties, expected in {"first": [6, 0, 0, 0], "all": [6, 6, 0, 6], "split": [2, 2, 0, 2]}.items():
        assert xc.max_pool_vjp(dy, x, 2, ties=ties).ravel().tolist() == expected


def test_overlapping_windows_accumulate(numpy_backend: Backend) -> None:
    """One pixel that wins all nine windows gets nine gradients; every pixel of an average gets its part of each."""
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 2, 2] = 1
    dy = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
    dx = xc.max_pool_vjp(dy, x, 3, stride=1)
    assert dx[0, 2, 2, 0] == 45
    assert dx.sum() == 45
    dx = xc.avg_pool_vjp(dy * 9, x.shape, 3, stride=1)
    checks.demand(numpy_backend, dx, oracle.avg_pool_vjp(dy * 9, x.shape, 3, stride=1), magnitude=dx, terms=10)
    assert dx[0, 2, 2, 0] == pytest.approx(45, rel=1e-6)


def test_gradient_of_a_max_pool_follows_its_indices() -> None:
    """Scattering dy to the indices that the forward pass gives is the gradient with `ties="first"`."""
    x, dy = (values(shape, i, "float64", -3, 3) for i, shape in enumerate(((2, 7, 8, 3), (2, 4, 4, 3))))
    options = {"stride": 2, "padding": 1}
    _, indices = xc.max_pool(x, 3, return_indices=True, **options)
    scattered = np.zeros((2, 56, 3))
    for n, i, j, c in np.ndindex(indices.shape):
        scattered[n, indices[n, i, j, c], c] += dy[n, i, j, c]
    np.testing.assert_array_equal(xc.max_pool_vjp(dy, x, 3, **options), scattered.reshape(x.shape))


def test_input_shape_may_be_a_list(numpy_backend: Backend) -> None:
    dy = values((2, 2, 2, 3), 0, "float32", -3, 3)
    got = xc.avg_pool_vjp(dy, [2, 4, 5, 3], 2)
    checks.demand(numpy_backend, got, oracle.avg_pool_vjp(dy, (2, 4, 5, 3), 2))
