"""Hold a run against a report that was made elsewhere: digest by digest on whole numbers."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpconv.verify.catalogue import cases
from xpconv.verify.catalogue.tasks import tasks
from xpconv.verify.report.files import FORMAT
from xpconv.verify.report.outcome import Outcome


class EvidenceError(Exception):
    """A report that proves nothing: not one (status 2), or one that is stale or has failures (status 1); one line."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Evidence:
    """What a report says that can be held against this machine."""

    path: Path
    seed: int
    backends: tuple[str, ...]  # in words
    digests: dict[tuple[str, str], str]  # by source and backend


@dataclass(frozen=True)
class Difference:
    """A case whose exact results differ."""

    source: str
    here: tuple[str, str]  # backend and digest
    there: tuple[str, str]

    def __str__(self) -> str:
        (here, mine), (there, theirs) = self.here, self.there
        return f"{self.source}: {here} here gives {mine}, {there} there gave {theirs}"


@dataclass(frozen=True)
class Comparison:
    """What a run and a report have in common."""

    evidence: Evidence
    cases: int  # that both sides have
    differences: tuple[Difference, ...]  # in the run's order

    @property
    def passed(self) -> bool:
        """Say whether something was compared, and all of it is the same."""
        return bool(self.cases) and not self.differences

    def lines(self) -> list[str]:
        """Say what came of it; the first line is the news."""
        path, there = self.evidence.path, "; ".join(self.evidence.backends)
        if not self.cases:
            return [f"{path}: no exact result in common with {there}"]
        if not self.differences:
            return [f"{path}: {self.cases:,} exact results are the same bits as those of {there}"]
        first, *more = self.differences
        return [f"{path}: DIFFERS in {first}", *([f"  and {len(more):,} more"] if more else [])]


def load(path: Path) -> Evidence:
    """Read a report; EvidenceError if it is none, or of another catalogue, or of a run that failed."""
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError("its format is another one")
        version, fingerprint = int(data["catalogue"]["version"]), data["catalogue"]["fingerprint"]
        digests, ratios = _read(data["results"])
        failed = [str(failure["check"]) for failure in data["failures"]] + [str(text) for text in data["untested"]]
        evidence = Evidence(path, int(data["seed"]), tuple(map(_words, data["backends"])), digests)
        command = _command(data, path)
    except OSError as error:
        raise EvidenceError(f"--against: {path} cannot be read: {error.strerror}", 2) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise EvidenceError(f"--against: {path} is no JSON report of xpconv verify ({reason})", 2) from None
    if version != cases.VERSION or fingerprint != cases.fingerprint():
        raise EvidenceError(
            f"--against: {path} is of catalogue {version}, this is catalogue {cases.VERSION}"
            f"{'' if version != cases.VERSION else ', which has changed'}; where it was made, renew it with: {command}",
            1,
        )
    failed += [source for (source, _), ratio in ratios.items() if not 0 <= ratio <= 1]
    if failed or not digests:
        why = f"is of a run that failed: {failed[0]}" if failed else "holds no exact results"
        raise EvidenceError(f"--against: {path} {why}", 1)
    known = {task.source for task in tasks()}
    for source, _ in (*digests, *ratios):
        if source not in known:
            raise EvidenceError(f"--against: {path} names a case that the catalogue does not have: {source}", 1)
    return evidence


def _read(results: dict[str, Any]) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], float]]:
    """Read the digests and, for each case, the largest ratio."""
    digests, ratios = {}, {}
    for backend, rows in results.items():
        for case, row in rows.items():
            for kind, found in row.items():
                key = (f"{case}/{kind}", backend)
                if isinstance(found, str):
                    digests[key] = found
                else:
                    values = found.values() if isinstance(found, dict) else (found,)
                    ratios[key] = max(float("inf") if value is None else float(value) for value in values)
    return digests, ratios


def compare(outcome: Outcome, evidence: Evidence) -> Comparison:
    """Hold the digests of the cases that both sides have against each other."""
    there: dict[str, list[tuple[str, str]]] = {}
    for (source, backend), digest in evidence.digests.items():
        there.setdefault(source, []).append((backend, digest))
    compared: set[str] = set()
    differences: dict[Difference, None] = {}
    for result in outcome.results:
        if result.digest is None:
            continue
        for backend, digest in there.get(result.task.source, ()):
            compared.add(result.task.source)
            if digest != result.digest:
                here = (result.backend, result.digest)
                differences[Difference(result.task.source, here, (backend, digest))] = None
    return Comparison(evidence, len(compared), tuple(differences))


def _words(backend: dict[str, Any]) -> str:
    return f"{backend['name']} {backend['version']} on {backend['device']}"


def _command(data: dict[str, Any], path: Path) -> str:
    words = ["xpconv", "verify", "--backends", ",".join(backend["name"] for backend in data["backends"])]
    words += ["--quick"] if data["quick"] else []
    words += ["--seed", str(data["seed"])] if data["seed"] else []
    return shlex.join([*words, "--report", str(path)])
