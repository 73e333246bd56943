"""The command: exit statuses, what it prints, reports that parse, and evidence that travels."""

import importlib.util
import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

import xpconv
from tests.verify.planted import flipped
from xpconv._tools.libraries import LibraryError
from xpconv.verify import main, run
from xpconv.verify.catalogue import cases
from xpconv.verify.report import screen as show
from xpconv.verify.report.outcome import Backend


def digests_of(data, backend="numpy"):
    rows = data["results"][backend].items()
    return {f"{case}/{kind}": found for case, row in rows for kind, found in row.items() if isinstance(found, str)}


def ratios_of(data, backend="numpy"):
    for case, row in data["results"][backend].items():
        for kind, found in row.items():
            if not isinstance(found, str):
                yield from ((f"{case}/{kind}", r) for r in (found.values() if isinstance(found, dict) else [found]))


FEW = ["--quick", "--backends", "numpy", "--operations", "pad,conv_forward,max_pool"]


def lines(capsys):
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def complaint(capsys):
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("xpconv verify: ")
    return line


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
        (["--seed", "-1"], "at least 0; got '-1'"),
        (["--report", "report.txt"], "ends in .json, .xml, .md; got report.txt"),
        (["--report", "no/such/folder/report.md"], "does not exist"),
        (["--against", "no-such-file.json"], "cannot be read"),
        (["--target", "x"], "--target does not go with --quick"),
        (["here"], "unrecognized arguments"),
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


def test_a_report_that_cannot_be_written(capsys, monkeypatch, tmp_path):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xpconv.verify.report.files.write_atomic", full)
    assert main(["--quick", "--backends", "numpy", "--operations", "pad", "--report", str(tmp_path / "a.md")]) == 2
    assert "No space left" in capsys.readouterr().err
    assert main(["--quick", "--report", str(tmp_path)]) == 2


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


# --- reports --------------------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch):
    good = xpconv.pad
    monkeypatch.setattr(xpconv, "pad", lambda *a, **o: good(*a, **o) + 1)


def test_reports_say_what_happened(failing, tmp_path, capsys):
    paths = [tmp_path / name for name in ("r.json", "r.xml", "r.md")]
    arguments = [word for path in paths for word in ("--report", str(path))]
    assert main(["--quick", "--backends", "numpy,strict", "--operations", "pad,max_pool_vjp", *arguments]) == 1
    capsys.readouterr()

    data = json.loads(paths[0].read_text())
    assert data["catalogue"]["version"] == cases.VERSION
    assert (data["seed"], data["quick"], data["operations"]) == (0, True, ["pad", "max_pool_vjp"])
    assert [backend["name"] for backend in data["backends"]] == ["numpy", "strict"]
    assert data["versions"]["xpconv"] == xpconv.__version__
    failed = data["failures"]
    assert {record["backend"] for record in failed} == {"numpy", "strict"}
    assert all(record["check"].startswith("pad/") and record["line"] for record in failed)
    assert set(data["results"]) == {"numpy", "strict"}
    assert digests_of(data)
    assert all(source.startswith("max_pool_vjp/") for source in digests_of(data))
    assert all(0 <= ratio <= 1 for _, ratio in ratios_of(data, "strict"))

    root = ElementTree.fromstring(paths[1].read_text())
    suites = root.findall("testsuite")
    assert sum(int(suite.get("tests")) for suite in suites) == data["checks"] == len(list(root.iter("testcase")))
    assert int(root.get("failures")) == len(failed) == len(root.findall(".//failure"))
    assert root.find(".//failure").text.startswith("FAILED numpy pad/")
    assert {case.get("classname") for case in root.iter("testcase")} >= {"xpconv.numpy.pad", "xpconv.strict.pad"}

    text = paths[2].read_text()
    assert re.search(r"\| numpy \| pad \| (\d+) \| \1 FAILED \| - \| - \|", text)
    assert "checks failed on numpy, strict" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {rows[0].count("|")}


def test_a_ratio_that_is_not_finite_is_null(monkeypatch, tmp_path, capsys):
    good = xpconv.conv_forward
    monkeypatch.setattr(xpconv, "conv_forward", lambda *a: (np.full_like(good(*a)[0], np.nan), good(*a)[1]))
    path = tmp_path / "r.json"
    assert main([*FEW, "--report", str(path)]) == 1
    found = [ratio for source, ratio in ratios_of(json.loads(path.read_text())) if source.startswith("conv_forward")]
    assert found
    assert all(ratio is None for ratio in found)
    capsys.readouterr()


# --- the screen -----------------------------------------------------------------------------------


def test_rich_on_a_terminal_and_text_elsewhere(monkeypatch):
    assert isinstance(show.screen(), show.PlainScreen)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert isinstance(show.screen(), show.RichScreen)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert isinstance(show.screen(), show.PlainScreen)


def test_the_table_fits_a_terminal_of_100_columns(failing, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    screen = show.RichScreen()
    monkeypatch.setattr("xpconv.verify.command.screen", lambda: screen)
    arguments = ["--quick", "--backends", "numpy,strict", "--operations", "pad,create_mask_from_window,conv_forward"]
    assert main(arguments) == 1
    found = capsys.readouterr().out.splitlines()
    table = [line for line in found if "create_mask_from_window" in line or "backend" in line]
    assert len(table) == 3
    assert all(len(line.rstrip()) <= 100 for line in table)
    assert not any("…" in line for line in table)
    assert any(re.search(r"pad +(\d+) +\1 FAILED", line) for line in found)
    assert any(line.startswith("  import xpconv as xc; ") and len(line) > 100 for line in found)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "off"),
        ({"CUPY_TF32": "1"}, "on (CUPY_TF32=1)"),
        ({"CUPY_TF32": "1", "NVIDIA_TF32_OVERRIDE": "0"}, "off (NVIDIA_TF32_OVERRIDE=0)"),
        ({"NVIDIA_TF32_OVERRIDE": "1"}, "on (NVIDIA_TF32_OVERRIDE=1)"),
    ],
)
def test_tf32_is_shown_for_cupy(monkeypatch, environment, words):
    for name in ("CUPY_TF32", "NVIDIA_TF32_OVERRIDE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run.tf32("numpy") == ""
    state = run.tf32("cupy")
    assert state.startswith(words)
    backend = Backend("cupy", "14.0", "cuda:0 (a GPU)", ("float32",), False, state)
    assert str(backend) == f"cupy 14.0 on cuda:0 (a GPU); float32; TF32 {state}"


def test_tf32_is_shown_for_torch_on_a_gpu(monkeypatch):
    torch = pytest.importorskip("torch")
    switch = torch.backends.cuda.matmul
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    assert run.tf32("torch", "cpu") == ""
    before = switch.allow_tf32
    try:
        for allowed, word in ((True, "on"), (False, "off")):
            switch.allow_tf32 = allowed
            assert run.tf32("torch", "cuda:0") == f"{word} (torch.backends.cuda.matmul.allow_tf32 is {allowed})"
    finally:
        switch.allow_tf32 = before
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert run.tf32("torch", "cuda:0") == "off (NVIDIA_TF32_OVERRIDE=0)"


def test_importing_the_package_does_not_import_the_verifier():
    script = "import sys, xpconv; print([m for m in sys.modules if 'verify' in m or m == 'xpconv.testing'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
