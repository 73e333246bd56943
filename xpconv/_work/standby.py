"""Work for a thread, and threads that stay awake for it.

To wake a thread takes 0.1 ms and more, as long as a small layer. Where compiled loops are in use, a thread that has
done its work looks for more in one, for a moment, before it goes to sleep; a call that follows at once finds it awake.
(The threads of OpenMP and of BLAS, which other libraries call, stay awake for milliseconds.)
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from xpconv._compiled.build import get, in_use

Array = np.ndarray[Any, Any]
PATIENCE = 250e-6  # seconds that a thread stays awake
# seconds from when a thread is called until it asks for the interpreter's lock: the caller holds that until it is in a
# loop itself, and who asks too soon is put to sleep (two jobs of 50 µs, median: 85 µs, at once 145; the other thread
# begins 20 µs after the caller called it, or 50)
SETTLE = 10e-6
LONG = 20e-6  # seconds of turns beside which their call takes no time


class _Turns(NamedTuple):
    """The loop that waits, and how many of its turns are these moments."""

    loop: Callable[[Array, Array, int, int], None]
    patience: int
    settle: int


@lru_cache(maxsize=1)
def _measured() -> _Turns:
    loop, turns, least = get("wait", "float32"), 500, 0.0
    while least < LONG:
        turns *= 2
        least = min(_time(loop, turns) for _ in range(5))
    return _Turns(loop, int(PATIENCE * turns / least), int(SETTLE * turns / least))


def _time(loop: Callable[[Array, Array, int, int], None], turns: int) -> float:
    before = time.perf_counter()
    loop(_number(), _number(), turns, 0)
    return time.perf_counter() - before


def _number() -> Array:
    return np.zeros(1, np.intp)


class Work:
    """What one thread does, in a copy of the context of whoever made it (np.errstate)."""

    def __init__(self, task: Callable[[], None]) -> None:
        self._task: Callable[[], None] | None = partial(copy_context().run, task)
        self._by: dict[str, object] = {}  # who has it: whoever comes first, in one call, which nothing interrupts
        self._done = threading.Lock()
        self._done.acquire()
        self._error: BaseException | None = None
        self.left = _number()  # 1 when its thread has left the interpreter as well

    def do(self) -> None:
        """Do it, unless it was taken back."""
        one = object()
        if self._by.setdefault("thread", one) is not one:
            return
        try:
            assert self._task is not None
            self._task()
        except BaseException as error:
            self._error = error
        finally:
            self._task = None
            self._done.release()

    def take_back(self) -> bool:
        """Let no thread do it; say whether none has begun. It stays in the pool's queue, and holds on to nothing.

        Who was interrupted asks again.
        """
        if self._by.setdefault("thread", None) is not None:
            return False
        self._task = None
        return True

    def wait(self, *, awake: bool) -> BaseException | None:
        """Wait until what has begun is done, for a moment awake; give what it raised."""
        if awake and in_use():
            turns = _measured()
            turns.loop(self.left, _number(), turns.patience, 0)
        with self._done:
            error, self._error = self._error, None
        return error


class _Place:
    """Where a thread that is awake finds its next work.

    Locks alone decide who has work and whether it is done; numbers that a loop looks at end its wait, no more.
    """

    def __init__(self) -> None:
        self.called = _number()
        self.work: Work | None = None


class Standby:
    """Threads that are awake, fewer than there are cores."""

    def __init__(self) -> None:
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        self.most = len(allowed) - 1
        self._lock = threading.Lock()
        self._places: list[_Place] = []
        self._queued = 0  # works that no thread has taken from the pool's queue

    def give(self, work: Work, executor: Executor) -> None:
        """Give work to a thread that is awake, or have it wait for one of a pool's."""
        if self.hand(work):
            return
        with self._lock:
            self._queued += 1
        executor.submit(self._take, work)

    def _take(self, work: Work) -> None:
        with self._lock:
            self._queued -= 1
        self.serve(work)

    def hand(self, work: Work) -> bool:
        """Give work to a thread that is awake; say whether there is one."""
        with self._lock:
            if not self._places:
                return False
            place = self._places.pop()
            place.work = work
            place.called[0] = 1
        return True

    def serve(self, work: Work) -> None:
        """Do work, and what comes while this thread is awake."""
        following: Work | None = work
        del work
        while following is not None:
            following.do()
            left = following.left
            following = None  # a thread that waits holds on to nothing
            following = self._wait(left)

    def _wait(self, left: Array) -> Work | None:
        """Stay awake for a moment, unless there is work in the queue; give the work that came."""
        turns = _measured() if in_use() else None
        place = None if turns is None else self._join()
        if turns is None or place is None:
            left[0] = 1
            return None
        turns.loop(place.called, left, turns.patience, turns.settle)
        with self._lock:
            if place.work is None:
                self._places.remove(place)
            return place.work

    def _join(self) -> _Place | None:
        """Give the calling thread a place, if it may stay awake."""
        with self._lock:
            if self._queued or len(self._places) >= self.most:
                return None
            self._places.append(place := _Place())
        return place
