"""`explain`: the plan of each pass, as a record that prints, and the plan that runs."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from xpconv._engine.jobs import Jobs
from xpconv._plan.input_grad import GradientPlan
from xpconv.algorithms import REGISTRY

X, W = (8, 28, 28, 64), (3, 3, 64, 128)


def test_a_plan_is_short_as_a_value_and_a_table_in_print() -> None:
    plan = xc.explain(X, W, padding=1)
    assert repr(plan) == f"<Plan {str(plan).splitlines()[0]}>"
    assert len(repr(plan)) < 120
    assert [line.split()[0] for line in str(plan).splitlines()[2:-1]] == [c.algorithm for c in plan.candidates]


@pytest.mark.parametrize("of", ["conv", "input_grad", "weight_grad"])
def test_each_pass_has_a_plan(of: Any) -> None:
    plan = xc.explain(X, W, padding=1, stride=2, of=of)
    assert {c.algorithm for c in plan.candidates} == set(REGISTRY)
    assert 0 < plan.workspace <= 64 << 20
    assert len(plan.tile) == 3
    assert plan.algorithm in repr(plan)
    assert plan.flops == 2 * 8 * 14 * 14 * 9 * 64 * 128 or of == "input_grad"


def test_an_input_gradient_prints_its_phases() -> None:
    plan = xc.explain(X, W, padding=1, stride=2, of="input_grad")
    assert isinstance(plan, GradientPlan)
    assert len(plan.phases) == 4
    rows = str(plan).splitlines()[-4:]
    assert [row.split()[:2] for row in rows] == [["0", "0"], ["0", "1"], ["1", "0"], ["1", "1"]]
    assert "no tap reaches it" in str(xc.explain((1, 9, 9, 4), (2, 2, 4, 4), stride=3, of="input_grad"))


def test_col2im_is_named_where_it_is_cheaper() -> None:
    shapes: Any = (8, 224, 224, 3), (16, 16, 3, 768)
    plan = xc.explain(*shapes, stride=16, of="input_grad")
    assert plan.algorithm == "col2im"
    assert "col2im: predicted" in str(plan)
    assert (
        xc.explain((8, 224, 224, 3), (16, 16, 3, 768), stride=16, of="input_grad", algorithm="gemm").algorithm == "gemm"
    )


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options"),
    [(X, W, {"padding": 1, "stride": 2}), ((8, 64, 64, 3), (16, 16, 3, 96), {"stride": 16}), (X, W, {"padding": 1})],
)
def test_what_runs_is_what_is_explained(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiles that the driver takes are those of the plan."""
    seen: list[int] = []
    right = Jobs.__init__

    def counted(self: Jobs, function: Any, items: Any) -> None:
        seen.append(len(items))
        right(self, function, items)

    monkeypatch.setattr(Jobs, "__init__", counted)
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape, np.float32) for shape in (x_shape, w_shape))
    with xc.set_options(compiled=False):  # compiled loops take the pixels where they lie, in other pieces
        z = xc.conv(x, w, **options)
        plan = xc.explain(x_shape, w_shape, **options)
    assert np.prod([-(-n // t) for n, t in zip((len(x), *z.shape[1:3]), plan.tile, strict=True)]) in seen
    seen.clear()
    with xc.set_options(compiled=False):
        xc.conv_input_grad(z, w, x_shape, **options)
        gradient = xc.explain(x_shape, w_shape, of="input_grad", **options)
    assert isinstance(gradient, GradientPlan)
    if gradient.algorithm == "col2im":
        assert -(-x_shape[0] // gradient.tile[0]) * -(-x_shape[1] // gradient.tile[1]) in seen
        return
    for phase in gradient.planned:
        shape = (phase.geometry.batch, *phase.geometry.output)
        assert np.prod([-(-n // t) for n, t in zip(shape, phase.tile, strict=True)]) in seen


def test_an_unknown_pass_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^explain: of is one of .*'weight_grad'; got of='backward'"):
        xc.explain(X, W, of="backward")  # type: ignore[arg-type]


def test_wide_ranges_are_told() -> None:
    """One large pixel spoils digits of windows without it where pixels are transformed, and `explain` says so."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 24, 24, 32), np.float32), rng.standard_normal((3, 3, 32, 32), np.float32)
    x[0, 12, 12, 0] = 1e6
    exact = xc.conv(x.astype(np.float64), w.astype(np.float64), algorithm="gemm")
    apart = np.ones(exact.shape[1:3], bool)
    apart[10:13, 10:13] = False
    error = {}
    for name in ("direct", "gemm", "winograd", "fft"):
        off = np.abs(xc.conv(x, w, algorithm=name) - exact)
        assert (off <= xc.error_bound(x, w, algorithm=name)).all()
        error[name] = off[0, apart].max()
        reasons = {c.algorithm: c.reason for c in xc.explain(x.shape, w.shape, algorithm=name).candidates}
        assert ("errors grow with the largest pixel of a tile" in reasons[name]) == (name in ("winograd", "fft"))
    assert max(error["direct"], error["gemm"]) < 1e-3
    assert min(error["winograd"], error["fft"]) > 100 * max(error["direct"], error["gemm"])
