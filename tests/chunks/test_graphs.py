"""Graphs of operations on chunks: small, linear, named, computed once, the same bits however they are run."""

import gc
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from xpconv import _options

pytestmark = pytest.mark.needs("dask")


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def test_chunks_are_kept_to_the_pixel() -> None:
    import dask.array as da

    x = da.zeros((3, 100, 70, 4), chunks=((2, 1), (33, 1, 66), (50, 20), (4,)))
    w = np.ones((5, 4, 4, 2))
    for padding in ("same", "same_lower", "causal"):
        assert xc.conv(x, w, padding=padding).chunks == (*x.chunks[:3], (2,))
    assert xc.max_pool(x, 3, stride=1, padding=1).chunks == x.chunks
    dz = xc.conv(x, w, padding="same")
    dx, dw, db = xc.conv_vjp(dz, x, w, padding="same")
    assert dx.chunks == x.chunks
    assert dw.numblocks == (1, 1, 1, 1)
    assert db.numblocks == (1,)
    # a window belongs to the chunk in which its middle lies
    halves = da.zeros((1, 64, 1), chunks=(1, (31, 33), 1))
    assert xc.max_pool(halves, 2).chunks == ((1,), (15, 17), (1,))
    assert xc.max_pool_vjp(xc.max_pool(halves, 2), halves, 2).chunks == halves.chunks


def seconds(side: int) -> float:
    """The least processor time of building a convolution of side × side blocks, of three; garbage is left lying."""
    import dask.array as da

    x, w = (
        da.zeros((1, side * 16, side * 16, 1), chunks=(1, 16, 16, 1), dtype="float32"),
        np.ones((3, 3, 1, 1), "float32"),
    )
    took = []
    for _ in range(3):
        started = time.thread_time()
        xc.conv(x, w, padding="same")
        took.append(time.thread_time() - started)
    return min(took)


def test_building_is_linear_in_blocks() -> None:
    """Nine times the blocks take at most twice as long for each."""
    gc.disable()
    try:
        small, large = seconds(20), seconds(60)
    finally:
        gc.enable()
    assert large < 18 * small


def test_tasks_are_few_and_say_what_they_do() -> None:
    import dask.array as da

    x, w = da.zeros((1, 160, 160, 1), chunks=(1, 16, 16, 1), dtype="float32"), np.ones((3, 3, 1, 1), "float32")
    z = xc.conv(x, w, padding="same")
    kinds = Counter(key[0].rpartition("-")[0] for key in z.__dask_graph__() if key[0].startswith("xpconv"))
    assert kinds == {"xpconv-conv": 100, "xpconv-conv-halo": 4 * 90 + 4 * 81, "xpconv-conv-array": 1}
    dw = xc.conv_vjp(z, x, w, padding="same")[1]
    kinds = Counter(key[0].rpartition("-")[0] for key in dw.__dask_graph__() if "weight" in key[0])
    assert kinds["xpconv-conv_vjp-weight-part"] == 100
    assert kinds["xpconv-conv_vjp-weight-sum"] == 13 + 2


def test_no_task_runs_twice_and_no_pixel_is_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask
    import dask.array as da

    seen: Counter[Any] = Counter()
    outputs = []
    from xpconv._chunks import local, tasks

    block, correlated = tasks.Block.__call__, local.correlate

    def counted(self: Any, *pieces: Any) -> Any:
        seen[id(self)] += 1
        return block(self, *pieces)

    def watched(call: Any, plan: Any, *arrays: Any, **how: Any) -> Any:
        outputs.append(plan.geometry.positions)
        return correlated(call, plan, *arrays, **how)

    monkeypatch.setattr(tasks.Block, "__call__", counted)
    monkeypatch.setattr(local, "correlate", watched)
    x = da.from_array(noise((2, 40, 33, 3)), chunks=(1, 11, 8, 3))
    w = noise((4, 3, 3, 5))
    z = xc.conv(x, w, stride=(2, 1), padding=2, padding_mode="circular")
    dask.compute(z, scheduler="synchronous")
    assert sum(outputs) == 2 * z.shape[1] * z.shape[2]
    assert set(seen.values()) == {1}


def everything(x: Any, dz: Any, w: np.ndarray) -> tuple[Any, ...]:
    """A forward pass, all gradients, and a pooling with its places."""
    y, places = xc.max_pool(x, 3, stride=2, return_indices=True)
    return (
        xc.conv(x, w, padding="same"),
        *xc.conv_vjp(dz, x, w, padding="same"),
        y,
        places,
        xc.avg_pool_vjp(y, x.shape, 3, stride=2),
    )


def test_schedulers_give_the_same_bits() -> None:
    import dask
    import dask.array as da

    x, dz, w = noise((2, 60, 50, 6)), noise((2, 60, 50, 6), 1), noise((3, 3, 6, 6), 2)

    def run(**options: Any) -> list[bytes]:
        lazy = [da.from_array(array, chunks=(1, 16, 13, 4)) for array in (x, dz)]
        return [array.tobytes() for array in dask.compute(*everything(*lazy, w), **options)]

    first = run(scheduler="synchronous")
    for workers in (1, 2, 7):
        assert run(scheduler="threads", num_workers=workers) == first


def test_a_task_has_one_thread_and_the_options_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask.array as da

    from xpconv._chunks import local

    seen = []
    original = local.correlate

    def watched(call: Any, *rest: Any, **how: Any) -> Any:
        seen.append((call.options.threads, call.options.max_workspace))
        return original(call, *rest, **how)

    monkeypatch.setattr(local, "correlate", watched)
    x = da.from_array(noise((1, 30, 30, 2)), chunks=(1, 10, 10, 2))
    with xc.set_options(threads=5, max_workspace=8 << 20):
        z = xc.conv(x, noise((3, 3, 2, 2)))
    before = _options.current()
    z.compute(scheduler="threads", num_workers=2)
    assert seen == [(1, 8 << 20)] * 9
    assert _options.current() == before
    assert threading.active_count() < 50


def test_it_works_as_array_expressions() -> None:
    """Dask's coming default, which a process can switch on only before it imports `dask.array`."""
    script = """
import dask, numpy as np
dask.config.set({"array.query-planning": True, "scheduler": "synchronous"})
import dask.array as da
import xpconv as xc
rng = np.random.default_rng(0)
x, w = (rng.integers(-3, 4, shape).astype("float32") for shape in ((2, 20, 21, 4), (3, 3, 4, 6)))
lazy = da.from_array(x, chunks=(1, 6, 9, 2))
z = xc.conv(lazy, da.from_array(w, chunks=2), padding="same")
np.testing.assert_array_equal((z + 1).compute(), xc.conv(x, w, padding="same") + 1)
want = xc.conv_vjp(xc.conv(x, w, padding="same"), x, w, padding="same")
for got, right in zip(xc.conv_vjp(z, lazy, w, padding="same"), want, strict=True):
    np.testing.assert_array_equal(got.compute(), right)
for got, right in zip(xc.max_pool(lazy, 2, return_indices=True), xc.max_pool(x, 2, return_indices=True), strict=True):
    np.testing.assert_array_equal(got.compute(), right)
print("done")
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "done", done.stderr[-3000:]


def test_bad_chunks_are_refused_with_the_remedy() -> None:
    import dask.array as da

    x, w = da.ones((4, 9, 9, 2), chunks=3), np.ones((3, 3, 2, 2))
    unknown = x[x[:, 0, 0, 0] > 0]
    with pytest.raises(
        ValueError, match=r"^conv: the sizes of the chunks of x are known; .*compute_chunk_sizes\(\) first"
    ):
        xc.conv(unknown, w)
    with pytest.raises(ValueError, match=r"^conv: x\.shape has an empty axis; only the batch may be empty"):
        xc.conv(x[:, :0], w)
    with pytest.raises(TypeError, match=r"^conv: the arrays of one call have one dtype"):
        xc.conv(x, w.astype("float32"))
    assert xc.conv(x[:0], w).shape == (0, 7, 7, 2)
    assert xc.conv(x[:0], w).compute(scheduler="synchronous").shape == (0, 7, 7, 2)
    ragged = da.concatenate([x[:0], x[:1], x[1:1], x[1:]])
    np.testing.assert_array_equal(xc.conv(ragged, w).compute(scheduler="synchronous"), xc.conv(np.ones(x.shape), w))


def test_an_image_that_is_not_cut_goes_with_a_weight_that_is() -> None:
    import dask.array as da

    x, w = noise((1, 9, 9, 2)), noise((3, 3, 2, 4))
    z = xc.conv(x, da.from_array(w, chunks=1))
    np.testing.assert_array_equal(z.compute(scheduler="synchronous"), xc.conv(x, w))


def test_later_changes_of_a_weight_are_not_seen() -> None:
    import dask.array as da

    x, w = noise((1, 9, 9, 2)), noise((3, 3, 2, 4))
    want = xc.conv(x, w)
    z = xc.conv(da.from_array(x, chunks=5), w)
    w[...] = 0
    np.testing.assert_array_equal(z.compute(scheduler="synchronous"), want)
