"""Call somebody else's function and the planted faults on the same cases, and say how its results are wrong."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

import xpconv
from xpconv.testing import Mismatch, assert_exact, assert_within_bound
from xpconv.verify.catalogue.operation import Array, Arrays, Name, Operation
from xpconv.verify.catalogue.tasks import Task
from xpconv.verify.check.oracle import Oracle
from xpconv.verify.faults import COURSE
from xpconv.verify.faults.fault import Fault
from xpconv.verify.target.cases import questions
from xpconv.verify.target.load import Functions, said

FORWARD = {"conv_backward": "conv_forward", "pool_backward": "pool_forward"}
# what some exceptions mean, whichever function raises them
KNOWN = {
    "only 0-dimensional arrays can be converted": "written for an older NumPy, whose float() took an array of one "
    "element: b.item() instead of float(b)",
    "setting an array element with a sequence": "an array where one number belongs: .item() makes a number of an array "
    "of one element",
    "module 'numpy' has no attribute": "written for an older NumPy, which had that name",
}
CLOSE = 1e-9  # two wrong results are the same one


@dataclass(frozen=True)
class Answer:
    """What a function gave: its results as arrays of float64, or what is wrong before any value is looked at."""

    results: tuple[Array, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Wrong:
    """A wrong answer: result `number` on a task, None where there is no result to speak of."""

    task: Task
    what: str
    number: int | None = None
    expected: Array | None = None
    got: Array | None = None


Wrongs = list[Wrong]
Answers = dict[str, Answer]  # by the key of the task


class Judge:
    """Asks the questions and knows the answers."""

    def __init__(self, functions: Functions, seed: int) -> None:
        self.functions, self.oracle = functions, Oracle(seed)
        self._faults: dict[str, Answers] = {}

    def ask(self, name: str, begin: Callable[[str], None]) -> tuple[Answers, Wrongs]:
        """Ask a function everything; give its answers and what is wrong with them."""
        answers: Answers = {}
        wrongs: Wrongs = []
        for task in questions(name):
            begin(f"running {name} on {describe(task)}")
            answers[task.key] = answer = self._answer(task, self.functions[name])
            wrongs += self._compare(task, answer)
        return answers, wrongs

    def data(self, task: Task) -> Arrays:
        """Give fresh arrays, by their names in the call."""
        return {name: drawn.values.copy() for name, drawn in self.oracle.data(task).items()}

    def alike(self, name: str, number: int | None, answers: Answers, wrongs: Wrongs, partly: bool = True) -> str:
        """Say which planted fault gives the same wrong results, or half of them if `partly`; empty if none does."""
        mine = [wrong for wrong in wrongs if wrong.number == number]
        known = [meaning for text, meaning in KNOWN.items() if all(text in wrong.what for wrong in mine)]
        if known:
            return known[0]
        keys = {wrong.task.key for wrong in mine}
        found = []
        for fault in COURSE:
            if fault.operations == (name,):
                theirs = self._of(fault)
                same = {key for key, answer in answers.items() if _same(answer, theirs[key], number)}
                found.append((len(keys & same), len(same), fault))
        most = max((count, everywhere) for count, everywhere, _ in found)
        if most[0] < len(keys) and not (partly and 2 * most[0] >= len(keys)):
            return ""
        best = [fault for count, everywhere, fault in found if (count, everywhere) == most]
        words = " or ".join(f"{fault.name} ({fault.imitates})" for fault in best[:2])
        return words if most[0] == len(keys) else f"on {most[0]} of {len(keys)} wrong inputs {words}"

    # --- calls ---

    def _of(self, fault: Fault) -> Answers:
        """Give the answers of the library's function with a fault in it."""
        (name,) = fault.operations
        key = f"{name}: {fault.name}"
        if key not in self._faults:
            ((_, wrap),) = fault.plants
            wrong = wrap(getattr(xpconv, name))
            answers = {task.key: self._answer(task, wrong, theirs=False) for task in questions(name)}
            self._faults[key] = answers
        return self._faults[key]

    def _answer(self, task: Task, function: Callable[..., Any], theirs: bool = True) -> Answer:
        call = task.operation.call(task.setup, "")
        arrays = self.data(task)
        before = {name: array.copy() for name, array in arrays.items()}
        try:
            arguments = [_fill(value, arrays) for value in call.arguments]
            if theirs and task.operation.name in FORWARD:
                arguments[1] = self._cache(task, arguments[1])
            raw = function(*arguments, **call.keywords)
        except (Exception, SystemExit) as error:
            return Answer(trouble=f"raised {said(error)}")
        changed = next((name for name, array in arrays.items() if not _equal(array, before[name])), "")
        if changed:
            return Answer(trouble=f"changes its argument {changed}")
        return _read(task.operation, raw)

    def _cache(self, task: Task, cache: tuple[Any, ...]) -> Any:
        """Give the cache that their own forward function makes, or one as the course has it."""
        forward = self.functions.get(FORWARD[task.operation.name])
        if forward is None:
            return cache
        call = task.operation.call(task.setup, "")
        try:
            made = forward(*copy.deepcopy(cache), **call.keywords)
        except (Exception, SystemExit):
            return cache
        return made[1] if isinstance(made, tuple) and len(made) == 2 else cache

    def _compare(self, task: Task, answer: Answer) -> Wrongs:
        if answer.trouble:
            return [Wrong(task, answer.trouble)]
        found = []
        bounds = None if task.operation.steps is None else self.oracle.bounds(task)
        for number, (got, exact) in enumerate(zip(answer.results, self.oracle.exact(task), strict=True)):
            name, nearest = task.operation.results[number], exact.nearest.astype(np.float64)
            if got.shape != nearest.shape:
                what = f"{name} has the shape {got.shape}, not {nearest.shape}"
                found.append(Wrong(task, what, number, nearest, got))
                continue
            try:
                if bounds is None:
                    assert_exact(got, nearest)
                else:
                    assert_within_bound(got - nearest, exact.rest, bounds[number])
            except Mismatch as fault:
                found.append(Wrong(task, f"{name}: {fault.what.partition(', the ')[0]}", number, nearest, got))
        return found


def smallest(wrongs: Iterable[Wrong]) -> Wrong:
    """Give the one with the smallest arrays; whole numbers before real ones."""

    def size(wrong: Wrong) -> tuple[int, bool]:
        operation, setup = wrong.task.operation, wrong.task.setup
        names = operation.call(setup, "").names()
        return sum(math.prod(setup.shape(operation.role(name))) for name in names), wrong.task.kind == "signed"

    return min(wrongs, key=size)


def describe(task: Task) -> str:
    """Name a task by its shapes and hyperparameters."""
    operation, setup = task.operation, task.setup
    call = operation.call(setup, "")
    words = [f"{name} {tuple(setup.shape(operation.role(name)))}" for name in call.names()]
    words += [repr(value) for value in _plain(call.arguments)]
    return ", ".join([*words, *(f"{name}={value!r}" for name, value in call.keywords.items())])


def _plain(values: Iterable[Any]) -> list[Any]:
    """Gather what is no array: hyperparameters, a number of pixels, a shape."""
    found = []
    for value in values:
        if isinstance(value, tuple) and any(isinstance(item, Name) for item in value):
            found += _plain(value)
        elif not isinstance(value, Name):
            found.append(value)
    return found


def _fill(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, Name):
        array = arrays[value]
        return float(array[0, 0]) if value == "dz" else array
    if isinstance(value, tuple):
        return tuple(_fill(item, arrays) for item in value)
    return copy.deepcopy(value)


def _equal(one: Array, other: Array) -> bool:
    return bool(one.shape == other.shape) and one.tobytes() == other.tobytes()


def _read(operation: Operation, raw: Any) -> Answer:
    """Make arrays of what a function gave."""
    names = operation.results
    if operation.cached:
        if not isinstance(raw, tuple) or len(raw) != 2:
            return Answer(trouble=f"gives {_kind(raw)}, not ({names[0]}, cache)")
        raw = raw[0]
    if len(names) == 1:
        raw = (raw,)
    elif not isinstance(raw, (tuple, list)) or len(raw) != len(names):
        return Answer(trouble=f"gives {_kind(raw)}, not ({', '.join(names)})")
    found = []
    for name, value in zip(names, raw, strict=True):
        try:
            array = np.array(value, np.float64)
        except (TypeError, ValueError):
            return Answer(trouble=f"{name} is {_kind(value)}, not an array of numbers")
        if operation.name == "conv_single_step" and array.size == 1:
            array = array.reshape(())  # the course's own text leaves b's axes on it
        found.append(array)
    return Answer(tuple(found))


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    return f"{len(value)} results" if isinstance(value, tuple) else f"one {type(value).__name__}"


def _words(text: str) -> list[str]:
    """Leave out the shapes and other numbers of a message."""
    return re.findall("[A-Za-z]+", text)


def _same(one: Answer, other: Answer, number: int | None) -> bool:
    """Say whether two answers agree, in one result or in how they fail."""
    if one.trouble or other.trouble:
        return _words(one.trouble) == _words(other.trouble)
    if number is None:
        return True
    a, b = one.results[number], other.results[number]
    if a.shape != b.shape:
        return False
    scale = np.max(np.abs(b), initial=1.0)
    return bool(np.all((a == b) | (np.abs(a - b) <= CLOSE * scale)))
