"""Algorithms that spread NaN: within their bound on every case that they serve, and a reason where they do not."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import cases, checks, sizes
from tests.backends import Backend
from tests.cases import CONV, arrays, values
from tests.memory import MIB, beside, lessened
from tests.oracle.longdouble import convolve, ratio, wide
from xpconv import bounds
from xpconv._shapes.cuts import Tiles
from xpconv.algorithms.winograd import LONGEST, POINTS, SHORTEST, exact_matrices, transform
from xpconv.verify.catalogue.setups import Conv

ALGORITHMS = ("toeplitz", "winograd", "fft")
# where it serves, the catalogue has the verifier's bounds; here are the library's own, and the refusals
CASES = {name: case for name, case in CONV.items() if case.padding_mode == "zeros" and case.dtype is None}
CASES = {name: case for name, case in CASES.items() if case.positions < 1000}
CORE = ("pairs", "depthwise", "empty-batch", "1d-causal-dilated", "stride-2")
OTHERS = ["strict", "torch", "jax-jit", "cupy", "dpnp"]
GRID = [("numpy", name) for name in CASES] + [
    (b, name) for b in OTHERS for name in (CORE if sizes.full_on(b) else CORE[:2])
]


def serves(case: Conv, algorithm: str) -> bool:
    """Say what the contract says: stride 1, for winograd no dilation and 2 to 7 taps; one group or depthwise."""
    axes = [np.broadcast_to(v, len(case.size)) for v in (case.stride, case.dilation)]
    if algorithm == "toeplitz":
        return True
    thin = case.groups == 1 or case.channels == case.groups == case.filters
    if algorithm == "fft":
        return bool(thin and axes[0].max() == 1)
    return bool(thin and axes[0].max() == axes[1].max() == 1 and 2 <= max(case.kernel) <= 7)


def attempt(call: Callable[[], Any]) -> tuple[Any, str]:
    """Give the result, or the message of the refusal."""
    try:
        return call(), ""
    except ValueError as error:
        return None, str(error)


def demand_within(backend: Backend, got: Any, exact: np.ndarray, bound: Any, dtype: str = "float32") -> None:
    """Demand the kind of a result, and that its error is within a bound that is finite."""
    __tracebackhide__ = True
    checks.demand_kind(backend, got, dtype, exact.shape)
    bound = backend.to_numpy(bound)
    assert np.isfinite(bound).all()
    found = ratio(backend.to_numpy(got), wide(exact), bound)
    assert found <= 1, f"{found:.3g} times its bound"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("backend", "name"), GRID, indirect=["backend"])
def test_every_case(backend: Backend, name: str, algorithm: str) -> None:
    """Of a strided convolution the gradient of the images may be served all the same, phase by phase."""
    case = CASES[name]
    a, exact = arrays(case, exact=False), cases.expected(case, exact=False)
    x, w, b, dz = (None if a[k] is None else backend.asarray(a[k]) for k in ("x", "w", "b", "dz"))
    options = {**case.options(), "algorithm": algorithm}
    served = serves(case, algorithm)
    calls = {
        "z": (xc.conv, xc.error_bound, (x, w, b)),
        "dx": (xc.conv_input_grad, bounds.conv_input_grad_error_bound, (dz, w, case.shape("x"))),
        "dw": (xc.conv_weight_grad, bounds.conv_weight_grad_error_bound, (dz, x, case.shape("w"))),
    }
    for key, (function, promise, arguments) in calls.items():
        arguments = arguments[:2] if arguments[-1] is None else arguments
        got, refusal = attempt(lambda f=function, a=arguments: backend.raw(f, *a, **options))
        if refusal:
            assert not served
            assert f"algorithm {algorithm!r}: serves" in refusal
        else:
            assert served or key == "dx"
            demand_within(backend, got, exact[key], backend.raw(promise, *arguments, **options))


KERNELS = [(k, k) for k in range(2, 8)] + [(3, 1), (1, 5), (2, 7), (6, 3), (4,), (7,), (2, 3, 2), (3, 3, 3), (1, 4, 2)]
SIZES = {1: [(41,), (7,)], 2: [(23, 17), (7, 9)], 3: [(9, 8, 7), (4, 5, 3)]}
FORMS: list[tuple[Any, str]] = [
    (0, "zeros"),
    ("same", "zeros"),
    ("same_lower", "reflect"),
    (1, "circular"),
    ("causal", "replicate"),
    (2, "zeros"),
    ("same", "circular"),
    (1, "reflect"),
]


def pairs(padding: Any, kernel: tuple[int, ...]) -> list[tuple[int, int]]:
    """Resolve a padding form at stride 1."""
    forms = {
        "same": lambda k: ((k - 1) // 2, k // 2),
        "same_lower": lambda k: (k // 2, (k - 1) // 2),
        "causal": lambda k: (k - 1, 0),
    }
    return [forms[padding](k) if isinstance(padding, str) else (padding, padding) for k in kernel]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: "x".join(map(str, kernel)))
def test_every_kernel(numpy_backend: Backend, kernel: tuple[int, ...], algorithm: str) -> None:
    """Images of a tile and a rest, and smaller than a tile; every form and mode of padding; both layouts."""
    counted = 0
    for number, (size, (padding, mode)) in enumerate(itertools.product(SIZES[len(kernel)], FORMS)):
        if any(max(pair) >= n for pair, n in zip(pairs(padding, kernel), size, strict=True)) and mode != "zeros":
            continue
        if any(n + sum(pair) < k for pair, n, k in zip(pairs(padding, kernel), size, kernel, strict=True)):
            continue
        if not sizes.NIGHTLY and (number + KERNELS.index(kernel) + ALGORITHMS.index(algorithm)) % 3:
            continue  # kernels and algorithms take turns
        c, f = ((3, 5), (4, 4), (1, 1), (9, 2))[number % 4]
        depthwise = number % 4 == 1
        x, w = values((2, *size, c), number, "float32"), values((*kernel, 1 if depthwise else c, f), 9, "float32")
        out = (n + sum(pair) - k + 1 for n, k, pair in zip(size, kernel, pairs(padding, kernel), strict=True))
        dz = values((2, *out, w.shape[-1]), 5, "float32")
        exact = convolve(x, w, dz, pairs(padding, kernel), mode)
        options = {
            "padding": padding,
            "padding_mode": mode,
            "algorithm": algorithm,
            "groups": c if depthwise else 1,
        }
        if number % 3 == 2:
            options["layout"] = "channels_first"
            x, dz = (np.ascontiguousarray(np.moveaxis(a, -1, 1)) for a in (x, dz))
            w = np.ascontiguousarray(np.moveaxis(w, (-1, -2), (0, 1)))
            exact = {
                k: np.moveaxis(a, -1, 1) if k != "dw" else np.moveaxis(a, (-1, -2), (0, 1)) for k, a in exact.items()
            }
        demand_within(numpy_backend, xc.conv(x, w, **options), exact["z"], xc.error_bound(x, w, **options))
        dx, dw, _ = xc.conv_vjp(dz, x, w, **options)
        promised = bounds.conv_input_grad_error_bound(dz, w, x.shape, **options)
        demand_within(numpy_backend, dx, exact["dx"], promised)
        demand_within(numpy_backend, dw, exact["dw"], bounds.conv_weight_grad_error_bound(dz, x, w.shape, **options))
        counted += 1
    assert counted >= (6 if sizes.NIGHTLY else 3)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", ["float64", "float16", "complex64", "complex128"])
def test_dtypes(numpy_backend: Backend, dtype: str, algorithm: str) -> None:
    x, w, dz = (values(s, 1, dtype) for s in ((2, 19, 14, 5), (3, 3, 5, 4), (2, 19, 14, 4)))
    exact = convolve(x, w, dz, 1)
    options = {"padding": 1, "algorithm": algorithm}
    dx, dw, _ = xc.conv_vjp(dz, x, w, **options)
    demand_within(numpy_backend, xc.conv(x, w, **options), exact["z"], xc.error_bound(x, w, **options), dtype)
    demand_within(numpy_backend, dx, exact["dx"], bounds.conv_input_grad_error_bound(dz, w, x.shape, **options), dtype)
    demand_within(numpy_backend, dw, exact["dw"], bounds.conv_weight_grad_error_bound(dz, x, w.shape, **options), dtype)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_bfloat16(algorithm: str) -> None:
    from ml_dtypes import bfloat16

    x, w = (values(s, 1, "float32").astype(bfloat16) for s in ((1, 19, 14, 5), (3, 3, 5, 4)))
    got = xc.conv(x, w, padding=1, algorithm=algorithm)
    assert got.dtype == bfloat16
    exact = convolve(x.astype(np.float32), w.astype(np.float32), None, 1)["z"]
    assert ratio(got.astype(np.float32), exact, xc.error_bound(x, w, padding=1, algorithm=algorithm)) <= 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", ["int8", "int32", "uint16"])
def test_integers_are_refused(dtype: str, algorithm: str) -> None:
    x, w = np.ones((1, 9, 9, 2), dtype), np.ones((3, 3, 2, 2), dtype)
    reason = f"^{{}}: algorithm '{algorithm}': serves floating dtypes only"
    with pytest.raises(ValueError, match=reason.format("conv")):
        xc.conv(x, w, algorithm=algorithm)
    with pytest.raises(ValueError, match=reason.format("conv_vjp")):
        xc.conv_vjp(np.ones((1, 7, 7, 2), dtype), x, w, algorithm=algorithm)


REFUSED: dict[str, tuple[str, tuple[int, ...], dict[str, Any], str]] = {
    "a stride": ("winograd", (3, 3, 4, 4), {"stride": 2}, "serves stride 1 and dilation 1 only"),
    "a dilation": ("winograd", (3, 3, 4, 4), {"dilation": 2}, "serves stride 1 and dilation 1 only"),
    "one tap": ("winograd", (1, 1, 4, 4), {}, "serves kernels of 2 to 7 taps along an axis only"),
    "many taps": ("winograd", (8, 3, 4, 4), {}, "serves kernels of 2 to 7 taps along an axis only"),
    "groups": ("winograd", (3, 3, 2, 4), {"groups": 2}, "serves one group, or one channel and one filter"),
    "a stride of fft": ("fft", (3, 3, 4, 4), {"stride": (1, 2)}, "serves stride 1 only"),
    "groups of fft": ("fft", (3, 3, 2, 4), {"groups": 2}, "serves one group, or one channel and one filter"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_served_is_refused_with_the_reason(name: str) -> None:
    algorithm, shape, options, reason = REFUSED[name]
    x, w = np.ones((1, 20, 20, 4), np.float32), np.ones(shape, np.float32)
    with pytest.raises(ValueError, match=f"^conv: algorithm '{algorithm}': {reason}"):
        xc.conv(x, w, algorithm=algorithm, **options)
    dz = np.ones_like(xc.conv(x, w, **options))
    with pytest.raises(ValueError, match=f"^conv_weight_grad: algorithm '{algorithm}': {reason}"):
        xc.conv_weight_grad(dz, x, w.shape, algorithm=algorithm, **options)


def test_fft_serves_spans_up_to_half_of_its_longest_transform() -> None:
    x = np.ones((1, 9000, 1), np.float32)
    assert xc.conv(x, np.ones((3, 1, 1), np.float32), dilation=2047, algorithm="fft").shape == (1, 4906, 1)
    with pytest.raises(ValueError, match="serves kernels that span at most 4096 pixels"):
        xc.conv(x, np.ones((3, 1, 1), np.float32), dilation=2048, algorithm="fft")


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("algorithm", ["auto", *ALGORITHMS])
def test_what_is_not_finite_stays_in_its_windows(algorithm: str, value: float) -> None:
    """A layer large enough for "auto" to transform: forward, in dz, and in a kernel."""
    x, w, dz = (values(s, 3, "float32") for s in ((2, 40, 44, 32), (3, 3, 32, 32), (2, 40, 44, 32)))
    options = {"padding": 1, "algorithm": algorithm}
    x[0, 13, 21, 3] = dz[1, 20, 0, 7] = value
    z = xc.conv(x, w, **options)
    dx, dw, _ = xc.conv_vjp(dz, x, w, **options)
    touched, reached = np.zeros(z.shape, bool), np.zeros(x.shape, bool)
    touched[0, 12:15, 20:23], reached[1, 19:22, :2] = True, True
    np.testing.assert_array_equal(~np.isfinite(z), touched)
    np.testing.assert_array_equal(~np.isfinite(dx), reached)
    rows = np.zeros(w.shape, bool)
    rows[:, :, 3], rows[..., 7] = True, True
    # the tap to the left of the first column reads padding
    assert not (~np.isfinite(dw) & ~rows).any()
    assert (~np.isfinite(dw))[:, 1:, :, 7].all()
    with np.errstate(invalid="ignore"):
        w[1, 1, 2, 5] = value
        z = xc.conv(np.ones_like(x), w, **options)
    assert (np.isfinite(z).all(axis=(0, 1, 2)) == (np.arange(32) != 5)).all()


@pytest.mark.parametrize("backend", ["numpy", "strict", "torch", "jax", "dask", "cupy", "dpnp"], indirect=True)
@pytest.mark.parametrize("size", [(21, 22), (19,)])
def test_images_wider_than_a_row_of_toeplitz(backend: Backend, size: tuple[int, ...]) -> None:
    x, w = values((2, *size, 3), 0, "float32", -3, 3), values((*(3,) * len(size), 3, 4), 1, "float32", -3, 3)
    dz = values((2, *size, 4), 2, "float32", -3, 3)
    options = {"padding": 1}
    wanted = (xc.conv(x, w, algorithm="gemm", **options), *xc.conv_vjp(dz, x, w, algorithm="gemm", **options))
    options["algorithm"] = "toeplitz"
    found = (backend.call(xc.conv, x, w, **options), *backend.call(xc.conv_vjp, dz, x, w, **options))
    for mine, expected in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(backend.to_numpy(mine), expected)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_number_of_threads_changes_no_bit(algorithm: str) -> None:
    x, w, dz = (values(s, 3, "float32") for s in ((3, 70, 66, 24), (3, 3, 24, 16), (3, 70, 66, 16)))
    found = set()
    for threads in range(1, 9):
        with xc.set_options(threads=threads):
            results = (
                xc.conv(x, w, padding=1, algorithm=algorithm),
                *xc.conv_vjp(dz, x, w, padding=1, algorithm=algorithm),
            )
        found.add(b"".join(r.tobytes() for r in results))
    assert len(found) == 1


# --- memory ---------------------------------------------------------------------------------------

LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "images": ((64, 28, 28, 16), (3, 3, 16, 16), {"padding": 1}),
    "one image": ((1, 700, 650, 4), (5, 5, 4, 4), {"padding": "same"}),
    "channels": ((1, 16, 16, 128), (3, 3, 128, 128), {"padding": 1}),
    "1-d": ((1, 200_000, 4), (7, 4, 4), {"padding": "causal"}),
    "3-d": ((1, 24, 28, 32, 4), (3, 3, 3, 4, 8), {"padding": 1}),
    "depthwise": ((4, 112, 112, 16), (3, 3, 1, 16), {"padding": 1, "groups": 16}),
}


PAIRS = list(itertools.product(LAYERS, ALGORITHMS))


@pytest.mark.parametrize(
    "most", [pytest.param(64 * MIB, marks=pytest.mark.slow), 8 * MIB if sizes.NIGHTLY else 2 * MIB]
)
@pytest.mark.parametrize(("name", "algorithm"), sizes.full(PAIRS, PAIRS[::2]))
def test_memory(name: str, algorithm: str, most: int) -> None:
    """A layer that does not fit is refused with the reason."""
    x_shape, w_shape, options = LAYERS[name]
    x, w = np.full(lessened(x_shape, most), 0.5, np.float32), np.full(w_shape, 0.25, np.float32)
    dz = np.ones_like(xc.conv(x, w, **options))
    options = {**options, "algorithm": algorithm}
    calls = (
        lambda: xc.conv(x, w, **options),
        lambda: xc.conv_input_grad(dz, w, x.shape, **options),
        lambda: xc.conv_weight_grad(dz, x, w.shape, **options),
    )
    with xc.set_options(max_workspace=most, threads=2):
        for call in calls:
            _, refusal = attempt(call)
            if refusal:
                assert most < 64 * MIB
                assert "workspace" in refusal
            else:
                assert beside(call) <= most


def test_memory_of_a_large_image_and_a_large_kernel() -> None:
    """Some rows of an image as wide as 20,000 pixels."""
    x, w = np.full((1, 600, 20_000, 1), 0.5, np.float32), np.full((101, 101, 1, 1), 0.25, np.float32)
    assert beside(lambda: xc.conv(x, w, algorithm="fft")) <= 64 * MIB


# --- Winograd's accuracy --------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "most"), [(4, 1e-6), (6, 4e-6)])
def test_accuracy_of_winograd(count: int, most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """F(2x2, 3x3) and F(4x4, 3x3): largest error over the largest output, 256 channels."""
    monkeypatch.setattr("xpconv.algorithms.winograd._options", lambda taps: [count])
    from xpconv._arrays import call
    from xpconv._plan import choose as _plan
    from xpconv.algorithms import winograd

    winograd.points.cache_clear()
    _plan._plan.cache_clear()
    call.forget()
    try:
        for seed in range(3):
            x, w = values((1, 26, 26, 256), seed, "float32"), values((3, 3, 256, 32), seed, "float32")
            got = xc.conv(x, w, algorithm="winograd")
            exact = xc.conv(x.astype(np.float64), w.astype(np.float64), algorithm="gemm")
            error = abs(got - exact).max() / abs(exact).max()
            print(f"{count} points: {error:.2g}")
            assert 1e-8 < error <= most
    finally:
        winograd.points.cache_clear()
        _plan._plan.cache_clear()
        call.forget()


@pytest.mark.parametrize(
    ("count", "taps"), [(n, r) for n in POINTS for r in range(min(SHORTEST.values()), LONGEST[n] + 1)]
)
def test_the_matrices_are_exactly_those_of_a_correlation(count: int, taps: int) -> None:
    """A' [(G w) * (B' x)] in rational numbers; the floating matrices are these, rounded."""
    output, weight, pixels = exact_matrices(count, taps)
    rng = np.random.default_rng(count)
    w, x = ([Fraction(int(v)) for v in rng.integers(-9, 9, size)] for size in (taps, count))
    middle = [_dot(g, w) * _dot(b, x) for g, b in zip(weight, pixels, strict=True)]
    wanted = [sum((w[k] * x[i + k] for k in range(taps)), Fraction(0)) for i in range(count - taps + 1)]
    assert [_dot(row, middle) for row in output] == wanted
    # so is the gradient of the kernel: G' [(B' x) * (A dz)]
    dz = [Fraction(int(v)) for v in rng.integers(-9, 9, len(wanted))]
    middle = [_dot(b, x) * _dot(a, dz) for b, a in zip(pixels, zip(*output, strict=True), strict=True)]
    assert [_dot(column, middle) for column in zip(*weight, strict=True)] == [
        sum((dz[i] * x[i + k] for i in range(len(dz))), Fraction(0)) for k in range(taps)
    ]
    rounded = transform(count, taps)
    for exact, found in ((output, rounded.output), (weight, rounded.weight), (pixels, rounded.pixels)):
        np.testing.assert_array_equal(np.array([[float(v) for v in row] for row in exact]), found)


def _dot(a: Any, b: Any) -> Fraction:
    return sum((p * q for p, q in zip(a, b, strict=True)), Fraction(0))


def test_the_tiles_of_the_large_image_are_many() -> None:
    """So that the test of its memory proves something."""
    plan = xc.explain((1, 600, 20_000, 1), (101, 101, 1, 1), algorithm="fft", dtype="float32")
    assert len(Tiles((1, 500, 19_900), plan.tile)) > 4
    assert math.prod(plan.tile) < 500 * 19_900 // 4


def whole_results(x: Any, w: Any, dz: Any, options: dict[str, Any], algorithm: str) -> list[np.ndarray]:
    """Give z, dx, dw and db of whole numbers, rounded to whole numbers: errors below a half are none."""
    found = xc.conv(x, w, **options, algorithm=algorithm), *xc.conv_vjp(dz, x, w, **options, algorithm=algorithm)
    return [np.rint(array) for array in found]


def whole(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return rng.integers(-1, 2, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize(("channels", "limit"), [(3, 1), (33, 64), (70, 64)])
def test_channels_in_blocks(channels: int, limit: int, dtype: str) -> None:
    """Fourier transforms take the channels of a depthwise layer in blocks, down to single ones."""
    rng = np.random.default_rng(0)
    shape = (2, 40, 36, channels)
    x, w, dz = whole(rng, shape, dtype), whole(rng, (13, 11, 1, channels), dtype), whole(rng, shape, dtype)
    options = {"padding": (6, 5), "groups": channels}
    wanted = whole_results(x, w, dz, options, "direct")
    with xc.set_options(max_workspace=limit * MIB):
        found = whole_results(x, w, dz, options, "fft")
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("channels", "filters", "groups"), [(32, 32, 32), (1, 1, 1), (16, 24, 1), (24, 16, 1)])
def test_many_tiles_of_one_shape(channels: int, filters: int, groups: int) -> None:
    """What Winograd does on buffers is noted for the first tile and repeated for those of its shape."""
    rng = np.random.default_rng(0)
    x, dz = whole(rng, (16, 60, 62, channels), "float64"), whole(rng, (16, 60, 62, filters), "float64")
    w = whole(rng, (3, 3, channels // groups, filters), "float64")
    options = {"padding": 1, "groups": groups}
    wanted = whole_results(x, w, dz, options, "direct")
    with xc.set_options(max_workspace=2 * MIB, threads=2):
        found = whole_results(x, w, dz, options, "winograd")
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
