"""The report of a run as a file: JSON for `--against`, JUnit XML for a CI, Markdown for people."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from xpconv._tools.files import write_atomic
from xpconv.verify.catalogue import cases
from xpconv.verify.judge.result import Result
from xpconv.verify.report.outcome import Outcome
from xpconv.verify.report.summary import HEADINGS, describe, rows

FORMAT = "xpconv verify 2"


def as_json(outcome: Outcome) -> str:
    """Everything, one case a line: digests in the exact tier, ratios by algorithm in the bound tier; then failures."""
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
        "failures": [_failure(result) for result in outcome.failures],
        "untested": [str(found) for found in outcome.untested],
        "seconds": round(outcome.seconds, 3),
    }
    text = json.dumps(head, indent=1)[:-2] + ',\n "results": {\n'
    blocks = []
    for backend in outcome.backends:
        found = _cases([result for result in outcome.results if result.backend == backend.name])
        lines = ",\n".join(f"  {json.dumps(case)}: {_compact(row)}" for case, row in found.items())
        blocks.append(f"  {json.dumps(backend.name)}: {{\n{lines}\n  }}")
    return text + ",\n".join(blocks) + "\n }\n}\n"


def _compact(found: dict[str, Any]) -> str:
    return json.dumps(found, allow_nan=False, separators=(",", ":"))


def _cases(results: list[Result]) -> dict[str, dict[str, Any]]:
    """Find for each case and each of its data and dtypes a digest, or its ratios by algorithm."""
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        operation, case, data = result.task.source.split("/", 2)
        row = found.setdefault(f"{operation}/{case}", {})
        if result.digest is not None:
            row[data] = result.digest  # every algorithm that passes has the same
        elif result.ratio is not None:
            ratio = float(f"{result.ratio:.3g}") if math.isfinite(result.ratio) else None
            if result.task.algorithm:
                row.setdefault(data, {})[result.task.algorithm] = ratio
            else:
                row[data] = ratio
    return found


def _failure(result: Result) -> dict[str, Any]:
    names = ("failure", "expected", "got", "line")
    return {"check": result.task.key, "backend": result.backend} | {name: getattr(result, name) for name in names}


def as_junit(outcome: Outcome) -> str:
    """One suite for each backend, one test case for each check."""
    root = ElementTree.Element("testsuites", name="xpconv verify")
    _count(root, outcome.results)
    root.set("tests", str(len(outcome.results) + len(outcome.untested)))
    root.set("failures", str(len(outcome.failures) + len(outcome.untested)))
    for backend in outcome.backends:
        found = [result for result in outcome.results if result.backend == backend.name]
        suite = ElementTree.SubElement(root, "testsuite", name=f"xpconv verify {backend}")
        _count(suite, found)
        for result in found:
            operation = result.task.operation.name
            name = result.task.key.removeprefix(f"{operation}/")
            case = ElementTree.SubElement(suite, "testcase", classname=f"xpconv.{backend.name}.{operation}", name=name)
            case.set("time", f"{result.seconds:.6f}")
            if not result.passed:
                failure = ElementTree.SubElement(case, "failure", message=_printable(result.failure))
                failure.text = _printable("\n".join(describe(result)))
    for untested in outcome.untested:
        suite = ElementTree.SubElement(root, "testsuite", name="keywords", tests="1", failures="1", errors="0")
        case = ElementTree.SubElement(suite, "testcase", classname="xpconv.keywords", name=str(untested))
        ElementTree.SubElement(case, "failure", message=_printable(str(untested)))
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
    lines = [
        "# xpconv verify",
        "",
        f"**{outcome.verdict}**",
        "",
        outcome.circumstances,
        "",
        *(f"- {backend}" for backend in outcome.backends),
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "| --- | --- | " + " | ".join(["---:"] * (len(HEADINGS) - 2)) + " |",
        *("| " + " | ".join(row.cells()) + " |" for row in rows(outcome.results)),
    ]
    for told in outcome.told():
        lines += ["", "```text", *told, "```"]
    lines += [f"{'' if number else chr(10)}- untested: {found}" for number, found in enumerate(outcome.untested)]
    return "\n".join(lines) + "\n"


WRITERS = {".json": as_json, ".xml": as_junit, ".md": as_markdown}


def trouble(path: Path, suffixes: Iterable[str] = WRITERS) -> str:
    """Say in one line why a report cannot be written here; empty if it can."""
    if path.suffix not in suffixes:
        return f"--report: the file's name must end in {', '.join(suffixes)}; got {path}"
    if path.is_dir():
        return f"--report: must be a file; {path} is a folder"
    if not path.parent.is_dir():
        return f"--report: the folder {path.parent} does not exist; make it first"
    return ""


def write(path: Path, outcome: Outcome) -> None:
    """Write a report, whole or not at all."""
    write_atomic(path, WRITERS[path.suffix](outcome).encode())
