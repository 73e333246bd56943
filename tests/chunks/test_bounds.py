"""Error bounds on chunks: they hold for what is computed in chunks, and are near those of one call."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.chunks.drawn import Draw, Drawn
from xpconv import bounds

pytestmark = pytest.mark.needs("dask")

# operation -> its bound, the arrays and options that the bound takes, and which result it bounds
BOUNDED: dict[str, tuple[Callable[..., Any], int]] = {
    "conv": (xc.error_bound, 0),
    "conv_input_grad": (bounds.conv_input_grad_error_bound, 0),
    "conv_weight_grad": (bounds.conv_weight_grad_error_bound, 0),
    "conv_transpose": (bounds.conv_transpose_error_bound, 0),
    "avg_pool": (bounds.avg_pool_error_bound, 0),
    "avg_pool_vjp": (bounds.avg_pool_vjp_error_bound, 0),
    "max_pool_vjp": (bounds.max_pool_vjp_error_bound, 0),
}
WIDE = {"float16": "float64", "float32": "float64", "complex64": "complex128"}


def in_floats(draw: Draw, drawn: Drawn) -> Drawn:
    """The same call with numbers that are not whole."""
    arrays = {}
    for name, array in drawn.arrays.items():
        found = draw.rng.standard_normal(array.shape)
        arrays[name] = found.astype(array.dtype) if array.dtype.kind in "fc" else array
    return Drawn(drawn.name, arrays, {k: v for k, v in drawn.options.items() if k != "dtype"}, drawn.dtype)


@pytest.mark.parametrize("name", BOUNDED)
def test_a_bound_in_chunks_holds(name: str) -> None:
    import dask.array as da

    draw, bound = Draw(7), BOUNDED[name][0]
    done = 0
    while done < 6:
        drawn = getattr(draw, name)()
        try:
            drawn.run()
        except ValueError:
            continue
        if drawn.name != name or drawn.dtype not in WIDE or "indices" in drawn.arrays:
            continue
        done += 1
        drawn = in_floats(draw, drawn)
        chunks = {key: draw.chunks(array.shape) for key, array in drawn.arrays.items()}
        lazy = {key: da.from_array(array, chunks=chunks[key]) for key, array in drawn.arrays.items()}
        wide = {key: array.astype(WIDE[drawn.dtype]) for key, array in drawn.arrays.items()}
        options = {key: value for key, value in drawn.options.items() if key != "return_indices"}
        limit = bound(**lazy, **options)
        got = getattr(xc, name)(**lazy, **options).compute(scheduler="synchronous")
        exact = getattr(xc, name)(**wide, **{**options, **({"algorithm": "direct"} if "algorithm" in options else {})})
        found = limit.compute(scheduler="synchronous")
        plain = bound(**drawn.arrays, **options)
        assert isinstance(limit, da.Array)
        assert found.shape == exact.shape == limit.shape
        assert found.dtype == limit.dtype == plain.dtype
        assert np.all(np.abs(got - exact) <= found), (drawn.options, chunks)
        assert np.all(found <= 64 * plain + np.finfo(plain.dtype).tiny), (drawn.options, chunks)


def test_the_bound_of_a_bias_in_chunks_holds() -> None:
    import dask.array as da

    dz = np.random.default_rng(0).standard_normal((3, 40, 30, 5)).astype("float32")
    lazy = da.from_array(dz, chunks=(1, 7, 30, 2))
    limit = bounds.conv_bias_grad_error_bound(lazy)
    x, w = da.zeros((3, 42, 32, 1), dtype="float32"), np.zeros((3, 3, 1, 5), "float32")
    db = xc.conv_vjp(lazy, x, w)[2].compute(scheduler="synchronous")
    found = limit.compute(scheduler="synchronous")
    assert np.all(np.abs(db - dz.astype("float64").sum((0, 1, 2))) <= found)
    assert np.all(found <= 64 * bounds.conv_bias_grad_error_bound(dz))


def test_bounds_of_gradients_of_images_are_cut_along_space() -> None:
    import dask.array as da

    rng = np.random.default_rng(0)
    dz, w = rng.standard_normal((1, 20, 24, 6)).astype("float32"), rng.standard_normal((3, 3, 4, 6)).astype("float32")
    lazy = da.from_array(dz, (1, 7, 8, 2))
    options = {"stride": 2, "padding": 1}
    for name, more in (("conv_input_grad", ((1, 39, 47, 4),)), ("conv_transpose", ())):
        bound = BOUNDED[name][0]
        found = bound(lazy, w, *more, **options)
        assert found.numblocks == (1, 3, 3, 1)
        got = getattr(xc, name)(lazy, w, *more, **options).compute(scheduler="synchronous")
        exact = getattr(xc, name)(dz.astype("float64"), w.astype("float64"), *more, **options)
        limit, plain = found.compute(scheduler="synchronous"), bound(dz, w, *more, **options)
        assert np.all(np.abs(got - exact) <= limit)
        assert np.all(limit <= 4 * plain)
