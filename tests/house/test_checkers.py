"""The checkers themselves: the right answer passes, and every planted fault turns them red."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests import backends, checks, oracle
from tests.backends import Backend
from tests.cases import CONV, POOL, arrays, expected, terms, values
from xpconv.testing import assert_adjoint

CASE = CONV["strides-differ"]
DATA = arrays(CASE)
EXPECTED, SIZES = expected(CASE), expected(CASE, absolute=True)


def conv(x: np.ndarray, w: np.ndarray, b: np.ndarray, **changed: Any) -> np.ndarray:
    """Convolve by the oracle, as float32: the stand-in for an implementation."""
    return oracle.conv(x, w, b, **{**CASE.options(), **changed}).astype(np.float32)


def assign(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Give the gradient of 3×3 average pooling with stride 1, with `=` where `+=` belongs."""
    dx = np.zeros_like(x)
    for o in np.ndindex(dy.shape[1:3]):
        dx[:, o[0] : o[0] + 3, o[1] : o[1] + 3] = dy[:, o[0], o[1]][:, None, None] / 9
    return dx


def test_the_right_answer_passes(numpy_backend: Backend) -> None:
    result = numpy_backend.call(conv, DATA["x"], DATA["w"], DATA["b"])
    checks.demand(numpy_backend, result, EXPECTED["z"])
    checks.demand(
        numpy_backend, result, EXPECTED["z"], magnitude=expected(CASE, absolute=True)["z"], terms=terms(CASE)["z"]
    )


FAULTS: dict[str, Callable[[], np.ndarray]] = {
    "flipped kernel": lambda: conv(DATA["x"], DATA["w"][::-1, ::-1], DATA["b"]),
    "flipped along one axis": lambda: conv(DATA["x"], DATA["w"][:, ::-1], DATA["b"]),
    "pad off by one": lambda: conv(DATA["x"], DATA["w"], DATA["b"], padding=((0, 0), (0, 2))),
    "bias left out": lambda: conv(DATA["x"], DATA["w"], 0 * DATA["b"]),
    "zeros": lambda: np.zeros(CASE.shape("dz"), np.float32),
    "one element NaN": lambda: np.where(np.arange(EXPECTED["z"].size) == 7, np.nan, EXPECTED["z"].ravel()).reshape(
        CASE.shape("dz")
    ),
    "last row garbage": lambda: np.concatenate([EXPECTED["z"][:, :-1], EXPECTED["z"][:, -1:] + 1], axis=1),
    "times 1.001": lambda: EXPECTED["z"] * 1.001,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_value_is_caught(numpy_backend: Backend, fault: str) -> None:
    wrong = FAULTS[fault]().astype(np.float32)
    with pytest.raises(AssertionError, match="elements differ"):
        checks.demand(numpy_backend, wrong, EXPECTED["z"])
    with pytest.raises(AssertionError, match="off by more than their bound"):
        checks.demand(
            numpy_backend, wrong, EXPECTED["z"], magnitude=expected(CASE, absolute=True)["z"], terms=terms(CASE)["z"]
        )


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_the_tolerance_tells_rounding_from_a_gradient_off_by_a_thousandth(numpy_backend: Backend, dtype: str) -> None:
    right, magnitude = (expected(CASE, dtype, exact=False, absolute=absolute)["dw"] for absolute in (False, True))
    checks.demand(numpy_backend, right.astype(dtype), right, dtype, magnitude, terms(CASE)["dw"])
    with pytest.raises(AssertionError, match="off by more than their bound"):
        checks.demand(numpy_backend, (right * 1.001).astype(dtype), right, dtype, magnitude, terms(CASE)["dw"])


def test_the_tolerance_holds_for_any_order_of_a_sum() -> None:
    """A thousand products, added one by one and in pairs, in float32: within the bound, and not far from it."""
    a, b = values((1000,), 1, "float32"), values((1000,), 2, "float32")
    exact, magnitude = np.dot(a.astype(float), b), np.dot(abs(a).astype(float), abs(b))
    bound = checks.tolerance(magnitude, 1000, "float32")
    for order in (np.arange(1000), np.argsort(a * b), np.argsort(-abs(a * b))):
        one_by_one = np.cumsum((a * b)[order], dtype=np.float32)[-1]
        assert abs(one_by_one - exact) <= bound
        assert abs(np.sum((a * b)[order], dtype=np.float32) - exact) <= bound
    assert bound < 1e-4 * magnitude


def test_float16_accumulation_is_caught(numpy_backend: Backend) -> None:
    ones = np.ones((1, 4096, 1), np.float16)
    in_half = np.cumsum(ones, axis=1, dtype=np.float16)[:, -1:]
    assert in_half.item() == 2048.0
    right = oracle.conv(ones, np.ones((4096, 1, 1), np.float16))
    with pytest.raises(AssertionError, match="off by more than their bound"):
        checks.demand(numpy_backend, in_half, right, "float16", right, 4096)
    checks.demand(numpy_backend, right.astype(np.float16), right, "float16", right, 4096)


def test_assignment_for_accumulation_is_caught(numpy_backend: Backend) -> None:
    case = POOL["3-overlapping"]
    x, dy = values(case.shape("x"), 0, "float32"), values((2, 3, 3, 2), 1, "float32")
    right, magnitude = (oracle.avg_pool_vjp(g, x.shape, 3, stride=1) for g in (dy, abs(dy)))
    checks.demand(numpy_backend, right.astype(np.float32), right, "float32", magnitude, 10)
    with pytest.raises(AssertionError, match="off by more than their bound"):
        checks.demand(numpy_backend, assign(dy, x), right, "float32", magnitude, 10)


def test_a_wrong_kind_is_caught_before_the_values(numpy_backend: Backend) -> None:
    z = EXPECTED["z"].astype(np.float32)
    readonly = z.copy()
    readonly.flags.writeable = False
    wrong = {
        "dtype float64": z.astype(np.float64),
        "shape": z[:-1],
        "not an array": z.tolist(),
        "class float32": z.ravel()[0],
        "class MaskedArray": np.ma.masked_array(z),
        "cannot be written": readonly,
    }
    for message, result in wrong.items():
        with pytest.raises(AssertionError, match=message):
            checks.demand_kind(numpy_backend, result, "float32", z.shape)
        with pytest.raises(AssertionError, match=message):
            checks.demand(numpy_backend, result, z)


def test_a_wrong_namespace_and_device_are_caught() -> None:
    here, elsewhere = backends.load("strict-device1"), backends.load("strict")
    z = EXPECTED["z"].astype(np.float32)
    checks.demand(here, here.asarray(z), z)
    with pytest.raises(AssertionError, match="device"):
        checks.demand(here, elsewhere.asarray(z), z)
    with pytest.raises(AssertionError, match="namespace"):
        checks.demand(here, z, z)


def test_a_mutated_argument_is_caught(numpy_backend: Backend) -> None:
    def mutate(x: np.ndarray, _: np.ndarray) -> np.ndarray:
        x[0, 0, 0, 0] = np.nextafter(x[0, 0, 0, 0], np.float32(9))
        return x

    with pytest.raises(AssertionError, match="argument 0 was mutated"):
        numpy_backend.call(mutate, DATA["x"], DATA["w"])
    with pytest.raises(ValueError, match="read-only"):
        backends.load("numpy-readonly").call(mutate, DATA["x"], DATA["w"])


@pytest.mark.needs("jax")
def test_a_look_at_the_values_is_caught_under_jit() -> None:
    import jax

    backend = backends.load("jax-jit")
    with pytest.raises(jax.errors.ConcretizationTypeError):
        backend.call(lambda x: x if x[0, 0, 0, 0] > 0 else -x, DATA["x"])


@pytest.mark.needs("dask")
def test_a_hidden_compute_is_caught_under_dask() -> None:
    backend = backends.load("dask")
    with pytest.raises(backends.ComputeError, match="computed a dask graph"):
        backend.call(lambda x: x if x[0, 0, 0, 0] > 0 else -x, DATA["x"])


def test_the_adjoint_identity_catches_a_wrong_gradient() -> None:
    good = (DATA["x"], EXPECTED["dx"]), (DATA["w"], EXPECTED["dw"])
    z = oracle.conv(DATA["x"], DATA["w"], **CASE.options())
    assert_adjoint(z, DATA["dz"], *good)
    off_by_one = EXPECTED["dw"].copy()
    off_by_one.flat[np.flatnonzero(DATA["w"])[0]] += 1
    faults = {
        "flipped": EXPECTED["dw"][::-1],
        "negated": -EXPECTED["dw"],
        "one element off by one": off_by_one,
    }
    for wrong in faults.values():
        with pytest.raises(AssertionError, match="pair 1"):
            assert_adjoint(z, DATA["dz"], good[0], (DATA["w"], wrong))
    with pytest.raises(AssertionError, match="proves nothing"):
        assert_adjoint(0 * z, DATA["dz"], *good)
    large = np.full(3, 2.0**31)  # beyond what int64 adds up
    assert_adjoint(large, large, (large, large))
    with pytest.raises(AssertionError, match="pair 0"):
        assert_adjoint(large, large, (large, large + np.array([0, 0, 1])))


def test_wrapped_integers_are_compared_as_they_wrap(numpy_backend: Backend) -> None:
    checks.demand(numpy_backend, np.array([-56, 255 - 256], np.int8), np.array([200, 255], object), "int8")
    checks.demand(numpy_backend, np.array([2**64 - 3], np.uint64), np.array([-3], object), "uint64")
    with pytest.raises(AssertionError, match="elements differ"):
        checks.demand(numpy_backend, np.array([127], np.int8), np.array([200], object), "int8")


def test_a_backend_that_was_asked_for_and_is_missing_is_named() -> None:
    assert backends.missing("numpy,strict") == []
    (line,) = backends.missing("numpy, abacus")
    assert "unknown backend 'abacus'" in line
