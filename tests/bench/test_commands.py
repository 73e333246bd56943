"""A tiny run of each subcommand, so that none rots, and what the command line refuses."""

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import xpconv as xc
from bench import commands
from bench.__main__ import main
from bench.arguments import names_of
from bench.commands import memory, plan, points, train
from bench.contest.trees import There, Tree, enter
from bench.contest.turns import interleave
from bench.errors import ResultError
from bench.inside import POINTS
from bench.layers import BOTH, FORWARD, INPUT, WEIGHT
from bench.measure.measurement import Measurement
from bench.measure.timing import Settings, Timing
from bench.peers.torch import Torch, limited
from bench.report import charts
from bench.sets import QUICK, QUICK_POOLS

ONCE = ("--rounds", "1")
ALONE = ("--quick", *ONCE, "--threads", "1")
ROOT = str(commands.__path__[0]).rpartition("/bench/")[0]
# a tiny run of each, without the libraries that take long to compile; gpu_all has tests of its own
TINY = {
    "conv": (*ALONE, "--set", "convnext", "--without", "jax"),
    "grad": (*ALONE, "--set", "mobilenetv2"),
    "pool": (*ALONE, "--without", "jax"),
    "network": ALONE,
    "onnx": ALONE,
    "memory": ALONE,
    "scale": ALONE,
    "train": ALONE,
    "trees": (ROOT, ROOT, *ALONE, "--layers", "1x1", "--passes", "forward,input"),
    "gpu": ("--dry-run", *ONCE, "--modes", "float16", "--without", "jax"),
    "plan": ("--quick", *ONCE, "--fit"),
    "points": ("--quick",),
    "device": ("--quick",),
    "chunks": ALONE,
}
WITHOUT_CHART = ("device", "plan", "points")


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Draw few pixels, which is quick."""
    monkeypatch.setattr(charts, "DPI", 20)


def missing(monkeypatch):
    """Let PyTorch be not installed."""
    monkeypatch.setattr(Torch, "modules", classmethod(lambda cls: None))


def test_every_command_has_a_tiny_run():
    assert {*TINY, "gpu_all"} == set(commands.names())


NEEDS = {"chunks": ("dask", "zarr", "distributed"), "network": ("onnx",), "onnx": ("onnx",)}


def needed(command):
    """Name the libraries of a command, and what draws its chart."""
    return (*NEEDS.get(command, ()), *(["matplotlib"] if command not in WITHOUT_CHART else []))


@pytest.mark.parametrize("command", [pytest.param(c, marks=pytest.mark.needs(*needed(c))) for c in TINY])
def test_a_tiny_run_writes_what_it_measured(command, tmp_path, capsys):
    kinds = ("json", "markdown") if command in WITHOUT_CHART else ("json", "markdown", "png")
    files = {kind: tmp_path / f"result.{kind}" for kind in kinds}
    before = repr(xc.set_options())
    assert main([command, *TINY[command], *(f"--{kind}={path}" for kind, path in files.items())]) == 0
    assert repr(xc.set_options()) == before
    printed = capsys.readouterr().out
    record = json.loads(files["json"].read_text(encoding="utf-8"))
    assert record["benchmark"] == command
    assert record["quick"] is True
    assert record["machine"]["versions"]["numpy"] == np.__version__
    assert record["machine"]["cpu"]
    assert record["machine"]["date"].endswith("+00:00")
    assert all({"case", "pass"} < set(one) for one in record["measurements"])
    assert record["measurements"]
    assert all(target["met"] is None for target in record["targets"])
    assert files["markdown"].read_text(encoding="utf-8").count("\n|") > 2
    assert "the times mean nothing" in printed
    if "png" in kinds:
        assert files["png"].read_bytes().startswith(b"\x89PNG")


@pytest.mark.needs("matplotlib")
def test_conv_holds_every_library_against_the_course_s_loops(tmp_path, capsys):
    files = {kind: tmp_path / f"result.{kind}" for kind in ("json", "markdown", "png")}
    shown = (f"--{kind}={path}" for kind, path in files.items())
    assert main(["conv", *ALONE, "--layers", "8X8x4->4", "--without", "fast", *shown]) == 0
    printed = capsys.readouterr().out
    assert "geometric mean" in printed
    assert "control: np.matmul" in printed
    assert "first three layers, forward, against PyTorch: worst at most 1.6: not measured in this run" in printed
    record = json.loads(files["json"].read_text(encoding="utf-8"))
    assert record["machine"]["threads"] == 1
    assert len(record["control"]["seconds"]) == 1
    assert list(record["layers"]) == [QUICK[0].name]
    versions = record["machine"]["versions"]
    peers = {name for name, package in (("onnx", "onnxruntime"), ("jax", "jax")) if package in versions}
    names = {"course", "xpconv"} | ({"torch channels_last", "torch contiguous"} if "torch" in versions else set())
    for one in record["measurements"]:
        assert set(one["seconds"]) == names | (peers if one["pass"] == FORWARD else set())
        assert all(len(timing["samples"]) == 1 for timing in one["seconds"].values())
        assert 0 < one["error"] < 1e-5
    forward, both = record["measurements"]
    assert (forward["pass"], both["pass"]) == (FORWARD, BOTH)
    assert 0 < forward["over_bound"] <= 1
    lines = files["markdown"].read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.startswith("|")]) == 2 + 2 + 2
    columns = 8 + 2 * ("torch" in versions) + len(peers) + ("onnx" in peers)  # of it also the ratio to the fastest
    assert all(line.count("|") == columns for line in lines if line.startswith("|"))


def test_without_pytorch_it_compares_with_the_rest(tmp_path, capsys, monkeypatch):
    missing(monkeypatch)
    path = tmp_path / "result.json"
    assert main(["conv", *ALONE, "--layers", "7X7", "--without", "onnx,jax,fast", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("PyTorch is not installed")
    assert "course ÷" in printed
    assert "xpconv ÷" not in printed
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["geometric_means"][FORWARD]["ratio"] is None
    assert [set(one["seconds"]) for one in record["measurements"]] == [{"course", "xpconv"}] * 2
    (layer,) = record["layers"].values()
    assert layer["compared_with"].startswith("that of the course's loops in float64")


def test_memory_over_the_time_is_left_out():
    found, late = memory.measure("batch", memory.QUICK_LAYERS["batch"], until=0.0)
    assert not found
    assert late == [layer.name for layer in memory.QUICK_LAYERS["batch"]]


@pytest.mark.parametrize("without_torch", [pytest.param(False, marks=pytest.mark.needs("torch")), True])
@pytest.mark.parametrize("fault", ["result", "gradient", "nan", "nan in a gradient"])
def test_wrong_results_are_not_timed(fault, without_torch, capsys, monkeypatch):
    if without_torch:
        missing(monkeypatch)
    conv, conv_vjp = xc.conv, xc.conv_vjp
    factor = np.float32({"result": 1.01, "nan": np.nan}.get(fault, 1.0))
    monkeypatch.setattr(xc, "conv", lambda *a, **k: conv(*a, **k) * factor)
    if "gradient" in fault:
        wrong = np.float32(np.nan if "nan" in fault else 1.01)
        # of the weight's gradient only
        monkeypatch.setattr(xc, "conv_vjp", lambda *a, **k: map(np.multiply, conv_vjp(*a, **k), (1, wrong, 1)))
    assert main(["conv", *ALONE, "--without", "onnx,jax"]) == 1
    captured = capsys.readouterr()
    assert "nothing was timed" in captured.err
    assert "geometric mean" not in captured.out


@pytest.mark.needs("torch")
@pytest.mark.parametrize(("command", "name"), [("grad", "conv_weight_grad"), ("pool", "max_pool_vjp")])
def test_wrong_gradients_are_not_timed(command, name, capsys, monkeypatch):
    right = getattr(xc, name)
    monkeypatch.setattr(xc, name, lambda *a, **k: right(*a, **k) * np.float32(1.01))
    assert main([command, *ALONE, "--without", "onnx,jax"]) == 1
    assert "nothing was timed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["conv", "--layers", "5x5"], "no layer's name holds '5x5'; the layers are: 8x56x56x64->64 3x3; "),
        (["conv", "--rounds", "0"], "argument --rounds: wants an integer of at least 1; got '0'"),
        (["conv", "--threads", "many"], "argument --threads: wants an integer of at least 1; got 'many'"),
        (["conv", "--threads", "9999999999"], "argument --threads: wants at most 512"),
        (["conv", "--set", "vgg"], "argument --set: invalid choice: 'vgg'"),
        (
            ["conv", "--without", "torch,mxnet"],
            "wants names of course, torch, onnx, jax, im2col, evaluator, fast; got 'mxnet'",
        ),
        (["conv", "--colour"], "unrecognized arguments: --colour"),
        (["conv", "--json", "no/such/folder/file"], "there is no folder"),
        (["conv", "--png", "."], "--png wants a file; . is a folder"),
        (["gpu", "--dry-run", "--modes", "float8"], "wants names of float32, TF32, float16; got 'float8'"),
        (["gpu", "--dry-run", "--modes", ","], "wants names of float32, TF32, float16; got ','"),
        (["gpu", "--dry-run", "--seconds", "0"], "wants an integer of at least 1"),
        (["gpu", "--dry-run", "--json", "no/such/folder/file"], "there is no folder"),
        (["trees", ".", "no/such/folder"], "NEW wants a checkout of xpconv; no/such/folder holds none"),
        (["trees", ".", ".", "--passes", "sideways"], "wants names of forward, both, input, weight; got 'sideways'"),
        (["swim"], "invalid choice: 'swim'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_names_are_read_whatever_their_case():
    read = names_of(("torch", "TF32"), none=True)
    assert read(" tf32,torch,TF32, ") == ("TF32", "torch")
    assert read("") == ()


def fake_checkout(folder, change):
    """Make a checkout whose xpconv is this one with a change."""
    package = folder / "xpconv"
    package.mkdir(parents=True)
    real = xc.__file__
    lines = [f"__path__ = [{str(Path(real).parent)!r}]", f"exec(open({real!r}).read())", change]
    (package / "__init__.py").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_trees_are_compared_before_they_are_timed(tmp_path):
    near = "right = conv\ndef conv(*a, **k): return right(*a, **k) * (1 + 2**-18)"
    wrong = "right = max_pool\ndef max_pool(*a, **k): return right(*a, **k) * 1.01"
    unready = "def conv_input_grad(*a, **k): raise ValueError('not today')"
    checkouts = [fake_checkout(tmp_path / "old", near), fake_checkout(tmp_path / "new", f"{wrong}\n{unready}")]
    with ExitStack() as stack:
        trees = [stack.enter_context(Tree(n, f, 1)) for n, f in zip(("old", "new"), checkouts, strict=True)]
        found = enter(trees, QUICK[2], (FORWARD, WEIGHT))
        assert found == {FORWARD: pytest.approx(2**-18, rel=0.1), WEIGHT: 0.0}
        timings = interleave({tree.name: There(tree, FORWARD, Settings.quick(2)) for tree in trees}, 2, collecting=True)
        assert {name: len(timing.samples) for name, timing in timings.items()} == {"old": 2, "new": 2}
        with pytest.raises(ResultError, match=r"max 3/2/1: forward, beside the old tree, is off by 0\.0"):
            enter(trees, QUICK_POOLS[0], (FORWARD, BOTH))
        assert enter(trees, QUICK_POOLS[1], (FORWARD, WEIGHT)) == {FORWARD: 0.0}  # poolings have no weights
        with pytest.raises(ResultError, match="the new tree: ValueError: not today; nothing was timed"):
            enter(trees, QUICK[0], (INPUT,))
        trees[1].process.kill()
        with pytest.raises(ResultError, match="the process of the new tree ended"):
            enter(trees, QUICK[0], (FORWARD,))


@pytest.mark.needs("torch")
def test_another_network_than_xpconvs_is_refused(monkeypatch):
    (torch,) = Torch.modules()
    monkeypatch.setattr(train.Torch, "_take", lambda self, params: None)
    with limited(torch, 1), pytest.raises(ResultError, match="the losses of torch"):
        train.steps(train.QUICK_TASKS[0], torch)


def test_points_that_are_taken_are_better_than_the_textbook_s():
    taken, textbook = (points.errors(6, 3, p, 8, 256, 0)["largest"] for p in (POINTS[6], points.symmetric("1 2")))
    assert 1e-7 < taken < 4e-6
    assert taken < textbook / 2


def test_the_plan_s_regret_is_the_time_of_its_choice_over_the_best():
    counts = {"gemm": (1.0, 0.0), "fft": (0.0, 1.0)}
    timings = {name: Timing(1, samples=[seconds]) for name, seconds in (("gemm", 3.0), ("fft", 2.0))}
    one = Measurement("a layer", INPUT, timings, {"counts": counts}, "gemm", ("gemm", "fft"))
    assert plan.regrets([one]) == [1.5]
    assert plan.regrets(plan.chosen_by([one], (1.0, 0.5))) == [1.0]
    np.testing.assert_allclose(plan.fit([one]), (3.0, 2.0))
