"""Contests: who takes turns in one pass of a case."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.contest.turns import Call, Player
from bench.measure.measurement import XPCONV, Measurement
from bench.measure.timing import Timing
from bench.peers.peer import Entry


@dataclass(frozen=True)
class Contest:
    """What becomes one measurement."""

    case: str
    passes: str
    calls: Mapping[str, Call | Player]  # by competitor
    facts: Mapping[str, Any] = field(default_factory=dict)
    own: str = XPCONV  # whose time is held against the fastest of the rivals
    rivals: Collection[str] = ()
    scales: Mapping[str, float] = field(default_factory=dict)  # what the case takes over what a competitor does

    def ended(self, timings: Mapping[str, Timing]) -> Measurement:
        """Record how it ended."""
        for name, scale in self.scales.items():
            timings[name].scale = scale
        return Measurement(self.case, self.passes, timings, self.facts, self.own, self.rivals)


def contests(
    case: str,
    entries: Sequence[Entry],
    rivals: Collection[str],
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Contest]:
    """Make a contest of the entries in each pass; `facts` are by pass."""
    found = []
    for passes in dict.fromkeys(entry.passes for entry in entries):
        chosen = [entry for entry in entries if entry.passes == passes]
        calls = {entry.name: entry.call for entry in chosen}
        scales = {entry.name: entry.scale for entry in chosen}
        found.append(Contest(case, passes, calls, (facts or {}).get(passes, {}), rivals=rivals, scales=scales))
    return found
