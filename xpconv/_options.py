"""How many threads and how much workspace: defaults of the process, and what a block puts in their place."""

from __future__ import annotations

import operator
import os
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from types import TracebackType
from typing import Any

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
    compiled: bool | None = None  # kernels that Numba compiles: None where they pay, True at once

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
    text, switch = os.environ.get("XPCONV_NUM_THREADS", ""), os.environ.get("XPCONV_COMPILED", "")
    if text and (not text.isdecimal() or int(text) < 1):
        raise ValueError(f"xpconv: the environment variable XPCONV_NUM_THREADS is a positive integer; got {text!r}")
    if switch not in ("", "0", "1"):
        raise ValueError(f"xpconv: the environment variable XPCONV_COMPILED is 0 or 1; got {switch!r}")
    threads = int(text) if text else _available_cores()
    return Options(64 * MIB, threads, compiled=False if switch == "0" else None)


def _compiled(value: object) -> bool:
    """Check the choice of compiled kernels; nothing is imported."""
    if not isinstance(value, bool):
        raise ValueError(f"set_options: compiled is None, False or True; got {value!r}")
    if value and "numba" not in sys.modules and find_spec("numba") is None:  # to look for it takes a hundred µs
        raise ImportError(
            'set_options: compiled=True needs Numba, which is not installed: python -m pip install "xpconv[fast]"'
        )
    return value


class _Defaults:
    """The defaults of the process, and who changed them: a change is taken back if its maker turns out to be a block.

    `with set_options(…)` makes the object, which changes the defaults, before it enters the block. Another thread may
    have changed them in between, so what is taken back is this one change, not the state before it.
    """

    def __init__(self, options: Options) -> None:
        self._lock = threading.Lock()
        self._base = options
        self._changes: list[tuple[weakref.ref[set_options], Mapping[str, Any]]] = []
        self.options = options

    def change(self, owner: set_options, changed: Mapping[str, Any]) -> None:
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
_block: ContextVar[tuple[tuple[str, Any], ...]] = ContextVar("xpconv options of a block", default=())

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_defaults.reset)


@lru_cache(maxsize=64)
def _on(options: Options, memory: int) -> Options:
    return replace(options, max_workspace=max(min(DEVICE_WORKSPACE, memory // DEVICE_SHARE), MIN_WORKSPACE))


@lru_cache(maxsize=64)
def _with(options: Options, block: tuple[tuple[str, Any], ...]) -> Options:
    return replace(options, **dict(block))


def current() -> Options:
    """Give the options in force."""
    block = _block.get()
    return _with(_defaults.options, block) if block else _defaults.options


@contextmanager
def limited(**changed: int) -> Iterator[None]:
    """Put options in the place of those in force, for this thread and what it starts."""
    before = _block.set(tuple((dict(_block.get()) | changed).items()))
    try:
        yield
    finally:
        _block.reset(before)


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
    compiled : bool, optional
        Whether NumPy calls may run in kernels that Numba compiles (``python -m pip install "xpconv[fast]"``). At the
        start a convolution takes one if that is predicted to save it a millisecond, and the first that does waits
        until Numba is loaded and the kernel compiled, or found on disk; pooling, whose bits are the same either way, as
        soon as the process has lost as much time without it. Others leave Numba alone. True: wherever anything is
        saved, at once. False, or the environment variable ``XPCONV_COMPILED=0``: never. A convolution's results stay
        within the same kind of bound.

    Raises
    ------
    ValueError
        A value is not of its type or is too small.
    ImportError
        ``compiled=True``, and Numba is not installed.

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

    def __init__(
        self, *, max_workspace: int | None = None, threads: int | None = None, compiled: bool | None = None
    ) -> None:
        self._changed: dict[str, Any] = {}
        if max_workspace is not None:
            self._changed["max_workspace"] = _positive("max_workspace", max_workspace, MIN_WORKSPACE)
            self._changed["chosen"] = 1
        if threads is not None:
            self._changed["threads"] = _positive("threads", threads, 1)
        if compiled is not None:
            self._changed["compiled"] = _compiled(compiled)
        self._outer: list[tuple[tuple[str, Any], ...]] = []  # of the blocks that this object has entered
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
        compiled = "" if options.compiled is None else f"compiled={options.compiled}, "
        return f"set_options({compiled}max_workspace={options.max_workspace}, threads={options.threads})"
