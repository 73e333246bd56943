"""Memory of work arrays, kept from one call to the next.

Fresh memory costs a page fault for every 4 KiB that is touched for the first time, which for a layer of middling size
takes as long as its arithmetic (measured: 16 ms against 8 ms). What a call has used is therefore kept for the next one,
at most `max_workspace` bytes in all.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from xpconv import _options

Memory = np.ndarray[Any, Any]  # flat, of bytes

UFUNC_BUFFERS = 1 << 17  # bytes that NumPy takes for a cast or a broadcast, in each thread
ALIGNMENT = 64  # of a cache line
SMALLEST = 1 << 15  # bytes below which nothing is kept: the allocator has such memory at hand
MOST = 128  # blocks that are kept
SLACK = 1.0625  # a kept block is at most so many times as large as what is asked for


class Pool:
    """Blocks of memory that nobody uses at present."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[Memory] = []  # those given back last stand last
        self._held = 0  # bytes in them
        self._used = 0  # bytes that are out

    def take(self, size: int) -> Memory:
        """Give a block of at least so many bytes: the smallest that fits, or a new one."""
        with self._lock:
            kept = self._free if size >= SMALLEST else []
            fits = [i for i, block in enumerate(kept) if size <= block.size <= SLACK * size]
            if fits:
                block = self._free.pop(min(fits, key=lambda i: self._free[i].size))
                self._held -= block.size
                self._used += block.size
                return block
            self._used += size
            self._trim()
        return np.empty(size, np.uint8) if size < SMALLEST else aligned(size)

    def give(self, blocks: Iterable[Memory]) -> None:
        """Take blocks back."""
        with self._lock:
            for block in blocks:
                self._used -= block.size
                if block.size >= SMALLEST:
                    self._free.append(block)
                    self._held += block.size
            self._trim()

    def drop(self, block: Memory) -> None:
        """Take a block back that is not worth keeping."""
        with self._lock:
            self._used -= block.size

    def reserve(self, size: int) -> None:
        """Leave room for so many bytes that are not taken from here; fewer than 0 when they are not needed any more."""
        with self._lock:
            self._used += size
            self._trim()

    def _trim(self) -> None:
        """Let go of the oldest blocks, as far as those in use leave no room for them."""
        # the rest is left to what is not taken from here
        room = _options.current().room - self._used
        while self._free and (self._held > room or len(self._free) > MOST):
            self._held -= self._free.pop(0).size

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._free.clear()
            self._held = 0

    def reset(self) -> None:
        """Start anew in a forked child, where another thread may have held the lock."""
        self.__init__()  # type: ignore[misc]


def aligned(size: int) -> Memory:
    """Allocate so many bytes from the beginning of a cache line on."""
    whole = np.empty(size + ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    return whole[start : start + size]


pool = Pool()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.reset)


class Held:
    """Arrays made of the pool's memory, given back together at the end of a block.

    For as long, kept blocks leave room for `beside` bytes that are allocated elsewhere.
    """

    def __init__(self, beside: int = 0) -> None:
        self._blocks: list[Memory] = []
        self._beside = beside

    def empty(self, shape: Sequence[int], dtype: Any) -> np.ndarray[Any, Any]:
        """Make an array, which is nobody's after the block."""
        dtype, size = np.dtype(dtype), math.prod(shape)
        block = self._take(max(size * dtype.itemsize, 1))
        found: np.ndarray[Any, Any] = block[: size * dtype.itemsize].view(dtype).reshape(shape)
        return found

    def _take(self, size: int) -> Memory:
        block = pool.take(size)
        self._blocks.append(block)
        return block

    def __enter__(self) -> Held:
        if self._beside:
            pool.reserve(self._beside)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        blocks, self._blocks = self._blocks, []
        if self._beside:
            pool.reserve(-self._beside)
        if blocks:
            pool.give(blocks)


class Lasting(Held):
    """Arrays in memory of their own, for as long as somebody has them."""

    def empty(self, shape: Sequence[int], dtype: Any) -> np.ndarray[Any, Any]:
        dtype, size = np.dtype(dtype), math.prod(shape) * np.dtype(dtype).itemsize
        found: np.ndarray[Any, Any] = aligned(size).view(dtype).reshape(shape)
        return found
