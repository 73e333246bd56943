"""Chunks on a cluster of this machine: the same bits for any number of workers, and after one is killed."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.chunks.test_graphs import everything, noise

pytestmark = [pytest.mark.needs("dask", "distributed", "zarr"), pytest.mark.slow]


@contextmanager
def workers(count: int, threads: int = 1) -> Iterator[Any]:
    import distributed

    options = {"threads_per_worker": threads, "memory_limit": "1GB", "dashboard_address": "127.0.0.1:0"}
    cluster = distributed.LocalCluster(n_workers=count, host="127.0.0.1", **options)
    with cluster, distributed.Client(cluster) as client:
        yield client


def lazy() -> tuple[Any, ...]:
    import dask.array as da

    x, dz, w = noise((2, 60, 50, 6)), noise((2, 60, 50, 6), 1), noise((3, 3, 6, 6), 2)
    return everything(*(da.from_array(array, chunks=(1, 16, 13, 4)) for array in (x, dz)), w)


def test_workers_give_the_same_bits() -> None:
    import dask

    here = [array.tobytes() for array in dask.compute(*lazy(), scheduler="synchronous")]
    for count, threads in ((1, 2), (2, 1)):
        with workers(count, threads):
            assert [array.tobytes() for array in dask.compute(*lazy())] == here


def test_a_worker_that_is_killed_changes_no_bit() -> None:
    import dask.array as da

    x, w = noise((1, 500, 500, 8)), noise((7, 7, 8, 8), 1)
    z = xc.conv(da.from_array(x, chunks=(1, 50, 50, 8)), w, padding="same", algorithm="direct")
    want = z.compute(scheduler="synchronous")
    with workers(2) as client:
        victim = next(iter(client.run(os.getpid).values()))
        found = client.compute(z)
        killer = threading.Timer(0.5, os.kill, (victim, signal.SIGKILL))
        killer.start()
        got = found.result(timeout=240)
        killer.join()
        client.wait_for_workers(2, timeout=60)
        assert victim not in client.run(os.getpid).values()
    assert got.tobytes() == want.tobytes()


def test_workers_read_a_store_and_write_one(tmp_path: Path) -> None:
    import zarr

    import xpconv.dask as module

    x, w = np.random.default_rng(0).integers(-3, 4, (1, 96, 80, 1)).astype("float32"), np.ones((5, 5, 1, 1), "float32")
    source = zarr.create_array(tmp_path / "x.zarr", data=x, chunks=(1, 32, 32, 1))
    with workers(2):
        module.conv(source, w, padding="same").to_zarr(str(tmp_path / "z.zarr"))
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "z.zarr")[...], xc.conv(x, w, padding="same"))
