"""Call somebody else's function, or a planted fault, on one input, and read what it gives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpconv.verify.catalogue.operation import Arrays, Name, Operation
from xpconv.verify.catalogue.tasks import Task
from xpconv.verify.definition.windows import Array
from xpconv.verify.target.load import Functions, said

FORWARD = {"conv_backward": "conv_forward", "pool_backward": "pool_forward"}


@dataclass(frozen=True)
class Answer:
    """What a function gave: its results as arrays of float64, or what is wrong before any value is looked at."""

    results: tuple[Array, ...] = ()
    trouble: str = ""


def ask(task: Task, function: Callable[..., Any], arrays: Arrays, theirs: Functions | None = None) -> Answer:
    """Call a function on the arrays of a task; a gradient gets the cache that `theirs` make, if given."""
    before = {name: array.copy() for name, array in arrays.items()}
    try:
        arguments = [_fill(value, arrays) for value in task.call.arguments]
        if theirs is not None and task.operation.name in FORWARD:
            arguments[1] = _cache(task, theirs, arguments[1])
        raw = function(*arguments, **task.call.keywords)
    except (Exception, SystemExit) as error:
        return Answer(trouble=f"raised {said(error)}")
    changed = next((name for name, array in arrays.items() if not _equal(array, before[name])), "")
    if changed:
        return Answer(trouble=f"changes its argument {changed}")
    return _read(task.operation, raw)


def _cache(task: Task, theirs: Functions, cache: tuple[Any, ...]) -> Any:
    """Take the cache that their own forward function makes, or one as the course has it."""
    forward = theirs.get(FORWARD[task.operation.name])
    if forward is None:
        return cache
    try:
        made = forward(*copy.deepcopy(cache), **task.call.keywords)
    except (Exception, SystemExit):
        return cache
    return made[1] if isinstance(made, tuple) and len(made) == 2 else cache


def describe(task: Task) -> str:
    """Name an input by its shapes and hyperparameters."""
    operation, setup, call = task.operation, task.setup, task.call
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
