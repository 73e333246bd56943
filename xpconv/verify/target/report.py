"""What is told of targets on the screen: a line for each function that is right, a few for each that is not."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from xpconv._tools import machine
from xpconv.verify.report.screen import Screen
from xpconv.verify.target.run import Outcome
from xpconv.verify.target.verdict import ABSENT, IN_THE_COURSE, PASSES, Finding, Verdict

SHOWN_NOTES = 8  # of what could not be loaded
WIDTH = 108
MARGIN = 14  # where arrays begin


def lines(verdict: Verdict) -> list[str]:
    """Say what came of a function."""
    told = [f"{verdict.name}: {verdict.headline}"]
    if verdict.status == IN_THE_COURSE:
        told[0] += f", on {verdict.inputs - verdict.wrong} of {verdict.inputs} inputs"
    told += [line for text in verdict.sentences for line in _wrapped(text, "  ")]
    for found in verdict.findings:
        told += finding(found)
    return told


def finding(found: Finding) -> list[str]:
    """Show results that are wrong, and the input, once."""
    told = [line for text in (*found.what, f"with {found.given}") for line in _wrapped(text, "  ")]
    return told + arrays(found, "    ")


def arrays(found: Finding, indent: str) -> list[str]:
    """Write the arrays below each other."""
    width = max([MARGIN, *(len(name) + 2 for name, _ in found.arrays)])
    told = []
    for name, (first, *rest) in found.arrays:
        told += [f"{indent}{name:{width}}{first}", *(f"{indent}{'':{width}}{line}" for line in rest)]
    return told


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ")


def notes(outcome: Outcome) -> list[str]:
    """Say what could not be run, what concerns a function of the course first."""
    told = [text for text, about in sorted(outcome.notes, key=lambda note: not note[1])]
    more = len(told) - SHOWN_NOTES
    return told[:SHOWN_NOTES] + [f"and {more} more that could not be run"] * (more > 0)


def score(outcome: Outcome) -> str:
    """Count what is right."""
    if outcome.refused:
        return outcome.refused
    short = sum(verdict.status == IN_THE_COURSE for verdict in outcome.verdicts)
    beyond = f", {short} of them in what the course asks" if short else ""
    missing = sum(verdict.status == ABSENT for verdict in outcome.verdicts)
    absent = f"; {missing} {'is' if missing == 1 else 'are'} absent" if missing and outcome.of else ""
    if not outcome.of:
        return "none of the course's functions is there"
    return f"{outcome.right} of {outcome.of} functions are right{beyond}{absent}"


def tell(shown: Screen, outcome: Outcome) -> None:
    """Print what came of a target."""
    shown.line(f"xpconv {machine.version()} verify: target {outcome.target}, seed {outcome.seed}")
    for text in notes(outcome):
        for line in _wrapped(text, "  "):
            shown.line(line)
    for verdict in outcome.verdicts:
        first, *rest = lines(verdict)
        shown.line(first, good=None if verdict.status == ABSENT else verdict.status in PASSES)
        for text in rest:
            shown.line(text)
    shown.line(score(outcome), good=outcome.passed)


def status(outcomes: Sequence[Outcome]) -> int:
    """Give the exit status: 2 if no target could be judged, 1 if one is not as it should be."""
    if all(outcome.refused for outcome in outcomes):
        return 2
    return int(not all(outcome.passed for outcome in outcomes))


def tell_score(shown: Screen, outcomes: Iterable[Outcome]) -> None:
    """Print the scores of several targets, one below the other."""
    for outcome in outcomes:
        shown.line(f"{outcome.target}: {score(outcome)}", good=outcome.passed)
