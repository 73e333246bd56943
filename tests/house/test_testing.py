"""The public helpers: what is right passes, what is wrong says where."""

import math

import numpy as np
import pytest

import xpconv as xc
from tests import backends
from tests.backends import Backend
from xpconv import testing
from xpconv.testing import Mismatch, assert_adjoint, assert_exact, assert_within_bound, max_ratio

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("actual", "expected", "bound", "ratio"),
    [
        ([1.0, 2.25], [1.0, 2.0], 0.5, 0.5),
        ([1.0, 2.25], [1.0, 2.0], [0.0, 0.125], 2.0),
        ([1, 2], [1, 2], 0, 0.0),
        ([1, 3], [1, 2], 0, INF),
        ([NAN, INF, -INF], [NAN, INF, -INF], 0, 0.0),
        ([NAN], [1.0], INF, INF),
        ([1.0], [NAN], 1.0, INF),
        ([INF], [1.0], 1.0, INF),
        ([INF], [-INF], 1.0, INF),
        ([3.0], [1.0], INF, 0.0),
        ([1 + 2j], [1 + 1j], 2.0, 0.5),
        ([], [], 1.0, 0.0),
        (2.0, 1.0, 4.0, 0.25),
        ([2**53 + 1], [2**53], 0.5, 2.0),
    ],
)
def test_max_ratio(actual, expected, bound, ratio):
    assert max_ratio(actual, expected, bound) == ratio
    if ratio <= 1:
        assert_within_bound(actual, expected, bound)
    else:
        with pytest.raises(Mismatch, match="off by more than their bound"):
            assert_within_bound(actual, expected, bound)


@pytest.mark.parametrize("bound", [-1.0, NAN, [1.0, -1e-30]])
def test_a_bound_is_a_number_from_0_up(bound):
    with pytest.raises(ValueError, match="from 0 up"):
        max_ratio([1.0, 1.0], [1.0, 1.0], bound)


def test_a_mismatch_says_where_and_what():
    actual, expected = np.zeros((2, 3)), np.zeros((2, 3))
    actual[1, 2] = 0.75
    with pytest.raises(Mismatch, match=r"1 of 6 .* \(1, 2\) by 3 times .*: expected 0.0, got 0.75") as caught:
        assert_within_bound(actual, expected, 0.25)
    assert (caught.value.index, caught.value.expected, caught.value.got) == ((1, 2), 0.0, 0.75)
    assert caught.value.ratio == 3
    with pytest.raises(Mismatch, match=r"1 of 6 elements differ, the first at \(1, 2\): expected 0.0, got 0.75"):
        assert_exact(actual, expected)
    assert issubclass(Mismatch, AssertionError)


@pytest.mark.parametrize("function", [assert_exact, lambda a, b: assert_within_bound(a, b, 9), assert_adjoint])
def test_shapes_never_broadcast(function):
    with pytest.raises(Mismatch, match="shape"):
        function(np.ones((2, 1)), np.ones((2, 2)))


def test_exact_compares_numbers():
    assert_exact(np.array([0.0, NAN, INF]), np.array([-0.0, NAN, INF], np.float32))
    assert_exact(np.array([True, False]), [True, False])
    assert_exact(np.array([3], np.int8), np.array([3.0]))
    assert_exact(np.zeros((0, 3)), np.ones((0, 3)))
    for wrong in ([1.0000001], [NAN], [-1.0]):
        with pytest.raises(Mismatch):
            assert_exact(np.array([1.0]), np.array(wrong))
    with pytest.raises(Mismatch, match="got 9007199254740993"):
        assert_exact(np.array([2**53 + 1]), np.array([2.0**53]))


def layer():
    rng = np.random.default_rng(3)
    x, w, dz = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((2, 5, 6, 3), (3, 2, 3, 4), (2, 3, 5, 4)))
    return x, w, dz, xc.conv(x, w), *xc.conv_vjp(dz, x, w)[:2]


def test_the_adjoint_identity():
    x, w, dz, z, dx, dw = layer()
    assert_adjoint(z, dz, (x, dx), (w, dw))
    wrong = dw.copy()
    wrong.flat[0] += 1
    for number, pairs in enumerate([((x, -dx), (w, dw)), ((x, dx), (w, wrong))]):
        with pytest.raises(Mismatch, match=f"pair {number} is not adjoint"):
            assert_adjoint(z, dz, *pairs)
    with pytest.raises(Mismatch, match=r"pair 0 is not adjoint.*expected -?[0-9]+, got -?[0-9]+\.[0-9]+"):
        assert_adjoint(z, dz, (x, dx * np.float32(1.001)))
    with pytest.raises(Mismatch, match="proves nothing"):
        assert_adjoint(0 * z, dz, (x, 0 * dx))
    with pytest.raises(Mismatch, match="not finite"):
        assert_adjoint(z, dz, (x, dx * np.float32(NAN)))


def test_the_adjoint_identity_is_exact_where_int64_is_not_enough():
    a, b = np.array([2.0**40, 1.0]), np.array([2.0**40, 1.0])
    assert_adjoint(a, b, (b, a))
    with pytest.raises(Mismatch, match="pair 0"):
        assert_adjoint(a, b, (np.array([2.0**40, 0.0]), a))
    with pytest.raises(Mismatch, match="pair 0"):
        assert_adjoint([0.5], [0.5], ([0.5], [0.5 + 2.0**-50]))
    assert_adjoint([0.5], [0.5], ([0.5], [0.5 + 2.0**-50]), tolerance=1e-12)


@pytest.mark.parametrize("name", ["numpy", "strict", "strict-device1", "torch", "jax", "dask", "dpnp"])
def test_arrays_of_every_library(name):
    backend: Backend = backends.load(name)
    x, w, dz, z, dx, dw = map(backend.asarray, layer())
    assert_adjoint(z, dz, (x, dx), (w, dw))
    assert_exact(z, layer()[3])
    assert max_ratio(z, layer()[3], z * z) == 0
    with pytest.raises(Mismatch):
        assert_exact(z + 1, layer()[3])


def test_backends_are_what_works_here():
    found = testing.backends()
    assert next(iter(found)) == "numpy"
    assert all(name == library.name for name, library in found.items())
    for library in found.values():
        np.testing.assert_array_equal(library.to_numpy(library.asarray(np.arange(3.0, dtype=np.float32))), [0, 1, 2])
    if "cupy" in found:
        assert found["cupy"].device_name.startswith("cuda")


def test_something_else_is_no_array():
    with pytest.raises(TypeError):
        assert_exact("text", [1])
