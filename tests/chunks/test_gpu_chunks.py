"""Chunks that lie on a GPU: every block is computed there, and nothing moves."""

from typing import Any

import numpy as np
import pytest

from tests import backends
from tests.chunks.drawn import KINDS, Draw
from tests.chunks.test_fuzz import same

pytestmark = pytest.mark.needs("dask", "cupy")


def on_gpu(array: np.ndarray, chunks: Any) -> Any:
    """An array of which each chunk lies on the GPU."""
    import dask.array as da

    return da.from_array(backends.load("cupy").asarray(array), chunks=chunks, asarray=False)


@pytest.mark.parametrize(
    "name",
    sorted(set(KINDS) - {"lp_pool_vjp", "conv_input_grad", "conv_weight_grad", "adaptive_avg_pool_vjp"}),
)
def test_chunks_on_a_gpu_stay_there(name: str) -> None:
    import dask

    backend, draw, done = backends.load("cupy"), Draw(5), 0
    while done < 3:
        drawn = getattr(draw, name)()
        try:
            want = drawn.run()
        except ValueError:
            continue
        if drawn.name != name or drawn.dtype == "float16":
            continue
        done += 1

        def convert(key: str, array: np.ndarray) -> Any:
            return backend.asarray(array) if key in ("w", "b") else on_gpu(array, draw.chunks(array.shape))

        results = drawn.run(convert)
        for got, right in zip(dask.compute(*results, scheduler="synchronous"), want, strict=True):
            assert type(got) is type(backend.asarray(np.zeros(1))), name
            assert same(drawn, backend.to_numpy(got), right), (drawn.options, drawn.dtype)


def test_chunks_and_weights_lie_on_one_device() -> None:
    import xpconv as xc

    x, w = np.ones((1, 9, 9, 2), "float32"), np.ones((3, 3, 2, 4), "float32")
    with pytest.raises(TypeError, match=r"^conv: the arrays of one call belong to one library; got x: cupy"):
        xc.conv(on_gpu(x, 5), w)


def test_a_network_runs_where_the_chunks_lie() -> None:
    import xpconv.dask as module
    from xpconv import nn

    backend, rng = backends.load("cupy"), np.random.default_rng(0)
    model = nn.Sequential(
        nn.Conv(6, 5, stride=2, padding="same", padding_mode="reflect"), nn.ReLU(), nn.MaxPool(3, 2), nn.Conv(3, 3)
    )
    x = rng.integers(-3, 4, (1, 40, 50, 2)).astype("float32")
    host = {
        key: rng.integers(-2, 3, value.shape).astype("float32") for key, value in model.init(rng, x.shape[1:]).items()
    }
    there = {key: backend.asarray(value) for key, value in host.items()}
    found = module.predict(model, there, on_gpu(x, (1, 13, 20, 2))).compute(scheduler="synchronous")
    assert type(found) is type(backend.asarray(np.zeros(1)))
    np.testing.assert_array_equal(backend.to_numpy(found), model.predict(host, x))
