"""Gradients of images by col2im, on every geometry, whether or not it would be taken there."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import oracle
from tests.cases import values
from tests.memory import MIB, beside
from tests.oracle import by_slices
from tests.oracle.longdouble import convolve, ratio, wide
from tests.sizes import FULL, NIGHTLY, full
from xpconv import bounds
from xpconv._plan import bands, input_grad


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Take it wherever it can be, without looking at what the phases would take; the bands that were taken."""
    found: list[Any] = []

    def possible(call: Any, geometry: Any, phases: Any) -> Any:
        found.append(bands.possible(call, geometry))
        return found[-1]

    monkeypatch.setattr(input_grad, "cheaper", possible)
    monkeypatch.setattr(input_grad, "_PLANS", {})
    yield found
    assert found
    assert None not in found


def phases(call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give what a call gives by stride phases."""
    with monkeypatch.context() as other:
        other.setattr(input_grad, "cheaper", lambda *_: None)
        other.setattr(input_grad, "_PLANS", {})
        return call()


def geometries(count: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]]:
    """Draw (x_shape, w_shape, options): one to three axes, windows that overlap or not, padding beyond a kernel."""
    rng = np.random.default_rng(0)
    while count:
        rank = int(rng.integers(1, 4))
        n, c, f = (int(v) for v in rng.integers(1, 4, 3))
        kernel, stride, dilation = (tuple(int(v) for v in rng.integers(1, m, rank)) for m in (5, 5, 3))
        padding = [tuple(int(v) for v in rng.integers(0, 4, 2)) for _ in range(rank)]
        size = tuple(int(v) for v in rng.integers(1, 13, rank))
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        if all(n + sum(p) >= span for n, p, span in zip(size, padding, spans, strict=True)):
            yield (n, *size, c), (*kernel, c, f), {"stride": stride, "dilation": dilation, "padding": padding}
            count -= 1


def test_whole_numbers_are_exact(taken: list[Any]) -> None:
    for x_shape, w_shape, options in geometries(300 if FULL else 150):
        w = values(w_shape, 1, "float32", -3, 3)
        dz = values(xc.conv(np.zeros(x_shape, "float32"), w, **options).shape, 2, "float32", -3, 3)
        wanted = xc.conv_input_grad(dz, w, x_shape, algorithm="gemm", **options)
        np.testing.assert_array_equal(xc.conv_input_grad(dz, w, x_shape, **options), wanted, str(options))
        first = xc.conv_input_grad(
            np.moveaxis(dz, -1, 1),
            np.moveaxis(w, (-1, -2), (0, 1)),
            (x_shape[0], x_shape[-1], *x_shape[1:-1]),
            layout="channels_first",
            **options,
        )
        np.testing.assert_array_equal(np.moveaxis(first, 1, -1), wanted, str(options))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("bias", [False, True])
def test_transposed_convolutions(taken: list[Any], monkeypatch: pytest.MonkeyPatch, dtype: str, bias: bool) -> None:
    """With a bias, also where no tap reaches; windows side by side, apart, and overlapping; output_padding."""
    for number, (kernel, stride, padding, more) in enumerate(
        [(2, 2, 0, 0), (2, 2, 0, 1), (3, 4, 0, 0), (4, 2, 1, 0), (4, 2, 1, 1), (3, 1, 2, 0), (1, 3, 0, 2), (5, 3, 2, 1)]
    ):
        x, w = values((3, 6, 5, 4), number, dtype, -2, 2), values((kernel, kernel, 3, 4), number, dtype, -2, 2)
        b = values((3,), 1, dtype, -2, 2) if bias else None
        options: dict[str, Any] = {"stride": stride, "padding": padding, "output_padding": more}

        def call(x: Any = x, w: Any = w, b: Any = b, options: Any = options) -> Any:
            return xc.conv_transpose(x, w, b, **options)

        got = call()
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, phases(call, monkeypatch))


LARGE: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "bands of rows": ((2, 301, 260, 3), (7, 7, 3, 16), {"stride": 2, "padding": 3}),
    "patches": ((3, 224, 210, 3), (14, 14, 3, 64), {"stride": 14}),
    "many images": ((300, 14, 13, 6), (5, 5, 6, 16), {}),
    "1-d": ((2, 90_000, 2), (9, 2, 8), {"stride": 4, "padding": 4}),
    "3-d": ((8, 25, 28, 30, 4), (3, 3, 3, 4, 8), {"stride": 2, "padding": 1}),
}

ENOUGH = {"bands of rows": (2, 151, 130, 3), "many images": (120, 14, 13, 6), "3-d": (2, 25, 28, 30, 4)}  # for 2 MiB


@pytest.mark.parametrize("most", [pytest.param(64, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("name", LARGE)
def test_bands_meet_without_a_seam(taken: list[Any], name: str, most: int) -> None:
    """And take no more memory than they may, whatever the number of threads, which changes no bit."""
    x_shape, w_shape, options = LARGE[name]
    if most == 2 and not NIGHTLY:
        x_shape = ENOUGH.get(name, x_shape)
    x, w = values(x_shape, 0, "float32", -2, 2), values(w_shape, 1, "float32", -2, 2)
    dz = values(xc.conv(x, w, **options).shape, 2, "float32", -2, 2)
    wanted = by_slices.conv(dz, x, w, **options)[1]
    for threads in (1, 3):
        with xc.set_options(max_workspace=most * MIB, threads=threads):
            np.testing.assert_array_equal(xc.conv_input_grad(dz, w, x_shape, **options), wanted)
            assert beside(lambda: xc.conv_input_grad(dz, w, x_shape, **options)) <= most * MIB
    assert all(bands.images < x_shape[0] or bands.rows < x_shape[1] for bands in taken)


@pytest.mark.parametrize(
    ("mode", "dtype"),
    full(  # what is held beside the rest depends on each, not on both
        itertools.product(["reflect", "circular"], ["float16", "float32"]),
        [("reflect", "float16"), ("circular", "float32")],
    ),
)
def test_padding_modes_leave_it_their_share_of_the_memory(taken: list[Any], mode: str, dtype: str) -> None:
    """What the padding received is a strip, computed in the same way and held beside the rest."""
    size, most = ((150, 280), 6 * MIB) if NIGHTLY else ((90, 170), 3 * MIB)
    x_shape, options = (2, *size, 4), {"padding": 3, "stride": 2, "padding_mode": mode}
    w = values((7, 7, 4, 16), 1, dtype, -1, 1)
    dz = values(xc.conv(np.zeros(x_shape, dtype), w, **options).shape, 2, dtype, -1, 1)
    wanted = xc.conv_input_grad(dz, w, x_shape, algorithm="gemm", **options)
    with xc.set_options(max_workspace=most, threads=3):
        np.testing.assert_array_equal(xc.conv_input_grad(dz, w, x_shape, **options), wanted)
        assert beside(lambda: xc.conv_input_grad(dz, w, x_shape, **options)) <= most


def test_a_weight_in_another_order_is_copied_once(taken: list[Any]) -> None:
    dz, w = np.ones((8, 768, 4, 4), "float32"), np.ones((768, 3, 16, 16), "float32")
    with xc.set_options(max_workspace=4 * MIB, threads=2):
        call = lambda: xc.conv_input_grad(dz, w, (8, 3, 64, 64), stride=16, layout="channels_first")  # noqa: E731
        assert (call() == 768).all()
        assert beside(call) <= 4 * MIB


def test_what_is_thrown_away_warns_of_nothing(taken: list[Any]) -> None:
    dz, w = np.ones((1, 8, 8, 6), "float32"), np.ones((3, 3, 2, 6), "float32")
    dz[0, 0, 0], w[0, 0] = np.inf, 0
    assert not np.isnan(xc.conv_input_grad(dz, w, (1, 8, 8, 2), padding=1)).any()


def test_threads_change_no_bit(taken: list[Any]) -> None:
    w, dz = values((5, 5, 3, 32), 1, "float32"), values((4, 100, 98, 32), 2, "float32")
    found = set()
    for threads in range(1, 6):
        with xc.set_options(threads=threads):
            found.add(xc.conv_input_grad(dz, w, (4, 200, 196, 3), stride=2, padding=2).tobytes())
    assert len(found) == 1
    assert len({bands.workers for bands in taken}) > 1


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_errors_are_within_the_bound(taken: list[Any], stride: int) -> None:
    x, w = values((2, 21, 23, 4), 0, "float32"), values((3, 3, 4, 24), 1, "float32")
    options: dict[str, Any] = {"stride": stride, "padding": 1}
    dz = values(xc.conv(x, w, **options).shape, 2, "float32")
    got, bound = (
        xc.conv_input_grad(dz, w, x.shape, **options),
        bounds.conv_input_grad_error_bound(dz, w, x.shape, **options),
    )
    exact = xc.conv_input_grad(dz.astype("float64"), w.astype("float64"), x.shape, algorithm="gemm", **options)
    assert 0 < ratio(got, wide(exact), bound) <= 1
    if stride == 1:
        np.testing.assert_allclose(exact, convolve(x, w, dz, 1)["dx"], rtol=1e-12, atol=1e-12)


def test_what_is_not_finite_stays_in_its_windows(taken: list[Any]) -> None:
    dz, w = np.ones((2, 9, 9, 6), "float32"), np.ones((3, 3, 2, 6), "float32")
    dz[1, 4, 0, 3] = np.nan
    got = xc.conv_input_grad(dz, w, (2, 18, 18, 2), stride=2, padding=1)
    reached = np.zeros(got.shape, bool)
    reached[1, 7:10, 0:2] = True
    np.testing.assert_array_equal(np.isnan(got), reached)


def test_arguments_may_be_views_and_are_left_alone(taken: list[Any]) -> None:
    dz, w = values((2, 5, 6, 8), 0, "float64", -3, 3), values((3, 3, 2, 8), 1, "float64", -3, 3)
    wanted = xc.conv_input_grad(dz, w, (2, 12, 14, 2), stride=2, algorithm="gemm")
    view, kept = np.ascontiguousarray(dz[:, ::-1, :, ::-1])[:, ::-1, :, ::-1], dz.copy()
    got = xc.conv_input_grad(view, np.asfortranarray(w), (2, 12, 14, 2), stride=2)
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(view, kept)


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options", "wins"),
    [
        ((8, 224, 224, 3), (16, 16, 3, 768), {"stride": 16}, True),  # 256 phases of one tap
        ((32, 5, 5, 16), (5, 5, 16, 120), {}, True),  # one window in an image: all else would be zeros
        ((8, 56, 56, 64), (3, 3, 64, 64), {"padding": 1}, False),
        ((8, 14, 14, 512), (3, 3, 512, 512), {"padding": 1, "stride": 2}, False),  # too few windows for the weight
    ],
)
def test_where_it_pays(
    monkeypatch: pytest.MonkeyPatch, x_shape: Any, w_shape: Any, options: dict[str, Any], wins: bool
) -> None:
    """By what is predicted; nothing is computed."""
    found: list[Any] = []
    right = input_grad.cheaper

    def weigh(*arguments: Any) -> Any:
        found.append(right(*arguments))
        raise InterruptedError

    monkeypatch.setattr(input_grad, "cheaper", weigh)
    monkeypatch.setattr(input_grad, "_PLANS", {})
    sites = oracle.sites(x_shape[1:-1], w_shape[:-2], options.get("stride", 1), options.get("padding", 0), 1)
    dz = np.zeros((x_shape[0], *sites.out, w_shape[-1]), "float32")
    with pytest.raises(InterruptedError):
        xc.conv_input_grad(dz, np.zeros(w_shape, "float32"), x_shape, **options)
    assert [bands is not None for bands in found] == [wins]
