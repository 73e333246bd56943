"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

import xpconv as xc
from bench.measure.timing import LONG_PAUSE, PAUSE
from bench.peers.torch import limited

NAMES = {
    "python": "Python",
    "numpy": "NumPy",
    "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "jax": "JAX",
    "cupy": "CuPy",
    "cuda": "CUDA",
    "cudnn": "cuDNN",
}


def available_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """Name the processor as the system does."""
    try:
        if platform.system() == "Darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, subprocess.SubprocessError):
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _blas() -> list[str]:
    pools = (pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas")
    return [" ".join(str(p[k]) for k in ("internal_api", "version", "architecture") if p.get(k)) for p in pools]


def pause() -> float:
    """Find the seconds after which no thread of the libraries that are loaded spins any more."""
    names = {pool["prefix"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "openmp"}
    return LONG_PAUSE if names - {"libgomp"} else PAUSE


def describe(threads: int, others: Mapping[str, str | None]) -> dict[str, Any]:
    """Gather machine, versions (of other libraries as given), threads and date."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": available_cores(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "threads": threads,
        "blas": _blas(),
        "versions": {
            "xpconv": xc.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            **others,
        },
    }


def machine_line(machine: dict[str, Any]) -> str:
    """Say it in one line."""
    versions = (f"{NAMES.get(name, name)} {version}" for name, version in machine["versions"].items() if version)
    cpu = f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads each"
    device = f"{machine['device']['name']}; " if "device" in machine else ""
    return f"{device}{cpu}; {', '.join(versions)}; {', '.join(machine['blas'])}; {machine['date'][:10]}"


@contextmanager
def threads_set(threads: int, torch: Any) -> Iterator[None]:
    """Give xpconv, BLAS and PyTorch the same number of threads in a block."""
    with ExitStack() as stack:
        stack.enter_context(xc.set_options(threads=threads))
        stack.enter_context(threadpoolctl.threadpool_limits(threads, "blas"))
        if torch is not None:
            stack.enter_context(limited(torch, threads))
        yield
