"""The memory pool, its hooks, streams and events, devices, plans: what the stand-in says of them is what CuPy says."""

import gc
from typing import Any

import numpy as np
import pytest

from tests import standin
from xpconv._arrays import space


@pytest.fixture
def pool(cp: Any, frozen: None) -> Any:
    found = cp.get_default_memory_pool()
    space._KEPT.clear()
    cp.fft.config.get_plan_cache().clear()  # whose plans have work areas
    gc.collect()
    standin.settle()
    return found


def test_blocks_of_512_bytes(cp: Any, pool: Any) -> None:
    before = pool.used_bytes()
    x = cp.ones(129, np.float32)
    assert pool.used_bytes() - before == 1024
    y = x[3:]
    del x
    assert pool.used_bytes() - before == 1024  # y looks at it
    del y
    assert pool.used_bytes() == before


def test_memory_is_used_again_and_split_and_joined(cp: Any, pool: Any) -> None:
    pool.free_all_blocks()
    total = pool.total_bytes()
    x = cp.empty(4096, np.uint8)
    assert pool.total_bytes() == total + 4096
    del x
    with standin.watch() as seen:
        parts = [cp.empty(1024, np.uint8) for _ in range(4)]
    assert [one.grown for one in seen.allocations] == [False] * 4
    assert pool.total_bytes() == total + 4096
    del parts
    assert pool.free_bytes() >= 4096
    with standin.watch() as seen:
        whole = cp.empty(4096, np.uint8)
    assert [one.grown for one in seen.allocations] == [False]
    del whole
    pool.free_all_blocks()
    assert pool.total_bytes() == total


def test_each_stream_and_device_has_blocks_of_its_own(cp: Any, pool: Any) -> None:
    del_me = cp.empty(2048, np.uint8)
    del del_me
    with cp.cuda.Device(1):
        pool.free_all_blocks()  # of tests before this one
    with standin.watch() as seen:
        with cp.cuda.Stream(non_blocking=True):
            here = cp.empty(2048, np.uint8)
        with cp.cuda.Device(1):
            there = cp.empty(2048, np.uint8)
            assert pool.used_bytes() >= 2048
    assert [one.grown for one in seen.allocations] == [True, True]
    assert here.data.ptr != there.data.ptr


def test_a_limit_is_kept(cp: Any, pool: Any) -> None:
    pool.free_all_blocks()
    pool.set_limit(size=pool.total_bytes() + 1024)
    try:
        with pytest.raises(MemoryError, match="Out of memory allocating 4,096 bytes"):
            cp.empty(4096, np.uint8)
    finally:
        pool.set_limit(size=0)
    cp.empty(4096, np.uint8)


def test_hooks_are_called_for_each_block(cp: Any) -> None:
    called = []

    class Hook(cp.cuda.MemoryHook):  # type: ignore[misc]
        name = "note"

        def malloc_postprocess(self, **details: Any) -> None:
            called.append(("malloc", details["size"], details["mem_size"]))

        def free_postprocess(self, **details: Any) -> None:
            called.append(("free", details["mem_size"]))

    with Hook():
        x = cp.zeros(3, np.float32)
        del x
        with pytest.raises(KeyError, match="already exists"), Hook():
            pass
    cp.zeros(3)
    assert called == [("malloc", 12, 512), ("free", 512)]


def test_the_null_stream_waits_for_streams_that_do_not_refuse(cp: Any) -> None:
    with cp.cuda.Stream() as stream:
        x = cp.arange(3)
    assert (x + 1).get().tolist() == [1, 2, 3]
    assert stream.done


def test_an_event_is_done_when_the_host_has_waited(cp: Any) -> None:
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        x = cp.arange(3)
        event = stream.record()
        assert not event.done
        assert not stream.done
        event.synchronize()
        assert event.done
        _ = x + 1
        assert not stream.done
    later = cp.cuda.Event()
    later.record(stream)
    assert cp.cuda.get_elapsed_time(event, later) > 0
    cp.cuda.Device().synchronize()
    assert stream.done


def test_a_captured_stream_does_nothing_before_its_graph_is_launched(cp: Any) -> None:
    stream = cp.cuda.Stream(non_blocking=True)
    x = cp.zeros(3)
    cp.cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        assert stream.is_capturing()
        x += 1
        graph = stream.end_capture()
        for times in (1, 2):
            graph.launch()
            assert x.get().tolist() == [times] * 3
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cp.cuda.Stream.null.begin_capture()


def test_devices(cp: Any) -> None:
    here = cp.cuda.Device()
    assert here == cp.cuda.Device(0)
    assert int(here) == 0
    with cp.cuda.Device(1) as other:
        x = cp.arange(3)
        assert cp.cuda.Device() == other != here
    assert x.device == other
    assert x.copy().device == here
    assert cp.cuda.runtime.getDeviceCount() == 2
    assert cp.cuda.is_available()
    free, total = other.mem_info
    assert 0 < free < total
    with standin.peers(), pytest.warns(RuntimeWarning, match="Peer access has been activated"):
        assert (x + 1).device == here
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="invalid device ordinal"):
        cp.cuda.Device(7).use()


def test_plans_keep_their_work_areas(cp: Any, pool: Any) -> None:
    cache = cp.fft.config.get_plan_cache()
    cache.clear()
    before = pool.used_bytes()
    cp.fft.fft(cp.ones((4, 64), np.complex64))
    assert cache.get_curr_size() == 1
    assert pool.used_bytes() - before == cache.get_curr_memsize() == 4 * 64 * 8
    for n in range(2, 40):
        cp.fft.fft(cp.ones(n))
    assert cache.get_curr_size() == cache.get_size() == 16
    cache.clear()
    assert pool.used_bytes() == before


def test_tf32_rounds_the_factors(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from cupy import _products
    from cupy._core import _routines_linalg as switch

    monkeypatch.setattr(_products, "_chosen", {})
    monkeypatch.setenv("CUPY_TF32", "1")
    assert switch.get_compute_type("f") == switch.COMPUTE_TYPE_TF32
    assert switch.get_compute_type("d") == switch.COMPUTE_TYPE_DEFAULT
    x = cp.full((2, 2), 1 + 2.0**-11, np.float32)
    assert (x @ cp.eye(2, dtype=np.float32)).get()[0, 0] == 1
    switch.set_compute_type("f", switch.COMPUTE_TYPE_DEFAULT)
    assert (x @ cp.eye(2, dtype=np.float32)).get()[0, 0] == 1 + 2.0**-11


def test_contiguous_copies_before_a_product(cp: Any) -> None:
    """cuBLAS reads rows or columns that lie in one piece; stacks only rows."""
    x = cp.ones((4, 3))
    stack = cp.ones((2, 4, 3))
    for program, names in {
        "transposed": (lambda: x.T @ x, ["gemm"]),
        "every other row": (lambda: x[::2] @ x.T, ["copy", "gemm"]),
        "every other column": (lambda: x[:, ::2] @ x[:2], ["copy", "gemm"]),
        "stacks": (lambda: stack @ stack.swapaxes(1, 2), ["copy", "gemm strided batched"]),
        "a shared factor": (lambda: x.T @ stack, ["copy", *["cupy_mat_ptrs"] * 3, "gemm batched"]),
        "a stack of float16": (
            lambda: stack.astype("e") @ stack.astype("e").swapaxes(1, 2),
            ["astype", "astype", "astype", "astype", "gemm strided batched", "copy"],
        ),
    }.values():
        with standin.watch() as seen:
            program()
        assert [kernel.name for kernel in seen.kernels] == names


def test_what_cupyx_adds(cp: Any) -> None:
    import cupyx

    x = cp.zeros(3)
    cupyx.scatter_add(x, cp.asarray([0, 0, 2]), 1)
    cp.maximum.at(x, cp.asarray([1]), 5)
    assert x.get().tolist() == [2, 5, 1]
    assert cupyx.rsqrt(cp.full(2, 4.0)).get().tolist() == [0.5, 0.5]
    pinned = cupyx.zeros_pinned((2, 3), np.float32)
    assert pinned.shape == (2, 3)
    with standin.watch() as seen:
        cp.asarray(pinned)
    assert seen.transferred("to device") == 24
