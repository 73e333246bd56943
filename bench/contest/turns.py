"""Turns: every competitor has one in each round, so that a slow moment of the machine meets all of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, TypeVar, runtime_checkable

from bench.measure.clocks import Clock, Pace, per_call
from bench.measure.timing import Settings, Timing

Call = Callable[[], Any]
Name = TypeVar("Name")


@runtime_checkable
class Player(Protocol):
    """One that takes turns."""

    def warm_up(self) -> Timing:
        """Call, and say how often to call in a row."""
        ...

    def turn(self, timing: Timing) -> None:
        """Add a sample."""
        ...


class Here:
    """A call in this process."""

    def __init__(self, call: Call, settings: Settings) -> None:
        self.call, self.settings = call, settings

    def warm_up(self) -> Timing:
        """Call twice: the first may compile, so only the second says how long one takes."""
        self.call()
        once = max(_seconds(self.call, 1), 1e-9)
        calls = max(1, min(self.settings.most_calls, round(self.settings.least / once)))
        return Timing(calls, once > self.settings.slow)

    def turn(self, timing: Timing) -> None:
        """Let all threads come to rest, call to wake one's own and warm the caches, then measure."""
        time.sleep(self.settings.pause)
        if not timing.slow:
            start = time.perf_counter()
            timing.first.append(_seconds(self.call, 1))
            while time.perf_counter() - start < self.settings.warm:
                self.call()
        timing.samples.append(_seconds(self.call, timing.calls))


class OnDevice:
    """Calls in a row on a device, each on the next of several sets of inputs."""

    def __init__(self, calls: Sequence[Call], clock: Clock, pace: Pace) -> None:
        self.calls, self.clock, self.pace = calls, clock, pace

    def warm_up(self) -> Timing:
        """Call on all inputs twice: first kernels are compiled and chosen, and memory pools filled."""
        for call in self.calls:
            call()
        once = max(per_call(self.clock, self.calls, len(self.calls)), 1e-9)
        return Timing(max(1, min(self.pace.most_calls, round(self.pace.least / once))))

    def turn(self, timing: Timing) -> None:
        """Measure."""
        timing.samples.append(per_call(self.clock, self.calls, timing.calls))


def interleave(
    players: Mapping[Name, Player], rounds: int, slow_rounds: int = 3, collecting: bool = False
) -> dict[Name, Timing]:
    """Time every competitor in turn, round after round, slow ones in a few; without garbage collection, if not said."""
    timings = {name: player.warm_up() for name, player in players.items()}
    with nullcontext() if collecting else nothing_collected():
        for turn in range(rounds):
            for name, player in players.items():
                if turn < slow_rounds or not timings[name].slow:
                    player.turn(timings[name])
    return timings


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Collect garbage before a block and not in it."""
    gc.collect()
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _seconds(call: Call, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls
