"""Find array libraries by name and move data between them, for the tools (`train`, `verify`) and the tests.

The operations never need this module: they take the library from the arrays they are given.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import array_api_compat
import numpy as np

from xpconv._arrays.types import Array, Device, HostArray, Namespace
from xpconv._shapes.keywords import near

MODULES = {
    "numpy": "array_api_compat.numpy",
    "cupy": "array_api_compat.cupy",
    "torch": "array_api_compat.torch",
    "jax": "jax.numpy",
    "strict": "array_api_strict",
    "dask": "array_api_compat.dask.array",
    "dpnp": "dpnp",
}
PACKAGES = {
    "numpy": "numpy",
    "cupy": "cupy",
    "torch": "torch",
    "jax": "jax",
    "strict": "array_api_strict",
    "dask": "dask",
    "dpnp": "dpnp",
}

# what pip is asked for, where that is not the package's own name
DISTRIBUTIONS = {"cupy": "xpconv[cuda13]", "strict": "array-api-strict", "dask": "dask[array]", "dpnp": "xpconv[sycl]"}


class LibraryError(RuntimeError):
    """A library was asked for by name and cannot be used here; the message is one line and says why."""


@dataclass(frozen=True)
class Library:
    """One array library on one of its devices."""

    name: str
    xp: Namespace
    device: Device | None = None

    def asarray(self, data: object, dtype: str | None = None) -> Array:
        """Copy a NumPy array (or anything NumPy takes) to this library and device, dtype kept or (bfloat16) rounded."""
        data = np.array(data)  # a copy: torch.asarray would share the memory
        if dtype == "bfloat16":
            return self.xp.astype(self.asarray(data), self._bfloat16())
        if self.name == "numpy":
            return data
        if self.name == "dask":
            return self.xp.asarray(data)
        return self.xp.asarray(data, device=self.device)

    def _bfloat16(self) -> Any:
        if hasattr(self.xp, "bfloat16"):
            return self.xp.bfloat16
        return np.dtype(importlib.import_module("ml_dtypes").bfloat16)

    def to_numpy(self, array: Array) -> HostArray:
        """Copy an array of this library to the host as a NumPy array, bfloat16 as float32."""
        if "bfloat16" in str(array.dtype):
            array = self.xp.astype(array, self.xp.float32)
        if self.name == "cupy":
            return np.asarray(array.get())
        if self.name == "dpnp":
            return np.asarray(array.asnumpy())
        if self.name == "torch":
            return np.asarray(array.detach().cpu().numpy())
        if self.name == "strict":
            array = array.to_device(self.xp.Device("CPU_DEVICE"))
        return np.array(array)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Trace and compile a pure function where the library can (JAX); elsewhere give it back as it is."""
        if self.name != "jax":
            return function
        compiled: Callable[..., Any] = importlib.import_module("jax").jit(function)
        return compiled

    @property
    def device_name(self) -> str:
        """The device that new arrays are put on, in words."""
        device = array_api_compat.device(self.asarray(np.zeros(1, dtype="float32")))
        if self.name == "cupy":
            name = self.xp.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
            return f"cuda:{device.id} ({name})"
        if self.name == "dpnp":
            found = device.sycl_device
            return f"{found.filter_string} ({found.name.strip()})"
        return str(device)

    @property
    def version(self) -> str:
        """The library's own version."""
        module = importlib.import_module(PACKAGES[self.name])
        return str(getattr(module, "__version__", "unknown"))


def installed() -> list[str]:
    """Names of the libraries that are installed, whether or not a device is there; nothing is imported."""
    return [name for name, package in PACKAGES.items() if importlib.util.find_spec(package)]


def install_line(name: str) -> str:
    """Say how to install a library."""
    wanted = DISTRIBUTIONS.get(name, PACKAGES[name])
    hint = ", or xpconv[cuda12] for a driver of CUDA 12" if name == "cupy" else ""
    return f"python -m pip install {repr(wanted) if '[' in wanted else wanted}{hint}"


def unknown_backend(name: str, known: Iterable[str]) -> str:
    """Say that there is no such backend, and which was meant or which there are."""
    close = near(name, known)
    hint = f"; did you mean {close}?" if close else ""
    return f"unknown backend {name!r}; choose one of {', '.join(known)}{hint}"


def load(name: str, device: str | None = None) -> Library:
    """Import the library `name` and give it with its device; LibraryError says in one line why not."""
    if name not in MODULES:
        raise LibraryError(unknown_backend(name, MODULES))
    try:
        xp = importlib.import_module(MODULES[name])
    except ImportError as error:
        if name not in installed():
            raise LibraryError(f"backend {name!r} is not installed: {install_line(name)}") from error
        raise LibraryError(f"backend {name!r} cannot be imported: {error}") from error
    if name == "cupy" and not xp.cuda.is_available():
        raise LibraryError("backend 'cupy' is installed, but no CUDA device is available")
    if name == "dpnp" and not importlib.import_module("dpctl").get_num_devices():
        raise LibraryError(f"backend 'dpnp' is installed, but the SYCL runtime finds no device{_processor_driver()}")
    if device is None:
        return Library(name, xp)
    if name == "strict":
        return Library(name, xp, xp.Device(device))
    return Library(name, xp, device)


def _processor_driver() -> str:
    """Say how the runtime finds the processor: the file of its wheel that names the driver names another folder."""
    driver = Path(sys.prefix, "lib", "libintelocl.so")
    return f"; with OCL_ICD_FILENAMES={driver} it finds this processor" if driver.exists() else ""


def of(array: Array) -> Library:
    """Find the library and the device of an array; TypeError if it is no array of a known library."""
    xp = array_api_compat.array_namespace(array)
    for name, module in MODULES.items():
        if xp.__name__ == module:
            return Library(name, xp, array_api_compat.device(array))
    raise TypeError(f"arrays of {xp.__name__} are not known here; known libraries: {', '.join(MODULES)}")


def found() -> list[Library]:
    """Load every library that works on this machine, NumPy first."""
    libraries = []
    for name in installed():
        try:
            libraries.append(load(name))
        except LibraryError:
            continue
    return libraries
