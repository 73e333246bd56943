"""Contests: xpconv beside its rivals on one case and pass, the table of them, and the ratio that targets judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import Table, geometric_mean, number
from bench.session import Session
from bench.timing import Call, Timing

XPCONV = "xpconv"


@dataclass(frozen=True)
class Contest:
    """What is timed in one row; a ratio is against the fastest of those whose name begins with a word of `rivals`."""

    case: str
    passes: str
    calls: Mapping[str, Call]
    rivals: tuple[str, ...] = ("torch", "onnx")


@dataclass(frozen=True)
class Outcome:
    """What a contest gave."""

    case: str
    passes: str
    timings: Mapping[str, Timing]
    rivals: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Time of xpconv."""
        return self.timings[XPCONV].median

    @property
    def fastest(self) -> str | None:
        """The fastest rival, if there is one."""
        found = [name for name in self.timings if name.startswith(self.rivals)]
        return min(found, key=lambda name: self.timings[name].median, default=None)

    @property
    def ratio(self) -> float | None:
        """Time of xpconv over that of the fastest rival."""
        return None if self.fastest is None else self.seconds / self.timings[self.fastest].median

    def record(self) -> dict[str, Any]:
        """Give everything for JSON."""
        return {
            "case": self.case, "pass": self.passes, "ratio": self.ratio, "fastest_rival": self.fastest,
            "seconds": {name: timing.record() for name, timing in self.timings.items()},
        }  # fmt: skip


def hold(session: Session, contests: Sequence[Contest]) -> list[Outcome]:
    """Run the contests of one case in the same rounds."""
    calls = {f"{c.passes}|{name}": call for c in contests for name, call in c.calls.items()}
    found = session.time(calls)
    return [
        Outcome(c.case, c.passes, {name: found[f"{c.passes}|{name}"] for name in c.calls}, c.rivals) for c in contests
    ]


def table(outcomes: Sequence[Outcome], titles: Mapping[str, str]) -> Table:
    """Lay outcomes out: a column of milliseconds for each competitor, the ratio, and geometric means by pass.

    `titles` maps the beginnings of names to the columns' titles; of several with one beginning the fastest counts.
    """
    starts = [start for start in titles if any(name.startswith(start) for o in outcomes for name in o.timings)]
    result = Table(["case", "pass", *(f"{titles[start]}\nms" for start in starts), "ratio"])
    before = None
    for outcome in outcomes:
        times = []
        for start in starts:
            medians = {n: t.median for n, t in outcome.timings.items() if n.startswith(start)}
            best = min(medians, key=medians.__getitem__, default=None)
            mark = "*" if best is not None and best.endswith("contiguous") else ""
            times.append(number(None if best is None else 1e3 * medians[best]) + mark)
        label = outcome.case if outcome.case != before else "  same"
        result.rows.append((label, outcome.passes, *times, number(outcome.ratio)))
        before = outcome.case
    for passes, mean in means(outcomes).items():
        result.summary.append(("geometric mean", passes, *["–"] * len(starts), number(mean)))
    return result


def means(outcomes: Sequence[Outcome]) -> dict[str, float | None]:
    """Give the geometric means of the ratios, by pass."""
    passes = dict.fromkeys(outcome.passes for outcome in outcomes)
    return {p: geometric_mean([o.ratio for o in outcomes if o.passes == p]) for p in passes}


def ratios(outcomes: Sequence[Outcome], passes: str) -> dict[str, float | None]:
    """Give the ratios of a pass by case."""
    return {outcome.case: outcome.ratio for outcome in outcomes if outcome.passes == passes}


def records(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Give outcomes and means for JSON."""
    return {"outcomes": [outcome.record() for outcome in outcomes], "geometric_means": means(outcomes)}
