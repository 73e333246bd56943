"""One check: what a failure shows, the line that shows it again, and bounds that mean something."""

import importlib
import itertools
from fractions import Fraction

import numpy as np
import pytest

import xpconv
from tests.definition import ORACLE
from tests.verify.planted import flipped
from xpconv._tools import libraries as _libraries
from xpconv._tools.libraries import LibraryError
from xpconv.verify import draw
from xpconv.verify.catalogue.dtypes import COMPLEX, DTYPES, INTEGERS
from xpconv.verify.catalogue.tasks import tasks
from xpconv.verify.judge import bench
from xpconv.verify.judge.bench import Bench
from xpconv.verify.judge.oracle import Exact, Oracle, _bound


def task(name, case, tier, kind=None, dtype="float32"):
    return next(
        t for t in tasks((dtype,), (name,)) if t.case == case and t.tier == tier and (kind is None or t.kind == kind)
    )


def test_a_failure_shows_what_it_is(monkeypatch):
    monkeypatch.setattr(xpconv, "conv", flipped)
    result = Bench(_libraries.load("numpy"), ORACLE).check(task("conv", "same", "exact"))
    assert (result.passed, result.backend, result.digest) == (False, "numpy", None)
    assert result.expected != result.got
    assert "conv(x, w, b, padding='same'" in result.line


LINES = [
    ("conv", "same", "exact"),
    ("conv_vjp", "pairs", "bound"),
    ("conv_backward", "f-3-pad-0", "exact"),
    ("conv_single_step", "3x3x2", "exact"),
    ("max_pool", "pairs-first", "exact"),
    ("pool_forward", "f-2-stride-2", "bound"),
]


@pytest.mark.parametrize("backend", ["numpy", "strict", "torch", "dask"])
@pytest.mark.parametrize(("name", "case", "tier"), LINES)
def test_the_line_shows_the_failure_again(monkeypatch, capsys, name, case, tier, backend):
    """The printed line is run as it stands, with the fault still in place, and prints what was got."""
    good = getattr(xpconv, name)

    def spoil(found):
        if isinstance(found, tuple):
            return (spoil(found[0]), *found[1:])
        return found + 3

    monkeypatch.setattr(xpconv, name, lambda *a, **o: spoil(good(*a, **o)))
    result = Bench(_libraries.load(backend), ORACLE).check(task(name, case, tier))
    assert not result.passed
    assert "\n" not in result.line
    exec(result.line, {})
    assert float(capsys.readouterr().out) == pytest.approx(float(result.got), rel=1e-6)
    monkeypatch.undo()
    exec(result.line, {})
    assert float(capsys.readouterr().out) == pytest.approx(float(result.expected), rel=1e-6)


@pytest.mark.parametrize(("name", "case"), [("conv_vjp", "1d"), ("avg_pool_vjp", "2-rest"), ("conv_weight_grad", "1d")])
def test_the_line_of_an_adjoint_raises_again(monkeypatch, name, case):
    good = getattr(xpconv, name)
    negate = lambda g: tuple(-part for part in g) if isinstance(g, tuple) else -g  # noqa: E731
    result = Bench(_libraries.load("numpy"), ORACLE).check(task(name, case, "adjoint"))
    assert result.passed
    monkeypatch.setattr(xpconv, name, lambda *a, **o: negate(good(*a, **o)))
    result = Bench(_libraries.load("numpy"), ORACLE).check(task(name, case, "adjoint"))
    with pytest.raises(AssertionError, match="not adjoint"):
        exec(result.line, {})
    monkeypatch.undo()
    exec(result.line, {})


def test_draw_gives_the_data_of_the_run():
    lib, dz, x, w = draw("conv_vjp/1d/whole/float32", "numpy", 0)
    assert lib.name == "numpy"
    names = {"dz": dz, "x": x, "w": w}
    for name, drawn in ORACLE.data(task("conv_vjp", "1d", "exact")).items():
        np.testing.assert_array_equal(names[name], drawn.values)
    with pytest.raises(ValueError, match="no case"):
        draw("conv/none/whole/float32")
    with pytest.raises(LibraryError, match="unknown backend"):
        draw("conv_vjp/1d/whole/float32", "abacus")


def test_the_bound_sees_more_digits_than_float64():
    """1 + 2**-60 in float64 is 1, which is off by 2**-60: the rest of the exact result is not lost."""
    exact = Exact(np.array([1.0]), np.array([2.0**-60]))
    assert bench._demand_bound("z", 0, np.array([1.0]), exact, np.array([2.0**-58])) == 0.25
    with pytest.raises(bench.Finding):
        bench._demand_bound("z", 0, np.array([1.0]), exact, np.array([2.0**-61]))


def test_exact_results_are_split_without_loss():
    oracle = Oracle(3)
    for source in ("conv/same/wide/float64", "avg_pool/3-overlapping/signed/float64"):
        name, case, kind, dtype = source.split("/")
        chosen = task(name, case, "bound", kind, dtype)
        (exact,) = oracle.exact(chosen)
        assert exact.rest.any()
        assert (abs(exact.rest) <= abs(exact.nearest) * 2.0**-53).all()
    drawn = oracle.data(chosen)["x"]
    y = sum(Fraction(int(n), drawn.one) for n in drawn.numerators[0, :2, :2, 0].ravel()) / 9
    assert Fraction(exact.nearest[0, 0, 0, 0]) + Fraction(exact.rest[0, 0, 0, 0]) == pytest.approx(y, rel=1e-30)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_bound_holds_for_every_order_of_the_sum_and_is_no_larger_than_it_needs(dtype):
    """All orders of five products and a bias, added one by one: within the bound, and not always far from it."""
    data = ORACLE.data(task("conv", "1d", "bound", "positive", dtype))
    x, w, b = (data[name].values.ravel()[:5] for name in ("x", "w", "b"))
    exact = sum(map(Fraction.__mul__, map(Fraction, x.tolist()), map(Fraction, w.tolist()))) + Fraction(float(b[0]))
    wide = np.float32 if dtype == "float16" else dtype
    products = [*(x.astype(wide) * w.astype(wide)), b.astype(wide)[0]]
    bound, worst = float(_bound(np.array(float(exact)), 6, dtype)), 0.0
    for first, *rest in itertools.permutations(products):
        total = first
        for product in rest:
            total = total + product
        worst = max(worst, abs(float(Fraction(float(total.astype(dtype))) - exact)) / bound)
    assert 0.01 < worst <= 1


def test_a_library_without_a_dtype_is_not_asked_for_it():
    importlib.import_module("ml_dtypes")
    assert Bench(_libraries.load("numpy"), ORACLE).dtypes == DTYPES
    assert Bench(_libraries.load("strict"), ORACLE).dtypes == ("float32", "float64", *COMPLEX, *INTEGERS)
    assert Bench(_libraries.load("strict", "no_float64"), ORACLE).dtypes == ("float32", "complex64", *INTEGERS)


@pytest.mark.parametrize(
    ("name", "operations"),
    [
        ("torch", ("pad", "conv", "max_pool_vjp", "adaptive_avg_pool", "conv_backward")),
        ("jax", ("pad", "pool_forward", "distribute_value", "conv_forward")),
        ("dask", ("pad", "unfold", "conv_forward", "pool_forward", "create_mask_from_window")),
    ],
)
def test_other_libraries(name, operations):
    bench = Bench(_libraries.load(name), ORACLE)
    chosen = tasks(bench.dtypes[:1], operations, core=True)
    found = [bench.check(each) for each in chosen]
    assert found
    assert [result for result in found if not result.passed] == []
