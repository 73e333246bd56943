"""What an operation is to the verifier: a call, a definition, and the roundings behind a result."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import xpconv
from xpconv.verify.catalogue.setups import Setup
from xpconv.verify.definition.windows import Array

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
    then: tuple[Any, ...] = ()  # the arguments that its result is called with, if it is a function

    def names(self) -> tuple[str, ...]:
        """Name the arrays that the call needs, in order."""
        found: dict[str, None] = {}

        def search(value: Any) -> None:
            if isinstance(value, Name):
                found[value] = None
            elif isinstance(value, tuple):
                for item in value:
                    search(item)

        search(self.arguments)
        search(tuple(self.keywords.values()))
        search(self.then)
        return tuple(found)

    def run(self, arrays: Arrays) -> Any:
        """Call the function that has this name, which may be dotted, in xpconv now."""

        def fill(value: Any) -> Any:
            if isinstance(value, Name):
                return arrays[value]
            return tuple(map(fill, value)) if isinstance(value, tuple) else value

        found = operator.attrgetter(self.function)(xpconv)(
            *map(fill, self.arguments), **{name: fill(value) for name, value in self.keywords.items()}
        )
        return found(*map(fill, self.then)) if self.then else found

    def __str__(self) -> str:
        words = [*map(repr, self.arguments), *(f"{name}={value!r}" for name, value in self.keywords.items())]
        return f"xc.{self.function}({', '.join(words)})" + (f"({', '.join(map(repr, self.then))})" if self.then else "")


Asks = Callable[[Any, str], Call]  # makes a call of a setup and an algorithm, which may be empty


def asks(function: str, *arguments: Any, **words: Any) -> Asks:
    """Say how a function is called: a callable argument is read from the setup, whose options are the keywords."""
    return lambda setup, algorithm: Call(function, _read(arguments, setup), keywords(setup, algorithm, **words))


def asks_plainly(function: str, *arguments: Any, **words: Any) -> Asks:
    """Say how a function is called that has its options by position: the keywords are `words` alone."""
    return lambda setup, algorithm: Call(function, _read(arguments, setup), words)


def _read(arguments: tuple[Any, ...], setup: Any) -> tuple[Any, ...]:
    def one(argument: Any) -> Any:
        if isinstance(argument, tuple):
            return _read(argument, setup)
        return argument(setup) if callable(argument) else argument

    return tuple(map(one, arguments))


def keywords(setup: Setup, algorithm: str = "", **words: Any) -> dict[str, Any]:
    """Gather the keywords of a call."""
    return setup.options() | ({"algorithm": algorithm} if algorithm else {}) | words


@dataclass(frozen=True)
class Adjoint:
    """The identity that makes a result a gradient: <forward, gradient> == <argument, result> for each pair."""

    forward: Asks  # the linear map
    gradient: str  # the argument that is the gradient of its output
    pairs: tuple[tuple[str, int], ...]  # (argument, number of the result)


@dataclass(frozen=True)
class Sums:
    """The sums of products behind the results: what is summed, and how often it is rounded on the way."""

    of: tuple[str, ...]  # the roles of the arrays that are factors
    steps: Callable[[Any], tuple[int, ...]]  # a setup's: roundings that a product of each result goes through, at most
    degrees: tuple[int, ...]  # how many factors a product of each result has


@dataclass(frozen=True)
class Multiples:
    """Whole numbers that are multiples of something, so that divisions come out even."""

    roles: tuple[str, ...]
    unit: Callable[[Any, Arrays], int]  # from a setup and the arrays that are drawn before


def always(setup: Any) -> bool:
    """Every setup is exact on whole numbers."""
    return True


@dataclass(frozen=True)
class Operation:
    """One public function with one setting of its words (ties, mode), over a table of setups.

    `define` takes the arrays by role, channels last, in units of 1 / one, and makes the exact results, channels last.
    """

    name: str
    table: Mapping[str, Any]
    results: tuple[str, ...]
    call: Asks
    define: Define
    variant: str = ""
    sums: Sums | None = None  # None: nothing is ever rounded
    multiples: Multiples | None = None
    exact: Callable[[Any], bool] = always  # says which setups are exact on whole numbers
    dtypes: tuple[str, ...] = ()  # of the results: "bool", "index"; "same" as the arrays' if not given
    kinds: tuple[str, ...] = ("whole",)  # of the exact tier's data; from the second on for core setups only
    takes: tuple[str, ...] = ("float", "integer", "complex")  # kinds of dtypes
    cached: bool = False  # gives (result, cache)
    algorithms: bool = False  # takes algorithm=
    adjoint: Adjoint | None = None
    promise: Asks | None = None  # the library's own bound on the result's error
    roles: Mapping[str, str] = field(default_factory=dict)  # name of an array in the call -> its role, if different

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtypes", self.dtypes or ("same",) * len(self.results))

    @property
    def factors(self) -> tuple[str, ...]:
        """The roles of the arrays whose products are summed."""
        return () if self.sums is None else self.sums.of

    @property
    def degrees(self) -> tuple[int, ...]:
        """How many of them a product of each result has."""
        return (1,) * len(self.results) if self.sums is None else self.sums.degrees

    def role(self, name: str) -> str:
        """Tell the role in the definition of an array in the call."""
        return self.roles.get(name, name)

    def label(self, case: str) -> str:
        """Name a case of this operation."""
        return f"{case}+{self.variant}" if self.variant else case
