"""Options as the caller gave them, and the ValueErrors that say what is wrong with one."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any, NoReturn

from xpconv._shapes.geometry import Interval, Ints, Pairs
from xpconv._shapes.keywords import meant
from xpconv._shapes.options import PADDING_NAMES

MOST = 1 << 48  # of any size or option: beyond it no array has room


def freeze(value: Any) -> Any:
    """Turn an option into hashable Python integers, strings and tuples; what cannot be turned comes back as it is."""
    if value is None or isinstance(value, str) or type(value) is int:
        return value
    if isinstance(value, (tuple, list)):
        return tuple([item if type(item) is int else freeze(item) for item in value])
    if isinstance(value, bool):
        return _Unfit(value)
    try:
        return operator.index(value)
    except TypeError:
        return value if isinstance(value, _Unfit) else _Unfit(value)


@dataclass(frozen=True)
class _Unfit:
    """An option's value that is no integer, kept so that the error can show it."""

    value: Any

    def __hash__(self) -> int:
        return id(self.value)

    def __repr__(self) -> str:
        return repr(self.value)


def whole_shape(function: str, name: str, shape: Any) -> Any:
    """Read a whole shape, of an array or from the caller."""
    if getattr(shape, "ndim", 1) != 1:
        found = f"an array of shape {tuple(shape.shape)}"
        raise ValueError(f"{function}: {name} is a whole shape, a tuple of integers; got {found}; pass its .shape")
    try:
        return freeze(tuple(shape))
    except TypeError:
        raise ValueError(f"{function}: {name} is a whole shape, a tuple of integers; got {name}={shape!r}") from None


@dataclass(frozen=True)
class Facts:
    """A function's name and the facts that each of its error messages ends with."""

    function: str
    facts: tuple[tuple[str, Any], ...]

    def fail(self, rule: str, hint: str = "") -> NoReturn:
        """Raise the ValueError for a broken rule; a hint stands at its end."""
        told = "; got " in rule  # the option in question; a name is not told twice
        facts = [f"{name}={value!r}" for name, value in self.facts if not (told and f" {name}=" in rule)]
        got = ", " if told and facts else "" if told else "; got "
        raise ValueError(f"{self.function}: {rule}{got}{', '.join(facts)}{hint}")

    def per_axis(self, name: str, value: Any, rank: int, least: int = 1) -> Ints:
        """Read an option that is an integer or one per spatial axis."""
        given = value
        if isinstance(value, int):
            value = (value,) * rank
        kind = "positive" if least == 1 else "non-negative"
        if not isinstance(value, tuple) or not all(isinstance(v, int) for v in value):
            self.fail(f"{name} is an integer or one per spatial axis, here {rank}; got {name}={given!r}")
        if len(value) != rank:
            self.fail(f"{name} has {len(value)} entries, there are {rank} spatial axes; got {name}={given!r}")
        if min(value) < least:
            self.fail(f"{name} is {kind}; got {name}={given!r}")
        if max(value) > MOST:
            self.fail(f"{name} is at most 2**48; got {name}={given!r}")
        return value

    def countable(self, name: str, shape: Ints) -> None:
        """Refuse an option that makes a result too large for any memory."""
        if math.prod(shape) > MOST:
            self.fail(f"{name} makes a result of {' x '.join(map(str, shape))} elements, more than any memory holds")

    def choice(self, name: str, value: Any, choices: tuple[str, ...]) -> None:
        """Check an option that is one of a few words."""
        if value not in choices:
            self.fail(f"{name} is one of {', '.join(map(repr, choices))}; got {name}={value!r}", meant(value, choices))

    def sizes(self, name: str, shape: Ints, rank: int) -> None:
        """Check a whole shape: batch, spatial axes, channels; only the batch may be empty."""
        if len(shape) != rank + 2:
            self.fail(f"{name} has {len(shape)} axes, with {rank} spatial axes it has {rank + 2}")
        if any(not isinstance(n, int) or n < 0 for n in shape):
            self.fail(f"{name} holds whole, non-negative sizes", _remedy(self.function, shape))
        if min(shape[1:]) < 1:
            self.fail(f"{name} has an empty axis; only the batch may be empty")

    def reachable(self, mode: str, size: Ints, pairs: Pairs, name: str = "mode") -> None:
        """Check that a padding mode finds the pixels that it repeats."""
        for n, pair in zip(size, pairs, strict=True):
            if mode == "reflect" and max(pair) >= n:
                self.fail(f"{name} 'reflect' takes at most n - 1 pixels, here {n - 1}; got padding {pair}")

    def padding(self, value: Any, size: Ints, span: Ints, stride: Ints) -> Pairs:
        """Read any form of padding and give (before, after) pairs."""
        rank = len(size)
        if isinstance(value, str):
            if value not in PADDING_NAMES:
                words = ", ".join(PADDING_NAMES)
                rule = f"padding is an integer, one per axis, pairs or one of {words}; got padding={value!r}"
                self.fail(rule, meant(value, PADDING_NAMES))
            return tuple(_worded(value, *axis) for axis in zip(size, span, stride, strict=True))
        if isinstance(value, int):
            value = ((value, value),) * rank
        if not isinstance(value, tuple) or len(value) != rank:
            self.fail(
                f"padding is an integer, {rank} integers or {rank} (before, after) pairs, one per spatial axis; "
                f"got padding={value!r}"
            )
        if all(isinstance(p, int) for p in value):
            value = tuple((p, p) for p in value)
        if not all(isinstance(p, tuple) and len(p) == 2 and all(isinstance(v, int) for v in p) for p in value):
            self.fail(f"padding mixes integers and pairs or holds something else; got padding={value!r}")
        if min(min(p) for p in value) < 0:
            self.fail(f"padding is never negative; got padding={value!r}")
        if max(max(p) for p in value) > MOST:
            self.fail(f"padding is at most 2**48; got padding={value!r}")
        return value  # type: ignore[no-any-return]


def _remedy(function: str, shape: Ints) -> str:
    """Say what to do about sizes that a library does not know yet."""
    unknown = [size.value for size in shape if isinstance(size, _Unfit)]
    if any(isinstance(size, float) and math.isnan(size) for size in unknown):
        return "; its chunks have unknown sizes: call compute_chunk_sizes() on the array first"
    if unknown and not isinstance(unknown[0], float) and isinstance(shape[0], _Unfit) and len(unknown) == 1:
        return (
            "; where the number of images is not known, as in an export for any batch, give them one by one: "
            f"vmap(lambda image: {function}(image[None], …)[0])(x)"
        )
    if unknown and not isinstance(unknown[0], float):
        return "; sizes of pixels and channels have to be known: export the function once for each of them"
    return ""


def _worded(word: str, size: int, span: int, stride: int) -> Interval:
    if word == "valid":
        return 0, 0
    if word == "causal":
        return span - 1, 0
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    less, more = total // 2, total - total // 2
    return (less, more) if word == "same" else (more, less)
