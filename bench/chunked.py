"""One run over an image in a store, in a process of its own: seconds, tasks and peak memory, as JSON on its output.

``python -m bench.chunked FOLDER CASE WAY SCHEDULER`` reads FOLDER/x.zarr, which `bench.commands.chunks` has made.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import xpconv as xc
from xpconv import nn

CASES = ("conv 3x3", "conv 31x31", "conv_vjp 3x3", "max_pool 3/2", "four layers")
OWN = ("strips", "blocks", "reload")
WAYS = ("numpy", *OWN, "map_overlap", "dask_image")
SCHEDULERS = ("threads", "cluster")
WORKERS, MEMORY = 2, "2GB"

Array = Any


def serves(case: str, way: str, scheduler: str) -> bool:
    """Say whether a way can do a case there."""
    if way == "numpy" and scheduler == "cluster":
        return False
    if way == "map_overlap":  # no strides and no gradients, without halos cut by hand
        return case.startswith("conv ")
    return way != "dask_image" or case == "conv 3x3"  # of 31x31 it takes minutes a chunk


def kernel(case: str, channels: int) -> np.ndarray[Any, Any]:
    """Draw a weight."""
    size = 31 if "31" in case else 3
    return np.random.default_rng(0).standard_normal((size, size, channels, channels)).astype("float32") / size


def network() -> tuple[nn.Sequential, Any]:
    """Make a chain of four layers for pictures in colour."""
    layers = (
        nn.Conv(32, 7, stride=2, padding="same"),
        nn.ReLU(),
        nn.MaxPool(3, 2, padding=1),
        nn.Conv(8, 3, padding=1),
    )
    model = nn.Sequential(layers)
    return model, model.init(np.random.default_rng(0), (64, 64, 3))


def at_once(case: str, x: np.ndarray[Any, Any]) -> Sequence[Array]:
    """Call NumPy once."""
    if case == "four layers":
        model, parameters = network()
        return [model.predict(parameters, x)]
    if case == "max_pool 3/2":
        return [xc.max_pool(x, 3, stride=2, padding=1)]
    w = kernel(case, x.shape[-1])
    return xc.conv_vjp(x, x, w, padding="same") if "vjp" in case else [xc.conv(x, w, padding="same")]


def in_chunks(case: str, stored: Any, way: str) -> Sequence[Array]:
    """Build the graph of one way."""
    da: Any = importlib.import_module("dask.array")
    x = stored if way == "reload" else da.from_zarr(stored)
    if way in OWN:
        own: Any = importlib.import_module("xpconv.dask")
        if case == "four layers":
            return [own.predict(*network(), x, halo=way)]
        if case == "max_pool 3/2":
            return [own.max_pool(x, 3, stride=2, padding=1, halo=way)]
        w = kernel(case, x.shape[-1])
        if "vjp" in case:
            found: Sequence[Array] = own.conv_vjp(x, x, w, padding="same", halo=way)
            return found
        return [own.conv(x, w, padding="same", halo=way)]
    w = kernel(case, 1)
    if way == "dask_image":
        filters: Any = importlib.import_module("dask_image.ndfilters")
        return [filters.correlate(x, w[None, :, :, 0], mode="constant")]
    depth = {1: w.shape[0] // 2, 2: w.shape[1] // 2}
    options = {"boundary": 0, "trim": False, "dtype": x.dtype, "meta": x._meta, "chunks": x.chunks}
    return [da.map_overlap(Convolved(w), x, depth=depth, **options)]


class Convolved:
    """xpconv's convolution of one block with its halo, on one thread."""

    def __init__(self, w: np.ndarray[Any, Any]) -> None:
        self.w = w

    def __call__(self, block: Array) -> Array:
        """Convolve."""
        with xc.set_options(threads=1):
            return xc.conv(block, self.w)


@contextmanager
def scheduled(scheduler: str) -> Iterator[Callable[[], int]]:
    """Run on threads of this process, or on workers of a cluster; give what asks for the peak in bytes."""
    if scheduler == "threads":
        dask: Any = importlib.import_module("dask")
        with dask.config.set(scheduler="threads", num_workers=WORKERS):
            yield peak
        return
    distributed: Any = importlib.import_module("distributed")
    options = {
        "n_workers": WORKERS,
        "threads_per_worker": 1,
        "memory_limit": MEMORY,
        "dashboard_address": "127.0.0.1:0",
    }
    with distributed.LocalCluster(host="127.0.0.1", **options) as cluster, distributed.Client(cluster) as client:
        yield lambda: max(client.run(peak).values())


def peak() -> int:
    """Ask for the most memory that this process had at once."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(argv: Sequence[str]) -> int:
    """Run one way of one case."""
    folder, case, way, scheduler = Path(argv[0]), *argv[1:]
    zarr: Any = importlib.import_module("zarr")
    stored = zarr.open_array(folder / "x.zarr", mode="r")
    target = folder / f"{os.getpid()}.zarr"
    started = time.perf_counter()
    if way == "numpy":
        results = at_once(case, stored[...])
        zarr.create_array(target, data=results[0], chunks=stored.chunks[:3] + results[0].shape[3:], compressors=None)
        print(json.dumps({"seconds": time.perf_counter() - started, "tasks": 0, "peak": peak()}))
        return 0
    da: Any = importlib.import_module("dask.array")
    dask: Any = importlib.import_module("dask")
    importlib.import_module("dask_image.ndfilters" if way == "dask_image" else "xpconv.dask")
    with scheduled(scheduler) as ask:
        started = time.perf_counter()
        first, *more = in_chunks(case, stored, way)
        built = time.perf_counter() - started
        out = zarr.create_array(target, shape=first.shape, dtype=first.dtype, chunks=first.chunksize, compressors=None)
        dask.compute(da.store(first, out, lock=False, compute=False), *more)
        tasks = len(dask.base.collections_to_expr([first, *more]).__dask_graph__())
        print(json.dumps({"seconds": time.perf_counter() - started, "built": built, "tasks": tasks, "peak": ask()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
