"""Look for keywords that prove nothing: each has to change a result in some case, and so has each of its values.

What a case that leaves a keyword alone cannot see, no comparison of results can: this is the check of the cases.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import xpconv
from xpconv._tools.libraries import Library
from xpconv.algorithms import EVERYWHERE
from xpconv.verify.catalogue.dtypes import host
from xpconv.verify.catalogue.operation import Call, Operation
from xpconv.verify.catalogue.tasks import OPERATIONS, Task
from xpconv.verify.judge.oracle import Oracle

OTHERS = "other than its default"


@dataclass(frozen=True)
class Untested:
    """A keyword, or one value of it, that changes no result in any case."""

    operation: str
    keyword: str
    value: Any  # a word, a flag, or `OTHERS` for numbers

    def __str__(self) -> str:
        what = f"={self.value!r}" if self.value is not OTHERS else ""
        return f"{self.operation}: {self.keyword}{what} changes no result in any case"


def options(name: str) -> dict[str, Any]:
    """Read the options of a public function with their defaults, whatever they are; more than the cases may know."""
    parameters = inspect.signature(getattr(xpconv, name)).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def untested(library: Library, oracle: Oracle, names: tuple[str, ...], core: bool) -> list[Untested]:
    """Try each option of these operations, with and without, until some case gives another result."""
    return [found for name in names for found in _of(library, oracle, name, core)]


def _of(library: Library, oracle: Oracle, name: str, core: bool) -> Iterator[Untested]:
    defaults = options(name)
    waiting: dict[tuple[str, Any], None] = {(option, None): None for option in defaults}
    settled: set[tuple[str, Any]] = set()
    for task in _calls(name, core):
        call = task.call
        given = dict(call.keywords) | _positional(name, call)
        mine = {option: (option, _value(value)) for option, value in given.items() if value != defaults.get(option)}
        waiting |= dict.fromkeys(mine.values())
        if all(key in settled for key in mine.values()):
            continue
        arrays = None
        for option, key in mine.items():
            if key in settled:
                continue
            if arrays is None:
                arrays = _arrays(library, oracle, task)
            if any(_differ(library, arrays, call, other) for other in _others(name, call, option)):
                settled.add(key)
    seen = {option for option, value in waiting if value is not None}
    for option, value in waiting:
        if value is None and option not in seen:
            yield Untested(name, option, OTHERS)
        elif value is not None and (option, value) not in settled:
            yield Untested(name, option, value)


def _value(value: Any) -> Any:
    """Take words and flags one by one, numbers together."""
    return value if isinstance(value, (str, bool)) else OTHERS


def _calls(name: str, core: bool) -> Iterator[Task]:
    """Go through one check of each case, on real numbers and then, for ties, on whole ones."""
    for kind in ("signed", "whole"):
        for operation in (one for one in OPERATIONS if one.name == name):
            for case, setup in operation.table.items():
                if setup.core or not core:
                    yield from _with_algorithms(operation, case, kind, (setup.only or ("float32",))[0])


def _with_algorithms(operation: Operation, case: str, kind: str, dtype: str) -> Iterator[Task]:
    kind = "full" if "int" in dtype else kind
    for algorithm in EVERYWHERE if operation.algorithms else ("",):
        yield Task(operation, case, kind, dtype, algorithm, "bound")


def _arrays(library: Library, oracle: Oracle, task: Task) -> dict[str, Any]:
    drawn = oracle.data(task).items()
    return {n: library.asarray(d.values, task.dtype if d.values.dtype == host(task.dtype) else None) for n, d in drawn}


def _positional(name: str, call: Call) -> dict[str, Any]:
    """Gather the options that a call has by position."""
    parameters = inspect.signature(getattr(xpconv, name)).parameters.values()
    places = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    given = zip(places, call.arguments, strict=False)
    return {place.name: value for place, value in given if place.default is not place.empty}


def _others(name: str, call: Call, option: str) -> Iterator[Call]:
    """Make the call without the option; for an algorithm, whose bits may be the default's, with one there is not."""
    if option == "algorithm":
        yield replace(call, keywords=call.keywords | {option: "none"})
    elif call.keywords.get(option) == "valid":  # another word for the default
        yield replace(call, keywords=call.keywords | {option: "same"})
    elif option in call.keywords:
        yield replace(call, keywords={n: value for n, value in call.keywords.items() if n != option})
    else:
        place = list(inspect.signature(getattr(xpconv, name)).parameters).index(option)
        yield replace(call, arguments=call.arguments[:place])


def _differ(library: Library, arrays: dict[str, Any], call: Call, other: Call) -> bool:
    try:
        first = call.run(arrays)
    except Exception:  # another check's finding
        return False
    try:
        second = other.run(arrays)
    except Exception:  # without the option it is no legal call
        return True
    return bool(_bits(library, first) != _bits(library, second))


def _bits(library: Library, results: Any) -> Any:
    if isinstance(results, tuple):
        return tuple(_bits(library, result) for result in results)
    if not hasattr(results, "dtype"):
        return repr(results)
    array = np.asarray(library.to_numpy(results))
    return str(results.dtype), array.shape, array.tobytes()
