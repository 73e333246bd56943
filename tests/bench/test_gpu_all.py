"""The command that runs everything that a CUDA machine is needed for."""

import importlib.metadata
import json
import sys

import pytest

import xpconv as xc
from bench import gpu_all as promised
from bench.__main__ import main
from bench.arguments import Parser
from bench.commands import gpu_all
from bench.errors import UsageError
from bench.layers import BOTH, FORWARD, INPUT, WEIGHT


def options(tmp_path, *more):
    parser = Parser()
    gpu_all.add_arguments(parser)
    return parser.parse_args([str(tmp_path), *more])


def test_the_steps_are_what_a_cuda_machine_is_needed_for(tmp_path):
    steps = gpu_all.plan(options(tmp_path, "--limit", "tests=7"), tmp_path / "cuda-x.json", spread=True)
    lines = {step.name: " ".join(step.command[1:]) for step in steps}
    assert list(lines) == ["compile", "model", "tests", "verify", "train", "gpu"]
    assert lines["compile"] == "-m xpconv verify --quick --backends cupy"  # before anything is timed
    assert lines["model"].startswith(f"-m bench device --json={tmp_path / 'model.json'}")
    assert lines["tests"] == "-m pytest -k cupy or cuda --backends numpy,cupy -p no:cacheprovider -q -n 8"
    assert lines["verify"] == f"-m xpconv verify --backends numpy,cupy --report {tmp_path / 'cuda-x.json'}"
    assert lines["train"] == f"-m xpconv train --backend cupy --out {tmp_path / 'train'}"
    assert lines["gpu"].startswith(f"-m bench gpu --json={tmp_path / 'gpu.json'} --markdown={tmp_path / 'gpu.md'}")
    assert [step.seconds for step in steps] == [3600, 120, 7, 240, 120, 480]
    assert gpu_all.slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"


def test_it_goes_on_when_a_step_fails_or_hangs(tmp_path, capsys, monkeypatch):
    codes = {"tests": "print('broken'); raise SystemExit(3)", "verify": "import time; time.sleep(60)", "train": "pass"}
    steps = [
        gpu_all.Step(name, (sys.executable, "-c", code), 1 if name == "verify" else 30) for name, code in codes.items()
    ]
    monkeypatch.setattr(gpu_all, "plan", lambda *arguments: steps)
    assert promised.main([str(tmp_path / "out"), "--dry-run"]) == 1
    printed = capsys.readouterr().out
    assert "failed (3)" in printed
    assert "out of time" in printed
    assert (tmp_path / "out" / "tests.log").read_text(encoding="utf-8") == "broken\n"
    summary = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert [line.split(" | ")[1] for line in summary.splitlines()[2:]] == ["failed (3)", "out of time", "passed"]


@pytest.mark.slow
def test_a_dry_run_of_everything_passes_steps(tmp_path):
    """On CuPy's stand-in, whose clock is events: what a GPU would run, and every file that it would write."""
    assert main(["gpu_all", str(tmp_path), "--dry-run", "--without", "torch,jax"]) == 0
    record = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert "stand-in" in record["machine"]["device"]["name"]
    assert {one["pass"].split(", ")[0] for one in record["measurements"]} == {"float32", "TF32", "float16"}
    assert (tmp_path / "predicted.md").read_text(encoding="utf-8").count("forward") > 3
    evidence = json.loads((tmp_path / "cuda-dry-run.json").read_text(encoding="utf-8"))
    assert any("cupy" in json.dumps(one) for one in evidence.values())
    assert (tmp_path / "train" / "parameters.safetensors").exists()
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert summary.count("passed") >= len(gpu_all.LIMITS)


def test_the_model_is_recorded_beside_what_was_measured(tmp_path):
    """Of float32; both gradients are the sum of the two that are modelled; what only one file has is left out."""
    layers = [
        {"case": case, "pass": passes, "kernels": kernels, "microseconds": time, "times": times}
        for case, times in (("a", 1), ("b", 3))
        for passes, kernels, time in ((FORWARD, 2, 100.0), (INPUT, 3, 50.0), (WEIGHT, 4, 150.0))
    ]
    seconds = [("a", "float32", FORWARD, 2e-4), ("b", "float32", FORWARD, 5e-5), ("b", "float32", BOTH, 4e-4)]
    seconds += [("b", "float16", FORWARD, 1.0), ("c", "float32", FORWARD, 1.0)]
    measured = [
        {"case": case, "pass": f"{mode}, {passes}", "seconds": {"xpconv": {"median": time}, "torch": {"median": 9.0}}}
        for case, mode, passes, time in seconds
    ]
    model = [*layers, {"case": "conv", "pass": "", "kernels": 3}]  # of an operation, which has no time
    for name, measurements in (("model", model), ("gpu", measured)):
        gpu_all.compare(tmp_path)
        assert not (tmp_path / "predicted.md").exists()
        (tmp_path / f"{name}.json").write_text(json.dumps({"measurements": measurements}), encoding="utf-8")
    gpu_all.compare(tmp_path)
    rows = [line.strip("| ").split(" | ") for line in (tmp_path / "predicted.md").read_text("utf-8").splitlines()[2:]]
    assert rows == [
        ["a", FORWARD, "1", "2", "100", "200", "2.00"],
        ["b", FORWARD, "3", "2", "100", "50.0", "0.500"],
        ["b", BOTH, "3", "7", "200", "400", "2.00"],
        ["**all**", f"**{FORWARD}**", "", "**8**", "**400**", "**350**", "**0.875**"],
        ["**all**", f"**{BOTH}**", "", "**21**", "**600**", "**1,200**", "**2.00**"],
    ]


def test_only_missing_wheels_are_installed(tmp_path):
    (tmp_path / "numpy-9.9-py3-none-any.whl").touch()
    (tmp_path / "no_such_thing-1.0-py3-none-any.whl").touch()
    assert gpu_all.missing_wheels(tmp_path) == ["no_such_thing"]
    with pytest.raises(UsageError, match="wants a folder"):
        gpu_all.missing_wheels(tmp_path / "none")


def test_without_xpconvs_metadata_the_project_gives_it(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_all, "_installed", lambda name: False)
    gpu_all.prepare(tmp_path, None)
    (found,) = importlib.metadata.distributions(name="xpconv", path=[str(tmp_path)])
    assert found.version == xc.__version__


@pytest.mark.parametrize("arguments", [["--steps", "sleep"], ["--limit", "tests=x"], ["--wheels", "no/such/folder"]])
def test_bad_arguments_of_everything_are_one_line(arguments, tmp_path, capsys):
    try:
        status = promised.main([str(tmp_path), "--dry-run", *arguments])
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    assert capsys.readouterr().err.count("\n") == 1
