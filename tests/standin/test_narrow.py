"""Factors of 16 bits on CuPy: multiplied as they are, summed in float32, each result rounded once."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import standin
from xpconv import bounds

SHAPES = {"x": (2, 9, 8, 6), "w": (3, 3, 6, 7), "b": (7,), "dz": (2, 9, 8, 7), "wg": (3, 3, 2, 6), "dzg": (2, 9, 8, 6)}
Program = Callable[..., Any]
PROGRAMS: dict[str, Program] = {
    "conv": lambda a, **o: xc.conv(a["x"], a["w"], padding=1, **o),
    "conv, bias": lambda a, **o: xc.conv(a["x"], a["w"], a["b"], padding=1, **o),
    "prepared": lambda a, **o: xc.prepare_conv(a["w"], a["b"], input_shape=SHAPES["x"], padding=1, **o)(a["x"]),
    "input gradient": lambda a, **o: xc.conv_input_grad(a["dz"], a["w"], SHAPES["x"], padding=1, **o),
    "weight gradient": lambda a, **o: xc.conv_weight_grad(a["dz"], a["x"], SHAPES["w"], padding=1, **o),
    "groups": lambda a, **o: xc.conv(a["x"], a["wg"], padding=1, groups=3, **o),
    "groups, weight gradient": lambda a, **o: xc.conv_weight_grad(
        a["dzg"], a["x"], SHAPES["wg"], padding=1, groups=3, **o
    ),
    "reflected": lambda a, **o: xc.conv_vjp(a["dz"], a["x"], a["w"], padding=1, padding_mode="reflect", **o)[0],
}
ONE_GROUP = list(PROGRAMS)[:5]
NARROW = [(name, algorithm) for name in ONE_GROUP for algorithm in ("gemm", "rows")]
WIDE = [("conv, bias", "direct"), ("conv, bias", "toeplitz"), ("groups", "gemm"), ("groups, weight gradient", "gemm")]


def given(dtype: Any, values: Callable[..., Any]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: values(shape).astype(dtype) for name, shape in SHAPES.items()}


@pytest.fixture(params=["float16", pytest.param("bfloat16", marks=pytest.mark.needs("ml_dtypes"))])
def dtype(request: pytest.FixtureRequest) -> np.dtype[Any]:
    if request.param == "bfloat16":
        return np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    return np.dtype(request.param)


@pytest.mark.parametrize("wide", [False, True], ids=["as they come", "float32 results"])
@pytest.mark.parametrize(("name", "algorithm"), [*NARROW, *WIDE, ("reflected", "gemm")])
def test_whole_numbers_are_exact(cp: Any, dtype: np.dtype[Any], name: str, algorithm: str, wide: bool) -> None:
    rng = np.random.default_rng(0)
    host = given(dtype, lambda shape: rng.integers(-2, 3, shape))
    options = {"dtype": "float32"} if wide else {}
    here = {key: cp.asarray(value) for key, value in host.items()}
    found = PROGRAMS[name](here, algorithm=algorithm, **options).get()
    exact = PROGRAMS[name]({key: value.astype(np.float64) for key, value in host.items()}, algorithm="gemm")
    assert found.dtype == (np.float32 if wide else dtype)
    assert (found == exact.astype(found.dtype)).all()


@pytest.mark.parametrize(("name", "algorithm"), NARROW)
def test_factors_are_not_made_wide(cp: Any, dtype: np.dtype[Any], name: str, algorithm: str) -> None:
    """Before the product no more than the bias is converted."""
    here = {key: cp.asarray(value) for key, value in given(dtype, np.ones).items()}
    PROGRAMS[name](here, algorithm=algorithm)
    with standin.watch() as seen:
        PROGRAMS[name](here, algorithm=algorithm)
    kinds = [kernel.name for kernel in seen.kernels]
    assert "gemm strided batched" in kinds
    assert "gemm" not in kinds
    before = seen.kernels[: kinds.index("gemm strided batched")]
    assert max([one.written for one in before if one.name == "astype"], default=0) <= 4 * SHAPES["b"][0], kinds


def test_they_are_what_cublas_gets(cp: Any, dtype: np.dtype[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Types of factors and of results, and what is summed in: float32 whatever TF32 is set to."""
    from cupy._core import _routines_linalg as switch
    from cupy_backends.cuda.libs import cublas

    seen, right = [], cublas.gemmStridedBatchedEx
    monkeypatch.setattr(
        cublas, "gemmStridedBatchedEx", lambda *a: seen.append((a[8], a[12], a[17], a[21])) or right(*a)
    )
    here = {key: cp.asarray(value) for key, value in given(dtype, np.ones).items()}
    before = switch.get_compute_type(np.float32)
    switch.set_compute_type(np.float32, switch.COMPUTE_TYPE_TF32)
    try:
        for name, algorithm in NARROW:
            PROGRAMS[name](here, algorithm=algorithm)
    finally:
        switch.set_compute_type(np.float32, before)
    kind = 2 if dtype == np.float16 else 14  # CUDA_R_16F, CUDA_R_16BF
    assert set(seen) == {(kind, kind, 0, 68)}  # CUDA_R_32F, CUBLAS_COMPUTE_32F


def cut_off(total: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Cut a sum in float64 off to float32, towards zero."""
    found = total.astype(np.float32)
    return np.where(abs(found.astype(np.float64)) > abs(total), np.nextafter(found, np.float32(0)), found)


def test_bounds_cover_sums_that_are_cut_off(cp: Any, dtype: np.dtype[Any]) -> None:
    """As tensor cores may do it, where rounding would stay in half the bound."""
    rng = np.random.default_rng(1)
    x, w = (abs(rng.standard_normal(shape)).astype(dtype) for shape in ((1, 40, 64), (40, 64, 3)))
    products = x.astype(np.float64).reshape(-1, 1) * w.astype(np.float64).reshape(-1, 3)
    total = np.zeros(3, np.float32)
    for product in products:
        total = cut_off(total.astype(np.float64) + product)
    error = abs(total.astype(np.float64) - products.sum(0))
    options = {"algorithm": "gemm", "dtype": "float32"}
    here = cp.asarray(x), cp.asarray(w)
    bound = xc.error_bound(*here, **options).get()[0, 0]
    assert (error <= bound).all()
    wide = xc.error_bound(*(one.astype(np.float32) for one in here), algorithm="gemm").get()[0, 0]
    assert (bound > 1.9 * wide).all()
    dz = cp.ones((1, 1, 3), dtype)
    narrow = bounds.conv_weight_grad_error_bound(dz, here[0], w.shape, **options).get()
    assert (narrow > 0).all()
