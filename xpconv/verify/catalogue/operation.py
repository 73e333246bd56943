"""What an operation is to the verifier: a call, a definition, and the roundings behind a result."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import xpconv
from xpconv.verify.catalogue.setups import Setup

Array = Any
Arrays = Mapping[str, Array]
Define = Callable[[Any, Arrays, int], tuple[Array, ...]]


class Name(str):
    """An array's place in a call; prints without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Call:
    """A call of a public function, which prints as Python."""

    function: str
    arguments: tuple[Any, ...]  # a `Name` stands for an array; tuples may hold names
    keywords: dict[str, Any] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Give the arrays that the call needs, in order."""
        found: dict[str, None] = {}

        def search(value: Any) -> None:
            if isinstance(value, Name):
                found[value] = None
            elif isinstance(value, tuple):
                for item in value:
                    search(item)

        search(self.arguments)
        return tuple(found)

    def run(self, arrays: Arrays) -> Any:
        """Call the function that has this name, which may be dotted, in xpconv now."""

        def fill(value: Any) -> Any:
            if isinstance(value, Name):
                return arrays[value]
            return tuple(map(fill, value)) if isinstance(value, tuple) else value

        return operator.attrgetter(self.function)(xpconv)(*map(fill, self.arguments), **self.keywords)

    def __str__(self) -> str:
        words = [*map(repr, self.arguments), *(f"{name}={value!r}" for name, value in self.keywords.items())]
        return f"xc.{self.function}({', '.join(words)})"


@dataclass(frozen=True)
class Adjoint:
    """The identity that makes a result a gradient: <forward, gradient> == <argument, result> for each pair."""

    forward: Callable[[Any, str], Call]  # the linear map
    gradient: str  # the argument that is the gradient of its output
    pairs: tuple[tuple[str, int], ...]  # (argument, number of the result)


@dataclass(frozen=True)
class Operation:
    """One public function with one setting of its words (ties, mode), over a table of setups.

    `define` takes the arrays by role, in units of 1 / one, and gives the exact results. The summed products of result
    r go through at most `steps`[r] roundings and are products of `degrees`[r] arrays, those named in `linear`.
    """

    name: str
    table: Mapping[str, Any]
    results: tuple[str, ...]
    call: Callable[[Any, str], Call]  # from a setup and an algorithm, which may be empty
    define: Define
    variant: str = ""
    steps: Callable[[Any], tuple[int, ...]] | None = None  # None: nothing is ever rounded
    degrees: tuple[int, ...] = ()  # 1 for each if not given
    linear: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("same",)  # of the results; "bool", "index"
    kinds: tuple[str, ...] = ("whole",)  # of the exact tier's data; from the second on for core setups only
    takes: tuple[str, ...] = ("float", "integer", "complex")  # kinds of dtypes
    even: Callable[[Any], bool] | None = None  # says which setups are exact on whole numbers; None: all are
    scaled: tuple[str, ...] = ()  # roles whose whole numbers are multiples of `unit`, so that divisions come out even
    unit: Callable[[Any, Arrays], int] | None = None
    cached: bool = False  # gives (result, cache)
    algorithms: bool = False  # takes algorithm=
    adjoint: Adjoint | None = None
    promise: Callable[[Any, str], Call] | None = None  # the library's own bound on the result's error
    roles: Mapping[str, str] = field(default_factory=dict)  # name of an array in the call -> its role, if different

    def __post_init__(self) -> None:
        object.__setattr__(self, "degrees", self.degrees or (1,) * len(self.results))

    def role(self, name: str) -> str:
        """Give the role in the definition of an array in the call."""
        return self.roles.get(name, name)

    def label(self, case: str) -> str:
        """Name a case of this operation."""
        return f"{case}+{self.variant}" if self.variant else case


def keywords(setup: Setup, algorithm: str = "", **more: Any) -> dict[str, Any]:
    """Gather the keywords of a call."""
    return setup.options() | ({"algorithm": algorithm} if algorithm else {}) | more
