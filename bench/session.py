"""What every timed command does: peers, threads and machine first, the control in each round, files at the end."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import peers, targets
from bench.arguments import check_files
from bench.machine import available_cores, describe, machine_line, pause, threads_set
from bench.report import Table, to_json, write
from bench.timing import CONTROL, Call, Control, Settings, Timing, interleave

QUICK_NOTE = "quick: tiny cases, to see that the benchmark runs; the times mean nothing"
TURNS = (
    "times: one process, medians of {rounds} interleaved rounds; each turn is a pause of {pause:.0f} ms, "
    "{warm:.0f} ms of unmeasured calls, then the measured ones"
)


@dataclass
class Session:
    """One run: its settings, the libraries beside xpconv, the control and the machine."""

    options: argparse.Namespace
    name: str
    peers: peers.Peers
    threads: int
    settings: Settings
    control: Control
    machine: dict[str, Any]
    first: dict[str, list[float]] = field(default_factory=dict)  # calls after a pause, in measured ones, by library

    def time(self, calls: Mapping[str, Call]) -> dict[str, Timing]:
        """Time competitors in turn, after the control."""
        found = interleave({CONTROL: self.control, **calls}, self.settings)
        self.control.samples += found.pop(CONTROL).samples
        for name, timing in found.items():
            library = name.split("|")[-1].split()[0]
            if timing.first:
                self.first.setdefault(library, []).append(statistics.median(timing.first) / timing.median)
        return found

    def after_pause(self) -> list[str]:
        """Say how much longer the first call after a pause takes."""
        named = {name: ratios for name, ratios in self.first.items() if name in ("xpconv", "course", *peers.NAMES)}
        means = {name: statistics.geometric_mean(ratios) for name, ratios in named.items()}
        if not means:
            return []
        listed = ", ".join(f"{name} {mean:.2f}" for name, mean in sorted(means.items()))
        return [f"the first call after a pause, in measured ones, geometric mean: {listed}"]

    def progress(self, count: int, of: int, what: str) -> None:
        """Say on stderr where the run is."""
        print(f"[{count}/{of}] {what}, {self.settings.rounds} rounds", file=sys.stderr, flush=True)

    def finish(
        self, table: Table, record: Mapping[str, Any], notes: Sequence[str] = (),
        judged: Sequence[Mapping[str, Any]] = (), picture: bytes | None = None,
        more: Sequence[Table] = (),
    ) -> int:  # fmt: skip
        """Print the tables and the lines below them, and write the files."""
        if self.options.quick:
            judged = [targets.unmeasured(found) for found in judged]
        seconds = {"pause": 1e3 * self.settings.pause, "warm": 1e3 * self.settings.warm}
        turns = TURNS.format(rounds=self.settings.rounds, **seconds)
        control = [self.control.line(), turns, *self.after_pause()] if self.control.samples else []
        lines = [*control, *notes, *map(targets.line, judged)]
        if self.options.quick:
            lines.insert(0, QUICK_NOTE)
        for one in (table, *more):
            one.show()
        print("\n".join(lines), flush=True)
        if self.options.json is not None:
            control_record = {"operations": 2 * self.control.size**3, "seconds": self.control.samples}
            start = {"benchmark": self.name, "machine": self.machine, "quick": self.options.quick}
            whole = {**start, "settings": asdict(self.settings), "control": control_record, **record}
            write(self.options.json, to_json(whole | {"targets": list(judged)}))
        if self.options.markdown is not None:
            listed = [f"- {text}" for text in (machine_line(self.machine), *lines)]
            tables = [line for one in (table, *more) for line in (*one.markdown(), "")]
            write(self.options.markdown, "\n".join([*tables, *listed]) + "\n")
        if self.options.png is not None and picture is not None:
            write(self.options.png, picture)
        return 0

    @property
    def caption(self) -> str:
        """What stands below a chart."""
        return machine_line(self.machine)


@contextmanager
def opened(options: argparse.Namespace, name: str, wanted: tuple[str, ...] = tuple(peers.NAMES)) -> Iterator[Session]:
    """Check the files, load the peers, set the threads and print the machine."""
    check_files(options)
    rounds = options.rounds or (2 if options.quick else 15)
    threads = options.threads or available_cores()
    found = peers.load(options.without, wanted)
    settings = Settings.quick(rounds) if options.quick else Settings(rounds, pause())
    with threads_set(threads, found.torch):
        machine = describe(threads, found.torch, found.versions)
        print(machine_line(machine), flush=True)
        yield Session(options, name, found, threads, settings, Control(settings.control_size), machine)
