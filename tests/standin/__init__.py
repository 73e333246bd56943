"""A stand-in for CuPy over NumPy, so that the whole test suite runs the CuPy path on a machine without a GPU.

`install()` puts it where `import cupy` finds it; `watch()` tells what happens on it:

    with standin.watch() as seen:
        xc.conv(x, w, padding=1)
    print(seen)  # kernels, waits, transfers, allocations, each with its line of xpconv

`PYTHONPATH=tests/standin` puts it into a program that knows nothing of it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

HERE = pathlib.Path(__file__).parent
_installed = False
_instead: dict[str, ModuleType] = {}  # what has the names of the stand-in's modules while it is hidden, or these
_there: list[str] = []  # the names that were put there by the last exchange
_last = ""  # and the module that was imported last then


@functools.cache
def real() -> dict[str, Any] | None:
    """The table of the CuPy that is installed and whether it finds a device, read in a process of its own."""
    if importlib.util.find_spec("cupy") is None:
        return None
    found: dict[str, Any] = ask("--print")
    return found


def ask(option: str) -> Any:
    """Ask the CuPy that is installed, in a process of its own, as `python -m tests.standin.table` does."""
    command = [sys.executable, "-m", "tests.standin.table", option]
    done = subprocess.run(command, cwd=HERE.parent.parent, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def is_installed() -> bool:
    """Whether the stand-in is what CuPy is in this process."""
    return _installed


def _exchange() -> None:
    """Take the modules under CuPy's names out of the way, and put those there that were taken before."""
    global _instead, _last, _there
    if next(reversed(sys.modules)) == _last:  # mostly, and there are thousands of modules to look through
        names = [name for name in _there if name in sys.modules]
    else:
        names = [n for n in sys.modules if "cupy" in n]
        names = [n for n in names if f"{n}.".startswith(("cupy.", "cupyx.", "array_api_compat.cupy."))]
    taken = {name: sys.modules.pop(name) for name in names}
    sys.modules.update(_instead)
    _instead, _there, _last = taken, list(_instead), next(reversed(sys.modules))


@contextlib.contextmanager
def hidden() -> Iterator[None]:
    """Let `import cupy` find what it would find without the stand-in: nothing, mostly."""
    if not _installed or not hasattr(sys.modules.get("cupy"), "standin"):
        yield
        return
    _exchange()
    try:
        yield
    finally:
        if not hasattr(sys.modules.get("cupy"), "standin"):
            _exchange()


def install() -> bool:
    """Put the stand-in where `import cupy` finds it, unless CuPy has a device here; say whether it is there.

    Where CuPy is installed without a device, its own signatures and loops are used instead of the file's.
    """
    global _installed
    if _installed:
        if not hasattr(sys.modules.get("cupy"), "standin"):  # hidden
            _exchange()
        return True
    found = real()
    if found is not None and found["device"]:
        return False
    for name in ("cupy", "cupyx", "cupy_backends"):
        folder = HERE / name
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        if found is not None:
            module._given_table = found["table"]  # type: ignore[attr-defined]
        sys.modules[name] = module
        spec.loader.exec_module(module)
    _installed = True
    return True


def describe() -> str:
    """Say in a line what is installed."""
    if not is_installed():
        return "CuPy itself" if real() else "none"
    source = "table.json" if real() is None else "the package installed"
    return f"CuPy's stand-in, by the signatures of CuPy {_part('_table').TABLE['version']} ({source})"


def _part(name: str) -> Any:
    return importlib.import_module(f"cupy.{name}")


@contextlib.contextmanager
def watch(*, forbid: Iterable[str] = (), collect: bool = False) -> Iterator[Any]:
    """Write down what happens on the stand-in's devices, in all threads, while the block runs.

    The record has the lists `kernels`, `waits`, `transfers`, `allocations`, `mistakes` and `notes`, the numbers `peak`,
    `moved` and `flops`, and `transferred()`. `forbid` names lists: what would go into one raises. A mistake raises,
    unless `collect`.
    """
    of, memory = _part("_watch"), _part("_memory")
    unknown = set(forbid) - {"kernels", "waits", "transfers", "allocations"}
    if unknown:
        raise ValueError(f"nothing to forbid: {sorted(unknown)}")
    seen = of.Watch(forbid=frozenset(forbid), collect=collect, start=memory.in_use())
    of.ACTIVE.append(seen)
    try:
        yield seen
    finally:
        of.ACTIVE.remove(seen)


@contextlib.contextmanager
def counting() -> Iterator[None]:
    """Let kernels count and write nothing while the block runs: large arrays then take neither time nor memory."""
    kernels = _part("_kernels")
    kernels.computes = False
    try:
        yield
    finally:
        kernels.computes = True


def settle() -> None:
    """Let all devices finish, unseen, and give all free memory back, so that what comes next starts afresh."""
    streams, memory = _part("_streams"), _part("_memory")
    for line in list(streams.LINES.values()):
        line.graph, line.broken = None, False
        streams.merge(streams.DONE, line.now())
    for device in range(_part("_devices").COUNT):
        streams.merge(streams.DONE, streams.ENDED.pop(device, {}))
        memory.DEFAULT._of(device).release(None)


@contextlib.contextmanager
def peers() -> Iterator[None]:
    """Let each device read the other's memory, as where NVLink joins them."""
    devices = _part("_devices")
    devices.peer_access = True
    try:
        yield
    finally:
        devices.peer_access = False


def kernel(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Tell what a kernel in CUDA C of that name does, on NumPy's arrays."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        _part("_kernels").EQUIVALENTS[name] = function
        return function

    return register
