"""The report on targets as a page that stands alone: a row for a file, a column for a function, details on a click."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from xpconv._tools import machine
from xpconv.verify.target.load import NAMES
from xpconv.verify.target.report import arrays, notes, score
from xpconv.verify.target.run import Outcome
from xpconv.verify.target.verdict import ABSENT, IN_THE_COURSE, RIGHT, UNFINISHED, UNREADABLE, WRONG, Verdict

# a sign and a class of the style sheet; the sign tells it without colours
SIGNS = {
    RIGHT: ("✓", "good"),
    IN_THE_COURSE: ("✓", "nearly"),
    UNFINISHED: ("…", "open"),
    WRONG: ("✗", "bad"),
    UNREADABLE: ("?", "bad"),
    ABSENT: ("–", "none"),
}

STYLE = """
.xpconv-verify { color-scheme: light dark; --back: #fff; --text: #1c2024; --line: #d9dde3; --soft: #f4f6f8;
  --faint: #5b6470; --good: #16703c; --nearly: #4c6a0a; --open: #8a5a00; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  .xpconv-verify { --back: #14171a; --text: #e4e7eb; --line: #363c44; --soft: #1e2328; --faint: #9aa4b0;
    --good: #5fd08c; --nearly: #b4cf5a; --open: #f0b64a; --bad: #ff8a80; } }
.xpconv-verify { background: var(--back); color: var(--text); font: 14px/1.45 system-ui, sans-serif; }
.xpconv-verify table { border-collapse: collapse; }
.xpconv-verify th, .xpconv-verify td { border-bottom: 1px solid var(--line); padding: .4rem .55rem; text-align: left;
  vertical-align: top; }
.xpconv-verify thead th { background: var(--soft); font: 12px ui-monospace, monospace; position: sticky; top: 0; }
.xpconv-verify tbody th { font-weight: 600; overflow-wrap: anywhere; min-width: 9rem; max-width: 20rem; }
.xpconv-verify summary { cursor: pointer; }
.xpconv-verify details[open] { min-width: 24rem; }
.xpconv-verify tbody th details[open] { min-width: 0; } .xpconv-verify tbody th pre { white-space: pre-wrap; }
.xpconv-verify.here { overflow-x: auto; padding: .3rem; } .xpconv-verify.here details[open] { min-width: 0; }
.xpconv-verify.here tbody th { min-width: 0; overflow-wrap: normal; }
.xpconv-verify pre { background: var(--soft); border-left: 3px solid var(--line);
  font: 12px/1.4 ui-monospace, monospace; margin: .4rem 0; padding: .5rem .7rem; white-space: pre; }
.xpconv-verify p { margin: .4rem 0; max-width: 34rem; overflow-wrap: anywhere; }
.xpconv-verify .count { font-variant-numeric: tabular-nums; white-space: nowrap; }
.xpconv-verify .plain { white-space: nowrap; }
.xpconv-verify .good { color: var(--good); } .xpconv-verify .nearly { color: var(--nearly); }
.xpconv-verify .open { color: var(--open); } .xpconv-verify .bad { color: var(--bad); font-weight: 600; }
.xpconv-verify .none { color: var(--faint); } .xpconv-verify .faint { color: var(--faint); font-weight: 400; }
"""
PAGE_STYLE = """
body { margin: 0; } main { box-sizing: border-box; min-height: 100vh; min-width: max-content; padding: 1.5rem; }
h1 { font-size: 1.3rem; margin: 0 0 .2rem; } h1, main > p.faint { left: 1.5rem; position: sticky; width: fit-content; }
main > p.faint { max-width: calc(100vw - 3rem); } tbody th { background: var(--back); left: 0; position: sticky; }
@media (max-width: 50rem) { main.xpconv-verify tbody th { max-width: 8rem; min-width: 7rem; } }
"""


def as_html(outcomes: Sequence[Outcome]) -> str:
    """Write the page."""
    passed = sum(outcome.passed for outcome in outcomes)
    files = "file" if len(outcomes) == 1 else "files"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>xpconv verify --target</title>\n<style>{PAGE_STYLE}{STYLE}</style>\n</head>\n"
        f'<body>\n<main class="xpconv-verify">\n<h1>Homework, judged</h1>\n'
        f'<p class="faint">{len(outcomes)} {files}, {passed} with nothing wrong; xpconv {escape(machine.version())}. '
        "A click on a status shows the smallest input that goes wrong.</p>\n"
        f"{table(outcomes)}\n</main>\n</body>\n</html>\n"
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """Write the table alone."""
    names = [name for name in NAMES if any(name == v.name for outcome in outcomes for v in outcome.verdicts)] or NAMES
    head = "".join(f'<th scope="col">{breakable(name)}</th>' for name in ("file", "right", *names))
    rows = "\n".join(_row(outcome, names) for outcome in outcomes)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _row(outcome: Outcome, names: Sequence[str]) -> str:
    told = notes(outcome)
    more = _details(f'<span class="faint">{len(outcome.notes)} not run</span>', _block(told)) if told else ""
    head = f'<th scope="row">{escape(outcome.target)}{more}</th>'
    if outcome.refused:
        why = f'<td class="bad" colspan="{len(names)}">{escape(score(outcome))}</td>'
        return f'<tr>{head}<td class="count">–</td>{why}</tr>'
    verdicts = {verdict.name: verdict for verdict in outcome.verdicts}
    found = "".join(f"<td>{cell(verdicts[name])}</td>" if name in verdicts else "<td></td>" for name in names)
    return f'<tr>{head}<td class="count">{outcome.right} of {outcome.of}</td>{found}</tr>'


def cell(verdict: Verdict) -> str:
    """Write a status, and what is to be said of it behind a click."""
    sign, kind = SIGNS[verdict.status]
    word = f'<span class="{kind}">{sign} {escape(verdict.status)}</span>'
    texts = [*([verdict.headline] if verdict.status == WRONG else []), *verdict.sentences]
    if verdict.status == RIGHT or not (texts or verdict.findings):
        return f'<span class="plain">{word}</span>'
    inside = "".join(f"<p>{escape(text)}</p>" for text in texts)
    for found in verdict.findings:
        inside += "".join(f"<p>{escape(text)}</p>" for text in (*found.what, f"with {found.given}"))
        inside += _block(arrays(found, "")) if found.arrays else ""
    return _details(word, inside)


def breakable(name: str) -> str:
    """Write a name that may be broken after its underscores."""
    return escape(name).replace("_", "_<wbr>")


def _details(summary: str, inside: str) -> str:
    return f"<details><summary>{summary}</summary>{inside}</details>"


def _block(texts: Sequence[str]) -> str:
    return f"<pre>{escape(chr(10).join(texts))}</pre>"
