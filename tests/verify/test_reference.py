"""The verifier's definition against the tests' own: two texts of the same definition, neither knows the other."""

from fractions import Fraction

import numpy as np
import pytest

from tests import oracle
from tests.cases import COLUMNS, CONV, CUT, PAD, POOL, TRANSPOSE
from xpconv.verify.catalogue import convolution as operations
from xpconv.verify.catalogue import copies as windows
from xpconv.verify.catalogue import data, pooling
from xpconv.verify.catalogue.cases import UNPOOL
from xpconv.verify.catalogue.setups import Conv, Pool
from xpconv.verify.catalogue.tasks import find
from xpconv.verify.check.oracle import Oracle
from xpconv.verify.definition import norms, reference
from xpconv.verify.definition.gauss import Gauss

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
    options["padding_mode"] = s.padding_mode
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


SMALL = {table: [n for n in rows if "large" not in n and "many-tiles" not in n] for table, rows in
         {"transpose": TRANSPOSE, "pad": PAD, "cut": CUT, "unpool": UNPOOL, "columns": COLUMNS}.items()}  # fmt: skip


@pytest.mark.parametrize("name", SMALL["transpose"])
def test_transposed_convolution(name):
    s = TRANSPOSE[name]
    x, w, b, dz = (numbers(s, role) for role in ("x", "w", "b", "dz"))
    arrays = {"x": x, "w": w, "b": b, "dz": dz}
    options = {
        name: getattr(s, name) for name in ("stride", "padding", "output_padding", "dilation", "groups", "layout")
    }
    same(operations.conv_transpose(s, arrays, 1)[0], oracle.conv_transpose(x, w, b, **options))
    wanted = oracle.conv_transpose_vjp(dz, x, w, **options)
    for got, expected in zip(operations.conv_transpose_vjp(s, arrays, 1), wanted, strict=True):
        same(got, expected)


@pytest.mark.parametrize("name", SMALL["pad"])
def test_padding(name):
    s = PAD[name]
    x, dy = numbers(s, "x"), numbers(s, "dy")
    same(windows.pad(s, {"x": x}, 1)[0], oracle.pad(x, s.padding, mode=s.mode, layout=s.layout))
    wanted = oracle.pad_vjp(dy, x.shape, s.padding, mode=s.mode, layout=s.layout)
    same(windows.pad_vjp(s, {"dy": dy}, 1)[0], wanted)


@pytest.mark.parametrize("name", SMALL["columns"])
def test_windows_as_an_array(name):
    s = COLUMNS[name]
    x, cols = numbers(s, "x"), numbers(s, "cols")
    options = {name: getattr(s, name) for name in ("stride", "padding", "dilation", "layout")}
    same(windows.unfold(s, {"x": x}, 1)[0], oracle.unfold(x, s.window, **options))
    same(windows.fold(s, {"cols": cols}, 1)[0], oracle.fold(cols, x.shape, s.window, **options))


@pytest.mark.parametrize("name", SMALL["cut"])
def test_adaptive_pooling(name):
    s = CUT[name]
    x, dy = numbers(s, "x").astype(float), numbers(s, "dy")
    y, where = pooling.max_pool(s, {"x": x}, 1)
    wanted, places = oracle.adaptive_max_pool(x, s.out, layout=s.layout)
    same(y, wanted)
    same(where, places)
    (dx,) = pooling.max_pool_vjp("first")(s, {"x": x, "dy": dy}, 1)
    same(dx, oracle.adaptive_max_pool_vjp(dy, x, s.out, layout=s.layout))
    (y,) = pooling.avg_pool()(s, {"x": numbers(s, "x")}, 1)
    np.testing.assert_allclose(y.astype(float), oracle.adaptive_avg_pool(x, s.out, layout=s.layout), atol=1e-12)
    (dx,) = pooling.avg_pool_vjp()(s, {"dy": dy}, 1)
    wanted = oracle.adaptive_avg_pool_vjp(dy.astype(float), x, s.out, layout=s.layout)
    np.testing.assert_allclose(dx.astype(float), wanted, atol=1e-12)


@pytest.mark.parametrize("name", SMALL["unpool"])
def test_unpooling(name):
    s = UNPOOL[name]
    drawn = Oracle(0).data(find(f"max_unpool/{name}/whole/float32"))
    y, indices = drawn["y"].values, drawn["indices"].values
    size = reference.per_axis(s.out, len(s.size))
    assert indices.shape == y.shape
    assert indices.max(initial=-1) < np.prod(size)
    planes = s.last(indices).reshape(s.batch, int(np.prod(s.size)), s.channels)
    for plane in np.moveaxis(planes, 1, -1).reshape(-1, planes.shape[1]):
        kept = plane[plane >= 0].tolist()
        assert len(set(kept)) == len(kept)  # else the result would depend on an order
    (x,) = pooling.max_unpool(s, {"y": y, "indices": indices}, 1)
    same(x, oracle.max_unpool(y, indices, s.out, layout=s.layout))


@pytest.mark.parametrize("p", pooling.ORDERS)
@pytest.mark.parametrize("name", ["2-rest", "3-stride-2-padded-ceil", "dilated-padded", "windows-outside", "1d-first"])
def test_lp_pooling(name, p):
    s = POOL[name]
    x, dy = numbers(s, "x"), numbers(s, "dy")
    x[0] = 0
    y = s.back(norms.lp_pool(s.last(x), s.windows, p)).astype(float)
    np.testing.assert_allclose(y, oracle.lp_pool(x.astype(float), p, s.window, **pool_options(s)), rtol=1e-14)
    dx = s.back(norms.lp_pool_vjp(s.last(dy), s.last(x), s.windows, p)).astype(float)
    wanted = oracle.lp_pool_vjp(dy.astype(float), x.astype(float), p, s.window, **pool_options(s))
    np.testing.assert_allclose(dx, wanted, atol=1e-12)


def test_complex_numbers_are_exact():
    a, b = Gauss(3, 2**60), Gauss(-1, 1)
    product = a * b
    assert (product.real, product.imag) == (-3 - 2**60, 3 - 2**60)
    assert 0 + a == a == a + 0 == Gauss(3, 2**60)
    assert a * Fraction(1, 3) == Gauss(1, Fraction(2**60, 3))
    assert a.conjugate() == Gauss(3, -(2**60))
    assert abs(Gauss(3, 4)) == 5
    assert abs(Gauss(1, 1)) == 2
    assert abs(Gauss(0)) == 0
    x = np.array([a, b, 5], object).reshape(1, 3, 1)
    w = np.array([b, Gauss(0, 1)], object).reshape(2, 1, 1)
    at = Conv((3,), (2,), batch=1, channels=1, filters=1).windows
    assert reference.conv(x, w, at, 1).ravel().tolist() == [a * b + b * Gauss(0, 1), b * b + 5 * Gauss(0, 1)]


def test_the_arithmetic_is_exact():
    """Whole numbers beyond float64, and thirds."""
    s = Conv((3,), (2,), batch=1, channels=1, filters=1)
    x, w = np.array([2**60, 1, 3], object).reshape(1, 3, 1), np.array([2**60, 1], object).reshape(2, 1, 1)
    assert reference.conv(x, w, s.windows, 1).ravel().tolist() == [2**120 + 1, 2**60 + 3]
    thirds = reference.avg_pool(np.ones((1, 3, 1), np.int64), Pool((3,), 3).windows, True) / 3
    assert thirds.ravel().tolist() == [1 / 3]
    assert reference.divide(np.array([1, 3]), np.array([3, 3])).tolist() == [reference.Fraction(1, 3), 1]
    assert reference.divide(np.array([6, 3]), np.array([3, 3])).dtype == np.int64


def test_nothing_of_the_engine_is_imported():
    with open(reference.__file__, encoding="utf-8") as file:
        assert "xpconv" not in file.read()
