"""bfloat16 goes in and comes out, summed in float32: what float32 gives for the same values, rounded once."""

import importlib
import subprocess
import sys
from typing import Any

import array_api_compat
import ml_dtypes
import numpy as np
import pytest

import xpconv as xc
from tests.sizes import NIGHTLY

BF16 = np.dtype(ml_dtypes.bfloat16)
ALGORITHMS = ("auto", "direct", "gemm", "toeplitz")


class Library:
    """One library's bfloat16: arrays go in from NumPy and come back."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.module = importlib.import_module(name if name != "jax" else "jax.numpy")

    def asarray(self, array: np.ndarray) -> Any:
        if self.name != "torch":
            return self.module.asarray(array)
        if array.dtype == BF16:
            return self.module.asarray(array.astype(np.float32)).to(self.module.bfloat16)
        return self.module.asarray(array)

    def to_numpy(self, array: Any) -> np.ndarray:
        if self.name == "torch":
            half = array.dtype == self.module.bfloat16
            return array.float().numpy().astype(BF16) if half else array.numpy()
        return np.array(array)


@pytest.fixture(scope="module", params=["numpy", "torch", *["jax"] * NIGHTLY])
def library(request: pytest.FixtureRequest) -> Library:
    return Library(request.param)


def numbers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(BF16)


def compare(library: Library, function: Any, *arguments: Any, **options: Any) -> None:
    """Call with bfloat16 and with the same values in float32; demand the second rounded once."""
    __tracebackhide__ = True
    found, wanted = (
        function(*(library.asarray(a.astype(d)) if isinstance(a, np.ndarray) else a for a in arguments), **options)
        for d in (BF16, np.float32)
    )
    found, wanted = (r if isinstance(r, tuple) else (r,) for r in (found, wanted))
    for got, expected in zip(found, wanted, strict=True):
        got, expected = library.to_numpy(got), library.to_numpy(expected)
        if expected.dtype == np.float32:
            assert got.dtype == BF16
            expected = expected.astype(BF16)
        np.testing.assert_array_equal(got.astype(np.float64), expected.astype(np.float64))


X, W, B, DZ = (numbers(s, i) for i, s in enumerate(((2, 9, 8, 6), (3, 2, 3, 8), (8,), (2, 5, 8, 8))))
OPTIONS = {"stride": (2, 1), "padding": ((1, 1), (0, 1)), "groups": 2}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_conv(library: Library, algorithm: str) -> None:
    compare(library, xc.conv, X, W, B, algorithm=algorithm, **OPTIONS)
    compare(library, xc.conv_vjp, DZ, X, W, algorithm=algorithm, **OPTIONS)
    compare(library, xc.conv_input_grad, DZ, W, X.shape, algorithm=algorithm, **OPTIONS)
    compare(library, xc.conv_weight_grad, DZ, X, W.shape, algorithm=algorithm, **OPTIONS)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_depthwise_and_channels_first(library: Library, algorithm: str) -> None:
    x, w, dz = numbers((2, 4, 6, 7), 0), numbers((4, 1, 3, 3), 1), numbers((2, 4, 6, 7), 2)
    options = {"padding": 1, "groups": 4, "layout": "channels_first", "algorithm": algorithm}
    compare(library, xc.conv, x, w, padding_mode="reflect", **options)
    compare(library, xc.conv_vjp, dz, x, w, **options)


def test_sums_do_not_stall(library: Library) -> None:
    """4,096 ones: a bfloat16 sum would stop at 256, in the forward pass and in each gradient."""
    x, w = np.ones((1, 64, 64), BF16), np.ones((64, 64, 2), BF16)
    z = library.to_numpy(xc.conv(library.asarray(x), library.asarray(w)))
    assert (z.astype(float) == 4096).all()
    many, one = np.ones((1, 4096, 1), BF16), np.ones((1, 1, 1), BF16)
    _, dw, db = xc.conv_vjp(*(library.asarray(a) for a in (many, many, one)))
    assert library.to_numpy(dw).astype(float).item() == library.to_numpy(db).astype(float).item() == 4096
    heavy = np.array([256, *[1] * 15], BF16).reshape(1, 16, 1)
    assert library.to_numpy(xc.avg_pool(library.asarray(heavy), 16)).astype(float).item() == 17  # of 271 / 16


def test_transposed(library: Library) -> None:
    x, w, b = numbers((2, 5, 4, 6), 0), numbers((3, 3, 4, 6), 1), numbers((4,), 2)
    compare(library, xc.conv_transpose, x, w, b, stride=2, padding=1)
    compare(library, xc.conv_transpose_vjp, numbers((2, 9, 7, 4), 3), x, w, stride=2, padding=1)


def test_pooling(library: Library) -> None:
    compare(library, xc.max_pool, X, 3, stride=2, padding=1)
    compare(library, xc.max_pool, X, 3, stride=2, padding=1, return_indices=True)
    compare(library, xc.avg_pool, X, (3, 2), stride=1, padding=1, count_include_pad=False)
    dy = numbers((2, 5, 4, 6), 4)
    for ties in ("first", "all", "split"):
        compare(library, xc.max_pool_vjp, dy, X, 3, stride=2, padding=1, ties=ties)
    compare(library, xc.avg_pool_vjp, dy, X.shape, 3, stride=2, padding=1)


def test_pooling_propagates_nan(library: Library) -> None:
    x = numbers((1, 6, 6, 2), 5)
    x[0, 2, 3, 1] = np.nan
    compare(library, xc.max_pool, x, 3, stride=1, return_indices=True)
    compare(library, xc.max_pool_vjp, numbers((1, 4, 4, 2), 6), x, 3, stride=1)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_pad(library: Library, mode: str) -> None:
    compare(library, xc.pad, X, ((1, 2), (2, 0)), mode=mode)
    # small whole numbers: sums of them need no rounding
    dy = np.random.default_rng(0).integers(-4, 5, (2, 12, 10, 6)).astype(BF16)
    compare(library, xc.pad_vjp, dy, X.shape, ((1, 2), (2, 0)), mode=mode)


def test_the_error_bound_holds(library: Library) -> None:
    x, w, b = (library.asarray(a) for a in (X, W, B))
    bound = library.to_numpy(xc.error_bound(x, w, b, **OPTIONS)).astype(float)
    z = library.to_numpy(xc.conv(x, w, b, **OPTIONS)).astype(float)
    exact = xc.conv(*(a.astype(np.float64) for a in (X, W, B)), **OPTIONS)
    assert (abs(z - exact) <= bound).all()
    assert (bound <= 0.01 * (1 + xc.conv(*(abs(a.astype(np.float64)) for a in (X, W, B)), **OPTIONS))).all()


def test_a_wider_result_and_the_name(library: Library) -> None:
    x, w = library.asarray(X), library.asarray(W)
    wide = library.to_numpy(xc.conv(x, w, dtype="float32", **OPTIONS))
    assert wide.dtype == np.float32
    narrow = library.to_numpy(xc.conv(x, w, dtype="bfloat16", **OPTIONS))
    np.testing.assert_array_equal(narrow.astype(float), wide.astype(BF16).astype(float))
    assert array_api_compat.array_namespace(xc.conv(x, w, **OPTIONS)) is array_api_compat.array_namespace(x)


def test_mixed_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match=r"one dtype; got x\.dtype=bfloat16, w\.dtype=float32"):
        xc.conv(X, W.astype(np.float32))


def test_the_name_is_known_to_numpy_only_with_ml_dtypes() -> None:
    """The package never loads it."""
    script = (
        "import sys, xpconv\n"
        "try:\n    xpconv.explain((1, 4, 4, 1), (3, 3, 1, 1), dtype='bfloat16')\n"
        "except TypeError as error:\n    assert 'dtype is a numeric dtype' in str(error), error\n"
        "else:\n    raise SystemExit('accepted')\n"
        "assert 'ml_dtypes' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
    assert xc.explain((1, 4, 4, 1), (3, 3, 1, 1), dtype="bfloat16").flops > 0
