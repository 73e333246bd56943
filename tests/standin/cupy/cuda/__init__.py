"""cupy.cuda: devices, streams, memory."""

from typing import Any

from .. import _devices, _memory, _streams, _table
from .._devices import Device as Device
from .._devices import runtime as runtime
from .._memory import Memory as Memory
from .._memory import MemoryHook as MemoryHook
from .._memory import MemoryPointer as MemoryPointer
from .._memory import MemoryPool as MemoryPool
from .._streams import Event as Event
from .._streams import Graph as Graph
from .._streams import Stream as Stream
from .._table import acts


@acts("cupy.cuda.is_available")
def _is_available() -> bool:
    return True


@acts("cupy.cuda.get_device_id")
def _get_device_id() -> int:
    return _devices.current()


@acts("cupy.cuda.get_cublas_handle")
def _get_cublas_handle() -> int:
    return Device().cublas_handle


@acts("cupy.cuda.get_local_runtime_version")
def _get_local_runtime_version() -> int:
    return int(runtime.runtimeGetVersion())


@acts("cupy.cuda.get_elapsed_time")
def _get_elapsed_time(start_event: Any, end_event: Any) -> float:
    return _streams.elapsed_time(start_event, end_event)


@acts("cupy.cuda.get_current_stream")
def _get_current_stream(device_id: int = -1) -> Any:
    return _streams.current_stream(device_id)


for _function in (_memory.alloc, _memory.get_allocator, _memory.set_allocator, _memory.using_allocator):
    acts(f"cupy.cuda.{_function.__name__}")(_function)
globals().update(_table.public("cupy.cuda", globals()))

from . import device as device  # noqa: E402
from . import memory as memory  # noqa: E402
from . import stream as stream  # noqa: E402
