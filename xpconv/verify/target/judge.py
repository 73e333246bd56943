"""Say how somebody else's functions are wrong: on which input, and which known fault does the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import xpconv
from xpconv.testing import Mismatch, assert_exact, assert_within_bound
from xpconv.verify.catalogue.operation import Arrays
from xpconv.verify.catalogue.tasks import Task
from xpconv.verify.check.oracle import Oracle
from xpconv.verify.definition.windows import Array
from xpconv.verify.faults import COURSE
from xpconv.verify.faults.fault import Fault
from xpconv.verify.target.ask import Answer, ask, describe
from xpconv.verify.target.cases import questions
from xpconv.verify.target.load import Functions, Tell
from xpconv.verify.target.verdict import MISSING, RIGHT, WRONG, Finding, Verdict

CALLED = {
    "conv_forward": ("zero_pad", "conv_single_step"),
    "conv_backward": ("zero_pad",),
    "pool_backward": ("create_mask_from_window", "distribute_value"),
}  # in the course's own text
# what some exceptions mean, whichever function raises them
KNOWN = {
    "only 0-dimensional arrays can be converted": "written for an older NumPy, whose float() took an array of one "
    "element: b.item() instead of float(b)",
    "setting an array element with a sequence": "an array where one number belongs: .item() makes a number of an array "
    "of one element",
    "module 'numpy' has no attribute": "written for an older NumPy, which had that name",
}
CLOSE = 1e-9  # two wrong results are the same one
ROWS, NUMBERS = 12, 64  # of an array that is shown whole, at most


@dataclass(frozen=True)
class Wrong:
    """A wrong answer: result `number` on a task, None where there is no result to speak of."""

    task: Task
    what: str
    number: int | None = None
    expected: Array | None = None
    got: Array | None = None


Answers = dict[str, Answer]  # by the key of the task


class Judge:
    """Asks the questions and knows the answers."""

    def __init__(self, functions: Functions, seed: int) -> None:
        self.functions, self.oracle = functions, Oracle(seed)
        self._wrong: set[str] = set()
        self._faulty: dict[str, Answers] = {}

    def verdict(self, name: str, begin: Tell) -> Verdict:
        """Ask a function everything and say what is wrong with its answers; `begin` is told what comes next."""
        if name not in self.functions:
            return Verdict(name, MISSING)
        answers: Answers = {}
        wrongs: list[Wrong] = []
        for task in questions(name):
            begin(f"running {name} on {describe(task)}")
            answers[task.key] = answer = ask(task, self.functions[name], self._arrays(task), self.functions)
            wrongs += self._compare(task, answer)
        begin(f"comparing {name} with the known faults")
        if not wrongs:
            return Verdict(name, RIGHT, len(answers))
        causes = tuple(cause for cause in CALLED.get(name, ()) if cause in self._wrong)
        self._wrong.add(name)
        count = len({wrong.task.key for wrong in wrongs})
        return Verdict(name, WRONG, len(answers), count, causes, self._findings(answers, wrongs, bool(causes)))

    def _arrays(self, task: Task) -> Arrays:
        """Draw fresh arrays, by their names in the call."""
        return {name: drawn.values.copy() for name, drawn in self.oracle.data(task).items()}

    def _compare(self, task: Task, answer: Answer) -> list[Wrong]:
        if answer.trouble:
            return [Wrong(task, answer.trouble)]
        found = []
        bounds = None if task.operation.sums is None else self.oracle.bounds(task)
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

    # --- what is told of it ---

    def _findings(self, answers: Answers, wrongs: list[Wrong], explained: bool) -> tuple[Finding, ...]:
        """Say of each result that is wrong what it looks like, on the smallest input that shows it."""
        found = []
        numbers = list(dict.fromkeys(wrong.number for wrong in wrongs))
        for number in numbers:
            mine = [wrong for wrong in wrongs if wrong.number == number]
            # whole numbers before real ones
            smallest = min(mine, key=lambda wrong: (wrong.task.elements, wrong.task.kind == "signed"))
            alike = self._alike(answers, mine, partly=not explained)
            if not alike and not explained and (number is not None or len(numbers) == 1):
                alike = "none of the known faults"
            arrays = () if number is None else self._shown(smallest)
            found.append(Finding(smallest.what, describe(smallest.task), alike, arrays))
        return tuple(found)

    def _shown(self, wrong: Wrong) -> tuple[tuple[str, tuple[str, ...]], ...]:
        arrays = self._arrays(wrong.task)
        rows = [(name, arrays[name]) for name in wrong.task.call.names()]
        rows += [("expected", wrong.expected), ("got", wrong.got)]
        return tuple((name, _lines(array)) for name, array in rows)

    def _alike(self, answers: Answers, wrongs: list[Wrong], partly: bool) -> str:
        """Say which planted fault gives the same wrong results, or half of them if `partly`; empty if none does."""
        (name,) = {wrong.task.operation.name for wrong in wrongs}
        number = wrongs[0].number
        known = [meaning for text, meaning in KNOWN.items() if all(text in wrong.what for wrong in wrongs)]
        if known:
            return known[0]
        keys = {wrong.task.key for wrong in wrongs}
        found = []
        for fault in COURSE:
            if fault.operations == (name,):
                theirs = self._answers_of(fault)
                same = {key for key, answer in answers.items() if _same(answer, theirs[key], number)}
                found.append((len(keys & same), len(same), fault))
        most = max((count, everywhere) for count, everywhere, _ in found)
        if most[0] < len(keys) and not (partly and 2 * most[0] >= len(keys)):
            return ""
        best = [fault for count, everywhere, fault in found if (count, everywhere) == most]
        words = " or ".join(f"{fault.name} ({fault.imitates})" for fault in best[:2])
        return words if most[0] == len(keys) else f"on {most[0]} of {len(keys)} wrong inputs {words}"

    def _answers_of(self, fault: Fault) -> Answers:
        """Ask the library's function with a fault in it."""
        (name,) = fault.operations
        key = f"{name}: {fault.name}"
        if key not in self._faulty:
            wrong = _with(fault)
            self._faulty[key] = {task.key: ask(task, wrong, self._arrays(task)) for task in questions(name)}
        return self._faulty[key]


def _with(fault: Fault) -> Callable[..., Any]:
    """Make the library's function wrong, without planting it."""
    (name,) = fault.operations
    ((_, wrap),) = fault.plants
    return wrap(getattr(xpconv, name))


def _lines(array: Array | None) -> tuple[str, ...]:
    """Write an array that is short; of a long one say how large it is."""
    whole = np.asarray(array)
    flat = np.squeeze(whole)
    text = np.array2string(flat, precision=6, threshold=NUMBERS, max_line_width=100).split("\n")
    text = [line for line in text if line.strip()]
    if flat.size > NUMBERS or len(text) > ROWS:
        return (f"{tuple(whole.shape)}, {whole.size} numbers",)
    shape = "" if flat.shape == whole.shape else f"  shape {tuple(whole.shape)}"
    text[-1] += shape
    return tuple(text)


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
