"""Axes of 2**31 pixels and more; one pixel, repeated, takes no memory."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.backends import Backend

N = (1 << 31) + 100
OPTIONS: dict[str, Any] = {"stride": 1 << 27, "padding": 1}
WINDOWS = (N + 2 - 32) // OPTIONS["stride"] + 1


@pytest.mark.parametrize("backend", ["numpy", "torch"], indirect=True)
@pytest.mark.parametrize("shape", [(1, N, 1), (1, 3, N, 1)], ids=str)
def test_windows_near_the_end(backend: Backend, shape: tuple[int, ...]) -> None:
    x = backend.xp.broadcast_to(backend.asarray(np.ones((1,) * len(shape), np.float32)), shape)
    line = (1,) * (len(shape) - 3)
    window = (*line, 32)
    options = {"stride": (*line, OPTIONS["stride"]), "padding": (*(0 for _ in line), OPTIONS["padding"])}
    results = (
        backend.raw(xc.avg_pool, x, window, count_include_pad=False, **options),
        backend.raw(xc.lp_pool, x, 1, window, **options),
        *backend.raw(xc.max_pool, x, window, return_indices=True, **options),
    )
    mean, size, top, places = (backend.to_numpy(array)[0, ..., 0] for array in results)
    assert mean.shape == (*shape[1:-2], WINDOWS)
    np.testing.assert_array_equal(mean, 1)
    np.testing.assert_array_equal(top, 1)
    np.testing.assert_array_equal(size[..., 0], 31)
    np.testing.assert_array_equal(size[..., 1:], 32)
    starts = np.maximum(np.arange(WINDOWS) * OPTIONS["stride"] - OPTIONS["padding"], 0)
    rows = np.arange(places.size // WINDOWS).reshape(*places.shape[:-1], 1)
    np.testing.assert_array_equal(places, rows * N + starts)


@pytest.mark.parametrize("backend", ["jax"], indirect=True)
def test_without_64_bits_such_places_are_refused(backend: Backend) -> None:
    import jax

    def shaped(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, np.float32)

    x, y = shaped(1, N, 1), shaped(1, WINDOWS, 1)
    places = jax.ShapeDtypeStruct(y.shape, np.int32)
    for call, arrays in (
        (lambda x: xc.max_pool(x, 32, return_indices=True, **OPTIONS), [x]),
        (lambda dy, x: xc.max_pool_vjp(dy, x, 32, **OPTIONS), [y, x]),
        (lambda x: xc.adaptive_max_pool(x, 7), [x]),
        (lambda y, places: xc.max_unpool(y, places, N), [y, places]),
    ):
        with pytest.raises(ValueError, match=r"take 64 bits, which jax has switched off; got \d+ places; .*x64"):
            jax.eval_shape(call, *arrays)
