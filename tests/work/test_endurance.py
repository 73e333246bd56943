"""Many calls, many threads, other processes, full disks: the same bits, no growth, no half-written file."""

import gc
import multiprocessing
import os
import random
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.cases import values
from xpconv.algorithms import EVERYWHERE
from xpconv.nn import storage

X, W = values((4, 28, 30, 16), 0, "float32"), values((3, 3, 16, 16), 1, "float32")
DZ, DY = values((4, 28, 30, 16), 2, "float32"), values((4, 14, 15, 16), 3, "float32")
POOL = {"stride": 2, "padding": 1}

CALLS: dict[str, Callable[[], Any]] = {
    "conv": lambda: xc.conv(X, W, padding=1),
    "conv_vjp": lambda: xc.conv_vjp(DZ, X, W, padding=1),
    "max_pool": lambda: xc.max_pool(X, 3, return_indices=True, **POOL),
    "max_pool_vjp": lambda: xc.max_pool_vjp(DY, X, 3, **POOL),
    "max_pool_vjp, split": lambda: xc.max_pool_vjp(DY, X, 3, ties="split", **POOL),
    "max_pool_vjp, float16": lambda: xc.max_pool_vjp(DY.astype("float16"), X.astype("float16"), 3, **POOL),
    "avg_pool": lambda: xc.avg_pool(X, 3, **POOL),
    "avg_pool_vjp": lambda: xc.avg_pool_vjp(DY, X.shape, 3, **POOL),
    "padding modes": lambda: xc.conv_input_grad(DZ, W, X.shape, padding=1, padding_mode="reflect"),
}


def bits(result: Any) -> bytes:
    """Give the bytes of a result, or of several."""
    return b"".join(r.tobytes() for r in (result if isinstance(result, tuple) else (result,)))


def in_child(names: list[str], queue: Any) -> None:
    """Send the bytes of some calls from another process."""
    queue.put([bits(CALLS[name]()) for name in names])


@pytest.mark.parametrize("name", CALLS)
def test_a_hundred_runs_on_one_to_eight_threads(name: str) -> None:
    found = set()
    for run in range(100):
        with xc.set_options(threads=run % 8 + 1):
            found.add(bits(CALLS[name]()))
    assert len(found) == 1


def test_sixteen_callers_at_once() -> None:
    expected = {name: bits(call()) for name, call in CALLS.items()}
    wrong: list[str] = []

    def caller(seed: int) -> None:
        order = random.Random(seed)
        for _ in range(8):
            name = order.choice(list(expected))
            if bits(CALLS[name]()) != expected[name]:
                wrong.append(name)

    with xc.set_options(threads=4):
        threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # JAX's, if an earlier test has loaded it
@pytest.mark.parametrize("method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()])
def test_other_processes(method: str) -> None:
    names = list(CALLS)
    with xc.set_options(threads=2):
        expected = [bits(CALLS[name]()) for name in names]
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=in_child, args=(names, queue))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.slow
def test_ten_thousand_calls_keep_nothing() -> None:
    x, w = values((1, 5, 5, 2), 0, "float32"), values((3, 3, 2, 2), 1, "float32")
    y = xc.max_pool(x, 2, stride=1)

    def calls(rounds: int) -> None:
        for _ in range(rounds):
            xc.conv(x, w)
            xc.max_pool(x, 2, stride=1)
            xc.max_pool_vjp(y, x, 2, stride=1)
            xc.avg_pool(x, 2)

    calls(50)
    gc.collect()
    tracemalloc.start()
    calls(50)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    calls(2500)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 100_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("algorithm", ["auto", *(name for name in EVERYWHERE if name in ("direct", "gemm"))])
def test_what_is_not_finite_stays_in_its_windows(algorithm: str, value: float) -> None:
    """Also where "auto" would take an algorithm that mixes pixels."""
    for shape, kernel in (((2, 24, 24, 32), 3), ((1, 64, 64, 1), 31)):
        x, w = np.ones(shape, np.float32), np.ones((kernel, kernel, shape[-1], 4), np.float32)
        x[0, 12, 12, 0] = value
        z = xc.conv(x, w, padding="same", algorithm=algorithm)
        reach = kernel // 2
        hit = np.zeros(z.shape, bool)
        hit[0, max(12 - reach, 0) : 13 + reach, max(12 - reach, 0) : 13 + reach] = True
        np.testing.assert_array_equal(np.isfinite(z), ~hit)


@pytest.mark.parametrize("suffix", [".npz", pytest.param(".safetensors", marks=pytest.mark.needs("safetensors"))])
def test_broken_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    storage.save_parameters(path, {"w": np.arange(1000.0), "b": np.ones(3)}, {"note": "text"})
    whole = path.read_bytes()
    for size in (0, 1, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(storage.StorageError):
            storage.load_parameters(path)
    path.write_bytes(os.urandom(500))
    with pytest.raises(storage.StorageError):
        storage.load_parameters(path)


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    path = tmp_path / "w.npz"
    storage.save_parameters(path, {"w": np.ones(3)})
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    if broken == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        storage.save_parameters(path, {"w": np.zeros(1000)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
