"""A small convolution without the steps of a large one: finding arrays would take longer than the sums.

Its calls on buffers are noted once and made again: the images are copied into a buffer of their own, and the result out
of one, so every call in between finds its arrays where they were. The course's example (2x5x7x4 -> 8, 3x3, stride 2) is
six calls of NumPy, in a third of the time; 14x14x8 -> 16, 5x5, takes 0.05 ms in place of 0.25. Compiled loops are
called on the images and the result themselves, whatever the size.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from xpconv._convolution.correlate import perform
from xpconv._convolution.repeat import WORKSPACE, serves
from xpconv._convolution.straight import Loops, plain
from xpconv._convolution.tile import Task, correlate_jobs
from xpconv._engine.jobs import SMALL
from xpconv._engine.results import Written
from xpconv._shapes.layout import in_layout
from xpconv._work import threads
from xpconv._work.memory import Lasting, pool
from xpconv._work.noted import Notes
from xpconv.algorithms import REGISTRY
from xpconv.algorithms.compiled import Compiled
from xpconv.algorithms.compiled_winograd import CompiledWinograd
from xpconv.algorithms.pieces import whole

MOST_FLOPS = 1 << 22  # of a task that is noted: one thread does these in less time than it takes to find arrays
Array = np.ndarray[Any, Any]
State = tuple[Array, tuple[Callable[[], Any], ...], Array, Notes]  # images, calls, result; what the calls use


class Small(ABC):
    """A small task on images of one shape."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.shape = in_layout(task.plan.geometry.input_shape, task.call.layout)
        self._dtype = np.dtype(task.call.arithmetic.inputs)

    @property
    def nbytes(self) -> int:
        """Count the bytes of what is kept and nobody uses at present."""
        return 0

    def takes(self, x: Array) -> bool:
        """Say whether images of the shape are plain ones, in dtype and order."""
        return x.dtype == self._dtype and x.flags.c_contiguous

    @abstractmethod
    def __call__(self, x: Array, out: Array | None) -> Array:
        """Convolve; give a new array, or `out`."""


def small(task: Task) -> Small | None:
    """Give the short way of a task, if it has one."""
    call, geometry = task.call, task.plan.geometry
    if not (call.traits.buffers and call.arithmetic.exact is None and geometry.mode == "zeros"):
        return None
    algorithm = REGISTRY[task.plan.algorithm]
    if isinstance(algorithm, Compiled | CompiledWinograd):
        if call.layout == "channels_first" or geometry.flops == 0 or not task.ready:
            return None
        straight = Straight(task, algorithm) if isinstance(algorithm, Compiled) else InStrips(task, algorithm)
        return straight if straight.workspace <= call.room else None
    copied = (prod(geometry.input_shape) + prod(geometry.output_shape)) * np.dtype(call.arithmetic.inputs).itemsize
    if copied > WORKSPACE or not serves(task.plan, MOST_FLOPS, 4 * WORKSPACE):
        return None
    replay = Replay(task)
    return replay if replay.nbytes <= 2 * WORKSPACE else None


class Straight(Small):
    """Compiled loops on the images and the result themselves: other tiles give the same bits.

    What does not pay for two threads stays on the calling one.
    """

    def __init__(self, task: Task, algorithm: Compiled) -> None:
        self._keep(task)
        pieces, self._room = algorithm.pieces(self._geometry, self._dtype.itemsize)
        self._workers = min(task.call.options.threads, len(pieces))

    def _keep(self, task: Task) -> None:
        super().__init__(task)
        self._idle: list[Array] = []  # work memory
        geometry = self._geometry = task.plan.geometry
        self._weight: Array = task.ready[0]  # type: ignore[assignment]
        self._bias = np.zeros(geometry.filters, self._dtype) if task.b is None else whole(task.b, self._dtype)

    @property
    def workspace(self) -> int:
        """Count the bytes of work memory of all threads."""
        return self._workers * self._room * self._dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Count the bytes of work memory that nobody uses at present."""
        return sum(room.nbytes for room in self._idle)

    def takes(self, x: Array) -> bool:
        """Ask for whole numbers of bytes between them, too."""
        return super().takes(x) and x.flags.aligned

    def __call__(self, x: Array, out: Array | None) -> Array:
        """Convolve; give a new array, or `out`."""
        given = out is not None and plain(out, self._dtype)
        target = out if out is not None and given else np.empty(self._geometry.output_shape, self._dtype)
        self._perform(x, target)
        if out is None or given:
            return target
        np.copyto(out, target)
        return out

    def _perform(self, x: Array, target: Array) -> None:
        loops = Loops.on(self._geometry, x, self._weight, self._bias, target)
        threads.run(loops.job, len(loops.pieces), self._taken, self._given, self._workers, collect=False)

    def _taken(self) -> Array:
        """Take work memory; it is given back by one call each, which the interpreter does not interrupt."""
        try:
            return self._idle.pop()
        except IndexError:
            return np.empty(self._room, self._dtype)

    def _given(self, room: Array) -> None:
        """Keep work memory, unless it is large."""
        if room.nbytes <= WORKSPACE:
            self._idle.append(room)


class InStrips(Straight):
    """Winograd's loops likewise; where a result is not finite, everything is done again at full length."""

    def __init__(self, task: Task, algorithm: CompiledWinograd) -> None:
        self._keep(task)
        self._algorithm, self._pieces = algorithm, algorithm.pieces(self._geometry)
        self._room = algorithm.room(self._geometry)
        self._workers = min(task.call.options.threads, len(self._pieces))

    def _perform(self, x: Array, target: Array) -> None:
        def compute(number: int, block: Array) -> bool:
            piece, room = self._pieces[number], block[: self._room * self._dtype.itemsize].view(self._dtype)
            weight, bias = self._weight[piece.blocks], self._bias[piece.where[-1]]
            arrays = x, (weight, weight), bias
            return self._algorithm.strips(arrays, target[piece.where], self._geometry, piece, room)

        if not all(threads.run(compute, len(self._pieces), self._taken, self._given, self._workers, collect=True)):
            perform(replace(self._task, x=x), target)

    def _taken(self) -> Array:
        """Take work memory, some MiB, of what calls share."""
        return pool.take(self._room * self._dtype.itemsize)

    def _given(self, room: Array) -> None:
        """Give it back."""
        pool.give([room])


class Replay(Small):
    """Calls that are noted; each thread that is in a call has buffers of its own."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._limited = task.plan.geometry.flops > SMALL  # BLAS is, to one thread
        self._idle: list[State] = []  # given back and taken by one call each, which the interpreter does not interrupt
        self._idle.append(self._noted())

    @property
    def nbytes(self) -> int:
        """Count the bytes of the buffers that nobody uses at present."""
        return sum(x.nbytes + z.nbytes + notes.nbytes for x, _, z, notes in self._idle)

    def __call__(self, x: Array, out: Array | None) -> Array:
        """Make the calls; give a new array, or `out`."""
        try:
            state = self._idle.pop()
        except IndexError:
            state = self._noted()
        images, calls, result, _ = state
        np.copyto(images, x)
        with threads.one_blas_thread if self._limited else contextlib.nullcontext():
            for call in calls:
                call()
        if out is None:
            out = result.copy()
        else:
            np.copyto(out, result)
        self._idle.append(state)
        return out

    def _noted(self) -> State:
        """Do the task once, on zeros, and note the calls."""
        task = self._task
        call, plan = task.call, task.plan
        images = np.zeros(self.shape, self._dtype)
        target = call.space.empty(plan.geometry.output_shape, call.arithmetic.result, call.layout)
        jobs = correlate_jobs(replace(task, x=call.images(images)), Written(target), Lasting())
        notes = Notes(call.space, call.arithmetic)
        notes.run(jobs.function, jobs.items)
        return images, notes.calls, call.give(target), notes
