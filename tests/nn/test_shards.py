"""Training in shards: the bits are those of the shards, on any number of workers, and after one is lost."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xpconv._tools.libraries import load
from xpconv.data import load_digits
from xpconv.nn import course_network
from xpconv.nn.shards import ClusterError, Problem, State, connected, gradient, rows, update
from xpconv.nn.training import Dataset, Result, Settings, TrainingError, fit

NUMPY = load("numpy")
SETTINGS = Settings(epochs=2, batch_size=20, seed=3)


def digits(count: int = 90) -> Dataset:
    values, labels = load_digits()
    images, labels = values[:count, :, :, None].astype("float32") / 16, labels[:count].astype("int32")
    return Dataset(images[:-20], labels[:-20], images[-20:], labels[-20:])


SMALL = digits()


def same(a: Result, b: Result) -> bool:
    equal = all(a.params[name].tobytes() == b.params[name].tobytes() for name in b.params)
    return equal and a.first_losses == b.first_losses and a.accuracy == b.accuracy


def test_one_shard_is_the_plain_run() -> None:
    plain = fit(course_network(10), SMALL, NUMPY, SETTINGS)
    model, optimizer = course_network(10), SETTINGS.make_optimizer()
    params = model.init(SETTINGS.generator("weights"), SMALL.images.shape[1:])
    state = State(params, optimizer.init(params))
    problem = Problem(model, optimizer, NUMPY, SMALL.images, SMALL.labels)
    order = SETTINGS.generator("order")
    for _ in range(SETTINGS.epochs):
        indices = order.permutation(len(SMALL.images))
        for start in range(0, len(indices), 20):
            batch = indices[start : start + 20]
            state = update(problem, state, gradient(problem, state, batch, len(batch)))
    assert all(state.params[name].tobytes() == value.tobytes() for name, value in plain.params.items())


def test_the_gradient_of_shards_is_that_of_the_batch() -> None:
    model, optimizer = course_network(10), SETTINGS.make_optimizer()
    params = {k: v.astype("float64") for k, v in model.init(SETTINGS.generator("weights"), (8, 8, 1)).items()}
    problem = Problem(model, optimizer, NUMPY, SMALL.images.astype("float64"), SMALL.labels)
    state, batch = State(params, optimizer.init(params)), np.arange(23)
    whole = gradient(problem, state, batch, 23)
    parts = [gradient(problem, state, index, 23) for index in np.array_split(batch, 30)]  # some are empty
    assert sum(part.hits for part in parts) == whole.hits
    assert sum(part.loss for part in parts) == pytest.approx(whole.loss)
    for name, value in whole.grads.items():
        np.testing.assert_allclose(sum(part.grads[name] for part in parts), value, rtol=1e-9, atol=1e-12)


def test_a_run_goes_on_from_its_checkpoint_with_the_same_bits(tmp_path: Path) -> None:
    whole = fit(course_network(10), SMALL, NUMPY, Settings(epochs=3, batch_size=20), shards=3)
    for name in ("adam.npz", "adam.safetensors"):
        file = tmp_path / name
        fit(course_network(10), SMALL, NUMPY, Settings(epochs=1, batch_size=20), shards=3, checkpoint=file)
        again = fit(
            course_network(10), SMALL, NUMPY, Settings(epochs=3, batch_size=20), shards=3, checkpoint=file, resume=True
        )
        assert same(again, whole)
        assert [epoch.epoch for epoch in again.epochs] == [1, 2, 3]
    with pytest.raises(TrainingError, match="is the checkpoint of another run"):
        fit(course_network(10), SMALL, NUMPY, Settings(epochs=3, batch_size=10), checkpoint=file, resume=True)


def test_rows_of_a_store_are_read_in_its_order() -> None:
    class Store:
        def __init__(self, array: np.ndarray) -> None:
            self.array, self.asked = array, []

        def __getitem__(self, index: Any) -> np.ndarray:
            self.asked.append(list(index))
            return self.array[index]

    store, index = Store(np.arange(10) * 10), np.array([7, 2, 2, 9])
    np.testing.assert_array_equal(rows(store, index), [70, 20, 20, 90])
    assert store.asked == [[2, 2, 7, 9]]


@pytest.mark.needs("distributed")
def test_a_scheduler_that_is_not_there_is_told_in_one_line() -> None:
    with pytest.raises(ClusterError, match=r"^no scheduler answers at tcp://127\.0\.0\.1:9: ") as error:
        connected("tcp://127.0.0.1:9", timeout=0.5)
    assert "\n" not in str(error.value)


@contextmanager
def workers(count: int) -> Iterator[Any]:
    import distributed

    options = {"threads_per_worker": 1, "memory_limit": "1GB", "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    cluster = distributed.LocalCluster(n_workers=count, **options)
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


@pytest.mark.slow
@pytest.mark.needs("dask", "distributed")
def test_the_number_of_workers_changes_no_bit(tmp_path: Path) -> None:
    here = fit(course_network(10), SMALL, NUMPY, SETTINGS, shards=4)
    for count in (1, 2, 3):
        with workers(count) as client:
            there = fit(course_network(10), SMALL, NUMPY, SETTINGS, client=client, shards=4)
        assert same(there, here)
        assert not there.interrupted


@pytest.mark.slow
@pytest.mark.needs("dask", "distributed")
def test_a_worker_that_is_killed_in_mid_run_changes_no_bit() -> None:
    settings = Settings(epochs=12, batch_size=20, seed=3)
    here = fit(course_network(10), SMALL, NUMPY, settings, shards=4)

    class Kills:
        """Progress that kills a worker in the third epoch."""

        def batch(self, epoch: int, images: int, *_: Any) -> None:
            if (epoch, images) == (3, 40):
                os.kill(victim, signal.SIGKILL)

        def epoch(self, record: Any) -> None: ...

    for count in (1, 2):
        with workers(count) as client:
            victim = next(iter(client.run(os.getpid).values()))
            there = fit(course_network(10), SMALL, NUMPY, settings, client=client, shards=4, progress=Kills())
            client.wait_for_workers(count, timeout=60)
            assert victim not in client.run(os.getpid).values()
        assert not there.trouble
        assert same(there, here)


@pytest.mark.slow
@pytest.mark.needs("dask", "distributed")
def test_a_cluster_that_is_lost_leaves_what_was_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpconv.nn.shards.PATIENCE", 2.0)
    began = time.monotonic()

    class Loses:
        """Progress that retires every worker after the first epoch."""

        def batch(self, *_: Any) -> None: ...

        def epoch(self, record: Any) -> None:
            if record.epoch == 1:
                client.cluster.scale(0)
                while client.scheduler_info(n_workers=-1)["workers"]:
                    time.sleep(0.1)

    with workers(1) as client:
        settings = Settings(epochs=500, batch_size=20, seed=3)
        result = fit(course_network(10), SMALL, NUMPY, settings, client=client, shards=2, progress=Loses())
    assert result.interrupted
    assert "cluster" in result.trouble
    assert len(result.epochs) == 1
    only = fit(course_network(10), SMALL, NUMPY, Settings(epochs=1, batch_size=20, seed=3), shards=2)
    assert all(result.params[name].tobytes() == value.tobytes() for name, value in only.params.items())
    assert time.monotonic() - began < 120
