"""Pooling in compiled loops has the bits of NumPy's calls: ties, NaN, signs of zeros, ceil_mode, tiles, threads."""

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import beside
from xpconv._compiled import build

MIB = 1 << 20
Case = tuple[tuple[int, ...], Any, dict[str, Any]]
# shape of x, window, options
SMALL: dict[str, Case] = {
    "3x3 stride 1": ((2, 9, 11, 5), 3, {"stride": 1, "padding": 1}),
    "2x2": ((2, 9, 11, 5), 2, {}),
    "3x3 stride 2": ((2, 12, 10, 6), 3, {"stride": 2, "padding": 1}),
    "dilated": ((2, 9, 11, 5), (3, 2), {"stride": (1, 3), "padding": (1, 1), "dilation": (2, 1)}),
    "global": ((1, 7, 7, 9), 7, {}),
    "ceil": ((2, 9, 11, 5), 3, {"stride": 2, "ceil_mode": True}),
    "1-d": ((2, 30, 5), 4, {"stride": 2, "padding": 2}),
    "gaps": ((2, 9, 11, 5), 2, {"stride": 3}),
    "no tap inside": ((2, 6, 6, 4), 2, {"dilation": 7, "padding": 4}),
}
LARGE: dict[str, Case] = {
    "many rows": ((1, 300, 290, 24), 3, {"stride": 1, "padding": 1}),
    "many images": ((9, 56, 57, 32), 3, {"stride": 2, "padding": 1}),
    "8x8 padded": ((6, 64, 60, 20), 8, {"stride": 8, "padding": 4}),
    "overlapping": ((2, 64, 60, 24), 5, {"stride": 1, "padding": 2}),
    "global": ((5, 7, 7, 300), 7, {}),
}
KINDS = ("normal", "ties", "zeros", "nan")


def images(shape: tuple[int, ...], kind: str, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    x = rng.standard_normal(shape)
    if kind == "ties":
        x = np.round(x)
    if kind == "zeros":
        x = np.round(x) * 0.0  # of both signs
    if kind == "nan":
        for value, share in ((np.nan, 0.05), (np.inf, 0.03), (-np.inf, 0.03)):
            x[rng.random(shape) < share] = value
    return x.astype(dtype)


def results(case: Case, kind: str, dtype: str) -> Iterator[np.ndarray]:
    shape, window, options = case
    x = images(shape, kind, dtype)
    y, places = xc.max_pool(x, window, return_indices=True, **options)
    dy = images(y.shape, "nan" if kind == "nan" else "normal", dtype)
    dy[..., 0] = -0.0
    with np.errstate(invalid="ignore"):
        yield from (y, places, xc.max_pool(x, window, **options), xc.max_pool_vjp(dy, x, window, **options))
        for padded in (True, False):
            yield xc.avg_pool(x, window, count_include_pad=padded, **options)


def bits(array: np.ndarray) -> bytes:
    """The bytes, those of every NaN alike: which of two an addition gives is the machine's choice."""
    if array.dtype.kind == "f":
        array = np.where(array != array, np.full((), np.nan, array.dtype), array)
    return array.tobytes()


def demand_same(case: Case, kind: str, dtype: str = "float32") -> None:
    with xc.set_options(compiled=False):
        wanted = [bits(array) for array in results(case, kind, dtype)]
    with xc.set_options(compiled=True):
        found = [bits(array) for array in results(case, kind, dtype)]
    assert [a == b for a, b in zip(found, wanted, strict=True)] == [True] * len(wanted)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loops serve few channels too."""
    monkeypatch.setattr("xpconv._pooling.compiled.LEAST", 1)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, few: None) -> list[str]:
    """Let the loops run as plain Python, whether or not Numba is there; give the names of those that ran."""
    ran: list[str] = []

    def get(name: str, dtype: str) -> Any:
        module, function, *_ = build._KERNELS[name]
        ran.append(name)
        return getattr(importlib.import_module(f"xpconv._compiled.{module}"), function)

    monkeypatch.setattr(build, "get", get)
    monkeypatch.setattr(build, "installed", lambda: True)
    monkeypatch.setattr("xpconv._options.find_spec", lambda name: True)
    return ran


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMALL)
def test_the_loops_as_plain_python(plain: list[str], name: str, kind: str) -> None:
    with np.errstate(all="ignore"):
        demand_same(SMALL[name], kind)
    assert set(plain) == {"maxima", "places", "maxima gradient", "averages"}


def test_a_wrong_loop_is_seen(plain: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    right = build.get
    for wrong in ("maxima", "places", "maxima gradient", "averages"):

        def get(name: str, dtype: str, wrong: str = wrong) -> Any:
            """Every window a row further down."""
            return lambda *a: right(name, dtype)(*(_shifted(a) if name == wrong else a))

        with monkeypatch.context() as planted:
            planted.setattr(build, "get", get)
            with pytest.raises(AssertionError):
                demand_same(SMALL["3x3 stride 2"], "normal")
    demand_same(SMALL["3x3 stride 2"], "normal")


def _shifted(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    found = []
    for argument in arguments:
        is_place = isinstance(argument, np.ndarray) and argument.dtype == np.intp and argument.shape[0] >= 14
        found.append(argument - (np.arange(argument.size) == 4) if is_place else argument)
    return tuple(found)


@pytest.mark.needs("numba")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMALL)
def test_small(few: None, name: str, kind: str, dtype: str) -> None:
    demand_same(SMALL[name], kind, dtype)


@pytest.mark.needs("numba")
@pytest.mark.parametrize("kind", ["normal", "nan"])
@pytest.mark.parametrize("name", LARGE)
def test_in_tiles_and_on_threads(name: str, kind: str) -> None:
    for threads, mebibytes in ((1, 64), (2, 64), (3, 2)):
        with xc.set_options(threads=threads, max_workspace=mebibytes * MIB):
            demand_same(LARGE[name], kind)


@pytest.mark.needs("numba")
@pytest.mark.parametrize("name", LARGE)
def test_the_workspace_is_kept(name: str) -> None:
    shape, window, options = LARGE[name]
    x = images((4 * shape[0], *shape[1:]), "normal", "float32")
    with xc.set_options(compiled=True, threads=4, max_workspace=2 * MIB):
        y = xc.max_pool(x, window, **options)
        for call in (
            lambda: xc.max_pool(x, window, return_indices=True, **options),
            lambda: xc.max_pool_vjp(y, x, window, **options),
            lambda: xc.avg_pool(x, window, **options),
        ):
            assert beside(call) <= 2 * MIB
