"""Small passes that come again: the second is noted, and those after it make the same few calls of NumPy.

Finding arrays, twenty steps deep, takes longer than the sums of a small convolution. A prepared one (`replay.py`) keeps
its weight; here all arrays are copied in each time, into others with the same strides, so that every call finds what it
would have found and gives the same bits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from xpconv._arrays.call import Call
from xpconv._convolution.weight import prepared
from xpconv._engine.jobs import SMALL
from xpconv._plan.input_grad import GradientPlan
from xpconv._plan.record import Plan
from xpconv._work.memory import Lasting
from xpconv._work.noted import Notes
from xpconv.algorithms import REGISTRY

Array = np.ndarray[Any, Any]
# does a pass, by its plan and on arrays that may be None, and notes what it does; None if not all can be noted
Note = Callable[[Call, Any, Notes, list[Any]], Array | None]

WORKSPACE = 1 << 19  # bytes of a plan, which counts pieces of memory that a small pass does not come to
MOST_BYTES = 1 << 17  # of one pass's arrays
TOGETHER = 1 << 20  # of all that are kept
COUNT = 256  # passes that are remembered, most of which came once


def serves(plan: Plan, flops: int = SMALL, workspace: int = WORKSPACE) -> bool:
    """Say whether a plan is small, one tile of at most so many flops and bytes, and of calls that can be noted."""
    geometry, algorithm = plan.geometry, REGISTRY[plan.algorithm]
    noted = algorithm.noted and not plan.single_taps and (geometry.groups == 1 or geometry.depthwise)
    one = plan.tile == (geometry.batch, *geometry.output) and plan.pieces[1] == 1 and not plan.parts
    return noted and one and geometry.mode == "zeros" and 0 < geometry.flops <= flops and plan.workspace <= workspace


def weight_of(call: Call, plan: Plan, notes: Notes, w: Array) -> Array | None:
    """Give a weight in its algorithm's form: a view of it, or a copy that is noted; None if it is something else."""
    found = prepared(call, plan, w, Lasting())
    if not isinstance(found, np.ndarray):
        return None
    if np.may_share_memory(found, w):
        return found
    if not (REGISTRY[plan.algorithm].copies_weight and found.flags.c_contiguous and found.dtype == w.dtype):
        return None
    notes.copy(found.reshape(w.shape), w)
    return found


@dataclass(frozen=True)
class _State:
    """Arrays of one thread's pass, and what is done with them."""

    arrays: list[Array | None]
    notes: Notes
    calls: tuple[Callable[[], Any], ...]
    result: Array


class _Repeat:
    """One pass that came twice."""

    def __init__(self, note: Note, call: Call, plan: Plan | GradientPlan) -> None:
        self._note, self.call, self.plan = note, call, plan
        self._idle: list[_State] = []  # given back and taken by one call each, which the interpreter does not interrupt

    def note(self, arrays: list[Array | None]) -> bool:
        """Do the pass once and note it; False if it cannot be noted, or takes much memory."""
        state = self._noted(arrays)
        if state is None:
            return False
        self._idle.append(state)
        return self.nbytes <= MOST_BYTES

    @property
    def nbytes(self) -> int:
        """Count the bytes of the arrays that nobody uses at present."""
        return sum(
            state.notes.nbytes + state.result.nbytes + sum(array.nbytes for array in state.arrays if array is not None)
            for state in self._idle.copy()
        )

    def __call__(self, arrays: list[Array | None]) -> Array | None:
        """Do the pass."""
        try:
            state = self._idle.pop()
        except IndexError:
            another = self._noted(arrays)
            if another is None:
                return None
            state = another
        for own, array in zip(state.arrays, arrays, strict=True):
            if own is not None and array is not None:
                np.copyto(own, array)
        if state.notes.quiet:
            with np.errstate(all="ignore"):
                for call in state.calls:
                    call()
        else:
            for call in state.calls:
                call()
        found = state.result.copy("K")
        if not self._idle:  # of threads that are in the same pass at once, one leaves its arrays
            self._idle.append(state)
        return found

    def _noted(self, arrays: list[Array | None]) -> _State | None:
        """Do the pass on zeros."""
        call = self.call
        own = [None if array is None else np.zeros_like(array, subok=False) for array in arrays]
        if any(a is not None and b is not None and a.strides != b.strides for a, b in zip(own, arrays, strict=True)):
            return None
        notes = Notes(call.space, call.arithmetic)
        result = self._note(call, self.plan, notes, own)
        return None if result is None else _State(own, notes, notes.calls, result)


@dataclass(frozen=True)
class _Met:
    """A pass that came and is not noted: what is kept alive is known by its identity."""

    call: Call
    plan: Plan | GradientPlan
    noted: bool = True  # when it comes again; False: it cannot be


class Repeats:
    """The small passes that came last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Hashable, _Repeat | _Met] = {}

    def reset(self) -> None:
        """Take a lock of its own in a forked child, where another thread may have held it."""
        self._lock = threading.Lock()

    def perform(self, note: Note, call: Call, plan: Plan | GradientPlan, arrays: list[Array | None]) -> Array | None:
        """Do a small pass on NumPy that came before; None where it has to be done at full length."""
        if not call.traits.buffers or not 0 < plan.flops <= SMALL or call.lens is not None:
            return None
        key = (
            note,
            id(plan),
            id(call.arithmetic),
            call.layout,
            # NumPy multiplies what is not aligned in another way
            *(None if array is None else (array.strides, array.dtype, array.flags.aligned) for array in arrays),
        )
        found = self._known.get(key)
        if isinstance(found, _Repeat):
            return found(arrays)
        if found is None:
            self._keep(key, _Met(call, plan))
        elif found.noted:
            self._keep(key, _repeat(note, call, plan, arrays) or _Met(call, plan, noted=False))
        return None

    def forget(self) -> None:
        """Forget all passes, as has to be done when a function of the library is exchanged for another."""
        with self._lock:
            self._known.clear()

    @property
    def nbytes(self) -> int:
        """Count the bytes of the arrays that are kept."""
        return sum(value.nbytes for value in list(self._known.values()) if isinstance(value, _Repeat))

    def __len__(self) -> int:
        """Count the passes that are remembered."""
        return len(self._known)

    def _keep(self, key: Hashable, value: _Repeat | _Met) -> None:
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = value
            while len(self._known) > COUNT or self.nbytes > TOGETHER:
                del self._known[next(iter(self._known))]


def _repeat(note: Note, call: Call, plan: Plan | GradientPlan, arrays: list[Array | None]) -> _Repeat | None:
    """Note a pass that is in one dtype throughout."""
    arithmetic = call.arithmetic
    dtypes = {np.dtype(d) for d in (arithmetic.inputs, arithmetic.factors, arithmetic.sums, arithmetic.wanted)}
    given = [array for array in arrays if array is not None]
    plain = all({array.dtype} == dtypes and array.flags.aligned for array in given)
    if arithmetic.exact is not None or not plain:
        return None
    made = _Repeat(note, call, plan)
    return made if made.note(arrays) else None


repeats: Final = Repeats()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=repeats.reset)
