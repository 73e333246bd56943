"""Run jobs on Python threads, each of which calls BLAS with one thread of its own.

A matrix product that BLAS spreads over its own threads leaves them spinning on cores that our threads need, so for
the length of a call BLAS is limited to one thread. The limit belongs to the process; calls that overlap share it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from types import TracebackType
from typing import Any, TypeVar

from xpconv._work.standby import Standby, Work

Result = TypeVar("Result")
State = TypeVar("State")


@lru_cache(maxsize=1)
def blas() -> list[Any]:
    """Find the BLAS libraries of this process, once: it costs milliseconds."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set_blas_threads(counts: list[int]) -> None:
    """Set the number of threads of each BLAS library."""
    for library, count in zip(blas(), counts, strict=True):
        library.set_num_threads(count)
        if library.get_num_threads() != count:
            # OpenBLAS 0.3.31 ignores the call from a thread other than the one that called it first; this one it obeys
            again = getattr(library.dynlib, "openblas_set_num_threads_local", None)
            if again is not None:
                again(count)


class _OneBlasThread:
    """Limit BLAS to one thread while any call is inside; the last one out puts the former limit back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[int] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = [library.get_num_threads() for library in blas()]
                _set_blas_threads([1] * len(self._before))
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._restore()

    def _restore(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            _set_blas_threads(before)

    def reset(self) -> None:
        """Start anew in a forked child, where no call of the parent goes on."""
        self._lock = threading.Lock()
        self._inside = 0
        self._restore()


one_blas_thread = _OneBlasThread()


@lru_cache(maxsize=1)
def _current_core() -> Callable[[], int] | None:
    """Find the C library's function that says on which core the calling thread runs, where there is one."""
    try:
        return ctypes.CDLL(None).sched_getcpu
    except (AttributeError, OSError, TypeError):
        return None


class _Elsewhere:
    """Keep the pool's threads off the caller's core.

    A thread that is woken may be put on the core of the one that wakes it and wait there for milliseconds, while others
    are idle (measured with two cores: 4.9 ms instead of 2.3 ms for a pointwise layer).
    """

    def __init__(self) -> None:
        self.threads: list[int] = []
        self._last: tuple[int, frozenset[int], int] | None = None

    def join(self) -> None:
        """Count the calling thread among the pool's."""
        self.threads.append(threading.get_native_id())

    def leave_caller(self) -> None:
        """Let the pool's threads run on all of the caller's cores but the one where it is."""
        getcpu = _current_core()
        if getcpu is None or not hasattr(os, "sched_setaffinity"):
            return
        core, allowed = getcpu(), frozenset(os.sched_getaffinity(0))
        state = core, allowed, len(self.threads)
        if state == self._last or len(allowed) < 2:
            return
        self._last = state
        for thread in self.threads:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread, allowed - {core})


class _Pool:
    """A thread pool that grows with the number of threads asked for."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the threads: a forked child has none of its parent's."""
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._size = 0
        self._elsewhere, self._standby = _Elsewhere(), Standby()

    def submit(self, every: list[Work]) -> None:
        """Start work on up to as many threads, on those that are awake first."""
        count = len(every)
        with self._lock:
            if self._executor is None or self._size < count:
                if self._executor is not None:
                    self._executor.shutdown(wait=False)
                self._elsewhere, self._standby = _Elsewhere(), Standby()
                self._executor = ThreadPoolExecutor(count, "xpconv", initializer=self._elsewhere.join)
                self._size = count
            self._elsewhere.leave_caller()
            # when the interpreter is shutting down nobody takes any, and the caller does the work alone
            try:
                with contextlib.suppress(RuntimeError):
                    for work in every:
                        self._standby.give(work, self._executor)
            except BaseException:
                self._executor = None  # an interrupt (Ctrl-C) may have left one of its locks taken
                raise

    def wait(self, every: list[Work]) -> list[BaseException]:
        """Wait for what has begun, and let no thread begin the rest; give what was raised.

        An interrupt (Ctrl-C) is raised when all is done: others may be using memory that the caller will give back.
        """
        try:
            return self._wait(every, awake=True)
        except BaseException:
            while True:
                with contextlib.suppress(BaseException):
                    self._wait(every, awake=False)
                    break
            raise

    def _wait(self, every: list[Work], *, awake: bool) -> list[BaseException]:
        begun = [work for work in every if not work.take_back()]
        awake = awake and len(begun) <= self._standby.most
        return [error for work in begun if (error := work.wait(awake=awake)) is not None]


_pool = _Pool()


def _after_fork() -> None:
    _pool.reset()
    one_blas_thread.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def once(make: Callable[[], Result]) -> Callable[[], Result]:
    """Make something when it is first asked for, and once, whichever thread asks."""
    lock = threading.Lock()
    made: list[Result] = []

    def give() -> Result:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return give


def run(
    job: Callable[[int, State], Result],
    count: int,
    make_state: Callable[[], State],
    release: Callable[[State], None],
    workers: int,
    *,
    collect: bool,
) -> list[Result]:
    """Run job(0, …) to job(count - 1, …), at most `workers` at once; give the results in order if `collect`.

    Each worker makes one state, hands it to each of its jobs and releases it. The calling thread is one of the workers,
    so a busy pool delays nobody. The first exception of any job ends the run and is raised.
    """
    results: list[Any] = [None] * count if collect else []
    workers = min(workers, count)
    waiting = iter(range(count))
    lock = threading.Lock()
    failed = False

    def work(state: State) -> None:
        nonlocal failed
        try:
            while not failed:
                with lock:
                    index = next(waiting, None)
                if index is None:
                    return
                try:
                    result = job(index, state)
                except BaseException:
                    failed = True
                    raise
                if collect:
                    results[index] = result
        finally:
            release(state)

    if workers <= 1:
        work(make_state())
        return results
    state = make_state()  # before others are called, who ask for the interpreter's lock soon after
    others = [Work(lambda: work(make_state())) for _ in range(workers - 1)]
    try:
        _pool.submit(others)
        work(state)
    except BaseException:
        failed = True
        raise
    finally:
        errors = _pool.wait(others)
    try:
        if errors:
            raise errors[0]
    finally:
        errors.clear()  # one that was raised leads here, and from here to itself
    return results
