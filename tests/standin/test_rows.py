"""The algorithm `rows`: overlapping matrices multiplied where they lie, under cuBLAS's conditions."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import standin
from xpconv import bounds
from xpconv._arrays import cublas
from xpconv._arrays.types import Namespace

LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((2, 9, 8, 5), (3, 3, 5, 7), {"padding": 1}),
    "5x5": ((3, 7, 11, 4), (5, 5, 4, 6), {"padding": 2}),
    "no padding": ((1, 6, 6, 3), (3, 3, 3, 2), {}),
    "a row": ((2, 5, 6, 2), (1, 2, 2, 3), {}),
    "an even kernel": ((2, 8, 9, 2), (2, 2, 2, 3), {"padding": 1}),
    "causal, 1-d": ((2, 20, 3), (5, 3, 4), {"padding": "causal"}),
    "3-d": ((1, 5, 6, 7, 3), (2, 3, 3, 3, 4), {"padding": 1}),
    "dilated rows": ((2, 9, 8, 5), (3, 3, 5, 7), {"padding": (2, 1), "dilation": (2, 1)}),
    "reflected": ((2, 9, 8, 5), (3, 3, 5, 7), {"padding": 1, "padding_mode": "reflect"}),
    "one window": ((1, 3, 4, 2), (3, 4, 2, 3), {}),
    "channels first": ((2, 5, 9, 8), (7, 5, 3, 3), {"padding": 1, "layout": "channels_first"}),
}


def data(name: str, dtype: str, values: Callable[..., Any]) -> list[np.ndarray[Any, Any]]:
    """Draw dz, x, w of a layer."""
    x, w, options = LAYERS[name]
    z = xc.conv(np.zeros(x, dtype), np.zeros(w, dtype), **options).shape
    arrays = [values(shape) for shape in (z, x, w)]
    return [(a + 1j * values(a.shape) if "complex" in dtype else a).astype(dtype) for a in arrays]


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128", "float16"])
@pytest.mark.parametrize("name", LAYERS)
def test_whole_numbers_are_exact(cp: Any, name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    options = LAYERS[name][2]
    dz, x, w = data(name, dtype, lambda shape: rng.integers(-2, 3, shape))
    expected = xc.conv(x, w, **options), *xc.conv_vjp(dz, x, w, **options)
    dz, x, w = map(cp.asarray, (dz, x, w))
    got = xc.conv(x, w, algorithm="rows", **options), *xc.conv_vjp(dz, x, w, algorithm="rows", **options)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        assert (one.get() == other).all()


@pytest.mark.parametrize("name", LAYERS)
def test_the_bounds_cover_it(cp: Any, name: str) -> None:
    rng = np.random.default_rng(1)
    options = LAYERS[name][2]
    dz, x, w = data(name, "float32", rng.standard_normal)
    wide = [a.astype(np.float64) for a in (dz, x, w)]
    exact = xc.conv(*wide[1:], **options), *xc.conv_vjp(*wide, **options)[:2]
    dz, x, w = map(cp.asarray, (dz, x, w))
    options = options | {"algorithm": "rows"}
    got = xc.conv(x, w, **options), *xc.conv_vjp(dz, x, w, **options)[:2]
    limits = (
        xc.error_bound(x, w, **options),
        bounds.conv_input_grad_error_bound(dz, w, x.shape, **options),
        bounds.conv_weight_grad_error_bound(dz, x, w.shape, **options),
    )
    for one, other, limit in zip(got, exact, limits, strict=True):
        assert (abs(one.get().astype(np.float64) - other) <= limit.get()).all()


def test_no_window_is_copied(cp: Any) -> None:
    x, w = cp.ones((2, 12, 12, 8), np.float32), cp.ones((3, 3, 8, 16), np.float32)
    with standin.watch() as seen:
        xc.conv(x, w, padding=1, algorithm="rows")
    assert [k.name for k in seen.kernels] == ["memset", "copy", *["gemm strided batched"] * 3, "copy"]
    assert max(k.written for k in seen.kernels if k.name == "copy") <= 2 * 12 * 12 * 16 * 4


def test_a_nan_stays_in_its_windows(cp: Any) -> None:
    x, w = np.ones((2, 9, 10, 3), np.float32), np.ones((3, 3, 3, 4), np.float32)
    x[0, 8, 9, 1] = x[1, 0, 0, 0] = np.nan
    got = xc.conv(cp.asarray(x), cp.asarray(w), padding=1, algorithm="rows").get()
    assert (np.isnan(got) == np.isnan(xc.conv(x, w, padding=1, algorithm="direct"))).all()


def test_large_images_are_cut_into_tiles_that_stay_in_the_workspace(cp: Any) -> None:
    rng = np.random.default_rng(2)
    x, w = (rng.integers(-2, 3, shape).astype(np.float32) for shape in ((3, 50, 60, 16), (3, 3, 16, 32)))
    dz = rng.integers(-2, 3, (3, 50, 60, 32)).astype(np.float32)
    exact: dict[str, Any] = {"padding": 1, "algorithm": "gemm"}
    expected = xc.conv(x, w, **exact), *xc.conv_vjp(dz, x, w, **exact)[:2]
    x, w, dz = map(cp.asarray, (x, w, dz))
    calls = (
        lambda: xc.conv(x, w, padding=1, algorithm="rows"),
        lambda: xc.conv_input_grad(dz, w, x.shape, padding=1, algorithm="rows"),
        lambda: xc.conv_weight_grad(dz, x, w.shape, padding=1, algorithm="rows"),
    )
    with xc.set_options(max_workspace=1 << 20):
        for call, other in zip(calls, expected, strict=True):
            call()
            with standin.watch() as seen:
                got = call()
            assert (got.get() == other).all()
            assert seen.peak <= got.nbytes + (1 << 20)


@pytest.mark.parametrize(
    ("w", "options", "reason"),
    [
        ((3, 3, 4, 4), {"stride": 2}, "serves stride 1 only"),
        ((3, 3, 4, 4), {"dilation": 2}, "without dilation along the last axis"),
        ((3, 3, 2, 4), {"groups": 2}, "serves one group only"),
        ((3, 1, 4, 4), {}, "two taps or more along the last axis"),
    ],
)
def test_what_it_does_not_serve(cp: Any, w: tuple[int, ...], options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        xc.conv(cp.ones((1, 9, 9, 4), np.float32), cp.ones(w, np.float32), algorithm="rows", **options)
    with pytest.raises(ValueError, match="serves floating dtypes only"):
        xc.conv(cp.ones((1, 9, 9, 4), np.int32), cp.ones((3, 3, 4, 4), np.int32), algorithm="rows")


def test_other_libraries_are_refused_and_told_why() -> None:
    plan = xc.explain((32, 56, 56, 64), (3, 3, 64, 64), padding=1)
    assert {c.reason for c in plan.candidates if c.algorithm == "rows"} == {"serves CuPy only (version 14)"}
    with pytest.raises(ValueError, match=r"^conv: algorithm 'rows': serves CuPy only \(version 14\)$"):
        xc.conv(np.ones((1, 9, 9, 4)), np.ones((3, 3, 4, 4)), algorithm="rows")


def test_auto_takes_it_forward_and_not_where_a_nan_would_spread() -> None:
    shapes, options = ((32, 56, 56, 64), (3, 3, 64, 64)), {"padding": 1, "device": "cuda"}
    assert xc.explain(*shapes, **options).algorithm == "rows"
    assert xc.explain(*shapes, **options, of="input_grad").algorithm == "rows"
    assert xc.explain(*shapes, **options, of="weight_grad").algorithm == "gemm"


@pytest.fixture
def unknown_version(cp: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A CuPy whose source nobody has read."""
    cublas.available.cache_clear()
    monkeypatch.setattr(cp, "__version__", "15.0.0")
    yield cp
    cublas.available.cache_clear()


def test_an_unknown_version_of_cupy_is_served_by_gemm(unknown_version: Namespace) -> None:
    cp = unknown_version
    x, w, b = (cp.ones(shape, np.float32) for shape in ((2, 12, 12, 8), (3, 3, 8, 16), (16,)))
    with standin.watch() as seen:
        z, *grads = xc.conv(x, w, b, padding=1), *xc.conv_vjp(cp.ones((2, 12, 12, 16), np.float32), x, w, padding=1)
    assert not [k for k in seen.kernels if "strided" in k.name]
    assert (z.get() == xc.conv(*(a.get() for a in (x, w, b)), padding=1)).all()
    assert len(grads) == 3
    with pytest.raises(ValueError, match="serves CuPy only"):
        xc.conv(x, w, padding=1, algorithm="rows")


# --- the stand-in's own conditions ----------------------------------------------------------------


def product(cp: Any, **changes: int) -> Any:
    """Multiply two 4x3 and 3x2 matrices by pointers, with some arguments changed."""
    a, b, c = cp.ones((2, 4, 3), np.float32), cp.ones((2, 3, 2), np.float32), cp.zeros((2, 4, 2), np.float32)
    out = cublas.Matrices(c, changes.get("ldc", 2), changes.get("apart", 8), changes.get("first", 0))
    left = cublas.Matrices(a, changes.get("lda", 3), 12)
    cublas.multiply(left, cublas.Matrices(b, changes.get("ldb", 2), 6), out, cublas.Sizes(2, 4, 3, 2))
    return c.get()


def test_products_by_pointers(cp: Any) -> None:
    assert (product(cp) == 3).all()


@pytest.mark.parametrize("lead", ["lda", "ldb", "ldc"])
def test_a_leading_dimension_that_is_too_small_is_refused(cp: Any, lead: str) -> None:
    from cupy_backends.cuda.libs.cublas import CUBLASError

    with pytest.raises(CUBLASError, match="INVALID_VALUE"):
        product(cp, **{lead: 1})


def test_results_that_share_an_element_and_leave_their_memory_are_mistakes(cp: Any) -> None:
    from cupy._watch import MistakeError

    with pytest.raises(MistakeError, match="share an element"):
        product(cp, apart=6)
    with pytest.raises(MistakeError, match="bounds"):
        product(cp, first=2)


# --- sums in pieces, and a bias that is there before ----------------------------------------------


def test_a_long_sum_of_few_tiles_is_cut_into_pieces(cp: Any) -> None:
    rng = np.random.default_rng(3)
    x, dz = (rng.integers(-2, 3, shape).astype(np.float32) for shape in ((64, 24, 24, 16), (64, 24, 24, 32)))
    with standin.watch() as seen:
        got = xc.conv_weight_grad(cp.asarray(dz), cp.asarray(x), (1, 1, 16, 32))
    assert [k.name for k in seen.kernels] == ["gemm strided batched", "cupy_sum", "copy"]
    assert seen.kernels[0].shape[0] > 1
    assert (got.get() == xc.conv_weight_grad(dz, x, (1, 1, 16, 32))).all()


@pytest.mark.parametrize(
    ("kernel", "bias", "channels_first"), [*itertools.product((1, 3), (False, True), (False, True))]
)
def test_a_bias_is_added_once(cp: Any, kernel: int, bias: bool, channels_first: bool) -> None:
    rng = np.random.default_rng(4)
    shapes = ((2, 9, 8, 5), (kernel, kernel, 5, 7), (7,))
    options: dict[str, Any] = {"padding": kernel // 2}
    if channels_first:
        shapes, options["layout"] = ((2, 5, 9, 8), (7, 5, kernel, kernel), (7,)), "channels_first"
    arrays = [rng.integers(-3, 4, shape).astype(np.float32) for shape in shapes][: 2 + bias]
    for dtype, algorithm in itertools.product(("float32", "float16", "int32"), ("direct", "gemm", "auto")):
        given = [a.astype(dtype) for a in arrays]
        got = xc.conv(*map(cp.asarray, given), **options, algorithm=algorithm)
        assert (got.get() == xc.conv(*given, **options)).all()
