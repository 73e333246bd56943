"""The GPU benchmark on the CPU in the device's place, and its parts for CUDA with stand-ins."""

import json
import types

import pytest

import xpconv as xc
from bench import peers
from bench.__main__ import main
from bench.commands import gpu
from bench.contest.session import Session
from bench.errors import ResultError
from bench.layers import BOTH, FORWARD
from bench.measure import devices
from bench.measure.clocks import EventClock, Pace, per_call
from bench.measure.devices import FLOAT16, FLOAT32, TF32, Cuda, Host
from bench.measure.timing import Settings
from bench.peers.torch import Torch
from bench.sets import QUICK, QUICK_GROUPED, QUICK_POOLS

FAST = Pace(1, 0.0, 1)
DRY = ("gpu", "--dry-run", "--rounds", "1", "--without", "torch,jax,im2col", "--modes", "float32")


def session(*names):
    """Begin a session with these peers."""
    options = types.SimpleNamespace(quick=True)
    return Session(options, "gpu", peers.load((*names, peers.OWN)), 1, Settings.quick(1), {})


def test_a_dry_run_says_what_limits_it(tmp_path, capsys):
    path = tmp_path / "result.json"
    assert main([*DRY, "--json", str(path)]) == 0
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["machine"]["device"]["name"] == "no device: the CPU in its place"
    assert {one["pass"] for one in record["measurements"]} == {f"float32, {passes}" for passes in (FORWARD, BOTH)}
    assert {one["kind"] for one in record["measurements"]} == set(gpu.QUICK_GROUPS)
    assert set(record["rates"]) == {"float32"}
    assert len(record["limits"]) == 3
    assert not record["left_out"]
    printed = capsys.readouterr().out
    assert "what limits it" in printed
    assert "control, float32: copy" in printed
    assert "example, forward: worst at most 300 µs: not measured in this run" in printed


def test_cases_are_left_out_when_the_time_is_up():
    run = gpu.measure(session(), Host(None, None, FAST), (FLOAT32,), seconds=-1.0)
    assert not run.measurements
    assert run.left_out[-1] == (gpu.DEPTHWISE, QUICK_GROUPED[0].name, FLOAT32)
    assert not run.complete(gpu.RESNET, FLOAT32)
    assert run.complete(gpu.RESNET, FLOAT16)
    assert all(target["met"] is None for target in gpu.judged(run, (FLOAT32,), 1e-3)[:-1])


def test_a_case_that_fails_does_not_stop_the_others(tmp_path, capsys, monkeypatch):
    right = gpu.enter

    def enter(held, device, case, mode):
        if case == QUICK[0]:
            raise MemoryError("no room")
        return right(held, device, case, mode)

    monkeypatch.setattr(gpu, "enter", enter)
    path = tmp_path / "result.json"
    assert main([*DRY, "--json", str(path)]) == 1
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["failed"] == [f"{QUICK[0].name}, float32: MemoryError: no room"]
    assert {one["case"] for one in record["measurements"]} >= {QUICK[1].name, QUICK_GROUPED[0].name}
    assert "failed, not timed: " in capsys.readouterr().out


def test_without_a_device_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr(gpu, "find_cupy", lambda: (None, "there is no CUDA device"))
    assert main(["gpu"]) == 2
    assert capsys.readouterr().err == "bench gpu: there is no CUDA device\n"


@pytest.mark.needs("torch")
def test_wrong_results_are_refused(monkeypatch):
    (torch,) = Torch.modules()
    right = xc.conv_vjp
    monkeypatch.setattr(xc, "conv_vjp", lambda *a, **k: tuple(1.1 * g for g in right(*a, **k)))
    with pytest.raises(ResultError, match=r"the input gradient, beside torch contiguous's, is off by 0\.1"):
        gpu.enter(session("torch"), Host(torch, None, FAST), QUICK[0], FLOAT32)


def test_sets_of_inputs_outgrow_the_cache():
    device = Host(None, None, FAST)
    assert gpu.case_bytes(QUICK[0], FLOAT32) == 4 * (512 + 144 + 4 + 512)
    assert gpu.case_bytes(QUICK_POOLS[0], FLOAT16) == 2 * (512 + 128)
    assert gpu.sets(device, 10_000) == 4
    assert gpu.sets(device, 1) == gpu.MOST_SETS
    assert gpu.sets(device, 1 << 20) == 1


def test_every_set_of_inputs_has_a_call():
    device = Host(None, None, FAST)
    device.cache_bytes = 1500 * 4  # two sets and a half are larger than twice as much
    calls = gpu.enter(session("im2col"), device, QUICK[0], FLOAT32)
    assert {passes: {name: len(every) for name, every in one.items()} for passes, one in calls.items()} == {
        FORWARD: {"im2col": 3, "xpconv": 3},
        BOTH: {"xpconv": 3},
    }


def test_floors_are_the_greater_of_memory_and_arithmetic():
    found = gpu.floors(QUICK[0], FLOAT16, {"bytes": 1e9, "flops": 1e9})
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
        deviceSynchronize=lambda: None,
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 12090,
        getDeviceProperties=lambda number: {"name": b"Model X 100", "totalGlobalMem": 1 << 30},
    )
    cuda = types.SimpleNamespace(
        Event=Event,
        runtime=runtime,
        Device=lambda: types.SimpleNamespace(id=0, attributes={"L2CacheSize": 1 << 20}),
        get_elapsed_time=lambda first, last: last.at - first.at,
        is_available=lambda: True,
    )
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
