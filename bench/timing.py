"""Interleaved timing: every competitor once in each round, so that a slow moment of the machine meets all of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

Call = Callable[[], Any]
Name = TypeVar("Name")

CONTROL = "control"
PAUSE = 0.06  # seconds; measured: idle threads of OpenBLAS spin for 25 ms, those of GNU OpenMP for 8
LONG_PAUSE = 0.25  # LLVM's and Intel's OpenMP: 200 ms (KMP_BLOCKTIME)


@dataclass(frozen=True)
class Settings:
    """How to time."""

    rounds: int = 15
    pause: float = PAUSE
    # seconds of unmeasured calls: on a virtual machine, cores that rested wake slowly for some 10 ms, which a library
    # whose threads block when they wait meets at each wait, and one whose threads spin does not
    warm: float = 0.03
    least: float = 0.03  # seconds that a sample lasts at least: short calls are repeated
    most_calls: int = 50
    slow: float = 1.0  # seconds; a call that takes longer is measured in a few rounds only, at once
    slow_rounds: int = 3
    control_size: int = 1024  # 2 * 1024**3 operations

    @classmethod
    def quick(cls, rounds: int) -> Settings:
        """Give settings that only show that the benchmark runs."""
        return cls(rounds=rounds, pause=0.0, warm=0.0, least=0.0, control_size=128)


@dataclass
class Timing:
    """Seconds for a call, one sample for each round."""

    calls: int  # in a row, for each sample
    samples: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)  # of the unmeasured calls after each pause, the first

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.samples)

    def record(self) -> dict[str, Any]:
        """Give everything for JSON."""
        return {
            "median": self.median, "samples": self.samples, "calls_per_sample": self.calls, "after_pause": self.first,
        }  # fmt: skip


def _seconds(call: Call, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def _turn(call: Call, timing: Timing, settings: Settings, slow: bool) -> None:
    """Let all threads come to rest, call to wake one's own and warm the caches, then measure."""
    time.sleep(settings.pause)
    if not slow:
        start = time.perf_counter()
        timing.first.append(_seconds(call, 1))
        while time.perf_counter() - start < settings.warm:
            call()
    timing.samples.append(_seconds(call, timing.calls))


def interleave(competitors: Mapping[Name, Call], settings: Settings) -> dict[Name, Timing]:
    """Time every competitor in turn, round after round, after a warm-up that also says how often to repeat each."""
    timings, slow = {}, set()
    for name, call in competitors.items():
        call()  # may compile: only the second says how long one takes
        once = max(_seconds(call, 1), 1e-9)
        if once > settings.slow:
            slow.add(name)
        timings[name] = Timing(max(1, min(settings.most_calls, round(settings.least / once))))
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(settings.rounds):
            for name, call in competitors.items():
                if name not in slow or turn < settings.slow_rounds:
                    _turn(call, timings[name], settings, name in slow)
    finally:
        if collecting:
            gc.enable()
    return timings


class Control:
    """A float32 matrix product of fixed size by NumPy: when its rate moves, the machine moved, not the code."""

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(0)
        self.size = size
        self.a, self.b = (rng.standard_normal((size, size), np.float32) for _ in range(2))
        self.out = np.empty((size, size), np.float32)
        self.samples: list[float] = []

    def __call__(self) -> None:
        """Run the product."""
        np.matmul(self.a, self.b, out=self.out)

    @property
    def rates(self) -> list[float]:
        """GFLOP/s of each sample."""
        return [2e-9 * self.size**3 / seconds for seconds in self.samples]

    def line(self) -> str:
        """Say how steady the machine was."""
        low, middle, high = min(self.rates), statistics.median(self.rates), max(self.rates)
        spread = (high - low) / middle
        text = f"control: np.matmul of two {self.size}×{self.size} float32: median {middle:.0f} GFLOP/s, "
        noisy = "; the machine was busy or throttled, so small differences mean nothing" if spread > 0.3 else ""
        return f"{text}{low:.0f} to {high:.0f} (spread {spread:.0%}{noisy})"
