"""The bounds of convolutions: no error is beyond its bound, whatever the data; and no bound is idle."""

import functools
import math
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.backends import Backend
from tests.bounds.data import (
    COMPLEX,
    DATA,
    MILD,
    REAL,
    denormals,
    elsewhere,
    exponents,
    huge_pixels,
    near_overflow,
    one_sign,
    vanishing,
)
from tests.memory import MIB, beside
from tests.oracle.longdouble import convolve, ratio, wide
from tests.sizes import FULL, compiles, full_on
from xpconv import bounds
from xpconv._arrays import space as spaces
from xpconv._arrays.space import CUPY, JAX, NUMPY, TORCH, TORCH_CUDA, Space
from xpconv.algorithms import EVERYWHERE
from xpconv.bounds import terms as _error_terms

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")


# x, w, padding, its mode: kernels for every number of points, one to three axes, tiles with a rest
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Any, str]] = {
    "3x3": ((2, 37, 31, 6), (3, 3, 6, 8), 1, "zeros"),
    "5x2 reflected": ((1, 20, 23, 5), (5, 2, 5, 4), ((2, 2), (1, 0)), "reflect"),
    "7x7 depthwise": ((1, 30, 29, 4), (7, 7, 1, 4), 3, "zeros"),
    "1-d": ((2, 90, 6), (3, 6, 6), ((2, 0),), "zeros"),
    "3-d replicated": ((1, 7, 8, 9, 4), (2, 3, 2, 4, 4), 1, "replicate"),
    "deep": ((1, 9, 8, 96), (3, 3, 96, 12), 0, "zeros"),
    "few output channels": ((1, 14, 13, 20), (3, 2, 20, 3), 1, "zeros"),
}
COUNTED: dict[str, int] = {}


def layer(name: str, data: Any, dtype: str, seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Draw x, w and dz, and give the keywords."""
    x_shape, w_shape, pads, mode = LAYERS[name]
    rng = np.random.default_rng([seed, len(name), DATA.index(data)])
    rank = len(w_shape) - 2
    pairs = [(pads, pads)] * rank if isinstance(pads, int) else pads
    out = [n + a + b - k + 1 for n, k, (a, b) in zip(x_shape[1:-1], w_shape, pairs, strict=False)]
    shapes = {"x": x_shape, "w": w_shape, "dz": (x_shape[0], *out, w_shape[-1])}

    def draw(key: str) -> np.ndarray:
        values = data(rng, shapes[key], "w" if key == "w" else "x" if key == "x" else "dz")
        if dtype[0] == "c":
            values = values + 1j * data(rng, shapes[key], key)
        return values.astype(dtype)

    groups = x_shape[-1] if w_shape[-2] == 1 else 1
    return {key: draw(key) for key in shapes}, {"padding": pads, "padding_mode": mode, "groups": groups}


@functools.cache
def drawn(name: str, data: Any, dtype: str) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, np.ndarray]]:
    """Draw a layer, and give what it makes in long double, once for all algorithms and libraries."""
    arrays, options = layer(name, data, dtype)
    return arrays, options, convolve(*arrays.values(), options["padding"], options["padding_mode"])


def attack(name: str, data: Any, dtype: str, algorithm: str, backend: Backend | None = None) -> dict[str, float]:
    """Give the largest error over its bound, of z, dx and dw."""
    arrays, options, exact = drawn(name, data, dtype)
    x, w, dz = arrays["x"], arrays["w"], arrays["dz"]
    if backend is not None:
        x, w, dz = map(backend.asarray, (x, w, dz))
    options = {**options, "algorithm": algorithm}
    found = {
        "z": (xc.conv(x, w, **options), xc.error_bound(x, w, **options)),
        "dx": (
            xc.conv_input_grad(dz, w, tuple(x.shape), **options),
            bounds.conv_input_grad_error_bound(dz, w, tuple(x.shape), **options),
        ),
        "dw": (
            xc.conv_weight_grad(dz, x, tuple(w.shape), **options),
            bounds.conv_weight_grad_error_bound(dz, x, tuple(w.shape), **options),
        ),
    }
    if backend is not None:
        found = {key: tuple(map(backend.to_numpy, pair)) for key, pair in found.items()}
    COUNTED[algorithm] = COUNTED.get(algorithm, 0) + sum(int(np.isfinite(b).sum()) for _, b in found.values())
    return {key: ratio(got, exact[key], bound) for key, (got, bound) in found.items()}


@pytest.mark.parametrize("algorithm", EVERYWHERE)
def test_float32(algorithm: str, record_property: Any) -> None:
    """Every kind of data on every layer, in a normal run in turn."""
    COUNTED[algorithm] = 0
    pairs = [(name, data) for name in LAYERS for data in DATA]
    if not FULL:
        pairs = [pair for place, pair in enumerate(pairs) if (place + place // len(DATA)) % 2 == 0]
    found = {(name, data.__name__): attack(name, data, "float32", algorithm) for name, data in pairs}
    assert COUNTED[algorithm] >= (100_000 if FULL else 50_000)
    for key in ("z", "dx", "dw"):
        place = max(found, key=lambda at: found[at][key])
        record_property(f"{algorithm} {key}", f"{found[place][key]:.3g} {place}")
        print(f"{algorithm} float32 {key}: largest error over bound {found[place][key]:.3g}, {place}")
        assert found[place][key] <= 1, place
        assert found[place][key] > 0.001, "the bound is idle"


@pytest.mark.parametrize("dtype", [*REAL[1:], *COMPLEX])
@pytest.mark.parametrize("algorithm", EVERYWHERE)
def test_other_dtypes(algorithm: str, dtype: str) -> None:
    names = ("5x2 reflected", "7x7 depthwise", "1-d")
    narrow = dtype == "float16"
    kinds = MILD if narrow else DATA
    found = {}
    for place, name in enumerate(names):
        for data in kinds if FULL else kinds[place :: len(names)]:  # in a normal run they take turns
            found |= {(name, data.__name__, key): r for key, r in attack(name, data, dtype, algorithm).items()}
    place = max(found, key=found.__getitem__)
    print(f"{algorithm} {dtype}: largest error over bound {found[place]:.3g}, {place}")
    assert found[place] <= 1, place
    assert found[place] > 0.0003


@pytest.mark.parametrize(("backend", "algorithm"), elsewhere(EVERYWHERE), indirect=["backend"])
def test_other_libraries(backend: Backend, algorithm: str) -> None:
    """Some flush denormal numbers to zero, and some cannot compute again what is not finite."""
    names = ("1-d", "7x7 depthwise")
    for place, data in enumerate((one_sign, exponents, near_overflow, huge_pixels, denormals, vanishing)):
        turn = EVERYWHERE.index(algorithm) if compiles(backend) else place
        for name in names if full_on(backend) else names[turn % 2 :][:1]:
            found = attack(name, data, "float32", algorithm, backend)
            assert max(found.values()) <= 1, (name, data.__name__, found)


def test_strided_input_gradients() -> None:
    """Each stride phase has its own kernel; the largest relative error serves all."""
    rng = np.random.default_rng(0)
    w, dz = (rng.uniform(1, 2, s).astype(np.float32) for s in ((5, 4, 6, 8), (2, 12, 9, 8)))
    options = {"stride": (2, 3), "padding": 2, "dilation": (2, 1)}
    shape = (2, 27, 25, 6)
    got = xc.conv_input_grad(dz, w, shape, **options)
    exact = xc.conv_input_grad(dz.astype(np.float64), w.astype(np.float64), shape, **options)
    bound = bounds.conv_input_grad_error_bound(dz, w, shape, **options)
    assert 0.001 < ratio(got, wide(exact), bound) <= 1


def test_a_weight_gradient_of_many_pixels_is_counted_by_tiles() -> None:
    x, dz = np.ones((64, 64, 64, 4), np.float32), np.ones((64, 64, 64, 4), np.float32)
    bound = bounds.conv_weight_grad_error_bound(dz, x, (1, 1, 4, 4))
    plain = _error_terms.gamma(64**3, 2.0**-24) * 64**3
    assert (bound < plain / 4).all()


@pytest.mark.parametrize("algorithm", EVERYWHERE)
def test_bounds_stay_in_the_workspace(algorithm: str) -> None:
    batch, most = (48, 8 * MIB) if FULL else (12, 2 * MIB)
    x, w = np.ones((batch, 64, 64, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
    options = {"padding": 1, "algorithm": algorithm}
    with xc.set_options(max_workspace=most):
        assert beside(lambda: xc.error_bound(x, w, **options)) <= most
        assert beside(lambda: bounds.conv_input_grad_error_bound(x, w, x.shape, **options)) <= most
        assert beside(lambda: bounds.conv_weight_grad_error_bound(x, x, w.shape, **options)) <= most


def test_integers() -> None:
    x, w = np.ones((1, 4, 4, 2), np.int32), np.ones((3, 3, 2, 2), np.int32)
    dz = np.ones((1, 2, 2, 2), np.int32)
    assert not bounds.conv_input_grad_error_bound(dz, w, x.shape).any()
    assert not bounds.conv_weight_grad_error_bound(dz, x, w.shape).any()
    with pytest.raises(TypeError):
        bounds.avg_pool_error_bound(x, 2)
    with pytest.raises(TypeError):
        bounds.lp_pool_error_bound(x, 2, 2)


@pytest.mark.parametrize("algorithm", EVERYWHERE)
def test_what_is_not_finite_has_no_bound(algorithm: str) -> None:
    """Infinity, not NaN, which nothing is within."""
    x, w = np.ones((1, 12, 12, 3), np.float32), np.ones((3, 3, 3, 4), np.float32)
    x[0, 5, 5, 1] = np.nan
    bound = xc.error_bound(x, w, algorithm=algorithm)
    assert np.isinf(bound[0, 3:6, 3:6]).all()
    assert not np.isnan(bound).any()


def test_more_products_than_the_significand_holds() -> None:
    """Then nothing can be promised, and that is what the bound says."""
    assert _error_terms.gamma(1 << 24, 2.0**-24) == math.inf
    found = _error_terms.terms(np, np.float32, _error_terms.Steps(1 << 24))
    assert np.isinf(_error_terms.bounded(np, np.zeros(3, np.float32), found, np.float32, np.float32)).all()


# --- TF32 -----------------------------------------------------------------------------------------


def cut(array: np.ndarray) -> np.ndarray:
    """Cut a float32 number off to TF32's 11 bits."""
    return (array.view(np.int32) & ~0x1FFF).view(np.float32)


@pytest.mark.parametrize("algorithm", ["direct", "gemm"])
def test_tf32_is_counted_where_it_is_on(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, options = layer("3x3", one_sign, "float32")
    x, w, options["algorithm"] = arrays["x"], arrays["w"], algorithm
    got, exact = xc.conv(cut(x), cut(w), **options), convolve(x, w, None, 1)["z"]
    assert ratio(got, exact, xc.error_bound(x, w, **options)) > 1
    monkeypatch.setattr(Space, "tf32", True)
    assert 0.1 < ratio(got, exact, xc.error_bound(x, w, **options)) <= 1
    plain = xc.error_bound(*(a.astype(np.float64) for a in (x, w)), **options)
    assert (plain < 1e-10).all()  # double precision has no TF32


def test_tf32_is_counted_in_every_product_of_winograd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transforms are matrix products, too."""
    arrays, options = layer("3x3", one_sign, "float32")
    x, w, options["algorithm"] = arrays["x"], arrays["w"], "winograd"
    matmul = np.matmul
    monkeypatch.setattr(Space, "tf32", True)
    bound = xc.error_bound(x, w, **options)
    with monkeypatch.context() as patch:
        patch.setattr(np, "matmul", lambda a, b, out=None: matmul(_contiguous_cut(a), _contiguous_cut(b), out=out))
        got = xc.conv(x, w, **options)
    exact = convolve(x, w, None, 1)["z"]
    assert ratio(got, exact, xc.error_bound(x, w, **options)) <= 1
    assert (abs(wide(got) - exact).max() > 1e-4 * abs(exact).max()).all()
    assert (bound > 0).all()


def _contiguous_cut(array: np.ndarray) -> np.ndarray:
    return cut(np.ascontiguousarray(array, np.float32))


def test_who_has_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Space(np, NUMPY).tf32
    monkeypatch.setattr(spaces, "cupy_allows_tf32", lambda: True)
    assert Space(np, CUPY, "cuda:0").tf32
    monkeypatch.setattr(spaces, "_jax_allows_tf32", lambda: True)
    assert Space(np, JAX).tf32


@pytest.mark.needs("torch")
def test_who_of_pytorch_has_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert Space(np, TORCH_CUDA, "cuda:0").tf32 == torch.backends.cuda.matmul.allow_tf32
    monkeypatch.setattr(spaces, "_torch_allows_tf32", lambda: True)
    assert Space(np, TORCH_CUDA, "cuda:0").tf32
    assert not Space(np, TORCH, "cpu").tf32
