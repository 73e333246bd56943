"""The cluster of a training run: workers on this machine, or a scheduler that is there already."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xpconv.nn.shards import ClusterError, connected

SHARDS = 4  # where there is a cluster and nobody says how many; never the number of workers, which decides no bit


@contextmanager
def cluster(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    """Give a client of a cluster, or None; workers of this machine are stopped at the end."""
    if workers is None and scheduler is None:
        yield None
        return
    if scheduler is not None:
        client = connected(scheduler)
        try:
            yield _announced(client)
        finally:
            client.close()
        return
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise ClusterError("--workers needs the package distributed: python -m pip install 'xpconv[dask]'") from None
    options = {"threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with _left_alone():
        here = distributed.LocalCluster(n_workers=workers, **options)
    with here, distributed.Client(here, set_as_default=False) as client:
        yield _announced(client)


def _announced(client: Any) -> Any:
    count = len(client.scheduler_info(n_workers=-1)["workers"])
    print(f"cluster  {client.scheduler.address}, {count} workers, dashboard {client.dashboard_link}", flush=True)
    return client


@contextmanager
def _left_alone() -> Iterator[None]:
    """Start processes that a Ctrl-C on the terminal leaves alone: they finish the steps under way."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # only the main thread may set a handler
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
