"""Threads: the same bits for any number of them, after a fork, from many callers at once; BLAS is left as it was."""

import contextlib
import gc
import multiprocessing
import os
import re
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import threadpoolctl

import xpconv as xc
from tests.cases import values
from xpconv._work import threads as _threads

X, W = values((4, 64, 60, 24), 0, "float32"), values((3, 3, 24, 32), 1, "float32")
B, DZ = values((32,), 2, "float32"), values((4, 64, 60, 32), 3, "float32")
DY = values((4, 32, 30, 24), 4, "float32")
DEEP_X, DEEP_W = values((2, 8, 8, 256), 5, "float32"), values((3, 3, 256, 256), 6, "float32")
DEEP_DZ = values((2, 8, 8, 256), 7, "float32")

CALLS: dict[str, Callable[[], Any]] = {
    "conv": lambda: xc.conv(X, W, B, padding=1),
    "conv, direct": lambda: xc.conv(X, W, B, padding=1, algorithm="direct"),
    "conv, gemm": lambda: xc.conv(X, W, B, padding=1, algorithm="gemm"),
    "conv_vjp": lambda: xc.conv_vjp(DZ, X, W, padding=1),
    "conv_vjp, direct": lambda: xc.conv_vjp(DZ, X, W, padding=1, algorithm="direct"),
    "conv_vjp, deep": lambda: xc.conv_vjp(DEEP_DZ, DEEP_X, DEEP_W, padding=1),
    "conv_vjp, stride": lambda: xc.conv_vjp(DZ[:, :32, :30], X, W, padding=1, stride=2),
    "conv_vjp, depthwise": lambda: xc.conv_vjp(DZ[..., :24], X, W[..., :1, :24], padding=1, groups=24),
    "conv_vjp, float16": lambda: xc.conv_vjp(*(a.astype("float16") for a in (DZ, X, W)), padding=1),
    "max_pool": lambda: xc.max_pool(X, 2, return_indices=True),
    "max_pool_vjp": lambda: xc.max_pool_vjp(DY, X, 3, stride=2, padding=1, ties="split"),
    "avg_pool": lambda: xc.avg_pool(X, 3, stride=2, padding=1),
    "avg_pool_vjp": lambda: xc.avg_pool_vjp(DY, X.shape, 3, stride=2, padding=1),
}


def bits(result: Any) -> bytes:
    """Give the bytes of a result, or of several."""
    return b"".join(r.tobytes() for r in (result if isinstance(result, tuple) else (result,)))


def serial(name: str) -> bytes:
    """Give the bytes of a call on one thread."""
    with xc.set_options(threads=1):
        return bits(CALLS[name]())


def blas() -> list[tuple[str, int]]:
    """Give the thread count of every BLAS library in this process."""
    return sorted((p["filepath"], p["num_threads"]) for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas")


@pytest.mark.parametrize("name", CALLS)
def test_results_do_not_depend_on_the_number_of_threads(name: str) -> None:
    wanted = serial(name)
    for threads in range(1, 9):
        with xc.set_options(threads=threads):
            assert bits(CALLS[name]()) == wanted, f"{threads} threads"


@pytest.mark.parametrize("name", CALLS)
def test_the_same_call_gives_the_same_bits(name: str) -> None:
    with xc.set_options(threads=3):
        assert len({bits(CALLS[name]()) for _ in range(8)}) == 1


def test_many_user_threads_at_once() -> None:
    """Eight callers, each with several threads of its own, agree with one caller."""
    wanted = {name: serial(name) for name in CALLS}
    with xc.set_options(threads=3), ThreadPoolExecutor(8) as users:
        asked = [(name, users.submit(call)) for _ in range(3) for name, call in CALLS.items()]
        for name, future in asked:
            assert bits(future.result(timeout=120)) == wanted[name], name


@pytest.mark.parametrize("limit", [1, 2])
def test_blas_gets_its_threads_back(limit: int) -> None:
    """After calls, overlapping calls and an exception, and to whatever it was set before."""
    with threadpoolctl.threadpool_limits(limit, user_api="blas"):
        before = blas()
        assert before
        with xc.set_options(threads=2):
            for call in CALLS.values():
                call()
                assert blas() == before
            with pytest.raises(ValueError, match="conv:"):
                xc.conv(X, W[..., :5, :])
            assert blas() == before
            with ThreadPoolExecutor(6) as users:
                list(users.map(lambda call: call(), CALLS.values()))
            assert blas() == before


def test_an_error_inside_a_thread_is_raised_and_blas_gets_its_threads_back() -> None:
    """An overflow that NumPy is told to raise happens in a worker, and the caller's errstate reaches it."""
    before = blas()
    big = np.full((4, 64, 60, 24), 3e38, np.float32)
    with xc.set_options(threads=4):
        with np.errstate(over="raise"), pytest.raises(FloatingPointError):
            xc.avg_pool(big, 3)
        assert blas() == before
        with np.errstate(over="ignore"):
            assert np.isinf(xc.avg_pool(big, 3)).all()
    assert bits(CALLS["avg_pool"]()) == serial("avg_pool")


def test_a_call_holds_nothing_while_the_pool_is_busy() -> None:
    free = threading.Event()

    def wait() -> None:
        free.wait(60)

    busy = [_threads.Work(wait) for _ in range(2)]
    _threads._pool.submit(busy)
    try:
        array, state = np.zeros(1), np.zeros(1)
        gone = weakref.ref(array), weakref.ref(state)
        _threads.run(
            lambda index, own, array=array: None, 4, lambda state=state: state, lambda _: None, 3, collect=False
        )
        del array, state
        assert [one() for one in gone] == [None, None]
    finally:
        free.set()
        assert _threads._pool.wait(busy) == []


@pytest.mark.parametrize("again", [False, True])
def test_who_is_interrupted_waits_for_the_others(again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be using memory that the caller will give back; a second interrupt comes too soon as well."""
    monkeypatch.setattr(_threads, "_pool", _threads._Pool())
    caller, begun, done = threading.current_thread(), threading.Event(), threading.Event()
    interrupts, wait = [KeyboardInterrupt] * (1 + again), _threads.Work.wait

    def interrupted(self: _threads.Work, *, awake: bool) -> BaseException | None:
        if interrupts:
            raise interrupts.pop()
        free.set()
        return wait(self, awake=awake)

    def job(index: int, state: None) -> None:
        if threading.current_thread() is caller:
            assert begun.wait(60)
            return
        begun.set()
        assert free.wait(60)
        done.set()

    free = threading.Event()
    monkeypatch.setattr(_threads.Work, "wait", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            _threads.run(job, 2, lambda: None, lambda _: None, 2, collect=False)
        assert done.is_set()
        assert interrupts == []
    finally:
        free.set()


def test_after_an_interrupt_while_threads_are_called_there_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ThreadPoolExecutor.submit` that is interrupted may leave a lock of the executor's taken: nobody comes by it."""
    pool = _threads._Pool()
    monkeypatch.setattr(_threads, "_pool", pool)

    def call() -> list[int]:
        return _threads.run(lambda index, _: index, 3, lambda: None, lambda _: None, 2, collect=True)

    assert call() == [0, 1, 2]
    before = pool._executor
    assert before is not None
    with monkeypatch.context() as patch:
        patch.setattr(before, "submit", lambda *_: [][0])
        patch.setattr(pool._standby, "hand", lambda _: False)
        with pytest.raises(IndexError):
            call()
    assert call() == [0, 1, 2]
    assert pool._executor is not before


def test_an_error_inside_a_thread_holds_nothing_after_it_was_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "_pool", _threads._Pool())
    caller, together, gone = threading.current_thread(), threading.Barrier(2), []

    def job(index: int, state: None) -> None:
        array = np.zeros(1)
        together.wait(60)
        if threading.current_thread() is not caller:
            gone.append(weakref.ref(array))
            raise KeyError(index)

    gc.disable()
    try:
        with contextlib.suppress(KeyError):
            _threads.run(job, 2, lambda: None, lambda _: None, 2, collect=False)
        assert [one() for one in gone] == [None]
    finally:
        gc.enable()


def test_blas_while_calls_overlap() -> None:
    """The limit goes when the last call ends, not the first: a long call among many short ones."""
    before, stop = blas(), threading.Event()

    def short_calls() -> None:
        while not stop.is_set():
            CALLS["conv, gemm"]()

    callers = [threading.Thread(target=short_calls) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        wanted = serial("conv_vjp")
        for _ in range(3):
            assert bits(CALLS["conv_vjp"]()) == wanted
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert blas() == before


def run(script: str, **environment: str) -> str:
    """Run a script in a fresh interpreter with warnings as errors, and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LAYER = """
    import hashlib, os
    import numpy as np
    import xpconv as xc

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 64, 60, 24), np.float32), rng.standard_normal((3, 3, 24, 32), np.float32)

    def digest(_=None):
        return hashlib.sha256(xc.conv(x, w, padding=1).tobytes()).hexdigest()
"""

FORK = (
    LAYER
    + """
    xc.set_options(threads=4)
    here = digest()  # the parent has its threads by now
    for _ in range(3):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, digest().encode())
            os._exit(0)
        os.close(write)
        _, status = os.waitpid(child, 0)
        assert status == 0
        assert os.read(read, 100).decode() == here
    assert digest() == here
    print("same")
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork() -> None:
    """Between calls. (A fork while another thread is inside OpenBLAS hangs a child of plain NumPy, too.)"""
    quiet = "import warnings; warnings.filterwarnings('ignore', 'This process', DeprecationWarning)\n"  # 3.12 and later
    assert run(quiet + textwrap.dedent(FORK)).strip() == "same"


def of_a_process(_: int) -> bytes:
    """Run in a process of its own."""
    return bits(CALLS["conv_vjp"]())


def test_after_a_spawn() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as processes:
        assert processes.map(of_a_process, [0]) == [serial("conv_vjp")]


def test_the_environment_sets_the_number_of_threads() -> None:
    """Read where the package is imported: three times, anew, in one interpreter, and once where it is wrong."""
    script = """
        import os, sys

        def threads(given):
            os.environ["XPCONV_NUM_THREADS"] = given
            for name in [name for name in sys.modules if name.partition(".")[0] == "xpconv"]:
                del sys.modules[name]
            import xpconv as xc
            return xc.set_options()

        print(threads("3"))
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            print(threads(""))
        for bad in ("0", "many"):
            try:
                threads(bad)
            except ValueError as error:
                print(error)
    """
    lines = run(script).splitlines()
    assert "threads=3" in lines[0]
    assert len(lines) == 3 or "threads=1" in lines[1]
    for line, bad in zip(lines[-2:], ("0", "many"), strict=True):
        assert re.search(f"XPCONV_NUM_THREADS .*'{bad}'", line)


def test_a_small_workspace_gives_the_same_bits_for_any_number_of_threads() -> None:
    """What is copied for the sake of speed does not depend on how many workers share the workspace."""
    dz, w = values((1, 32, 32, 600), 0, "float32"), values((1, 1, 64, 600), 1, "float32")
    found = []
    for threads in (1, 2, 4):
        with xc.set_options(max_workspace=1 << 20, threads=threads):
            found.append(bits(xc.conv_input_grad(dz, w, (1, 32, 32, 64))))
    assert found[0] == found[1] == found[2]
