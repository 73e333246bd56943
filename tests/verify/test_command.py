"""The command: exit statuses, and what it prints."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import xpconv
from tests.verify.command_line import FEW, complaint, digests_of, lines
from tests.verify.planted import flipped
from xpconv._tools.libraries import LibraryError
from xpconv.verify import main
from xpconv.verify.catalogue import cases
from xpconv.verify.judge import shrink


def test_all_is_well(capsys):
    assert main(FEW) == 0
    found = lines(capsys)
    assert found[0] == f"xpconv {xpconv.__version__} verify: catalogue {cases.VERSION}, core cases, seed 0"
    head = f"numpy {np.__version__} on cpu; float32, float64, float16, bfloat16, complex64, complex128, 8 integers"
    assert f"{head}; core cases" in found
    rows = [line.split() for line in found if line.startswith("numpy    ")]
    assert [row[1] for row in rows] == ["max_pool", "pad", "conv_forward"]
    assert [row[3] for row in rows] == ["ok", "ok", "ok"]
    assert re.fullmatch(r"all [\d,]+ checks passed on numpy in \d+\.\d s", found[-1])
    assert all(len(line) <= 105 for line in found)


def test_another_seed_is_other_data(tmp_path, capsys):
    for seed in ("1", "2"):
        assert main([*FEW, "--seed", seed, "--report", str(tmp_path / f"{seed}.json")]) == 0
    first, second = (json.loads((tmp_path / f"{seed}.json").read_text()) for seed in (1, 2))
    assert digests_of(first) != digests_of(second)
    capsys.readouterr()


def test_a_fault_fails_the_run_and_names_the_operation(monkeypatch, capsys):
    monkeypatch.setattr(xpconv, "conv", flipped)
    monkeypatch.setattr(shrink, "PATIENCE", 0.5)
    assert main(["--quick", "--backends", "numpy", "--operations", "conv,pad"]) == 1
    found = lines(capsys)
    assert any(re.match(r"numpy +conv .*FAILED", line) for line in found)
    assert any(re.match(r"numpy +pad .* ok", line) for line in found)
    (head,) = (number for number, line in enumerate(found) if line.startswith("FAILED numpy conv/"))
    assert re.match(r"  so does conv/[^/@]+@[a-z]+=\S+/\S+: z: ", found[head + 1])
    assert [line.split()[0] for line in found[head + 2 : head + 5]] == ["expected", "got", "import"]
    exec(found[head + 4].strip(), {})
    assert lines(capsys) == [found[head + 3].split()[1]]
    assert re.search(r"and \d+ more of conv on numpy", found[head + 5])
    assert re.fullmatch(r"\d+ of \d+ checks failed on numpy in .* s", found[-1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--backends", "abacus"], "unknown backend 'abacus'; choose one of numpy, cupy"),
        (["--backends", ","], "names no backend"),
        (["--operations", "conv,convolve"], "unknown operation 'convolve'; choose from conv, "),
        (["--operations", ""], "unknown operation"),
        (["--operations", "conv,max_pol"], "; did you mean max_pool?"),
        (["--backends", "numpi"], "; did you mean numpy?"),
        (["--report", ""], "argument --report: must name a file or a folder; got ''"),
        (["--tagret", "a.py"], "there is no option '--tagret'; did you mean --target?"),
        (["--seed", "-1"], "at least 0; got '-1'"),
        (["--report", "report.txt"], "must end in .json, .xml, .md; got report.txt"),
        (["--report", "no/such/folder/report.md"], "no/such/folder does not exist; make it first"),
        (["--against", "no-such-file.json"], "cannot be read"),
        (["--target", "x"], "--target does not go with --quick"),
        (["here"], "there is no argument 'here'; see xpconv verify --help"),
    ],
)
def test_bad_arguments(capsys, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--quick", *arguments]) == 2
    assert words in complaint(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_backend_that_is_not_usable(capsys, monkeypatch):
    def load(name, device=None):
        raise LibraryError("backend 'cupy' is installed, but no CUDA device is available")

    monkeypatch.setattr("xpconv._tools.libraries.load", load)
    assert main(["--backends", "cupy"]) == 2
    assert "no CUDA device" in complaint(capsys)


def test_help_and_the_command_line(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "usage: xpconv verify" in text
    assert all(option in text for option in ("--against", "--self-test", "--target", "--time-limit"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "xpconv", "verify", *FEW], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "checks passed on numpy" in done.stdout


def test_importing_the_package_does_not_import_the_verifier():
    script = "import sys, xpconv; print([m for m in sys.modules if 'verify' in m or m == 'xpconv.testing'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
