"""A failure is shown on the smallest case like it, and its line shows it again."""

import math

import numpy as np
import pytest

import xpconv
from tests.definition import ORACLE
from tests.verify.planted import flipped
from xpconv._tools import libraries as _libraries
from xpconv.verify import draw
from xpconv.verify.catalogue.setups import resized
from xpconv.verify.catalogue.tasks import find, tasks
from xpconv.verify.judge.bench import Bench
from xpconv.verify.judge.shrink import shrink, smaller


def size(task):
    return sum(math.prod(task.setup.shape(role)) for role in ("x", "w", "dz"))


def failing(name, tier="exact", case=None):
    bench = Bench(_libraries.load("numpy"), ORACLE)
    chosen = (t for t in tasks(("float32",), (name,), core=True) if t.tier == tier and case in (None, t.case))
    return bench, next(result for result in map(bench.check, chosen) if not result.passed)


@pytest.mark.parametrize("tier", ["exact", "bound"])
def test_a_failure_is_shrunk(monkeypatch, capsys, tier):
    monkeypatch.setattr(xpconv, "conv", flipped)
    bench, failed = failing("conv", tier, "same")
    small = shrink(bench.check, failed)
    assert not small.passed
    assert small.task.case.startswith("same@batch=1,")
    assert size(small.task) < size(failed.task) / 4
    exec(small.line, {})
    assert float(capsys.readouterr().out) == pytest.approx(float(small.got), rel=1e-6)


def test_it_fails_in_the_same_way(monkeypatch):
    """Not with an error about a shape that no longer fits, say."""
    good = xpconv.conv

    def function(x, w, b=None, **options):
        if x.shape[1] < 4:
            raise RuntimeError("too small")
        return good(x, w, b, **options) + 1

    monkeypatch.setattr(xpconv, "conv", function)
    bench, failed = failing("conv", "exact", "pairs")
    small = shrink(bench.check, failed)
    assert "differ" in small.failure
    assert small.task.setup.size[0] == 4


def test_smaller_cases_are_smaller_and_legal():
    for name, roles in (
        ("conv_vjp", ("x", "w")),
        ("max_pool", ("x",)),
        ("adaptive_avg_pool", ("x",)),
        ("fold", ("x",)),
    ):
        bench = Bench(_libraries.load("numpy"), ORACLE)
        for task in list(tasks(("float32",), (name,), core=True))[::9]:
            sizes = [sum(math.prod(t.setup.shape(role)) for role in roles) for t in smaller(task)]
            assert all(found <= sum(math.prod(task.setup.shape(role)) for role in roles) for found in sizes)
            for candidate in list(smaller(task))[:3]:
                result = bench.check(candidate)
                assert result.passed or "raised ValueError" in result.failure  # padding beyond what the options allow
                assert find(candidate.source).setup == candidate.setup


def test_sizes_are_read():
    task = find("conv/same@batch=1,size=3x2/whole/float32")
    assert task.setup.size == (3, 2)
    assert (task.setup.batch, task.setup.padding, task.setup.kernel) == (1, "same", (3, 3))
    _, x, w, _ = draw(task.source)
    assert (x.shape, w.shape) == ((1, 3, 2, 2), (3, 3, 2, 3))
    assert find("max_pool_vjp/2-rest@size=4x4+split/whole/float32").operation.variant == "split"
    for text in ("stride=2", "size=", "size=axb", "nonsense"):
        with pytest.raises(ValueError, match="sizes are batch, size"):
            resized(task.setup, text)
    with pytest.raises(ValueError, match="no case"):
        draw("conv/nothing@size=3x2/whole/float32")
    assert np.isfinite(x).all()
