"""CUDA streams: what is certain to happen before what. An access that is not is a race.

Every stream counts its work. A stream knows of every other up to which work it waits for it, and the host knows what is
done: the vector clocks of a race detector. Memory remembers its last writer and its readers since.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from . import _devices, _watch
from ._devices import CUDARuntimeError

Key = tuple[int, int]  # device, stream's pointer
Clock = dict[Key, int]

_pointers = itertools.count(0x5000, 0x10)
_local = threading.local()


@dataclass
class Line:
    """What one stream of one device has been given so far."""

    key: Key
    blocking: bool = True  # orders itself with the device's null stream
    count: int = 0
    after: Clock = field(default_factory=dict)
    graph: Graph | None = None
    broken: bool = False

    def now(self) -> Clock:
        """Everything that is certain once the work given so far is done."""
        return {**self.after, self.key: self.count}


@dataclass
class Accesses:
    """Who wrote to memory last, and who has read it since."""

    written: tuple[Key, int] | None = None
    read: Clock = field(default_factory=dict)

    def copy(self) -> Accesses:
        return Accesses(self.written, dict(self.read))

    def join(self, other: Accesses) -> None:
        """Take over another's: the memory of both has become one."""
        merge(self.read, other.read)
        if other.written is not None:
            merge(self.read, dict([other.written]))  # to come after a write or after a read is the same to a writer


LINES: dict[Key, Line] = {}
ENDED: dict[int, Clock] = {}  # what streams that are no more have been given, by device
DONE: Clock = {}


def merge(into: Clock, other: Clock) -> None:
    for key, count in other.items():
        if count > into.get(key, 0):
            into[key] = count


def line(device: int, pointer: int) -> Line:
    found = LINES.get((device, pointer))
    if found is None:
        found = LINES[device, pointer] = Line((device, pointer))
    return found


def end(device: int, pointer: int) -> None:
    """Forget a stream; its work goes on."""
    ended = LINES.pop((device, pointer))
    merge(ENDED.setdefault(device, {}), ended.now())
    if ended.blocking:
        merge(line(device, 0).after, ended.now())


def current_line() -> Line:
    """The current stream of this thread on the current device."""
    return line(_devices.current(), current_stream().ptr)


# --- work -----------------------------------------------------------------------------------------


def enqueue(to: Line, reads: Iterable[Accesses], writes: Iterable[Accesses], what: str) -> None:
    """Give a stream work that reads and writes memory; a mistake where that is a race."""
    device, pointer = to.key
    if pointer == 0:  # the null stream waits for all that do not say no
        for other in list(LINES.values()):
            if other.key[0] == device and other.blocking and other is not to:
                merge(to.after, other.now())
    elif to.blocking and (device, 0) in LINES:
        merge(to.after, LINES[device, 0].now())
    to.count += 1
    for memory in reads:
        if memory.written is not None:
            _demand_order(to, *memory.written, f"{what} reads what stream {{}} writes")
        memory.read[to.key] = to.count
    for memory in writes:
        if memory.written is not None:
            _demand_order(to, *memory.written, f"{what} writes over what stream {{}} writes")
        for key, count in memory.read.items():
            _demand_order(to, key, count, f"{what} writes over what stream {{}} may still read")
        memory.written, memory.read = (to.key, to.count), {}


def _demand_order(to: Line, key: Key, count: int, text: str) -> None:
    if key != to.key and DONE.get(key, 0) < count and to.after.get(key, 0) < count:
        _watch.mistake("race", f"{text.format(_name(key))}, and stream {_name(to.key)} does not wait for it")


def _name(key: Key) -> str:
    return f"{key[1]:#x} of device {key[0]}"


def demand_no_capture(to: Line, what: str) -> None:
    """Refuse copies between host and device while the stream is captured, as CuPy does."""
    if to.graph is not None:
        raise RuntimeError(f"the current stream is capturing, so {what} are disallowed")


def wait_for(lines: list[Line], what: str) -> None:
    """Let the host wait for streams."""
    for one in lines:
        if one.graph is not None:
            one.broken = True
            raise CUDARuntimeError(
                900, "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"
            )
    _watch.wait(what)
    for one in lines:
        merge(DONE, one.now())


def wait_for_device(device: int, what: str) -> None:
    wait_for([one for one in list(LINES.values()) if one.key[0] == device], what)
    merge(DONE, ENDED.pop(device, {}))


# --- what a program sees --------------------------------------------------------------------------


class Event:
    """A mark in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        if interprocess and not disable_timing:
            raise ValueError("Timing must be disabled for interprocess events")
        self.ptr = next(_pointers)
        self._mark: Clock = {}
        self._work: int | None = None

    @property
    def done(self) -> bool:
        """Whether the host knows it: here the device never gets ahead of that."""
        return all(DONE.get(key, 0) >= count for key, count in self._mark.items())

    def record(self, stream: _BaseStream | None = None) -> None:
        of = (stream or current_stream())._line()
        self._mark, self._work = of.now(), of.count

    def synchronize(self) -> None:
        _watch.wait("Event.synchronize")
        merge(DONE, self._mark)


def elapsed_time(start_event: Event, end_event: Event) -> float:
    """Take a microsecond for each kernel between two events of one stream."""
    if start_event._work is None or end_event._work is None:
        raise CUDARuntimeError(400, "cudaErrorInvalidResourceHandle: invalid resource handle")
    return 1e-3 * (end_event._work - start_event._work)


class Graph:
    """Captured work, which runs when the graph is launched."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError(
            "currently this class cannot be initiated by the user and must be created via stream capture"
        )

    @classmethod
    def _empty(cls) -> Graph:
        made = cls.__new__(cls)
        made._work = []
        return made

    _work: list[Callable[[], None]]

    def launch(self, stream: _BaseStream | None = None) -> None:
        with stream or current_stream():
            for work in self._work:
                work()

    def upload(self, stream: _BaseStream | None = None) -> None:
        """Nothing to be seen."""


class _BaseStream:
    """What all streams can do."""

    def __init__(self, ptr: int, device_id: int) -> None:
        self.ptr, self.device_id = ptr, device_id

    def _line(self) -> Line:
        return line(_devices.current() if self.device_id == -1 else self.device_id, self.ptr)

    def _check_device(self) -> int:
        device = _devices.current()
        if self.device_id not in (-1, device):
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with the current device "
                f"({device})"
            )
        return device

    def __enter__(self) -> _BaseStream:
        device = self._check_device()
        stack = _local.__dict__.setdefault("stack", [])
        stack.append((device, current_stream(device)))
        _streams()[device] = self
        return self

    def __exit__(self, *_: object) -> None:
        device, before = _local.stack.pop()
        _streams()[device] = before

    def use(self) -> _BaseStream:
        _streams()[self._check_device()] = self
        return self

    @property
    def done(self) -> bool:
        """Whether the host knows that all is done: here the device never gets ahead of that."""
        of = self._line()
        return DONE.get(of.key, 0) >= of.count

    def synchronize(self) -> None:
        of = self._line()
        lines = [of]
        if self.ptr == 0:
            lines += [one for one in list(LINES.values()) if one.key[0] == of.key[0] and one.blocking and one is not of]
        wait_for(lines, "Stream.synchronize")

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        merge(self._line().after, event._mark)

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr in (0, 1):
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self._line().graph = Graph._empty()

    def end_capture(self) -> Graph:
        of = self._line()
        graph, broken, of.graph, of.broken = of.graph, of.broken, None, False
        if graph is None:
            raise CUDARuntimeError(401, "cudaErrorIllegalState: the operation cannot be performed in the present state")
        if broken:
            raise CUDARuntimeError(
                901, "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture"
            )
        return graph

    def is_capturing(self) -> bool:
        return self._line().graph is not None

    @property
    def is_non_blocking(self) -> bool:
        return not self._line().blocking

    @property
    def priority(self) -> int:
        return 0

    def launch_host_func(self, callback: Callable[[Any], None], arg: Any) -> None:
        callback(arg)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BaseStream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.ptr

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ptr} (device {self.device_id})>"


class Stream(_BaseStream):
    """A stream of the current device."""

    null: Stream
    ptds: Stream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        if null or ptds:
            super().__init__(0 if null else 2, -1)
            return
        super().__init__(next(_pointers), _devices.current())
        self._line().blocking = not non_blocking
        weakref.finalize(self, end, self.device_id, self.ptr).atexit = False


Stream.null, Stream.ptds = Stream(null=True), Stream(ptds=True)


def _streams() -> dict[int, _BaseStream]:
    return _local.__dict__.setdefault("current", {})


def current_stream(device_id: int = -1) -> Any:
    """The current stream of this thread on a device."""
    return _streams().get(_devices.current() if device_id == -1 else device_id, Stream.null)
