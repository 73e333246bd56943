"""Passes that come again: the second is noted, and those after it make the same few calls.

Finding arrays, twenty steps deep, takes some 0.1 ms, longer than the sums of a small convolution or pooling.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from xpconv._arrays.call import Call
from xpconv._engine.noted import Noted, Notes

Array = np.ndarray[Any, Any]
# does a pass, by its plan, on the arrays that it is given, and notes what it does; None if not all can be noted
Note = Callable[[Call, Any, Notes, list[Any]], Array | None]


class Planned(Protocol):
    """What follows from the shapes of a pass; known by its identity."""

    @property
    def workspace(self) -> int:
        """Give the bytes beside the result, at most."""


KEPT = 1 << 17  # bytes of work memory that a pass has for itself, which are as soon filled as taken
TOGETHER = 1 << 20  # bytes of work memory that passes have for themselves
COUNT = 512  # passes that are remembered, most of which came once


@dataclass(frozen=True)
class _Met:
    """A pass that came and is not noted: what is kept alive is known by its identity."""

    call: Call
    plan: Planned
    again: bool = True  # it can be noted when it comes again


@dataclass(frozen=True)
class _Repeat:
    """A pass that is noted; its plan is kept alive as well."""

    call: Call
    plan: Planned
    perform: Noted


class Repeats:
    """The passes that came last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Hashable, _Repeat | _Met] = {}

    def reset(self) -> None:
        """Take a lock of its own in a forked child, where another thread may have held it."""
        self._lock = threading.Lock()

    def perform(self, note: Note, call: Call, plan: Planned, arrays: list[Array | None]) -> Array | None:
        """Do a pass on NumPy that came before; None where it has to be done at full length."""
        if not call.traits.buffers or call.lens is not None:
            return None
        key = (
            note,
            id(plan),
            id(call.arithmetic),
            call.layout,
            # NumPy multiplies what is not aligned in another way
            *[None if array is None else (array.strides, array.dtype, array.flags.aligned) for array in arrays],
        )
        found = self._known.get(key)
        if found is None:
            self._keep(key, _Met(call, plan))
            return None
        if not isinstance(found, _Met):
            return found.perform(arrays)
        if not found.again:
            return None
        result, noted = _noted(note, call, plan, arrays, min(KEPT, TOGETHER - self.nbytes))
        self._keep(key, _Met(call, plan, again=False) if noted is None else _Repeat(call, plan, noted))
        return result

    def forget(self) -> None:
        """Forget all passes, as has to be done when a function of the library is exchanged for another."""
        with self._lock:
            self._known.clear()

    @property
    def nbytes(self) -> int:
        """Count the bytes of the arrays that are kept."""
        return sum(value.perform.nbytes for value in list(self._known.values()) if isinstance(value, _Repeat))

    def __len__(self) -> int:
        """Count the passes that are remembered."""
        return len(self._known)

    def _keep(self, key: Hashable, value: _Repeat | _Met) -> None:
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = value
            while len(self._known) > COUNT:
                del self._known[next(iter(self._known))]


def _noted(
    note: Note, call: Call, plan: Planned, arrays: list[Array | None], own: int
) -> tuple[Array | None, Noted | None]:
    """Do a pass that is in one dtype throughout, and note it; it may keep so many bytes of its `own`."""
    arithmetic = call.arithmetic
    dtypes = {np.dtype(d) for d in (arithmetic.inputs, arithmetic.factors, arithmetic.sums, arithmetic.wanted)}
    plain = all({array.dtype} == dtypes and array.flags.aligned for array in arrays if array is not None)
    if arithmetic.exact is not None or not plain:
        return None, None
    with Notes(arrays) as notes:
        result = note(call, plan, notes, arrays)
        return result, None if result is None else notes.noted(plan.workspace, own)


repeats: Final = Repeats()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=repeats.reset)
