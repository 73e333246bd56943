"""One run: peers, threads and machine first, then contests, with the control in each round."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import xpconv as xc
from bench import peers
from bench.contest.contest import Contest
from bench.contest.turns import Here, Player, interleave
from bench.layers import Case, Data
from bench.measure.machine import available_cores, describe, machine_line, pause, threads_set
from bench.measure.measurement import Measurement
from bench.measure.timing import Control, Settings
from bench.peers.peer import Entry, Peer, Where


class Named(Protocol):
    """Whatever has a name."""

    @property
    def name(self) -> str:
        """What is said."""
        ...


Chosen = TypeVar("Chosen", bound=Named)


@dataclass
class Session:
    """Its settings, who takes part, the control and the machine."""

    options: argparse.Namespace
    name: str  # of the subcommand
    peers: Sequence[Peer]
    threads: int
    settings: Settings
    machine: dict[str, Any]
    control: Control | None = None  # None: a device has others
    first: dict[str, list[float]] = field(default_factory=dict)  # calls after a pause, in measured ones, by competitor

    @property
    def quick(self) -> bool:
        """Whether the cases are tiny ones."""
        return bool(self.options.quick)

    @property
    def where(self) -> Where:
        """Where cases run."""
        return Where(threads=self.threads)

    @property
    def rivals(self) -> tuple[str, ...]:
        """Those that we are held against."""
        return tuple(name for peer in self.peers if peer.rival for name in peer.titles)

    @property
    def titles(self) -> dict[str, str]:
        """Titles of the competitors' columns."""
        return {name: title for peer in self.peers for name, title in peer.titles.items()}

    @property
    def caption(self) -> str:
        """What stands below a chart."""
        return machine_line(self.machine)

    def peer(self, name: str) -> Any:
        """Find a peer that takes part, or None."""
        return next((peer for peer in self.peers if name in peer.titles), None)

    def enter(self, case: Case, data: Data, passes: Sequence[str], where: Where | None = None) -> list[Entry]:
        """Ask every peer for its entries."""
        where = where or self.where
        return [entry for peer in self.peers for entry in peer.enter(case, data, passes, where)]

    def notes(self, kind: type[Case]) -> list[str]:
        """Say how the peers run a kind of case."""
        return [peer.notes[kind] for peer in self.peers if kind in peer.notes]

    def hold(self, contests: Sequence[Contest]) -> list[Measurement]:
        """Time all competitors of some contests in the same rounds, after the control."""
        players: dict[tuple[int, str], Player] = {}
        if self.control is not None:
            players[-1, "control"] = Here(self.control, self.settings)
        for place, contest in enumerate(contests):
            for name, call in contest.calls.items():
                players[place, name] = call if isinstance(call, Player) else Here(call, self.settings)
        found = interleave(players, self.settings.rounds, self.settings.slow_rounds, self.control is None)
        if self.control is not None:
            self.control.samples += found.pop((-1, "control")).samples
        for (_, name), timing in found.items():
            if timing.after_pause is not None:
                self.first.setdefault(name.split(" ")[0], []).append(timing.after_pause)
        return [
            contest.ended({name: found[place, name] for name in contest.calls})
            for place, contest in enumerate(contests)
        ]

    def after_pause(self) -> list[str]:
        """Say how much longer the first call after a pause takes."""
        means = {name: statistics.geometric_mean(ratios) for name, ratios in sorted(self.first.items())}
        if not means:
            return []
        listed = ", ".join(f"{name} {mean:.2f}" for name, mean in means.items())
        return [f"the first call after a pause, in measured ones, geometric mean: {listed}"]

    def each(self, cases: Sequence[Chosen]) -> Iterator[Chosen]:
        """Go over cases, and say on stderr where the run is."""
        for count, case in enumerate(cases, 1):
            print(f"[{count}/{len(cases)}] {case.name}, {self.settings.rounds} rounds", file=sys.stderr, flush=True)
            yield case


@contextmanager
def opened(options: argparse.Namespace, name: str, wanted: Sequence[str] = ()) -> Iterator[Session]:
    """Load the peers beside ours, set the threads and print the machine."""
    rounds = options.rounds or (2 if options.quick else 15)
    threads = options.threads or available_cores()
    found = peers.load((*wanted, peers.OWN), options.without)
    torch = next((peer.module for peer in found if "torch" in peer.titles), None)
    settings = Settings.quick(rounds) if options.quick else Settings(rounds, pause())
    # ours without compiled kernels; those that take them say so
    with threads_set(threads, torch), xc.set_options(compiled=False):
        versions = {name: version for peer in found for name, version in peer.versions.items()}
        machine = describe(threads, versions)
        print(machine_line(machine), flush=True)
        yield Session(options, name, found, threads, settings, machine, Control(settings.control_size))
