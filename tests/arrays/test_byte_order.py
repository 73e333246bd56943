"""Arrays of the other byte order, as FITS, IDX and NetCDF files hold them: taken; results have the machine's order."""

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest

import xpconv as xc
from tests.definition import ORACLE
from tests.sizes import FULL, share
from xpconv import nn
from xpconv._tools import libraries
from xpconv._tools.guises import Guise
from xpconv.verify.catalogue.data import REAL_KINDS
from xpconv.verify.catalogue.tasks import EXACT, Task, tasks
from xpconv.verify.judge.bench import Bench

ROOM = 8 << 20


def swapped(array):
    return array.astype(array.dtype.newbyteorder())


@dataclass(frozen=True)
class Swapped(Guise):
    """NumPy, whose arguments have the other byte order."""

    def asarray(self, data, dtype=None):
        return swapped(super().asarray(data, dtype))


NUMPY = libraries.load("numpy")
BENCH = Bench(Swapped(NUMPY.name, NUMPY.xp, NUMPY.device, "swapped"), ORACLE)
DTYPES = ("float32", "float64", "float16", "int16", "uint16", "uint32", "int64", "complex64", "complex128")


def once(task):
    kind = REAL_KINDS[0] if task.tier == "bound" else task.operation.kinds[0]
    return task.kind == kind and (task.tier == "exact" or task.algorithm not in ("", *EXACT))


def chosen():
    """Every core case in float32, and the other dtypes in turn; in a normal run each algorithm on one kind of data."""
    found = [task for task in tasks(DTYPES[:1], core=True) if task.tier != "adjoint" and (FULL or once(task))]
    found += share([task for task in tasks(DTYPES[1:], core=True) if task.tier != "adjoint"], 0, 12)
    groups: dict[str, list[Task]] = {}
    for task in found:
        groups.setdefault(task.operation.name, []).append(task)
    return groups


CHOSEN = chosen()


@pytest.mark.parametrize("name", CHOSEN)
def test_every_operation_gives_the_definitions_values(name):
    """The judge demands the machine's order of every result, and that no argument is changed."""
    results = [BENCH.check(task) for task in CHOSEN[name]]
    assert [f"{result.task.key}: {result.failure}" for result in results if not result.passed] == []


@pytest.mark.parametrize("dtype", DTYPES)
def test_orders_may_be_mixed(dtype):
    rng = np.random.default_rng(0)
    x, w, b = (rng.integers(0, 5, shape).astype(dtype) for shape in ((3, 12, 13, 4), (3, 3, 4, 6), (6,)))
    want = xc.conv(x, w, b, padding=1)
    dz = np.ones_like(want)
    for given in ((swapped(x), w, b), (x, swapped(w), b), (x, w, swapped(b)), tuple(map(swapped, (x, w, b)))):
        got = xc.conv(*given, padding=1)
        assert got.dtype == want.dtype
        assert got.tobytes() == want.tobytes()
    prepared = xc.prepare_conv(swapped(w), swapped(b), input_shape=x.shape, padding=1)
    assert prepared(swapped(x)).tobytes() == prepared(x).tobytes() == want.tobytes()
    for got, wanted in zip(xc.conv_vjp(swapped(dz), x, swapped(w)[:1, :1]), xc.conv_vjp(dz, x, w[:1, :1]), strict=True):
        assert (got.dtype, got.tobytes()) == (wanted.dtype, wanted.tobytes())
    assert np.array_equal(xc.error_bound(swapped(x), swapped(w), b), xc.error_bound(x, w, b))


def test_a_dtype_in_the_other_order_means_the_number_not_the_order():
    x, w = np.ones((1, 4, 1), "float32"), np.ones((2, 1, 1), "float32")
    for dtype in (">f8", "<f8"):
        assert xc.conv(x, w, dtype=np.dtype(dtype)).dtype == np.float64
        assert xc.conv(x, w, dtype=np.dtype(dtype)).dtype.isnative


def test_dtypes_that_differ_in_more_are_still_refused():
    with pytest.raises(TypeError, match=r"one dtype; got x.dtype=float32, w.dtype=float64; convert one with astype"):
        xc.conv(swapped(np.ones((1, 4, 1), "float32")), np.ones((2, 1, 1)))


def test_layers_take_them():
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype("float32")
    model = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(3))
    params = model.init(np.random.default_rng(0), x.shape[1:])
    other = {name: swapped(value) for name, value in params.items()}
    want, got = model.predict(params, x), model.predict(other, swapped(x))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(nn.ReLU().forward({}, swapped(x))[0], np.maximum(x, 0))


X = swapped(np.ones((4, 256, 256, 16), "float32"))
DY = swapped(np.ones((4, 128, 128, 16), "float32"))
W = swapped(np.ones((3, 3, 16, 16), "float32"))


@pytest.mark.parametrize(
    "call",
    [
        lambda: xc.conv(X, W, padding=1),
        lambda: xc.conv_input_grad(X, W, X.shape, padding=1),
        lambda: xc.conv_weight_grad(X, X, W.shape, padding=1),
        lambda: xc.conv_transpose(DY, W, stride=2),
        lambda: xc.max_pool(X, 2),
        lambda: xc.max_pool_vjp(DY, X, 2),
        lambda: xc.avg_pool(X, 2),
        lambda: xc.avg_pool_vjp(DY, X.shape, 2),
        lambda: xc.lp_pool(X, 2, 2),
        lambda: xc.pad(X, 1),
        lambda: xc.unfold(DY, 2),
    ],
)
def test_they_are_converted_tile_by_tile(call):
    """The images are twice the workspace, so that a copy of them would be seen."""
    with xc.set_options(max_workspace=ROOM):
        call()
        tracemalloc.start()
        try:
            result = call()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak <= result.nbytes + ROOM
