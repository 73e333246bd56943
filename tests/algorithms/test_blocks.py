"""Blocks of filters, taken one after another where the whole transformed weight does not fit the workspace."""

import itertools
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import MIB, beside
from tests.sizes import full
from xpconv import bounds

# x, w, options, algorithm; filters that no power of two divides, so the last block is smaller
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], str]] = {
    "long kernel": ((1, 3000, 16), (257, 16, 44), {}, "fft"),
    "large kernel": ((1, 60, 50, 8), (17, 15, 8, 20), {"padding": "same"}, "fft"),
    "channels first": ((1, 16, 3000), (44, 16, 257), {"layout": "channels_first", "padding": 100}, "fft"),
    "reflected": ((1, 40, 44, 8), (9, 9, 8, 36), {"padding": 4, "padding_mode": "reflect"}, "fft"),
    "many channels": ((1, 14, 18, 64), (3, 3, 64, 108), {"padding": 1}, "winograd"),
}
DTYPES = ("float32", "complex64")
CEILINGS = {"many channels": MIB}  # or twice that


def arrays(name: str, dtype: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    x_shape, w_shape, options, algorithm = LAYERS[name]
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape))
    return x, w, {**options, "algorithm": algorithm}


@pytest.mark.parametrize(
    ("name", "dtype"),
    full(itertools.product(LAYERS, DTYPES), [*((n, "float32") for n in LAYERS), ("reflected", DTYPES[1])]),
)
def test_blocks_of_filters(name: str, dtype: str) -> None:
    """Within the bound and the ceiling, the same bits on any number of threads; the plan and `explain` tell."""
    x, w, options = arrays(name, dtype)
    wide = "complex128" if dtype == "complex64" else "float64"
    exact = xc.conv(x.astype(wide), w.astype(wide), **{**options, "algorithm": "gemm"})
    b = np.arange(exact.shape[1 if "layout" in options else -1]).astype(dtype)
    place = (slice(None), *(None,) * (x.ndim - 2)) if "layout" in options else (slice(None),)
    exact = exact + b[place]
    found, ceiling = [], CEILINGS.get(name, 2 * MIB)
    for threads in (1, 3):
        with xc.set_options(max_workspace=ceiling, threads=threads):
            plan = xc.explain(x.shape, w.shape, dtype=dtype, **options)
            assert len(plan.parts) > 1
            assert f"filters in {len(plan.parts)} blocks" in plan.head
            found.append(xc.conv(x, w, b, **options))
            if threads > 1:
                assert beside(lambda: xc.conv(x, w, b, **options)) <= plan.workspace <= ceiling
                assert (np.abs(found[-1] - exact) <= bounds.error_bound(x, w, b, **options)).all()
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "reflected"])
def test_gradients_of_images(name: str) -> None:
    x, w, options = arrays(name, "float32")
    dz = np.random.default_rng(1).standard_normal(xc.conv(x, w, **options).shape).astype("float32")
    direct = {**options, "algorithm": "direct"}
    exact = xc.conv_input_grad(dz.astype("float64"), w.astype("float64"), x.shape, **direct)
    with xc.set_options(max_workspace=CEILINGS.get(name, 2 * MIB), threads=2):
        plan = xc.explain(x.shape, w.shape, of="input_grad", **options)
        assert len(plan.phases[0].parts) > 1
        found = xc.conv_input_grad(dz, w, x.shape, **options)
        bound = bounds.conv_input_grad_error_bound(dz, w, x.shape, **options)
    assert (np.abs(found - exact) <= bound).all()


def test_not_finite_tiles_of_blocks() -> None:
    """A NaN reaches the windows that contain it, and no others, in each block."""
    x, w, options = arrays("long kernel", "float32")
    x[0, 700, 3] = np.nan
    with xc.set_options(max_workspace=2 * MIB):
        assert xc.explain(x.shape, w.shape, **options).parts
        z = xc.conv(x, w, **options)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(z).all(-1)[0]), np.arange(700 - 256, 701))
    assert np.isnan(z).sum() == 257 * 44


def test_a_prepared_weight_is_not_kept_transformed() -> None:
    """It would take many times the memory of the weight."""
    x, w, options = arrays("long kernel", "float32")
    with xc.set_options(max_workspace=2 * MIB):
        kept = xc.prepare_conv(w, input_shape=x.shape, **options)
        assert kept.nbytes < 2 * w.nbytes
        np.testing.assert_array_equal(kept(x), xc.conv(x, w, **options))


def test_auto_takes_blocks_where_they_are_faster() -> None:
    """Eight filters at a time take a tenth of the time of the products that fit as a whole."""
    plan = xc.explain((1, 64, 16000), (64, 64, 1024), layout="channels_first")
    assert plan.algorithm == "fft"
    assert len(plan.parts) == 8
    assert plan.seconds < min(c.seconds for c in plan.candidates if c.algorithm in ("direct", "gemm")) / 5
