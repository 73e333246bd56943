"""Clocks of a device and of the host in its place, and calls in a row between two marks, over rotating inputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Clock(Protocol):
    """Two marks in a stream of work."""

    def start(self) -> Any:
        """Put the first mark."""
        ...

    def stop(self, started: Any) -> float:
        """Put the second mark, wait for it, and read the seconds between the two."""
        ...


class HostClock:
    """The host's clock, for work that is done when its call returns."""

    def start(self) -> float:
        """Read the clock."""
        return time.perf_counter()

    def stop(self, started: float) -> float:
        """Read it again."""
        return time.perf_counter() - started


class EventClock:
    """Events in the current stream of CuPy, which is PyTorch's too: the legacy default stream."""

    def __init__(self, cupy: Any) -> None:
        self.cuda = cupy.cuda

    def start(self) -> Any:
        """Let earlier work end, so that the queue is empty, and record an event."""
        self.cuda.runtime.deviceSynchronize()
        event = self.cuda.Event()
        event.record()
        return event

    def stop(self, started: Any) -> float:
        """Record a second event and wait for it."""
        event = self.cuda.Event()
        event.record()
        event.synchronize()
        return 1e-3 * float(self.cuda.get_elapsed_time(started, event))  # milliseconds


@dataclass(frozen=True)
class Pace:
    """How long to measure."""

    rounds: int = 5
    least: float = 0.005  # seconds that a sample lasts at least
    most_calls: int = 200


def per_call(clock: Clock, calls: Sequence[Callable[[], Any]], count: int) -> float:
    """Time calls in a row, each on the next inputs."""
    started = clock.start()
    for turn in range(count):
        calls[turn % len(calls)]()
    return clock.stop(started) / count
