"""Compiled kernels: their loops in plain Python too, when they are taken, and what holds of every algorithm."""

import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import backends, cases
from tests.definition import ORACLE
from tests.memory import beside, litter
from xpconv import _options
from xpconv._compiled import build
from xpconv._compiled.lanes import LANES
from xpconv._convolution import bias_grad, straight
from xpconv._shapes import read
from xpconv._shapes.geometry import Geometry
from xpconv._shapes.read import Windowing
from xpconv.algorithms import apart, compiled, dense, loops
from xpconv.algorithms.compiled import Compiled
from xpconv.bounds import conv_input_grad_error_bound, conv_weight_grad_error_bound
from xpconv.verify.catalogue import cases as catalogue
from xpconv.verify.catalogue.setups import Conv
from xpconv.verify.catalogue.tasks import tasks
from xpconv.verify.judge.bench import Bench

MIB = 1 << 20
# layers of both kinds of loops; rows and channels that are no multiple of what is taken together
LAYERS = {
    "depthwise": Conv((33, 29), (3, 3), batch=3, channels=70, filters=70, groups=70, padding=1),
    "few channels, depthwise": Conv((40, 41), (5, 3), batch=3, channels=6, filters=6, groups=6, padding=2),
    "depthwise stride 2": Conv((41, 37), (3, 3), batch=2, channels=40, filters=40, groups=40, padding=1, stride=2),
    "grouped": Conv((30, 31), (3, 3), batch=2, channels=24, filters=48, groups=8, padding=1),
    "grouped stride 2": Conv((30, 31), (3, 3), batch=2, channels=24, filters=40, groups=8, padding=1, stride=2),
    "groups of four": Conv((20, 22), (3, 3), batch=2, channels=36, filters=24, groups=6, padding=1),
    "groups of sixteen and more": Conv(
        (20, 23), (3, 3), batch=2, channels=8, filters=42, groups=2, padding=1, stride=2
    ),
    "pointwise": Conv((60, 61), (1, 1), batch=3, channels=20, filters=40),
    "pointwise, with a smaller piece": Conv((41, 61), (1, 1), batch=1, channels=50, filters=40),
    "windows side by side": Conv(
        (12, 15), (3, 3), batch=2, channels=24, filters=20, groups=4, padding=1, stride=3, layout="channels_first"
    ),
    "pointwise stride 2": Conv((41, 30), (1, 1), batch=2, channels=24, filters=40, stride=2),
    "eight filters": Conv((40, 41), (4, 4), batch=2, channels=3, filters=8, padding=1),
    "dilated groups": Conv((30, 31), (3, 2), batch=2, channels=8, filters=8, groups=2, padding=3, dilation=(3, 2)),
    "few channels": Conv((60, 50), (5, 5), batch=4, channels=3, filters=5, padding=2),
    "a channel to six filters": Conv((29, 37), (5, 5), batch=3, channels=1, filters=6),
    "a channel to seven filters at a stride": Conv(
        (31, 40), (3, 4), batch=2, channels=1, filters=7, padding=2, stride=(2, 3), dilation=(2, 1)
    ),
    "nine channels to four filters": Conv((21, 26), (3, 3), batch=2, channels=9, filters=4, padding=1),
    "nine channels to eleven filters": Conv((21, 34), (3, 3), batch=2, channels=9, filters=11, padding=1),
    "many filters": Conv((50, 51), (3, 3), batch=2, channels=3, filters=37, padding=1, stride=2),
    "three filters": Conv((30, 31), (4, 3), batch=2, channels=24, filters=3, padding=1),
    "six filters of five taps a row": Conv((14, 13), (5, 5), batch=3, channels=16, filters=6, padding=4),
    "a long row to three filters": Conv((6000,), (3,), batch=2, channels=32, filters=3, padding=1),
    "eight filters to six channels": Conv((24, 23), (3, 3), batch=3, channels=6, filters=24, padding=2, stride=2),
    "a filter at a stride": Conv((31, 30), (3, 2), batch=2, channels=16, filters=1, padding=2, stride=2, dilation=2),
    "1-d": Conv((700,), (9,), batch=3, channels=4, filters=4, groups=4, padding=3),
    "many channels": Conv((17, 19), (3, 3), batch=2, channels=40, filters=44, padding=1),
    "many channels stride 2": Conv((30, 31), (3, 3), batch=2, channels=136, filters=120, padding=(1, 2), stride=2),
    "pointwise, more filters than pixels": Conv((7, 7), (1, 1), batch=1, channels=300, filters=520),
    "many channels in groups": Conv((13, 14), (1, 1), batch=3, channels=136, filters=136, groups=4),
    "many channels, dilated": Conv((21, 20), (2, 3), batch=2, channels=16, filters=33, padding=2, dilation=(2, 3)),
    "many channels 1-d": Conv((300,), (5,), batch=2, channels=48, filters=24, padding=2, stride=3),
    "many channels 3-d": Conv((5, 6, 7), (3, 2, 3), batch=2, channels=18, filters=20, padding=1, stride=(2, 1, 1)),
    "3-d": Conv((9, 10, 11), (3, 2, 3), batch=2, channels=6, filters=9, groups=3, padding=1, stride=(1, 2, 1)),
}


def drawn(setup: Conv, dtype: str = "float32") -> dict[str, np.ndarray]:
    return {role: cases.values(setup.shape(role), 3, dtype) for role in ("x", "w", "b", "dz")}


def passes(setup: Conv, a: dict[str, Any], algorithm: str = "compiled") -> tuple[np.ndarray, ...]:
    options: dict[str, Any] = setup.options() | {"algorithm": algorithm}
    return xc.conv(a["x"], a["w"], a["b"], **options), *xc.conv_vjp(a["dz"], a["x"], a["w"], **options)


def geometry_of(setup: Conv) -> Geometry:
    given = setup.options()
    words = {("mode" if word == "padding_mode" else word): given[word] for word in given if word != "dtype"}
    return read.conv("conv", setup.shape("x"), setup.shape("w"), Windowing(**words))


def kind(setup: Conv) -> str:
    """Name the loops of a layer."""
    return Compiled().kernel(geometry_of(setup))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loops run as plain Python, whether or not Numba is there."""

    def get(name: str, dtype: str) -> Any:
        module, function, *_ = build._KERNELS[name]
        return getattr(importlib.import_module(f"xpconv._compiled.{module}"), function)

    monkeypatch.setattr(build, "get", get)
    monkeypatch.setattr(build, "installed", lambda: True)
    monkeypatch.setattr(_options, "find_spec", lambda name: build)
    litter(monkeypatch)


CASES = list(tasks(("float32",), ("conv", "conv_input_grad", "conv_weight_grad"), core=True))
SMALL = {t.case: t for t in CASES if t.algorithm == "gemm" and t.setup.dtype is None and not t.setup.only}


@pytest.mark.parametrize("case", SMALL)
def test_the_loops_as_plain_python(plain: None, case: str) -> None:
    bench = Bench(backends.load("numpy"), ORACLE)  # type: ignore[arg-type]
    for task in CASES:
        if task.case == case and task.algorithm == "gemm" and task.tier == "exact" and task.kind == "whole":
            result = bench.check(replace(task, algorithm="compiled"))
            assert result.passed, f"{result.task.key}: {result.failure}"


# by their loops; channels that end inside of a block, rows whose windows are fewer than are taken together, and more
FEW = {
    "three taps in a row": Conv((4, 11), (3, 3), channels=21, filters=21, groups=21, padding=1),
    "windows at the ends alone": Conv((3, 4), (2, 3), channels=16, filters=16, groups=16, padding=(0, 2)),
    "a stride": Conv((5, 13), (3, 3), channels=16, filters=16, groups=16, padding=1, stride=(1, 3)),
    "dilated": Conv((4, 9), (2, 2), channels=17, filters=17, groups=17, padding=2, dilation=(1, 4)),
    "1-d": Conv((9,), (3,), channels=19, filters=19, groups=19),
    "3-d": Conv((2, 3, 7), (2, 2, 3), channels=16, filters=16, groups=16, padding=1, stride=(2, 1, 1)),
    "three filters": Conv((4, 7), (3, 3), channels=8, filters=3, padding=1),
    "two filters at a stride": Conv((4, 9), (2, 3), channels=16, filters=2, padding=1, stride=2, dilation=(1, 2)),
    "an image to a filter": Conv((5, 70), (3, 2), channels=1, filters=1, padding=1),
    "a channel to six filters": Conv((7, 11), (3, 3), channels=1, filters=6, batch=2),
    "to ten filters": Conv((5, 19), (2, 3), channels=3, filters=10, padding=1),
    "nine channels to four filters": Conv((4, 13), (2, 2), channels=9, filters=4, stride=(2, 1), dilation=(1, 3)),
    "to five filters in 1-d": Conv((23,), (4,), channels=2, filters=5, padding=2, stride=3),
    "a kernel wider than the image": Conv((2, 3), (1, 6), channels=1, filters=2, padding=(0, 4), dilation=(1, 2)),
    "to seven filters of 3-d": Conv((3, 4, 9), (2, 2, 2), channels=2, filters=7, padding=1, stride=(1, 2, 2)),
    "a filter of 3-d": Conv((2, 3, 5), (1, 2, 3), channels=8, filters=1, padding=1),
}


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let vectors of windows serve all that they can, whether or not it pays."""
    monkeypatch.setattr(compiled.windows, "takes", lambda geometry, gradient=False: geometry.groups == 1)
    monkeypatch.setattr(compiled.taps, "takes", lambda geometry, other: False)
    forget()
    yield
    monkeypatch.undo()
    forget()


def forget() -> None:
    """Forget what depends on the kind of loops."""
    for cached in (loops.kind_of, loops.layout_of, loops.pieces_of, loops.sums_of):
        cached.cache_clear()


@pytest.mark.usefixtures("plain", "windows")
@pytest.mark.parametrize("name", FEW)
def test_vectors_of_channels_or_windows_as_plain_python(name: str) -> None:
    """On whole numbers, whose sums are exact in any order."""
    setup = FEW[name]
    a = {role: np.rint(array * 4).astype("f4") for role, array in drawn(setup).items()}
    assert kind(setup) == ("windows" if setup.groups == 1 else "depthwise")
    for found, wanted in zip(passes(setup, a), passes(setup, a, "direct"), strict=True):
        assert np.abs(wanted).max() > 0
        assert (found == wanted).all()


# by what a pixel gives: one vector of sums, two and three; pixels that are no multiple of what is taken together; a
# stride, whose phases are one loop in the gradient of images (of those whose layers have few channels)
TAPS = {
    "a vector": Conv((4, 13), (2, 2), batch=2, channels=5, filters=3, padding=1),
    "two vectors": Conv((3, 12), (3, 4), channels=4, filters=4, padding=(0, 3)),
    "three vectors at a stride": Conv((7, 16), (3, 3), channels=6, filters=7, padding=1, stride=2),
    "few channels at a stride": Conv((6, 23), (3, 3), channels=3, filters=9, padding=1, stride=2),
    "dilated": Conv((5, 14), (2, 3), channels=2, filters=8, padding=2, stride=(1, 3), dilation=(2, 2)),
    "a kernel shorter than the stride": Conv((5, 9), (1, 2), channels=2, filters=3, stride=(2, 3)),
    "1-d": Conv((31,), (5,), channels=3, filters=2, padding=4, stride=2),
    "3-d": Conv((3, 4, 7), (2, 2, 2), channels=2, filters=3, padding=1, stride=(1, 2, 2)),
}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("name", TAPS)
@pytest.mark.parametrize("limits", [{}, {"GIVEN": 300}], ids=["whole rows", "parts of rows"])
def test_what_pixels_give_as_plain_python(
    name: str, limits: dict[str, int], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """On whole numbers, whose sums are exact in any order."""
    setup = TAPS[name]
    a = {role: np.rint(array * 4).astype("f4") for role, array in drawn(setup).items()}
    monkeypatch.setattr(compiled.taps, "takes", lambda geometry, other: compiled.taps.serves(geometry))
    for limit, value in limits.items():
        monkeypatch.setattr(compiled.taps, limit, value)
    request.addfinalizer(forget)
    forget()
    assert kind(setup) == "taps" or setup.filters > compiled.taps.MOST
    assert Compiled().strided(geometry_of(setup)) == "taps images" * (setup.stride != 1)
    for found, wanted in zip(passes(setup, a), passes(setup, a, "direct"), strict=True):
        assert np.abs(wanted).max() > 0
        assert (found == wanted).all()


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("filters", [7, 16, 52])
def test_bands_of_a_weights_gradient_as_plain_python(
    filters: int, rows: int, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """On whole numbers, whose sums are exact in any order."""
    setup = Conv((9, 6), (3, 2), batch=2, channels=9, filters=filters, padding=1, stride=(2, 1))
    a = {role: np.rint(array * 4).astype("f4") for role, array in drawn(setup).items()}
    monkeypatch.setattr(loops, "BAND", 7 * rows)
    monkeypatch.setattr(compiled.windows, "takes", lambda geometry, gradient=False: False)
    request.addfinalizer(forget)
    forget()
    assert Compiled().kernel(geometry_of(setup), gradient=True) == "filters gradient"
    found, wanted = (passes(setup, a, algorithm)[2] for algorithm in ("compiled", "direct"))
    assert np.abs(wanted).max() > 0
    assert (found == wanted).all()


@pytest.mark.needs("numba")
@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in (FEW | LAYERS) if (FEW | LAYERS)[name].groups == 1])
def test_vectors_of_windows_compiled(name: str, dtype: str) -> None:
    """On whole numbers, whose sums are exact in any order."""
    setup = (FEW | LAYERS)[name]
    a = {role: np.rint(array * 4).astype(dtype) for role, array in drawn(setup).items()}
    for found, wanted in zip(passes(setup, a), passes(setup, a, "direct"), strict=True):
        assert (found == wanted).all()


# by the blocks of their filters, whole and half ones, the channels of a group, and what lies in a row
APART = {
    "eight to eight": Conv((7, 6), (3, 3), batch=2, channels=16, filters=16, groups=2, padding=1),
    "sixteen to sixteen": Conv((5, 9), (3, 3), batch=2, channels=32, filters=32, groups=2, padding=1),
    "nine to twelve": Conv((6, 5), (2, 3), channels=18, filters=24, groups=2, padding=(0, 2)),
    "three to five": Conv((8, 7), (3, 3), batch=2, channels=9, filters=15, groups=3, padding=1, stride=2),
    "one to twenty-five": Conv((5, 6), (3, 2), channels=2, filters=50, groups=2, padding=2, stride=(3, 2)),
    "dilated": Conv((9, 8), (3, 2), channels=20, filters=14, groups=2, padding=3, dilation=(2, 3)),
    "pointwise": Conv((5, 4), (1, 1), batch=2, channels=24, filters=48, groups=3),
    "padding of whole windows": Conv((3, 4), (2, 2), channels=8, filters=16, groups=2, padding=3),
    "1-d": Conv((13,), (4,), batch=2, channels=16, filters=18, groups=2, padding=2, stride=2),
    "3-d": Conv((3, 4, 5), (2, 3, 2), channels=6, filters=20, groups=2, padding=1, stride=(2, 1, 1)),
}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("name", APART)
def test_groups_of_several_filters_as_plain_python(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On whole numbers, whose sums are exact in any order; in one band, and row by row."""
    setup = APART[name]
    a = {role: np.rint(array * 4).astype("f4") for role, array in drawn(setup).items()}
    assert kind(setup) == "apart"
    wanted = passes(setup, a, "direct")
    for limit in (apart.BAND, 0):
        forget()
        with monkeypatch.context() as patch:
            patch.setattr(apart, "BAND", limit)
            for mine, theirs in zip(passes(setup, a), wanted, strict=True):
                assert np.abs(theirs).max() > 0
                assert (mine == theirs).all()
    forget()


@pytest.mark.needs("numba")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", APART)
def test_groups_of_several_filters_compiled(name: str, dtype: str) -> None:
    """On whole numbers, whose sums are exact in any order."""
    a = {role: np.rint(array * 4).astype(dtype) for role, array in drawn(APART[name]).items()}
    for found, wanted in zip(passes(APART[name], a), passes(APART[name], a, "direct"), strict=True):
        assert (found == wanted).all()


# three taps in a row: rows shorter than a window, all or none of the windows in the image, rows of taps by threes
THREES = {
    "same": Conv((5, 7), (3, 3), batch=2, channels=20, filters=20, groups=20, padding=1),
    "valid": Conv((4, 6), (3, 3), channels=16, filters=16, groups=16),
    "wide padding": Conv((3, 4), (3, 3), channels=16, filters=16, groups=16, padding=3),
    "short": Conv((2, 1), (2, 3), batch=2, channels=17, filters=17, groups=17, padding=1),
    "two columns": Conv((6, 2), (4, 3), channels=16, filters=16, groups=16, padding=(2, 2)),
    "stride": Conv((7, 8), (3, 3), batch=2, channels=24, filters=24, groups=24, padding=1, stride=2),
    "long stride": Conv((9, 11), (2, 3), channels=16, filters=16, groups=16, padding=2, stride=(3, 4)),
    "dilated": Conv((8, 9), (3, 3), channels=19, filters=19, groups=19, padding=(3, 2), stride=(2, 3), dilation=(2, 2)),
    "1-d": Conv((9,), (3,), batch=2, channels=16, filters=16, groups=16, padding=1),
    "3-d": Conv((3, 4, 5), (2, 3, 3), channels=16, filters=16, groups=16, padding=1),
}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("name", THREES)
def test_three_taps_in_a_row_as_plain_python(name: str) -> None:
    """On whole numbers, whose sums are exact in any order."""
    setup = THREES[name]
    a = {role: np.rint(array * 4).astype("f4") for role, array in drawn(setup).items()}
    assert kind(setup) == "depthwise"
    for found, wanted in zip(passes(setup, a), passes(setup, a, "direct"), strict=True):
        assert np.abs(wanted).max() > 0
        assert (found == wanted).all()


@pytest.mark.needs("numba")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", THREES)
def test_three_taps_in_a_row_compiled(name: str, dtype: str) -> None:
    """On whole numbers, whose sums are exact in any order."""
    a = {role: np.rint(array * 4).astype(dtype) for role, array in drawn(THREES[name]).items()}
    for found, wanted in zip(passes(THREES[name], a), passes(THREES[name], a, "direct"), strict=True):
        assert (found == wanted).all()


# one tile and many, in which pixels lie side by side and some are left, and filters that are no multiple of a vector
BIASES = {
    "side by side": Conv((9, 7), (1, 1), batch=3, channels=24, filters=24, groups=24),
    "a row a pixel": Conv((5, 6), (1, 2), channels=520, filters=520, groups=520),
    "nine filters": Conv((11, 4), (2, 1), batch=2, channels=3, filters=9, padding=1),
    "a pixel": Conv((1, 1), (1, 1), channels=3, filters=16),
}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a bias be summed in short stretches of small tiles."""
    with monkeypatch.context() as patch:
        patch.setattr(bias_grad, "STRETCH", 3)
        patch.setattr(bias_grad, "TILE", 400)
        bias_grad._tree.cache_clear(), bias_grad.in_loops.cache_clear()
        yield
    bias_grad._tree.cache_clear(), bias_grad.in_loops.cache_clear()


def sums_the_bias_as_numpy_does(setup: Conv, dtype: str) -> None:
    a = {role: np.random.default_rng(3).standard_normal(setup.shape(role)).astype(dtype) for role in ("x", "w", "dz")}
    given = a["dz"], a["x"], a["w"]
    mine, other = (xc.conv_vjp(*given, algorithm=name, **setup.options())[2] for name in ("compiled", "direct"))
    assert (mine == other).all()


@pytest.mark.usefixtures("plain", "short")
@pytest.mark.parametrize("name", BIASES)
def test_a_bias_as_plain_python(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(
        straight, "of_bias", lambda *given, of_bias=straight.of_bias: taken.append(1) or of_bias(*given)
    )
    sums_the_bias_as_numpy_does(BIASES[name], "float32")
    assert taken


@pytest.mark.needs("numba")
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BIASES)
def test_a_bias_compiled(name: str, dtype: str) -> None:
    sums_the_bias_as_numpy_does(BIASES[name], dtype)


@pytest.mark.needs("numba")
@pytest.mark.parametrize("filters", [24, 520])
def test_a_bias_of_many_pixels(filters: int) -> None:
    sums_the_bias_as_numpy_does(
        Conv((97, 53), (1, 1), batch=6, channels=filters, filters=filters, groups=filters), "float32"
    )


# by where their windows lie: windows that are no multiple of what is taken together, one, two and more than four of
# them left; sums of several goes; blocks of 16, 8 and less filters; piece by piece
DENSE = {
    "in place": Conv((4, 5), (1, 1), batch=2, channels=24, filters=20),
    "laid out": Conv((3, 4), (3, 3), channels=16, filters=35, padding=1),
    "a row in two goes": Conv((2, 3), (2, 2), channels=150, filters=16, padding=(0, 1)),
    "pixels in two goes": Conv((3, 3), (1, 1), channels=300, filters=40),
    "a stride in groups": Conv((4, 5), (2, 2), channels=132, filters=36, groups=2, stride=(2, 1)),
    "dilated": Conv((5, 6), (2, 3), channels=16, filters=17, padding=2, dilation=(2, 1)),
    "1-d": Conv((11,), (3,), batch=2, channels=17, filters=16, padding=1),
    "few channels in short rows": Conv((5, 7), (3, 2), batch=2, channels=5, filters=16),
    "3-d": Conv((2, 3, 3), (2, 2, 2), channels=16, filters=16, padding=(1, 0, 1)),
}


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("name", DENSE)
def test_many_channels_as_plain_python(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On whole numbers, whose sums are exact in any order; whole, and cut into pieces and tiles as small as can be."""
    setup = DENSE[name]
    a = {role: np.rint(array * 4).astype("f4") for role, array in drawn(setup).items()}
    assert kind(setup) == "dense"
    options: dict[str, Any] = setup.options()
    wanted = xc.conv(a["x"], a["w"], a["b"], algorithm="direct", **options)
    assert np.abs(wanted).max() > 0
    assert (xc.conv(a["x"], a["w"], a["b"], algorithm="compiled", **options) == wanted).all()
    cut = 0
    for limits in ({"ALONE": 0, "PAYS": 1000, "SHARED": 1}, {"ALONE": 0, "PAYS": 1000, "PIXELS": 1}):
        loops.layout_of.cache_clear(), loops.pieces_of.cache_clear()
        with monkeypatch.context() as patch:
            for limit, value in limits.items():
                patch.setattr(dense, limit, value)
            assert (xc.conv(a["x"], a["w"], a["b"], algorithm="compiled", **options) == wanted).all(), limits
            cut += len(Compiled().pieces(geometry_of(setup), 4).each) > 1
    loops.layout_of.cache_clear(), loops.pieces_of.cache_clear()
    assert cut or name in ("a row in two goes", "1-d", "3-d", "few channels in short rows")  # of one block and one line


def test_a_wrong_loop_is_seen(plain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above is one: the place of a tile off by a pixel, the bias left out, a tap too few."""
    right, place = build.get, loops.layout_of

    def planted(change: Any) -> Any:
        """Change what the loops are given, not what packs the weight."""

        def get(name: str, dtype: str) -> Any:
            kernel = right(name, dtype)
            return kernel if name == "weight" else lambda *arrays: kernel(*change(*arrays))

        return get

    faults = {
        "place": lambda *a, **k: place(*a, **k)._replace(numbers=place(*a, **k).numbers + np.eye(13, dtype=np.intp)[7]),
        "bias": planted(lambda x, w, b, *rest: (x, w, b * 0, *rest)),
        "tap": planted(lambda x, w, *rest: (x, w * (w != w.max()), *rest)),
    }
    bench = Bench(backends.load("numpy"), ORACLE)  # type: ignore[arg-type]
    conv = [t for t in CASES if t.operation.name == "conv" and t.algorithm == "gemm" and t.tier == "exact"]
    for name, fault in faults.items():
        loops.pieces_of.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(*((loops, "layout_of") if name == "place" else (build, "get")), fault)
            results = [bench.check(replace(t, algorithm="compiled")) for t in conv if t.case in ("same", "groups-2")]
        assert any(not result.passed and "differ" in result.failure for result in results), name
    loops.pieces_of.cache_clear()
    assert all(bench.check(replace(t, algorithm="compiled")).passed for t in conv if t.case in ("same", "groups-2"))


# --- compiled -------------------------------------------------------------------------------------


@pytest.mark.needs("numba")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_within_the_bounds_of_gemm_and_its_own(name: str, dtype: str) -> None:
    """Of two results within their bounds of what is exact, the difference is within the sum."""
    setup, a, options = LAYERS[name], drawn(LAYERS[name], dtype), LAYERS[name].options()
    found, other = passes(setup, a), passes(setup, a, "gemm")

    def bounds(algorithm: str) -> tuple[Any, ...]:
        words: dict[str, Any] = options | {"algorithm": algorithm}
        return (
            xc.error_bound(a["x"], a["w"], a["b"], **words),
            conv_input_grad_error_bound(a["dz"], a["w"], a["x"].shape, **words),
            conv_weight_grad_error_bound(a["dz"], a["x"], a["w"].shape, **words),
        )

    for got, wanted, own, theirs in zip(found[:3], other[:3], bounds("compiled"), bounds("gemm"), strict=True):
        assert got.dtype == wanted.dtype == np.dtype(dtype)
        assert (np.abs(got.astype("f8") - wanted) <= own.astype("f8") + theirs).all()
        if got.shape != setup.shape("w"):  # whose sums are cut into other tiles
            assert (own <= 1.01 * theirs).all()


@pytest.mark.needs("numba")
@pytest.mark.parametrize("name", LAYERS)
def test_the_bits_do_not_depend_on_the_threads(name: str) -> None:
    a = drawn(LAYERS[name])
    found = []
    for threads in (1, 2, 5):
        with xc.set_options(threads=threads, max_workspace=2 * MIB):
            found.append([array.tobytes() for array in passes(LAYERS[name], a)])
    assert found[0] == found[1] == found[2]


@pytest.mark.needs("numba")
@pytest.mark.parametrize("name", LAYERS)
def test_the_gradients_in_one_run_have_the_bits_of_each_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, a, options = LAYERS[name], drawn(LAYERS[name]), LAYERS[name].options() | {"algorithm": "compiled"}
    runs: list[int] = []
    together = straight.together
    monkeypatch.setattr(straight, "together", lambda *given: runs.append(len(given[2])) or together(*given))
    found = xc.conv_vjp(a["dz"], a["x"], a["w"], **options)
    gradients = 2 + (setup.filters >= LANES)  # the bias's too, whose sums NumPy makes of fewer filters in another order
    assert (gradients in runs) == (setup.layout == "channels_last")
    alone = (
        xc.conv_input_grad(a["dz"], a["w"], a["x"].shape, **options),
        xc.conv_weight_grad(a["dz"], a["x"], a["w"].shape, **options),
    )
    assert [array.tobytes() for array in found[:2]] == [array.tobytes() for array in alone]
    monkeypatch.setattr(straight, "gradients", lambda *given: None)
    assert [array.tobytes() for array in found] == [array.tobytes() for array in passes(setup, a)[1:]]


STRIDES = {
    "stride 2": Conv((41, 37), (3, 3), batch=2, channels=40, filters=40, groups=40, padding=1, stride=2),
    "a kernel shorter than the stride": Conv((13, 17), (2, 2), channels=17, filters=17, groups=17, stride=(2, 3)),
    "nine taps of a phase": Conv((12, 19), (5, 3), channels=16, filters=16, groups=16, padding=2, stride=(2, 1)),
    "dilated": Conv((20, 19), (3, 3), channels=20, filters=20, groups=20, padding=2, stride=(2, 3), dilation=(3, 2)),
    "1-d": Conv((90,), (4,), channels=16, filters=16, groups=16, padding=2, stride=2),
    "3-d": Conv((6, 7, 9), (2, 3, 2), channels=24, filters=24, groups=24, padding=1, stride=(1, 2, 2)),
    "three channels": Conv((31, 37), (3, 3), batch=2, channels=3, filters=32, padding=1, stride=2),
    "three channels, a kernel shorter than the stride": Conv((13, 17), (2, 2), channels=3, filters=16, stride=(2, 3)),
    "five channels, dilated": Conv((20, 19), (3, 3), channels=5, filters=24, padding=2, stride=(2, 3), dilation=(3, 2)),
    "two channels, 1-d": Conv((5000,), (4,), channels=2, filters=40, padding=2, stride=2),
    "three channels, 3-d": Conv((6, 7, 9), (2, 3, 2), channels=3, filters=20, padding=1, stride=(1, 2, 2)),
}


@pytest.mark.needs("numba")
@pytest.mark.parametrize("name", STRIDES)
def test_a_gradient_at_a_stride_has_the_bits_of_its_phases(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, a = STRIDES[name], drawn(STRIDES[name])
    taken: list[str] = []
    strided = Compiled.strided
    monkeypatch.setattr(Compiled, "strided", lambda self, g: taken.append(strided(self, g)) or taken[-1])
    found = passes(setup, a)[1]
    assert taken
    assert set(taken) == {"depthwise images" if setup.groups > 1 else "taps images"}
    monkeypatch.setattr(Compiled, "strided", lambda self, geometry: "")
    phases = passes(setup, a)[1]
    assert np.abs(phases).max() > 0
    assert found.tobytes() == phases.tobytes()


@pytest.mark.needs("numba")
@pytest.mark.parametrize("name", LAYERS)
def test_any_order_of_memory_and_arrays_that_cannot_be_written(name: str) -> None:
    setup, a = LAYERS[name], drawn(LAYERS[name])
    wanted = [array.tobytes() for array in passes(setup, a)[:3]]
    for change in cases.LAID:
        other = {role: change(array) for role, array in a.items()}
        for array in other.values():
            array.flags.writeable = False
        assert [array.tobytes() for array in passes(setup, other)[:3]] == wanted


@pytest.mark.needs("numba")
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_windows(name: str, value: float) -> None:
    setup, a = LAYERS[name], drawn(LAYERS[name])
    a["x"].reshape(-1)[a["x"].size // 2] = value
    a["dz"].reshape(-1)[a["dz"].size // 3] = value
    with np.errstate(invalid="ignore"):
        found, others = (passes(setup, a, algorithm)[:3] for algorithm in ("compiled", "direct"))
    assert not all(np.isfinite(got).all() for got in found)
    for got, other in zip(found, others, strict=True):
        assert not (~np.isfinite(got) & np.isfinite(other)).any()  # which multiplies with the padding's zeros too


@pytest.mark.needs("numba")
@pytest.mark.parametrize("name", LAYERS)
def test_the_workspace_is_kept(name: str) -> None:
    setup = LAYERS[name]
    large = replace(setup, size=tuple(3 * n for n in setup.size), batch=4)
    a, options = drawn(large), large.options() | {"algorithm": "compiled"}
    with xc.set_options(max_workspace=2 * MIB, threads=4):
        assert beside(lambda: xc.conv(a["x"], a["w"], a["b"], **options)) <= 2 * MIB
        assert beside(lambda: xc.conv_vjp(a["dz"], a["x"], a["w"], **options)) <= 2 * MIB


# --- when they are taken --------------------------------------------------------------------------

THIN = ((2, 28, 28, 192), (3, 3, 1, 192))
OPTIONS: dict[str, Any] = {"padding": 1, "groups": 192}


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> build.Ledger:
    """A process that has lost nothing yet."""
    fresh = build.Ledger()
    monkeypatch.setattr(build, "ledger", fresh)
    return fresh


def test_a_kernel_is_taken_when_as_much_is_lost_as_it_costs(
    ledger: build.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "on_disk", lambda name: name == "groups")
    calls = {"groups": 0, "filters": 0}
    for name in calls:
        while not ledger.takes(name, "float32", 0.25):
            calls[name] += 1
        assert ledger.takes(name, "float32", 0.0)
        assert ledger.waits(name, "float64")
    assert calls == {"groups": build.LOADING / 0.25 - 1, "filters": build.COMPILING / 0.25 - 1}


@pytest.mark.usefixtures("plain")
def test_a_call_is_given_a_kernel_for_what_itself_saves() -> None:
    """And not for what was called before: the bits of a call are the same whenever it is made."""

    def line(batch: int) -> str:
        plan = xc.explain((batch, *THIN[0][1:]), THIN[1], **OPTIONS)
        (candidate,) = (c for c in plan.candidates if c.algorithm == "compiled")
        return f"{plan.algorithm}: {candidate.reason}"

    for _ in range(2):
        assert line(1) == f"direct: {build.LITTLE}"
        assert line(64) == "compiled: taken: the least predicted time"
        with xc.set_options(compiled=False):
            assert line(64) == f"direct: {build.OFF}"
        with xc.set_options(compiled=True):
            assert line(1) == "compiled: taken: the least predicted time"


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "installed", lambda: False)
    monkeypatch.setattr(_options, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    remedy = r'python -m pip install "xpconv\[fast\]"'
    before = repr(xc.set_options())
    with pytest.raises(ImportError, match=rf"^set_options: compiled=True needs Numba.*{remedy}"):
        xc.set_options(compiled=True)
    assert repr(xc.set_options()) == before
    plan = xc.explain(*THIN, **OPTIONS)
    assert plan.algorithm == "direct"
    assert any(c.reason == build.MISSING for c in plan.candidates)
    with pytest.raises(ValueError, match=rf"^conv: algorithm 'compiled': needs Numba: {remedy}"):
        xc.conv(np.ones((1, 4, 4, 1)), np.ones((3, 3, 1, 1)), algorithm="compiled")


@pytest.mark.parametrize("value", [1, "yes"])
def test_bad_values(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^set_options: compiled is None, False or True; got"):
        xc.set_options(compiled=value)


def test_the_environment_switches_kernels_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, wanted in (("", None), ("1", None), ("0", False)):
        monkeypatch.setenv("XPCONV_COMPILED", text)
        assert _options._initial().compiled is wanted
    monkeypatch.setenv("XPCONV_COMPILED", "no")
    with pytest.raises(ValueError, match="XPCONV_COMPILED is 0 or 1; got 'no'"):
        _options._initial()


@pytest.mark.needs("numba")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_prepared_has_the_bits_of_a_call(name: str, threads: int) -> None:
    """Of pieces on several threads too, of batches of any size, in any result."""
    setup, a = LAYERS[name], drawn(LAYERS[name])
    options: dict[str, Any] = setup.options() | {"algorithm": "compiled"}
    with xc.set_options(threads=threads):
        prepared = xc.prepare_conv(a["w"], a["b"], input_shape=a["x"].shape, **options)
        for x in (a["x"], np.concatenate([a["x"]] * 9)):
            wanted = xc.conv(x, a["w"], a["b"], **options)
            assert prepared(x).tobytes() == wanted.tobytes()
            gaps = np.zeros((*wanted.shape[:-1], 2 * wanted.shape[-1]), wanted.dtype)[..., ::2]
            assert prepared(x, out=gaps) is gaps
            assert gaps.tobytes() == wanted.tobytes()


@pytest.mark.needs("numba")
def test_numba_is_imported_when_a_kernel_is_wanted() -> None:
    script = (
        "import sys, numpy as np, xpconv as xc\n"
        "x, w = np.ones((1, 8, 8, 64), 'f4'), np.ones((3, 3, 1, 64), 'f4')\n"
        "xc.conv(x, w, groups=64); xc.explain(x.shape, w.shape, groups=64); xc.set_options(compiled=True)\n"
        "before = 'numba' in sys.modules; xc.conv(x, w, groups=64, algorithm='compiled')\n"
        "print(before, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.needs("numba")
def test_kernels_are_compiled_once_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def compile_slowly(name: str, dtype: str) -> Any:
        made.append(name)
        return made.append

    monkeypatch.setattr(build, "_compile", compile_slowly)
    monkeypatch.setattr(build._Built, "kernels", {})
    threads = [threading.Thread(target=build.get, args=("groups", "float32")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["groups"]


@pytest.mark.needs("numba")
def test_a_kernel_needs_no_folder_to_be_kept_in(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    def njit(*signature: Any, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda source: source

    monkeypatch.setattr(numba, "njit", njit)
    assert build._compile("groups", "float32").__name__ == "forward"


@pytest.mark.needs("numba")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_the_kernels() -> None:
    script = (
        "import os, numpy as np, xpconv as xc\n"
        "x, w = np.ones((4, 28, 28, 192), 'f4'), np.ones((3, 3, 1, 192), 'f4')\n"
        "z = xc.conv(x, w, groups=192, algorithm='compiled')\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os._exit(not (xc.conv(x, w, groups=192, algorithm='compiled') == z).all())\n"
        "print(os.waitpid(child, 0)[1])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]


def test_the_catalogue_has_every_kind_of_loops() -> None:
    assert set(map(kind, [*catalogue.CONV.values(), *LAYERS.values()])) == {
        "depthwise",
        "windows",
        "groups",
        "filters",
        "dense",
        "apart",
        "taps",
    }


def test_a_tile_that_reaches_beyond_the_pixels_there_are_has_room_to_lay_them_out() -> None:
    """As a block's last tile does. In plain Python, where a number beyond the work memory is an error."""
    setup = Conv((9, 60), (5, 5), channels=16, filters=16)
    geometry, output = geometry_of(setup), (5, 16)
    assert kind(setup) == "dense"
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (1, 9, 10, 16)).astype("f4")
    w = rng.integers(-3, 4, loops.weight_shape(geometry, "dense")).astype("f4")
    numbers, room, _ = loops.layout_of(geometry, (0, (0, 0)), output, 4, there=(9, 10))
    forward = importlib.import_module("xpconv._compiled.dense").forward

    def tile(pixels: np.ndarray, room: int, numbers: np.ndarray) -> np.ndarray:
        z = np.zeros((1, 1, *output, 16), "f4")
        forward(pixels[:, None], w, np.zeros(16, "f4"), z, numbers, np.zeros(room, "f4"))
        return z

    found = tile(x, room, numbers)
    wide = np.pad(x, [(0, 0), (0, 0), (0, 10), (0, 0)])
    numbers, least, _ = loops.layout_of(geometry, (0, (0, 0)), output, 4, there=(9, 20))
    assert (found == tile(wide, least, numbers)).all()
    assert least < room
