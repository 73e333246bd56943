"""What comes of somebody else's functions: the record that the judge makes and every report reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

RIGHT, IN_THE_COURSE, UNFINISHED = "right", "right in the course", "unfinished"
WRONG, UNREADABLE, ABSENT = "wrong", "unreadable", "absent"
PASSES = (RIGHT, IN_THE_COURSE)
FAILS = (WRONG, UNFINISHED, UNREADABLE)

Shown = tuple[tuple[str, tuple[str, ...]], ...]  # names and lines of arrays


@dataclass(frozen=True)
class Finding:
    """What is wrong with results of a function on one input, the smallest that shows it."""

    what: tuple[str, ...]
    given: str  # the input in words
    arrays: Shown = ()  # the input, what is expected, what came


@dataclass(frozen=True)
class Verdict:
    """What comes of one function."""

    name: str
    status: str
    message: str = ""  # beside how many inputs there were, and what it looks like
    looks_like: tuple[str, ...] = ()  # the likeliest first
    inputs: int = 0
    wrong: int = 0  # of them
    findings: tuple[Finding, ...] = ()
    helped: tuple[str, ...] = ()  # functions that it calls, of which right ones stood in

    @property
    def headline(self) -> str:
        """Say how it stands in a few words."""
        if self.status == RIGHT:
            return f"right on {self.inputs} inputs"
        if self.status == WRONG and self.inputs:
            return f"WRONG on {self.wrong} of {self.inputs} inputs"
        return self.status.upper() if self.status in FAILS else self.status

    @property
    def sentences(self) -> list[str]:
        """Say what is to be said beside the headline and the arrays."""
        told = [f"looks like: {self.looks_like[0]}"] if self.looks_like else []
        told += [self.message] if self.message else []
        if self.helped:
            told.append(f"judged with a right {' and a right '.join(self.helped)} in place of the file's own")
        return told

    @property
    def text(self) -> str:
        """Say all of it in one line, without the arrays."""
        found = [f"{'; '.join(one.what)}, with {one.given}" for one in self.findings]
        return "; ".join([self.headline, *self.sentences, *found])

    def public(self) -> dict[str, Any]:
        """Write what a report says of it."""
        return {"status": self.status, "looks_like": list(self.looks_like), "message": self.text}

    def record(self) -> dict[str, Any]:
        """Write it in terms of JSON."""
        return asdict(self)


def read(record: dict[str, Any]) -> Verdict:
    """Read what `Verdict.record` wrote, after its way through JSON."""

    def finding(found: dict[str, Any]) -> Finding:
        arrays = tuple((name, tuple(lines)) for name, lines in found["arrays"])
        return Finding(tuple(found["what"]), found["given"], arrays)

    tuples = {name: tuple(record[name]) for name in ("looks_like", "helped")}
    return Verdict(**{**record, **tuples, "findings": tuple(map(finding, record["findings"]))})
