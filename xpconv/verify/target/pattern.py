"""Describe what is wrong where no known fault is alike: on which inputs, in which part, by what factor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpconv.verify.catalogue.tasks import Task
from xpconv.verify.definition.windows import Array

IMAGES = ("example", "row", "column", "channel")
AXES: dict[str, tuple[str, ...]] = {
    "padded": IMAGES,
    "A": IMAGES,
    "dA_prev": IMAGES,
    "Z": (*IMAGES[:3], "filter"),
    "dW": ("row", "column", "channel", "filter"),
    "db": ("", "", "", "filter"),
    "mask": ("row", "column"),
    "shares": ("row", "column"),
}
SPATIAL = {"padded": (1, 2), "A": (1, 2), "dA_prev": (1, 2), "Z": (1, 2), "mask": (0, 1)}
NEARLY = 1e-6  # relative
SAME = 1e-9  # relative, of factors


@dataclass(frozen=True)
class Difference:
    """A result that should be something else."""

    task: Task
    name: str  # of the result
    expected: Array
    got: Array
    bad: Array | None = None  # where they differ; None if their shapes do


def _traits(task: Task) -> dict[str, bool]:
    """Say what an input has; only what it can lack."""
    setup: Any = task.setup
    found: dict[str, bool] = {}
    if task.operation.variant:
        found |= {f"with mode={task.operation.variant!r}": True}
    if hasattr(setup, "padding") and not task.operation.name.startswith("pool"):
        found |= {"with pad above 0": setup.padding > 0, "with pad 0": setup.padding == 0}
    size = getattr(setup, "window", getattr(setup, "kernel", (0,))[0])
    if hasattr(setup, "stride"):
        stride = setup.stride
        found |= {"with a stride above 1": stride > 1, "with stride 1": stride == 1}
        found |= {"where windows overlap": stride < size, "where windows have more than one pixel": size > 1}
        found |= {"where windows have one pixel": size == 1}
        found |= {"where pixels are left over at the end": _rest(setup, size)}
    if hasattr(setup, "batch"):
        found |= {"with more than one example": setup.batch > 1, "with more than one channel": setup.channels > 1}
    if hasattr(setup, "filters"):
        found |= {"with more than one filter": setup.filters > 1}
    if len(getattr(setup, "size", ())) > 1:
        found |= {"where height and width differ": setup.size[0] != setup.size[1]}
    if task.operation.name in ("create_mask_from_window", "pool_backward"):
        found |= {"where a window has several maxima": task.kind == "equal"}
    return found


def _rest(setup: Any, size: int) -> bool:
    room = [n + 2 * (setup.padding if isinstance(setup.padding, int) else 0) - size for n in setup.size]
    return any(n % setup.stride for n in room)


def condition(wrong: Sequence[Task], right: Sequence[Task]) -> str:
    """Say what the inputs that go wrong have in common and some that go right lack; empty if there is nothing."""
    if not right:
        return ""
    lacks: list[tuple[int, str]] = []
    for trait in dict.fromkeys(name for task in wrong for name in _traits(task)):
        if all(_traits(task).get(trait, False) for task in wrong):
            beside = sum(_traits(task).get(trait, False) for task in right)
            if beside < len(right) - 1:  # one may be right by chance
                lacks.append((beside, trait))
    if not lacks:
        return ""
    beside, trait = min(lacks)
    return f"only {trait}" + (", not always there" if beside else "")


def part(found: Sequence[Difference]) -> str:
    """Say which part of the result is wrong; empty if it is all of it, or no part that has a name."""
    name = found[0].name
    for axis, word in enumerate(AXES.get(name, ())):
        for what, chosen in _slices(word):
            if _all_within(found, axis, chosen):
                return what
    spatial = SPATIAL.get(name)
    if spatial is None:
        return ""

    def border(shape: tuple[int, ...]) -> Array:
        inside = np.zeros(shape, bool)
        inside[tuple(slice(1, -1) if axis in spatial else slice(None) for axis in range(len(shape)))] = True
        return ~inside

    bads = [one.bad for one in found if one.bad is not None]
    if any(not np.all(border(bad.shape)) for bad in bads):
        if all(not np.any(bad & ~border(bad.shape)) for bad in bads):
            return "only on the border"
        if all(not np.any(bad & border(bad.shape)) for bad in bads):
            return "everywhere but on the border"
    return ""


Chosen = Callable[[int], Array]


def _slices(word: str) -> Iterable[tuple[str, Chosen]]:
    if not word:
        return
    yield f"only in the first {word}", lambda n: np.arange(n) == 0
    yield f"only in the last {word}", lambda n: np.arange(n) == n - 1
    yield f"in every {word} but the first", lambda n: np.arange(n) > 0
    yield f"in every {word} but the last", lambda n: np.arange(n) < n - 1


def _all_within(found: Sequence[Difference], axis: int, chosen: Chosen) -> bool:
    """Say whether all that is wrong lies in a part, and that of some results there is more than the part."""
    told = False
    for one in found:
        if one.bad is None or axis >= one.bad.ndim:
            return False
        inside = chosen(one.bad.shape[axis])
        if np.any(np.compress(~inside, one.bad, axis)):
            return False
        told = told or one.bad.shape[axis] > 1
    return told


def factor(found: Sequence[Difference]) -> str:
    """Say what the wrong results are: so many times the right ones, or something else that is simple."""
    whole = [one for one in found if one.bad is not None]
    if not whole or len(whole) < len(found):
        return _shapes(found)
    return _content(whole) or _multiple(whole) or _offset(whole)


def _content(whole: Sequence[Difference]) -> str:
    """Say what stands in the results, whatever should."""
    if all(np.all(np.isnan(one.got[one.bad])) for one in whole):
        return "no numbers (nan)"
    decimals = any(np.any(one.expected % 1) for one in whole)
    if decimals and all(np.array_equal(one.got, np.trunc(one.expected)) for one in whole):
        return "whole numbers: the decimals are cut off, as an array of int does"
    if all(nearly(one) for one in whole):
        return "nearly right: digits are lost, as in float32"
    if all(not np.any(one.got) for one in whole):
        return "all zeros"
    if any(one.got.size > 1 for one in whole) and all(np.all(one.got == one.got.flat[0]) for one in whole):
        return "the same number everywhere"
    if all(_turned(one) for one in whole):
        return "rows and columns are exchanged"
    return ""


def nearly(one: Difference) -> bool:
    """Say whether a result is right but for the last digits that float64 has."""
    return one.bad is not None and bool(np.allclose(one.got, one.expected, rtol=NEARLY, atol=0))


def _multiple(whole: Sequence[Difference]) -> str:
    """Say how many times the right ones the results are, in numbers or in words."""
    ratios = [(one, ratio) for one in whole if (ratio := _ratio(one)) is not None]
    if len(ratios) < len(whole) or len(whole) < 2:
        return ""
    first = ratios[0][1]
    if all(abs(ratio - first) <= SAME * abs(ratio) for _, ratio in ratios):
        return "the sign is turned" if abs(first + 1) <= SAME else f"{first:.4g} times what is right"
    for word, value in _sizes(whole[0].task):
        if all(abs(ratio - value(one.task)) <= SAME * abs(ratio) for one, ratio in ratios):
            return f"{word} times what is right"
        if all(abs(ratio * value(one.task) - 1) <= SAME for one, ratio in ratios):
            return f"what is right, divided by {word}"
    return ""


def _offset(whole: Sequence[Difference]) -> str:
    """Say by which number the results are off, if it is one."""
    offsets = {float(value) for one in whole for value in np.round(one.got - one.expected, 9).ravel()}
    return f"{offsets.pop():+.4g} everywhere" if len(offsets) == 1 and len(whole) > 1 else ""


def _turned(one: Difference) -> bool:
    if one.expected.ndim < 2:
        return False
    rows, columns = SPATIAL.get(one.name, (0, 1))
    other = np.swapaxes(one.expected, rows, columns)
    return bool(other.shape == one.got.shape and np.allclose(one.got, other, rtol=SAME, atol=0))


def _ratio(one: Difference) -> float | None:
    there = one.expected != 0
    if not np.any(there) or np.any(np.abs(one.got[~there]) > SAME):
        return None
    ratios = one.got[there] / one.expected[there]
    first = float(ratios.flat[0])
    return first if first and np.all(np.abs(ratios - first) <= SAME * abs(first)) else None


def _sizes(task: Task) -> Iterable[tuple[str, Callable[[Task], float]]]:
    setup: Any = task.setup

    def window(one: Any) -> int:
        size: int = one.setup.window if hasattr(one.setup, "window") else one.setup.kernel[0]
        return size

    if hasattr(setup, "batch"):
        yield "m", lambda one: one.setup.batch
    if hasattr(setup, "stride"):
        yield "f", window
        yield "f * f", lambda one: window(one) ** 2
        yield "the stride", lambda one: one.setup.stride
    if hasattr(setup, "channels"):
        yield "the number of channels", lambda one: one.setup.channels
    if task.operation.name == "distribute_value":
        yield "n_H", lambda one: one.setup.size[0]
        yield "n_W", lambda one: one.setup.size[1]
        yield "n_H * n_W", lambda one: one.setup.size[0] * one.setup.size[1]


def _shapes(found: Sequence[Difference]) -> str:
    """Say by how much which axis is off, where it is always the same."""
    words = AXES.get(found[0].name, ())
    if any(one.got.ndim != one.expected.ndim for one in found):
        ranks = {one.got.ndim for one in found}
        return f"{ranks.pop()} axes for {found[0].expected.ndim}" if len(ranks) == 1 else ""
    off = {tuple(np.subtract(one.got.shape, one.expected.shape).tolist()) for one in found if one.bad is None}
    if len(off) != 1:
        return ""
    (first,) = off
    told = [
        f"{abs(n)} {'too many' if n > 0 else 'missing'} along the axis of the {word}s"
        for n, word in zip(first, words, strict=False)
        if n
    ]
    return " and ".join(told)
