"""Timing on a device: calls in a row between two events, over rotating inputs, competitors in turn."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bench.timing import Call, Timing


class Clock(Protocol):
    """Two marks in a stream of work."""

    def start(self) -> Any:
        """Put the first mark."""
        ...

    def stop(self, started: Any) -> float:
        """Put the second mark, wait for it, and give the seconds between the two."""
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


def per_call(clock: Clock, calls: Sequence[Call], count: int) -> float:
    """Time calls in a row, each on the next inputs."""
    started = clock.start()
    for turn in range(count):
        calls[turn % len(calls)]()
    return clock.stop(started) / count


def interleave(clock: Clock, competitors: Mapping[str, Sequence[Call]], pace: Pace) -> dict[str, Timing]:
    """Time competitors in turn, round after round; each gives one call for every set of inputs.

    Warm-up compiles kernels, lets libraries choose theirs and fills memory pools; its last pass says how often to call.
    """
    timings = {}
    for name, calls in competitors.items():
        for call in calls:
            call()
        once = max(per_call(clock, calls, len(calls)), 1e-9)
        timings[name] = Timing(max(1, min(pace.most_calls, round(pace.least / once))))
    for _ in range(pace.rounds):
        for name, calls in competitors.items():
            timings[name].samples.append(per_call(clock, calls, timings[name].calls))
    return timings
