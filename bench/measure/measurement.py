"""The one record of what was measured: all commands make these, and all tables, charts and files are made of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.measure.timing import Timing

XPCONV = "xpconv"


@dataclass(frozen=True)
class Measurement:
    """What one case gave in one pass: the times by competitor, and what else was found."""

    case: str
    passes: str
    timings: Mapping[str, Timing] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    own: str = XPCONV  # whose time is held against the fastest of the rivals
    rivals: Collection[str] = ()

    def best(self, *names: str) -> str | None:
        """Name the fastest competitor of some columns; a name is that of its column, and of a variant after a space."""
        found = [name for name in self.timings if name.split(" ")[0] in names or name in names]
        return min(found, key=lambda name: self.timings[name].seconds, default=None)

    def seconds(self, *names: str) -> float | None:
        """Read the time of the fastest competitor of some columns, ours without a name."""
        best = self.best(*(names or [self.own]))
        return None if best is None else self.timings[best].seconds

    def over(self, *names: str) -> float | None:
        """Divide our time by that of the fastest of some columns."""
        ours, theirs = self.seconds(), self.seconds(*names)
        return None if ours is None or theirs is None else ours / theirs

    @property
    def ratio(self) -> float | None:
        """Our time over that of the fastest rival."""
        return self.over(*self.rivals) if self.rivals else None

    def record(self) -> dict[str, Any]:
        """List everything for JSON."""
        found: dict[str, Any] = {"case": self.case, "pass": self.passes}
        if self.timings:
            found["seconds"] = {name: timing.record() for name, timing in self.timings.items()}
        if self.rivals:
            found |= {"own": self.own, "ratio": self.ratio, "fastest_rival": self.best(*self.rivals)}
        return found | dict(self.facts)


def passes_of(measurements: Sequence[Measurement]) -> list[str]:
    """List the passes in order."""
    return list(dict.fromkeys(one.passes for one in measurements))


def by_pass(measurements: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    """Part measurements by pass."""
    return {passes: [one for one in measurements if one.passes == passes] for passes in passes_of(measurements)}
