"""Integer convolution is exact and wraps as NumPy's integers do, whatever floating type it goes through inside."""

import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import backends, sizes
from tests.backends import Backend
from tests.memory import MIB, beside

SIGNED, UNSIGNED = ("int8", "int16", "int32", "int64"), ("uint8", "uint16", "uint32", "uint64")
WIDER = [
    ("int8", "int16"), ("int8", "int32"), ("int8", "int64"), ("int16", "int32"), ("int16", "int64"),
    ("int32", "int64"), ("uint8", "int16"), ("uint8", "uint16"), ("uint8", "int32"), ("uint8", "uint64"),
    ("uint16", "int32"), ("uint16", "uint64"), ("uint32", "int64"), ("uint32", "uint64"),
]  # fmt: skip
PAIRS = [(dtype, dtype) for dtype in (*SIGNED, *UNSIGNED)] + WIDER
ALGORITHMS = ("direct", "gemm")

# x, w, stride, before, after, dilation, groups: sums longer than a stretch of exact ones (1,170 products forward, in
# the gradient of the input, in that of the weight), and every way that channels can be grouped
Layer = tuple[tuple[int, ...], tuple[int, ...], tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int], int]
LAYERS: dict[str, Layer] = {
    "many inputs": ((1, 5, 4, 130), (3, 3, 130, 2), (1, 1), (1, 1), (1, 1), (1, 1), 1),
    "many outputs": ((1, 5, 4, 2), (3, 3, 2, 130), (1, 1), (1, 1), (0, 1), (1, 1), 1),
    "many pixels": ((1, 43, 41, 2), (2, 1, 2, 2), (1, 1), (0, 0), (0, 0), (1, 1), 1),
    "groups": ((2, 7, 8, 6), (3, 2, 3, 8), (2, 1), (1, 0), (2, 1), (1, 2), 2),
    "depthwise": ((2, 6, 5, 4), (3, 3, 1, 4), (1, 2), (1, 1), (1, 1), (1, 1), 4),
    "pointwise": ((2, 3, 4, 40), (1, 1, 40, 3), (1, 1), (0, 0), (0, 0), (1, 1), 1),
}
VALUES = ("random", "least", "greatest", "alternating")


def values(kind: str, shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Make integers of the whole range of a dtype, or its extremes."""
    limits = np.iinfo(dtype)
    if kind == "random":
        return np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype, endpoint=True)
    if kind == "alternating":
        return np.resize(np.array([limits.min, limits.max, limits.max], dtype), shape)
    return np.full(shape, limits.min if kind == "least" else limits.max, dtype)


def options_of(name: str) -> dict[str, Any]:
    _, _, stride, before, after, dilation, groups = LAYERS[name]
    padding = tuple(zip(before, after, strict=True))
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def output_shape(name: str) -> tuple[int, ...]:
    x, w, stride, before, after, dilation, _ = LAYERS[name]
    size = (
        (n + b + a - d * (k - 1) - 1) // s + 1
        for n, k, s, b, a, d in zip(x[1:3], w[:2], stride, before, after, dilation, strict=True)
    )
    return (x[0], *size, w[-1])


def wrapped(exact: np.ndarray, dtype: str) -> np.ndarray:
    """Reduce Python integers modulo 2^bits into the range of a dtype."""
    limits = np.iinfo(dtype)
    reduced = (exact - limits.min) % (1 << limits.bits) + limits.min
    return np.array(reduced.tolist(), dtype).reshape(exact.shape)


@cache
def exact(name: str, dtype: str, kind: str) -> tuple[np.ndarray, ...]:
    """Give x, w, b, dz and in Python's integers z, dx, dw, db, by the definition."""
    x_shape, w_shape, stride, before, after, dilation, groups = LAYERS[name]
    out = output_shape(name)
    x, w, b, dz = (values(kind, s, dtype, i) for i, s in enumerate((x_shape, w_shape, out[-1:], out)))
    inside = tuple(slice(p, p + n) for p, n in zip(before, x_shape[1:3], strict=True))
    padded_size = [n + p + q for n, p, q in zip(x_shape[1:3], before, after, strict=True)]
    padded = np.zeros((x_shape[0], *padded_size, x_shape[-1]), object)
    padded[:, *inside] = x.astype(object)
    kernel, gradient = w.astype(object), dz.astype(object)
    z, dx, dw = np.zeros(out, object), np.zeros(padded.shape, object), np.zeros(w_shape, object)
    depth, width = x_shape[-1] // groups, w_shape[-1] // groups
    for tap in np.ndindex(*w_shape[:2]):
        place = tuple(
            slice(k * d, k * d + (o - 1) * s + 1, s) for k, d, o, s in zip(tap, dilation, out[1:3], stride, strict=True)
        )
        for g in range(groups):
            c, f = slice(g * depth, (g + 1) * depth), slice(g * width, (g + 1) * width)
            pixels = padded[:, *place, c]
            z[..., f] += np.dot(pixels, kernel[(*tap, slice(None), f)])
            dx[:, *place, c] += np.dot(gradient[..., f], kernel[(*tap, slice(None), f)].T)
            dw[(*tap, slice(None), f)] += np.dot(pixels.reshape(-1, depth).T, gradient[..., f].reshape(-1, width))
    return x, w, b, dz, z + b.astype(object), dx[:, *inside], dw, gradient.reshape(-1, out[-1]).sum(axis=0)


def demand(backend: Backend, got: Any, wanted: np.ndarray, dtype: str) -> None:
    __tracebackhide__ = True
    got = backend.to_numpy(got)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, wrapped(wanted, dtype))


def check(backend: Backend, name: str, dtype: str, wide: str, kind: str, algorithm: str) -> None:
    """Hold the forward pass and all gradients against Python's integers."""
    __tracebackhide__ = True
    x, w, b, dz, *wanted = exact(name, dtype, kind)
    options = {**options_of(name), "algorithm": algorithm}
    if wide != dtype:
        options["dtype"] = wide
    found = (
        backend.call(xc.conv, x, w, b, **options),
        *backend.call(xc.conv_vjp, dz, x, w, **options),
    )
    for got, expected in zip(found, wanted, strict=True):
        demand(backend, got, expected, wide)


@pytest.fixture(scope="module")
def plain() -> Backend:
    return backends.load("numpy-readonly")


@pytest.mark.parametrize("dtype", [*SIGNED, *UNSIGNED])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", LAYERS)
def test_numpy(plain: Backend, name: str, algorithm: str, dtype: str) -> None:
    """In its own dtype and in all wider ones; in a normal run two kinds of numbers for each, in turn."""
    for place, (_, wide) in enumerate(pair for pair in PAIRS if pair[0] == dtype):
        first = (place + ALGORITHMS.index(algorithm)) % 2
        for kind in VALUES if sizes.FULL else VALUES[first::2]:
            check(plain, name, dtype, wide, kind, algorithm)


LIBRARIES = ("strict", "strict-no-float64", "torch", "cupy", "jax", "jax-jit", "jax-x64", "dask", "dpnp")


def libraries() -> Iterator[tuple[str, str, str, str]]:
    """Give each library with the pairs that it has; in a normal run they take turns, and so where each is compiled."""
    for place, name in enumerate(LIBRARIES):
        lacks = backends.LACKS.get(name, frozenset())
        pairs = [(dtype, wide) for dtype, wide in PAIRS if not {dtype, wide} & lacks]
        slow = name in backends.SLOW
        if slow:  # the widest of each dtype
            pairs = list(dict(pairs).items())
        for dtype, wide in sizes.share(pairs, place, sizes.count(5, 2, 1)):
            for algorithm in ALGORITHMS[1:] if slow else ALGORITHMS:
                yield name, dtype, wide, algorithm


@pytest.mark.parametrize(("backend", "dtype", "wide", "algorithm"), list(libraries()), indirect=["backend"])
def test_every_library(backend: Backend, dtype: str, wide: str, algorithm: str) -> None:
    for name in ("many inputs",) if backend.name in backends.SLOW else LAYERS:
        check(backend, name, dtype, wide, "random", algorithm)


TRACED = sizes.share([*SIGNED, *UNSIGNED], 0, 8) if sizes.FULL else []  # a dozen seconds to compile each


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [*itertools.product(("numpy", "torch"), (*SIGNED, *UNSIGNED)), *(("jax", dtype) for dtype in TRACED)],
    indirect=["backend"],
)
def test_transposed_and_padding_modes_are_exact(backend: Backend, dtype: str) -> None:
    """The passes that are made of others: a padding that repeats pixels, and its gradient by the adjoint identity."""
    x, w = values("random", (2, 6, 5, 3), dtype, 0), values("random", (3, 3, 3, 4), dtype, 1)
    dz = values("random", (2, 6, 5, 4), dtype, 2)
    options = {"padding": 1, "padding_mode": "reflect"}
    z = backend.to_numpy(backend.call(xc.conv, x, w, **options)).astype(object)
    around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect").astype(object)
    expected = np.zeros(z.shape, object)
    for i, j in itertools.product(range(3), range(3)):
        expected += np.dot(around[:, i : i + 6, j : j + 5], w[i, j].astype(object))
    np.testing.assert_array_equal(wrapped(z, dtype), wrapped(expected, dtype))
    modulus = 1 << np.iinfo(dtype).bits
    dx, dw, _ = (backend.to_numpy(a).astype(object) for a in backend.call(xc.conv_vjp, dz, x, w, **options))
    inner = [int((a.astype(object) * b.astype(object)).sum()) % modulus for a, b in ((z, dz), (x, dx), (w, dw))]
    assert inner[0] == inner[1] == inner[2]
    # the transposed convolution is the gradient of the input
    up = backend.call(xc.conv_transpose, dz, w, stride=2)
    dx = backend.call(xc.conv_input_grad, dz, w, tuple(up.shape), stride=2)
    np.testing.assert_array_equal(backend.to_numpy(up), backend.to_numpy(dx))


def test_the_error_bound_of_integers_is_zero() -> None:
    x, w = values("least", (1, 4, 4, 2), "int8", 0), values("least", (3, 3, 2, 2), "int8", 1)
    for dtype in (None, "int32"):
        bound = xc.error_bound(x, w, dtype=dtype)
        assert bound.dtype == (dtype or "int8")
        assert not bound.any()


MEMORY: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "images": ((24, 28, 28, 16), (3, 3, 16, 16), 1),
    "groups": ((2, 56, 56, 16), (3, 3, 8, 16), 2),
    "depthwise": ((4, 40, 40, 32), (3, 3, 1, 32), 32),
    "pointwise": ((1, 14, 14, 64), (1, 1, 64, 64), 1),
}
ENOUGH = {"images": 8, "groups": 1, "depthwise": 2}  # images, for 2 MiB
STORED = [
    ("int8", "int8"), ("int8", "int32"), ("uint8", "int64"), ("int16", "int16"), ("int32", "int32"),
    ("int64", "int64"), ("uint32", "int64"),
]  # fmt: skip
HELD = [
    (name, dtype, wide, algorithm, limit)
    for dtype, wide in STORED
    for name in MEMORY
    for algorithm in ALGORITHMS
    for limit in sizes.full([2, 64], [2])
]


@pytest.mark.parametrize(("name", "dtype", "wide", "algorithm", "limit"), sizes.share(HELD, 0, sizes.count(5, 3, 1)))
def test_memory(name: str, dtype: str, wide: str, algorithm: str, limit: int) -> None:
    x_shape, w_shape, groups = MEMORY[name]
    if limit == 2 and not sizes.NIGHTLY:
        x_shape = (ENOUGH.get(name, x_shape[0]), *x_shape[1:])
    x, w = np.ones(x_shape, dtype), np.ones(w_shape, dtype)
    dz = np.ones((*x_shape[:-1], w_shape[-1]), dtype)
    options = {"padding": w_shape[0] // 2, "groups": groups, "algorithm": algorithm, "dtype": wide}
    for threads in sizes.full([1, 4], [4]):
        with xc.set_options(max_workspace=limit * MIB, threads=threads):
            assert beside(lambda: xc.conv(x, w, **options)) <= limit * MIB
            assert beside(lambda: xc.conv_input_grad(dz, w, x_shape, **options)) <= limit * MIB
            assert beside(lambda: xc.conv_weight_grad(dz, x, w_shape, **options)) <= limit * MIB


def test_int8_is_multiplied_in_float32() -> None:
    """The columns of int8 images are float32, so that a product is BLAS's."""
    from xpconv._arrays.arithmetic import Arithmetic

    xp = backends.load("numpy").xp
    narrow = Arithmetic.of(xp, np.dtype("int8"), np.dtype("int32"), double=True)
    assert (narrow.seen, np.dtype(narrow.factors), narrow.sums) == ("int8", "float32", "int32")
    assert narrow.exact.terms == 1024
    assert Arithmetic.of(xp, np.dtype("int32"), np.dtype("int32"), double=True).exact.products == 3
    assert Arithmetic.of(xp, np.dtype("int64"), np.dtype("int64"), double=True).exact.products == 6
    assert Arithmetic.of(xp, np.dtype("int32"), np.dtype("int32"), double=False).exact is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_bits_do_not_depend_on_the_threads(algorithm: str) -> None:
    x, w = values("random", (4, 20, 20, 16), "int64", 0), values("random", (3, 3, 16, 8), "int64", 1)
    dz = values("random", (4, 20, 20, 8), "int64", 2)
    found = []
    for threads in (1, 3):
        with xc.set_options(threads=threads):
            found.append(xc.conv_vjp(dz, x, w, padding=1, algorithm=algorithm))
    for one, many in zip(*found, strict=True):
        np.testing.assert_array_equal(one, many)
