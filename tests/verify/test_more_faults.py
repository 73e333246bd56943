"""Faults of operations beside convolution and ordinary pooling, and of dtypes beside float32: each is caught."""

import numpy as np
import pytest

import xpconv
from xpconv._tools import libraries as _libraries
from xpconv.verify.catalogue.tasks import tasks
from xpconv.verify.check.bench import Bench
from xpconv.verify.check.oracle import Oracle

ORACLE = Oracle(0)
GOOD = {name: getattr(xpconv, name) for name in xpconv.__all__ if callable(getattr(xpconv, name))}


def failures(name, dtypes=("float32",)):
    bench = Bench(_libraries.load("numpy"), ORACLE)
    return [result for result in map(bench.check, tasks(dtypes, (name,), True)) if not result.passed]


def without_one(name, keyword, wrong):
    return lambda *arrays, **options: GOOD[name](
        *arrays, **{**options, **({keyword: wrong} if keyword in options else {})}
    )


def scaled(name, number=0, by=1.001):
    def function(*arrays, **options):
        found = GOOD[name](*arrays, **options)
        if not isinstance(found, tuple):
            return (found * by).astype(found.dtype)
        return tuple((part * by).astype(part.dtype) if i == number else part for i, part in enumerate(found))

    return function


def last_wins(cols, shape, window, **options):
    """Overwrite where windows overlap."""
    counts = GOOD["fold"](np.ones_like(cols), shape, window, **options)
    return (GOOD["fold"](cols, shape, window, **options) / np.maximum(counts, 1)).astype(cols.dtype)


def even_cuts(x, output_shape, **options):
    """Take windows of equal size, the rest dropped."""
    if options.get("layout") == "channels_first":
        return GOOD["adaptive_avg_pool"](x, output_shape, **options)
    size = x.shape[1:-1]
    parts = (output_shape,) * len(size) if isinstance(output_shape, int) else output_shape
    if any(n < m for n, m in zip(size, parts, strict=True)):
        return GOOD["adaptive_avg_pool"](x, output_shape, **options)
    kept = tuple(slice(0, n // m * m) for n, m in zip(size, parts, strict=True))
    return GOOD["adaptive_avg_pool"](np.ascontiguousarray(x[(slice(None), *kept)]), output_shape, **options)


FAULTS = [
    ("conv_transpose", lambda x, w, b=None, **o: GOOD["conv_transpose"](x, w, None, **o)),
    ("conv_transpose", lambda x, w, b=None, **o: GOOD["conv_transpose"](x, np.flip(w, (-3,)), b, **o)),
    ("conv_transpose_vjp", scaled("conv_transpose_vjp", 1)),
    ("conv_transpose_vjp", lambda dz, x, w, **o: (*GOOD["conv_transpose_vjp"](dz, x, w, **o)[:2], w[..., 0, 0, 0])),
    ("lp_pool", lambda x, p, window, **o: GOOD["lp_pool"](x, p + 1e-4, window, **o)),
    ("lp_pool", lambda x, p, window, **o: GOOD["lp_pool"](np.abs(x) + np.float32(0.001), p, window, **o)),
    ("lp_pool_vjp", lambda dy, x, p, window, **o: np.abs(GOOD["lp_pool_vjp"](dy, x, p, window, **o))),
    ("lp_pool_vjp", scaled("lp_pool_vjp", by=1 + 1e-5)),
    ("adaptive_avg_pool", even_cuts),
    ("adaptive_avg_pool_vjp", scaled("adaptive_avg_pool_vjp")),
    ("adaptive_max_pool_vjp", lambda dy, x, out, **o: GOOD["adaptive_max_pool_vjp"](dy, -x, out, **o)),
    ("max_unpool", lambda y, i, out, **o: GOOD["max_unpool"](y, np.maximum(i, 0), out, **o)),
    ("unfold", lambda x, window, **o: GOOD["unfold"](np.flip(x, 0), window, **o)),
    ("fold", last_wins),
    ("pad", without_one("pad", "mode", "replicate")),
    ("pad_vjp", without_one("pad_vjp", "mode", "zeros")),
    ("conv", without_one("conv", "padding_mode", "replicate")),
    ("conv_vjp", without_one("conv_vjp", "padding_mode", "circular")),
]


@pytest.mark.parametrize(("name", "fault"), FAULTS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(FAULTS)])
def test_a_fault_is_caught(monkeypatch, name, fault):
    assert failures(name) == []
    monkeypatch.setattr(xpconv, name, fault)
    found = failures(name)
    assert found
    assert all(result.task.operation.name == name for result in found)


def saturating(x, w, b=None, **options):
    """Clip where NumPy's integers wrap."""
    if x.dtype.kind not in "iu":
        return GOOD["conv"](x, w, b, **options)
    dtype = np.dtype(options.pop("dtype", x.dtype))
    wide = GOOD["conv"](x.astype(float), w.astype(float), None if b is None else b.astype(float), **options)
    return np.clip(wide, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def unconjugated(dz, x, w, **options):
    return GOOD["conv_vjp"](dz, np.conj(x), np.conj(w), **options)


@pytest.mark.parametrize(
    ("name", "fault", "dtype", "others"),
    [
        ("conv", saturating, "int8", "float32"),
        ("conv", saturating, "uint32", "float64"),
        ("conv_vjp", unconjugated, "complex64", "float32"),
        ("conv", lambda x, w, b=None, **o: GOOD["conv"](x, w, b, **o).real.astype(x.dtype), "complex128", "float64"),
    ],
)
def test_a_fault_of_one_dtype_is_caught(monkeypatch, name, fault, dtype, others):
    monkeypatch.setattr(xpconv, name, fault)
    assert failures(name, (dtype,))
    assert failures(name, (others,)) == []
