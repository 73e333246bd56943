"""The bounds of pooling and its gradients: never exceeded, never idle, within the workspace."""

import math
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.backends import Backend
from tests.bounds.data import (
    COMPLEX,
    DATA,
    REAL,
    Attack,
    cancelling,
    channels,
    demand_bounds,
    demand_bounds_elsewhere,
    draw,
    elsewhere,
    one_sign,
    tried,
)
from tests.memory import MIB, beside, held
from tests.oracle.longdouble import max_gradient, mean_gradient, means, ratio, wide
from tests.sizes import compiles, full_on
from tests.work.test_workspace import POOLS, pool_of
from tests.work.test_workspace_pooling import HARD, IN_LITTLE
from xpconv import bounds

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
WINDOWS: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    "overlapping": ((2, 20, 22, 6), 3, {"stride": 1, "padding": 1}),
    "dilated, ceil": (
        (1, 21, 19, 4),
        (4, 3),
        {"stride": (2, 1), "dilation": (1, 2), "padding": ((1, 2), (0, 1)), "ceil_mode": True},
    ),
    "disjoint": ((2, 24, 24, 4), 2, {}),
    "1-d": ((2, 90, 3), 5, {"stride": 2}),
    "3-d": ((1, 7, 8, 9, 4), 3, {"stride": 1, "padding": 1}),
    "large": ((1, 40, 37, 4), 15, {"stride": 1}),
}


TIES = ("first", "all", "split")
PADDED = (True, False)


def some(values: tuple[Any, ...], name: str, data: Any, backend: Backend | None) -> tuple[Any, ...]:
    """Give all in a full run, otherwise one: each kind of data has its turn, or each window."""
    turn = list(WINDOWS).index(name) if compiles(backend) else DATA.index(data)
    return values if full_on(backend) else values[turn % len(values) :][:1]


def windows_for(backend: Backend | None) -> list[str]:
    """Give the windows; on other libraries few taps, for their number of small steps."""
    return list(WINDOWS) if backend is None else ["dilated, ceil", "disjoint", "1-d"]


def attack_max(data: Any, dtype: str, backend: Backend | None = None) -> dict[Any, float]:
    found = {}
    for name in windows_for(backend):
        shape, window, options = WINDOWS[name]
        rng = np.random.default_rng(0)
        for kind, x in (("ties", rng.integers(0, 4, shape)), ("none", rng.permutation(math.prod(shape)) % 1999)):
            x = x.reshape(shape).astype(dtype)
            dy = draw(data, xc.max_pool(x, window, **options).shape, "x", dtype)
            for ties in some(TIES, name, data, backend):
                exact = max_gradient(dy, x, window, ties, **options)
                found[name, kind, ties] = tried(
                    xc.max_pool_vjp,
                    bounds.max_pool_vjp_error_bound,
                    exact,
                    [dy, x],
                    window,
                    backend=backend,
                    ties=ties,
                    **options,
                )
    return found


def attack_avg(data: Any, dtype: str, backend: Backend | None = None) -> dict[Any, float]:
    found = {}
    for name in windows_for(backend):
        shape, window, options = WINDOWS[name]
        x = np.zeros(shape, dtype)
        dy = draw(data, xc.avg_pool(x, window, **options).shape, "x", dtype)
        for padded in some(PADDED, name, data, backend):
            exact = mean_gradient(dy, x, window, padded, **options)
            found[name, padded] = tried(
                xc.avg_pool_vjp,
                bounds.avg_pool_vjp_error_bound,
                exact,
                [dy],
                shape,
                window,
                backend=backend,
                count_include_pad=padded,
                **options,
            )
    return found


def attack_means(data: Any, dtype: str, backend: Backend | None = None) -> dict[Any, float]:
    found = {}
    for name in windows_for(backend):
        shape, window, options = WINDOWS[name]
        x = draw(data, shape, "x", dtype)
        out = xc.avg_pool(x, window, **options).shape
        for padded in some(PADDED, name, data, backend):
            exact = means(x.real, out, window, padded, **options)
            if dtype[0] == "c":
                exact = exact + 1j * means(x.imag, out, window, padded, **options)
            found[name, padded] = tried(
                xc.avg_pool,
                bounds.avg_pool_error_bound,
                exact,
                [x],
                window,
                backend=backend,
                count_include_pad=padded,
                **options,
            )
    return found


ATTACKS: dict[str, Attack] = {"avg_pool": attack_means, "avg_pool_vjp": attack_avg, "max_pool_vjp": attack_max}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in ATTACKS for dtype in (*REAL, *COMPLEX) if name != "max_pool_vjp" or dtype in REAL],
)
def test_every_kind_of_data(name: str, dtype: str) -> None:
    demand_bounds(ATTACKS[name], name, dtype)


@pytest.mark.parametrize(("backend", "name"), elsewhere(ATTACKS), indirect=["backend"])
def test_other_libraries(backend: Backend, name: str) -> None:
    demand_bounds_elsewhere(ATTACKS[name], backend)


@pytest.mark.parametrize("data", DATA)
def test_average_pooling(data: Any) -> None:
    x = data(np.random.default_rng(0), (2, 40, 42, 6), "x").astype(np.float32)
    for options in ({"window": 3, "stride": 1, "padding": 1}, {"window": (4, 2), "count_include_pad": False}):
        window, kept = options["window"], {k: v for k, v in options.items() if k != "window"}
        y, bound = xc.avg_pool(x, window, **kept), bounds.avg_pool_error_bound(x, window, **kept)
        exact = _means(x, window, kept.get("stride", window), kept.get("padding", 0))
        assert ratio(y, exact, bound) <= 1
        assert y.size == bound.size
    if data is one_sign:
        assert ratio(y, exact, bound) > 0.001


def _means(x: np.ndarray, window: Any, stride: Any, pads: int) -> np.ndarray:
    (kh, kw), (sh, sw) = ((v, v) if isinstance(v, int) else v for v in (window, stride))
    padded = np.pad(wide(x), ((0, 0), (pads, pads), (pads, pads), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(1, 2))[:, ::sh, ::sw]
    return views.mean(axis=(-2, -1))


@pytest.mark.parametrize("p", [0.5, 1, 2, 3.7, 40.0, math.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_lp_pooling(p: float, dtype: str) -> None:
    worst = 0.0
    for data in (one_sign, cancelling, channels) if dtype == "float16" else DATA:
        x = data(np.random.default_rng(0), (2, 20, 22, 4), "x").astype(dtype)
        y, bound = xc.lp_pool(x, p, 3, stride=1), bounds.lp_pool_error_bound(x, p, 3, stride=1)
        views = np.lib.stride_tricks.sliding_window_view(abs(wide(x)), (3, 3), axis=(1, 2))
        most = views.max(axis=(-2, -1))
        exact = most
        if p != math.inf:
            scale = np.where(most > 0, most, 1)
            exact = scale * ((views / scale[..., None, None]) ** p).sum(axis=(-2, -1)) ** (1 / np.longdouble(p))
        worst = max(worst, ratio(y, exact, bound))
    assert worst <= 1
    assert worst > 0.001 or p == math.inf


@held(POOLS, [(64, 2), (2, 8)])
def test_pools_stay_in_the_workspace(ceiling: int, name: str) -> None:
    shape, window, options = pool_of(name, ceiling)
    x = np.random.default_rng(0).integers(0, 4, shape).astype(np.float32)
    y = xc.avg_pool(x, window, **options)
    assert beside(lambda: bounds.avg_pool_error_bound(x, window, **options)) <= ceiling
    assert beside(lambda: bounds.lp_pool_error_bound(x, 2.0, window, **options)) <= ceiling
    assert beside(lambda: bounds.avg_pool_vjp_error_bound(y, shape, window, **options)) <= ceiling
    for ties in ("first", "split"):
        assert beside(lambda ties=ties: bounds.max_pool_vjp_error_bound(y, x, window, ties=ties, **options)) <= ceiling


@pytest.mark.parametrize("name", [name for name, (_, dtype, *_) in HARD.items() if dtype != "int8"])
def test_hard_pools_stay_in_the_workspace(name: str) -> None:
    shape, dtype, window, options = IN_LITTLE.get(name, HARD[name])
    x = np.random.default_rng(0).integers(-3, 4, shape).astype(dtype)
    with xc.set_options(max_workspace=MIB, threads=8):
        y = xc.max_pool(x, window, **options)
        assert beside(lambda: bounds.avg_pool_error_bound(x, window, **options)) <= MIB
        assert beside(lambda: bounds.avg_pool_vjp_error_bound(y, shape, window, **options)) <= MIB
        assert beside(lambda: bounds.max_pool_vjp_error_bound(y, x, window, **options)) <= MIB
