"""What comes of somebody else's functions: the record that the judge makes and every report reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

RIGHT, WRONG, MISSING = "right", "wrong", "not there"


@dataclass(frozen=True)
class Finding:
    """What is wrong with one result of a function, on the smallest input that shows it."""

    what: str
    given: str  # the input in words
    alike: str = ""  # which known faults give the same; empty if that is not to be told
    arrays: tuple[tuple[str, tuple[str, ...]], ...] = ()  # names and lines of the input, what is expected, what came


@dataclass(frozen=True)
class Verdict:
    """What comes of one function."""

    name: str
    status: str
    inputs: int = 0
    wrong: int = 0  # of them
    causes: tuple[str, ...] = ()  # functions that are wrong themselves, and that the course calls in this one
    findings: tuple[Finding, ...] = ()

    def record(self) -> dict[str, Any]:
        """Write it in terms of JSON."""
        return asdict(self)


def read(record: dict[str, Any]) -> Verdict:
    """Read what `Verdict.record` wrote, after its way through JSON."""

    def finding(found: dict[str, Any]) -> Finding:
        arrays = tuple((name, tuple(lines)) for name, lines in found["arrays"])
        return Finding(**{**found, "arrays": arrays})

    findings = tuple(map(finding, record["findings"]))
    return Verdict(**{**record, "causes": tuple(record["causes"]), "findings": findings})
