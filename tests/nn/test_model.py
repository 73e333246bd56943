"""The chain of layers: names, first weights, gradients of the whole network, tracing."""

import copy
import importlib
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.checks import demand_kind
from xpconv.nn import AvgPool, Conv, Dense, Flatten, MaxPool, ReLU, Sequential, SoftmaxCrossEntropy, course_network

NETWORK = course_network(10, features=(4, 8))
NAMES = ("conv1", "relu1", "maxpool1", "conv2", "relu2", "maxpool2", "flatten1", "dense1")


def draw(dtype="float64", library=None):
    return NETWORK.init(np.random.default_rng(1), (8, 8, 1), library, dtype=dtype)


def test_names_and_shapes():
    assert NETWORK.names == NAMES
    assert {name: value.shape for name, value in draw().items()} == {
        "conv1.weight": (3, 3, 1, 4),
        "conv1.bias": (4,),
        "conv2.weight": (3, 3, 4, 8),
        "conv2.bias": (8,),
        "dense1.weight": (32, 10),
        "dense1.bias": (10,),
    }


def test_every_library_starts_from_the_same_bits(backend):
    want = draw("float32")
    for name, value in draw("float32", backend.library).items():
        demand_kind(backend, value, "float32", want[name].shape)
        np.testing.assert_array_equal(backend.to_numpy(value), want[name])


def test_first_weights_have_the_variance_of_he():
    layer = Conv(256, 3)
    weight = layer.init(np.random.default_rng(2), (8, 8, 32), "float64")["weight"]
    # the variance of 73,728 normal draws has a relative standard deviation of √(2 / 73728) = 0.5 %: four of them
    assert weight.var() == pytest.approx(2 / (9 * 32), rel=0.02)


def pytorch_network(torch, params, x):
    f = torch.nn.functional
    z = x.permute(0, 3, 1, 2)
    for name in ("conv1", "conv2"):
        z = f.conv2d(z, params[f"{name}.weight"].permute(3, 2, 0, 1), params[f"{name}.bias"], padding=1)
        z = f.max_pool2d(f.relu(z), 2)
    return z.permute(0, 2, 3, 1).flatten(1) @ params["dense1.weight"] + params["dense1.bias"]


@pytest.mark.needs("torch")
def test_gradients_of_the_network_are_pytorchs():
    torch = importlib.import_module("torch")  # the independent oracle
    rng = np.random.default_rng(3)
    params, x, labels = draw(), rng.standard_normal((5, 8, 8, 1)), rng.integers(0, 10, 5)
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    leaf = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(pytorch_network(torch, leaves, leaf), torch.tensor(labels))
    expected.backward()
    logits, caches = NETWORK.forward(params, x)
    loss, cache = SoftmaxCrossEntropy().forward(logits, labels)
    dx, grads = NETWORK.backward(params, caches, SoftmaxCrossEntropy().backward(cache))
    assert list(grads) == list(params)
    # float64, at most 36 + 36 + 32 products deep, numbers of size about 10
    assert loss == pytest.approx(expected.item(), abs=1e-12)
    np.testing.assert_allclose(dx, leaf.grad.numpy(), rtol=0, atol=1e-12)
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, leaves[name].grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "model",
    [
        NETWORK,
        Sequential((ReLU(), MaxPool(2), Flatten(), Dense(3))),
        Sequential((Flatten(), ReLU())),
    ],
    ids=["convolution first", "dense behind others", "nothing to learn"],
)
def test_gradients_alone_are_those_of_backward(model):
    rng = np.random.default_rng(5)
    params, x = model.init(rng, (8, 8, 1)), rng.standard_normal((3, 8, 8, 1)).astype(np.float32)
    y, caches = model.forward(params, x)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    grads, (_, expected) = model.gradients(params, caches, dy), model.backward(params, caches, dy)
    assert list(grads) == list(expected) == list(params)
    for name, grad in grads.items():
        np.testing.assert_array_equal(grad, expected[name])


def test_activations_end_in_the_prediction():
    x = np.random.default_rng(4).standard_normal((2, 8, 8, 1))
    outputs = NETWORK.activations(draw(), x)
    assert tuple(outputs) == NAMES
    assert outputs["maxpool1"].shape == (2, 4, 4, 4)
    np.testing.assert_array_equal(outputs["dense1"], NETWORK.predict(draw(), x))


def passes(x, labels, *values):
    params = dict(zip(draw(), values, strict=True))
    logits, caches = NETWORK.forward(params, x)
    loss, cache = SoftmaxCrossEntropy().forward(logits, labels)
    return loss, *NETWORK.backward(params, caches, SoftmaxCrossEntropy().backward(cache))[1].values()


def test_every_library_gives_the_gradients_of_the_network(backend):
    rng = np.random.default_rng(5)
    x, labels = rng.standard_normal((3, 8, 8, 1)).astype("float32"), rng.integers(0, 10, 3).astype("int32")
    params = draw("float32").values()
    exact = passes(x.astype("float64"), labels, *(value.astype("float64") for value in params))
    for got, want in zip(backend.call(passes, x, labels, *params), exact, strict=True):
        demand_kind(backend, got[None, ...], "float32", (1, *want.shape))  # NumPy has a class of its own for the loss
        # forward and backward are at most 9 + 36 + 32 + 10 + 36 + 64 products deep, of numbers of size about 10
        np.testing.assert_allclose(backend.to_numpy(got), want, rtol=0, atol=200 * 2.0**-24 * 10)


X = np.zeros((2, 8, 8, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Sequential(()), "Sequential: layers holds at least one layer; got none"),
        (lambda: Sequential(), "Sequential: layers holds at least one layer; got none"),
        (lambda: NETWORK.forward({}, X), r"Conv: params holds 'weight'; got the keys \[\]"),
        (lambda: NETWORK.gradients(draw(), [], X), "Sequential: caches has one entry per layer, 8; got 0"),
        (lambda: NETWORK.backward(draw(), [], X), "Sequential: caches has one entry per layer, 8; got 0"),
        (lambda: Sequential([Flatten(), MaxPool(2)]).init(np.random.default_rng(0), (4, 4, 1)), "max_pool: "),
        (lambda: Sequential([ReLU(), Dense(2)]).init(np.random.default_rng(0), (4, 4)), "put a Flatten before"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_layers_one_by_one_or_in_a_list():
    layers = [ReLU(), Flatten(), Dense(2)]
    model = Sequential(*layers)
    assert model == Sequential(layers) == Sequential(iter(layers)) == Sequential(layers=layers)
    assert replace(model, layers=layers[:1]) == Sequential(ReLU()) == Sequential([ReLU()])
    inner = Sequential(Sequential(Flatten()), Dense(3))
    assert inner.names == ("sequential1", "dense1")
    assert inner.predict(inner.init(np.random.default_rng(0), (2, 2, 1)), np.ones((5, 2, 2, 1), "float32")).shape == (
        5,
        3,
    )


@pytest.mark.parametrize("layers", [(ReLU, Dense(2)), ([ReLU(), Flatten()], Dense(2)), ("relu",)])
def test_what_is_no_layer_is_refused(layers):
    with pytest.raises(TypeError, match=r"^Sequential: a layer has forward and backward, as nn.Dense\(10\) has; got "):
        Sequential(*layers)


class Shares:
    """A layer that gives what it was given, and keeps it: it promises no new arrays."""

    def init(self, rng: np.random.Generator, input_shape: tuple[int, ...], dtype: str = "float32") -> dict[str, Any]:
        """Give no parameters."""
        return {}

    def forward(self, params: Any, x: Any) -> tuple[Any, Any]:
        """Give x."""
        return x, x

    def backward(self, params: Any, cache: Any, dy: Any) -> tuple[Any, dict[str, Any]]:
        """Give dy."""
        return dy, {}


def test_a_rectifier_overwrites_only_what_nobody_else_holds() -> None:
    """Layer by layer, with copies between, everything comes out the same; and every array is left as it was."""
    layers = (ReLU(), Conv(3, 3), ReLU(), ReLU(), Shares(), ReLU(), Conv(2, 2), Shares(), ReLU(), Shares())
    model = Sequential(layers)
    params = model.init(np.random.default_rng(0), (7, 7, 2))
    x = np.random.default_rng(1).standard_normal((2, 7, 7, 2)).astype(np.float32)
    kept, wanted, held = x.copy(), x, []
    for name, layer in zip(model.names, layers, strict=True):
        own = {key.partition(".")[2]: value for key, value in params.items() if key.startswith(f"{name}.")}
        wanted, cache = layer.forward(own, wanted.copy())
        held.append((layer, own, cache.copy()))
    y, caches = model.forward(params, x)
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(x, kept)
    dy = np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)
    sent, expected = dy.copy(), dy
    for layer, own, cache in reversed(held):
        expected, _ = layer.backward(own, cache.copy(), expected.copy())
    for _ in range(2):
        np.testing.assert_array_equal(model.backward(params, caches, dy)[0], expected)
        np.testing.assert_array_equal(dy, sent)
        for cache, (*_, alone) in zip(caches, held, strict=True):
            np.testing.assert_array_equal(cache, alone)


@pytest.mark.parametrize("layer", [Conv(2, 1), Dense(3), MaxPool(1), AvgPool(1)], ids=repr)
def test_what_promises_new_arrays_gives_them(layer: Any) -> None:
    shape = (4,) if isinstance(layer, Dense) else (5, 5, 2)
    params = layer.init(np.random.default_rng(0), shape)
    x = np.ones((3, *shape), np.float32)
    y, cache = layer.forward(params, x)
    dy = np.ones_like(y)
    dx, _ = layer.backward(params, cache, dy)
    assert layer.gives_new
    arrays = [a for a in (x, dy, cache, *params.values()) if isinstance(a, np.ndarray)]
    assert not any(np.shares_memory(new, old) for new in (y, dx) for old in arrays)


def test_a_rectifier_takes_no_memory_behind_a_convolution() -> None:
    model = Sequential((Conv(8, 3), ReLU()))
    params = model.init(np.random.default_rng(0), (9, 9, 2))
    x = np.ones((2, 9, 9, 2), np.float32)
    given: list[Any] = []
    layer = model.layers[0]
    object.__setattr__(layer, "forward", lambda *a: given.append(type(layer).forward(layer, *a)) or given[-1])
    y, _ = model.forward(params, x)
    assert np.shares_memory(y, given[0][0])


class Leaky(ReLU):
    """A rectifier that overrides both passes."""

    def forward(self, params: Any, x: Any) -> tuple[Any, Any]:
        """Give a tenth of what is below zero."""
        return np.where(x > 0, x, x / 10), x

    def backward(self, params: Any, cache: Any, dy: Any) -> tuple[Any, dict[str, Any]]:
        """Give the gradient."""
        return np.where(cache > 0, dy, dy / 10), {}


class Keeps(Conv):
    """A convolution whose cache holds its output."""

    def forward(self, params: Any, x: Any) -> tuple[Any, Any]:
        """Give the output, which the cache holds too."""
        y, cache = super().forward(params, x)
        return y, (cache, y)


def test_subclasses_inherit_no_promise() -> None:
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 1)).astype(np.float32)
    model = Sequential((Conv(4, 3), Leaky()))
    params = model.init(np.random.default_rng(0), (6, 6, 1))
    assert model.forward(params, x)[0].min() < 0
    model = Sequential((Keeps(4, 3), ReLU()))
    params = model.init(np.random.default_rng(0), (6, 6, 1))
    y, caches = model.forward(params, x)
    assert caches[0][1].min() < 0
    assert y.min() == 0


# --- predict --------------------------------------------------------------------------------------

WIDE = Sequential((Conv(32, 3, padding="same"), ReLU(), Conv(64, 3, padding="same"), Flatten(), Dense(3)))


def changes(params):
    """Change parameters in place, and put others in their places."""
    yield "nothing"
    params["conv1.weight"][0, 0, 0, 0] += 1
    yield "a weight"
    params["conv2.bias"][1] = -0.0
    yield "the sign of a zero"
    params["conv2.weight"] = params["conv2.weight"] * 2
    yield "another array"
    params["conv1.weight"][0, 0, 0, 1] = np.nan
    yield "a NaN"


@pytest.mark.parametrize("network", [NETWORK, WIDE], ids=["small", "wide"])
def test_predict_has_the_bits_of_forward_and_sees_every_change(network):
    rng = np.random.default_rng(5)
    params = network.init(rng, (16, 16, 3))
    images = rng.standard_normal((4, 16, 16, 3), np.float32)
    for change in changes(params):
        for batch in (4, 1, 4):
            found = network.predict(params, images[:batch])
            assert found.tobytes() == network.forward(params, images[:batch])[0].tobytes(), change


def test_predict_keeps_what_is_worth_keeping(monkeypatch):
    rng = np.random.default_rng(5)
    params, images = WIDE.init(rng, (64, 64, 32)), rng.standard_normal((1, 64, 64, 32), np.float32)
    first = WIDE.predict(params, images)
    made = []
    monkeypatch.setattr("xpconv.nn.prepared._prepare", lambda *a: made.append(a))
    assert WIDE.predict(params, images).tobytes() == first.tobytes()
    assert not made


def test_predict_refuses_in_the_words_of_conv():
    params = draw("float32")
    with pytest.raises(ValueError, match=r"^conv: the kernel has 1 input channels, x has 2"):
        NETWORK.predict(params, np.zeros((1, 8, 8, 2), np.float32))
    with pytest.raises(TypeError, match=r"^conv: the arrays of one call have one dtype"):
        NETWORK.predict(params, np.zeros((1, 8, 8, 1)))


def test_a_copy_of_a_network_begins_with_nothing_kept():
    params, x = draw("float32"), np.zeros((1, 8, 8, 1), np.float32)
    NETWORK.predict(params, x)
    for other in (pickle.loads(pickle.dumps(NETWORK)), copy.deepcopy(NETWORK)):
        assert other == NETWORK
        assert not vars(other)["_prepared"]._kept
        assert other.predict(params, x).tobytes() == NETWORK.predict(params, x).tobytes()
