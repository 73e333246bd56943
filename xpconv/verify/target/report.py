"""What is told of a target: a line for each function that is right, a few for each that is not."""

from __future__ import annotations

from xpconv._tools import machine
from xpconv.verify.report.screen import Screen
from xpconv.verify.target.run import Outcome
from xpconv.verify.target.verdict import MISSING, RIGHT, WRONG, Verdict

SHOWN_NOTES = 8  # of what could not be loaded


def lines(verdict: Verdict) -> list[str]:
    """Say what came of a function; what its faults look like is told once."""
    if verdict.status == MISSING:
        return [f"{verdict.name}: not there"]
    if verdict.status == RIGHT:
        return [f"{verdict.name}: right on {verdict.inputs} inputs"]
    told = [f"{verdict.name}: WRONG on {verdict.wrong} of {verdict.inputs} inputs"]
    if verdict.causes:
        told.append(f"  begin with {' and '.join(verdict.causes)}: the course calls that here")
    for found in verdict.findings:
        alike = f"  looks like: {found.alike}"
        if found.alike and alike not in told:
            told.append(alike)
        told.append(f"  {found.what}, with {found.given}")
        for name, (first, *rest) in found.arrays:
            told += [f"    {name:12} {first}", *(f"    {'':12} {line}" for line in rest)]
    return told


def tell(shown: Screen, outcome: Outcome) -> int:
    """Print what came of a target; the exit status is 0 if all that is there is right, 1 otherwise."""
    shown.line(f"xpconv {machine.version()} verify: target {outcome.target}, seed {outcome.seed}")
    for text in outcome.notes[:SHOWN_NOTES]:
        shown.line(f"  {text}")
    if len(outcome.notes) > SHOWN_NOTES:
        shown.line(f"  and {len(outcome.notes) - SHOWN_NOTES} more that could not be run")
    news = {RIGHT: True, WRONG: False}
    for verdict in outcome.verdicts:
        first, *rest = lines(verdict)
        shown.line(first, good=news.get(verdict.status))
        for text in rest:
            shown.line(text)
    if outcome.stopped:
        shown.line(outcome.stopped, good=False)
        return 1
    wrong, right = (sum(verdict.status == status for verdict in outcome.verdicts) for status in (WRONG, RIGHT))
    shown.line(f"{right} of {right + wrong} functions are right", good=not wrong)
    return int(wrong > 0)
