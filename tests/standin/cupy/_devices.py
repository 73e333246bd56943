"""CUDA devices: which is current, who can read whose memory, what the runtime says of them."""

from __future__ import annotations

import threading
import types
import warnings
from typing import Any

from ._watch import mistake

COUNT = 2
MEMORY = 16 << 30  # bytes of each device, by what it says; the host's are not taken before they are written
peer_access = False  # whether a kernel may read another device's memory, as with NVLink


class PerformanceWarning(RuntimeWarning):
    """CuPy's warning of what is slow."""


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


_local = threading.local()


def current() -> int:
    """The current device of this thread."""
    return getattr(_local, "device", 0)


def make_current(device: int) -> None:
    if not 0 <= device < COUNT:
        raise CUDARuntimeError(101, "cudaErrorInvalidDevice: invalid device ordinal")
    _local.device = device


class Device:
    """A CUDA device."""

    def __init__(self, device: Any = None) -> None:
        self.id = current() if device is None else int(device)

    def __int__(self) -> int:
        return self.id

    def __enter__(self) -> Device:
        stack = _local.__dict__.setdefault("stack", [])
        stack.append(current())
        if self.id != current():
            make_current(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        make_current(_local.stack.pop())

    def use(self) -> Device:
        make_current(self.id)
        return self

    def synchronize(self) -> None:
        from . import _streams

        _streams.wait_for_device(self.id, "Device.synchronize")

    @property
    def compute_capability(self) -> str:
        return "90"

    @property
    def mem_info(self) -> tuple[int, int]:
        from ._memory import DEFAULT

        return MEMORY - DEFAULT._of(self.id).total, MEMORY

    @property
    def attributes(self) -> dict[str, int]:
        return {"L2CacheSize": 50 << 20, "MultiProcessorCount": 132, "MaxThreadsPerBlock": 1024, "WarpSize": 32}

    @property
    def pci_bus_id(self) -> str:
        return f"0000:{self.id:02x}:00.0"

    @property
    def cublas_handle(self) -> int:
        return 0x1000 + self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        return self.id < other.id if isinstance(other, Device) else NotImplemented

    def __le__(self, other: Any) -> bool:
        return self.id <= other.id if isinstance(other, Device) else NotImplemented

    def __gt__(self, other: Any) -> bool:
        return self.id > other.id if isinstance(other, Device) else NotImplemented

    def __ge__(self, other: Any) -> bool:
        return self.id >= other.id if isinstance(other, Device) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # CuPy's cannot be hashed

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"


def reach(owner: int, device: int) -> None:
    """Refuse a kernel's look at another device's memory, or warn where it can look."""
    if owner == device:
        return
    text = f"The device where the array resides ({owner}) is different from the current device ({device})."
    if not peer_access:
        raise ValueError(f"{text} Peer access is unavailable between these devices.")
    warnings.warn(f"{text} Peer access has been activated automatically.", PerformanceWarning, stacklevel=4)


def reach_unchecked(library: str, owner: int, device: int) -> None:
    """A library of CUDA takes a foreign pointer as it is."""
    if owner != device:
        mistake("device", f"{library} gets a pointer to device {owner} while device {device} is current")


def _properties(device: int) -> dict[str, Any]:
    return {
        "name": b"stand-in, on the host",
        "totalGlobalMem": MEMORY,
        "multiProcessorCount": 132,
        "l2CacheSize": 50 << 20,
        "major": 9,
        "minor": 0,
        "device": device,
    }


def _synchronize() -> None:
    Device().synchronize()


runtime = types.SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    is_hip=False,
    streamDefault=0,
    streamNonBlocking=1,
    streamLegacy=1,
    streamPerThread=2,
    streamCaptureModeGlobal=0,
    streamCaptureModeThreadLocal=1,
    streamCaptureModeRelaxed=2,
    errorMemoryAllocation=2,
    getDevice=current,
    setDevice=make_current,
    getDeviceCount=lambda: COUNT,
    getDeviceProperties=_properties,
    deviceSynchronize=_synchronize,
    deviceCanAccessPeer=lambda device, peer: int(peer_access and device != peer),
    memGetInfo=lambda: Device().mem_info,
    runtimeGetVersion=lambda: 13000,
    driverGetVersion=lambda: 13000,
)
