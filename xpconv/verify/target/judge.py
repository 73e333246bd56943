"""Say how each of somebody's functions stands: what is wrong, on which input, and what that looks like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from xpconv.verify.catalogue.operation import Arrays
from xpconv.verify.catalogue.tasks import Task
from xpconv.verify.definition.windows import Array
from xpconv.verify.judge.oracle import Oracle
from xpconv.verify.target import causes, pattern
from xpconv.verify.target.ask import FORWARD, Answer, ask_twice, close, describe
from xpconv.verify.target.cases import asked_by_the_course, questions
from xpconv.verify.target.causes import Catalogue
from xpconv.verify.target.helpers import CALLED, put_right
from xpconv.verify.target.load import Functions, Loaded, Tell
from xpconv.verify.target.pattern import Difference
from xpconv.verify.target.placeholders import placeholder
from xpconv.verify.target.verdict import (
    ABSENT,
    IN_THE_COURSE,
    PASSES,
    RIGHT,
    UNFINISHED,
    UNREADABLE,
    WRONG,
    Finding,
    Shown,
    Verdict,
)

FEWER = "fewer digits than float64 has, as of float32 (which the course's own comparisons let pass)"
ROWS, NUMBERS, WIDTH = 12, 64, 88  # of an array that is shown whole, at most


@dataclass(frozen=True)
class Wrong:
    """A wrong answer: result `number` on a task, None where there is no result to speak of."""

    task: Task
    what: str
    number: int | None = None
    difference: Difference | None = None


@dataclass(frozen=True)
class Asked:
    """All answers of a function, and what is wrong with them."""

    answers: dict[str, Answer]
    wrongs: list[Wrong]
    helped: tuple[str, ...] = ()

    @property
    def keys(self) -> set[str]:
        """The keys of the tasks that went wrong."""
        return {wrong.task.key for wrong in self.wrongs}


class Judge:
    """Asks the questions and knows the answers; `statuses` are those of functions that are judged already."""

    def __init__(self, loaded: Loaded, seed: int, statuses: dict[str, str] | None = None) -> None:
        self.loaded = loaded
        self.oracle, self._catalogue = _known(seed)
        self.statuses: dict[str, str] = dict(statuses or {})

    @property
    def functions(self) -> Functions:
        """The functions that are there."""
        return self.loaded.functions

    def verdict(self, name: str, begin: Tell, done: Callable[[], None] = lambda: None) -> Verdict:
        """Judge a function; those that it calls and that are judged before have to be right, or are put right.

        `begin` is told what it is asked next; `done` is called when it has been asked everything.
        """
        found = self._verdict(name, begin, done)
        self.statuses[name] = found.status
        return found

    def _verdict(self, name: str, begin: Tell, done: Callable[[], None]) -> Verdict:
        if name in self.loaded.unreadable:
            return Verdict(name, UNREADABLE, self.loaded.unreadable[name])
        if name not in self.functions:
            near = self.loaded.near.get(name)
            return Verdict(name, ABSENT, f"there is {near}; did you mean {name}?" if near else "")
        helpers = [one for one in CALLED.get(name, ()) if self.statuses.get(one, ABSENT) not in PASSES]
        forward = FORWARD.get(name, "")
        own = self.functions.get(forward)
        asked = self._ask(name, helpers, own if self.statuses.get(forward) in PASSES else None, begin)
        if asked.wrongs and own is not None and self.statuses.get(forward) == WRONG:
            # a cache of one's own, behind a forward function that is wrong in its values only
            other = self._ask(name, helpers, own, begin)
            asked = min(asked, other, key=lambda one: len(one.keys))
        done()
        return self._told(name, asked)

    def _ask(self, name: str, helpers: list[str], forward: Callable[..., Any] | None, begin: Tell) -> Asked:
        answers: dict[str, Answer] = {}
        wrongs: list[Wrong] = []
        function = self.functions[name]
        with put_right(function, helpers) as used, np.errstate(all="ignore"):
            for task in questions(name):
                begin(describe(task))
                answers[task.key] = answer = ask_twice(task, function, self._arrays(task), forward)
                wrongs += self._compare(task, answer)
        return Asked(answers, wrongs, tuple(one for one in helpers if one in used))

    def _arrays(self, task: Task) -> Arrays:
        return _drawn(self.oracle, task)

    def _compare(self, task: Task, answer: Answer) -> list[Wrong]:
        if answer.trouble:
            return [Wrong(task, answer.trouble)]
        found = []
        bounds = None if task.operation.sums is None else self.oracle.bounds(task)
        for number, (got, exact) in enumerate(zip(answer.results, self.oracle.exact(task), strict=True)):
            name, nearest = task.operation.results[number], exact.nearest.astype(np.float64)
            if got.shape != nearest.shape:
                what = f"{name} has the shape {got.shape}, not {nearest.shape}"
                if not nearest.shape:
                    what = f"{name} is an array of shape {got.shape}, not a number"
                found.append(Wrong(task, what, number, Difference(task, name, nearest, got)))
                continue
            # a number that is none is never within a bound
            right = got == nearest if bounds is None else np.abs((got - nearest) - exact.rest) <= bounds[number]
            if not np.all(right):
                count = int(np.sum(~right))
                what = f"{name}: {count} of {got.size} numbers {'is' if count == 1 else 'are'} wrong"
                if got.size == 1:
                    what = f"{name} is wrong"
                found.append(Wrong(task, what, number, Difference(task, name, nearest, got, ~right)))
        return found

    # --- what is told of it ---

    def _told(self, name: str, asked: Asked) -> Verdict:
        plain = Verdict(name, RIGHT, inputs=len(asked.answers), wrong=len(asked.keys), helped=asked.helped)
        if any(answer.unsteady for answer in asked.answers.values()):
            keys = [key for key, answer in asked.answers.items() if answer.unsteady]
            count = len(asked.keys | set(keys))
            found = self._findings(asked.wrongs) if asked.wrongs else ()
            return replace(plain, status=WRONG, wrong=count, looks_like=(causes.UNSTEADY,), findings=found)
        slight = [wrong for wrong in asked.wrongs if wrong.difference is not None and pattern.nearly(wrong.difference)]
        wrongs = [wrong for wrong in asked.wrongs if wrong not in slight]
        mine = [wrong for wrong in wrongs if asked_by_the_course(wrong.task)]
        beyond = [wrong for wrong in wrongs if not asked_by_the_course(wrong.task)]
        older = list(dict.fromkeys(answer.older for answer in asked.answers.values() if answer.older))
        if not mine:
            if slight:
                older.append(FEWER)
            if not beyond and not older:
                return plain
            message = "beyond what the course asks: " + "; ".join([*older, *self._beyond(name, asked, beyond)])
            return replace(plain, status=IN_THE_COURSE, message=message)
        if todo := placeholder(self.functions[name]):
            return replace(plain, status=UNFINISHED, message=todo)
        return self._wrong(name, plain, asked, mine, beyond)

    def _beyond(self, name: str, asked: Asked, beyond: list[Wrong]) -> list[str]:
        """Say what fails where the course does not look, and the remedy."""
        if not beyond:
            return []
        first = min(beyond, key=_size)
        alike = self._alike(name, asked, [wrong for wrong in beyond if wrong.number == first.number])
        why = f": {alike[0]}" if alike else ""
        remedy = "; cut [pad:pad + n_H_prev, pad:pad + n_W_prev] instead" if name == "conv_backward" else ""
        return [f"with pad 0 {first.what}{why}{remedy}"]

    def _wrong(self, name: str, plain: Verdict, asked: Asked, mine: list[Wrong], beyond: list[Wrong]) -> Verdict:
        likes: dict[int | None, list[str]] = {}
        messages: list[str] = []
        for number in dict.fromkeys(wrong.number for wrong in mine):
            here = [wrong for wrong in asked.wrongs if wrong.number == number]
            course = [wrong for wrong in mine if wrong.number == number]
            likes[number] = self._alike(name, asked, here) or self._alike(name, asked, course)
            if not likes[number] and (text := self._pattern(asked, here)):
                messages.append(text)
        named = {text for number, texts in likes.items() if number is not None for text in texts}
        if None in likes and len(likes) > 1:  # what raises something has to give the wrong values too
            likes[None] = [text for text in likes[None] if text in named]
        # first what explains most of the results
        counts = Counter(text for found in likes.values() for text in found)
        alike = sorted(counts, key=lambda text: -counts[text]) or ([] if messages else self._partly(name, asked, mine))
        if beyond and all(wrong.number is None for wrong in beyond) and None not in likes:
            messages += [text for text in self._beyond(name, asked, beyond) if "pad 0 cuts" in text]
        if not alike and self._kept(asked, mine):
            messages = ["gives what it gave before on another input: a value is kept between calls"]
        if not alike and not messages:
            messages.append("like none of the known faults")
        if alike and counts[alike[0]] == len(likes) > 1:  # an exception is of the same cause
            mine = [wrong for wrong in mine if wrong.number is not None]
        told = tuple(alike[: causes.SHOWN])
        return replace(plain, status=WRONG, looks_like=told, message="; ".join(messages), findings=self._findings(mine))

    def _alike(self, name: str, asked: Asked, wrongs: list[Wrong]) -> list[str]:
        """Name what gives all these wrong answers, which are of one result."""
        if not wrongs:
            return []
        if wrongs[0].number is None:
            known = causes.exception(name, [wrong.what for wrong in wrongs])
            if known:
                return [known]
        keys = {wrong.task.key for wrong in wrongs}
        return self._catalogue.alike(name, asked.answers, keys, wrongs[0].number)

    def _kept(self, asked: Asked, wrongs: list[Wrong]) -> bool:
        """Say whether each wrong answer is one that was right before, on another input."""
        before: list[Array] = []
        given: dict[str, list[Array]] = {}
        for key, answer in asked.answers.items():  # in the order of the questions
            given[key], before = before, [*before, *([] if key in asked.keys else answer.results)]
        found = [
            any(close(wrong.difference.got, result) for result in given[wrong.task.key])
            for wrong in wrongs
            if wrong.difference is not None and np.any(wrong.difference.got)
        ]
        return len(found) > 1 and all(found)

    def _partly(self, name: str, asked: Asked, wrongs: list[Wrong]) -> list[str]:
        """Name what gives most of these wrong answers, where nothing gives all."""
        number = wrongs[0].number
        keys = {wrong.task.key for wrong in wrongs if wrong.number == number}
        found = self._catalogue.partly(name, asked.answers, keys, number)
        return [found] if found else []

    def _pattern(self, asked: Asked, wrongs: list[Wrong]) -> str:
        """Describe what is wrong with one result, where no name for it is known."""
        keys = {wrong.task.key for wrong in wrongs}
        (name,) = {wrong.task.operation.name for wrong in wrongs}
        right = [task for task in questions(name) if task.key not in keys and task.key not in asked.keys]
        differences = [wrong.difference for wrong in wrongs if wrong.difference is not None]
        told = [pattern.condition([wrong.task for wrong in wrongs], right)]
        if len(differences) == len(wrongs):
            told += [pattern.part(differences), pattern.factor(differences)]
            subject = differences[0].name
        else:
            subject = wrongs[0].what.partition(":")[0]
        words = ", ".join(filter(None, told))
        return f"{subject} is wrong: {words}" if words else ""

    def _findings(self, wrongs: list[Wrong]) -> tuple[Finding, ...]:
        """Show each result that is wrong on the smallest input for it; results on one input together."""
        smallest: dict[str, list[Wrong]] = {}
        for number in dict.fromkeys(wrong.number for wrong in wrongs):
            first = min((wrong for wrong in wrongs if wrong.number == number), key=_size)
            smallest.setdefault(first.task.key, []).append(first)
        return tuple(
            Finding(tuple(wrong.what for wrong in found), describe(found[0].task), self._shown(found))
            for found in smallest.values()
        )

    def _shown(self, found: list[Wrong]) -> Shown:
        task = found[0].task
        arrays = self._arrays(task)
        rows = [(str(name), arrays[name]) for name in task.call.names()]
        for wrong in found:
            if wrong.difference is not None:
                suffix = f" {wrong.difference.name}" if len(task.operation.results) > 1 else ""
                rows += [(f"expected{suffix}", wrong.difference.expected), (f"got{suffix}", wrong.difference.got)]
        return tuple((name, _lines(array)) for name, array in rows)


@lru_cache(maxsize=1)
def _known(seed: int) -> tuple[Oracle, Catalogue]:
    """Keep the answers of a seed, for whoever judges again in this process, as in an open notebook."""
    oracle = Oracle(seed)
    return oracle, Catalogue(lambda task: _drawn(oracle, task))


def _drawn(oracle: Oracle, task: Task) -> Arrays:
    """Draw fresh arrays, by their names in the call."""
    return {name: drawn.values.copy() for name, drawn in oracle.data(task).items() if name in task.call.names()}


def _size(wrong: Wrong) -> tuple[int, bool]:
    """Order inputs: small ones first, whole numbers before real ones."""
    return wrong.task.elements, wrong.task.kind == "signed"


def _lines(array: Array) -> tuple[str, ...]:
    """Write an array that is short; of a long one say how large it is."""
    flat = np.squeeze(array)
    text = np.array2string(flat, precision=6, threshold=NUMBERS, max_line_width=WIDTH).split("\n")
    text = [line for line in text if line.strip()]
    if flat.size > NUMBERS or len(text) > ROWS:
        return (f"{tuple(array.shape)}, {array.size} numbers",)
    shape = "" if flat.shape == array.shape else f"  shape {tuple(array.shape)}"
    text[-1] += shape
    return tuple(text)
