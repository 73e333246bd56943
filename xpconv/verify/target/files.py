"""The report on targets as a file: JSON for programs, Markdown and a page that stands alone for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from xpconv._tools.files import write_atomic
from xpconv.verify.target.page import as_html
from xpconv.verify.target.report import lines, notes, score
from xpconv.verify.target.run import Outcome
from xpconv.verify.target.verdict import ABSENT, RIGHT


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Write a status and what is to be said of it for every function of every target."""
    return json.dumps({"targets": [outcome.public() for outcome in outcomes]}, indent=1) + "\n"


def as_markdown(outcomes: Sequence[Outcome]) -> str:
    """Write a table, then what is to be said of each target."""
    names = list(dict.fromkeys(verdict.name for outcome in outcomes for verdict in outcome.verdicts))
    told = ["# xpconv verify --target", "", "| " + " | ".join(["target", "right", *map(_code, names)]) + " |"]
    told.append("| --- | ---: |" + " --- |" * len(names))
    for outcome in outcomes:
        statuses = {verdict.name: verdict.status for verdict in outcome.verdicts}
        count = "not judged" if outcome.refused else f"{outcome.right} of {outcome.of}"
        cells = [_code(outcome.target), count, *(statuses.get(name, "") for name in names)]
        told.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    for outcome in outcomes:
        told += ["", f"## {_code(outcome.target)}", "", score(outcome).replace("<", "&lt;")]
        shown = [verdict for verdict in outcome.verdicts if verdict.status not in (RIGHT, ABSENT) or verdict.message]
        body = [*notes(outcome), *(line for verdict in shown for line in lines(verdict))]
        told += ["", "```text", *(line.replace("```", "'''") for line in body), "```"] if body else []
    return "\n".join(told) + "\n"


def _code(text: str) -> str:
    return f"`{text}`"


WRITERS: dict[str, Callable[[Sequence[Outcome]], str]] = {".json": as_json, ".md": as_markdown, ".html": as_html}


def write(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write a report, whole or not at all."""
    write_atomic(path, WRITERS[path.suffix](outcomes).encode())
