"""Reports that parse and say what happened."""

import json
import re
from xml.etree import ElementTree

import numpy as np

import xpconv
from tests.verify.command_line import FEW, digests_of, ratios_of
from xpconv.verify import main
from xpconv.verify.catalogue import cases
from xpconv.verify.judge import shrink


def test_a_report_that_cannot_be_written(capsys, monkeypatch, tmp_path):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xpconv.verify.report.files.write_atomic", full)
    assert main(["--quick", "--backends", "numpy", "--operations", "pad", "--report", str(tmp_path / "a.md")]) == 2
    assert "no space left" in capsys.readouterr().err
    assert main(["--quick", "--report", str(tmp_path)]) == 2


def test_reports_say_what_happened(failing, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shrink, "PATIENCE", 0.2)
    paths = [tmp_path / name for name in ("r.json", "r.xml", "r.md")]
    arguments = [word for path in paths for word in ("--report", str(path))]
    assert main(["--quick", "--backends", "numpy,strict", "--operations", "pad,max_unpool", *arguments]) == 1
    capsys.readouterr()

    data = json.loads(paths[0].read_text())
    assert data["catalogue"]["version"] == cases.VERSION
    assert (data["seed"], data["quick"], data["operations"]) == (0, True, ["pad", "max_unpool"])
    assert [backend["name"] for backend in data["backends"]] == ["numpy", "strict"]
    assert data["versions"]["xpconv"] == xpconv.__version__
    failed = data["failures"]
    assert {record["backend"] for record in failed} == {"numpy", "strict"}
    assert all(record["check"].startswith("pad/") and record["line"] for record in failed)
    assert set(data["results"]) == {"numpy", "strict"}
    assert digests_of(data)
    assert all(source.startswith("max_unpool/") for source in digests_of(data))
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
