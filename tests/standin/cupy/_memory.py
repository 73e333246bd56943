"""CuPy's memory pool: blocks of 512 bytes, split and joined, of one stream each; hooks; pointers.

The bytes themselves are NumPy's, new for each allocation; what is pooled is where they would lie, and who used it.
"""

from __future__ import annotations

import bisect
import collections
import contextlib
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import _devices, _streams, _watch
from ._streams import Accesses

UNIT = 512


class OutOfMemoryError(MemoryError):
    """CuPy's."""


class Chunk:
    """A place in the memory of a device, between its neighbours."""

    __slots__ = ("accesses", "before", "behind", "free", "owner", "size", "stream")

    def __init__(self, owner: DevicePool, stream: int, size: int) -> None:
        self.owner, self.stream, self.size, self.free = owner, stream, size, False
        self.before: Chunk | None = None
        self.behind: Chunk | None = None
        self.accesses = Accesses()

    def split(self, size: int) -> None:
        """Cut off what lies behind the first bytes and give it back to the pool."""
        rest = Chunk(self.owner, self.stream, self.size - size)
        rest.before, rest.behind, rest.accesses = self, self.behind, self.accesses.copy()
        if self.behind is not None:
            self.behind.before = rest
        self.behind, self.size = rest, size
        self.owner.insert(rest)

    def swallow(self) -> None:
        """Join with the neighbour behind."""
        behind = self.behind
        assert behind is not None
        self.size += behind.size
        self.behind = behind.behind
        if self.behind is not None:
            self.behind.before = self
        self.accesses.join(behind.accesses)


class DevicePool:
    """The pool of one device."""

    def __init__(self, device: int) -> None:
        self.device = device
        self.total = self.used = self.limit = 0
        self.free: dict[int, list[tuple[int, int, Chunk]]] = collections.defaultdict(list)  # by stream, by size
        self.returned: collections.deque[Chunk] = collections.deque()  # by whatever thread the garbage was collected in
        self.lock = threading.RLock()

    def insert(self, chunk: Chunk) -> None:
        chunk.free = True
        bisect.insort(self.free[chunk.stream], (chunk.size, id(chunk), chunk))

    def remove(self, chunk: Chunk) -> None:
        chunk.free = False
        kept = self.free[chunk.stream]
        del kept[bisect.bisect_left(kept, (chunk.size, id(chunk)))]

    def settle(self) -> None:
        """Join what was returned with free neighbours."""
        while self.returned:
            chunk = self.returned.popleft()
            if chunk.behind is not None and chunk.behind.free:
                self.remove(chunk.behind)
                chunk.swallow()
            if chunk.before is not None and chunk.before.free:
                chunk = chunk.before
                self.remove(chunk)
                chunk.swallow()
            self.insert(chunk)

    def take(self, size: int, stream: int) -> tuple[Chunk, bool]:
        """Give the smallest free chunk of the stream that is large enough, or new memory (True)."""
        with self.lock:
            self.settle()
            kept = self.free[stream]
            place = bisect.bisect_left(kept, (size, 0))
            if place < len(kept):
                chunk = kept[place][2]
                self.remove(chunk)
                if chunk.size > size:
                    chunk.split(size)
                grown = False
            else:
                chunk, grown = self.grow(size, stream), True
            self.used += size
            return chunk, grown

    def grow(self, size: int, stream: int) -> Chunk:
        limit = self.limit or _devices.MEMORY
        if self.total + size > limit:
            self.release(None)
        if self.total + size > limit:
            raise OutOfMemoryError(f"Out of memory allocating {size:,} bytes (allocated so far: {self.total:,} bytes)")
        self.total += size
        return Chunk(self, stream, size)

    def release(self, stream: int | None) -> None:
        """Give whole free pieces back to the driver."""
        with self.lock:
            self.settle()
            for of in list(self.free) if stream is None else [stream]:
                whole = [c for *_, c in self.free[of] if c.before is None and c.behind is None]
                for chunk in whole:
                    self.remove(chunk)
                    self.total -= chunk.size


class MemoryPool:
    """The pools of all devices."""

    def __init__(self, allocator: Any = None) -> None:
        self._pools = [DevicePool(device) for device in range(_devices.COUNT)]

    def _of(self, device: int) -> DevicePool:
        return self._pools[device]

    def _here(self) -> DevicePool:
        pool = self._pools[_devices.current()]
        with pool.lock:
            pool.settle()
        return pool

    def malloc(self, size: int) -> MemoryPointer:
        """Take memory of the current device, for the current stream."""
        size = int(size)
        rounded = -(-size // UNIT) * UNIT
        details: dict[str, Any] = {"device_id": _devices.current(), "size": size, "mem_size": rounded}
        for hook in hooks().values():
            hook.malloc_preprocess(**details)
        memory = Memory(size, self, rounded)
        for hook in hooks().values():
            hook.malloc_postprocess(**details, mem_ptr=memory.ptr, pmem_id=id(memory))
        return MemoryPointer(memory, 0)

    def used_bytes(self) -> int:
        return self._here().used

    def total_bytes(self) -> int:
        return self._here().total

    def free_bytes(self) -> int:
        pool = self._here()
        return pool.total - pool.used

    def n_free_blocks(self) -> int:
        return sum(map(len, self._here().free.values()))

    def free_all_blocks(self, stream: Any = None) -> None:
        self._here().release(None if stream is None else stream.ptr)

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        if size is not None and fraction is not None:
            raise ValueError("size and fraction cannot be specified at one time")
        self._here().limit = int(size or (fraction or 0) * _devices.MEMORY)

    def get_limit(self) -> int:
        return self._here().limit


DEFAULT = MemoryPool()


def in_use() -> int:
    """Count the bytes that programs hold, on all devices."""
    return sum(pool.used for pool in DEFAULT._pools)


HELD: weakref.WeakSet[Memory] = weakref.WeakSet()


def holder(pointer: int) -> Memory | None:
    """Find the memory that an address lies in."""
    return next((one for one in list(HELD) if one.ptr <= pointer < one.ptr + max(one.buffer.size, 1)), None)


class Memory:
    """Memory that a program holds; given back to the pool when nothing refers to it."""

    __slots__ = ("__weakref__", "accesses", "buffer", "chunk", "device_id", "size")

    def __init__(self, nbytes: int, pool: MemoryPool, rounded: int) -> None:
        self.device_id, self.size = _devices.current(), rounded
        self.buffer = np.empty(nbytes, np.uint8)
        self.chunk: Chunk | None = None
        self.accesses = Accesses()
        if rounded == 0:
            return
        chunk, grown = pool._of(self.device_id).take(rounded, _streams.current_stream().ptr)
        self.chunk, self.accesses = chunk, chunk.accesses
        HELD.add(self)
        _watch.allocation(rounded, grown, in_use())

    def __del__(self, ended: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ended() and self.chunk is not None:
            _give_back(self.chunk, self.ptr, id(self))

    @property
    def ptr(self) -> int:
        return int(self.buffer.__array_interface__["data"][0]) if self.size else 0

    @property
    def device(self) -> _devices.Device:
        return _devices.Device(self.device_id)


def _give_back(chunk: Chunk, pointer: int, identity: int) -> None:
    details = {"device_id": chunk.owner.device, "mem_size": chunk.size, "mem_ptr": pointer, "pmem_id": identity}
    for hook in hooks().values():
        hook.free_preprocess(**details)
    chunk.owner.used -= chunk.size
    chunk.owner.returned.append(chunk)
    for hook in hooks().values():
        hook.free_postprocess(**details)


class MemoryPointer:
    """A place in memory."""

    __slots__ = ("device_id", "mem", "ptr")

    def __init__(self, mem: Memory, offset: int) -> None:
        self.mem, self.ptr, self.device_id = mem, mem.ptr + offset, mem.device_id

    @property
    def device(self) -> _devices.Device:
        return _devices.Device(self.device_id)

    def __int__(self) -> int:
        return self.ptr

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    def __sub__(self, offset: int) -> MemoryPointer:
        return self + -offset


# --- allocators and hooks -------------------------------------------------------------------------

_local = threading.local()
_allocator: Callable[[int], MemoryPointer] = DEFAULT.malloc


def alloc(size: int) -> MemoryPointer:
    """Take memory from the current allocator."""
    return get_allocator()(size)


def get_allocator() -> Callable[[int], MemoryPointer]:
    return getattr(_local, "allocator", None) or _allocator


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    global _allocator
    _allocator = allocator or MemoryPool().malloc


@contextlib.contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    before, _local.allocator = getattr(_local, "allocator", None), allocator
    try:
        yield
    finally:
        _local.allocator = before


def hooks() -> dict[str, MemoryHook]:
    """The hooks of this thread."""
    return _local.__dict__.setdefault("hooks", {})


class MemoryHook:
    """What is called when memory is taken and given back."""

    name = "MemoryHook"

    def __enter__(self) -> MemoryHook:
        if self.name in hooks():
            raise KeyError(f"memory hook {self.name} already exists")
        hooks()[self.name] = self
        return self

    def __exit__(self, *_: object) -> None:
        del hooks()[self.name]

    def alloc_preprocess(self, **kwargs: Any) -> None: ...

    def alloc_postprocess(self, **kwargs: Any) -> None: ...

    def malloc_preprocess(self, **kwargs: Any) -> None: ...

    def malloc_postprocess(self, **kwargs: Any) -> None: ...

    def free_preprocess(self, **kwargs: Any) -> None: ...

    def free_postprocess(self, **kwargs: Any) -> None: ...
