"""The self-test: it catches what it plants, leaves the library as it was, and fails when something survives."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import xpconv
from xpconv._tools import libraries as _libraries
from xpconv._tools.libraries import LibraryError
from xpconv.verify import main, selftest
from xpconv.verify.faults.fault import Fault
from xpconv.verify.selftest import FAULTS, SelfTest

ROOT = Path(__file__).parents[2]
HARMLESS = Fault("harmless", "nothing", (("xpconv:pad", lambda right: lambda *a, **o: right(*a, **o)),), ("pad",))


def test_every_fault_is_caught(capsys):
    assert main(["--self-test"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["fault", "planted", "in", "caught", "by"]
    caught, total, rest = re.fullmatch(r"(\d+) of (\d+) planted faults caught(.*) in \d+\.\d s", lines[-1]).groups()
    assert len(lines) == len(FAULTS) + 3
    assert int(total) == len(FAULTS) >= 30
    assert int(caught) + len([line for line in lines if " not run: " in line]) == int(total)
    assert bool(rest) == (caught != total)
    told = (ROOT / "docs" / "verify.md").read_text(encoding="utf-8")
    assert re.findall(r"(\d+) of (\d+) planted faults caught", told) == [(total, total)]


@pytest.mark.slow
@pytest.mark.needs("numba")
def test_every_fault_is_caught_where_compiled_kernels_are_taken(monkeypatch, capsys):
    monkeypatch.setattr("xpconv._pooling.compiled.LEAST", 1)
    with xpconv.set_options(compiled=True):
        assert main(["--self-test"]) == 0
    assert "SURVIVED" not in capsys.readouterr().out


@pytest.mark.slow  # the same faults and checks on other numbers
@pytest.mark.parametrize("seed", ["1", "17"])
def test_other_data_catch_them_too(seed, capsys):
    assert main(["--self-test", "--seed", seed]) == 0
    assert "SURVIVED" not in capsys.readouterr().out


def test_a_survivor_fails_the_run(capsys):
    assert selftest.main(0, [HARMLESS, FAULTS[0]]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["harmless", "pad", "SURVIVED:", "no", "check", "failed"]
    assert lines[-2].startswith("1 of 2 planted faults caught in ")
    assert lines[-1] == "SURVIVED: harmless (pad)"


def test_a_fault_that_only_breaks_is_not_caught():
    clumsy = replace(HARMLESS, plants=(("xpconv:pad", lambda right: lambda: None),))
    (verdict,) = SelfTest(0).run([clumsy])
    assert verdict.survived.startswith("only seen as raised TypeError")


def test_what_fails_anyway_catches_nothing(monkeypatch):
    monkeypatch.setattr(xpconv, "pad", lambda x, padding, **options: 0 * x)
    (verdict,) = SelfTest(0).run([replace(HARMLESS, sign="wrong shape")])
    assert verdict.survived.endswith("fails without it too")


def test_without_its_library_a_fault_is_not_run(monkeypatch, capsys):
    load = _libraries.load

    def without_strict(name, device=None):
        if name == "strict":
            raise LibraryError("backend 'strict' cannot be imported: there is none")
        return load(name, device)

    monkeypatch.setattr(_libraries, "load", without_strict)
    elsewhere = [fault for fault in FAULTS if fault.library == "strict"]
    assert {"wrong device", "wrong namespace"} <= {fault.name for fault in elsewhere}
    assert selftest.main(0, [*elsewhere, FAULTS[0]]) == 0
    out = capsys.readouterr().out
    assert out.count("not run: backend 'strict' cannot be imported") == len(elsewhere)
    assert f"1 of {len(elsewhere) + 1} planted faults caught, {len(elsewhere)} not run" in out
    assert selftest.main(0, elsewhere) == 1  # nothing was shown


def test_the_table_of_rich(capsys):
    row, finish = selftest._rich()
    for verdict in SelfTest(0).run([HARMLESS, FAULTS[0], replace(FAULTS[0], dtypes=("float1",))]):
        row(verdict)
    finish()
    out = " ".join(capsys.readouterr().out.split())
    assert "harmless" in out
    assert "SURVIVED" in out
    assert "not run" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--self-test", "--quick"], "--self-test does not go with --quick"),
        (["--self-test", "--target", "a.py"], "--self-test does not go with --target"),
        (["--self-test", "--operations", "pad"], "--self-test does not go with --operations"),
        (["--time-limit", "3"], "--time-limit goes with --target only"),
        (["--target", "a.py", "--time-limit", "0"], "seconds above 0"),
        (["--target", "a.py", "--time-limit", "nan"], "seconds above 0"),
    ],
)
def test_options_that_do_not_go_together(arguments, words, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("xpconv verify: ")
    assert words in line
