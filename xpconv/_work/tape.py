"""Calls on arrays that stay where they are, noted for the first tile of a shape and made again for the others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

Do = Callable[..., Any]  # (function, *arguments, **keywords): calls it, or remembers the call


def at_once(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
    """Call a function."""
    function(*arguments, **keywords)


class Tape:
    """Calls on arrays that stay where they are, to be made again for each tile of one shape.

    Most of the time that a call takes on a small array is spent on finding the array.
    """

    def __init__(self) -> None:
        self._calls: list[partial[Any]] = []
        self.once: list[partial[Any]] = []  # that need not be made again, for as long as the arrays are there

    def __call__(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
        """Remember a call."""
        self._calls.append(partial(function, *arguments, **keywords))

    def lay(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Remember a call whose work stays."""
        self.once.append(partial(function, *arguments))

    @property
    def calls(self) -> tuple[partial[Any], ...]:
        """The calls, in order."""
        return tuple(self._calls)

    def play(self) -> None:
        """Make the calls, in order."""
        for call in self._calls:
            call()
