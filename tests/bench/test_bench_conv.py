"""A tiny run of the benchmark of convolutions, so that it does not rot."""

import json

import numpy as np
import pytest

import bench.check
import xpconv as xc
from bench import conv_report, torch_peer
from bench.__main__ import main
from bench.conv_report import BOTH, FORWARD, Row
from bench.course_loops import CourseLoops, Part, middle, scale
from bench.layers import LAYERS, QUICK, QUICK_GROUPED, SETS, draw, select
from bench.report import Table, geometric_mean, number
from bench.timing import Settings, interleave

QUICK_RUN = ("conv", "--quick", "--rounds", "1", "--threads", "1")
PACKAGE = {"onnx": "onnxruntime", "jax": "jax"}
NAMES = [layer.name for layer in LAYERS]


def test_the_run_writes_what_it_measured(tmp_path, capsys):
    files = {kind: tmp_path / f"result.{kind}" for kind in ("json", "markdown", "png")}
    pytest.importorskip("matplotlib", reason="the chart needs matplotlib")
    before = repr(xc.set_options())
    assert main([*QUICK_RUN, *(f"--{kind}={path}" for kind, path in files.items())]) == 0
    assert repr(xc.set_options()) == before
    printed = capsys.readouterr().out
    assert "geometric mean" in printed
    assert "control: np.matmul" in printed
    assert "first three layers within 1.6 times PyTorch, forward: not measured" in printed

    record = json.loads(files["json"].read_text(encoding="utf-8"))
    assert record["machine"]["threads"] == 1
    assert record["machine"]["versions"]["numpy"] == np.__version__
    assert record["machine"]["cpu"]
    assert record["machine"]["date"].endswith("+00:00")
    assert len(record["control"]["seconds"]) == len(QUICK)
    names = {"course", "xpconv"}
    if torch_peer.load() is not None:
        names |= {"torch channels_last", "torch contiguous"}
    peers = {name for name in ("onnx", "jax") if record["machine"]["versions"][PACKAGE[name]]}
    for layer, found in zip(QUICK, record["layers"], strict=True):
        assert found["name"] == layer.name
        assert found["errors"]["over_bound"] <= 1
        for passes in (FORWARD, BOTH):
            assert set(found["seconds"][passes]) == names | (peers if passes == FORWARD else set())
            assert all(len(timing["samples"]) == 1 for timing in found["seconds"][passes].values())

    lines = files["markdown"].read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.startswith("|")]) == 2 + 2 * len(QUICK) + 2
    columns = 10 + len(peers) + ("onnx" in peers)  # each its time, and one for the ratio to the fastest
    assert all(line.count("|") == columns for line in lines if line.startswith("|"))
    assert files["png"].read_bytes().startswith(b"\x89PNG")


def test_without_pytorch_it_compares_with_the_rest(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch_peer, "load", lambda: None)
    path = tmp_path / "result.json"
    assert main([*QUICK_RUN, "--layers", "7X7", "--without", "onnx,jax", "--json", str(path)]) == 0
    assert capsys.readouterr().out.startswith("PyTorch is not installed")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["geometric_means"][FORWARD]["ratio"] is None
    assert [set(layer["seconds"][BOTH]) for layer in record["layers"]] == [{"course", "xpconv"}]
    assert record["layers"][0]["errors"]["exact"].startswith("the course's loops in float64")


@pytest.mark.parametrize("without_torch", [False, True])
@pytest.mark.parametrize("fault", ["result", "gradient", "nan"])
def test_wrong_results_are_not_timed(fault, without_torch, capsys, monkeypatch):
    if without_torch:
        monkeypatch.setattr(torch_peer, "load", lambda: None)
    elif torch_peer.load() is None:
        pytest.skip("PyTorch is not installed")
    conv, conv_vjp = xc.conv, xc.conv_vjp
    factor = np.float32({"result": 1.01, "gradient": 1.0, "nan": np.nan}[fault])
    monkeypatch.setattr(bench.check.xc, "conv", lambda *a, **k: conv(*a, **k) * factor)
    if fault == "gradient":
        monkeypatch.setattr(
            bench.check.xc, "conv_vjp", lambda *a, **k: tuple(1.01 * part for part in conv_vjp(*a, **k))
        )
    assert main(QUICK_RUN) == 1
    captured = capsys.readouterr()
    assert "nothing was timed" in captured.err
    assert "geometric mean" not in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["conv", "--layers", "5x5"], "no layer's name holds '5x5'; the layers are: 8x56x56x64->64 3x3; "),
        (["conv", "--rounds", "0"], "argument --rounds: wants an integer of at least 1; got '0'"),
        (["conv", "--threads", "many"], "argument --threads: wants an integer of at least 1; got 'many'"),
        (["conv", "--threads", "9999999999"], "argument --threads: wants at most 512"),
        (["conv", "--set", "vgg"], "argument --set: invalid choice: 'vgg'"),
        (["conv", "--without", "torch,mxnet"], "argument --without: wants names of torch, onnx, jax; got 'mxnet'"),
        (["conv", "--colour"], "unrecognized arguments: --colour"),
        (["conv", "--json", "no/such/folder/file"], "there is no folder"),
        (["conv", "--png", "."], "--png wants a file; . is a folder"),
        (["swim"], "invalid choice: 'swim'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys):
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_the_layers_are_the_ones_named():
    assert NAMES == [
        "8×56×56×64→64 3×3",
        "8×28×28×128→128 3×3",
        "8×56×56×64→256 1×1",
        "32×64×64×3→8 4×4",
        "8×224×224×3→64 7×7 stride 2",
    ]
    assert LAYERS[0].gflop == pytest.approx(2e-9 * 8 * 56 * 56 * 64 * 64 * 9)
    assert LAYERS[3].pads == ((1, 2), (1, 2))
    assert [layer.name for layer in select(LAYERS, "3x3")] == NAMES[:2]
    assert select(LAYERS, "->") == LAYERS


@pytest.mark.parametrize("layer", [*SETS["all"], *QUICK, *QUICK_GROUPED], ids=lambda layer: layer.name)
def test_layers_have_the_shape_that_xpconv_gives(layer):
    assert xc.explain(layer.x_shape, layer.w_shape, **layer.keywords).flops == round(1e9 * layer.gflop)
    part = middle(layer)
    assert 512 <= part.elements <= max(1200, layer.filters) or part.elements * layer.batch == np.prod(
        layer.output_shape
    )
    assert scale(layer, part) * part.elements == pytest.approx(np.prod(layer.output_shape))
    assert np.empty(layer.output_shape, bool)[part.index].size == part.elements


@pytest.mark.parametrize("layer", [*QUICK, *QUICK_GROUPED], ids=lambda layer: layer.name)
def test_the_loops_over_all_of_the_output_are_the_courses_blocks(layer):
    data = draw(layer)
    loops = CourseLoops(layer, data, Part(*map(range, layer.output_shape)), np.float64)
    loops.both()
    x, w, b, dz = (array.astype(np.float64) for array in (data.x, data.w, data.b, data.dz))
    np.testing.assert_allclose(loops.z, xc.conv(x, w, b, **layer.keywords), rtol=1e-12, atol=1e-12)
    for got, want in zip(loops.gradients(), xc.conv_vjp(dz, x, w, **layer.keywords), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_competitors_take_turns():
    turns = []
    timings = interleave({name: lambda name=name: turns.append(name) for name in "ab"}, Settings.quick(3))
    assert turns[-4:] == ["a", "a", "b", "b"]  # once unmeasured, once measured
    assert {name: len(timing.samples) for name, timing in timings.items()} == {"a": 3, "b": 3}


def test_a_slow_competitor_gets_a_few_rounds_only():
    turns = []
    settings = Settings(rounds=5, pause=0.0, least=0.0, slow=-1.0, slow_rounds=2)
    timings = interleave({"a": lambda: turns.append("a")}, settings)
    assert len(timings["a"].samples) == 2
    assert len(turns) == 2 + 2  # warm-up, then nothing unmeasured


def row(layer, passes, ratio, speedup):
    return Row(
        layer, passes, 1.0, speedup * 1e-3, 1e-3 / ratio, "contiguous", None, None, 1e-3, 1e-7, 1e-7, None
    )  # fmt: skip


def test_targets_are_judged_by_the_worst_layer():
    ratios = dict(zip(NAMES, (1.5, 1.6, 0.5, 9.0, 9.0), strict=True))
    forward = [row(name, FORWARD, ratio, 2000) for name, ratio in ratios.items()]
    both = [row(name, BOTH, 1.7, 2000 if name != NAMES[4] else 999) for name in NAMES]
    found = conv_report.targets(forward + both, NAMES)
    assert [target["met"] for target in found] == [True, False, True, False]
    assert [target["layer"] for target in found][-1] == NAMES[4]
    assert conv_report.target_line(found[1]).startswith(
        "target: first three layers within 1.6 times PyTorch, forward + backward: not met (worst 1.70, "
    )
    assert [target["met"] for target in conv_report.targets(forward[1:], NAMES)] == [None] * 4


def test_means_and_numbers():
    assert geometric_mean([0.5, 2.0]) == pytest.approx(1.0)
    assert geometric_mean([0.5, None]) is None
    assert geometric_mean([]) is None
    wanted = {0.123456: "0.123", 1.0: "1.00", 12.34: "12.3", 123456.7: "123,457", 0.0: "0", None: "–"}
    assert {value: number(value) for value in wanted} == wanted


def test_a_table_lines_up():
    table = Table(["name", "a\nb"], [("x", "1")], [("mean", "10")])
    assert list(table.plain()) == ["       a", "name   b", "----  --", "x      1", "----  --", "mean  10"]
    assert list(table.markdown()) == ["| name | a b |", "| --- | ---: |", "| x | 1 |", "| **mean** | **10** |"]
