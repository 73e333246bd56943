"""The GPU benchmark dry-run on the CPU, its parts for CUDA with stand-ins, and the command that runs everything."""

import json
import sys
import types

import numpy as np
import pytest

import xpconv as xc
from bench import devices, gpu, gpu_all, gpu_cases, im2col, torch_peer
from bench.__main__ import main
from bench.clocks import EventClock, HostClock, Pace, interleave, per_call
from bench.devices import FLOAT16, FLOAT32, TF32, Cuda, Host
from bench.errors import ResultError, UsageError
from bench.layers import QUICK, QUICK_GROUPED, draw

FAST = Pace(1, 0.0, 1)
DRY = ("gpu", "--dry-run", "--rounds", "1", "--without", "jax")


def test_a_dry_run_writes_what_it_measured(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the chart needs matplotlib")
    files = {kind: tmp_path / f"result.{kind}" for kind in ("json", "markdown", "png")}
    assert main([*DRY, "--modes", "float32,float16", *(f"--{kind}={path}" for kind, path in files.items())]) == 0
    printed = capsys.readouterr().out
    record = json.loads(files["json"].read_text(encoding="utf-8"))
    assert record["machine"]["device"]["name"] == "no device: the CPU in its place"
    assert {outcome["pass"] for outcome in record["outcomes"]} == {
        f"{mode}, {passes}" for mode in ("float32", "float16") for passes in ("forward", "forward + backward")
    }
    assert set(record["rates"]) == {"float32", "float16"}
    assert len(record["limits"]) == 6
    assert not record["left_out"]
    assert "what limits it" in printed
    assert "control, float16: copy" in printed
    assert "example, forward: worst at most 300 µs: not measured in this run" in printed
    assert files["markdown"].read_text(encoding="utf-8").count("\n| --- |") == 2
    assert files["png"].read_bytes().startswith(b"\x89PNG")


def test_cases_are_left_out_when_the_time_is_up():
    run = gpu.measure(Host(None, None, FAST), (FLOAT32,), quick=True, seconds=-1.0)
    assert not run.outcomes
    assert run.left_out[-1] == ("depthwise 3×3 and 7×7", QUICK_GROUPED[0].name, FLOAT32)
    assert not run.complete("ResNet-50", FLOAT32)
    assert run.complete("ResNet-50", FLOAT16)
    assert all(target["met"] is None for target in gpu.judged(run, (FLOAT32,), ("ResNet-50",), 1e-3)[:-1])


def test_a_case_that_fails_does_not_stop_the_others(tmp_path, capsys, monkeypatch):
    right = gpu_cases.conv_calls

    def conv_calls(device, layer, mode):
        if layer == QUICK[0]:
            raise MemoryError("no room")
        return right(device, layer, mode)

    monkeypatch.setattr(gpu_cases, "conv_calls", conv_calls)
    path = tmp_path / "result.json"
    assert main([*DRY, "--without", "torch,jax", "--modes", "float32", "--json", str(path)]) == 1
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["failed"] == [f"{QUICK[0].name}, float32: MemoryError: no room"]
    assert {outcome["case"] for outcome in record["outcomes"]} >= {QUICK[1].name, QUICK_GROUPED[0].name}
    assert "failed, not timed: " in capsys.readouterr().out


def test_without_a_device_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr(gpu, "find_cupy", lambda: (None, "there is no CUDA device"))
    assert main(["gpu"]) == 2
    assert capsys.readouterr().err == "bench gpu: there is no CUDA device\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--modes", "float8"], "wants names of float32, TF32, float16; got 'float8'"),
        (["--seconds", "0"], "wants an integer of at least 1"),
        (["--json", "no/such/folder/file"], "there is no folder"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys):
    try:
        status = main([*DRY, *arguments])
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("layer", [*QUICK, *QUICK_GROUPED], ids=lambda layer: layer.name)
def test_im2col_is_the_convolution(layer):
    data = draw(layer)
    want = xc.conv(data.x, data.w, data.b, **layer.keywords)
    np.testing.assert_allclose(im2col.conv(np, data.x, data.w, data.b, layer), want, rtol=1e-4, atol=1e-5)


def test_wrong_results_are_refused(monkeypatch):
    torch = torch_peer.load()
    if torch is None:
        pytest.skip("PyTorch is not installed")
    right = xc.conv_vjp
    monkeypatch.setattr(gpu_cases.xc, "conv_vjp", lambda *a, **k: tuple(1.1 * g for g in right(*a, **k)))
    with pytest.raises(ResultError, match="the input gradient is off PyTorch's by"):
        gpu_cases.conv_calls(Host(torch, None, FAST), QUICK[0], FLOAT32)


def test_inputs_rotate_and_competitors_take_turns():
    turns = []
    calls = {name: [lambda n=name, i=i: turns.append((n, i)) for i in range(2)] for name in "ab"}
    found = interleave(HostClock(), calls, Pace(2, 0.0, 3))
    assert turns[:4] == [("a", 0), ("a", 1)] * 2  # warm-up, and how long it takes
    assert turns[-2:] == [("a", 0), ("b", 0)]
    assert {name: len(timing.samples) for name, timing in found.items()} == {"a": 2, "b": 2}


def test_sets_of_inputs_outgrow_the_cache():
    device = Host(None, None, FAST)
    assert gpu_cases.elements(QUICK[0]) == 512 + 144 + 4 + 512
    assert gpu_cases.sets(device, 10_000) == 4
    assert gpu_cases.sets(device, 1) == gpu_cases.MOST_SETS
    assert gpu_cases.sets(device, 1 << 20) == 1


def test_floors_are_the_greater_of_memory_and_arithmetic():
    found = gpu_cases.floors(QUICK[0], FLOAT16, {"bytes": 1e9, "flops": 1e9})
    assert found["bytes"] == 2 * (2 * 8 * 8 * 4 + 9 * 16 + 4 + 2 * 8 * 8 * 4)
    assert found["floor"] == found["flops_seconds"] == pytest.approx(QUICK[0].gflop)


class Event:
    """Stand in for CuPy's: it notes the time of its record."""

    now = 0.0

    def record(self):
        self.at = Event.now

    def synchronize(self):
        """Be done."""


def stand_in():
    """Stand in for CuPy with a device."""
    runtime = types.SimpleNamespace(
        deviceSynchronize=lambda: None, driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 12090,
        getDeviceProperties=lambda number: {"name": b"Model X 100", "totalGlobalMem": 1 << 30},
    )  # fmt: skip
    cuda = types.SimpleNamespace(
        Event=Event, runtime=runtime, Device=lambda: types.SimpleNamespace(id=0, attributes={"L2CacheSize": 1 << 20}),
        get_elapsed_time=lambda first, last: last.at - first.at, is_available=lambda: True,
    )  # fmt: skip
    pool = types.SimpleNamespace(free_all_blocks=lambda: None)
    return types.SimpleNamespace(cuda=cuda, __version__="0", get_default_memory_pool=lambda: pool)


def test_events_give_seconds_for_a_call():
    def work():
        Event.now += 3.0  # milliseconds

    assert per_call(EventClock(stand_in()), [work, work], 10) == pytest.approx(3e-3)


def test_a_cuda_device_sets_tf32_in_every_library(monkeypatch):
    kinds = {}
    linalg = types.SimpleNamespace(
        COMPUTE_TYPE_TF32="tf32",
        COMPUTE_TYPE_DEFAULT="default",
        set_compute_type=lambda d, k: kinds.update({d.char: k}),
    )
    monkeypatch.setattr(devices.importlib, "import_module", lambda name: linalg)
    flags = types.SimpleNamespace(
        cuda=types.SimpleNamespace(matmul=types.SimpleNamespace()), cudnn=types.SimpleNamespace(version=lambda: 9)
    )
    available = types.SimpleNamespace(is_available=lambda: True, empty_cache=lambda: None)
    torch = types.SimpleNamespace(cuda=available, backends=flags)
    config = {}
    jax = types.SimpleNamespace(
        devices=lambda: [types.SimpleNamespace(platform="gpu")], config=types.SimpleNamespace(update=config.__setitem__)
    )
    device = Cuda(stand_in(), torch, jax, FAST)
    for mode, allowed in ((TF32, True), (FLOAT32, False), (FLOAT16, False)):
        device.set_mode(mode)
        assert kinds == {"f": "tf32" if allowed else "default"}
        assert flags.cuda.matmul.allow_tf32 is flags.cudnn.allow_tf32 is allowed
        assert config == {"jax_default_matmul_precision": devices.PRECISION[mode]}
    assert device.describe()["name"] == "Model X 100"
    assert device.cache_bytes == 1 << 20
    device.release()


def options(tmp_path, *more):
    return gpu_all.parser().parse_args([str(tmp_path), *more])


def test_the_steps_are_what_a_cuda_machine_is_needed_for(tmp_path):
    steps = gpu_all.plan(options(tmp_path, "--limit", "tests=7"), tmp_path / "cuda-x.json", spread=True)
    lines = {step.name: " ".join(step.command[1:]) for step in steps}
    assert list(lines) == ["tests", "verify", "train", "gpu"]
    assert lines["tests"] == "-m pytest -k cupy --backends numpy,cupy -p no:cacheprovider -q -n 8"
    assert lines["verify"] == f"-m xpconv verify --backends numpy,cupy --report {tmp_path / 'cuda-x.json'}"
    assert lines["train"] == f"-m xpconv train --backend cupy --out {tmp_path / 'train'}"
    assert lines["gpu"].startswith(f"-m bench gpu --json={tmp_path / 'gpu.json'} --markdown={tmp_path / 'gpu.md'}")
    assert [step.seconds for step in steps] == [7, 240, 120, 480]
    assert gpu_all.slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"


def test_it_goes_on_when_a_step_fails_or_hangs(tmp_path, capsys, monkeypatch):
    codes = {"tests": "print('broken'); raise SystemExit(3)", "verify": "import time; time.sleep(60)", "train": "pass"}
    steps = [gpu_all.Step(name, (sys.executable, "-c", code), 1 if name == "verify" else 30)
             for name, code in codes.items()]  # fmt: skip
    monkeypatch.setattr(gpu_all, "plan", lambda *arguments: steps)
    assert gpu_all.main([str(tmp_path / "out"), "--dry-run"]) == 1
    printed = capsys.readouterr().out
    assert "failed (3)" in printed
    assert "out of time" in printed
    assert (tmp_path / "out" / "tests.log").read_text(encoding="utf-8") == "broken\n"
    summary = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert [line.split(" | ")[1] for line in summary.splitlines()[2:]] == ["failed (3)", "out of time", "passed"]


def test_a_dry_run_of_everything_passes_a_step(tmp_path):
    assert gpu_all.main([str(tmp_path), "--dry-run", "--steps", "verify", "--limit", "verify=60"]) == 0
    assert json.loads((tmp_path / "cuda-dry-run.json").read_text(encoding="utf-8"))


def test_only_missing_wheels_are_installed(tmp_path):
    (tmp_path / "numpy-9.9-py3-none-any.whl").touch()
    (tmp_path / "no_such_thing-1.0-py3-none-any.whl").touch()
    assert gpu_all.missing_wheels(tmp_path) == ["no_such_thing"]
    with pytest.raises(UsageError, match="wants a folder"):
        gpu_all.missing_wheels(tmp_path / "none")


def test_without_xpconvs_metadata_the_project_gives_it(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_all, "_installed", lambda name: False)
    gpu_all.prepare(tmp_path, None)
    (found,) = gpu_all.importlib.metadata.distributions(name="xpconv", path=[str(tmp_path)])
    assert found.version == xc.__version__


@pytest.mark.parametrize("arguments", [["--steps", "sleep"], ["--limit", "tests=x"], ["--wheels", "no/such/folder"]])
def test_bad_arguments_of_everything_are_one_line(arguments, tmp_path, capsys):
    try:
        status = gpu_all.main([str(tmp_path), "--dry-run", *arguments])
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    assert capsys.readouterr().err.count("\n") == 1
