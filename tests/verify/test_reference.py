"""The verifier's definition against the tests' own: two texts of the same definition, neither knows the other."""

import numpy as np
import pytest

from tests import oracle
from xpconv.verify import cases, data, reference
from xpconv.verify.cases import CONV, PAD, POOL

SMALL_CONV = [name for name, setup in CONV.items() if setup.positions < 1000]
SMALL_POOL = [name for name, setup in POOL.items() if "many" not in name]


def numbers(setup, role, kind="whole"):
    drawn = data.draw(f"test/{role}", setup.shape(role), kind, "float64", 0)
    return drawn.values if drawn.numerators is None else drawn.numerators


def same(got, expected):
    np.testing.assert_array_equal(np.asarray(got, float), np.asarray(expected, float))


@pytest.mark.parametrize("name", SMALL_CONV)
def test_convolution(name):
    s = CONV[name]
    x, w, b, dz = (numbers(s, role) for role in ("x", "w", "b", "dz"))
    options = {"stride": s.stride, "padding": s.padding, "dilation": s.dilation, "groups": s.groups, "layout": s.layout}
    z = reference.conv(s.last(x), s.kernel_last(w), s.windows, s.groups) + b
    same(s.back(z), oracle.conv(x, w, b, **options))
    dx, dw, db = oracle.conv_vjp(dz, x, w, **options)
    same(s.back(reference.conv_input_grad(s.last(dz), s.kernel_last(w), s.windows, s.groups)), dx)
    same(s.kernel_back(reference.conv_weight_grad(s.last(dz), s.last(x), s.windows, s.groups)), dw)
    same(reference.bias_grad(s.last(dz)), db)


def pool_options(s):
    names = ("stride", "padding", "dilation", "ceil_mode", "layout")
    return {name: getattr(s, name) for name in names}


@pytest.mark.parametrize("kind", ["whole", "nan", "equal", "infinite"])
@pytest.mark.parametrize("name", SMALL_POOL)
def test_max_pooling(name, kind):
    s = POOL[name]
    x, dy = numbers(s, "x", kind).astype(float), numbers(s, "dy") * 2520
    y, where = reference.max_pool(s.last(x), s.windows)
    expected, places = oracle.max_pool(x, s.window, **pool_options(s))
    same(s.back(y), expected)
    same(s.back(where), places)
    for rule in ("first", "all", "split"):
        dx = reference.max_pool_vjp(s.last(dy), s.last(x), s.windows, rule)
        wanted = oracle.max_pool_vjp(dy.astype(float), x, s.window, ties=rule, **pool_options(s))
        np.testing.assert_allclose(s.back(dx).astype(float), wanted, rtol=1e-12)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("name", SMALL_POOL)
def test_average_pooling(name, padded):
    s = POOL[name]
    x, dy = numbers(s, "x"), numbers(s, "dy")
    options = pool_options(s) | {"count_include_pad": padded}
    y = reference.avg_pool(s.last(x), s.windows, padded)
    np.testing.assert_allclose(s.back(y).astype(float), oracle.avg_pool(x.astype(float), s.window, **options))
    dx = reference.avg_pool_vjp(s.last(dy), s.windows, padded)
    wanted = oracle.avg_pool_vjp(dy.astype(float), x.shape, s.window, **options)
    np.testing.assert_allclose(s.back(dx).astype(float), wanted, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in PAD if name != "large"])
def test_padding(name):
    s = PAD[name]
    x = numbers(s, "x")
    widths = ((0, 0), *s.pads, (0, 0))
    same(s.back(reference.pad(s.last(x), s.pads)), s.back(np.pad(s.last(x), widths)))


def test_the_arithmetic_is_exact():
    """Whole numbers beyond float64, and thirds."""
    s = cases.Conv((3,), (2,), batch=1, channels=1, filters=1)
    x, w = np.array([2**60, 1, 3], object).reshape(1, 3, 1), np.array([2**60, 1], object).reshape(2, 1, 1)
    assert reference.conv(x, w, s.windows, 1).ravel().tolist() == [2**120 + 1, 2**60 + 3]
    thirds = reference.avg_pool(np.ones((1, 3, 1), np.int64), cases.Pool((3,), 3).windows, True) / 3
    assert thirds.ravel().tolist() == [1 / 3]
    assert reference.divide(np.array([1, 3]), np.array([3, 3])).tolist() == [reference.Fraction(1, 3), 1]
    assert reference.divide(np.array([6, 3]), np.array([3, 3])).dtype == np.int64


def test_nothing_of_the_engine_is_imported():
    with open(reference.__file__, encoding="utf-8") as file:
        assert "xpconv" not in file.read()
