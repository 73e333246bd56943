"""Convolutions beyond the catalogue: sizes of many tiles, views, chunks, and what `explain` says."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import cases, checks, oracle
from tests.backends import Backend
from tests.cases import CONV, arrays, values
from tests.oracle import by_slices
from tests.sizes import full
from xpconv.algorithms import REGISTRY

SUMMING = ("direct", "gemm", "toeplitz")  # which round nothing of whole floating numbers

LARGE: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((3, 61, 47, 16), (3, 3, 16, 8), {"padding": "same"}),
    "wide-image": ((1, 3, 5000, 4), (3, 5, 4, 4), {"padding": "same"}),
    "tall-image": ((1, 5000, 3, 4), (5, 3, 4, 4), {"padding": ((1, 4), (0, 2))}),
    "many-images": ((700, 6, 5, 3), (3, 2, 3, 4), {"padding": 1, "stride": (2, 1)}),
    "stride-dilation": ((2, 97, 83, 6), (3, 4, 6, 5), {"padding": (5, 2), "stride": (3, 2), "dilation": (2, 3)}),
    "groups": ((2, 60, 50, 24), (3, 3, 6, 8), {"padding": 1, "groups": 4}),
    "depthwise": ((2, 70, 60, 32), (5, 5, 1, 32), {"padding": 2, "groups": 32}),
    "depthwise-stride-2": ((2, 71, 60, 32), (3, 3, 1, 64), {"padding": 1, "groups": 32, "stride": 2}),
    "1x1": ((2, 60, 70, 32), (1, 1, 32, 24), {}),
    "1x1-stride-2": ((2, 61, 70, 32), (1, 1, 32, 24), {"stride": 2}),
    "1d": ((2, 30_000, 5), (7, 5, 6), {"padding": "causal", "dilation": 3}),
    "3d": ((2, 20, 18, 22, 6), (3, 3, 3, 6, 5), {"padding": 1}),
    "3d-stride": ((1, 31, 18, 22, 4), (3, 2, 3, 4, 5), {"padding": (1, 0, 2), "stride": (2, 1, 3)}),
    "large-kernel": ((1, 90, 80, 2), (31, 29, 2, 2), {"padding": "same"}),
    "padding-beyond-image": ((2, 4, 5, 8), (3, 3, 8, 4), {"padding": ((40, 30), (25, 35))}),
}


def large_data(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whole numbers: dz, x and w."""
    x_shape, w_shape, options = LARGE[name]
    options = {"stride": 1, "padding": 0, "dilation": 1} | {k: v for k, v in options.items() if k != "groups"}
    out = oracle.sites(x_shape[1:-1], w_shape[:-2], **options).out
    dz_shape = (x_shape[0], *out, w_shape[-1])
    return tuple(values(shape, i, "float32", -2, 2) for i, shape in enumerate((dz_shape, x_shape, w_shape)))


@pytest.mark.parametrize("mebibytes", full([64, 2], [2]))
@pytest.mark.parametrize("algorithm", SUMMING)
@pytest.mark.parametrize("name", LARGE)
def test_tiles_meet_without_a_seam(numpy_backend: Backend, name: str, algorithm: str, mebibytes: int) -> None:
    """Sizes that are cut into many tiles, most of them not evenly, forward and backward."""
    dz, x, w = large_data(name)
    options = LARGE[name][2]
    wanted = by_slices.conv(dz, x, w, **options)
    with xc.set_options(max_workspace=mebibytes << 20):
        got = (
            numpy_backend.call(xc.conv, x, w, algorithm=algorithm, **options),
            numpy_backend.call(xc.conv_input_grad, dz, w, x.shape, algorithm=algorithm, **options),
            numpy_backend.call(xc.conv_weight_grad, dz, x, w.shape, algorithm=algorithm, **options),
        )
    for mine, expected in zip(got, wanted, strict=True):
        checks.demand_kind(numpy_backend, mine, "float32", expected.shape)
        np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize("backend", ["strict", "torch", "dask", "cupy", "dpnp"], indirect=True)
@pytest.mark.parametrize(
    "name", full(["3x3", "many-images", "stride-dilation", "groups", "3d-stride"], ["stride-dilation"])
)
def test_tiles_of_other_backends(backend: Backend, name: str) -> None:
    dz, x, w = large_data(name)
    options = LARGE[name][2]
    wanted = by_slices.conv(dz, x, w, **options)
    with xc.set_options(max_workspace=4 << 20):
        z = backend.call(xc.conv, x, w, algorithm="gemm", **options)
        dx, dw, db = backend.call(xc.conv_vjp, dz, x, w, algorithm="gemm", **options)
    for mine, expected in zip((z, dx, dw, db), (*wanted, dz.sum((*range(dz.ndim - 1),))), strict=True):
        checks.demand_kind(backend, mine, "float32", expected.shape)
        np.testing.assert_array_equal(backend.to_numpy(mine), expected)


VIEWS = {
    "reversed": lambda a: a[:, ::-1, ::-1],
    "every second": lambda a: np.repeat(np.repeat(a, 2, axis=1), 2, axis=-1)[:, ::2, :, ::2],
    "Fortran": np.asfortranarray,
    "moved axis": lambda a: np.ascontiguousarray(np.moveaxis(a, -1, 0)).transpose(1, 2, 3, 0),
    "broadcast": lambda a: np.broadcast_to(a[:, :, :1, :], a.shape),
    "one image for all": lambda a: np.broadcast_to(a[:1], a.shape),
}


@pytest.mark.parametrize("algorithm", SUMMING)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["same", "1x1", "stride-2", "groups-2", "stride-2-first"])
def test_arrays_need_not_be_contiguous(numpy_backend: Backend, name: str, view: str, algorithm: str) -> None:
    case = CONV[name]
    x, w, dz = (VIEWS[view](arrays(case)[key]) for key in ("x", "w", "dz"))
    options = {**case.options(), "algorithm": algorithm}
    checks.demand(numpy_backend, xc.conv(x, w, **options), oracle.conv(x, w, **case.options()))
    wanted = oracle.conv_vjp(dz, x, w, **case.options())
    for got, expected in zip(xc.conv_vjp(dz, x, w, **options), wanted, strict=True):
        checks.demand(numpy_backend, got, expected)


def test_no_result_shares_memory_with_an_argument(numpy_backend: Backend) -> None:
    x, w = values((2, 4, 4, 3), 0, "float32"), np.eye(3, dtype="float32").reshape(1, 1, 3, 3)
    for result in (xc.conv(x, w), xc.pad(x, 0), xc.max_pool(x, 1), xc.avg_pool(x, 1), *xc.conv_vjp(x, x, w)):
        assert not np.shares_memory(result, x)
        assert not np.shares_memory(result, w)


@pytest.mark.needs("dask")
def test_dask_chunks_need_not_be_whole() -> None:
    """Chunks along the batch and the spatial axes; the channels too."""
    import dask.array as da

    case = CONV["stride-2"]
    a, right = arrays(case), cases.expected(case)
    x, w = da.from_array(a["x"], chunks=(1, 3, 4, 1)), da.from_array(a["w"], chunks=(3, 2, 2, 2))
    dz = da.from_array(a["dz"], chunks=(2, 3, 2, 2))
    got = (xc.conv(x, w, **case.options()), *xc.conv_vjp(dz, x, w, **case.options()))
    wanted = (right["z"] - a["b"], right["dx"], right["dw"], right["db"])
    for mine, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(mine.compute(scheduler="synchronous"), theirs)


def test_explain_says_what_would_run() -> None:
    plan = xc.explain((8, 56, 56, 64), (3, 3, 64, 128), padding=1, dtype="float32")
    assert plan.algorithm in REGISTRY
    assert {c.algorithm for c in plan.candidates} >= set(REGISTRY)
    assert plan.flops == 2 * 8 * 56 * 56 * 3 * 3 * 64 * 128
    assert 0 < plan.workspace <= 64 << 20
    assert len(plan.tile) == 3
    assert all(1 <= t <= n for t, n in zip(plan.tile, (8, 56, 56), strict=True))
    lines = str(plan).splitlines()
    assert all(any(line.startswith(name) for line in lines) for name in REGISTRY)


def test_explain_reads_dtypes_options_and_the_ceiling() -> None:
    shapes = (4, 100, 100, 16), (3, 3, 16, 16)
    assert str(xc.explain(*shapes, dtype=np.float64)) == str(xc.explain(*shapes, dtype="float64"))
    assert xc.explain(*shapes, dtype="float32", algorithm="direct").algorithm == "direct"
    with xc.set_options(max_workspace=2 << 20):
        assert xc.explain(*shapes, dtype="float32").workspace <= 2 << 20
    first = xc.explain((4, 16, 100, 100), (16, 16, 3, 3), layout="channels_first", dtype="float32")
    assert first.flops == xc.explain(*shapes, dtype="float32").flops
    with pytest.raises(ValueError, match=r"^explain: the kernel has 16 input channels, x has 3"):
        xc.explain((4, 100, 100, 3), (3, 3, 16, 16))
    with pytest.raises(TypeError, match=r"^explain: dtype"):
        xc.explain(*shapes, dtype="float33")


def test_error_bound_of_exact_zeros_is_tiny() -> None:
    """No product, no error: what underflow may cost is all that is left."""
    bound = xc.error_bound(np.zeros((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 2), np.float32))
    assert (bound >= 0).all()
    assert (bound < 1e-30).all()
