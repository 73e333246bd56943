"""The one way from measurements to what is printed and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.contest.session import Session
from bench.measure.machine import machine_line
from bench.measure.measurement import Measurement
from bench.report import goals
from bench.report.columns import Column, means
from bench.report.files import asked, to_json, write
from bench.report.table import Table

QUICK_NOTE = "quick: tiny cases, to see that the benchmark runs; the times mean nothing"
TURNS = (
    "times: one process, medians of {rounds} interleaved rounds; each turn is a pause of {pause:.0f} ms, the same for "
    "all (idle BLAS and OpenMP threads spin for a while), {warm:.0f} ms of unmeasured calls, then the measured ones"
)


@dataclass
class Report:
    """What a command found."""

    measurements: Sequence[Measurement]
    tables: Sequence[Table]
    columns: Sequence[Column] = ()  # whose means go into the JSON file
    notes: Sequence[str] = ()  # said below the tables
    goals: Sequence[Mapping[str, Any]] = ()  # judged
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the JSON file
    chart: Callable[[str], bytes] | None = None  # draws, with what stands below it

    def lines(self, session: Session) -> list[str]:
        """Say how the figures came about, and which goals are met."""
        control = []
        if session.control is not None and session.control.samples:
            settings = session.settings
            turns = TURNS.format(rounds=settings.rounds, pause=1e3 * settings.pause, warm=1e3 * settings.warm)
            control = [session.control.line(), turns, *session.after_pause()]
        quick = [QUICK_NOTE] if session.quick else []
        return [*quick, *control, *self.notes, *map(goals.line, self.goals)]

    def record(self, session: Session) -> dict[str, Any]:
        """List everything for JSON."""
        found: dict[str, Any] = {"benchmark": session.name, "machine": session.machine, "quick": session.quick}
        if session.control is not None and session.control.samples:
            found["settings"] = asdict(session.settings)
            found["control"] = {"operations": 2 * session.control.size**3, "seconds": session.control.samples}
        found |= self.facts
        found["measurements"] = [one.record() for one in self.measurements]
        if self.columns:
            found["geometric_means"] = means(self.measurements, self.columns)
        return found | {"targets": list(self.goals)}


def deliver(session: Session, report: Report) -> int:
    """Print the tables and the lines below them, write the files, and give the exit status."""
    if session.quick:
        report.goals = [goals.unmeasured(found) for found in report.goals]
    lines = report.lines(session)
    for table in report.tables:
        table.show()
    print("\n".join(lines), flush=True)
    options = session.options
    if path := asked(options, "json"):
        write(path, to_json(report.record(session)))
    if path := asked(options, "markdown"):
        listed = [f"- {text}" for text in (machine_line(session.machine), *lines)]
        tables = [line for table in report.tables for line in (*table.markdown(), "")]
        write(path, "\n".join([*tables, *listed]) + "\n")
    if (path := asked(options, "png")) and report.chart is not None:
        write(path, report.chart(session.caption))
    return 0
