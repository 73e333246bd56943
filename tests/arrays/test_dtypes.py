"""What each dtype promises: accumulation, results, wrapping, and what is refused by name."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import backends, checks, oracle
from tests.backends import Backend
from tests.cases import CONV, values
from tests.sizes import full

QUICK = ["numpy", "torch", "cupy", "dpnp"]


@pytest.mark.parametrize("algorithm", ["direct", "gemm"])
@pytest.mark.parametrize("backend", full([*QUICK, "jax", "jax-jit", "dask"], QUICK), indirect=True)
def test_float16_sums_do_not_stall(backend: Backend, algorithm: str) -> None:
    """4,096 ones: a float16 sum would stop at 2,048, in the forward pass and in each gradient."""
    x, w = np.ones((1, 64, 4), np.float16), np.ones((64, 4, 16), np.float16)
    z = backend.call(xc.conv, x, w, algorithm=algorithm)
    checks.demand(backend, z, np.full((1, 1, 16), 256.0), "float16")
    many = np.ones((1, 4096, 1), np.float16)
    one = np.ones((1, 1, 1), np.float16)
    dx, dw, db = backend.call(xc.conv_vjp, many, many, one, algorithm=algorithm)
    checks.demand(backend, dw, [[[4096.0]]], "float16")
    checks.demand(backend, db, [4096.0], "float16")
    wide = backend.call(
        xc.conv, np.ones((1, 1, 4096), np.float16), np.ones((1, 4096, 2), np.float16), algorithm=algorithm
    )
    checks.demand(backend, wide, np.full((1, 1, 2), 4096.0), "float16")
    dx = backend.call(
        xc.conv_input_grad,
        np.ones((1, 1, 4096), np.float16),
        np.ones((1, 1, 4096), np.float16),
        (1, 1, 1),
        algorithm=algorithm,
    )
    checks.demand(backend, dx, [[[4096.0]]], "float16")


@pytest.mark.parametrize("backend", full([*QUICK, "jax-jit", "dask"], [*QUICK, "jax-jit"]), indirect=True)
def test_float16_pooling_sums_do_not_stall(backend: Backend) -> None:
    """2,048 and fourteen ones: in float16, 2,048 + 1 is 2,048."""
    heavy = np.array([2048, *[1] * 14, 0], np.float16).reshape(1, 16, 1)
    checks.demand(backend, backend.call(xc.avg_pool, heavy, 16), [[[2062 / 16]]], "float16")
    # sixteen windows of sixteen pixels share the pixel in the middle
    middle = np.zeros((1, 31, 1), np.float16)
    middle[0, 15] = 1
    dx = backend.call(xc.max_pool_vjp, heavy, middle, 16, stride=1)
    checks.demand(backend, dx, 2062.0 * middle, "float16")
    dx = backend.call(xc.avg_pool_vjp, heavy * 16, middle.shape, 16, stride=1)
    expected = oracle.avg_pool_vjp(heavy * 16, middle.shape, 16, stride=1)
    assert expected[0, 15, 0] == 2062
    checks.demand(backend, dx, expected.astype(np.float16), "float16")


NARROW = {"int32": "int8", "int16": "uint8", "float64": "float32"}


@pytest.mark.parametrize("wide", NARROW)
@pytest.mark.parametrize("as_name", [True, False])
@pytest.mark.parametrize(
    "backend", full(["numpy", "strict", "torch", "cupy", "dpnp", "jax", "jax-x64", "dask"], QUICK), indirect=True
)
def test_dtype_keyword(backend: Backend, as_name: bool, wide: str) -> None:
    """Accumulation and result in the wider dtype: 100 × 100 × 12 does not fit int8, nor int16."""
    narrow = NARROW[wide]
    case = CONV["pairs"]
    options = case.options()
    x, w, dz = (np.full(case.shape(role), 100, narrow) for role in ("x", "w", "dz"))
    dtype: Any = wide if as_name else getattr(backend.xp, wide, np.dtype(wide))
    z = backend.call(xc.conv, x, w, **options, dtype=dtype)
    checks.demand(backend, z, oracle.conv(x, w, **options), wide)
    expected = oracle.conv_vjp(dz, x, w, **options)
    for wanted, result in zip(expected, backend.call(xc.conv_vjp, dz, x, w, **options, dtype=dtype), strict=True):
        checks.demand(backend, result, wanted, wide)


def test_dtype_keyword_widens_before_it_multiplies(numpy_backend: Backend) -> None:
    """1 + 2⁻²⁴ needs float64 in the sum, not only in the result."""
    x, w = np.array([1, 2.0**-24], np.float32).reshape(1, 1, 2), np.ones((1, 2, 1), np.float32)
    checks.demand(numpy_backend, xc.conv(x, w, dtype="float64"), [[[1 + 2.0**-24]]], "float64")


X32, W32 = values((1, 4, 4, 2), 0, "float32"), values((3, 3, 2, 3), 1, "float32")
DZ32 = values((1, 2, 2, 3), 2, "float32")


def array_of(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Whole numbers."""
    return values(shape, 0, "int64", 0, 1).astype(dtype)


# what is wrong -> (function, arguments, keywords, pattern)
REFUSED: dict[str, tuple[str, tuple, dict[str, Any], str]] = {
    "mixed x, w": ("conv", (X32, W32.astype("float64")), {}, r"one dtype.*float32.*float64"),
    "mixed b": ("conv", (X32, W32, np.ones(3, "float64")), {}, r"one dtype.*float32.*float64"),
    "mixed dz": ("conv_vjp", (DZ32.astype("int32"), X32, W32), {}, r"one dtype.*dz\.dtype=\S*int32"),
    "mixed dz, w": ("conv_input_grad", (DZ32, W32.astype("float64"), (1, 4, 4, 2)), {}, r"one dtype"),
    "mixed dz, x": ("conv_weight_grad", (DZ32, X32.astype("float64"), (3, 3, 2, 3)), {}, r"one dtype"),
    "mixed dy": ("max_pool_vjp", (X32[:, ::2, ::2].astype("float64"), X32, 2), {}, r"one dtype.*dy\.dtype=\S*float64"),
    "boolean": ("conv", (X32 > 0, W32 > 0), {}, r"numeric dtype.*bool.*astype"),
    "boolean max": ("max_pool", (X32 > 0, 2), {}, r"bool"),
    "boolean mean": ("avg_pool", (X32 > 0, 2), {}, r"bool"),
    "integer mean": (
        "avg_pool",
        (array_of((1, 4, 4, 2), "int32"), 2),
        {},
        r"int32.*(astype|float)|(astype|float).*int32",
    ),
    "integer mean vjp": ("avg_pool_vjp", (array_of((1, 2, 2, 2), "int8"), (1, 4, 4, 2), 2), {}, r"int8"),
    "complex max": ("max_pool", (X32.astype("complex64"), 2), {}, r"complex"),
    "complex max vjp": ("max_pool_vjp", (X32[:, ::2, ::2] + 0j, X32 + 0j, 2), {}, r"complex"),
    "narrower dtype": (
        "conv",
        (X32.astype("float64"), W32.astype("float64")),
        {"dtype": "float32"},
        r"dtype.*float32.*float64",
    ),
    "float to integer": ("conv", (X32, W32), {"dtype": "int32"}, r"dtype.*int32"),
    "no dtype": ("conv", (X32, W32), {"dtype": "float31"}, r"dtype.*float31"),
}


@pytest.mark.parametrize("other", ["strict", "torch"])
@pytest.mark.parametrize("wrong", REFUSED)
def test_type_errors(numpy_backend: Backend, wrong: str, other: str) -> None:
    """One class and one text, on every backend."""
    function, arguments, options, pattern = REFUSED[wrong]
    texts = []
    for backend in (numpy_backend, backends.load(other)):
        with pytest.raises(TypeError, match=rf"(?s)^{function}: .*{pattern}") as caught:
            backend.call(getattr(xc, function), *arguments, **options)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_arrays_of_two_libraries_are_refused() -> None:
    strict = backends.load("strict")
    x, w, w_numpy = strict.asarray(X32), strict.asarray(W32), W32
    for arguments in ((x, w_numpy), (X32, w), (x, w, np.ones(3, "float32"))):
        with pytest.raises(TypeError, match=r"^conv: .*one library.*(numpy.*strict|strict.*numpy)"):
            xc.conv(*arguments)
    with pytest.raises(TypeError, match=r"^max_pool_vjp: .*one library"):
        xc.max_pool_vjp(X32[:, ::2, ::2], x, 2)


def test_arrays_on_two_devices_are_refused() -> None:
    here, there = backends.load("strict"), backends.load("strict-device1")
    with pytest.raises(TypeError, match=r"^conv: .*one device.*device1"):
        xc.conv(here.asarray(X32), there.asarray(W32))
    with pytest.raises(TypeError, match=r"^conv_vjp: .*one device"):
        xc.conv_vjp(there.asarray(DZ32), here.asarray(X32), here.asarray(W32))


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^conv: x is an array; got list"):
        xc.conv(X32.tolist(), W32)
    with pytest.raises(TypeError, match=r"^conv: w is .*MaskedArray"):
        xc.conv(X32, np.ma.masked_array(W32))
    with pytest.raises(TypeError, match=r"^max_pool: x is an array; got int"):
        xc.max_pool(3, 2)
    with pytest.raises(TypeError, match=r"^conv: w is an array; got NoneType"):
        xc.conv(X32, None)
