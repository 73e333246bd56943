"""Call somebody else's function, or a planted fault, on one input, and read what it gives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpconv.verify.catalogue.operation import Arrays, Name, Operation
from xpconv.verify.catalogue.tasks import Task
from xpconv.verify.definition.windows import Array
from xpconv.verify.target import older
from xpconv.verify.target.load import said

FORWARD = {"conv_backward": "conv_forward", "pool_backward": "pool_forward"}
PARAMETERS = {
    "zero_pad": ("X", "pad"),
    "conv_forward": ("A_prev", "W", "b", "hparameters"),
    "pool_forward": ("A_prev", "hparameters"),
    "distribute_value": ("dz", "shape"),
}  # of what is no array the names are told
CLOSE = 1e-9  # two wrong results are the same one


@dataclass(frozen=True)
class Answer:
    """What a function gave: its results as arrays of float64, or what is wrong before any value is looked at."""

    results: tuple[Array, ...] = ()
    trouble: str = ""
    older: str = ""  # what a newer NumPy refuses here, if an older one is needed for the answer
    unsteady: bool = False  # the same input gives something else the second time


def ask(task: Task, function: Callable[..., Any], arrays: Arrays, forward: Callable[..., Any] | None = None) -> Answer:
    """Call a function on the arrays of a task; a gradient gets the cache that `forward` makes, if given."""
    answer = _call(task, function, arrays, forward)
    if refused := older.refusal(answer.trouble):
        with older.names():
            again = _call(task, function, {name: array.view(older.Lenient) for name, array in arrays.items()}, forward)
        return answer if again.trouble else replace(again, older=refused)
    return answer


def ask_twice(
    task: Task, function: Callable[..., Any], arrays: Arrays, forward: Callable[..., Any] | None = None
) -> Answer:
    """Ask, and ask the same again, with other values left behind in memory."""
    copies = {name: array.copy() for name, array in arrays.items()}
    answer = ask(task, function, arrays, forward)
    if answer.trouble:
        return answer
    for result in answer.results:  # what np.empty may find
        del [np.full(result.shape, 1e6 + number) for number in range(4)][:]
    again = ask(task, function, copies, forward)
    steady = not again.trouble and all(map(close, answer.results, again.results))
    return answer if steady else replace(answer, unsteady=True)


def close(a: Array, b: Array) -> bool:
    """Say whether two results are the same one but for rounding."""
    if a.shape != b.shape:
        return False
    scale = np.max(np.abs(b), initial=1.0, where=np.isfinite(b))
    return bool(np.all((a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= CLOSE * scale)))


def _call(task: Task, function: Callable[..., Any], arrays: Arrays, forward: Callable[..., Any] | None) -> Answer:
    before = {name: array.copy() for name, array in arrays.items()}
    held: list[tuple[str, Array]] = []  # arguments that the cache of their own forward function holds
    try:
        arguments = [_fill(value, arrays) for value in task.call.arguments]
        if forward is not None and task.operation.name in FORWARD:
            arguments[1] = _cache(task, forward, arguments[1])
            held = [(name, kept) for kept in _kept(arguments[1]) for name in arrays if _equal(kept, before[name])]
        with older.listening() as heard:
            raw = function(*arguments, **task.call.keywords)
    except (Exception, SystemExit) as error:
        return Answer(trouble=f"raised {said(error)}")
    now = (*arrays.items(), *held)
    changed = next((name for name, array in now if not _equal(array, before[name])), "")
    if changed:
        return Answer(trouble=f"changes its argument {changed}")
    answer = _read(task.operation, raw)
    return replace(answer, older=heard[0]) if heard else answer


def _cache(task: Task, forward: Callable[..., Any], cache: tuple[Any, ...]) -> Any:
    """Take the cache that their own forward function makes, or one as the course has it."""
    try:
        made = forward(*copy.deepcopy(cache), **task.call.keywords)
    except (Exception, SystemExit):
        return cache
    return made[1] if isinstance(made, (tuple, list)) and len(made) == 2 else cache


def _kept(cache: Any) -> Iterator[Array]:
    """Go through the arrays of a cache."""
    if isinstance(cache, np.ndarray):
        yield cache
    elif isinstance(cache, (tuple, list, dict)):
        for part in cache.values() if isinstance(cache, dict) else cache:
            yield from _kept(part)


def describe(task: Task) -> str:
    """Name an input by its shapes and hyperparameters."""
    operation, setup, call = task.operation, task.setup, task.call
    words = [f"{name} {tuple(setup.shape(operation.role(name)))}" for name in call.names() if name != "dz"]
    names = [name for name in PARAMETERS.get(operation.name, ("hparameters",)) if name not in call.names()]
    words += [f"{name}={value!r}" for name, value in zip(names, _plain(call.arguments), strict=False)]
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
        if not isinstance(raw, (tuple, list)) or len(raw) != 2:
            return Answer(trouble=f"gives {_kind(raw)}, not ({names[0]}, cache)")
        raw = raw[0]
    if len(names) == 1:
        raw = (raw,)
    elif not isinstance(raw, (tuple, list)) or len(raw) != len(names):
        return Answer(trouble=f"gives {_kind(raw)}, not ({', '.join(names)})")
    found = []
    for name, value in zip(names, raw, strict=True):
        if value is None:
            return Answer(trouble=f"{name} is None")
        try:
            array = np.array(value, np.float64)
        except (TypeError, ValueError):
            return Answer(trouble=f"{name} is {_kind(value)}, not an array of numbers")
        found.append(array)
    return Answer(tuple(found))


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    return f"{len(value)} results" if isinstance(value, (tuple, list)) else f"one {type(value).__name__}"
