"""Folding on NumPy has the bits of the functions that every library has: signs of zeros, ends, gaps, tiles, threads."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.memory import litter
from xpconv._compiled import build, sums
from xpconv._pooling import folding

MIB = 1 << 20
# sizes of the image, window, options
CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1-d": ((13,), (5,), {"stride": 2, "padding": 3}),
    "as long as units": ((8, 12), (4, 6), {"stride": (2, 3)}),
    "uneven": ((9, 11), (5, 4), {"stride": (3, 2), "padding": ((2, 4), (1, 0))}),
    "padding beyond the stride": ((7, 6), (3, 2), {"padding": ((5, 6), (4, 9))}),
    "stride 1": ((7, 9), (3, 2), {"stride": 1}),
    "gaps": ((9, 11), (2, 3), {"stride": (4, 2), "padding": 1}),
    "dilated": ((12, 9), (3, 2), {"stride": (2, 3), "dilation": (3, 2), "padding": (4, 1)}),
    "as dilated as far apart": ((12, 9), (3, 4), {"stride": 2, "dilation": 2, "padding": 3}),
    "3-d": ((5, 6, 7), (3, 2, 3), {"stride": (2, 1, 2), "padding": 1}),
}


def columns(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    cols = np.round(rng.standard_normal(shape) * 3).astype(dtype)
    if cols.dtype.kind != "i":
        cols[rng.random(shape) < 0.7] = -0.0
        cols[rng.random(shape) < 0.01] = np.inf
    return cols


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64", "int8"])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("name", CASES)
def test_bits(monkeypatch: pytest.MonkeyPatch, name: str, layout: str, dtype: str) -> None:
    size, window, options = CASES[name]
    shape = (2, *size, 3) if layout == "channels_last" else (2, 3, *size)
    options = {**options, "layout": layout}
    cols = columns(xc.unfold(np.zeros(shape, dtype), window, **options).shape, dtype)
    with monkeypatch.context() as portable:
        portable.setattr(folding, "on_numpy", lambda *_: None)
        wanted = xc.fold(cols, shape, window, **options)
    taken = []

    def on_numpy(*arguments: Any, own: Any = folding.on_numpy) -> Any:
        taken.append(own(*arguments))
        return taken[-1]

    monkeypatch.setattr(folding, "on_numpy", on_numpy)
    assert xc.fold(cols, shape, window, **options).tobytes() == wanted.tobytes()
    assert [array is not None for array in taken] == [True]


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the loop run as plain Python, whether or not Numba is there; give the names of those that ran."""
    ran: list[str] = []

    def get(name: str, dtype: str) -> Any:
        ran.append(name)
        return sums.add

    monkeypatch.setattr(build, "get", get)
    monkeypatch.setattr(build, "installed", lambda: True)
    monkeypatch.setattr("xpconv._options.find_spec", lambda name: True)
    litter(monkeypatch)
    return ran


def by_loops(name: str, layout: str, dtype: str = "float32") -> tuple[bytes, bytes]:
    """What NumPy's calls give, and the loop."""
    size, window, options = CASES[name]
    shape = (2, *size, 3) if layout == "channels_last" else (2, 3, *size)
    options = {**options, "layout": layout}
    cols = columns(xc.unfold(np.zeros(shape, dtype), window, **options).shape, dtype)
    found = []
    for compiled in (False, True):
        with xc.set_options(compiled=compiled):
            found.append(xc.fold(cols, shape, window, **options).tobytes())
    return found[0], found[1]


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("name", CASES)
def test_the_loop_as_plain_python(loops: list[str], name: str, layout: str) -> None:
    wanted, found = by_loops(name, layout)
    assert found == wanted
    assert loops == ["fold"]


@pytest.mark.needs("numba")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("name", CASES)
def test_the_loop(name: str, layout: str, dtype: str) -> None:
    wanted, found = by_loops(name, layout, dtype)
    assert found == wanted


def test_a_wrong_loop_is_seen(loops: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "add", lambda place, values: np.add(place, values[..., ::-1], out=place))
    wanted, found = by_loops("uneven", "channels_last")
    assert found != wanted


def test_columns_that_do_not_lie_in_one_piece(loops: list[str]) -> None:
    cols = columns((2, 4, 4, 3, 3, 6), "float32")[..., ::2]
    wanted = xc.fold(cols.copy(), (2, 9, 9, 3), 3, stride=2)
    with xc.set_options(compiled=True):
        np.testing.assert_array_equal(xc.fold(cols, (2, 9, 9, 3), 3, stride=2), wanted)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_tiles_and_threads_make_no_difference(monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    monkeypatch.setattr(folding, "SHARE", 1)
    shape = (2, 61, 50, 3) if layout == "channels_last" else (2, 3, 61, 50)
    options: dict[str, Any] = {"stride": (2, 3), "padding": 3, "layout": layout}
    cols = np.random.default_rng(5).standard_normal(xc.unfold(np.zeros(shape, "f4"), (5, 7), **options).shape)
    wanted = xc.fold(cols, shape, (5, 7), **options).tobytes()
    for near in (1 << 11, 1 << 14):
        monkeypatch.setattr(folding, "NEAR", near)
        for threads in (1, 3):
            with xc.set_options(threads=threads, max_workspace=MIB):
                assert xc.fold(cols, shape, (5, 7), **options).tobytes() == wanted
