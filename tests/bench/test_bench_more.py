"""A tiny run of each other benchmark on the CPU, so that none rots."""

import json
import math

import numpy as np
import pytest

from bench import grad, memory, pool, scale, targets, torch_peer, train
from bench.__main__ import main
from bench.conv_goals import judged
from bench.conv_report import BOTH, FORWARD, Row
from bench.layers import LARGE, MOBILENETV2, RESNET50, SETS, draw
from bench.targets import Goal, judge

COMMANDS = {
    "conv": ("--set", "convnext"),
    "grad": ("--set", "mobilenetv2"),
    "pool": (),
    "memory": (),
    "scale": (),
    "train": (),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_quick_run_writes_what_it_measured(command, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the chart needs matplotlib")
    files = {kind: tmp_path / f"result.{kind}" for kind in ("json", "markdown", "png")}
    arguments = [command, "--quick", "--rounds", "1", "--threads", "1", *COMMANDS[command]]
    assert main([*arguments, *(f"--{kind}={path}" for kind, path in files.items())]) == 0
    printed = capsys.readouterr().out
    record = json.loads(files["json"].read_text(encoding="utf-8"))
    assert record["benchmark"] == command
    assert record["quick"] is True
    assert record["machine"]["versions"]["numpy"] == np.__version__
    assert all(target["met"] is None for target in record["targets"])
    assert files["markdown"].read_text(encoding="utf-8").count("\n|") > 2
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    assert "the times mean nothing" in printed


def test_plan_runs(tmp_path, capsys):
    path = tmp_path / "plan.json"
    assert main(["plan", "--quick", "--count", "3", "--rounds", "1", "--json", str(path)]) == 0
    assert "mean regret" in capsys.readouterr().out
    assert json.loads(path.read_text(encoding="utf-8"))["samples"]


def test_the_sets_are_the_networks():
    assert {name: len(layers) for name, layers in SETS.items()} == {
        "first": 5, "resnet50": 23, "lenet5": 3, "course": 5, "mobilenetv2": 10, "convnext": 4, "large": 4, "all": 49,
    }  # fmt: skip
    assert sum(layer.kernel == 3 and layer.stride == 2 for layer in RESNET50) == 3
    assert all(layer.output_shape[1] == -(-layer.height // layer.stride) for layer in RESNET50)
    assert MOBILENETV2[1].name == "8×112×112×96→96 3×3 depthwise stride 2"
    assert LARGE[0].gflop == pytest.approx(2e-9 * 2 * 56 * 56 * 64 * 31 * 31)


@pytest.mark.parametrize("fault", [grad, pool])
def test_wrong_results_are_not_timed(fault, capsys, monkeypatch):
    if torch_peer.load() is None:
        pytest.skip("PyTorch is not installed")
    names = {grad: "conv_weight_grad", pool: "max_pool_vjp"}
    right = getattr(fault.xc, names[fault])
    monkeypatch.setattr(fault.xc, names[fault], lambda *a, **k: right(*a, **k) * np.float32(1.01))
    command = fault.__name__.rpartition(".")[2]
    assert main([command, "--quick", "--rounds", "1", "--threads", "1"]) == 1
    assert "nothing was timed" in capsys.readouterr().err


def test_another_network_than_xpconvs_is_refused(monkeypatch):
    torch = torch_peer.load()
    if torch is None:
        pytest.skip("PyTorch is not installed")
    monkeypatch.setattr(train.Torch, "_take", lambda self, params: None)
    with pytest.raises(train.ResultError, match="the losses of torch"):
        train.steps(train.QUICK_TASKS[0], torch)


def test_memory_is_what_a_call_held_beside_its_result():
    assert 8_000_000 <= memory.extra(lambda: (np.ones(1_000_000) + np.ones(1_000_000))[:10].copy()) < 17_000_000
    assert memory.extra(lambda: np.empty(1_000_000)) < 10_000
    x, w = np.ones((4, 32, 32, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
    memory.xc.conv(x, w)
    first = memory.extra(lambda: memory.xc.conv(x, w))
    assert first > 50_000  # memory that the call before it kept counts
    assert memory.extra(lambda: memory.xc.conv(x, w)) > first // 2
    assert memory.im2col(memory.BATCHES[0]) == 4 * 56 * 56 * 9 * 32


def test_slopes_and_threads():
    assert scale.slope({1: 9.0, 2: 6.0, 4: 12.0, 8: 24.0}) == pytest.approx(1.0)
    assert math.isnan(scale.slope({1: 1.0}))
    assert scale.thread_counts(1) == [1]
    assert scale.thread_counts(6) == [1, 2, 4, 6]


def test_channels_first_is_the_same_layer():
    layer = scale.QUICK[4]
    data = draw(layer)
    first = scale.calls(layer, scale.channels_first(data), layout="channels_first")
    last = scale.calls(layer, data)
    np.testing.assert_allclose(first[FORWARD]().transpose(0, 2, 3, 1), last[FORWARD](), rtol=1e-4, atol=1e-5)


def test_targets_are_judged_by_mean_and_worst():
    goal = Goal("swift", 1.0, 2.0)
    assert judge(goal, {"a": 0.5, "b": 1.9})["met"]
    assert not judge(goal, {"a": 0.1, "b": 2.1})["met"]
    assert not judge(goal, {"a": 1.1, "b": 1.2})["met"]
    assert judge(goal, {"a": 0.5, "b": None})["met"] is None
    assert judge(goal, {})["met"] is None
    assert targets.line(judge(goal, {"a": 0.5, "b": 1.9})) == (
        "target: swift: mean at most 1, worst at most 2: met (mean 0.975, worst 1.90: b)"
    )
    assert targets.line(judge(goal, {}, False)).endswith("not measured in this run")


def test_convolutions_are_judged_by_kind():
    def row(layer, passes, torch, onnx):
        return Row(layer.name, passes, 1.0, None, torch, "contiguous", onnx, None, 1.0, 1e-7, 1e-7, None)

    layers = MOBILENETV2[:2]
    rows = [row(layer, passes, 2.0, 0.4) for layer in layers for passes in (FORWARD, BOTH)]
    found = judged(layers, rows)
    # forward is held against the faster, ONNX Runtime; with backward against PyTorch
    assert [(target["met"], target["mean"]) for target in found] == [(False, pytest.approx(2.5)), (True, 0.5)]
    assert judged(RESNET50[1:2], [row(RESNET50[1], p, 1.0, 1.0) for p in (FORWARD, BOTH)]) == []
