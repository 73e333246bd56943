"""Process-wide defaults: how many threads, how much workspace."""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass, replace
from types import TracebackType

MIB = 1 << 20
MIN_WORKSPACE = MIB  # below this not even one row of an ordinary layer fits


@dataclass(frozen=True)
class Options:
    """The options in force."""

    max_workspace: int
    threads: int

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


_options = _initial()


def current() -> Options:
    """Give the options in force."""
    return _options


class set_options:
    """Change the process-wide defaults at once, and for a block when used as a context manager.

    Parameters
    ----------
    max_workspace : int, optional
        Bytes of work memory that one call may have beside its results (64 MiB at the start, at least 1 MiB); calls that
        overlap each have as much. NumPy's work memory is kept for later calls, in all at most so many bytes; lowering
        the value frees what is too much at the next call.
    threads : int, optional
        Threads that NumPy calls are spread over; at the start the number of cores this process may run on,
        or the environment variable ``XPCONV_NUM_THREADS``. Results do not depend on it, to the bit.

    Raises
    ------
    ValueError
        A value is not an integer or is too small.

    Notes
    -----
    The options belong to the process, not to a thread. At the end of a block the values that it changed are put
    back.

    Examples
    --------
    >>> import xpconv as xc
    >>> with xc.set_options(threads=1, max_workspace=8 * 2**20):
    ...     pass  # calls in here use one thread and at most 8 MiB

    """

    def __init__(self, *, max_workspace: int | None = None, threads: int | None = None) -> None:
        global _options
        changed = {}
        if max_workspace is not None:
            changed["max_workspace"] = _positive("max_workspace", max_workspace, MIN_WORKSPACE)
        if threads is not None:
            changed["threads"] = _positive("threads", threads, 1)
        self._before = {name: getattr(_options, name) for name in changed}
        _options = replace(_options, **changed)

    def __enter__(self) -> Options:
        return _options

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _options
        _options = replace(_options, **self._before)

    def __repr__(self) -> str:
        return f"set_options(max_workspace={_options.max_workspace}, threads={_options.threads})"
