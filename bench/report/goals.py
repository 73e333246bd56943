"""Targets: how large or small a ratio may be, in the geometric mean and at worst."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.report.numbers import geometric_mean, number


@dataclass(frozen=True)
class Goal:
    """What a ratio may be over some cases; a limit that is None is not judged."""

    text: str
    mean: float | None = None
    worst: float | None = None
    unit: str = ""
    least: float | None = None  # of ratios of which more is better

    def limits(self) -> str:
        """Say the limits."""
        parts = {"mean at most": self.mean, "worst at most": self.worst, "worst at least": self.least}
        return ", ".join(f"{name} {value:g}{self.unit}" for name, value in parts.items() if value is not None)

    def met(self, mean: float, worst: float) -> bool:
        """Hold the mean and the worst against the limits."""
        return (
            (self.mean is None or mean <= self.mean)
            and (self.worst is None or worst <= self.worst)
            and (self.least is None or worst >= self.least)
        )


def judge(goal: Goal, values: Mapping[str, float | None], complete: bool = True) -> dict[str, Any]:
    """Hold values, by case, against a goal; ``met`` is None where there is no value or one is missing."""
    result: dict[str, Any] = {
        "target": goal.text,
        "limits": goal.limits(),
        "unit": goal.unit,
        "cases": len(values),
        "met": None,
    }
    known = {name: value for name, value in values.items() if value is not None}
    if not known or len(known) < len(values) or not complete:
        return result
    case = (max if goal.least is None else min)(known, key=known.__getitem__)
    mean = geometric_mean(known.values())
    assert mean is not None
    return result | {"met": goal.met(mean, known[case]), "mean": mean, "worst": known[case], "case": case}


def unmeasured(found: Mapping[str, Any]) -> dict[str, Any]:
    """Take a judgement back, where the cases were not those that the target is about."""
    return {**found, "met": None}


def line(found: Mapping[str, Any]) -> str:
    """Say whether a goal is met."""
    head = f"target: {found['target']}: {found['limits']}: "
    if found["met"] is None:
        return head + "not measured in this run"
    verdict = "met" if found["met"] else "not met"
    unit = found["unit"]
    if found["cases"] == 1:
        return f"{head}{verdict} ({number(found['worst'])}{unit})"
    return (
        f"{head}{verdict} (mean {number(found['mean'])}{unit}, worst {number(found['worst'])}{unit}: {found['case']})"
    )
