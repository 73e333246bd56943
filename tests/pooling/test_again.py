"""Pools in loops that come again give the same bits, without looking for their arrays."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import beside
from tests.pooling.test_compiled import ADAPTIVE, DEEP, LARGE, SMALL, bits, gradient, images
from xpconv._compiled import build
from xpconv._engine.repeat import repeats
from xpconv._pooling import compiled
from xpconv._pooling.sweep import FEW
from xpconv._work.memory import pool

pytestmark = pytest.mark.needs("numba")
ALONG = ("17 stride 2", "long", "long stride 1", "3-d")  # whose gradients of maxima go along one axis after another


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpconv._pooling.compiled.LEAST", 1)
    repeats.forget()


def passes(case: Any, x: np.ndarray, kind: str) -> Iterator[np.ndarray]:
    """Give what is noted of a pooling: of all that have the maxima of one, and of those with averages."""
    _, window, options = case
    y = xc.max_pool(x, window, **options)
    dy = gradient(y.shape, kind, x.dtype.name)
    yield from (y, xc.max_pool_vjp(dy, x, window, **options))
    for padded in (True, False):
        yield xc.avg_pool(x, window, count_include_pad=padded, **options)
        yield xc.avg_pool_vjp(dy, x.shape, window, count_include_pad=padded, **options)


def adaptive(case: Any, x: np.ndarray, kind: str) -> Iterator[np.ndarray]:
    y = xc.adaptive_avg_pool(x, case[1])
    dy = gradient(y.shape, kind, x.dtype.name)
    yield from (y, xc.adaptive_max_pool(x, case[1]), xc.adaptive_avg_pool_vjp(dy, x, case[1]))
    yield xc.adaptive_max_pool_vjp(dy, x, case[1])


def noted() -> int:
    """Count the passes that are noted."""
    return sum(hasattr(value, "perform") for value in repeats._known.values())


def demand_same(case: Any, kind: str, dtype: str, of: Any = passes, **options: Any) -> int:
    """Compare four turns on other images with NumPy's calls; count the passes that were noted."""
    x = images(case[0], kind, dtype)
    repeats.forget()
    threads = options.pop("threads", None)
    for turn in range(4):
        pool.clear()
        pool.give([np.full(block.size, 255, np.uint8) for block in [pool.take(1 << 17), pool.take(1 << 19)]])
        given = np.roll(x, turn, 1) * (1 + turn % 2)
        with np.errstate(invalid="ignore"):
            with xc.set_options(compiled=False, **options):
                wanted = [bits(array) for array in of(case, given, kind)]
            with xc.set_options(compiled=True, threads=threads, **options):
                found = [bits(array) for array in of(case, given, kind)]
        assert [a == b for a, b in zip(found, wanted, strict=True)] == [True] * len(wanted), turn
    return noted()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SMALL | DEEP)
def test_small(name: str, dtype: str) -> None:
    for kind in ("zeros", "nan"):
        assert demand_same((SMALL | DEEP)[name][0], kind, dtype) == 5 + (name not in ALONG)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive(name: str) -> None:
    for kind in ("zeros", "nan"):
        assert demand_same(ADAPTIVE[name], kind, "float32", of=adaptive) == 4


@pytest.mark.parametrize("name", ["many images", "8x8 padded", "overlapping", "global", "1-d in pairs"])
def test_in_tiles(name: str) -> None:
    """A job takes several tiles."""
    assert demand_same(LARGE[name], "nan", "float32", threads=1, max_workspace=4 << 20)


def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be kept that follows from the limits."""
    for cached in (compiled._share_of, compiled._rows_apart):
        monkeypatch.setattr(compiled, cached.__name__, cached.__wrapped__)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("name", ["many images", "8x8 padded", "overlapping", "global", "1-d in pairs", "3-d"])
@pytest.mark.parametrize("much", [False, True])
def test_what_threads_share(name: str, threads: int, much: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job for each thread or, where they are long, some more, of whole images: if these are enough for threads."""
    fresh(monkeypatch)
    monkeypatch.setattr(compiled, "NOTED", 0)
    if much:
        monkeypatch.setattr(compiled, "WAKING", 0)
    batch = LARGE[name][0][0]
    assert demand_same(LARGE[name], "nan", "float32", threads=threads) or batch < threads
    noted = [one.perform for one in repeats._known.values() if hasattr(one, "perform")]
    shared = {(len(jobs), workers) for one in noted for jobs, workers in one._stages if len(jobs) > 1}
    if batch >= threads or not much:
        assert {workers for _, workers in shared} == {min(threads, batch)}
    assert max([jobs for jobs, _ in shared], default=1) <= FEW * threads


def test_what_takes_long_is_not_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noting goes on one thread."""
    fresh(monkeypatch)
    monkeypatch.setattr(compiled, "WAKING", 0)
    monkeypatch.setattr(compiled, "LONG", 0)
    case: Any = ((9, 300, 57, 32), 3, {"stride": 2, "padding": 1})
    assert not demand_same(case, "nan", "float32", threads=2)


def test_what_takes_too_much_memory_is_not_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each job has work arrays of its own, all of them at once: wide rows, of which a job holds some."""
    fresh(monkeypatch)
    monkeypatch.setattr(compiled, "WAKING", 0)
    monkeypatch.setattr(compiled, "NOTED", 0)
    case: Any = ((4, 5, 1200, 32), 3, {"stride": 1, "padding": 1})
    x = images(case[0], "normal", "float32")
    with xc.set_options(compiled=True, threads=4, max_workspace=2 << 20):
        y = xc.max_pool(x, 3, **case[2])
        calls: list[Any] = [
            lambda: xc.max_pool(x, 3, **case[2]),
            lambda: xc.avg_pool(x, 3, **case[2]),
            lambda: xc.max_pool_vjp(y, x, 3, **case[2]),
            lambda: xc.avg_pool_vjp(y, x.shape, 3, **case[2]),
        ]
        for call in calls:
            repeats.forget()
            for _ in range(2):
                assert beside(call) <= 2 << 20


def test_loops_are_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    case = SMALL["3x3 stride 2"][0]
    x = images(case[0], "normal", "float32")
    with xc.set_options(compiled=True):
        for _ in range(3):
            wanted = [bits(array) for array in passes(case, x, "normal")]
        with monkeypatch.context() as patch:
            patch.setattr(compiled, "serves", None)
            assert [bits(array) for array in passes(case, x, "normal")] == wanted
            with pytest.raises(TypeError):  # arrays that lie in another way
                xc.max_pool(np.asfortranarray(x), case[1], **case[2])


def test_calls_that_had_no_kernel_yet_are_noted_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "ledger", build.Ledger())
    monkeypatch.setattr(build, "COMPILING", 1e9)
    monkeypatch.setattr(build, "LOADING", 1e9)
    x = images((2, 8, 8, 16), "normal", "float32")
    with xc.set_options(compiled=None):
        for _ in range(4):
            wanted = xc.max_pool(x, 2)
        assert noted() == 0
        monkeypatch.setattr(build, "COMPILING", 0.0)
        monkeypatch.setattr(build, "LOADING", 0.0)
        for _ in range(4):
            assert bits(xc.max_pool(x, 2)) == bits(wanted)
        assert noted() == 1


def test_results_are_the_callers_own_and_arguments_may_be_read_only() -> None:
    x = images((2, 8, 8, 16), "normal", "float32")
    x.flags.writeable = False
    with xc.set_options(compiled=True):
        found = [xc.max_pool(x, 2) for _ in range(5)]
        found[4][...] = 0
    assert all(np.array_equal(found[0], other) for other in found[:4])


def test_one_array_twice_is_not_taken_for_two() -> None:
    x = images((2, 6, 6, 16), "normal", "float32")
    options: dict[str, Any] = {"stride": 1, "padding": 1}
    with xc.set_options(compiled=True):
        for _ in range(3):
            xc.max_pool_vjp(x, x, 3, **options)
        found = [xc.max_pool_vjp(2 * x, x, 3, **options) for _ in range(4)]
    with xc.set_options(compiled=False):
        wanted = xc.max_pool_vjp(2 * x, x, 3, **options)
    assert all(bits(array) == bits(wanted) for array in found)
