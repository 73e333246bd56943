"""The bounds of db, of the transposed convolution and of pooling's gradients: none is exceeded, and none is idle."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.backends import Backend
from tests.bounds.test_conv import (
    DATA,
    blocks,
    cancelling,
    channels,
    denormals,
    exponents,
    near_overflow,
    one_sign,
    vanishing,
)
from tests.memory import MIB, beside
from tests.oracle.longdouble import FINER, ratio, wide
from tests.work.test_workspace import POOLS
from tests.work.test_workspace_operations import TRANSPOSES
from tests.work.test_workspace_pooling import HARD, IN_LITTLE
from xpconv import _options, bounds
from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call
from xpconv._arrays.space import NUMPY, numpy_space
from xpconv._convolution import bias_grad

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
Array = np.ndarray
Attack = Callable[[Any, str, Backend | None], dict[Any, float]]

# --- the operations in long double ----------------------------------------------------------------


def each_tap(
    out: tuple[int, ...], kernel: Any, stride: Any, dilation: Any
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Give each tap with its pixels in a padded image."""
    for tap in itertools.product(*map(range, kernel)):
        yield tap, (slice(None), *(
            slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in zip(tap, dilation, out, stride, strict=True)
        ))  # fmt: skip


def per_axis(value: Any, rank: int) -> tuple[Any, ...]:
    """Repeat a number for each axis."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


def pooled_gradient(
    dy: Array, x: Array, window: Any, share: Callable[[list[Array], list[Array]], list[Array]], stride: Any = None,
    padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
) -> Array:  # fmt: skip
    """Spread what `share` makes of dy for each tap; it gets the taps' pixels, and whether they lie in the padding."""
    rank, out = x.ndim - 2, dy.shape[1:-1]
    kernel, spread = per_axis(window, rank), per_axis(dilation, rank)
    step = kernel if stride is None else per_axis(stride, rank)
    pads = [(p, p) if isinstance(p, int) else p for p in per_axis(padding, rank)]
    ends = [(o - 1) * s + d * (k - 1) + 1 for o, s, d, k in zip(out, step, spread, kernel, strict=True)]
    sizes = [max(n + sum(p), e) for n, p, e in zip(x.shape[1:-1], pads, ends, strict=True)]
    inside = (slice(None), *(slice(a, a + n) for (a, _), n in zip(pads, x.shape[1:-1], strict=True)))
    pixels = np.full((x.shape[0], *sizes, x.shape[-1]), -np.inf, np.longdouble)
    pixels[inside] = x.real
    where = np.full((1, *sizes, 1), 2)  # 0 inside, 1 in the padding, 2 beyond
    where[(slice(None), *(slice(0, n + sum(p)) for n, p in zip(x.shape[1:-1], pads, strict=True)))] = 1
    where[inside] = 0
    taps = [index for _, index in each_tap(out, kernel, step, spread)]
    shares = share([pixels[index] for index in taps], [where[index] for index in taps])
    back = np.zeros(pixels.shape, shares[0].dtype)
    for index, part in zip(taps, shares, strict=True):
        back[index] += part
    return back[inside]


def max_gradient(dy: Array, x: Array, window: Any, ties: str, **options: Any) -> Array:
    """Give the gradient of max pooling."""

    def share(pixels: list[Array], where: list[Array]) -> list[Array]:
        hit = np.stack(pixels) == np.max(np.stack(pixels), axis=0)
        if ties == "first":
            hit &= hit.cumsum(axis=0) == 1
        count = hit.sum(axis=0).astype(np.longdouble) if ties == "split" else 1
        return [np.where(own, wide(dy), 0) / count for own in hit]

    return pooled_gradient(dy, x, window, share, **options)


def mean_gradient(dy: Array, x: Array, window: Any, count_include_pad: bool = True, **options: Any) -> Array:
    """Give the gradient of average pooling."""

    def share(pixels: list[Array], where: list[Array]) -> list[Array]:
        count = sum((place <= count_include_pad).astype(np.longdouble) for place in where)
        return [wide(dy) / np.maximum(count, 1)] * len(where)

    return pooled_gradient(dy, x, window, share, **options)


def means(x: Array, out: tuple[int, ...], window: Any, count_include_pad: bool, **options: Any) -> Array:
    """Give the means of a real image's windows."""
    found = []

    def share(pixels: list[Array], where: list[Array]) -> list[Array]:
        count = sum((place <= count_include_pad).astype(np.longdouble) for place in where)
        total = sum(np.where(place == 0, own, 0) for own, place in zip(pixels, where, strict=True))
        found.append(total / np.maximum(count, 1))
        return [found[0]] * len(where)

    pooled_gradient(np.zeros(out), x, window, share, **options)
    return found[0]


def transposed(x: Array, w: Array, b: Array | None, out: tuple[int, ...], **options: Any) -> Array:
    """Give the transposed convolution, of `out` pixels."""
    rank, groups = x.ndim - 2, options.get("groups", 1)
    step, spread = (per_axis(options.get(key, 1), rank) for key in ("stride", "dilation"))
    pads = per_axis(options.get("padding", 0), rank)
    size = [
        max((n - 1) * s + d * (k - 1) + 1, p + o)
        for n, s, d, k, p, o in zip(x.shape[1:-1], step, spread, w.shape, pads, out, strict=False)
    ]
    x, w = wide(x), wide(w)
    depth, each = w.shape[-2], x.shape[-1] // groups
    z = np.zeros((x.shape[0], *size, depth * groups), x.dtype)
    for tap, index in each_tap(x.shape[1:-1], w.shape[:rank], step, spread):
        for g in range(groups):
            own = slice(g * each, (g + 1) * each)
            z[(*index, slice(g * depth, (g + 1) * depth))] += x[..., own] @ w[tap][:, own].T
    z = z[(slice(None), *(slice(p, p + o) for p, o in zip(pads, out, strict=True)))]
    return z if b is None else z + wide(b)


# --- what is attacked -----------------------------------------------------------------------------

WINDOWS: dict[str, tuple[tuple[int, ...], Any, dict[str, Any]]] = {
    "overlapping": ((2, 20, 22, 6), 3, {"stride": 1, "padding": 1}),
    "dilated, ceil": (
        (1, 21, 19, 4), (4, 3), {"stride": (2, 1), "dilation": (1, 2), "padding": ((1, 2), (0, 1)), "ceil_mode": True}
    ),
    "disjoint": ((2, 24, 24, 4), 2, {}),
    "1-d": ((2, 90, 3), 5, {"stride": 2}),
    "3-d": ((1, 7, 8, 9, 4), 3, {"stride": 1, "padding": 1}),
    "large": ((1, 40, 37, 4), 15, {"stride": 1}),
}  # fmt: skip
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "stride 2": ((2, 15, 13, 8), (3, 3, 6, 8), {"stride": 2, "padding": 1, "output_padding": 1}),
    "stride beyond the kernel": ((1, 12, 12, 6), (2, 2, 5, 6), {"stride": 3, "output_padding": 2}),
    "dilated, groups": ((1, 16, 15, 8), (3, 3, 2, 8), {"dilation": 2, "groups": 2, "padding": 2}),
    "1-d": ((2, 80, 16), (9, 4, 16), {"stride": 2}),
    "stride 1": ((1, 24, 24, 16), (3, 3, 16, 16), {"padding": 1}),
}
SUMMED = ((3, 40, 37, 5), (2, 700, 3), (1, 9, 10, 11, 4), (1, 1, 1, 3))


def draw(data: Any, shape: tuple[int, ...], factor: str, dtype: str, seed: int = 0) -> Array:
    """Draw data of a kind."""
    rng = np.random.default_rng([seed, len(shape), DATA.index(data)])
    found = data(rng, shape, factor)
    return (found + 1j * data(rng, shape, factor) if dtype[0] == "c" else found).astype(dtype)


def tried(
    operation: Any, bound: Any, exact: Array, arrays: list[Array], *given: Any, backend: Backend | None, **options: Any
) -> float:
    """Give the largest error over its bound."""
    if backend is not None:
        arrays = [backend.asarray(array) for array in arrays]
    got, most = (function(*arrays, *given, **options) for function in (operation, bound))
    if backend is not None:
        got, most = backend.to_numpy(got), backend.to_numpy(most)
    return ratio(got, exact, most)


def db(dz: Any) -> Any:
    """Give db of a convolution of one channel with one tap."""
    corner = (slice(1),) * (dz.ndim - 1)
    return xc.conv_vjp(dz, dz[..., :1] * 0, dz[(*corner, slice(None))] * 0)[2]


def attack_db(data: Any, dtype: str, backend: Backend | None = None) -> dict[Any, float]:
    found = {}
    for shape in SUMMED:
        dz = draw(data, shape, "dz", dtype)
        exact = wide(dz).sum(axis=tuple(range(len(shape) - 1)))

        found[shape] = tried(db, bounds.conv_bias_grad_error_bound, exact, [dz], backend=backend)
    return found


def attack_transpose(data: Any, dtype: str, backend: Backend | None = None) -> dict[Any, float]:
    found = {}
    for name, (x_shape, w_shape, options) in LAYERS.items():
        filters = w_shape[-2] * options.get("groups", 1)
        x, w = draw(data, x_shape, "x", dtype), draw(data, w_shape, "w", dtype, 1)
        bias = (draw(data, (1, filters), "dz", dtype, 2)[0] * draw(data, (1, 1), "w", dtype)[0, 0]).astype(dtype)
        for b in (None, bias):
            arrays = [x, w] if b is None else [x, w, b]
            out = xc.conv_transpose(*arrays, **options).shape[1:-1]
            exact = transposed(x, w, b, out, **options)
            found[name, b is None] = tried(
                xc.conv_transpose, bounds.conv_transpose_error_bound, exact, arrays, backend=backend, **options
            )
    return found


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
            for ties in ("first", "all", "split"):
                exact = max_gradient(dy, x, window, ties, **options)
                found[name, kind, ties] = tried(
                    xc.max_pool_vjp, bounds.max_pool_vjp_error_bound, exact, [dy, x], window, backend=backend,
                    ties=ties, **options,
                )  # fmt: skip
    return found


def attack_avg(data: Any, dtype: str, backend: Backend | None = None) -> dict[Any, float]:
    found = {}
    for name in windows_for(backend):
        shape, window, options = WINDOWS[name]
        x = np.zeros(shape, dtype)
        dy = draw(data, xc.avg_pool(x, window, **options).shape, "x", dtype)
        for padded in (True, False):
            exact = mean_gradient(dy, x, window, padded, **options)
            found[name, padded] = tried(
                xc.avg_pool_vjp, bounds.avg_pool_vjp_error_bound, exact, [dy], shape, window, backend=backend,
                count_include_pad=padded, **options,
            )  # fmt: skip
    return found


def attack_means(data: Any, dtype: str, backend: Backend | None = None) -> dict[Any, float]:
    found = {}
    for name in windows_for(backend):
        shape, window, options = WINDOWS[name]
        x = draw(data, shape, "x", dtype)
        out = xc.avg_pool(x, window, **options).shape
        for padded in (True, False):
            exact = means(x.real, out, window, padded, **options)
            if dtype[0] == "c":
                exact = exact + 1j * means(x.imag, out, window, padded, **options)
            found[name, padded] = tried(
                xc.avg_pool, bounds.avg_pool_error_bound, exact, [x], window, backend=backend,
                count_include_pad=padded, **options,
            )  # fmt: skip
    return found


ATTACKS: dict[str, Attack] = {
    "avg_pool": attack_means,
    "avg_pool_vjp": attack_avg,
    "max_pool_vjp": attack_max,
    "db": attack_db,
    "conv_transpose": attack_transpose,
}


REAL, COMPLEX = ("float32", "float64", "float16"), ("complex64", "complex128")  # which have no order


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in ATTACKS for dtype in (*REAL, *COMPLEX) if name != "max_pool_vjp" or dtype in REAL],
)
def test_every_kind_of_data(name: str, dtype: str, record_property: Any) -> None:
    if dtype in ("float64", "complex128") and not FINER:
        pytest.skip("long double is float64 on this machine")
    kinds = (one_sign, cancelling, channels, blocks) if dtype == "float16" else DATA
    found = {(data.__name__, key): value for data in kinds for key, value in ATTACKS[name](data, dtype, None).items()}
    place = max(found, key=found.__getitem__)
    record_property(f"{name} {dtype}", f"{found[place]:.3g} {place}")
    print(f"{name} {dtype}: largest error over bound {found[place]:.3g}, {place}")
    assert found[place] <= 1, place
    assert found[place] > 0.001, "the bound is idle"


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("backend", ["strict", "torch", "jax", "cupy"], indirect=True)
def test_other_libraries(backend: Backend, name: str) -> None:
    for data in (one_sign, exponents, near_overflow, denormals, vanishing):
        found = ATTACKS[name](data, "float32", backend)
        assert max(found.values()) <= 1, (name, data.__name__, found)


@pytest.mark.parametrize("backend", ["strict", "torch", "jax", "cupy"], indirect=True)
def test_many_sums_that_vanish(backend: Backend) -> None:
    """Where denormal numbers are flushed, each of a million products or numbers may be lost, however short the sums."""
    x, dz = (np.full((16, 256, 256, 1), 0.7 * 2.0**-63, np.float32) for _ in range(2))
    exact = (wide(x) * wide(dz)).sum().reshape(1, 1, 1, 1)
    assert tried(
        xc.conv_weight_grad, bounds.conv_weight_grad_error_bound, exact, [dz, x], (1, 1, 1, 1), backend=backend
    ) <= 1  # fmt: skip
    small = np.full((16, 256, 256, 1), 0.7 * 2.0**-126, np.float32)
    exact = wide(small).sum(axis=(0, 1, 2))
    assert tried(db, bounds.conv_bias_grad_error_bound, exact, [small], backend=backend) <= 1


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_layouts(layout: str) -> None:
    """Both give the same bound."""
    rng = np.random.default_rng(0)
    x, dy, w = (rng.standard_normal(s).astype(np.float32) for s in ((2, 12, 11, 4), (2, 10, 9, 4), (3, 3, 5, 4)))
    move = (lambda a: a) if layout == "channels_last" else (lambda a: np.ascontiguousarray(np.moveaxis(a, -1, 1)))
    back = (lambda a: a) if layout == "channels_last" else (lambda a: np.moveaxis(a, 1, -1))
    kernel = w if layout == "channels_last" else np.ascontiguousarray(w.transpose(3, 2, 0, 1))
    given: dict[str, Any] = {"stride": 1, "layout": layout}
    for got, wanted in (
        (bounds.conv_bias_grad_error_bound(move(x), layout=layout), bounds.conv_bias_grad_error_bound(x)),
        (back(bounds.conv_transpose_error_bound(move(x), kernel, **given)), bounds.conv_transpose_error_bound(x, w)),
        (
            back(bounds.max_pool_vjp_error_bound(move(dy), move(x), 3, **given)),
            bounds.max_pool_vjp_error_bound(dy, x, 3, stride=1),
        ),
        (
            back(bounds.avg_pool_vjp_error_bound(move(dy), move(x).shape, 3, **given)),
            bounds.avg_pool_vjp_error_bound(dy, x.shape, 3, stride=1),
        ),
        (back(bounds.avg_pool_error_bound(move(x), 3, **given)), bounds.avg_pool_error_bound(x, 3, stride=1)),
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-3)


# --- the tree of db -------------------------------------------------------------------------------


class Depth:
    """A number that counts the additions that it has passed."""

    def __init__(self, passed: int = 0) -> None:
        self.passed = passed

    def __add__(self, other: "Depth") -> "Depth":
        return Depth(max(self.passed, other.passed) + 1)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1), (3, 5, 1), (1, 128, 2), (1, 129, 2), (2, 300, 3), (40, 33, 17, 4), (2, 130, 131, 8), (5, 4, 3, 2, 2),
        (3, 200, 600), (2, 513, 1), (1, 1025, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tile", [1 << 20, 1 << 8])
def test_the_additions_of_a_sum_are_counted(shape: tuple[int, ...], tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums themselves, run on numbers that count; whole rows, and axis by axis where pixels lie apart."""
    monkeypatch.setattr(bias_grad, "TILE", tile)
    leaf = np.empty(shape, object)
    leaf[...] = Depth()
    counted = bias_grad.additions(shape[:-1], shape[-1], NUMPY)
    arithmetic = Arithmetic.plain(np, np.dtype(object))
    call = Call("db", numpy_space(), arithmetic, "channels_last", _options.current())
    found = []
    for array in (leaf, np.asfortranarray(leaf)):
        sums = bias_grad.bias_grad(call, array, shape[:-1])
        found.append(max(value.passed for value in np.asarray(sums).reshape(-1)))
    assert max(found) <= counted
    assert max(found) >= 0.8 * counted
    assert counted <= math.prod(shape[:-1]) + 1


def test_db_is_counted_as_a_tree() -> None:
    dz = np.ones((64, 128, 128, 2), np.float32)
    assert (bounds.conv_bias_grad_error_bound(dz) < 600 * 2.0**-24 * dz[..., 0].size).all()


# --- memory, kinds, errors ------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[(64, 2), (2, 8)], ids=lambda limit: f"{limit[0]}MiB")
def ceiling(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the limit and the threads, and give the limit."""
    most, threads = request.param
    with xc.set_options(max_workspace=most * MIB, threads=threads):
        yield most * MIB


@pytest.mark.parametrize("name", POOLS)
def test_pools_stay_in_the_workspace(ceiling: int, name: str) -> None:
    shape, window, options = POOLS[name]
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


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex128"])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_a_sum_stays_in_the_workspace(ceiling: int, layout: str, dtype: str) -> None:
    dz = np.ones((64, 64, 64, 16), dtype)
    assert beside(lambda: bounds.conv_bias_grad_error_bound(dz, layout=layout)) <= ceiling


@pytest.mark.parametrize("name", TRANSPOSES)
def test_transposed_convolutions_stay_in_the_workspace(ceiling: int, name: str) -> None:
    x_shape, w_shape, options = TRANSPOSES[name]
    x, w = np.ones(x_shape, np.float32), np.ones(w_shape, np.float32)
    assert beside(lambda: bounds.conv_transpose_error_bound(x, w, **options)) <= ceiling


def test_arguments_are_left_alone() -> None:
    """Absolute values are taken of copies."""
    x, dy = -np.ones((1, 8, 8, 2), np.float32), -np.ones((1, 4, 4, 2), np.float32)
    for array in (x, dy):
        array.flags.writeable = False
    bounds.max_pool_vjp_error_bound(dy, x, 2)
    bounds.avg_pool_error_bound(x, 2)
    bounds.avg_pool_vjp_error_bound(dy, x.shape, 2)
    bounds.conv_bias_grad_error_bound(x)


def test_a_wider_sum_has_a_smaller_bound() -> None:
    dz = np.ones((4, 30, 30, 2), np.float32)
    wider = bounds.conv_bias_grad_error_bound(dz, dtype="float64")
    assert wider.dtype == np.float64
    assert (wider < 1e-6 * bounds.conv_bias_grad_error_bound(dz)).all()


def test_the_gradients_of_a_transposed_convolution() -> None:
    """They are a convolution and its weight gradient, whose bounds serve."""
    rng = np.random.default_rng(0)
    x, w = (rng.uniform(1, 2, s).astype(np.float32) for s in ((2, 15, 13, 8), (3, 3, 6, 8)))
    options = {"stride": 2, "padding": 1, "dilation": (1, 2)}
    dz = rng.uniform(1, 2, xc.conv_transpose(x, w, **options).shape).astype(np.float32)
    dx, dw, _ = xc.conv_transpose_vjp(dz, x, w, **options)
    exact = xc.conv_transpose_vjp(*(array.astype(np.float64) for array in (dz, x, w)), **options)
    assert 0.001 < ratio(dx, wide(exact[0]), xc.error_bound(dz, w, **options)) <= 1
    assert 0.001 < ratio(dw, wide(exact[1]), bounds.conv_weight_grad_error_bound(x, dz, w.shape, **options)) <= 1


def test_bfloat16() -> None:
    """Bounds are float32, as the sums are."""
    import ml_dtypes

    x = np.random.default_rng(0).standard_normal((1, 9, 9, 3)).astype(ml_dtypes.bfloat16)
    dy = x[:, :7, :7]
    near = x.astype(np.float32)
    for got, exact, bound in (
        (xc.avg_pool(x, 3, stride=1), xc.avg_pool(near, 3, stride=1), bounds.avg_pool_error_bound(x, 3, stride=1)),
        (
            xc.avg_pool_vjp(dy, x.shape, 3, stride=1),
            xc.avg_pool_vjp(dy.astype(np.float32), x.shape, 3, stride=1),
            bounds.avg_pool_vjp_error_bound(dy, x.shape, 3, stride=1),
        ),
        (
            xc.max_pool_vjp(dy, x, 3, stride=1),
            xc.max_pool_vjp(dy.astype(np.float32), near, 3, stride=1),
            bounds.max_pool_vjp_error_bound(dy, x, 3, stride=1),
        ),
        (db(x), near.sum(axis=(0, 1, 2)), bounds.conv_bias_grad_error_bound(x)),
    ):
        assert bound.dtype == np.float32
        assert 0.001 < ratio(got.astype(np.float32), wide(exact), bound) <= 1


def test_integers_and_empty_batches() -> None:
    x, dy = np.ones((1, 4, 4, 2), np.int32), np.ones((1, 2, 2, 2), np.int32)
    assert not bounds.max_pool_vjp_error_bound(dy, x, 2).any()
    assert not bounds.conv_bias_grad_error_bound(x).any()
    assert not bounds.conv_transpose_error_bound(x, np.ones((2, 2, 3, 2), np.int32)).any()
    for call in (
        lambda: bounds.max_pool_vjp_error_bound(dy, x, 2, ties="split"),
        lambda: bounds.avg_pool_vjp_error_bound(dy, x.shape, 2),
    ):
        with pytest.raises(TypeError, match="average of integers"):
            call()
    none, few = np.ones((0, 4, 4, 2), np.float16), np.ones((0, 2, 2, 2), np.float16)
    for found in (
        bounds.max_pool_vjp_error_bound(few, none, 2),
        bounds.avg_pool_error_bound(few, 1),
        bounds.avg_pool_vjp_error_bound(few, none.shape, 2),
        bounds.conv_bias_grad_error_bound(none),
        bounds.conv_transpose_error_bound(few, np.ones((1, 1, 3, 2), np.float16)),
    ):
        assert found.dtype == np.float32
        assert not found.any()


def test_what_is_not_finite_has_no_bound() -> None:
    """Infinity where a result is not finite, and only there."""
    dy = np.ones((1, 6, 6, 2), np.float32)
    dy[0, 2, 2, 1] = np.nan
    x = np.arange(72, dtype=np.float32).reshape(dy.shape)
    for found in (
        bounds.max_pool_vjp_error_bound(dy, x, 1),
        bounds.avg_pool_vjp_error_bound(dy, dy.shape, 1),
        bounds.avg_pool_error_bound(dy, 1),
        bounds.conv_transpose_error_bound(dy, np.eye(2, dtype=np.float32)[None, None]),
    ):
        assert np.isinf(found[0, 2, 2]).any()
        assert np.isinf(found).sum() <= 2
        assert not np.isnan(found).any()
    assert list(np.isinf(bounds.conv_bias_grad_error_bound(dy))) == [False, True]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: bounds.conv_bias_grad_error_bound(x[0, 0]), "dz.shape has 2 axes"),
        (lambda x: bounds.conv_bias_grad_error_bound(x, layout="NHWC"), "layout is one of"),
        (lambda x: bounds.max_pool_vjp_error_bound(x, x, 2), "dy has the shape of the output"),
        (lambda x: bounds.max_pool_vjp_error_bound(x, x, 1, ties="last"), "ties is one of"),
        (lambda x: bounds.avg_pool_vjp_error_bound(x, x.shape, 2), "dy has the shape of the output"),
        (lambda x: bounds.lp_pool_error_bound(x, 0, 2), "p is a number above 0"),
        (lambda x: bounds.conv_transpose_error_bound(x, np.ones((2, 2, 1, 3), np.float32)), "3 input channels"),
        (lambda x: bounds.conv_transpose_error_bound(x, np.ones((2, 2, 1, 2), np.float32), x[0, 0]), "b has the shape"),
    ],
)
def test_errors_name_the_function(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=rf"^\w+_error_bound: .*{text}"):
        call(np.ones((1, 4, 4, 2), np.float32))
