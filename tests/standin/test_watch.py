"""What is counted, and where it is said to have happened."""

import threading
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import standin


def test_everything_is_counted_once(cp: Any) -> None:
    x = cp.ones((3, 4), np.float32)
    with standin.watch() as seen:
        y = cp.asarray(np.ones((3, 4), np.float32))  # to the device
        z = x + y  # a kernel
        z.get()  # to the host, and a wait
    assert [kernel.name for kernel in seen.kernels] == ["cupy_add"]
    assert (seen.kernels[0].read, seen.kernels[0].written, seen.moved) == (96, 48, 144)
    assert [(one.direction, one.nbytes) for one in seen.transfers] == [("to device", 48), ("to host", 48)]
    assert (seen.transferred(), seen.transferred("to host")) == (96, 48)
    assert [wait.what for wait in seen.waits] == ["get"]
    assert [one.nbytes for one in seen.allocations] == [512, 512]
    assert seen.peak == 1024


def test_a_view_is_read_once_however_often_it_shows_a_number(cp: Any) -> None:
    x = cp.ones((4, 5), np.float32)
    windows = cp.lib.stride_tricks.as_strided(x, (2, 4, 3, 2), (20, 4, 20, 4))
    with standin.watch() as seen:
        windows.copy()
        cp.broadcast_to(x, (7, 4, 5)).copy()
    assert [kernel.read for kernel in seen.kernels] == [80, 80]
    assert [kernel.written for kernel in seen.kernels] == [2 * 4 * 3 * 2 * 4, 7 * 80]


def test_the_line_of_xpconv_is_named(cp: Any) -> None:
    x, w = cp.ones((1, 5, 5, 2), np.float32), cp.ones((3, 3, 2, 2), np.float32)
    with standin.watch() as seen:
        xc.conv(x, w)
        _ = x + 1
    *inside, last = seen.kernels
    assert all(kernel.site.startswith("xpconv/") for kernel in inside)
    assert any("Workspace" in kernel.site for kernel in inside)
    assert last.site.startswith("test_watch.py:")
    assert "gemm at xpconv/" in str(seen)
    assert f"{len(seen.kernels)} kernels" in str(seen)


def test_products_count_their_operations(cp: Any) -> None:
    with standin.watch() as seen:
        cp.ones((3, 4)) @ cp.ones((4, 5))
        cp.ones((3, 4), np.complex64) @ cp.ones((4, 5), np.complex64)
    assert [kernel.flops for kernel in seen.kernels if kernel.flops] == [2 * 3 * 4 * 5, 8 * 3 * 4 * 5]


@pytest.mark.parametrize("list_", ["kernels", "waits", "transfers", "allocations"])
def test_what_is_forbidden_raises(cp: Any, list_: str) -> None:
    from cupy._watch import ForbiddenError

    x = cp.ones(3)
    with standin.watch(forbid=[list_]) as seen, pytest.raises(ForbiddenError, match="forbidden here"):
        (x + 1).get()
    assert len(getattr(seen, list_)) == 1
    with pytest.raises(ValueError, match="nothing to forbid"), standin.watch(forbid=["sleep"]):
        pass


def test_watches_may_be_nested_and_see_other_threads(cp: Any) -> None:
    with standin.watch() as outer:
        with standin.watch() as inner:
            thread = threading.Thread(target=lambda: cp.ones(3) + 1)
            thread.start()
            thread.join()
        cp.ones(3)
    assert len(inner.kernels) == 2
    assert len(outer.kernels) == 3


def test_mistakes_are_collected_where_that_is_asked_for(cp: Any) -> None:
    with standin.watch(collect=True) as seen:
        cp.empty(3).get()
        cp.lib.stride_tricks.as_strided(cp.ones(3), (9,), (8,))
    assert [mistake.kind for mistake in seen.mistakes] == ["unwritten", "bounds"]
    assert "unwritten: get brings to the host what nothing has been written to" in str(seen)


def test_a_person_may_look_at_anything(cp: Any) -> None:
    with standin.watch() as seen:
        assert "nan" in repr(cp.empty(2))
    assert [note.kind for note in seen.notes] == ["unwritten"]


@pytest.mark.parametrize("dtype", ["?", "b", "H", "i", "Q", "e", "f", "d", "F", "D"])
def test_unwritten_memory_shows(cp: Any, dtype: str) -> None:
    """A NaN of its own, or the byte a5; through casts and sums as well."""
    x = cp.empty((3, 4), dtype)
    with standin.watch(collect=True) as seen:
        found = x.get()
        if dtype in "efdFD":
            for wide in ("f", "d", "F", "D"):
                if np.can_cast(dtype, wide):
                    (x.astype(wide) * 3 + 1).sum(0).get()
    assert (np.isnan(found) if dtype in "efdFD" else found == found.ravel()[0]).all()
    kinds = {mistake.kind for mistake in seen.mistakes}
    assert kinds == (set() if dtype in "?bH" else {"unwritten"})
    if dtype in "efdFD":
        assert len(seen.mistakes) == 1 + sum(np.can_cast(dtype, wide) for wide in "fdFD")


def test_a_kernel_in_cuda_c_is_acted_out_by_what_it_is_told_to_do(cp: Any) -> None:
    twice = cp.RawKernel('extern "C" __global__ void twice(const float* x, float* y) { }', "twice")
    x, y = cp.ones(3, np.float32), cp.empty(3, np.float32)
    with pytest.raises(NotImplementedError, match="what the kernel twice does"):
        twice((1,), (3,), (x, y))
    standin.kernel("twice")(lambda x, y: np.multiply(x, 2, out=y))
    with standin.watch() as seen:
        twice((1,), (3,), (x, y))
    assert [kernel.name for kernel in seen.kernels] == ["twice"]
    assert y.get().tolist() == [2, 2, 2]
    with pytest.raises(TypeError, match="Unsupported type"):
        twice((1,), (3,), (np.ones(3), y))
