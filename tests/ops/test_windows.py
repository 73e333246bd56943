"""Unpooling, unfold and fold beyond the catalogue: indices that max_pool gave, many tiles, PyTorch's."""

import math
import re
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import checks, oracle
from tests.backends import Backend
from tests.cases import FIRST, POOL, whole
from tests.ops.tiled import tiled
from xpconv.testing import assert_adjoint

LIBRARIES = ("numpy", "strict", "torch", "jax", "dask", "cupy", "dpnp")
NAMES = ("2", "3-stride-2-padded", "no-tap-inside", "empty-batch", "1d-first", "3d-ceil-padded")


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", LIBRARIES, indirect=True)
def test_max_unpool_puts_maxima_back(backend: Backend, name: str, dtype: str) -> None:
    """What was a maximum is back where it was; an index of -1 puts nothing anywhere."""
    case = POOL[name]
    shape, options = case.shape("x"), case.options()
    # distinct values: where windows overlap, equal indices have equal values
    x = (np.random.default_rng(3).permutation(math.prod(shape)) + 1).reshape(shape).astype(dtype)
    y, indices = oracle.max_pool(x, case.window, **options)
    got = backend.call(xc.max_unpool, y, indices.astype(backend.index_dtype), case.size, layout=case.layout)
    checks.demand(backend, got, oracle.max_unpool(y, indices, case.size, layout=case.layout), dtype)


def test_max_unpool_into_another_size(numpy_backend: Backend) -> None:
    """The flat indices are read in the shape that is asked for, here with one int for both axes."""
    y, indices = whole((2, 2, 3, 2), 1) + 7, np.arange(24).reshape(2, 2, 3, 2)
    got = xc.max_unpool(y, indices, 5)
    checks.demand(numpy_backend, got, oracle.max_unpool(y, indices, 5))


REPEATED = np.array([4, 2, 4, -1, 3, 4, 2]), np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])


@pytest.mark.parametrize("backend", LIBRARIES, indirect=True)
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_of_values_at_one_place_the_last_stands(backend: Backend, layout: str) -> None:
    places, values = (array.reshape(1, 7, 1, 1) for array in REPEATED)
    # the second plane has the places one further on
    places = np.concatenate([places, np.where(places < 0, places, places + 1)], axis=3).astype(backend.index_dtype)
    values = np.concatenate([values, -values], axis=3).astype("float32")
    wanted = np.zeros((1, 2, 3, 2), "float32")
    flat = wanted.reshape(6, 2)
    flat[2:5, 0] = flat[3:6, 1] = 7, 5, 6
    flat[3:6, 1] *= -1
    if layout == "channels_first":
        places, values, wanted = (np.moveaxis(array, -1, 1).copy() for array in (places, values, wanted))
    checks.demand(backend, backend.call(xc.max_unpool, values, places, (2, 3), layout=layout), wanted)


@pytest.mark.parametrize("backend", LIBRARIES, indirect=True)
@pytest.mark.parametrize("wrong", [99, -5, 6])
def test_places_outside_are_refused_or_nowhere(backend: Backend, wrong: int) -> None:
    """They are refused where values can be looked at, in the same words everywhere; elsewhere nothing is put."""
    places = np.array([0, wrong, 2]).reshape(1, 3, 1).astype(backend.index_dtype)
    values = np.ones((1, 3, 1), "float32")
    low, high = min(wrong, 0), max(wrong, 2)
    if backend.library.name in ("numpy", "torch", "dask"):
        said = f"max_unpool: indices lie from -1 to 5 for an output of 6 pixels; got {low} to {high}"
        with pytest.raises(ValueError, match=re.escape(said)):
            backend.to_numpy(backend.call(xc.max_unpool, values, places, 6))
    else:
        wanted = np.array([1, 0, 1, 0, 0, 0], "float32").reshape(1, 6, 1)
        checks.demand(backend, backend.call(xc.max_unpool, values, places, 6), wanted)


@pytest.mark.parametrize("backend", ["torch"], indirect=True)
def test_places_are_not_looked_at_under_a_transform(backend: Backend) -> None:
    import torch

    y, indices = xc.max_pool(np.arange(24.0).reshape(2, 4, 3), 2, return_indices=True)
    one = torch.func.vmap(lambda y, indices: xc.max_unpool(y[None], indices[None], 4)[0])
    found = one(torch.asarray(y), torch.asarray(indices))
    np.testing.assert_array_equal(found.numpy(), xc.max_unpool(y, indices, 4))


@tiled
def test_adjoint_of_unfold(backend: Backend, mebibytes: int) -> None:
    x, options = whole((2, 90, 77, 8), 1), {"stride": (2, 1), "padding": "same", "dilation": (1, 4)}
    with xc.set_options(max_workspace=mebibytes << 20):
        cols = backend.to_numpy(backend.call(xc.unfold, x, (3, 4), **options))
        other = whole(cols.shape, 2)
        folded = backend.to_numpy(backend.call(xc.fold, other, x.shape, (3, 4), **options))
    assert_adjoint(cols, other, (x, folded))


@pytest.mark.needs("torch")
def test_they_are_pytorchs() -> None:
    import torch

    nn = torch.nn.functional
    x, options = whole((2, 4, 9, 7), 1, "float64"), {"layout": FIRST}
    y, indices = xc.max_pool(x, 2, return_indices=True, **options)
    theirs = nn.max_unpool2d(torch.asarray(y), torch.asarray(indices), 2, output_size=(9, 7))
    np.testing.assert_array_equal(xc.max_unpool(y, indices, (9, 7), **options), theirs.numpy())
    geometry: dict[str, Any] = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
    cols = xc.unfold(x, (3, 2), **geometry, **options)
    flat = nn.unfold(torch.asarray(x), (3, 2), **geometry)
    np.testing.assert_array_equal(cols.reshape(flat.shape), flat.numpy())
    folded = nn.fold(flat, (9, 7), (3, 2), **geometry)
    np.testing.assert_array_equal(xc.fold(cols, x.shape, (3, 2), **geometry, **options), folded.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "complex64"])
@pytest.mark.parametrize("layout", ["channels_last", FIRST])
def test_windows_that_share_no_pixel_come_back_as_they_were(layout: str, dtype: str) -> None:
    """Side by side with a rest, with gaps, dilated; zeros where no tap was."""
    x = whole((2, 3, 11, 8) if layout == FIRST else (2, 11, 8, 3), 0, dtype)
    for window, stride, dilation in (((4, 2), (4, 2), 1), ((3, 2), (4, 3), 1), ((2, 3), (3, 5), (2, 2))):
        options = {"stride": stride, "dilation": dilation, "layout": layout}
        cols = xc.unfold(x, window, **options)
        read = xc.fold(np.ones_like(cols), x.shape, window, **options)
        assert set(np.unique(read).tolist()) <= {0, 1}
        np.testing.assert_array_equal(xc.fold(cols, x.shape, window, **options), np.where(read == 1, x, 0))
