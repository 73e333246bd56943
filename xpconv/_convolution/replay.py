"""A prepared convolution without the steps of a call: finding arrays would take longer than the sums of a small one.

What a tile does is noted with the first images and done again on others: the course's example (2x5x7x4 -> 8, 3x3,
stride 2) is six calls of NumPy. Compiled loops are called on the images and the result themselves, whatever the size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np

from xpconv._convolution import strips
from xpconv._convolution.correlate import note, perform
from xpconv._convolution.repeat import serves
from xpconv._convolution.straight import Loops, pieces, plain
from xpconv._convolution.tile import Task
from xpconv._engine.noted import Noted, Notes
from xpconv._shapes.layout import in_layout
from xpconv._work import threads
from xpconv._work.memory import pool
from xpconv.algorithms import REGISTRY
from xpconv.algorithms.pieces import whole

Array = np.ndarray[Any, Any]
WORKSPACE = 1 << 19  # bytes of work memory that are kept between calls


class Shortcut(ABC):
    """A task on images of one shape."""

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


def shortcut(task: Task) -> Shortcut | None:
    """Give the short way of a task, if it has one."""
    call, geometry = task.call, task.plan.geometry
    if not (call.traits.buffers and call.arithmetic.exact is None and geometry.mode == "zeros"):
        return None
    algorithm = REGISTRY[task.plan.algorithm]
    if algorithm.clips:
        if call.layout == "channels_first" or geometry.flops == 0 or not task.ready:
            return None
        straight = InStrips(task) if algorithm.in_strips else Straight(task)
        return straight if straight.workspace <= call.room else None
    return Replay(task) if serves(task.plan) and task.ready else None


class Straight(Shortcut):
    """Compiled loops on the images and the result themselves: other tiles give the same bits.

    What does not pay for two threads stays on the calling one.
    """

    def __init__(self, task: Task) -> None:
        self._keep(task)
        found, self._room = pieces(self._geometry, self._dtype.itemsize)
        self._workers = min(task.call.options.threads, len(found))

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
        """Ask that they are aligned, too."""
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

    def __init__(self, task: Task) -> None:
        self._keep(task)
        algorithm = strips.loops(task.plan)
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


class Replay(Shortcut):
    """A single tile, noted with the first images."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._noted: Noted | None = None
        self._refused = False  # to be noted

    @property
    def nbytes(self) -> int:
        """Count the bytes of work memory that nobody uses at present."""
        return 0 if self._noted is None else self._noted.nbytes

    def takes(self, x: Array) -> bool:
        """Ask that they are aligned, too."""
        return super().takes(x) and x.flags.aligned

    def __call__(self, x: Array, out: Array | None) -> Array:
        """Make the calls; give a new array, or `out`."""
        call = self._task.call
        images = call.images(x)
        if self._noted is None:
            done = perform(replace(self._task, x=images)) if self._refused else self._note(images)
            found: Array = call.give(done)
        elif out is not None and plain(out, np.dtype(call.arithmetic.wanted)):
            self._noted([images], call.images(out))
            return out
        else:
            found = call.give(self._noted([images]))
        if out is None:
            return found
        np.copyto(out, found)
        return out

    def _note(self, images: Array) -> Array:
        """Do the task and note it."""
        with Notes([images], fixed=True) as notes:
            found: Array = note(replace(self._task, x=images), notes)
            self._noted = notes.noted(self._task.plan.workspace, 2 * WORKSPACE)
            self._refused = self._noted is None
        return found
