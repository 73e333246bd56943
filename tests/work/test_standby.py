"""Threads that stay awake: they do what is handed to them, once, hold nothing meanwhile, and go to sleep."""

import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from xpconv._compiled import build, waiting
from xpconv._work import standby, threads
from xpconv._work.standby import Standby, Work

LONG = 1 << 40  # turns that no test waits for


def numbers() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(1, np.intp), np.zeros(1, np.intp)


def until(true: Callable[[], Any]) -> None:
    """Wait for another thread, which nothing but a fault keeps from doing it."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(1e-4)


@pytest.fixture
def awake(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let threads stay awake for so many turns of the loop in plain Python, whether or not Numba is there."""

    def turns(count: int) -> None:
        monkeypatch.setattr(standby, "_measured", lambda: standby._Turns(waiting.wait, count, 3))

    monkeypatch.setattr(standby, "in_use", lambda: True)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    turns(LONG)
    return turns


@pytest.fixture
def serving(awake: Callable[[int], None]) -> Iterator[Standby]:
    """Give threads one of which is awake; it is let go to sleep in the end."""
    here, first = Standby(), Work(lambda: None)
    thread = threading.Thread(target=here.serve, args=(first,))
    thread.start()
    assert first.wait(awake=True) is None
    until(lambda: here._places)
    yield here
    awake(0)
    if here._places:
        assert here.hand(Work(lambda: None))
    thread.join()


def loops() -> list[Any]:
    return [waiting.wait, pytest.param(None, marks=pytest.mark.needs("numba"), id="compiled")]


@pytest.mark.parametrize("loop", loops())
def test_a_number_is_waited_for(loop: Any) -> None:
    loop = loop or build.get("wait", "float32")
    called, told = numbers()
    loop(called, told, 1000, 0)
    assert told[0] == 1
    assert called[0] == 0
    thread = threading.Thread(target=loop, args=(called, told, LONG, 5))
    told[0] = 0
    thread.start()
    until(lambda: told[0])
    assert thread.is_alive()
    called[0] = 1
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.needs("numba")
def test_a_moment_is_measured() -> None:
    turns = standby._measured()
    assert 0 < turns.settle < turns.patience
    assert turns.patience * standby.SETTLE == pytest.approx(turns.settle * standby.PATIENCE, rel=0.2)


def test_work_is_done_once_or_taken_back() -> None:
    done: list[int] = []
    work = Work(lambda: done.append(1))
    work.do(), work.do()
    assert not work.take_back()
    assert work.wait(awake=False) is None
    assert done == [1]
    other = Work(lambda: done.append(2))
    assert other.take_back()
    other.do()
    assert done == [1]


def test_an_error_is_given_once_and_the_context_is_its_makers() -> None:
    with np.errstate(over="raise"):
        work = Work(lambda: np.float32(3e38) * np.float32(3e38))  # type: ignore[arg-type, return-value]
    thread = threading.Thread(target=work.do)
    thread.start()
    thread.join()
    assert isinstance(work.wait(awake=False), FloatingPointError)
    assert work.wait(awake=False) is None


def test_a_thread_that_is_awake_does_what_is_handed_to_it(serving: Standby) -> None:
    who: list[int] = []
    for count in range(1, 6):
        work = Work(lambda: who.append(threading.get_ident()))
        assert serving.hand(work)
        assert work.wait(awake=True) is None
        assert len(who) == count
        until(lambda: serving._places)
    assert len(set(who)) == 1
    assert who[0] != threading.get_ident()


def test_it_goes_on_after_an_error(serving: Standby) -> None:
    work = Work(lambda: [][0])
    assert serving.hand(work)
    assert isinstance(work.wait(awake=True), IndexError)
    until(lambda: serving._places)


def test_it_is_handed_to_by_one(serving: Standby) -> None:
    free, works = threading.Event(), [Work(lambda: None), Work(lambda: None)]
    first = Work(lambda: free.wait(60) and None)
    assert serving.hand(first)
    assert not any(map(serving.hand, works))
    free.set()
    assert first.wait(awake=False) is None
    until(lambda: serving._places)


def test_it_holds_nothing_while_it_waits(serving: Standby) -> None:
    array = np.zeros(3)
    gone, work = weakref.ref(array), Work(lambda array=array: array.fill(1))  # type: ignore[misc]
    assert serving.hand(work)
    assert work.wait(awake=True) is None
    until(lambda: serving._places)
    del array
    assert gone() is None  # though its work is still known here
    assert not work.take_back()


def test_work_in_the_queue_is_taken_before_a_thread_waits(awake: Callable[[int], None]) -> None:
    """What was taken back is in it as well, and would become more and more."""
    here, done, free = Standby(), threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as executor:
        try:
            here.give(Work(lambda: free.wait(60) and None), executor)
            until(lambda: not here._queued)
            gone = Work(lambda: None)
            here.give(gone, executor)
            assert gone.take_back()
            here.give(Work(done.set), executor)
            assert here._queued == 2
            free.set()
            assert done.wait(10)
            until(lambda: here._places)
            assert here._queued == 0
        finally:
            awake(0)
            here.hand(Work(lambda: None))


def test_it_goes_to_sleep(awake: Callable[[int], None]) -> None:
    awake(10)
    here, work = Standby(), Work(lambda: None)
    here.serve(work)  # which comes back
    assert here._places == []
    assert work.left[0] == 1
    assert not here.hand(Work(lambda: None))


@pytest.mark.parametrize("most", [0, 1])
def test_no_more_are_awake_than_cores_beside_the_callers(awake: Callable[[int], None], most: int) -> None:
    here = Standby()
    assert here.most == 2
    here.most = most
    here._places += [standby._Place() for _ in range(most)]
    work = Work(lambda: None)
    here.serve(work)
    assert work.left[0] == 1
    assert len(here._places) == most


def test_without_compiled_loops_nobody_stays_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "in_use", lambda: False)
    monkeypatch.setattr(standby, "_measured", None)  # is not asked
    here, work = Standby(), Work(lambda: None)
    here.serve(work)
    assert work.wait(awake=True) is None


def test_jobs_are_shared_with_a_thread_that_is_awake(
    awake: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Call after call, with results in order; errors are raised."""
    pool = threads._Pool()
    monkeypatch.setattr(threads, "_pool", pool)
    together = threading.Barrier(2)

    def job(index: int, state: None) -> tuple[int, int]:
        if index < 2:
            together.wait(60)
        return index, threading.get_ident()

    def run(job: Any) -> list[Any]:
        return threads.run(job, 5, lambda: None, lambda _: None, 2, collect=True)

    helpers = set()
    for _ in range(10):
        found = run(job)
        assert [index for index, _ in found] == list(range(5))
        helpers |= {who for _, who in found} - {threading.get_ident()}
        until(lambda: pool._standby._places)
    assert len(helpers) == 1

    def wrong(index: int, state: None) -> None:
        together.wait(60)
        if threading.get_ident() in helpers:
            raise KeyError(index)

    with pytest.raises(KeyError):
        threads.run(wrong, 2, lambda: None, lambda _: None, 2, collect=False)
    until(lambda: pool._standby._places)
    awake(0)
    assert run(job)
    assert pool._executor is not None
    pool._executor.shutdown()


@pytest.mark.needs("numba")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_no_thread_that_is_awake() -> None:
    script = """
        import os, warnings
        warnings.filterwarnings("ignore", "This process", DeprecationWarning)
        import numpy as np, xpconv as xc
        from xpconv._work import standby, threads
        x, w = np.ones((4, 56, 56, 64), "f4"), np.ones((3, 3, 1, 64), "f4")
        xc.set_options(threads=2)
        conv = lambda: xc.conv(x, w, groups=64, algorithm="compiled")
        standby.PATIENCE = 0.5
        conv()
        z = conv()
        child = os.fork()
        if not child:
            os._exit(threads._pool._standby._places != [] or not (conv() == z).all())
        print(os.waitpid(child, 0)[1], (conv() == z).all())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["0", "True"]
