"""Winograd's loops: as plain Python too, and what holds of every algorithm."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import cases
from tests.memory import beside, litter
from xpconv import _options
from xpconv._compiled import build, tiles
from xpconv._shapes import read
from xpconv._shapes.read import Windowing
from xpconv.algorithms import compiled_winograd
from xpconv.algorithms.compiled_winograd import CompiledWinograd
from xpconv.bounds import conv_input_grad_error_bound, conv_weight_grad_error_bound
from xpconv.verify.catalogue.setups import Conv

NAME = "compiled_winograd"
MIB = 1 << 20
# tiles that reach over the end; eight filters left; 4, 6 and 8 points, another number for each axis
LAYERS = {
    "same": Conv((13, 18), (3, 3), batch=2, channels=16, filters=24, padding=1),
    "valid": Conv((12, 9), (3, 3), channels=8, filters=8),
    "small": Conv((5, 4), (3, 3), batch=3, channels=24, filters=16, padding=1),
    "more channels than are transformed at once": Conv((9, 10), (3, 3), channels=72, filters=136, padding=1),
    "large padding": Conv((5, 6), (3, 3), channels=8, filters=8, padding=4),
    "along one axis": Conv((9, 12), (1, 3), channels=8, filters=24, padding=1),
    "5x2": Conv((14, 11), (5, 2), channels=8, filters=16, padding=1),
    "6x7": Conv((14, 16), (6, 7), channels=8, filters=16, padding=3),
    "channels first": Conv((9, 11), (3, 3), batch=2, channels=8, filters=16, padding=1, layout="channels_first"),
    "reflected": Conv((9, 11), (3, 3), batch=2, channels=8, filters=16, padding=1, padding_mode="reflect"),
}
SMALL = "valid", "small", "5x2", "channels first", "reflected"


def drawn(setup: Conv, dtype: str = "float32") -> dict[str, np.ndarray]:
    return {role: cases.values(setup.shape(role), 3, dtype) for role in ("x", "w", "b", "dz")}


def passes(setup: Conv, a: dict[str, Any], algorithm: str = NAME) -> tuple[np.ndarray, ...]:
    options: dict[str, Any] = setup.options() | {"algorithm": algorithm}
    return xc.conv(a["x"], a["w"], a["b"], **options), *xc.conv_vjp(a["dz"], a["x"], a["w"], **options)


def check(name: str, dtype: str) -> None:
    """See that each pass differs from the definition's sums by no more than both bounds."""
    setup, a, options = LAYERS[name], drawn(LAYERS[name], dtype), LAYERS[name].options()
    found, other = passes(setup, a), passes(setup, a, "gemm")

    def bounds(algorithm: str) -> tuple[Any, ...]:
        words: dict[str, Any] = options | {"algorithm": algorithm}
        return (
            xc.error_bound(a["x"], a["w"], a["b"], **words),
            conv_input_grad_error_bound(a["dz"], a["w"], a["x"].shape, **words),
            conv_weight_grad_error_bound(a["dz"], a["x"], a["w"].shape, **words),
        )

    for got, wanted, own, theirs in zip(found[:3], other[:3], bounds(NAME), bounds("gemm"), strict=True):
        assert got.dtype == wanted.dtype == np.dtype(dtype)
        assert (np.abs(got.astype("f8") - wanted) <= own.astype("f8") + theirs).all()
        # the bound is generous; what is wrong is off by about as much as there is
        assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max()


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


@pytest.fixture
def own_filters(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every piece prepare a block of filters itself."""
    monkeypatch.setattr(compiled_winograd, "LARGE", 0)
    monkeypatch.setattr(compiled_winograd, "OWN", tiles.BLOCK)
    caches = compiled_winograd._own_filters, compiled_winograd._pieces
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("name", SMALL)
def test_the_loops_as_plain_python(name: str) -> None:
    check(name, "float64" if name == "small" else "float32")


@pytest.mark.usefixtures("plain", "own_filters")
def test_pieces_that_prepare_their_own_filters_as_plain_python() -> None:
    check("small", "float32")


@pytest.mark.usefixtures("plain")
def test_a_wrong_loop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of a tile off by a pixel, the bias left out, a point forgotten."""
    right, numbers = build.get, compiled_winograd._numbers

    def without(name: str, dtype: str) -> Any:
        def loops(x: Any, w: Any, b: Any, *rest: Any) -> None:
            right(name, dtype)(x, w, b * 0, *rest)

        return loops if name == "tiles" else right(name, dtype)

    def forgetful(name: str, dtype: str) -> Any:
        def loops(w: Any, packed: Any, *rest: Any) -> None:
            right(name, dtype)(w, packed, *rest)
            packed[:, 1] = 0

        return loops if name == "tiles weight" else right(name, dtype)

    faults = {
        "place": (compiled_winograd, "_numbers", lambda *a: numbers(*a) + np.eye(10, dtype=np.intp)[2]),
        "bias": (build, "get", without),
        "point": (build, "get", forgetful),
    }
    for module, word, fault in faults.values():
        compiled_winograd._pieces.cache_clear()
        with monkeypatch.context() as planted:
            planted.setattr(module, word, fault)
            with pytest.raises(AssertionError):
                check("small", "float32")
    compiled_winograd._pieces.cache_clear()
    check("small", "float32")


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options", "reason"),
    [
        ((1, 8, 8), (3, 8, 8), {}, "two spatial axes and one group"),
        ((1, 8, 8, 16), (3, 3, 8, 16), {"groups": 2}, "two spatial axes and one group"),
        ((1, 8, 8, 12), (3, 3, 12, 16), {}, "multiples of eight channels and filters"),
        ((1, 8, 8, 16), (3, 3, 16, 12), {}, "multiples of eight channels and filters"),
        ((1, 8, 8, 16), (3, 3, 16, 16), {"stride": 2}, "stride 1 and dilation 1"),
    ],
)
def test_what_it_does_not_serve(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=f"^explain: algorithm '{NAME}': serves {reason} only"):
        xc.explain(x_shape, w_shape, algorithm=NAME, **options)


# --- compiled -------------------------------------------------------------------------------------


@pytest.mark.needs("numba")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_within_the_bounds_of_gemm_and_its_own(name: str, dtype: str) -> None:
    check(name, dtype)


@pytest.mark.needs("numba")
@pytest.mark.usefixtures("own_filters")
@pytest.mark.parametrize("name", LAYERS)
def test_pieces_that_prepare_their_own_filters(name: str) -> None:
    check(name, "float32")


@pytest.mark.needs("numba")
@pytest.mark.parametrize("name", LAYERS)
def test_the_bits_do_not_depend_on_the_threads_nor_on_the_cut(
    name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    a = drawn(LAYERS[name])
    found = []
    for threads in (1, 2, 5):
        with xc.set_options(threads=threads, max_workspace=4 * MIB):
            found.append([array.tobytes() for array in passes(LAYERS[name], a)])
    request.getfixturevalue("own_filters")
    found.append([array.tobytes() for array in passes(LAYERS[name], a)])
    assert found[0] == found[1] == found[2]
    assert found[0][:2] == found[3][:2]  # of the weight's gradient the sums may be others


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
@pytest.mark.parametrize("cut", ["tiles", "filters"])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_windows(
    name: str, value: float, cut: str, request: pytest.FixtureRequest
) -> None:
    if cut == "filters":
        request.getfixturevalue("own_filters")
    setup, a = LAYERS[name], drawn(LAYERS[name])
    a["x"].reshape(-1)[a["x"].size // 2] = value
    a["dz"].reshape(-1)[a["dz"].size // 3] = value
    with np.errstate(invalid="ignore"):
        found, others = (passes(setup, a, algorithm)[:3] for algorithm in (NAME, "direct"))
    assert not all(np.isfinite(got).all() for got in found)
    for got, other in zip(found, others, strict=True):
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(other))


@pytest.mark.needs("numba")
@pytest.mark.parametrize("name", LAYERS)
def test_the_workspace_is_kept(name: str) -> None:
    setup = LAYERS[name]
    large = replace(setup, size=tuple(3 * n for n in setup.size), batch=4)
    a, options = drawn(large), large.options() | {"algorithm": NAME}
    with xc.set_options(max_workspace=8 * MIB, threads=4):
        assert beside(lambda: xc.conv(a["x"], a["w"], a["b"], **options)) <= 8 * MIB
        assert beside(lambda: xc.conv_vjp(a["dz"], a["x"], a["w"], **options)) <= 8 * MIB


@pytest.mark.needs("numba")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_prepared_has_the_bits_of_a_call(name: str, threads: int) -> None:
    """Of batches of any size, in any result."""
    setup, a = LAYERS[name], drawn(LAYERS[name])
    options: dict[str, Any] = setup.options() | {"algorithm": NAME}
    with xc.set_options(threads=threads):
        prepared = xc.prepare_conv(a["w"], a["b"], input_shape=a["x"].shape, **options)
        for x in (a["x"], np.concatenate([a["x"]] * 9)):
            wanted = xc.conv(x, a["w"], a["b"], **options)
            assert prepared(x).tobytes() == wanted.tobytes()
            gaps = np.zeros((*wanted.shape[:-1], 2 * wanted.shape[-1]), wanted.dtype)[..., ::2]
            assert prepared(x, out=gaps) is gaps
            assert gaps.tobytes() == wanted.tobytes()


def test_pieces_cover_a_convolution_once() -> None:
    """Whole rows of tiles, or whole blocks of filters, each strip of as many tiles as its registers take."""
    for batch, size, channels in ((1, 28, 128), (8, 14, 256), (8, 56, 64), (8, 7, 512), (1, 7, 512), (40, 5, 8)):
        shape, weight = (batch, size, size, channels), (3, 3, channels, channels)
        geometry = read.conv("conv", shape, weight, Windowing(padding=1))
        algorithm = CompiledWinograd()
        step = algorithm.step(geometry)
        for pieces in (algorithm.pieces(geometry), algorithm.own_filters(geometry)):
            seen = np.zeros(geometry.output_shape, np.int8)
            for piece in pieces:
                seen[piece.where] += 1
                assert piece.where[1].start % step[0] == piece.numbers[7] % tiles.SIDE == 0
                assert piece.where[-1].start == piece.blocks.start * tiles.BLOCK
            assert (seen == (len(pieces) > 0)).all()
