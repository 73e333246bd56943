"""The loss against its definition, the optimisers against PyTorch's, on every library."""

import importlib

import numpy as np
import pytest

from tests.checks import demand_kind
from xpconv.nn import SGD, Adam, SoftmaxCrossEntropy

LOSS = SoftmaxCrossEntropy()


def by_definition(logits, labels):
    """Give the loss in longdouble, without a shift: −log(e^z[label] / Σ e^z), averaged."""
    powers = np.exp(logits.astype(np.longdouble))
    return -np.mean(np.log(powers[np.arange(len(labels)), labels] / powers.sum(axis=1)))


def loss_and_gradient(logits, labels):
    loss, cache = LOSS.forward(logits, labels)
    return loss, LOSS.backward(cache)


def test_loss_and_gradient_follow_the_definition(backend):
    rng = np.random.default_rng(3)
    logits = (3 * rng.standard_normal((6, 5))).astype("float32")
    labels = rng.integers(0, 5, 6).astype("int32")
    loss, gradient = backend.call(loss_and_gradient, logits, labels)
    demand_kind(backend, loss[None], "float32", (1,))  # NumPy has a scalar class of its own
    demand_kind(backend, gradient, "float32", (6, 5))
    # a dozen float32 roundings of numbers up to 10 lie between the two
    assert abs(backend.to_numpy(loss) - by_definition(logits, labels)) < 12 * 2.0**-24 * 10
    wanted = np.exp(logits.astype("float64"))
    wanted = (wanted / wanted.sum(axis=1, keepdims=True) - np.eye(5)[labels]) / 6
    # a shift by up to 10, an exponential, a sum of 5 and a division: 20 roundings of shares of at most 1/6
    np.testing.assert_allclose(backend.to_numpy(gradient), wanted, rtol=0, atol=20 * 2.0**-24 / 6)


def test_gradient_of_the_loss_is_its_slope():
    rng = np.random.default_rng(4)
    logits, labels, step = rng.standard_normal((4, 3)), np.asarray([0, 2, 1, 1]), 1e-5
    gradient = LOSS.backward(LOSS.forward(logits, labels)[1])
    for index in np.ndindex(logits.shape):
        bump = np.zeros_like(logits)
        bump[index] = step
        slope = (LOSS.forward(logits + bump, labels)[0] - LOSS.forward(logits - bump, labels)[0]) / (2 * step)
        assert abs(slope - gradient[index]) < 1e-9  # third derivatives below 1: 1e-10 / 6, rounding 2e-16 / 1e-5


def test_huge_logits_do_not_overflow():
    loss, cache = LOSS.forward(np.asarray([[1e30, 0.0, -1e30]], dtype="float32"), np.asarray([0]))
    assert loss == 0
    assert LOSS.backward(cache).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (np.zeros((2, 3)), np.zeros(3, int), ValueError, r"labels has the shape \(2,\); got labels.shape=\(3,\)"),
        (np.zeros((2, 3)), np.zeros((2, 1), int), ValueError, r"labels has the shape \(2,\)"),
        (np.zeros(3), np.zeros(3, int), ValueError, r"logits is \(N, K\) with N > 0; got \(3,\)"),
        (np.zeros((0, 3)), np.zeros(0, int), ValueError, r"logits is \(N, K\) with N > 0; got \(0, 3\)"),
        (np.zeros((2, 3)), np.zeros(2), TypeError, "labels has an integer dtype; got float64"),
        (np.zeros((2, 3), int), np.zeros(2, int), TypeError, "logits has a real floating dtype; got int64"),
    ],
)
def test_the_loss_names_bad_input(logits, labels, error, message):
    with pytest.raises(error, match=f"SoftmaxCrossEntropy: {message}"):
        LOSS.forward(logits, labels)


def run(optimizer, a, b, *gradients):
    params = {"a": a, "b": b}
    state = optimizer.init(params)
    for pair in zip(gradients[::2], gradients[1::2], strict=True):
        params, state = optimizer.update(params, dict(zip(params, pair, strict=True)), state)
    return params["a"], params["b"]


def numbers(dtype, steps=20):
    rng = np.random.default_rng(5)
    return [rng.standard_normal(shape).astype(dtype) for _ in range(1 + steps) for shape in ((3, 2), (4,))]


@pytest.mark.needs("torch")
@pytest.mark.parametrize("optimizer", [SGD(lr=0.1, momentum=0.8), SGD(lr=0.1, momentum=0), Adam(lr=0.1, beta1=0.7)])
def test_optimizers_step_as_pytorch_does(optimizer):
    torch = importlib.import_module("torch")  # the independent oracle
    arrays = numbers("float64")
    leaves = [torch.tensor(array, requires_grad=True) for array in arrays[:2]]
    if isinstance(optimizer, SGD):
        oracle = torch.optim.SGD(leaves, lr=optimizer.lr, momentum=optimizer.momentum)
    else:
        oracle = torch.optim.Adam(leaves, lr=optimizer.lr, betas=(optimizer.beta1, optimizer.beta2), eps=optimizer.eps)
    for first, second in zip(arrays[2::2], arrays[3::2], strict=True):
        leaves[0].grad, leaves[1].grad = torch.tensor(first), torch.tensor(second)
        oracle.step()
    for got, want in zip(run(optimizer, *arrays), leaves, strict=True):
        # 20 steps of a few float64 roundings each, on numbers of size about 1
        np.testing.assert_allclose(got, want.detach().numpy(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("optimizer", [SGD(), Adam()])
def test_optimizers_keep_the_arrays_library_and_dtype(optimizer, backend):
    arrays = numbers("float32")
    exact = run(optimizer, *(array.astype("float64") for array in arrays))
    for got, want in zip(backend.call(run, optimizer, *arrays), exact, strict=True):
        demand_kind(backend, got, "float32", want.shape)
        # 20 steps of ten float32 roundings of numbers up to 3
        np.testing.assert_allclose(backend.to_numpy(got), want, rtol=0, atol=200 * 2.0**-24 * 3)


def test_a_numpy_step_size_does_not_widen_the_parameters():
    params = {"w": np.ones(2, dtype="float32")}
    for optimizer in (SGD(lr=np.float64(0.1)), Adam(lr=np.float64(0.1))):
        updated, _ = optimizer.update(params, params, optimizer.init(params))
        assert updated["w"].dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SGD(lr=0), ValueError, "SGD: lr is above 0; got 0"),
        (lambda: SGD(lr="fast"), TypeError, "SGD: lr is a Python number; got 'fast'"),
        (lambda: SGD(momentum=1), ValueError, r"SGD: momentum is in \[0, 1\); got 1"),
        (lambda: Adam(lr=float("nan")), ValueError, r"Adam: lr is in \[0, inf\); got nan"),
        (lambda: Adam(beta2=-0.1), ValueError, r"Adam: beta2 is in \[0, 1\); got -0.1"),
        (lambda: Adam(eps=0.0), ValueError, "Adam: eps is above 0; got 0.0"),
        (lambda: SGD().update({"w": 1}, {}, SGD().init({})), ValueError, r"SGD: grads has the keys .* \['w'\]"),
        (
            lambda: Adam().update({}, {}, {"steps": 0, "mean": {"w": 1}}),
            ValueError,
            r"Adam: state\['mean'\] has .*\['w'\]",
        ),
    ],
)
def test_optimizers_name_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
