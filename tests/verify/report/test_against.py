"""Reports that travel: what ``--against`` accepts, refuses and names, and the evidence that is kept here."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import xpconv
from tests.definition import ORACLE
from tests.sizes import count
from tests.verify.command_line import FEW, complaint, digests_of, lines, ratios_of
from xpconv._tools import libraries
from xpconv.verify import main
from xpconv.verify.catalogue import cases
from xpconv.verify.catalogue.tasks import NAMES, tasks
from xpconv.verify.judge.bench import Bench
from xpconv.verify.report import against


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """The quick run on NumPy, once for all tests that look at it."""
    path = tmp_path_factory.mktemp("quick") / "all.json"
    assert main(["--quick", "--backends", "numpy", "--report", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def mine():
    """The digests of that run, but in "nightly" a share of them: the exact checks alone have one."""
    bench = Bench(libraries.load("numpy"), ORACLE)
    exact = {task.source: task for task in tasks(bench.dtypes, core=True) if task.tier == "exact"}  # one algorithm each
    found = [bench.check(task) for task in list(exact.values())[:: count(6, 3, 1)]]
    assert [result.task.key for result in found if not result.passed] == []
    return {result.task.source: result.digest for result in found}


@pytest.mark.slow
def test_every_operation_on_numpy_quickly(everything):
    data = json.loads(everything.read_text())
    assert data["failures"] == data["untested"] == []
    assert {case.split("/")[0] for case in data["results"]["numpy"]} == set(NAMES) == set(data["operations"])
    ratios = [ratio for _, ratio in ratios_of(data)]
    assert 0.1 < max(ratios) <= 1
    assert everything.stat().st_size < 300_000


EVIDENCE = sorted((Path(__file__).parents[2] / "evidence").glob("*.json"))


def test_there_is_evidence():
    assert {"cpu-numpy.json", "cpu-torch.json"} <= {path.name for path in EVIDENCE}
    assert all(path.stat().st_size < 300_000 for path in EVIDENCE)


@pytest.mark.parametrize("path", EVIDENCE, ids=lambda path: path.name)
def test_evidence_made_elsewhere_holds_here(path, mine):
    """What ``xpconv verify --quick --backends numpy --against FILE`` says; a stale file says how it is renewed."""
    try:
        there = against.load(path)
    except against.EvidenceError as error:
        pytest.fail(str(error))
    found = {source: digest for (source, _), digest in there.digests.items()}
    assert len(set(found) & set(mine)) > count(166, 333, 1000)
    differing = [source for source in found if source in mine and found[source] != mine[source]]
    assert not differing, differing[0]


# --- evidence -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def a_run(tmp_path_factory):
    """A report, made once for all tests that change it."""
    path = tmp_path_factory.mktemp("few") / "evidence.json"
    assert main([*FEW, "--seed", "4", "--report", str(path)]) == 0
    return path


@pytest.fixture
def evidence(a_run, tmp_path, capsys):
    capsys.readouterr()
    return shutil.copy(a_run, tmp_path / "evidence.json")


def tamper(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_evidence_holds_on_another_backend(evidence, capsys):
    assert main(["--quick", "--backends", "strict", *FEW[3:], "--against", str(evidence)]) == 0
    text = lines(capsys)[-1]
    assert re.search(rf"[\d,]+ exact results are the same bits as those of numpy {np.__version__} on cpu", text)
    here = [source for source in digests_of(json.loads(evidence.read_text())) if "float16" not in source]
    assert f"{len(here):,} exact" in text


def test_a_tampered_digest_is_named(evidence, capsys):
    def change(data):
        row = data["results"]["numpy"]["pad/pairs"]
        row["whole/float32"] = row["whole/float64"] = "0" * 16
        changed.append("pad/pairs/whole/float32")

    changed = []
    tamper(evidence, change)
    assert main([*FEW, "--against", str(evidence)]) == 1
    first, more = lines(capsys)[-2:]
    assert f"DIFFERS in {changed[0]}: numpy here gives" in first
    assert "numpy there gave 0000000000000000" in first
    assert "and 1 more" in more


def test_a_stale_report_says_how_to_renew_it(evidence, capsys):
    tamper(evidence, lambda data: data["catalogue"].update(version=0))
    assert main([*FEW, "--against", str(evidence)]) == 1
    line = complaint(capsys)
    assert f"is of catalogue 0, this is catalogue {cases.VERSION}" in line
    assert line.endswith(f"xpconv verify --backends numpy --quick --seed 4 --report {evidence}")
    tamper(evidence, lambda data: data["catalogue"].update(version=cases.VERSION, fingerprint="0"))
    assert main([*FEW, "--against", str(evidence)]) == 1
    assert "which has changed" in complaint(capsys)


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (lambda data: data["failures"].append({"check": "max_pool/2"}), 1, "is of a run that failed: max_pool/2"),
        (lambda data: data["untested"].append("conv: stride"), 1, "is of a run that failed: conv: stride"),
        (
            lambda data: data["results"]["numpy"]["conv_forward/f-3-pad-0"].update({"signed/float32": 1.01}),
            1,
            "is of a run that failed: conv_forward/f-3-pad-0/signed/float32",
        ),
        (
            lambda data: data["results"]["numpy"].update({"pad/other": {"whole/float32": "0"}}),
            1,
            "does not have: pad/other/whole/float32",
        ),
        (lambda data: data.update(results={}), 1, "holds no exact results"),
        (lambda data: data.pop("results"), 2, "no JSON report of xpconv verify (KeyError: 'results')"),
        (lambda data: data.update(format="something else"), 2, "its format is another one"),
        (lambda data: data.update(seed=5), 1, "DIFFERS"),
    ],
)
def test_a_report_that_proves_nothing(evidence, capsys, change, status, words):
    tamper(evidence, change)
    assert main([*FEW, "--against", str(evidence)]) == status
    captured = capsys.readouterr()
    assert words in captured.err + captured.out


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', "{}", "\x00\xff"])
def test_a_file_that_is_no_report(tmp_path, capsys, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    assert main([*FEW, "--against", str(path)]) == 2
    assert "is no JSON report" in complaint(capsys)
    path.write_bytes(b"\xff\xfe\x00")
    assert main([*FEW, "--against", str(path)]) == 2


def test_evidence_of_another_seed_or_of_other_operations(evidence, capsys):
    assert main([*FEW, "--seed", "5", "--against", str(evidence)]) == 2
    assert "was made with --seed 4, not 5" in complaint(capsys)
    assert main(["--quick", "--backends", "numpy", "--operations", "avg_pool", "--against", str(evidence)]) == 1
    assert "no exact result in common" in lines(capsys)[-1]


def test_a_failure_here_is_no_agreement(evidence, capsys, monkeypatch):
    """A check that fails here has no digest: it is the failure that the run ends with."""
    good = xpconv.pad
    monkeypatch.setattr(xpconv, "pad", lambda x, *a, **o: good(x, *a, **o) + 1)
    assert main([*FEW, "--against", str(evidence)]) == 1
    assert any("checks failed" in line for line in lines(capsys))
