"""How many threads and how much workspace: defaults of the process, and what a block puts in their place."""

from __future__ import annotations

import operator
import os
import threading
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from types import TracebackType

from xpconv._shapes.keywords import keywords_of

MIB = 1 << 20
MIN_WORKSPACE = MIB  # below this not even one row of an ordinary layer fits
DEVICE_WORKSPACE, DEVICE_SHARE = 1024 * MIB, 16  # on a GPU, at most so much, and at most this part of its memory


@dataclass(frozen=True)
class Options:
    """The options in force."""

    max_workspace: int
    threads: int
    chosen: int = 0  # 1: somebody has set max_workspace

    def on(self, memory: int | None) -> Options:
        """Give the options on a device with so many bytes of memory, a GPU; None: on a host."""
        return self if memory is None or self.chosen else _on(self, memory)

    @property
    def room(self) -> int:
        """Give the bytes that a plan may count on; kept blocks of memory are a little larger than what is asked for."""
        return self.max_workspace // 16 * 15


def _positive(name: str, value: object, least: int) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"set_options: {name} is an integer; got {value!r}") from None
    if isinstance(value, bool) or number < least:
        raise ValueError(f"set_options: {name} is at least {least}; got {value!r}")
    return number


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _initial() -> Options:
    text = os.environ.get("XPCONV_NUM_THREADS", "")
    if not text:
        return Options(64 * MIB, _available_cores())
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"xpconv: the environment variable XPCONV_NUM_THREADS is a positive integer; got {text!r}")
    return Options(64 * MIB, int(text))


class _Defaults:
    """The defaults of the process, and who changed them: a change is taken back if its maker turns out to be a block.

    `with set_options(…)` makes the object, which changes the defaults, before it enters the block. Another thread may
    have changed them in between, so what is taken back is this one change, not the state before it.
    """

    def __init__(self, options: Options) -> None:
        self._lock = threading.Lock()
        self._base = options
        self._changes: list[tuple[weakref.ref[set_options], Mapping[str, int]]] = []
        self.options = options

    def change(self, owner: set_options, changed: Mapping[str, int]) -> None:
        """Change the defaults at once."""
        with self._lock:
            while self._changes and self._changes[0][0]() is None:  # nobody can take it back any more
                self._base = replace(self._base, **self._changes.pop(0)[1])
            self._changes.append((weakref.ref(owner), changed))
            self._settle()

    def take_back(self, owner: set_options) -> None:
        """Undo what one `set_options` changed."""
        with self._lock:
            self._changes = [change for change in self._changes if change[0]() is not owner]
            self._settle()

    def _settle(self) -> None:
        options = self._base
        for _, changed in self._changes:
            options = replace(options, **changed)
        self.options = options

    def reset(self) -> None:
        """Start anew in a forked child, where another thread may have held the lock."""
        self._lock = threading.Lock()


_defaults = _Defaults(_initial())
_block: ContextVar[tuple[tuple[str, int], ...]] = ContextVar("xpconv options of a block", default=())

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_defaults.reset)


@lru_cache(maxsize=64)
def _on(options: Options, memory: int) -> Options:
    return replace(options, max_workspace=max(min(DEVICE_WORKSPACE, memory // DEVICE_SHARE), MIN_WORKSPACE))


@lru_cache(maxsize=64)
def _with(options: Options, block: tuple[tuple[str, int], ...]) -> Options:
    return replace(options, **dict(block))


def current() -> Options:
    """Give the options in force."""
    block = _block.get()
    return _with(_defaults.options, block) if block else _defaults.options


@keywords_of
class set_options:
    """Change the defaults of the process at once, and for a block when used as a context manager.

    Parameters
    ----------
    max_workspace : int, optional
        Bytes of work memory that one call may have beside its results, at least 1 MiB; at the start 64 MiB on a host,
        and on a GPU 1 GiB or a sixteenth of its memory, whichever is less. Calls that overlap each have as much.
        NumPy's work memory is kept for later calls, in all at most so many bytes; lowering the value frees what is too
        much at the next call.
    threads : int, optional
        Threads that NumPy calls are spread over; at the start the number of cores this process may run on,
        or the environment variable ``XPCONV_NUM_THREADS``. Results do not depend on it, to the bit.

    Raises
    ------
    ValueError
        A value is not an integer or is too small.

    Notes
    -----
    The defaults belong to the process. What a block changes holds for the thread (or task of ``asyncio``) that entered
    it and for the work that its calls start on other threads; calls in other threads keep theirs. Within a block, a
    change without a block of its own lasts to the end of that block if the block set the same option. A call reads the
    options once, when it begins.

    Examples
    --------
    >>> import xpconv as xc
    >>> with xc.set_options(threads=1, max_workspace=8 * 2**20):
    ...     pass  # calls in here use one thread and at most 8 MiB

    """

    def __init__(self, *, max_workspace: int | None = None, threads: int | None = None) -> None:
        self._changed: dict[str, int] = {}
        if max_workspace is not None:
            self._changed["max_workspace"] = _positive("max_workspace", max_workspace, MIN_WORKSPACE)
            self._changed["chosen"] = 1
        if threads is not None:
            self._changed["threads"] = _positive("threads", threads, 1)
        self._outer: list[tuple[tuple[str, int], ...]] = []  # of the blocks that this object has entered
        self._before = self._after = block = _block.get()
        inside = {name for name, _ in block}
        if any(name in inside for name in self._changed):
            self._after = tuple((name, self._changed.get(name, value)) for name, value in block)
            _block.set(self._after)
        if outside := {name: value for name, value in self._changed.items() if name not in inside}:
            _defaults.change(self, outside)

    def __enter__(self) -> Options:
        _defaults.take_back(self)
        if self._after is not self._before and _block.get() is self._after:
            _block.set(self._before)
        outer = _block.get()
        self._outer.append(outer)
        _block.set(tuple((dict(outer) | self._changed).items()))
        return current()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _block.set(self._outer.pop())

    def __repr__(self) -> str:
        options = current()
        return f"set_options(max_workspace={options.max_workspace}, threads={options.threads})"
