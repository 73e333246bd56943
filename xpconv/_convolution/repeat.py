"""Small convolutions that come again: the second call is noted, and those after it make the same few calls of NumPy.

Finding arrays, twenty steps deep, takes longer than the sums of a small convolution. A prepared one (`replay.py`) keeps
its weight; here images, weight and bias are copied in each time, into arrays with the same strides, so that every call
finds what it would have found and gives the same bits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from xpconv._convolution.replay import Own, Replay
from xpconv._convolution.tile import Task, correlate_jobs
from xpconv._convolution.weight import prepared
from xpconv._engine.jobs import SMALL
from xpconv._engine.results import Written
from xpconv._work.memory import Lasting
from xpconv._work.tape import Tape

Array = np.ndarray[Any, Any]

MOST_BYTES = 1 << 17  # of one call's arrays
TOGETHER = 1 << 20  # of all that are kept
COUNT = 256  # calls that are remembered, most of which came once


@dataclass(frozen=True)
class _State:
    """Arrays of one thread's call, and what is done with them."""

    x: Array
    w: Array
    b: Array | None
    calls: tuple[Callable[[], Any], ...]
    result: Array
    work: Own  # which has the arrays in between


class _Repeat:
    """One call that came twice."""

    def __init__(self, task: Task) -> None:
        self.task = task  # the one that came, or one without arrays; its plan is known by its identity
        self._idle: list[_State] = []  # given back and taken by one call each, which the interpreter does not interrupt

    @staticmethod
    def of(task: Task) -> _Repeat | None:
        """Note a call that is in one dtype, whose weight is taken as it lies, and whose arrays are small."""
        call, arithmetic = task.call, task.call.arithmetic
        arrays = [task.x, task.w] if task.b is None else [task.x, task.w, task.b]
        dtypes = {np.dtype(d) for d in (arithmetic.inputs, arithmetic.factors, arithmetic.sums, arithmetic.wanted)}
        if arithmetic.exact is not None or dtypes != {array.dtype for array in arrays}:
            return None
        if task.plan.geometry.mode != "zeros" or not Replay.serves(task.plan):
            return None
        if any(np.empty_like(array).strides != array.strides for array in (task.x, task.w)):
            return None
        weight = prepared(call, task.plan, task.w, Lasting())
        if not isinstance(weight, np.ndarray) or not np.may_share_memory(weight, task.w):
            return None
        made = _Repeat(replace(task, x=None, w=None, b=None))
        state = made._noted(task)
        made._idle.append(state)
        return made if made.nbytes <= MOST_BYTES else None

    @property
    def nbytes(self) -> int:
        """Count the bytes of the arrays that nobody uses at present."""
        return sum(
            state.x.nbytes + state.w.nbytes + state.result.nbytes + state.work.nbytes for state in self._idle.copy()
        )

    def __call__(self, task: Task) -> Array:
        """Do a task of the same call."""
        try:
            state = self._idle.pop()
        except IndexError:
            state = self._noted(task)
        np.copyto(state.x, task.x)
        np.copyto(state.w, task.w)
        if state.b is not None and task.b is not None:
            np.copyto(state.b, task.b)
        for call in state.calls:
            call()
        found = state.result.copy("K")
        if not self._idle:  # of threads that are in the same call at once, one leaves its arrays
            self._idle.append(state)
        return found

    def _noted(self, task: Task) -> _State:
        """Do the task once, on zeros, and note the calls."""
        call, plan = task.call, task.plan
        x, w = np.zeros_like(task.x, subok=False), np.zeros_like(task.w, subok=False)
        b = None if task.b is None else np.zeros(task.b.shape, task.b.dtype)
        result = call.space.empty(plan.geometry.output_shape, call.arithmetic.result, call.layout)
        weight = prepared(call, plan, w, Lasting())
        jobs = correlate_jobs(replace(task, x=x, w=w, b=b, ready=(weight,)), Written(result), Lasting())
        work, tape = Own(call.space, call.arithmetic), Tape()
        with work.noting(tape):
            jobs.function(jobs.items[0], work)
        return _State(x, w, b, tape.calls, result, work)


class Repeats:
    """The small calls that came last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[
            Hashable, _Repeat | Task | None
        ] = {}  # None: cannot be noted; a task, without arrays: came once

    def perform(self, task: Task) -> Array | None:
        """Do a small task on NumPy that came before; None where it has to be done at full length."""
        call, plan = task.call, task.plan
        if not call.traits.buffers or not 0 < plan.flops <= SMALL or call.lens is not None or task.conjugate:
            return None
        x, w, b = task.x, task.w, task.b
        # what the values keep alive may be known by its identity
        key = (
            id(plan),
            id(call.arithmetic),
            call.layout,
            x.strides,
            w.strides,
            x.dtype,
            w.dtype,
            None if b is None else b.dtype,
        )
        found = self._known.get(key, self)
        if isinstance(found, _Repeat):
            return found(task)
        if found is self:
            self._keep(key, replace(task, x=None, w=None, b=None))
        elif found is not None:
            self._keep(key, _Repeat.of(task))
        return None

    def forget(self) -> None:
        """Forget all calls, as has to be done when a function of the library is exchanged for another."""
        with self._lock:
            self._known.clear()

    def _keep(self, key: Hashable, value: _Repeat | Task | None) -> None:
        with self._lock:
            self._known.pop(key, None)
            self._known[key] = value
            while len(self._known) > COUNT or self._size() > TOGETHER:
                del self._known[next(iter(self._known))]

    def _size(self) -> int:
        return sum(value.nbytes for value in self._known.values() if isinstance(value, _Repeat))


repeats: Final = Repeats()
