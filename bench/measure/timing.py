"""How long to time, what timing gives, and the control."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
        """Choose settings that only show that the benchmark runs."""
        return cls(rounds=rounds, pause=0.0, warm=0.0, least=0.0, control_size=128)


@dataclass
class Timing:
    """Seconds for a call, one sample for each round."""

    calls: int  # in a row, for each sample
    slow: bool = False  # it is measured in a few rounds only, at once
    samples: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)  # of the unmeasured calls after each pause, the first
    scale: float = 1.0  # what the case takes over what a call does

    @property
    def seconds(self) -> float:
        """Seconds for the case, by the median over the rounds."""
        return self.scale * statistics.median(self.samples)

    @property
    def least(self) -> float:
        """Seconds for the case in the fastest round, which others on the machine disturbed least."""
        return self.scale * min(self.samples)

    @property
    def after_pause(self) -> float | None:
        """First call after a pause, in measured ones; None where there was no pause."""
        return statistics.median(self.first) / statistics.median(self.samples) if self.first else None

    def record(self) -> dict[str, Any]:
        """List everything for JSON."""
        return {
            "median": self.seconds,
            "least": self.least,
            "samples": self.samples,
            "calls_per_sample": self.calls,
            "after_pause": self.first,
            "scale": self.scale,
        }


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
