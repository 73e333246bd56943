"""A small convolution without the steps of a large one: finding arrays would take longer than the sums.

Its calls on buffers are noted once and made again: the images are copied into a buffer of their own, and the result out
of one, so every call in between finds its arrays where they were. The course's example (2x5x7x4 -> 8, 3x3, stride 2) is
six calls of NumPy. Where compiled loops do all, they are called on the images and the result themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from xpconv._convolution.repeat import WORKSPACE, serves
from xpconv._convolution.tile import Task, correlate_jobs
from xpconv._engine.results import Written
from xpconv._shapes.layout import in_layout
from xpconv._work.memory import Lasting
from xpconv._work.noted import Notes, Own
from xpconv.algorithms import REGISTRY

Array = np.ndarray[Any, Any]
State = tuple[Array, tuple[Callable[[], Any], ...], Array, Notes]  # images, calls, result; what the calls use

ALONE = 4_000_000  # flops of compiled loops that one thread does as soon as two


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
    if REGISTRY[task.plan.algorithm].clips:
        whole = call.layout == "channels_last" and 0 < geometry.flops <= ALONE
        return Straight(task) if whole and task.plan.workspace <= 4 * WORKSPACE else None
    return Replay(task) if serves(task.plan) else None


class Straight(Small):
    """Compiled loops over all of the images at once, on the calling thread: other tiles give the same bits."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        geometry = task.plan.geometry
        self._idle = [Own(task.call.space, task.call.arithmetic)]
        self._bias = task.call.space.zeros((geometry.filters,), self._dtype) if task.b is None else task.b
        self._tile = (0, tuple(-before for before, _ in geometry.padding)), (geometry.batch, *geometry.output)

    @property
    def nbytes(self) -> int:
        """Count the bytes of work arrays that nobody uses at present."""
        return sum(work.nbytes for work in self._idle)

    def takes(self, x: Array) -> bool:
        """Ask for whole numbers of bytes between them, too."""
        return super().takes(x) and x.flags.aligned

    def __call__(self, x: Array, out: Array | None) -> Array:
        """Convolve; give a new array, or `out`."""
        task = self._task
        try:
            work = self._idle.pop()
        except IndexError:
            work = Own(task.call.space, task.call.arithmetic)
        target: Array = np.empty(task.plan.geometry.output_shape, self._dtype) if out is None else out
        algorithm, geometry = REGISTRY[task.plan.algorithm], task.plan.geometry
        found = algorithm.clipped(work, x, task.ready[0], self._bias, geometry, self._tile, target)
        if found is not target:
            np.copyto(target, found)
        self._idle.append(work)
        return target


class Replay(Small):
    """Calls that are noted; each thread that is in a call has buffers of its own."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
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
