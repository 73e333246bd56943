"""The course's blocks: its published figures, its naive loops as the reference, and the traps that students know."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import checks
from tests.backends import Backend
from tests.cases import values
from xpconv._arrays.dtypes import is_kind
from xpconv.course.checks import named


def drawn(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Give what `np.random.seed(1)` and then `np.random.randn` give, in the order of the shapes."""
    generator = np.random.RandomState(1)
    return [generator.randn(*shape) for shape in shapes]


def demand_printed(got: Any, figures: Any) -> None:
    """Demand agreement with figures printed to eight decimals: half a unit of the last."""
    np.testing.assert_allclose(np.asarray(got), np.asarray(figures), rtol=0, atol=0.5001e-8)


def demand_mean(got: np.ndarray, figure: float) -> None:
    """Demand a mean printed to full precision; another order of the same float64 sums moves it by less than this."""
    assert abs(float(got.mean()) - figure) < 1e-13


# The course's own loops, as it has its students write them ------------------------------------------------------


def loop_conv_forward(A_prev: Any, W: Any, b: Any, hparameters: dict[str, int]) -> np.ndarray:
    stride, pad = hparameters["stride"], hparameters["pad"]
    f, n_C = W.shape[0], W.shape[3]
    A_pad = np.pad(A_prev, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    n_H, n_W = ((n - f + 2 * pad) // stride + 1 for n in A_prev.shape[1:3])
    Z = np.zeros((A_prev.shape[0], n_H, n_W, n_C))
    for i, h, w, c in np.ndindex(Z.shape):
        window = A_pad[i, h * stride : h * stride + f, w * stride : w * stride + f, :]
        Z[i, h, w, c] = np.sum(window * W[..., c]) + b[0, 0, 0, c]
    return Z


def loop_conv_backward(dZ: Any, A_prev: Any, W: Any, hparameters: dict[str, int]) -> tuple[np.ndarray, ...]:
    stride, pad, f = hparameters["stride"], hparameters["pad"], W.shape[0]
    A_pad = np.pad(A_prev, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    dA_pad, dW, db = np.zeros(A_pad.shape), np.zeros(W.shape), np.zeros((1, 1, 1, W.shape[3]))
    for i, h, w, c in np.ndindex(dZ.shape):
        place = i, slice(h * stride, h * stride + f), slice(w * stride, w * stride + f)
        dA_pad[place] += W[..., c] * dZ[i, h, w, c]
        dW[..., c] += A_pad[place] * dZ[i, h, w, c]
        db[..., c] += dZ[i, h, w, c]
    n_H, n_W = A_prev.shape[1:3]
    return dA_pad[:, pad : pad + n_H, pad : pad + n_W], dW, db


def loop_pool_forward(A_prev: Any, hparameters: dict[str, int], mode: str) -> np.ndarray:
    f, stride = hparameters["f"], hparameters["stride"]
    n_H, n_W = ((n - f) // stride + 1 for n in A_prev.shape[1:3])
    A = np.zeros((A_prev.shape[0], n_H, n_W, A_prev.shape[3]))
    for i, h, w, c in np.ndindex(A.shape):
        window = A_prev[i, h * stride : h * stride + f, w * stride : w * stride + f, c]
        A[i, h, w, c] = window.max() if mode == "max" else window.mean()
    return A


def loop_pool_backward(dA: Any, A_prev: Any, hparameters: dict[str, int], mode: str) -> np.ndarray:
    f, stride = hparameters["f"], hparameters["stride"]
    dA_prev = np.zeros(A_prev.shape)
    for i, h, w, c in np.ndindex(dA.shape):
        place = i, slice(h * stride, h * stride + f), slice(w * stride, w * stride + f), c
        window = A_prev[place]
        dA_prev[place] += (window == window.max()) * dA[i, h, w, c] if mode == "max" else dA[i, h, w, c] / (f * f)
    return dA_prev


# The figures ----------------------------------------------------------------------------------------------------


def test_figure_of_conv_single_step() -> None:
    Z = xc.conv_single_step(*drawn((4, 4, 3), (4, 4, 3), (1, 1, 1)))
    assert type(Z) is np.float64
    assert abs(Z - -6.999089450680221) < 1e-13


def test_figures_of_conv_forward() -> None:
    A_prev, W, b = drawn((2, 5, 7, 4), (3, 3, 4, 8), (1, 1, 1, 8))
    hparameters = {"pad": 1, "stride": 2}
    Z, cache = xc.conv_forward(A_prev, W, b, hparameters)
    assert Z.shape == (2, 3, 4, 8)
    demand_mean(Z, 0.5511276474566768)
    demand_printed(
        Z[0, 2, 1],
        [-2.17796037, 8.07171329, -0.5772704, 3.36286738, 4.48113645, -2.89198428, 10.99288867, 3.03171932],
    )
    demand_printed(cache[0][1][2][3], [-1.1191154, 1.9560789, -0.3264995, -1.34267579])


def test_figures_of_conv_backward() -> None:
    A_prev, W, b = drawn((10, 4, 4, 3), (2, 2, 3, 8), (1, 1, 1, 8))
    Z, cache = xc.conv_forward(A_prev, W, b, {"pad": 2, "stride": 2})
    demand_mean(Z, 0.048995203528855794)
    demand_printed(
        Z[3, 2, 1],
        [-0.61490741, -6.7439236, -2.55153897, 1.75698377, 3.56208902, 0.53036437, 5.18531798, 8.75898442],
    )
    dA, dW, db = xc.conv_backward(Z, cache)
    assert (dA.shape, dW.shape, db.shape) == (A_prev.shape, W.shape, b.shape)
    demand_mean(dA, 1.4524377775388075)
    demand_mean(dW, 1.7269914583139097)
    demand_mean(db, 7.839232564616838)


def test_figures_of_pool_forward_stride_1() -> None:
    (A_prev,) = drawn((2, 5, 5, 3))
    hparameters = {"stride": 1, "f": 3}
    A, _ = xc.pool_forward(A_prev, hparameters, mode="max")
    assert A.shape == (2, 3, 3, 3)
    demand_printed(
        A[1, 1],
        [
            [1.96710175, 0.84616065, 1.27375593],
            [1.96710175, 0.84616065, 1.23616403],
            [1.62765075, 1.12141771, 1.2245077],
        ],
    )
    A, _ = xc.pool_forward(A_prev, hparameters, mode="average")
    demand_printed(
        A[1, 1],
        [
            [0.44497696, -0.00261695, -0.31040307],
            [0.50811474, -0.23493734, -0.23961183],
            [0.11872677, 0.17255229, -0.22112197],
        ],
    )


def test_figures_of_pool_forward_stride_2() -> None:
    (A_prev,) = drawn((2, 5, 5, 3))
    hparameters = {"stride": 2, "f": 3}
    A, _ = xc.pool_forward(A_prev, hparameters)
    demand_printed(
        A[0],
        [
            [[1.74481176, 0.90159072, 1.65980218], [1.74481176, 1.6924546, 1.65980218]],
            [[1.13162939, 1.51981682, 2.18557541], [1.13162939, 1.6924546, 2.18557541]],
        ],
    )
    A, _ = xc.pool_forward(A_prev, hparameters, "average")
    demand_printed(
        A[1],
        [
            [[-0.17313416, 0.32377198, -0.34317572], [0.02030094, 0.14141479, -0.01231585]],
            [[0.42944926, 0.08446996, -0.27290905], [0.15077452, 0.28911175, 0.00123239]],
        ],
    )


def test_figures_of_pool_forward_one_output() -> None:
    (A_prev,) = drawn((2, 4, 4, 3))
    A, _ = xc.pool_forward(A_prev, {"stride": 2, "f": 3})
    demand_printed(A, [[[[1.74481176, 0.86540763, 1.13376944]]], [[[1.13162939, 1.51981682, 2.18557541]]]])
    A, _ = xc.pool_forward(A_prev, {"stride": 2, "f": 3}, mode="average")
    demand_printed(A, [[[[0.02105773, -0.20328806, -0.40389855]]], [[[-0.22154621, 0.51716526, 0.48155844]]]])


def test_figures_of_pool_backward() -> None:
    A_prev, dA = drawn((5, 5, 3, 2), (5, 4, 2, 2))
    _, cache = xc.pool_forward(A_prev, {"stride": 1, "f": 2})
    demand_printed(xc.pool_backward(dA, cache, mode="max")[1, 1], [[0.0, 0.0], [5.05844394, -1.68282702], [0.0, 0.0]])
    demand_printed(
        xc.pool_backward(dA, cache, mode="average")[1, 1],
        [[0.08485462, 0.2787552], [1.26461098, -0.25749373], [1.17975636, -0.53624893]],
    )


# Against the loops; the catalogue has every backend -------------------------------------------------------------

GEOMETRIES = [(3, 1, 0), (3, 1, 1), (3, 2, 1), (2, 3, 0), (2, 1, 2), (1, 2, 0), (4, 2, 3)]  # f, stride, pad
POOLS = [(2, 2), (3, 1), (3, 2), (2, 3), (1, 1), (4, 3)]  # f, stride


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("backend", ["numpy"], indirect=True)
def test_convolution(backend: Backend, geometry: tuple[int, int, int]) -> None:
    """Pad 0 among them, where a `pad:-pad` slice would be empty, and strides that the loops must not forget."""
    f, stride, pad = geometry
    A_prev, W, b = (
        values(shape, i, "float32", -3, 3) for i, shape in enumerate(((2, 6, 7, 3), (f, f, 3, 4), (1, 1, 1, 4)))
    )
    hparameters = {"stride": stride, "pad": pad}
    expected = loop_conv_forward(A_prev, W, b, hparameters)
    checks.demand(backend, backend.call(lambda *a: xc.conv_forward(*a, hparameters)[0], A_prev, W, b), expected)
    dZ = values(expected.shape, 9, "float32", -3, 3)
    got = backend.call(lambda g, *a: xc.conv_backward(g, (*a, hparameters)), dZ, A_prev, W, b)
    assert type(got) is tuple
    for mine, theirs in zip(got, loop_conv_backward(dZ, A_prev, W, hparameters), strict=True):
        checks.demand(backend, mine, theirs)


@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize("geometry", POOLS)
@pytest.mark.parametrize("backend", ["numpy"], indirect=True)
def test_pooling(backend: Backend, geometry: tuple[int, int], mode: str) -> None:
    """Overlapping windows, gaps between windows, several maxima in one window."""
    f, stride = geometry
    A_prev = values((2, 6, 7, 3), 0, "float32", -3, 3)
    hparameters = {"f": f, "stride": stride}
    expected = loop_pool_forward(A_prev, hparameters, mode)
    size = None if mode == "max" else loop_pool_forward(abs(A_prev), hparameters, mode)
    got = backend.call(lambda a: xc.pool_forward(a, hparameters, mode=mode)[0], A_prev)
    checks.demand(backend, got, expected, magnitude=size, terms=f * f + 1)
    dA = values(expected.shape, 1, "float32", -3, 3)
    got = backend.call(lambda g, a: xc.pool_backward(g, (a, hparameters), mode=mode), dA, A_prev)
    size = None if mode == "max" else loop_pool_backward(abs(dA), A_prev, hparameters, mode)
    checks.demand(backend, got, loop_pool_backward(dA, A_prev, hparameters, mode), magnitude=size, terms=f * f + 1)


def test_small_blocks(backend: Backend) -> None:
    """zero_pad, conv_single_step, create_mask_from_window and distribute_value."""
    X = values((2, 3, 2, 2), 0, "float32")
    checks.demand(backend, backend.call(xc.zero_pad, X, 2), np.pad(X, ((0, 0), (2, 2), (2, 2), (0, 0))))
    checks.demand(backend, backend.call(xc.zero_pad, X, 0), X)
    a, W, b = (values(shape, i, "float32", -3, 3) for i, shape in enumerate(((3, 3, 2), (3, 3, 2), (1, 1, 1))))
    Z = backend.call(xc.conv_single_step, a, W, b)
    if backend.library.name == "numpy":
        assert type(Z) is np.float32
        assert np.sum(a * W) + b.item() == Z
    else:
        checks.demand(backend, Z, np.sum(a * W) + b[0, 0, 0])
    x = np.array([[1, 3], [3, 2]], np.float32)
    mask = backend.call(xc.create_mask_from_window, x)
    checks.demand_kind(backend, mask, "bool", (2, 2))
    assert backend.to_numpy(mask).tolist() == [[False, True], [True, False]]
    dz = np.array(6.0, np.float32)
    spread = backend.call(lambda v: xc.distribute_value(v, (2, 3)), dz)
    checks.demand(backend, spread, np.ones((2, 3)))


def test_distribute_value_of_a_number_gives_a_numpy_array() -> None:
    a = xc.distribute_value(2, (2, 2))
    assert type(a) is np.ndarray
    assert a.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert xc.distribute_value(np.float64(3), (3, 1)).tolist() == [[1], [1], [1]]


def test_caches_are_the_arguments_themselves() -> None:
    A_prev, W, b = drawn((1, 4, 4, 2), (2, 2, 2, 3), (1, 1, 1, 3))
    hparameters = {"stride": 1, "pad": 0}
    _, cache = xc.conv_forward(A_prev, W, b, hparameters)
    assert type(cache) is tuple
    assert all(mine is theirs for mine, theirs in zip(cache, (A_prev, W, b, hparameters), strict=True))
    hparameters = {"stride": 1, "f": 2}
    _, cache = xc.pool_forward(A_prev, hparameters)
    assert type(cache) is tuple
    assert all(mine is theirs for mine, theirs in zip(cache, (A_prev, hparameters), strict=True))


# The known traps ------------------------------------------------------------------------------------------------


def test_trap_every_maximum_gets_the_gradient_here_and_the_first_elsewhere() -> None:
    A_prev = np.ones((1, 2, 2, 1))
    dA = np.full((1, 1, 1, 1), 5.0)
    cache = (A_prev, {"f": 2, "stride": 2})
    assert xc.pool_backward(dA, cache).ravel().tolist() == [5, 5, 5, 5]
    assert xc.max_pool_vjp(dA, A_prev, 2).ravel().tolist() == [5, 0, 0, 0]


def test_trap_gradients_accumulate_where_windows_overlap() -> None:
    A_prev = np.zeros((1, 3, 3, 1))
    A_prev[0, 1, 1] = 1
    cache = (A_prev, {"f": 2, "stride": 1})
    assert xc.pool_backward(np.ones((1, 2, 2, 1)), cache)[0, 1, 1, 0] == 4
    assert xc.pool_backward(np.ones((1, 2, 2, 1)), cache, "average")[0, 1, 1, 0] == 1


def test_trap_stride_and_window_differ_in_pooling() -> None:
    """Neither is the stride left out of the loop, nor is the window cut by the stride."""
    A_prev = np.arange(36.0).reshape(1, 6, 6, 1)
    A, _ = xc.pool_forward(A_prev, {"f": 2, "stride": 4})
    assert A[0, ..., 0].tolist() == [[7, 11], [31, 35]]
    A, _ = xc.pool_forward(A_prev, {"f": 4, "stride": 2})
    assert A[0, ..., 0].tolist() == [[21, 23], [33, 35]]


def test_trap_pad_0_backward() -> None:
    A_prev, W, b = drawn((1, 3, 3, 1), (2, 2, 1, 1), (1, 1, 1, 1))
    hparameters = {"stride": 1, "pad": 0}
    Z, cache = xc.conv_forward(A_prev, W, b, hparameters)
    dA, _, _ = xc.conv_backward(np.ones_like(Z), cache)
    assert dA.shape == A_prev.shape
    assert dA[0, 1, 1, 0] == pytest.approx(W.sum(), abs=1e-14)


def test_trap_conv_single_step_stays_on_its_device() -> None:
    """No `float(b)`: it is deprecated on a (1, 1, 1) array, which is an error here, and fetches from a GPU.

    On every backend `test_small_blocks` shows the same: a trace and a lazy array have no value to fetch.
    """
    import array_api_strict as strict

    device = strict.Device("device1")
    a, b = strict.ones((2, 2, 3), device=device), strict.ones((1, 1, 1), device=device)
    Z = xc.conv_single_step(a, a, b)
    assert Z.shape == ()
    assert Z.device == device


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32"), ("int64", "float64")])
def test_dtypes_are_promoted(numpy_backend: Backend, dtypes: tuple[str, str]) -> None:
    """The general functions refuse mixed dtypes; the course's promote them, as NumPy does."""
    A_prev, W = values((2, 4, 5, 2), 0, dtypes[0], -3, 3), values((2, 2, 2, 3), 1, dtypes[1], -3, 3)
    b = values((1, 1, 1, 3), 2, "float64", -3, 3)
    hparameters = {"stride": 1, "pad": 1}
    Z, cache = xc.conv_forward(A_prev, W, b, hparameters)
    checks.demand(numpy_backend, Z, loop_conv_forward(A_prev, W, b, hparameters), "float64")
    got = xc.conv_backward(Z, cache)
    for mine, theirs in zip(got, loop_conv_backward(Z, A_prev, W, hparameters), strict=True):
        checks.demand(numpy_backend, mine, theirs, "float64")
    dA = np.ones((2, 2, 2, 2))
    cache = (A_prev, {"f": 2, "stride": 2})
    for mode in ("max", "average"):
        pooled = xc.pool_backward(dA, cache, mode)
        checks.demand(numpy_backend, pooled, loop_pool_backward(dA, *cache, mode), "float64")
    Z = xc.conv_single_step(A_prev[0, :2, :2], W[..., 0], b[..., 0])
    assert type(Z) is np.float64


@pytest.mark.parametrize("geometry", [(2, 2), (2, 1), (4, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_averages_of_integers_are_floating(backend: Backend, dtype: str, geometry: tuple[int, int]) -> None:
    hparameters = dict(zip(("f", "stride"), geometry, strict=True))
    A_prev = values((2, 7, 6, 3), 0, dtype, 0, 9)
    expected = loop_pool_forward(A_prev, hparameters, "average")
    dA = values(expected.shape, 1, "float32", -3, 3)
    A = backend.call(lambda a: xc.pool_forward(a, hparameters, mode="average")[0], A_prev)
    assert is_kind(backend.xp, A.dtype, "real floating")
    np.testing.assert_array_equal(backend.to_numpy(A), expected)  # shares of 4 and 16 are exact
    expected = loop_pool_backward(dA, A_prev, hparameters, "average")
    for given in (dA, dA.astype("int32")):
        dx = backend.call(lambda g, a: xc.pool_backward(g, (a, hparameters), mode="average"), given, A_prev)
        assert is_kind(backend.xp, dx.dtype, "real floating")
        np.testing.assert_array_equal(backend.to_numpy(dx), expected)


@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize(
    ("given", "images", "wanted"),
    [
        ("float32", "float64", "float64"),
        ("float64", "float32", "float64"),
        ("float16", "float32", "float32"),
        ("float32", "uint8", "float32"),
        ("float32", "int64", "float64"),
        ("int32", "float32", "float64"),
        ("int16", "int32", {"max": "int32", "average": "float64"}),
        (">f4", ">f8", "float64"),
        (">i2", "<f4", "float32"),
    ],
)
def test_a_gradient_has_the_dtype_that_numpy_gives_the_two(given: str, images: str, wanted: Any, mode: str) -> None:
    A_prev, hparameters = values((2, 5, 4, 3), 0, images, 0, 9), {"f": 2, "stride": 1}
    dA = values((2, 4, 3, 3), 1, given, -3, 3)
    dA_prev = xc.pool_backward(dA, (A_prev, hparameters), mode)
    assert dA_prev.dtype == (wanted if isinstance(wanted, str) else wanted[mode])
    np.testing.assert_array_equal(dA_prev, loop_pool_backward(dA, A_prev, hparameters, mode))


@pytest.mark.parametrize("f", [2, 3])
@pytest.mark.parametrize("name", ["means of integers", "gradient of means", "gradient of maxima", "of integers"])
def test_what_is_converted_is_converted_tile_by_tile(name: str, f: int) -> None:
    """The images, and the gradient, are larger than the workspace, so that a copy of them would be seen."""
    room, hparameters = 4 << 20, {"f": f, "stride": 1}
    A_prev = values((4, 160, 160, 16), 0, "uint8", 0, 9)
    dA = values((4, 161 - f, 161 - f, 16), 1, "int8" if name == "of integers" else "float32", -3, 3)
    wide = np.broadcast_to(np.float64(1), A_prev.shape)

    def call() -> np.ndarray:
        if name == "means of integers":
            return xc.pool_forward(A_prev, hparameters, mode="average")[0]
        return xc.pool_backward(dA, (wide, hparameters), "max" if name == "gradient of maxima" else "average")

    with xc.set_options(max_workspace=room):
        call()
        tracemalloc.start()
        try:
            result = call()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert result.dtype == np.float64
    assert peak <= result.nbytes + room


def test_bad_input_of_the_course() -> None:
    A_prev, W, b = drawn((2, 4, 4, 3), (2, 2, 3, 4), (1, 1, 1, 4))
    with pytest.raises(ValueError, match=r"^pool_forward: mode is 'max' or 'average'; got mode='mean'"):
        xc.pool_forward(A_prev, {"f": 2, "stride": 1}, mode="mean")
    with pytest.raises(ValueError, match=r"^pool_backward: mode"):
        xc.pool_backward(A_prev, (A_prev, {"f": 1, "stride": 1}), mode="sum")
    with pytest.raises(
        ValueError, match=r"^conv_forward: the kernel has 2 input channels, x has 3|^conv_forward: .*2.*3"
    ):
        xc.conv_forward(A_prev, W[:, :, :2], b, {"stride": 1, "pad": 0})
    with pytest.raises(ValueError, match=r"^conv_forward: .*stride.*0"):
        xc.conv_forward(A_prev, W, b, {"stride": 0, "pad": 0})
    with pytest.raises(ValueError, match=r"^conv_forward: .*pad.*-1"):
        xc.conv_forward(A_prev, W, b, {"stride": 1, "pad": -1})
    with pytest.raises(ValueError, match=r"^pool_forward: the output would be empty"):
        xc.pool_forward(A_prev, {"f": 5, "stride": 1})
    with pytest.raises(ValueError, match=r"^zero_pad: pad.*-1"):
        xc.zero_pad(A_prev, -1)


def test_an_error_of_another_origin_keeps_its_words() -> None:
    with pytest.raises(ValueError, match=r"^pool_forward: all on one device$"), named("pool_forward", x="A_prev"):
        raise ValueError("all on one device")
    with (
        pytest.raises(ValueError, match=r"^pool_forward: A_prev is empty; got x=0$"),
        named("pool_forward", x="A_prev"),
    ):
        raise ValueError("max_pool: x is empty; got x=0")
