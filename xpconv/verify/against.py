"""Hold a run against a report that was made elsewhere."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpconv.verify import cases
from xpconv.verify.report import FORMAT
from xpconv.verify.run import Outcome
from xpconv.verify.tasks import tasks


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
    digests: dict[tuple[str, str], str]  # by check and backend


@dataclass(frozen=True)
class Difference:
    """A check whose exact results differ."""

    check: str
    here: tuple[str, str]  # backend and digest
    there: tuple[str, str]

    def __str__(self) -> str:
        (here, mine), (there, theirs) = self.here, self.there
        return f"{self.check}: {here} here gives {mine[:16]}..., {there} there gave {theirs[:16]}..."


def load(path: Path) -> Evidence:
    """Read a report; EvidenceError if it is none, or of another catalogue, or of a run that failed."""
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError("its format is another one")
        digests = {
            (record["check"], record["backend"]): str(record["digest"])
            for record in data["results"]
            if "digest" in record
        }
        failed = next((record for record in data["results"] if record["passed"] is not True), None)
        version, fingerprint = int(data["catalogue"]["version"]), data["catalogue"]["fingerprint"]
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
    if failed is not None or not digests:
        why = "holds no exact results" if failed is None else f"is of a run that failed: {failed['check']}"
        raise EvidenceError(f"--against: {path} {why}", 1)
    known = {task.key for task in tasks()}
    for check, _ in digests:
        if check not in known:
            raise EvidenceError(f"--against: {path} names a check that the catalogue does not have: {check}", 1)
    return evidence


def compare(outcome: Outcome, evidence: Evidence) -> tuple[int, list[Difference]]:
    """Count the checks that both sides have, and give those whose digests differ, in the run's order."""
    there: dict[str, list[tuple[str, str]]] = {}
    for (check, backend), digest in evidence.digests.items():
        there.setdefault(check, []).append((backend, digest))
    compared: set[str] = set()
    differences = []
    for result in outcome.results:
        if result.digest is None:
            continue
        for backend, digest in there.get(result.task.key, ()):
            compared.add(result.task.key)
            if digest != result.digest:
                here = (result.backend, result.digest)
                differences.append(Difference(result.task.key, here, (backend, digest)))
    return len(compared), differences


def _words(backend: dict[str, Any]) -> str:
    return f"{backend['name']} {backend['version']} on {backend['device']}"


def _command(data: dict[str, Any], path: Path) -> str:
    words = ["xpconv", "verify", "--backends", ",".join(backend["name"] for backend in data["backends"])]
    words += ["--quick"] if data["quick"] else []
    words += ["--seed", str(data["seed"])] if data["seed"] else []
    return shlex.join([*words, "--report", str(path)])
