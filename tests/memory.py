"""How much one call allocates beside its results, by tracemalloc, and at which sizes; and what a process may hold."""

import contextlib
import ctypes
import gc
import itertools
import math
import mmap
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.sizes import FULL, NIGHTLY
from xpconv._work.memory import Pool, pool

MIB = 1 << 20
ROOM = 1 << 30  # bytes that JAX's compiler may leave in a process before they are given back
Shape = tuple[int, ...]


def resident() -> int:
    """Bytes of memory that this process holds; 0 where that cannot be read."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * mmap.PAGESIZE


_floor: list[int] = [0]  # what was held after the last time


def allowed() -> int:
    """Bytes that may be held before JAX has to forget."""
    return _floor[0] + ROOM


def forget_compiled() -> None:
    """Drop what JAX has compiled, and give back what its compiler freed, which the C library keeps by the gigabyte."""
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    _floor[0] = resident()


def beside(call: Callable[[], Any]) -> int:
    """Bytes at the peak of a call, less its results; a call before it has filled every cache."""
    call()
    pool.clear()  # what an earlier call left would not be counted
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        results = call()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    results = results if isinstance(results, tuple) else (results,)
    return peak - sum(r.nbytes for r in results)


def litter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill work memory with numbers whose products overflow, as plain loops report: none is for reading unwritten."""
    take = Pool.take

    def littered(self: Pool, size: int) -> Any:
        block = take(self, size)
        block[...] = 0x7F  # float32 3.4e38, float64 1.4e306
        return block

    monkeypatch.setattr(Pool, "take", littered)


def held(names: Iterable[str], limits: Sequence[tuple[int, int]], few: Sequence[str] = ()) -> Any:
    """Run a test on each name under each limit, (mebibytes, threads), the least ones last.

    In a normal run the names are under the last limit, on smaller arrays, and a few of them under the first; in "ci"
    each of them under one of the others, in turn.
    """
    names = list(names)
    assert set(few) <= set(names)
    pairs = [(limit, name) for limit in limits for name in names]
    if not NIGHTLY:
        others = list(zip(itertools.cycle(limits[:-1]), names, strict=False)) if FULL else []
        first = [(limits[0], name) for name in few]
        pairs = [*dict.fromkeys(first + others), *((limits[-1], name) for name in names)]
    ids = [f"{mebibytes}MiB-{threads}-{name}" for (mebibytes, threads), name in pairs]
    return pytest.mark.parametrize(("ceiling", "name"), pairs, ids=ids, indirect=["ceiling"])


def lessened(shape: Shape, ceiling: int, layout: str = "channels_last", least: int = 16) -> Shape:
    """But in "nightly", give fewer images and rows, `least` or more, for 2 MiB and less: a mebibyte is far beyond."""
    times = 4 * math.prod(shape) // MIB
    if NIGHTLY or ceiling > 2 * MIB or times < 2:
        return shape
    batch = max(shape[0] // times, 1)
    times = times * batch // shape[0]
    first = 1 if layout == "channels_last" else 2
    last = len(shape) - (layout == "channels_last")
    longest = max(range(first, last), key=lambda axis: shape[axis])
    return (batch, *(min(n, max(n // max(times, 1), least)) if i == longest else n for i, n in enumerate(shape) if i))
