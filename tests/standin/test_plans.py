"""cuFFT's plans under xpconv's transforms: their bytes are counted and bounded, and each stream has its own."""

import gc
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import standin
from tests.sizes import full
from xpconv._arrays import cufft

OPTIONS: dict[str, Any] = {"algorithm": "fft"}
MIB = 1 << 20
AREAS = 4  # part of the workspace that plans may keep
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "2-d": ((2, 90, 80, 8), (7, 7, 8, 8), {"padding": 3}),
    "1-d": ((2, 9_000, 4), (33, 4, 6), {"padding": 16}),
    "3-d": ((1, 20, 18, 21, 4), (3, 3, 3, 4, 4), {"padding": 1}),
    "depthwise": ((2, 60, 50, 12), (9, 9, 1, 12), {"padding": 4, "groups": 12}),
    "many filters": ((1, 50, 40, 4), (5, 5, 4, 40), {"padding": 2}),
    "few filters": ((1, 60, 50, 40), (5, 5, 40, 3), {"padding": 2}),
}


@pytest.fixture
def cache(cp: Any, frozen: None) -> Iterator[Any]:
    """The plans of this thread, none to begin with."""
    found = cp.fft.config.get_plan_cache()
    found.clear()
    cufft._local.__dict__.clear()
    gc.collect()
    yield found
    found.clear()
    cufft._local.__dict__.clear()


def drawn(cp: Any, layer: str, dtype: Any = np.float32) -> tuple[Any, ...]:
    x, w, options = LAYERS[layer]
    rng = np.random.default_rng(0)
    z = xc.conv(np.zeros(x, dtype), np.zeros(w, dtype), **options).shape
    return tuple(cp.asarray(rng.standard_normal(shape).astype(dtype)) for shape in (z, x, w))


@pytest.mark.parametrize(
    ("dtype", "mebibytes"), full([("float32", 2), ("complex64", 4), ("float32", 16), ("float64", 8)], [("float32", 2)])
)
@pytest.mark.parametrize("layer", LAYERS)
def test_work_areas_are_in_the_workspace(cp: Any, cache: Any, layer: str, mebibytes: int, dtype: str) -> None:
    """From no plan at all: at the peak of a call they are there with all its other memory."""
    dz, x, w = drawn(cp, layer, dtype)
    options = OPTIONS | LAYERS[layer][2]
    programs = (
        lambda: xc.conv(x, w, **options),
        lambda: xc.conv_weight_grad(dz, x, w.shape, **options),
        lambda: xc.conv_input_grad(dz, w, x.shape, **options),
    )
    with xc.set_options(max_workspace=mebibytes * MIB):
        for program in programs:
            cache.clear()
            with standin.watch() as seen:
                found = program()
            assert seen.peak - found.nbytes <= mebibytes * MIB
            assert 0 < cache.get_curr_memsize() <= mebibytes * MIB // AREAS


def test_a_second_call_makes_no_plan(cp: Any, cache: Any) -> None:
    _, x, w = drawn(cp, "2-d")
    xc.conv(x, w, padding=3, **OPTIONS)
    kept = [key for key, _ in cache]
    made = cache.get_curr_size()
    with standin.watch() as seen:
        xc.conv(x, w, padding=3, **OPTIONS)
    assert {key for key, _ in cache} == set(kept)
    assert len(kept) == made > 1
    assert not seen.waits


def test_many_shapes_keep_no_more(cp: Any, cache: Any) -> None:
    w = cp.ones((5, 5, 3, 4), np.float32)
    with xc.set_options(max_workspace=2 * MIB):
        for n in range(20, 90, 7):
            xc.conv(cp.ones((1, n, n + 1, 3), np.float32), w, **OPTIONS)
            assert cache.get_curr_memsize() <= 2 * MIB // AREAS


def test_plans_of_others_stay(cp: Any, cache: Any) -> None:
    cp.fft.fft(cp.ones((1 << 17,), np.complex64))
    others = {key for key, _ in cache}
    w = cp.ones((5, 5, 3, 4), np.float32)
    with xc.set_options(max_workspace=MIB):
        for n in (20, 40, 60):
            xc.conv(cp.ones((1, n, n, 3), np.float32), w, **OPTIONS)
    with cp.cuda.Stream(non_blocking=True):
        xc.conv(cp.ones((1, 9, 9, 3), np.float32), w, **OPTIONS)
    assert others <= {key for key, _ in cache}
    standin.settle()


def test_a_cache_that_is_switched_off_is_left_off(cp: Any, cache: Any) -> None:
    size = cache.get_size()
    cache.set_size(0)
    try:
        _, x, w = drawn(cp, "2-d")
        found = xc.conv(x, w, padding=3, **OPTIONS)
        assert cache.get_curr_size() == 0
    finally:
        cache.set_size(size)
    assert math.isfinite(float(found.sum().get()))


def test_two_streams_have_plans_of_their_own(cp: Any, cache: Any) -> None:
    """CuPy's cache knows no streams: two of them would write to one work area, which is among the planted mistakes."""
    _, x, w = drawn(cp, "2-d")
    cp.cuda.Device().synchronize()
    streams = [cp.cuda.Stream(non_blocking=True) for _ in range(2)]
    kept = []
    for stream in (*streams, *streams):
        with stream:
            kept.append(xc.conv(x, w, padding=3, **OPTIONS))
    standin.settle()
