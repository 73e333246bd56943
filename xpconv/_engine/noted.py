"""A pass that is noted once, call by call, and done again on other arrays that lie in the same way.

Finding arrays, twenty steps deep, takes longer than the sums of a small pass. What a noted call is given is known by
the memory that it lies in: an argument's, the result's, or the work memory of the pass, which is one block. To do the
pass again is to take a block, to make the views, each in less than a microsecond, and to make the calls that were made
then. The arrays have the strides that they had, so the bits are the same.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.space import Space
from xpconv._engine.jobs import SMALL, Jobs
from xpconv._shapes.geometry import Ints
from xpconv._work import threads
from xpconv._work.buffered import STRETCH, BufferedWorkspace
from xpconv._work.memory import ALIGNMENT, Held, aligned, pool
from xpconv._work.tape import Tape

Array = np.ndarray[Any, Any]
NOTHING = contextlib.nullcontext()
WORK = 0  # the number of the work memory; those of the arguments follow, then the result's


@dataclass(frozen=True)
class _Memory:
    """The memory of a whole array that lies in one piece, in some order of its axes."""

    shape: Ints
    dtype: np.dtype[Any]
    order: Ints | None  # of the axes; None where it is the array's own

    @staticmethod
    def of(array: Array) -> _Memory | None:
        """Give that of an array; None if it does not lie in one piece."""
        if array.flags.c_contiguous:
            return _Memory(array.shape, array.dtype, None)
        axes = tuple(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))
        found = array.transpose(axes)
        return _Memory(found.shape, array.dtype, axes) if found.flags.c_contiguous else None

    def under(self, array: Array) -> Array:
        """Give the memory of such an array, one of a subclass as a plain one."""
        array = np.asarray(array)
        return array if self.order is None else array.transpose(self.order)

    def over(self, memory: Array) -> Array:
        """Give the array whose memory that is."""
        return memory if self.order is None else memory.transpose(np.argsort(self.order))


class _Place(NamedTuple):
    """How an array lies in a memory."""

    memory: int
    offset: int  # in bytes
    shape: Ints
    dtype: np.dtype[Any]
    strides: Ints


class _Step(NamedTuple):
    """A call, and how it is given its arguments from the values of a pass."""

    function: Callable[..., Any]
    arguments: Callable[[Sequence[Any]], tuple[Any, ...]]


class _Stage(NamedTuple):
    """Jobs that may run side by side."""

    jobs: tuple[tuple[_Step, ...], ...]
    workers: int


class Notes:
    """What a pass does on its arrays, noted while it does it; a context, which has the work memory.

    `fixed`: an array that lies elsewhere stays as it is.
    """

    def __init__(self, arrays: Sequence[Array | None], *, fixed: bool = False) -> None:
        self.held: Held = _Noting(self)
        self.quiet = False  # what overflows on the way is nobody's concern
        self.large = self.limited = False  # it takes long enough for threads; BLAS is limited to one of them
        self.size = 0  # bytes of the work memory
        self.values: list[Any] = []  # what calls are given; a place where that lies in a memory
        self.stages: list[_Stage] = []
        self.once: list[_Step] = []  # for a work memory: what they write stays there
        self.memories: list[_Memory | None] = [None]
        self.complete = True  # all can be found again
        self._fixed = fixed
        self._numbers: dict[_Place, int] = {}  # of places among the values
        self._blocks: list[Array] = []
        self._ranges: list[tuple[int, int, int, int]] = []  # memory, its first address here and its last, offset of it
        given = [array for array in arrays if array is not None]
        if any(np.may_share_memory(*pair) for pair in itertools.combinations(given, 2)):
            self.complete = False  # which of them an address belongs to cannot be told
        for array in arrays:
            self.know(array)

    def __enter__(self) -> Notes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pool.give(self._blocks)

    def know(self, array: Array | None) -> None:
        """Know the next array: the arguments of the pass, then its result, before it is written."""
        found = None if array is None else _Memory.of(array)
        if array is not None and found is not None:
            self._ranges.append((len(self.memories), array.ctypes.data, array.ctypes.data + array.nbytes, 0))
        self.complete = self.complete and (array is None or found is not None)
        self.memories.append(found)

    def take(self, size: int) -> Array:
        """Take a block of work memory."""
        block: Array = pool.take(size)
        self._blocks.append(block)
        self._ranges.append((WORK, block.ctypes.data, block.ctypes.data + size, self.size))
        self.size += -(-size // ALIGNMENT) * ALIGNMENT
        return block

    def run(
        self,
        jobs: Sequence[Jobs],
        space: Space,
        arithmetic: Arithmetic,
        workers: int,
        flops: int,
        *,
        blas: bool = True,
    ) -> list[Any]:
        """Run jobs one after another, instead of `_engine.jobs.run`, and note what they have their workspace do."""
        noted, found, large = [], [], flops > SMALL
        with threads.one_blas_thread if large and blas else contextlib.nullcontext():
            for one in jobs:
                for item in one.items:
                    tape = Tape()
                    # each has buffers of its own: one that found another's would leave out what is there already
                    work = _Workspace(space, arithmetic, self)
                    work.begin()
                    try:
                        with work.noting(tape):
                            found.append(one.function(item, work))
                    finally:
                        work.release()
                    noted.append(tuple(map(self._step, tape.calls)))
                    self.once += map(self._step, tape.once)
        self.large, self.limited = self.large or large, self.limited or (large and blas)
        self.stages.append(_Stage(tuple(noted), workers if large and len(noted) > 1 else 1))
        return found

    def do(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Make a call between jobs, and note it."""
        function(*arguments)
        self.stages.append(_Stage(((self._step(partial(function, *arguments)),),), 1))

    def is_whole(self, place: _Place) -> bool:
        """Say whether a place in an array is all of its memory, as that is."""
        memory = self.memories[place.memory]
        assert memory is not None
        strides = tuple(place.dtype.itemsize * math.prod(memory.shape[axis + 1 :]) for axis in range(len(memory.shape)))
        return place[1:] == (0, memory.shape, memory.dtype, strides)

    def noted(self, most: int, own: int) -> Noted | None:
        """Give the pass, to be done again; None if it cannot be, or takes more bytes of work memory than `most`.

        `own`: how many it may have for itself.
        """
        return Noted(self, keeps=self.size <= own) if self.complete and self.size <= most else None

    def _step(self, call: partial[Any]) -> _Step:
        function, keywords = call.func, dict(call.keywords)
        assert not isinstance(getattr(function, "__self__", None), np.ndarray), "a method has an array of its own"
        arguments, out = [*call.args], keywords.pop("out", None)
        if out is not None:
            arguments.append(out)  # of a ufunc, the argument after its inputs
            if not isinstance(function, np.ufunc):
                function = partial(_into, function)
        if keywords:
            function = partial(function, **keywords)
        numbers = [self._number(value) for value in arguments]
        # a tuple of one, too
        return _Step(
            function, itemgetter(*numbers) if len(numbers) > 1 else itemgetter(slice(numbers[0], numbers[0] + 1))
        )

    def _number(self, value: Any) -> int:
        """Give the number of a value."""
        if isinstance(value, np.ndarray):
            place = self._place(value)
            if place is not None:
                if place not in self._numbers:
                    self._numbers[place] = len(self.values)
                    self.values.append(place)
                return self._numbers[place]
            self.complete = self.complete and self._fixed
        self.values.append(value)
        return len(self.values) - 1

    def _place(self, array: Array) -> _Place | None:
        low, high = np.lib.array_utils.byte_bounds(array)
        for memory, first, last, offset in self._ranges:
            if first <= low and high <= last:
                at = array.ctypes.data - first + offset
                return _Place(memory, at, array.shape, array.dtype, array.strides)
        return None


class _Workspace(BufferedWorkspace):
    """Buffers that stay where they are until all is noted."""

    def __init__(self, space: Space, arithmetic: Arithmetic, notes: Notes) -> None:
        super().__init__(space, arithmetic)
        self._notes = notes

    def pad(self, name: str, part: Array, widths: Sequence[tuple[int, int]], fill: Any) -> Array:
        if self.programs:
            self._notes.complete = False  # of two, the borders would have to be laid anew each time
        found: Array = super().pad(name, part, widths, fill)
        return found

    def _take(self, size: int) -> Array:
        return self._notes.take(size)

    def _drop(self, block: Array) -> None:
        pass

    def release(self) -> None:
        self._blocks.clear()  # the notes give them back
        super().release()


class _Noting(Held):
    """Arrays in the work memory."""

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self._notes = notes

    def _take(self, size: int) -> Array:
        return self._notes.take(size)


class Noted:
    """A pass that can be done again, on arguments and in a result that lie as those did."""

    def __init__(self, notes: Notes, *, keeps: bool) -> None:
        *self._arguments, result = notes.memories[1:]
        assert result is not None
        self._result, self._size, self._stages, self._once = result, notes.size, notes.stages, notes.once
        self._quiet, self._large, self._limited = notes.quiet, notes.large, notes.limited
        self._values = [None if isinstance(value, _Place) else value for value in notes.values]
        places = [(number, place) for number, place in enumerate(notes.values) if isinstance(place, _Place)]
        self._in_work = [(number, place) for number, place in places if place.memory == WORK]
        in_arrays = [(number, place) for number, place in places if place.memory != WORK]
        self._whole = [(number, place.memory) for number, place in in_arrays if notes.is_whole(place)]
        self._in_arrays = [(number, place) for number, place in in_arrays if not notes.is_whole(place)]
        self._keeps = keeps
        self._idle: list[tuple[Array, list[Any]]] = []  # work memory of its own, and values there

    @property
    def nbytes(self) -> int:
        """Count the bytes of the work memory that it has for itself."""
        return self._size if self._keeps else 0

    def __call__(self, arrays: Sequence[Array | None], out: Array | None = None) -> Array:
        """Do the pass; give a new result, or `out`, which is aligned and of its dtype."""
        memories: list[Any] = [None]
        for memory, array in zip(self._arguments, arrays, strict=True):
            memories.append(None if memory is None or array is None else memory.under(array))
        result = np.empty(self._result.shape, self._result.dtype) if out is None else self._result.under(out)
        memories.append(result)
        own = self._take()
        try:
            values = own[1].copy()
            for number, which in self._whole:
                values[number] = memories[which]
            _find(self._in_arrays, memories, values)
            self._perform(values)
        finally:
            self._give(own)
        return self._result.over(result) if out is None else out

    def _take(self) -> tuple[Array, list[Any]]:
        """Take work memory: its own is taken and given by one call each, which the interpreter does not interrupt."""
        try:
            return self._idle.pop()
        except IndexError:
            pass
        block = aligned(self._size) if self._keeps else pool.take(self._size)
        values = self._values.copy()
        _find(self._in_work, [block], values)
        _make(self._once, values)
        return block, values

    def _give(self, own: tuple[Array, list[Any]]) -> None:
        if not self._keeps:
            pool.give([own[0]])
        elif not self._idle:  # of threads that are in the same pass at once, one leaves its memory
            self._idle.append(own)

    def _perform(self, values: list[Any]) -> None:
        if not self._large:
            with np.errstate(all="ignore") if self._quiet else NOTHING:
                self._play(values)
            return
        before = np.setbufsize(STRETCH)
        try:
            with (
                threads.one_blas_thread if self._limited else NOTHING,
                np.errstate(all="ignore") if self._quiet else NOTHING,
            ):
                self._play(values)
        finally:
            np.setbufsize(before)

    def _play(self, values: list[Any]) -> None:
        for jobs, workers in self._stages:
            if workers > 1:
                job = partial(_job, jobs, values)
                threads.run(job, len(jobs), _no_memory, _no_memory, workers, collect=False)  # theirs is apart
                continue
            for steps in jobs:
                _make(steps, values)


def _find(places: Iterable[tuple[int, _Place]], memories: Sequence[Any], values: list[Any]) -> None:
    """Make the views."""
    for number, (memory, offset, shape, dtype, strides) in places:
        values[number] = np.ndarray(shape, dtype, memories[memory], offset, strides)


def _make(steps: Iterable[_Step], values: list[Any]) -> None:
    """Make calls."""
    for function, arguments in steps:
        function(*arguments(values))


def _into(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
    """Call what takes its result by keyword; it is the last argument."""
    *given, out = arguments
    function(*given, out=out, **keywords)


def _job(jobs: Sequence[Iterable[_Step]], values: list[Any], number: int, _: None) -> None:
    _make(jobs[number], values)


def _no_memory(*_: None) -> None:
    """Take or give nothing."""
