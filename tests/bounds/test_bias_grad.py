"""The bound of a convolution's bias gradient: never exceeded, never idle, and counted as the tree that it is."""

import math
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.backends import Backend
from tests.bounds.data import COMPLEX, LIBRARIES, REAL, demand_bounds, demand_bounds_elsewhere, draw, tried
from tests.memory import beside, held
from tests.oracle.longdouble import wide
from xpconv import _options, bounds
from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call
from xpconv._arrays.space import NUMPY, numpy_space
from xpconv._convolution import bias_grad
from xpconv._work.buffered import BufferedWorkspace

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
SUMMED = ((3, 40, 37, 5), (2, 700, 3), (1, 9, 10, 11, 4), (1, 1, 1, 3))


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


@pytest.mark.parametrize("dtype", [*REAL, *COMPLEX])
def test_every_kind_of_data(dtype: str) -> None:
    demand_bounds(attack_db, "db", dtype)


@pytest.mark.parametrize("backend", LIBRARIES, indirect=True)
def test_other_libraries(backend: Backend) -> None:
    demand_bounds_elsewhere(attack_db, backend)


@pytest.mark.parametrize("backend", LIBRARIES, indirect=True)
def test_many_sums_that_vanish(backend: Backend) -> None:
    """Where denormal numbers are flushed, each of a million products or numbers may be lost, however short the sums."""
    x, dz = (np.full((16, 256, 256, 1), 0.7 * 2.0**-63, np.float32) for _ in range(2))
    exact = (wide(x) * wide(dz)).sum().reshape(1, 1, 1, 1)
    assert (
        tried(xc.conv_weight_grad, bounds.conv_weight_grad_error_bound, exact, [dz, x], (1, 1, 1, 1), backend=backend)
        <= 1
    )
    small = np.full((16, 256, 256, 1), 0.7 * 2.0**-126, np.float32)
    exact = wide(small).sum(axis=(0, 1, 2))
    assert tried(db, bounds.conv_bias_grad_error_bound, exact, [small], backend=backend) <= 1


class Depth:
    """A number that counts the additions that it has passed."""

    def __init__(self, passed: int = 0) -> None:
        self.passed = passed

    def __add__(self, other: "Depth") -> "Depth":
        return Depth(max(self.passed, other.passed) + 1)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1),
        (3, 5, 1),
        (1, 128, 2),
        (1, 129, 2),
        (2, 300, 3),
        (40, 33, 17, 4),
        pytest.param((2, 130, 131, 8), marks=pytest.mark.slow),  # a million objects
        (5, 4, 3, 2, 2),
        (3, 200, 600),
        (2, 513, 1),
        (1, 1025, 1),
    ],
)
@pytest.mark.parametrize("tile", [1 << 20, 1 << 8])
def test_the_additions_of_a_sum_are_counted(shape: tuple[int, ...], tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums themselves, run on numbers that count; whole rows, and axis by axis where pixels lie apart."""
    monkeypatch.setattr(bias_grad, "TILE", tile)
    monkeypatch.setattr(bias_grad, "_tree", bias_grad._tree.__wrapped__)  # which keeps those of other tiles
    # objects have no place in a block of bytes
    monkeypatch.setattr(BufferedWorkspace, "buffer", lambda work, name, shape, dtype=None: np.empty(shape, object))
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


@held(["float16", "float32", "complex128"], [(64, 2), (2, 8)])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_a_sum_stays_in_the_workspace(ceiling: int, layout: str, name: str) -> None:
    dz = np.ones((64, 64, 64, 16), name)
    assert beside(lambda: bounds.conv_bias_grad_error_bound(dz, layout=layout)) <= ceiling


def test_a_wider_sum_has_a_smaller_bound() -> None:
    dz = np.ones((4, 30, 30, 2), np.float32)
    wider = bounds.conv_bias_grad_error_bound(dz, dtype="float64")
    assert wider.dtype == np.float64
    assert (wider < 1e-6 * bounds.conv_bias_grad_error_bound(dz)).all()
