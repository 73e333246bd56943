"""Every layer: its gradients against finite differences and PyTorch, its arrays on every library, its errors."""

import importlib

import numpy as np
import pytest

import xpconv as xc
from tests.checks import demand_kind
from xpconv.nn import AvgPool, Conv, Dense, Flatten, MaxPool, ReLU

CASES = {
    "conv": (Conv(4, 3), (5, 6, 2)),
    "conv same": (Conv(4, (3, 2), padding="same"), (5, 4, 2)),
    "conv strided": (Conv(6, 3, stride=2, padding=1, groups=2), (6, 5, 4)),
    "conv dilated first": (Conv(3, 2, dilation=2, layout="channels_first"), (2, 5, 5)),
    "conv 1-d": (Conv(3, 4, padding=((1, 2),)), (7, 2)),
    "max pool": (MaxPool(2), (4, 6, 3)),
    "max pool overlapping": (MaxPool(3, stride=2, padding=1), (5, 5, 2)),
    "max pool first": (MaxPool((2, 3), ceil_mode=True, layout="channels_first"), (2, 5, 5)),
    "average pool": (AvgPool(2), (4, 6, 3)),
    "average pool padded": (AvgPool(3, stride=2, padding=1, count_include_pad=False), (5, 5, 2)),
    "relu": (ReLU(), (5, 4)),
    "flatten": (Flatten(), (2, 3, 4)),
    "dense": (Dense(5), (7,)),
}


def distinct(rng, shape):
    """Give values at least 0.02 apart from each other and from 0: no kink is nearer than a step of 1e-5."""
    values = (np.arange(np.prod(shape)) - np.prod(shape) // 2 + 0.5) * 0.04
    return rng.permutation(values).reshape(shape)


def setting(case):
    layer, shape = CASES[case]
    rng = np.random.default_rng(7)
    params = layer.init(rng, shape, "float64")
    params = {name: value + 0.1 * rng.standard_normal(value.shape) for name, value in params.items()}
    x = distinct(rng, (3, *shape))
    y, _ = layer.forward(params, x)
    return layer, params, x, rng.standard_normal(y.shape), rng


def slope_gap(layer, params, x, dy, dx, grads, rng):
    """Compare the slope of ⟨layer(x), dy⟩ in a random direction with what the gradients say, relative to its size."""
    direction = {name: rng.standard_normal(value.shape) for name, value in params.items()}
    along = rng.standard_normal(x.shape)
    step = 1e-5

    def value(t):
        moved = {name: params[name] + t * direction[name] for name in params}
        return np.sum(layer.forward(moved, x + t * along)[0] * dy)

    slope = (value(step) - value(-step)) / (2 * step)
    said = np.sum(dx * along) + sum(np.sum(grads[name] * direction[name]) for name in params)
    return abs(slope - said) / np.sqrt(np.sum(dx**2) + sum(np.sum(g**2) for g in grads.values()))


# The layers are at most quadratic in (x, parameters) between kinks, so a central difference has no truncation error;
# rounding leaves some 1e-16 · |⟨y, dy⟩| / 1e-5, which is below 1e-8 of the gradient's length for these sizes.
SLOPE = 1e-8


@pytest.mark.parametrize("case", CASES)
def test_backward_is_the_slope_of_forward(case):
    layer, params, x, dy, rng = setting(case)
    dx, grads = layer.backward(params, layer.forward(params, x)[1], dy)
    assert dx.shape == x.shape
    assert {name: grad.shape for name, grad in grads.items()} == {name: p.shape for name, p in params.items()}
    assert slope_gap(layer, params, x, dy, dx, grads, rng) < SLOPE


@pytest.mark.parametrize("case", CASES)
def test_the_slope_check_sees_a_gradient_that_is_a_little_off(case):
    layer, params, x, dy, rng = setting(case)
    dx, grads = layer.backward(params, layer.forward(params, x)[1], dy)
    assert slope_gap(layer, params, x, dy, 1.001 * dx, grads, rng) > 10 * SLOPE
    for name in grads:
        assert slope_gap(layer, params, x, dy, dx, {**grads, name: 1.001 * grads[name]}, rng) > 10 * SLOPE


def torch_layer(case, torch, params, x):
    """Give the same operation by PyTorch's own kernels, which share no code with xpconv."""
    f = torch.nn.functional
    nchw, nhwc = (0, 3, 1, 2), (0, 2, 3, 1)
    if case.startswith("conv"):
        w, b = params["weight"], params["bias"]
        if case == "conv dilated first":
            return f.conv2d(x, w, b, dilation=2)
        if case == "conv 1-d":
            padded = f.pad(x.permute(0, 2, 1), (1, 2))
            return f.conv1d(padded, w.permute(2, 1, 0), b).permute(0, 2, 1)
        options = {"conv": {}, "conv same": {}, "conv strided": {"stride": 2, "padding": 1, "groups": 2}}[case]
        image = x.permute(nchw)
        if case == "conv same":  # 3 × 2 at stride 1: one row on each side, one column after
            image = f.pad(image, (0, 1, 1, 1))
        return f.conv2d(image, w.permute(3, 2, 0, 1), b, **options).permute(nhwc)
    if case == "max pool first":
        return f.max_pool2d(x, (2, 3), ceil_mode=True)
    if case.startswith("max pool"):
        options = {"max pool": {"kernel_size": 2}}.get(case, {"kernel_size": 3, "stride": 2, "padding": 1})
        return f.max_pool2d(x.permute(nchw), **options).permute(nhwc)
    if case == "average pool":
        return f.avg_pool2d(x.permute(nchw), 2).permute(nhwc)
    if case == "average pool padded":
        return f.avg_pool2d(x.permute(nchw), 3, 2, 1, count_include_pad=False).permute(nhwc)
    return {
        "relu": lambda: f.relu(x),
        "flatten": lambda: x.flatten(1),
        "dense": lambda: x @ params["weight"] + params["bias"],
    }[case]()


@pytest.mark.needs("torch")
@pytest.mark.parametrize("case", CASES)
def test_pytorch_autograd_agrees(case):
    torch = importlib.import_module("torch")  # the independent oracle
    layer, params, x, dy, _ = setting(case)
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    leaf = torch.tensor(x, requires_grad=True)
    expected = torch_layer(case, torch, leaves, leaf)
    expected.backward(torch.tensor(dy))
    y, cache = layer.forward(params, x)
    dx, grads = layer.backward(params, cache, dy)
    pairs = [(y, expected.detach()), (dx, leaf.grad), *((grads[name], leaves[name].grad) for name in params)]
    for got, want in pairs:
        # sums of fewer than 200 products of size about 1, in float64: 200 · 1.1e-16, and a margin for the sizes
        np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=1e-12)


def both_passes(layer, names, x, dy, *values):
    params = dict(zip(names, values, strict=True))
    y, cache = layer.forward(params, x)
    dx, grads = layer.backward(params, cache, dy)
    return y, dx, *(grads[name] for name in names)


@pytest.mark.parametrize("case", CASES)
def test_every_library_keeps_its_arrays(case, backend):
    layer, params, x, dy, _ = setting(case)
    arguments = [array.astype("float32") for array in (x, dy, *params.values())]
    exact = both_passes(layer, tuple(params), *(array.astype("float64") for array in arguments))
    for got, want in zip(backend.call(both_passes, layer, tuple(params), *arguments), exact, strict=True):
        whole = got + 0 if case == "flatten" else got  # a view of x has the flags of x
        demand_kind(backend, whole, "float32", want.shape)
        # sums of fewer than 200 products of size about 1, a float32 rounding each
        np.testing.assert_allclose(backend.to_numpy(got), want, rtol=0, atol=200 * 2.0**-24)


def test_relu_keeps_nan_and_gives_no_gradient_at_zero():
    y, cache = ReLU().forward({}, np.asarray([np.nan, 0.0, 3.0]))
    np.testing.assert_array_equal(y, [np.nan, 0.0, 3.0])
    np.testing.assert_array_equal(ReLU().backward({}, cache, np.ones(3))[0], [0.0, 0.0, 1.0])


def test_max_pool_gives_the_first_of_equal_maxima_the_gradient():
    _, cache = MaxPool(2).forward({}, np.ones((1, 2, 2, 1)))
    dx, _ = MaxPool(2).backward({}, cache, np.full((1, 1, 1, 1), 5.0))
    assert dx[0, :, :, 0].tolist() == [[5.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
@pytest.mark.parametrize("turned", [False, True], ids=["in order", "turned"])
def test_relu_of_many_numbers(dtype, turned):
    """Enough for several threads and a rest."""
    rng = np.random.default_rng(6)
    x, dy = (rng.standard_normal((700, 701)).astype(dtype) for _ in range(2))
    x[5, :3], dy[6, :3] = (np.nan, np.inf, -np.inf), (np.nan, np.inf, -np.inf)
    if turned:
        x, dy = x.T, dy.T
    y, cache = ReLU().forward({}, x)
    dx, _ = ReLU().backward({}, cache, dy)
    np.testing.assert_array_equal(y, np.where(x <= 0, 0, x))
    np.testing.assert_array_equal(dx, np.where(x > 0, dy, 0))
    assert y.dtype == dx.dtype == dtype


@pytest.mark.parametrize("layer", [Flatten(), ReLU(), Dense(2), Conv(2, 3), MaxPool(2), AvgPool(2)])
def test_an_empty_batch_goes_through(layer):
    shape = (5,) if isinstance(layer, Dense) else (4, 4, 3)
    params = layer.init(np.random.default_rng(0), shape)
    y, cache = layer.forward(params, np.empty((0, *shape), dtype="float32"))
    dx, grads = layer.backward(params, cache, y)
    assert y.shape[0] == 0
    assert dx.shape == (0, *shape)
    assert all(not grad.any() for grad in grads.values())


X = np.zeros((2, 3), dtype="float32")
W = {"weight": np.zeros((4, 5), dtype="float32"), "bias": np.zeros(5, dtype="float32")}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Conv(0, 3), ValueError, "Conv: features is at least 1; got 0"),
        (lambda: Conv(1.5, 3), TypeError, "Conv: features is an integer; got 1.5"),
        (lambda: Conv(True, 3), ValueError, "Conv: features is at least 1; got True"),
        (lambda: Conv(4, (3, 0)), ValueError, "Conv: kernel is at least 1; got 0"),
        (
            lambda: Conv(4, 3, layout="NCHW"),
            ValueError,
            "Conv: layout is 'channels_last' or 'channels_first'; got 'NCHW'",
        ),
        (
            lambda: Conv(4, 3).init(np.random.default_rng(0), (5,)),
            ValueError,
            r"Conv: input_shape is .* got input_shape=\(5,\)",
        ),
        (
            lambda: Conv(4, (3, 3)).init(np.random.default_rng(0), (5, 1)),
            ValueError,
            r"one size per spatial axis; got input_shape=\(5, 1\), kernel=\(3, 3\)",
        ),
        (
            lambda: Conv(4, 3, groups=3).init(np.random.default_rng(0), (5, 5, 3)),
            ValueError,
            "Conv: groups divides .* got groups=3, 3 input channels, features=4",
        ),
        (
            lambda: Conv(4, 3).forward({"bias": X}, X),
            ValueError,
            r"Conv: params holds 'weight'; got the keys \['bias'\]",
        ),
        (lambda: Dense(0), ValueError, "Dense: features is at least 1; got 0"),
        (
            lambda: Dense(2).init(np.random.default_rng(0), (4, 4, 1)),
            ValueError,
            "Dense: input_shape is .* put a Flatten before",
        ),
        (
            lambda: Dense(5).forward(W, X),
            ValueError,
            r"Dense: x is \(N, 4\).* got x.shape=\(2, 3\), weight.shape=\(4, 5\)",
        ),
        (lambda: Dense(5).forward(W, X.astype(int)), TypeError, "Dense: x has a real floating dtype; got int64"),
        (lambda: Dense(5).forward({}, X), ValueError, r"Dense: params holds 'weight'; got the keys \[\]"),
        (lambda: Dense(5).backward(W, X, X), ValueError, r"Dense: dy has the shape \(2, 5\); got dy.shape=\(2, 3\)"),
        (lambda: ReLU().forward({}, X.astype(int)), TypeError, "ReLU: x has a real floating dtype; got int64"),
        (
            lambda: ReLU().backward({}, X > 0, X[:1]),
            ValueError,
            r"ReLU: dy has the shape \(2, 3\); got dy.shape=\(1, 3\)",
        ),
        (lambda: Flatten().forward({}, X[0]), ValueError, r"Flatten: x has a batch axis .* got x.shape=\(3,\)"),
        (
            lambda: Flatten().backward({}, (2, 2, 2), X),
            ValueError,
            r"Flatten: dy has the shape \(2, 4\); got dy.shape=\(2, 3\)",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("window", "options", "places"), [(4, {}, True), (4, {"stride": 3}, False), (2, {}, False)])
def test_max_pool_keeps_places_where_they_are_worth_it(window: int, options: dict[str, int], places: bool) -> None:
    """On NumPy: of large windows that share no pixel."""
    x = np.random.default_rng(0).standard_normal((2, 13, 9, 3)).astype("float32")
    layer = MaxPool(window, **options)
    y, cache = layer.forward({}, x)
    assert isinstance(cache, tuple) == places
    np.testing.assert_array_equal(layer.values({}, x), y)
    dx, _ = layer.backward({}, cache, y)
    np.testing.assert_array_equal(dx, xc.max_pool_vjp(y, x, window, **options))
