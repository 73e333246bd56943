"""What wrong answers look like: an exception whose meaning is known, or one of the faults that the self-test plants."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

import xpconv
from xpconv.verify.catalogue.operation import Arrays
from xpconv.verify.catalogue.tasks import Task
from xpconv.verify.faults import COURSE
from xpconv.verify.faults.fault import Fault
from xpconv.verify.target.ask import Answer, ask, close
from xpconv.verify.target.cases import questions
from xpconv.verify.target.load import NAMES

HPARAMETERS = {"conv": "'stride' and 'pad'", "pool": "'f' and 'stride'"}  # by how a function's name begins
# what some exceptions mean, whichever function raises them
KNOWN = {
    "setting an array element with a sequence": "an array where one number belongs: .item() makes a number of an array "
    "of one element",
    " is None": "a result that is never made, or a return that is missing",
    "gives None": "a return that is missing",
    "changes its argument": "an argument is written into, which its owner goes on using: work on a copy",
    "NoneType": "something is None that should hold a value",
    "UnboundLocalError": "a variable that is used before it has a value",
    "positional argument": "the function takes other arguments than the course's",
    "unexpected keyword argument": "the function takes other arguments than the course's",
    "RecursionError": "the function calls itself without an end",
}
UNDEFINED = re.compile(r"raised NameError: name '(\w+)' is not defined")
UNSTEADY = "something else each time (np.random or np.empty where np.zeros belongs, or a value kept between calls)"
SHOWN = 3  # causes, at most
ALIKE = 0.6  # of the answers that are not of the wrong ones in question
FEW = 4  # inputs that a fault may give by chance
SMALL = 16  # inputs that a fault is tried on that does not give all wrong answers

Answers = Mapping[str, Answer]  # by the key of the task


class Catalogue:
    """The planted faults' answers to the questions, with a memory."""

    def __init__(self, arrays: Callable[[Task], Arrays]) -> None:
        self._arrays = arrays
        self._answers: dict[str, dict[str, Answer]] = {}

    def alike(self, name: str, answers: Answers, wrong: Collection[str], number: int | None) -> list[str]:
        """Name the faults of a function that give all its answers of `wrong` keys, and nearly all of the others.

        What is wrong in a way does not answer right where that way shows; a few answers may differ for the style.
        """
        tasks = sorted(questions(name), key=lambda task: task.elements)
        found: list[tuple[int, int, str]] = []
        for fault in _of(name):
            theirs = self._asker(fault, name)
            same = (_same(answers[task.key], theirs(task), number) for task in tasks if task.key in wrong)
            if all(same):  # the first that differs is enough
                others = sum(_same(answers[task.key], theirs(task), number) for task in tasks if task.key not in wrong)
                if others >= ALIKE * (len(tasks) - len(wrong)):
                    whole = sum(_alike(answers[task.key], theirs(task)) for task in tasks if task.key in wrong)
                    found.append((-others, -whole, f"{fault.name} ({fault.imitates})"))
        best = min((count for count, _, _ in found), default=0)
        # those first that give the other results too
        return [text for count, _, text in sorted(found, key=lambda one: one[:2]) if count == best]

    def partly(self, name: str, answers: Answers, wrong: Collection[str], number: int | None) -> str:
        """Name the fault that gives most of the smallest wrong answers, if it is most of them; empty if none does."""
        tasks = sorted((task for task in questions(name) if task.key in wrong), key=lambda task: task.elements)[:SMALL]
        best, text = max(len(tasks) // 2, FEW), ""
        for fault in _of(name):
            theirs = self._asker(fault, name)
            count = sum(_same(answers[task.key], theirs(task), number) for task in tasks)
            if count > best:
                best = count
                text = f"{fault.name} ({fault.imitates}), on {count} of the {len(tasks)} smallest inputs that go wrong"
        return text

    def _asker(self, fault: Fault, name: str) -> Callable[[Task], Answer]:
        """Make what asks the library's function with a fault in it, each task once."""
        known = self._answers.setdefault(f"{name}: {fault.name}", {})
        ((_, wrap),) = fault.plants
        function = wrap(getattr(xpconv, name))

        def theirs(task: Task) -> Answer:
            if task.key not in known:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    known[task.key] = ask(task, function, self._arrays(task))
            return known[task.key]

        return theirs


def _of(name: str) -> Iterator[Fault]:
    return (fault for fault in COURSE if fault.operations == (name,))


def exception(name: str, troubles: Sequence[str]) -> str:
    """Say what exceptions mean that say the same on every input; empty if that is not known."""
    missing = {found[1] if (found := re.search(r"raised KeyError: '(\w+)'", text)) else "" for text in troubles}
    if len(missing) == 1 and "" not in missing:
        holds = HPARAMETERS.get(name.partition("_")[0], "")
        if holds:
            return f"a hyperparameter that is not there: hparameters holds {holds}, not {missing.pop()!r}"
    names = {found[1] if (found := UNDEFINED.search(text)) else "" for text in troubles}
    if len(names) == 1 and "" not in names:
        unknown = names.pop()
        other = difflib.get_close_matches(unknown, NAMES, 1)
        return f"a name that is nowhere defined, {unknown}{f'; did you mean {other[0]}?' if other else ''}"
    return next((meaning for words, meaning in KNOWN.items() if all(words in text for text in troubles)), "")


def _same(one: Answer, other: Answer, number: int | None) -> bool:
    """Say whether two answers agree, in one result or in how they fail."""
    if one.trouble or other.trouble:
        return _kind(one.trouble) == _kind(other.trouble)
    return number is None or close(one.results[number], other.results[number])


def _alike(one: Answer, other: Answer) -> bool:
    """Say whether two answers agree in all results."""
    return bool(one.results) and len(one.results) == len(other.results) and all(map(close, one.results, other.results))


def _kind(trouble: str) -> list[str] | str:
    """Take the class of an exception; of another message the words, without shapes and numbers."""
    raised = re.match(r"raised (\w+)", trouble)
    return raised[1] if raised else re.findall("[A-Za-z]+", trouble)
