"""A keyword that changes nothing is found, whether a case gives it or none does; so is one of its values."""

import pytest

import xpconv
from tests.definition import ORACLE
from xpconv._tools import libraries as _libraries
from xpconv.algorithms import EVERYWHERE, REGISTRY
from xpconv.verify import main
from xpconv.verify.catalogue.tasks import tasks
from xpconv.verify.judge.bench import Bench
from xpconv.verify.judge.untested import untested


def found(*names):
    return [str(each) for each in untested(_libraries.load("numpy"), ORACLE, names, True)]


def test_all_is_well_without_a_fault():
    assert found("max_pool_vjp", "avg_pool", "pool_forward", "adaptive_max_pool", "unfold", "pad_vjp") == []


def test_a_new_keyword_that_no_case_gives(monkeypatch):
    good = xpconv.unfold
    monkeypatch.setattr(
        xpconv,
        "unfold",
        lambda x, window, *, stride=1, padding=0, dilation=1, layout="channels_last", flavour="plain": good(
            x, window, stride=stride, padding=padding, dilation=dilation, layout=layout
        ),
    )
    assert found("unfold") == ["unfold: flavour changes no result in any case"]


def dead(name, keyword, value=None):
    """A function that takes a keyword, or one of its values, for its default."""
    good = getattr(xpconv, name)

    def function(*arrays, **options):
        if value is None or options.get(keyword) == value:
            options.pop(keyword, None)
        return good(*arrays, **options)

    function.__signature__ = __import__("inspect").signature(good)
    return function


@pytest.mark.parametrize(
    ("name", "keyword", "value", "words"),
    [
        ("max_pool_vjp", "ties", None, ["ties='all'", "ties='split'"]),
        ("max_pool_vjp", "ties", "split", ["ties='split'"]),
        ("avg_pool", "count_include_pad", None, ["count_include_pad=False"]),
        ("pad", "mode", "replicate", ["mode='replicate'"]),
        ("conv", "dilation", None, ["dilation"]),
        ("conv", "padding", "same", ["padding='same'"]),
        ("conv", "algorithm", None, [f"algorithm='{name}'" for name in EVERYWHERE]),
        ("conv_vjp", "padding_mode", "circular", ["padding_mode='circular'"]),
        ("conv_transpose", "output_padding", None, ["output_padding"]),
        ("max_pool", "return_indices", None, ["return_indices=True"]),
        ("pool_backward", "mode", None, ["mode='average'"]),
    ],
)
def test_a_dead_keyword(monkeypatch, name, keyword, value, words):
    monkeypatch.setattr(xpconv, name, dead(name, keyword, value))
    wanted = [f"{name}: {word.replace('dilation', 'dilation')} changes no result in any case" for word in words]
    assert set(wanted) <= set(found(name))


def test_a_dead_keyword_fails_the_run(monkeypatch, capsys, tmp_path):
    """Even where no check sees it: the cases may never give it."""
    good = xpconv.pad
    monkeypatch.setattr(
        xpconv,
        "pad",
        lambda x, padding, *, mode="zeros", layout="channels_last", value=0: good(x, padding, mode=mode, layout=layout),
    )
    reports = [tmp_path / name for name in ("r.json", "r.xml", "r.md")]
    arguments = [word for path in reports for word in ("--report", str(path))]
    assert main(["--quick", "--backends", "numpy", "--operations", "pad", *arguments]) == 1
    out = capsys.readouterr().out
    assert "UNTESTED pad: value changes no result in any case" in out
    assert "checks passed on numpy" in out
    assert "1 keywords untested" in out
    assert all("pad: value changes no result" in path.read_text() for path in reports)
    assert main(["--quick", "--backends", "numpy", "--operations", "pad", "--against", str(reports[0])]) == 1
    assert "is of a run that failed: pad: value" in capsys.readouterr().err


def test_an_algorithm_that_is_registered_is_in_the_bound_tier(monkeypatch):
    """And in that alone: the others' sums are whole on whole numbers."""
    monkeypatch.setitem(REGISTRY, "fft", REGISTRY["gemm"])
    chosen = [t for t in tasks(("float32",), ("conv", "conv_vjp"), core=True) if t.algorithm in ("fft", "auto")]
    assert {t.tier for t in chosen} == {"bound"}
    assert {t.operation.name for t in chosen if t.algorithm == "fft"} == {"conv", "conv_vjp"}
    bench = Bench(_libraries.load("numpy"), ORACLE)
    assert [r for r in map(bench.check, chosen) if not r.passed] == []
