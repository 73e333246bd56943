"""The report of a run as a file: JSON for `--against`, JUnit XML for a CI, Markdown for people."""

from __future__ import annotations

import json
import math
import platform
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from xpconv.nn.storage import write_atomic
from xpconv.verify import cases
from xpconv.verify.check import Result
from xpconv.verify.run import Outcome
from xpconv.verify.summary import HEADINGS, describe, failures, rows, verdict

FORMAT = "xpconv verify 1"


def as_json(outcome: Outcome) -> str:
    """Everything, one result a line: its digest in the exact tier, its ratio in the bound tier."""
    head: dict[str, Any] = {
        "format": FORMAT,
        "catalogue": {"version": cases.VERSION, "fingerprint": cases.fingerprint()},
        "seed": outcome.seed,
        "quick": outcome.quick,
        "operations": list(outcome.names),
        "versions": outcome.versions,
        "machine": {"system": platform.system(), "processor": platform.machine()},
        "backends": [vars(backend) for backend in outcome.backends],
        "checks": len(outcome.results),
        "failures": len(outcome.failures),
        "seconds": round(outcome.seconds, 3),
    }
    lines = ",\n".join("  " + json.dumps(_record(result), allow_nan=False) for result in outcome.results)
    return json.dumps(head, indent=1)[:-2] + ',\n "results": [\n' + lines + "\n ]\n}\n"


def _record(result: Result) -> dict[str, Any]:
    record: dict[str, Any] = {"check": result.task.key, "backend": result.backend, "passed": result.passed}
    if result.digest is not None:
        record["digest"] = result.digest
    if result.ratio is not None:
        record["ratio"] = float(f"{result.ratio:.6g}") if math.isfinite(result.ratio) else None
    record["seconds"] = round(result.seconds, 6)
    if not result.passed:
        names = ("failure", "expected", "got", "line")
        record |= {name: getattr(result, name) for name in names}
    return record


def as_junit(outcome: Outcome) -> str:
    """One suite for each backend, one test case for each check."""
    root = ElementTree.Element("testsuites", name="xpconv verify")
    _count(root, outcome.results)
    for backend in outcome.backends:
        found = [result for result in outcome.results if result.backend == backend.name]
        suite = ElementTree.SubElement(root, "testsuite", name=f"xpconv verify {backend}")
        _count(suite, found)
        for result in found:
            operation = result.task.operation.name
            name = result.task.key.removeprefix(f"{operation}/")
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"xpconv.{backend.name}.{operation}", name=name,
                time=f"{result.seconds:.6f}",
            )  # fmt: skip
            if not result.passed:
                failure = ElementTree.SubElement(case, "failure", message=_printable(result.failure))
                failure.text = _printable("\n".join(describe(result)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _count(element: ElementTree.Element, results: list[Result]) -> None:
    element.set("tests", str(len(results)))
    element.set("failures", str(sum(not result.passed for result in results)))
    element.set("errors", "0")
    element.set("time", f"{sum(result.seconds for result in results):.3f}")


def _printable(text: str) -> str:
    """Leave out what XML cannot hold."""
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


def as_markdown(outcome: Outcome) -> str:
    """Versions, the table, the failures."""
    versions = ", ".join(f"{name} {version}" for name, version in outcome.versions.items())
    size = "core cases" if outcome.quick else "all cases"
    lines = [
        "# xpconv verify",
        "",
        f"**{verdict(outcome.results, outcome.seconds)}**",
        "",
        f"Catalogue {cases.VERSION}, {size}, seed {outcome.seed}, on {platform.system()} {platform.machine()}; "
        f"{versions}.",
        "",
        *(f"- {backend}" for backend in outcome.backends),
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "| --- | --- | " + " | ".join(["---:"] * (len(HEADINGS) - 2)) + " |",
        *("| " + " | ".join(row.cells()) + " |" for row in rows(outcome.results)),
    ]
    for result, more in failures(outcome.results):
        lines += ["", "```text", *describe(result, more), "```"]
    return "\n".join(lines) + "\n"


WRITERS = {".json": as_json, ".xml": as_junit, ".md": as_markdown}


def trouble(path: Path) -> str:
    """Say in one line why a report cannot be written here; empty if it can."""
    if path.suffix not in WRITERS:
        return f"--report: the file's name ends in {', '.join(WRITERS)}; got {path}"
    if path.is_dir():
        return f"--report: {path} is a folder"
    if not path.parent.is_dir():
        return f"--report: the folder {path.parent} does not exist"
    return ""


def write(path: Path, outcome: Outcome) -> None:
    """Write a report, whole or not at all."""
    write_atomic(path, WRITERS[path.suffix](outcome).encode())
