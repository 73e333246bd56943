"""What this machine and this installation are: versions, libraries, devices, BLAS, threads, options."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from pathlib import Path
from typing import Any

import array_api_compat
import array_api_extra
import numpy as np
import threadpoolctl

from xpconv import _options
from xpconv._arrays.space import cupy_allows_tf32
from xpconv._tools.libraries import PACKAGES, Library, LibraryError, install_line, installed, load
from xpconv._version import version as version

Rows = list[tuple[str, str]]
NOT_FOUND = "not found: "


def versions(*libraries: Library) -> dict[str, str]:
    """Name the versions of xpconv, Python, the core dependencies and these libraries."""
    own = {"xpconv": version(), "python": platform.python_version()}
    core = {
        "numpy": np.__version__,
        "array-api-compat": array_api_compat.__version__,
        "array-api-extra": array_api_extra.__version__,
    }
    return own | core | {library.name: library.version for library in libraries}


def tf32() -> str:
    """Say whether CuPy may round float32 matrix products to TF32."""
    if "cupy" in sys.modules:
        return "on (CUPY_TF32, or set_compute_type)" if cupy_allows_tf32() else "off (CUPY_TF32 is not above 0)"
    asked = os.environ.get("CUPY_TF32", "0")
    return "on (CUPY_TF32)" if asked.isdecimal() and int(asked) > 0 else "off (CUPY_TF32 is not above 0)"


def sections() -> dict[str, Rows]:
    """Gather everything, by heading."""
    libraries: Rows = []
    devices: Rows = []
    for name in PACKAGES:
        try:
            library = load(name)
        except LibraryError as error:
            here = name in installed()
            reason = " ".join(str(error).split()) if here else f"not installed; {install_line(name)}"
            libraries.append((name, f"{NOT_FOUND}{reason}"))
            continue
        libraries.append((name, library.version))
        devices += _devices(library)
    return {
        "versions": list(versions().items()),
        "backends": libraries,
        "devices": devices,
        "BLAS and threads": _blas(),
        "processor": _processor(),
        "options": [
            ("max_workspace", in_bytes(_options.current().max_workspace)),
            ("threads", str(_options.current().threads)),
        ],
    }


def record() -> dict[str, Any]:
    """Gather the same for a program: numbers as numbers, and null where a library cannot be used."""
    told, options = sections(), _options.current()
    backends = dict(told["backends"])
    missing = {name: text for name, text in backends.items() if text.startswith(NOT_FOUND)}
    return {
        "versions": dict(told["versions"]),
        "backends": {name: None if name in missing else version for name, version in backends.items()},
        "missing": {name: text.removeprefix(NOT_FOUND) for name, text in missing.items()},
        "devices": dict(told["devices"]),
        "blas": threadpoolctl.threadpool_info(),
        "processor": {**dict(told["processor"]), "cores": os.cpu_count(), "usable_cores": _usable_cores()},
        "options": {"max_workspace": options.max_workspace, "threads": options.threads},
    }


def in_bytes(count: int) -> str:
    """Write a number of bytes with its unit."""
    size = f"{count / 2**20:,.6g} MiB" if count < 2**30 else f"{count / 2**30:,.6g} GiB"
    return f"{size} ({count:,} bytes)"


def _devices(library: Library) -> Rows:
    rows = [(library.name, library.device_name)]
    if library.name == "cupy":
        runtime: Any = library.xp.cuda.runtime
        rows.append(("CUDA runtime", str(runtime.runtimeGetVersion())))
        rows.append(("CUDA driver", str(runtime.driverGetVersion())))
        rows.append(("CUDA devices", str(runtime.getDeviceCount())))
        rows.append(("TF32", tf32()))
    if library.name == "dpnp":
        dpctl: Any = importlib.import_module("dpctl")
        rows += [
            ("SYCL device", f"{one.filter_string} ({one.name.strip()}), driver {one.driver_version}")
            for one in dpctl.get_devices()
        ]
    return rows


def _blas() -> Rows:
    np.ones((2, 2)) @ np.ones((2, 2))  # a library that loads its BLAS late has it now
    rows = []
    for pool in threadpoolctl.threadpool_info():
        name = f"{pool['internal_api']} {pool.get('version') or ''}".strip()
        details = [f"{pool['num_threads']} threads", pool["user_api"]]
        details += [pool[key] for key in ("architecture", "threading_layer") if pool.get(key)]
        details.append(f"in {Path(pool['filepath']).parent.name}")
        rows.append((name, ", ".join(details)))
    return rows or [("none found", "threadpoolctl knows no BLAS or OpenMP library in this process")]


def _usable_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _processor() -> Rows:
    return [
        ("machine", f"{platform.machine()}, {platform.system()} {platform.release()}"),
        ("cores", f"{os.cpu_count()}, of which this process may use {_usable_cores()}"),
    ]
