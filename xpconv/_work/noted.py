"""Calls of a whole pass that are noted once: work arrays that are kept, and what is done with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.space import Space
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.tape import Tape

Array = np.ndarray[Any, Any]


class Own(BufferedWorkspace):
    """Buffers in memory of their own, since they are not given back."""

    def _take(self, size: int) -> Array:
        return np.empty(size, np.uint8)

    def _drop(self, block: Array) -> None:
        pass


class Notes:
    """What one thread does, call by call, on arrays that are its own."""

    def __init__(self, space: Space, arithmetic: Arithmetic) -> None:
        self._space, self._arithmetic = space, arithmetic
        self._tape = Tape()
        self._works: list[Own] = []
        self._beside = 0
        self.quiet = False  # what overflows on the way is nobody's concern

    @property
    def calls(self) -> tuple[Callable[[], Any], ...]:
        """The calls, in order."""
        return self._tape.calls

    @property
    def nbytes(self) -> int:
        """Count the bytes of the work arrays."""
        return sum(work.nbytes for work in self._works) + self._beside

    def run(self, function: Callable[[Any, Any], Any], items: Sequence[Any] | Iterable[Any]) -> None:
        """Do jobs whose calls on arrays are all made by the workspace, and note the calls."""
        for item in items:
            # a job that found the buffers of another in use would leave out what is there already
            work = Own(self._space, self._arithmetic)
            self._works.append(work)
            with work.noting(self._tape):
                function(item, work)

    def copy(self, target: Array, source: Array) -> None:
        """Copy, and note it, in an array that is kept as well."""
        np.copyto(target, source)
        self._tape(np.copyto, target, source)
        self._beside += target.nbytes
