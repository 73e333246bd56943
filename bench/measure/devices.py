"""Where the GPU benchmark runs: a CUDA device, or the host in its place to see that the benchmark itself works."""

from __future__ import annotations

import importlib
import itertools
import warnings
from functools import cache
from typing import Any, Protocol

import numpy as np

from bench.layers import Array, Case, Data, arrays
from bench.measure.clocks import Clock, EventClock, HostClock, Pace, per_call

FLOAT32, TF32, FLOAT16 = "float32", "TF32", "float16"
MODES = (FLOAT32, TF32, FLOAT16)
PRECISION = {FLOAT32: "highest", TF32: "tensorfloat32", FLOAT16: "default"}  # JAX's names


class Device(Protocol):
    """What the benchmark asks of a device."""

    xp: Any
    torch: Any
    jax: Any
    clock: Clock
    pace: Pace
    torch_device: str
    cache_bytes: int  # of the largest cache
    sizes: tuple[int, int]  # bytes of the copy and side of the matrices that the device's rates are measured with

    def describe(self) -> dict[str, Any]:
        """Name the device and its software."""
        ...

    def synchronize(self) -> None:
        """Wait for all work."""
        ...

    def set_mode(self, mode: str) -> None:
        """Allow or forbid TF32 in every library."""
        ...

    def release(self) -> None:
        """Give back memory that pools hold."""
        ...


class Host:
    """NumPy and PyTorch on the CPU."""

    torch_device = "cpu"
    cache_bytes = 1 << 14  # so that tiny cases rotate
    sizes = (1 << 20, 128)

    def __init__(self, torch: Any, jax: Any, pace: Pace) -> None:
        self.xp: Any = np
        self.torch, self.jax, self.pace = torch, jax, pace
        self.clock: Clock = HostClock()

    def describe(self) -> dict[str, Any]:
        """Say that there is no device."""
        return {"name": "no device: the CPU in its place", "versions": {}}

    def synchronize(self) -> None:
        """Wait for nothing: work is done when a call returns."""

    def set_mode(self, mode: str) -> None:
        """Change nothing: there is no TF32."""

    def release(self) -> None:
        """Hold nothing."""


class Cuda:
    """CuPy and PyTorch on the current CUDA device, JAX if it has the GPU too."""

    torch_device = "cuda"
    sizes = (1 << 30, 8192)

    def __init__(self, cupy: Any, torch: Any, jax: Any, pace: Pace) -> None:
        self.xp, self.pace = cupy, pace
        self.clock: Clock = EventClock(cupy)
        self.torch = torch if torch is not None and torch.cuda.is_available() else None
        self.jax = jax if jax is not None and _has_gpu(jax) else None
        self.cache_bytes = int(cupy.cuda.Device().attributes.get("L2CacheSize", 64 << 20))
        self._linalg = importlib.import_module("cupy._core._routines_linalg")

    def describe(self) -> dict[str, Any]:
        """Name the device and its software."""
        runtime = self.xp.cuda.runtime
        properties = runtime.getDeviceProperties(self.xp.cuda.Device().id)
        name = properties["name"]
        cudnn = None if self.torch is None else str(self.torch.backends.cudnn.version())
        return {
            "name": name.decode() if isinstance(name, bytes) else str(name),
            "memory": int(properties["totalGlobalMem"]),
            "cache": self.cache_bytes,
            "driver": runtime.driverGetVersion(),
            "versions": {"cupy": self.xp.__version__, "cuda": str(runtime.runtimeGetVersion()), "cudnn": cudnn},
        }

    def synchronize(self) -> None:
        """Wait for all work."""
        self.xp.cuda.runtime.deviceSynchronize()

    def set_mode(self, mode: str) -> None:
        """Allow or forbid TF32 in CuPy, PyTorch and JAX."""
        allowed = mode == TF32
        # CuPy reads CUPY_TF32 once; this is what it sets from it
        kind = self._linalg.COMPUTE_TYPE_TF32 if allowed else self._linalg.COMPUTE_TYPE_DEFAULT
        self._linalg.set_compute_type(np.dtype(np.float32), kind)
        if self.torch is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # newer versions have other names for these
                self.torch.backends.cuda.matmul.allow_tf32 = allowed
                self.torch.backends.cudnn.allow_tf32 = allowed
            self.torch.backends.cudnn.benchmark = True  # its fastest algorithms
        if self.jax is not None:
            self.jax.config.update("jax_default_matmul_precision", PRECISION[mode])

    def release(self) -> None:
        """Give back memory that pools hold."""
        self.synchronize()
        self.xp.get_default_memory_pool().free_all_blocks()
        if self.torch is not None:
            self.torch.cuda.empty_cache()


class StandIn(Cuda):
    """CuPy's stand-in, on sizes of which a host can make the numbers: what runs is what runs on a GPU."""

    sizes = Host.sizes

    def __init__(self, cupy: Any, pace: Pace) -> None:
        super().__init__(cupy, None, None, pace)
        self.cache_bytes = Host.cache_bytes


def _has_gpu(jax: Any) -> bool:
    try:
        return any(device.platform in ("gpu", "cuda") for device in jax.devices())
    except RuntimeError:  # no platform works
        return False


def find_stand_in() -> Any:
    """Find CuPy's stand-in, where `import cupy` gives it; None elsewhere."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        return None
    return cupy if getattr(cupy, "standin", False) else None


def find_cupy() -> tuple[Any, str]:
    """Find CuPy, or None with the reason in one line."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        return None, f"CuPy cannot be imported: {' '.join(str(error).split())}"
    if not cupy.cuda.is_available():
        return None, "CuPy is installed, but there is no CUDA device"
    return cupy, ""


def upload(device: Device, array: Array, dtype: str) -> Any:
    """Copy a NumPy array to the device."""
    return device.xp.asarray(array).astype(dtype)


@cache
def _numbers(seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(1_000_003, np.float32)


def fill(shape: tuple[int, ...], seed: int = 1) -> Array:
    """Repeat a million normal numbers, which is quick; the same on every machine."""
    return np.resize(_numbers(seed), shape)


def draw(case: Case) -> Data:
    """Make a case's arrays on the host, quickly."""
    seeds = itertools.count(1)
    return arrays(case, lambda shape: fill(shape, next(seeds)))


def dtype_rates(device: Device, modes: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Measure the device's rates in each mode."""
    found = {}
    for mode in modes:
        device.set_mode(mode)
        found[mode] = rates(device, FLOAT16 if mode == FLOAT16 else FLOAT32)
        device.release()
    return found


def rates(device: Device, dtype: str) -> dict[str, float]:
    """Measure bytes per second of a copy, read and written, and operations per second of a matrix product."""
    xp, (size, side) = device.xp, device.sizes
    source = upload(device, fill((size // 4,)), "float32")
    target = xp.empty_like(source)
    a = upload(device, fill((side, side)), dtype)
    out = xp.empty_like(a)

    def copy() -> None:
        xp.copyto(target, source)

    def multiply() -> None:
        xp.matmul(a, a, out=out)

    found = {}
    for name, call, amount in (("bytes", copy, 2.0 * source.nbytes), ("flops", multiply, 2.0 * side**3)):
        per_call(device.clock, [call], 2)
        found[name] = amount / min(per_call(device.clock, [call], 5) for _ in range(3))
    return found
