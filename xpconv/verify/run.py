"""Go through the backends and their checks, and gather what comes of it."""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

from xpconv._tools import libraries as _libraries
from xpconv._tools import machine
from xpconv._tools.libraries import Library
from xpconv.verify.catalogue.tasks import NAMES, Task, tasks
from xpconv.verify.judge.bench import Bench
from xpconv.verify.judge.oracle import Oracle
from xpconv.verify.judge.shrink import shrink
from xpconv.verify.judge.untested import untested
from xpconv.verify.report.outcome import Backend, Outcome
from xpconv.verify.report.screen import Screen, Silence
from xpconv.verify.report.summary import failures

# JAX compiles every call and Dask builds a graph for it, so they take the core cases, and these in one dtype where that
# will do: in a quick run, and always for Dask, which computes with NumPy.
COSTLY = ("jax", "dask")


def tf32(name: str, device: str = "") -> str:
    """Say whether float32 products may be rounded to TF32 on CUDA: the library's switch, or NVIDIA's above it."""
    if name == "torch" and "cuda" in device and "NVIDIA_TF32_OVERRIDE" not in os.environ:
        allowed = importlib.import_module("torch").backends.cuda.matmul.allow_tf32
        return f"{'on' if allowed else 'off'} (torch.backends.cuda.matmul.allow_tf32 is {allowed})"
    if name != "cupy" and not (name == "torch" and "cuda" in device):
        return ""
    override = os.environ.get("NVIDIA_TF32_OVERRIDE")
    if override is None:
        return machine.tf32()
    return f"{'off' if override == '0' else 'on'} (NVIDIA_TF32_OVERRIDE={override})"


def run(libraries: Sequence[Library], names: tuple[str, ...], quick: bool, seed: int, shown: Screen) -> Outcome:
    """Run the checks of these operations on each library, one library after another."""
    outcome = Outcome(seed, quick, names, machine.versions(*libraries))
    oracle = Oracle(seed)
    benches = [Bench(library, oracle) for library in libraries]
    plans = [_plan(bench, names, quick) for bench in benches]
    start = time.perf_counter()
    shown.start(sum(len(checks) for _, checks in plans))
    for bench, (backend, checks) in zip(benches, plans, strict=True):
        found = []
        shown.begin(backend)
        with _at_once(bench.library):
            for task in checks:
                found.append(bench.check(task))
                shown.step(found[-1])
            for failed, _ in failures(found):
                outcome.shrunk[failed] = shrink(bench.check, failed)
        outcome.backends.append(backend)
        outcome.results += found
        shown.done(backend, found)
    # a check of the cases, not of a library
    outcome.untested = untested(_libraries.load("numpy"), oracle, names or NAMES, plans[0][0].core)
    outcome.seconds = time.perf_counter() - start
    return outcome


def check_library(
    backends: Sequence[str] | None = None, *, operations: Sequence[str] | None = None, quick: bool = True, seed: int = 0
) -> Outcome:
    """Check the operations against the definition, as ``xpconv verify`` does, and give the report.

    Parameters
    ----------
    backends : sequence of str, optional
        Names of libraries; those that work here, if it is not given.
    operations : sequence of str, optional
        Names of operations; all, if it is not given.
    quick : bool
        The core cases only, which have every feature once (True).
    seed : int
        Of the data (0).

    Returns
    -------
    Outcome
        A record with `passed`, `verdict` (a line), `results` and `failures`; prints, and shows as a table in Jupyter.

    Raises
    ------
    ValueError
        There is no such operation.
    RuntimeError
        A backend cannot be used here.

    Examples
    --------
    >>> from xpconv.verify import check_library
    >>> report = check_library(["numpy"], operations=["pad"])
    >>> report.passed
    True
    >>> report.verdict
    'all ... checks passed on numpy in ... s'

    """
    chosen = _libraries.found() if backends is None else [_libraries.load(name) for name in backends]
    for name in operations or ():
        if name not in NAMES:
            raise ValueError(f"check_library: {name!r} is no operation; they are {', '.join(NAMES)}")
    return run(chosen, tuple(operations or NAMES), quick, seed, Silence())


def _plan(bench: Bench, names: tuple[str, ...], quick: bool) -> tuple[Backend, list[Task]]:
    library = bench.library
    core = quick or library.name in COSTLY
    dtypes = bench.dtypes
    if library.name == "dask" or (library.name in COSTLY and quick):
        dtypes = dtypes[:1]
    backend = Backend(
        library.name, library.version, library.device_name, dtypes, core, tf32(library.name, library.device_name)
    )
    return backend, list(tasks(dtypes, names or NAMES, core))


@contextlib.contextmanager
def _at_once(library: Library) -> Iterator[None]:
    """Let Dask compute in this thread: its pool costs more than these small arrays."""
    if library.name != "dask":
        yield
        return
    dask: Any = importlib.import_module("dask")
    with dask.config.set(scheduler="synchronous"):
        yield
