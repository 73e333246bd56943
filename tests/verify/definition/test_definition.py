"""The verifier's definition against the tests' own: two texts of the same definition, neither knows the other."""

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests import oracle
from tests.cases import COLUMNS, CONV, CUT, PAD, POOL, TRANSPOSE
from tests.every import every
from xpconv.verify import definition
from xpconv.verify.catalogue import data, pooling
from xpconv.verify.catalogue.cases import UNPOOL
from xpconv.verify.catalogue.setups import Conv, Pool
from xpconv.verify.catalogue.tasks import OPERATIONS, find
from xpconv.verify.definition.convolution import conv
from xpconv.verify.definition.gauss import Gauss
from xpconv.verify.definition.pooling import avg_pool, divide
from xpconv.verify.judge.oracle import Oracle

SMALL_CONV = [name for name, setup in CONV.items() if setup.positions < 1000]
SMALL_POOL = [name for name, setup in POOL.items() if "many" not in name]


def numbers(setup, role, kind="whole"):
    drawn = data.draw(f"test/{role}", setup.shape(role), kind, "float64", 0)
    return drawn.values if drawn.numerators is None else drawn.numerators


def define(name, setup, variant="", **arrays):
    """What the operation of that name is defined to give, in the setup's layout."""
    operation = next(one for one in OPERATIONS if (one.name, one.variant) == (name, variant))
    turned = {role: setup.last(role, array) for role, array in arrays.items()}
    results = operation.define(setup, turned, 1)
    return tuple(setup.back(name, result) for name, result in zip(operation.results, results, strict=True))


def same(got, expected):
    np.testing.assert_array_equal(np.asarray(got, float), np.asarray(expected, float))


@every("name", SMALL_CONV)
def test_convolution(name):
    s = CONV[name]
    x, w, b, dz = (numbers(s, role) for role in ("x", "w", "b", "dz"))
    options = {"stride": s.stride, "padding": s.padding, "dilation": s.dilation, "groups": s.groups, "layout": s.layout}
    options["padding_mode"] = s.padding_mode
    (z,) = define("conv", s, x=x, w=w, b=b)
    same(z, oracle.conv(x, w, b, **options))
    wanted = oracle.conv_vjp(dz, x, w, **options)
    for got, expected in zip(define("conv_vjp", s, dz=dz, x=x, w=w), wanted, strict=True):
        same(got, expected)
    same(define("conv_input_grad", s, dz=dz, w=w)[0], wanted[0])
    same(define("conv_weight_grad", s, dz=dz, x=x)[0], wanted[1])


def pool_options(s):
    names = ("stride", "padding", "dilation", "ceil_mode", "layout")
    return {name: getattr(s, name) for name in names}


@every("name, kind", itertools.product(SMALL_POOL, ["whole", "nan", "equal", "infinite"]))
def test_max_pooling(name, kind):
    s = POOL[name]
    x, dy = numbers(s, "x", kind).astype(float), numbers(s, "dy") * 2520
    y, where = define("max_pool", s, "indices", x=x)
    expected, places = oracle.max_pool(x, s.window, **pool_options(s))
    same(y, expected)
    same(where, places)
    for rule in ("first", "all", "split"):
        (dx,) = define("max_pool_vjp", s, rule, dy=dy, x=x)
        wanted = oracle.max_pool_vjp(dy.astype(float), x, s.window, ties=rule, **pool_options(s))
        np.testing.assert_allclose(dx.astype(float), wanted, rtol=1e-12)


@every("name, padded", itertools.product(SMALL_POOL, [True, False]))
def test_average_pooling(name, padded):
    s = POOL[name]
    x, dy = numbers(s, "x"), numbers(s, "dy")
    options = pool_options(s) | {"count_include_pad": padded}
    variant = "" if padded else "count-inside"
    (y,) = define("avg_pool", s, variant, x=x)
    np.testing.assert_allclose(y.astype(float), oracle.avg_pool(x.astype(float), s.window, **options))
    (dx,) = define("avg_pool_vjp", s, variant, dy=dy)
    wanted = oracle.avg_pool_vjp(dy.astype(float), x.shape, s.window, **options)
    np.testing.assert_allclose(dx.astype(float), wanted, atol=1e-12)


TABLES = {"transpose": TRANSPOSE, "pad": PAD, "cut": CUT, "unpool": UNPOOL, "columns": COLUMNS}
SMALL = {
    name: [case for case in table if "large" not in case and "many-tiles" not in case] for name, table in TABLES.items()
}


@every("name", SMALL["transpose"])
def test_transposed_convolution(name):
    s = TRANSPOSE[name]
    x, w, b, dz = (numbers(s, role) for role in ("x", "w", "b", "dz"))
    options = {
        name: getattr(s, name) for name in ("stride", "padding", "output_padding", "dilation", "groups", "layout")
    }
    same(define("conv_transpose", s, x=x, w=w, b=b)[0], oracle.conv_transpose(x, w, b, **options))
    wanted = oracle.conv_transpose_vjp(dz, x, w, **options)
    for got, expected in zip(define("conv_transpose_vjp", s, dz=dz, x=x, w=w), wanted, strict=True):
        same(got, expected)


@every("name", SMALL["pad"])
def test_padding(name):
    s = PAD[name]
    x, dy = numbers(s, "x"), numbers(s, "dy")
    same(define("pad", s, x=x)[0], oracle.pad(x, s.padding, mode=s.mode, layout=s.layout))
    wanted = oracle.pad_vjp(dy, x.shape, s.padding, mode=s.mode, layout=s.layout)
    same(define("pad_vjp", s, dy=dy)[0], wanted)


@every("name", SMALL["columns"])
def test_windows_as_an_array(name):
    s = COLUMNS[name]
    x, cols = numbers(s, "x"), numbers(s, "cols")
    options = {name: getattr(s, name) for name in ("stride", "padding", "dilation", "layout")}
    same(define("unfold", s, x=x)[0], oracle.unfold(x, s.window, **options))
    same(define("fold", s, cols=cols)[0], oracle.fold(cols, x.shape, s.window, **options))


@every("name", SMALL["cut"])
def test_adaptive_pooling(name):
    s = CUT[name]
    x, dy = numbers(s, "x").astype(float), numbers(s, "dy")
    y, where = define("adaptive_max_pool", s, "indices", x=x)
    wanted, places = oracle.adaptive_max_pool(x, s.out, layout=s.layout)
    same(y, wanted)
    same(where, places)
    (dx,) = define("adaptive_max_pool_vjp", s, x=x, dy=dy)
    same(dx, oracle.adaptive_max_pool_vjp(dy, x, s.out, layout=s.layout))
    (y,) = define("adaptive_avg_pool", s, x=numbers(s, "x"))
    np.testing.assert_allclose(y.astype(float), oracle.adaptive_avg_pool(x, s.out, layout=s.layout), atol=1e-12)
    (dx,) = define("adaptive_avg_pool_vjp", s, dy=dy)
    wanted = oracle.adaptive_avg_pool_vjp(dy.astype(float), x, s.out, layout=s.layout)
    np.testing.assert_allclose(dx.astype(float), wanted, atol=1e-12)


@every("name", SMALL["unpool"])
def test_unpooling(name):
    s = UNPOOL[name]
    drawn = Oracle(0).data(find(f"max_unpool/{name}/whole/float32"))
    y, indices = drawn["y"].values, drawn["indices"].values
    assert indices.shape == y.shape
    assert indices.max(initial=-1) < np.prod(s.plane)
    planes = s.last("indices", indices).reshape(s.batch, int(np.prod(s.size)), s.channels)
    for plane in np.moveaxis(planes, 1, -1).reshape(-1, planes.shape[1]):
        kept = plane[plane >= 0].tolist()
        assert len(set(kept)) == len(kept)  # else the result would depend on an order
    (x,) = define("max_unpool", s, y=y, indices=indices)
    same(x, oracle.max_unpool(y, indices, s.out, layout=s.layout))


@pytest.mark.parametrize("p", pooling.ORDERS)
@pytest.mark.parametrize("name", ["2-rest", "3-stride-2-padded-ceil", "dilated-padded", "windows-outside", "1d-first"])
def test_lp_pooling(name, p):
    s = POOL[name]
    x, dy = numbers(s, "x"), numbers(s, "dy")
    x[0] = 0
    (y,) = define("lp_pool", s, f"p-{float(p):g}", x=x)
    np.testing.assert_allclose(
        y.astype(float), oracle.lp_pool(x.astype(float), p, s.window, **pool_options(s)), rtol=1e-14
    )
    (dx,) = define("lp_pool_vjp", s, f"p-{float(p):g}", dy=dy, x=x)
    wanted = oracle.lp_pool_vjp(dy.astype(float), x.astype(float), p, s.window, **pool_options(s))
    np.testing.assert_allclose(dx.astype(float), wanted, atol=1e-12)


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
    assert conv(x, w, at, 1).ravel().tolist() == [a * b + b * Gauss(0, 1), b * b + 5 * Gauss(0, 1)]


def test_the_arithmetic_is_exact():
    """Whole numbers beyond float64, and thirds."""
    s = Conv((3,), (2,), batch=1, channels=1, filters=1)
    x, w = np.array([2**60, 1, 3], object).reshape(1, 3, 1), np.array([2**60, 1], object).reshape(2, 1, 1)
    assert conv(x, w, s.windows, 1).ravel().tolist() == [2**120 + 1, 2**60 + 3]
    thirds = avg_pool(np.ones((1, 3, 1), np.int64), Pool((3,), 3).windows, True) / 3
    assert thirds.ravel().tolist() == [1 / 3]
    assert divide(np.array([1, 3]), np.array([3, 3])).tolist() == [Fraction(1, 3), 1]
    assert divide(np.array([6, 3]), np.array([3, 3])).dtype == np.int64


def test_nothing_of_the_engine_is_imported():
    """Nor anything else of the package: the definition stands on NumPy and the standard library alone."""
    found = 0
    for path in Path(definition.__file__).parent.glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "xpconv" in line:
                assert line.startswith("from xpconv.verify.definition.")
                found += 1
    assert found
