"""On a CUDA device, or on CuPy's stand-in: an operation does not wait for the device, and keeps to its memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import backends


@pytest.fixture(scope="module")
def cp() -> Any:
    """CuPy on a CUDA device."""
    return backends.load("cupy").library.xp


def arrays(cp: Any) -> dict[str, Any]:
    """Arrays on the device, of a layer that is cut into several tiles."""
    rng = np.random.default_rng(0)
    shapes = {"x": (4, 32, 30, 16), "w": (3, 3, 16, 16), "b": (16,), "dz": (4, 32, 30, 16), "dy": (4, 16, 15, 16)}
    return {name: cp.asarray(rng.standard_normal(shape, np.float32)) for name, shape in shapes.items()}


OPERATIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "conv": lambda a: xc.conv(a["x"], a["w"], a["b"], padding=1),
    "conv, strided": lambda a: xc.conv(a["x"], a["w"], a["b"], padding=1, stride=2),
    "conv, reflected": lambda a: xc.conv(a["x"], a["w"], padding=1, padding_mode="reflect"),
    "conv_vjp": lambda a: xc.conv_vjp(a["dz"], a["x"], a["w"], padding=1),
    "winograd": lambda a: xc.conv(a["x"], a["w"], padding=1, algorithm="winograd"),
    "fft": lambda a: xc.conv(a["x"], a["w"], padding=1, algorithm="fft"),
    "conv_transpose": lambda a: xc.conv_transpose(a["x"], a["w"], stride=2),
    "max_pool": lambda a: xc.max_pool(a["x"], 2),
    "max_pool_vjp": lambda a: xc.max_pool_vjp(a["dy"], a["x"], 2),
    "avg_pool": lambda a: xc.avg_pool(a["x"], 3, stride=2, padding=1),
    "avg_pool_vjp": lambda a: xc.avg_pool_vjp(a["dy"], a["x"].shape, 2),
    "pad": lambda a: xc.pad(a["x"], 2, mode="circular"),
    "unfold": lambda a: xc.unfold(a["x"], 3),
    "conv_single_step": lambda a: xc.conv_single_step(a["w"][..., 0], a["w"][..., 1], a["b"][:1].reshape(1, 1, 1)),
}


BUSY = """
extern "C" __global__ void busy(long long cycles) {
    long long start = clock64();
    while (clock64() - start < cycles) {}
}
"""
CYCLES = 1_000_000_000  # half a second or more of a GPU's clock; on the stand-in no time at all


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_waits_for_the_device(cp: Any, name: str) -> None:
    """A kernel that takes long is in the stream before the operation, and has not ended when the operation returns.

    (A stream that is captured would refuse cuBLAS too, which CuPy does not let be captured.)
    """
    given = arrays(cp)
    busy = cp.RawKernel(BUSY, "busy")
    OPERATIONS[name](given)
    cp.cuda.Device().synchronize()
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        OPERATIONS[name](given)  # the stream's own share of the memory pool, plans and kernels
        busy((1,), (1,), (np.int64(0),))
        stream.synchronize()
        busy((1,), (1,), (np.int64(CYCLES),))
        ended = stream.record()
        kept = OPERATIONS[name](given)
        waited = ended.done
        stream.synchronize()
    assert kept is not None
    assert not waited, "the operation waited for the device"


@pytest.mark.parametrize("name", OPERATIONS)
def test_work_memory_stays_below_the_limit(cp: Any, name: str) -> None:
    """Bytes that CuPy's pool hands out at the peak of a call, less the results."""
    given = arrays(cp)
    OPERATIONS[name](given)
    peak, current = 0, 0

    class Count(cp.cuda.MemoryHook):
        name = "count"

        def malloc_postprocess(self, **details: Any) -> None:
            nonlocal peak, current
            current += details["mem_size"]
            peak = max(peak, current)

        def free_postprocess(self, **details: Any) -> None:
            nonlocal current
            current -= details["mem_size"]

    with xc.set_options(max_workspace=8 << 20), Count():
        result = OPERATIONS[name](given)
    results = result if isinstance(result, tuple) else (result,)
    assert peak - sum(r.nbytes for r in results) <= 8 << 20
