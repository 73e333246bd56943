"""⟨conv(x, w), g⟩ = ⟨x, dx⟩ = ⟨w, dw⟩ on whole numbers: exact, without a step size, at any size on any device."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import checks, oracle
from tests.backends import Backend
from tests.cases import values
from tests.sizes import FULL, compiles, full
from xpconv.testing import assert_adjoint

# x, w, options; sums stay below 2**24, so float32 holds them exactly
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "large 3x3": ((4, 112, 112, 64), (3, 3, 64, 64), {"padding": 1}),
    "first layer": ((4, 160, 160, 3), (7, 7, 3, 64), {"padding": 3, "stride": 2}),
    "1x1": ((8, 56, 56, 64), (1, 1, 64, 256), {}),
    "1x1 stride 2": ((4, 57, 56, 64), (1, 1, 64, 64), {"stride": 2}),
    "depthwise": ((2, 112, 112, 64), (3, 3, 1, 64), {"padding": "same", "stride": 2, "groups": 64}),
    "groups": ((2, 57, 61, 64), (3, 3, 8, 32), {"padding": ((1, 2), (0, 1)), "groups": 8}),
    "dilated": ((2, 97, 90, 16), (3, 5, 16, 24), {"padding": "same", "dilation": (5, 4)}),
    "stride and dilation": (
        (2, 99, 101, 16),
        (4, 3, 16, 24),
        {"padding": (3, 5), "stride": (4, 6), "dilation": (6, 4)},
    ),
    "1-d": ((4, 20_000, 16), (9, 16, 24), {"padding": "causal", "dilation": 4, "stride": 3}),
    "1-d large": ((2, 100_001, 8), (5, 8, 8), {"padding": "same"}),
    "3-d": ((2, 24, 40, 36, 8), (3, 3, 3, 8, 16), {"padding": 1, "stride": (1, 2, 2)}),
    "3-d groups": ((1, 30, 33, 31, 12), (3, 1, 3, 3, 8), {"padding": "same_lower", "stride": 2, "groups": 4}),
    "small images, many": ((500, 7, 7, 16), (3, 3, 16, 32), {"padding": "same"}),
}
BACKENDS = full(["numpy", "torch", "jax-jit", "cupy", "dpnp"], ["numpy", "cupy", "dpnp"])
LONG = ("large 3x3", "first layer", "1x1", "3-d", "small images, many", "dilated", "1-d", "1-d large")  # on a stand-in
FIRST = ("large 3x3", "stride and dilation", "3-d groups")  # of every backend; in a full run NumPy and CuPy take all


@pytest.mark.parametrize(
    ("backend", "name", "layout"),
    [
        (backend, name, layout)
        for backend in BACKENDS
        for name in LAYERS
        for layout in ("channels_last", "channels_first")
        if FULL or backend == "numpy" or name not in LONG
        if layout == "channels_last" or name in FIRST or (FULL and backend in ("numpy", "cupy"))
        if not compiles(backend) or (layout == "channels_last" and name not in LONG)
    ],
    indirect=["backend"],
)
def test_convolution(backend: Backend, name: str, layout: str) -> None:
    x_shape, w_shape, options = LAYERS[name]
    x, w = values(x_shape, 1, "float32", -2, 2), values(w_shape, 2, "float32", -2, 2)
    geometry = {"stride": 1, "padding": 0, "dilation": 1} | {k: v for k, v in options.items() if k != "groups"}
    out = oracle.sites(x_shape[1:-1], w_shape[:-2], **geometry).out
    dz = values((x_shape[0], *out, w_shape[-1]), 3, "float32", -2, 2)
    if layout == "channels_first":
        x, w, dz = oracle.to_first(x).copy(), oracle.kernel_first(w).copy(), oracle.to_first(dz).copy()
    options = {**options, "layout": layout, "algorithm": "gemm"}
    z = backend.call(xc.conv, x, w, **options)
    dx, dw, db = backend.call(xc.conv_vjp, dz, x, w, **options)
    for result, like in ((z, dz), (dx, x), (dw, w)):
        checks.demand_kind(backend, result, "float32", like.shape)
    to = backend.to_numpy
    assert_adjoint(to(z), dz, (x, to(dx)), (w, to(dw)))
    axes = tuple(a for a in range(dz.ndim) if a != (1 if layout == "channels_first" else dz.ndim - 1))
    np.testing.assert_array_equal(to(db), dz.sum(axes, dtype=np.float64))


POOLS: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    "2": ((4, 112, 112, 64), 2, {}),
    "4 overlapping": ((4, 112, 112, 32), 4, {"stride": 2, "padding": 1}),
    "ceil": ((2, 100, 99, 16), 2, {"stride": (3, 2), "padding": (1, 0), "ceil_mode": True}),
    "dilated": ((2, 64, 66, 16), 2, {"stride": 1, "dilation": (7, 3), "padding": ((4, 0), (1, 3))}),
    "1-d": ((4, 20_000, 8), 8, {"stride": 3}),
    "3-d": ((2, 30, 33, 31, 8), (2, 4, 2), {"stride": 2, "padding": (1, 0, 1)}),
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_average_pooling(backend: Backend, name: str) -> None:
    """Divisors that are powers of two, data in multiples of them: every mean is whole."""
    x_shape, window, options = POOLS[name]
    taps = int(np.prod(oracle.per_axis(window, len(x_shape) - 2)))
    x = values(x_shape, 1, "float32", -2, 2) * taps
    y = backend.to_numpy(backend.call(xc.avg_pool, x, window, **options))
    dy = values(y.shape, 2, "float32", -2, 2) * taps
    dx = backend.to_numpy(backend.call(xc.avg_pool_vjp, dy, x_shape, window, **options))
    assert_adjoint(y, dy, (x, dx))


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_max_pooling_where_it_is_linear(backend: Backend, name: str) -> None:
    """⟨y, dy⟩ = ⟨x, dx⟩, for a window's gradient goes to a pixel that has the window's value."""
    x_shape, window, options = POOLS[name]
    x = values(x_shape, 3, "float32", -50, 50)
    y = backend.to_numpy(backend.call(xc.max_pool, x, window, **options))
    dy = values(y.shape, 4, "float32", -3, 3)
    dx = backend.to_numpy(backend.call(xc.max_pool_vjp, dy, x, window, **options))
    assert_adjoint(y, dy, (x, dx))
