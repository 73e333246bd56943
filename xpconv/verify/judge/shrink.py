"""Smaller cases: the same options on fewer pixels, channels and taps, written after the case's name."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from xpconv.verify.catalogue.setups import EXTENTS
from xpconv.verify.catalogue.tasks import Task
from xpconv.verify.judge.result import Result

PATIENCE = 3.0  # seconds for one failure


def _lesser(setup: Any) -> Iterator[dict[str, Any]]:
    """Propose changes that make a setup smaller, the boldest first."""
    least = getattr(setup, "groups", 1)
    for name in EXTENTS:
        value = getattr(setup, name, None)
        if name in ("batch", "channels", "filters"):
            least_here = 1 if name == "batch" else least
            for fewer in dict.fromkeys((least_here, (value or 0) // 2 // least * least)):
                if value is not None and 1 <= fewer < value:
                    yield {name: fewer}
        elif isinstance(value, int) and value > 1:
            yield {name: value - 1}
        elif isinstance(value, tuple):
            for axis, n in enumerate(value):
                for fewer in dict.fromkeys((n // 2, n - 1)):
                    if fewer >= 1:
                        yield {name: (*value[:axis], fewer, *value[axis + 1 :])}


def _fits(task: Task) -> bool:
    """Say whether a smaller case still is a case of its tier."""
    try:
        setup, operation = task.setup, task.operation
        windows = getattr(setup, "windows", None)
        if windows is not None and min((*windows.out, *windows.size)) < 1:
            return False
        if any(min(setup.shape(operation.role(name))) < 1 for name in task.call.names()):
            return False
        exact = operation.exact(setup)
    except (ValueError, IndexError, ZeroDivisionError):
        return False
    return task.tier == "bound" or (exact and (task.tier != "adjoint" or setup.adjoint))


def smaller(task: Task) -> Iterator[Task]:
    """Go through smaller cases like this one."""
    case, _, text = task.case.partition("@")
    extents = dict(part.split("=") for part in text.split(",")) if text else {}
    for change in _lesser(task.setup):
        words = {n: "x".join(map(str, v)) if isinstance(v, tuple) else str(v) for n, v in change.items()}
        candidate = replace(task, case=f"{case}@" + ",".join(f"{n}={v}" for n, v in (extents | words).items()))
        if _fits(candidate):
            yield candidate


def _like(failure: str) -> str:
    return re.sub(r"\d[\d.e+-]*", "#", re.sub(r"\([^)]*\)", "()", failure))


def shrink(check: Callable[[Task], Result], failed: Result) -> Result:
    """Look for the smallest case that fails in the same way, for a few seconds."""
    end = time.perf_counter() + PATIENCE
    found, again = failed, True
    while again:
        again = False
        for candidate in smaller(found.task):
            if time.perf_counter() > end:
                return found
            result = check(candidate)
            if not result.passed and _like(result.failure) == _like(failed.failure):
                found, again = result, True
                break
    return found
