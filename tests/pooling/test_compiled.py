"""Pooling in compiled loops has the bits of NumPy's calls: ties, NaN, signs of zeros, ceil_mode, tiles, threads."""

import importlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import beside, litter
from tests.sizes import share
from xpconv._compiled import build
from xpconv._engine.repeat import repeats

MIB = 1 << 20
Case = tuple[tuple[int, ...], Any, dict[str, Any]]
MAXIMA, AVERAGES = {"maxima", "places"}, {"averages", "averages gradient"}
LINES = {"first along", "gather along"}
TIES = {"top along", "count along", "ties along"}
NORMS = {"norms", "norms gradient"}
# shape of x, window, options; the last of which names the loops that only some cases run
SMALL: dict[str, tuple[Case, set[str]]] = {
    "3x3 stride 1": (((2, 9, 11, 5), 3, {"stride": 1, "padding": 1}), {"maxima gradient", *TIES}),
    "2x2": (((2, 9, 11, 5), 2, {}), {"boxes in rows"}),
    "3x3 stride 2": (((2, 12, 10, 6), 3, {"stride": 2, "padding": 1}), {"maxima gradient", *TIES}),
    "dilated": (
        ((2, 9, 11, 5), (3, 2), {"stride": (1, 3), "padding": (1, 1), "dilation": (2, 1)}),
        {"maxima gradient", *TIES},
    ),
    "global": (((1, 7, 7, 32), 7, {}), {"boxes", "ties in boxes"}),
    "ceil": (((2, 9, 11, 5), 3, {"stride": 2, "ceil_mode": True}), {"maxima gradient", *TIES}),
    "1-d": (((2, 30, 5), 4, {"stride": 2, "padding": 2}), {"maxima gradient", *TIES}),
    "gaps": (((2, 9, 11, 32), 2, {"stride": 3}), {"boxes"}),
    "rows with gaps": (((2, 13, 14, 3), (2, 3), {"stride": (3, 4), "padding": 1}), {"boxes in rows"}),
    "no tap inside": (((2, 6, 6, 4), 2, {"dilation": 7, "padding": 4}), {"maxima gradient", *TIES}),
    "5x6 stride 1": (
        ((2, 9, 11, 5), (5, 6), {"stride": (1, 2), "padding": ((2, 0), (3, 5))}),
        {"maxima gradient", *TIES},
    ),
    "dilated 5": (
        ((1, 12, 4, 5), (5, 2), {"stride": (2, 1), "padding": (6, 0), "dilation": (2, 1)}),
        {"maxima gradient", *TIES},
    ),
    "17 stride 2": (((1, 30, 4, 5), (17, 2), {"stride": (2, 1), "padding": (6, 0)}), {*LINES, *TIES}),
    "long": (((1, 60, 5), 37, {"stride": 2, "padding": (20,)}), {"long first along", "give along"}),
    "long stride 1": (((1, 3, 50, 4), (2, 33), {"stride": 1}), {*LINES, "long first along", "give along"}),
}
DEEP: dict[str, tuple[Case, set[str]]] = {
    "3-d": (((2, 6, 5, 7, 5), 3, {"stride": 2, "padding": 1}), {*LINES, *TIES}),
    "3-d boxes": (((1, 4, 5, 6, 32), 2, {}), {"boxes"}),
    "3-d rows": (((2, 6, 5, 7, 5), 2, {"padding": 1}), {"boxes in rows"}),
}
LARGE: dict[str, Case] = {
    "many rows": ((1, 300, 290, 24), 3, {"stride": 1, "padding": 1}),
    "many images": ((9, 56, 57, 32), 3, {"stride": 2, "padding": 1}),
    "8x8 padded": ((6, 64, 60, 20), 8, {"stride": 8, "padding": 4}),
    "overlapping": ((2, 64, 60, 24), 5, {"stride": 1, "padding": 2}),
    "global": ((5, 7, 7, 300), 7, {}),
    "13x13": ((3, 40, 41, 24), 13, {"stride": 1, "padding": 6}),
    "5x20": ((3, 30, 41, 40), (5, 20), {"stride": (2, 1), "padding": (2, 9)}),
    "1-d in pairs": ((2, 9000, 20), 2, {"padding": 1}),
    "1-d long apart": ((2, 3000, 32), 300, {}),
    "1-d long": ((2, 3000, 32), 300, {"stride": 2, "padding": 100}),
    "3-d": ((3, 12, 20, 21, 20), 3, {"stride": 2, "padding": 1}),
}
NORMED = LARGE.keys() - {"1-d long"}  # its windows have too many taps for the loops of norms
ADAPTIVE: dict[str, tuple[tuple[int, ...], Any]] = {
    "1-d": ((2, 23, 5), 7),
    "2-d": ((2, 9, 11, 5), (4, 3)),
    "as many": ((2, 9, 11, 5), (9, 1)),
    "more": ((1, 5, 7, 3), (9, 20)),
    "even": ((2, 8, 12, 5), (4, 3)),
    "3-d": ((2, 5, 6, 7, 4), (2, 4, 3)),
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


def gradient(shape: tuple[int, ...], kind: str, dtype: str) -> np.ndarray:
    dy = images(shape, "nan" if kind == "nan" else "normal", dtype)
    dy[..., 0] = -0.0
    return dy


def results(case: Case, kind: str, dtype: str) -> Iterator[np.ndarray]:
    shape, window, options = case
    x = images(shape, kind, dtype)
    y, places = xc.max_pool(x, window, return_indices=True, **options)
    dy = gradient(y.shape, kind, dtype)
    with np.errstate(invalid="ignore"):
        yield from (y, places, xc.max_pool(x, window, **options), xc.max_pool_vjp(dy, x, window, **options))
        for ties in ("all", "split"):
            yield xc.max_pool_vjp(dy, x, window, ties=ties, **options)
        for padded in (True, False):
            yield xc.avg_pool(x, window, count_include_pad=padded, **options)
            yield xc.avg_pool_vjp(dy, shape, window, count_include_pad=padded, **options)


def averages(case: Case, kind: str, dtype: str) -> Iterator[np.ndarray]:
    shape, window, options = case
    with np.errstate(invalid="ignore"):
        dy = gradient(xc.avg_pool(images(shape, kind, dtype), window, **options).shape, kind, dtype)
        for padded in (True, False):
            yield xc.avg_pool_vjp(dy, shape, window, count_include_pad=padded, **options)


def norms(case: Case, kind: str, dtype: str) -> Iterator[np.ndarray]:
    shape, window, options = case
    x = images(shape, kind, dtype)
    with np.errstate(all="ignore"):
        for p in (1, 2, 3, math.inf):
            y = xc.lp_pool(x, p, window, **options)
            yield from (y, xc.lp_pool_vjp(gradient(y.shape, kind, dtype), x, p, window, **options))


def adaptive(case: tuple[tuple[int, ...], Any], kind: str, dtype: str) -> Iterator[np.ndarray]:
    shape, output = case
    x = images(shape, kind, dtype)
    with np.errstate(invalid="ignore"):
        y = xc.adaptive_avg_pool(x, output)
        dy = gradient(y.shape, kind, dtype)
        yield from (y, xc.adaptive_avg_pool_vjp(dy, x, output), xc.adaptive_max_pool_vjp(dy, x, output))


def bits(array: np.ndarray) -> bytes:
    """The bytes, those of every NaN alike: which of two an addition gives is the machine's choice."""
    if array.dtype.kind == "f":
        array = np.where(array != array, np.full((), np.nan, array.dtype), array)
    return array.tobytes()


def demand_same(case: Any, kind: str, dtype: str = "float32", of: Any = results, threads: Any = (None,)) -> None:
    """Compare with NumPy's calls, which are made once, whatever the threads of the loops; no pass comes again."""
    repeats.forget()
    with xc.set_options(compiled=False):
        wanted = [bits(array) for array in of(case, kind, dtype)]
    for count in threads:
        with xc.set_options(compiled=True, threads=count):
            found = [bits(array) for array in of(case, kind, dtype)]
        assert [a == b for a, b in zip(found, wanted, strict=True)] == [True] * len(wanted)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loops serve few channels too."""
    monkeypatch.setattr("xpconv._pooling.compiled.LEAST", 1)


@pytest.fixture
def threaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let threads share small arrays too."""
    monkeypatch.setattr("xpconv._pooling.compiled.WAKING", 0)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, few: None) -> list[str]:
    """Let the loops run as plain Python, whether or not Numba is there; give the names of those that ran."""
    ran: list[str] = []

    def get(name: str, dtype: str) -> Any:
        ran.append(name)
        return _of(name)

    monkeypatch.setattr(build, "get", get)
    monkeypatch.setattr(build, "installed", lambda: True)
    monkeypatch.setattr("xpconv._options.find_spec", lambda name: True)
    litter(monkeypatch)
    return ran


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMALL)
def test_the_loops_as_plain_python(plain: list[str], name: str, kind: str) -> None:
    case, own = SMALL[name]
    with np.errstate(all="ignore"):
        demand_same(case, kind)
    assert set(plain) >= MAXIMA | AVERAGES | own


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DEEP)
def test_loops_over_volumes_as_plain_python(plain: list[str], name: str, kind: str) -> None:
    case, own = DEEP[name]
    with np.errstate(all="ignore"):
        demand_same(case, kind)
    assert set(plain) >= own


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["3x3 stride 2", "dilated", "gaps", "no tap inside", "1-d", "3-d"])
def test_loops_of_norms_as_plain_python(plain: list[str], name: str, kind: str) -> None:
    demand_same((SMALL | DEEP)[name][0], kind, of=norms)
    assert set(plain) == NORMS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ADAPTIVE)
def test_loops_of_adaptive_pools_as_plain_python(plain: list[str], name: str, kind: str) -> None:
    with np.errstate(all="ignore"):
        demand_same(ADAPTIVE[name], kind, of=adaptive)
    assert {"boxes", "boxes in rows"} & set(plain)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["3x3 stride 1", "dilated", "gaps", "5x6 stride 1", "1-d", "long", "3-d"])
def test_the_loop_of_long_averages_as_plain_python(
    plain: list[str], monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    monkeypatch.setattr("xpconv._pooling.compiled_lists.MOST", 4)  # longer windows have no lists
    demand_same((SMALL | DEEP)[name][0], kind, of=averages)
    assert set(plain) == {"long averages gradient"}


def test_a_wrong_loop_of_long_averages_is_seen(plain: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpconv._pooling.compiled_lists.MOST", 4)
    right = build.get
    monkeypatch.setattr(build, "get", lambda name, dtype: lambda *a: _spoiled(right(name, dtype), a))
    with pytest.raises(AssertionError):
        demand_same(SMALL["3x3 stride 1"][0], "normal", of=averages)


def test_a_wrong_loop_is_seen(plain: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    right = build.get
    names = {name for _, own in SMALL.values() for name in own} | MAXIMA | AVERAGES | NORMS
    for wrong in sorted(names):

        def get(name: str, dtype: str, wrong: str = wrong) -> Any:
            """The last channel of what it gives is wrong."""
            return lambda *a: _spoiled(right(name, dtype), a) if name == wrong else right(name, dtype)(*a)

        of = norms if wrong in NORMS else results
        cases = [case for case, own in SMALL.values() if wrong in own] or [SMALL["3x3 stride 2"][0]]
        with monkeypatch.context() as planted:
            planted.setattr(build, "get", get)
            with pytest.raises(AssertionError):
                demand_same(cases[0], "normal", of=of)
    demand_same(SMALL["3x3 stride 2"][0], "normal")


# loops whose second argument is their result, or the fourth, not the third
SECOND = {"long averages gradient", "maxima", "places", "averages", "averages gradient", "norms", "top along"}
FOURTH = {"count along", "ties along"}


def _spoiled(loop: Any, arguments: tuple[Any, ...]) -> None:
    """Run a loop, and then change one number that it gave."""
    name = next(name for name in build._KERNELS if _of(name) is loop)
    loop(*arguments)
    arguments[1 if name in SECOND else 3 if name in FOURTH else 2].reshape(-1)[-1] += 1


def _of(name: str) -> Any:
    module, function, *_ = build._KERNELS[name]
    return getattr(importlib.import_module(f"xpconv._compiled.{module}"), function)


@pytest.mark.needs("numba")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMALL | DEEP)
def test_small(few: None, name: str, kind: str, dtype: str) -> None:
    demand_same((SMALL | DEEP)[name][0], kind, dtype)
    demand_same((SMALL | DEEP)[name][0], kind, dtype, of=norms)


@pytest.mark.needs("numba")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ADAPTIVE)
def test_small_adaptive(few: None, name: str, kind: str, dtype: str) -> None:
    demand_same(ADAPTIVE[name], kind, dtype, of=adaptive)


@pytest.mark.needs("numba")
@pytest.mark.parametrize(
    ("name", "kind"),
    [pair for place, name in enumerate(LARGE) for pair in share([(name, "normal"), (name, "nan")], place, 2)],
)
def test_in_tiles_and_on_threads(threaded: None, name: str, kind: str) -> None:
    # sums of gradients go by tiles, which follow the workspace; in each of them half of the layers
    for mebibytes, threads in share([(64, (1, 2)), (2, (3,))], list(LARGE).index(name) // 2, 2):
        with xc.set_options(max_workspace=mebibytes * MIB):
            demand_same(LARGE[name], kind, threads=threads)
            if name in NORMED:
                demand_same(LARGE[name], kind, of=norms, threads=threads)


@pytest.mark.needs("numba")
@pytest.mark.parametrize("name", share(LARGE, 1, 2))
def test_the_workspace_is_kept(threaded: None, name: str) -> None:
    shape, window, options = LARGE[name]
    x = images((4 * shape[0], *shape[1:]), "normal", "float32")
    with xc.set_options(compiled=True, threads=4, max_workspace=2 * MIB):
        y = xc.max_pool(x, window, **options)
        calls = {
            "max_pool": lambda: xc.max_pool(x, window, return_indices=True, **options),
            "max_pool_vjp": lambda: xc.max_pool_vjp(y, x, window, **options),
            "max_pool_vjp of all": lambda: xc.max_pool_vjp(y, x, window, ties="split", **options),
            "avg_pool": lambda: xc.avg_pool(x, window, **options),
            "avg_pool_vjp": lambda: xc.avg_pool_vjp(y, x.shape, window, **options),
            "lp_pool_vjp": lambda: xc.lp_pool_vjp(y, x, 2, window, **options),
        }
        for call in calls.values() if name in NORMED else list(calls.values())[:-1]:
            assert beside(call) <= 2 * MIB
