"""`xpconv.dask`: halos, chunks of results, arrays in a store, whole networks, and what an operation takes."""

import inspect
import math
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.chunks.drawn import Draw
from tests.chunks.test_fuzz import same
from xpconv import nn

pytestmark = pytest.mark.needs("dask")


class Stored:
    """An array in a store: nothing but a shape, chunks, a dtype and slices of it; counts what is read."""

    def __init__(self, array: np.ndarray, chunks: tuple[int, ...]) -> None:
        self.array, self.chunks = array, chunks
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.largest = 0

    def __getitem__(self, index: Any) -> np.ndarray:
        found = self.array[index].copy()
        self.largest = max(self.largest, found.nbytes)
        return found


def whole_numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-3, 4, shape).astype("float32")


def test_every_operation_has_the_two_keywords() -> None:
    import xpconv.dask as module

    operations = set(module.__all__) - {"Explanation", "explain", "predict"}
    others = {"explain", "prepare_conv", "set_options", *xc.course.__all__}
    assert operations == {*xc.__all__, *xc.bounds.__all__} - others
    for name in operations:
        home = xc if hasattr(xc, name) else xc.bounds
        plain, own = (inspect.signature(getattr(place, name)).parameters for place in (home, module))
        assert list(own) == [*plain, "halo", "chunks"], name
        assert (own["halo"].default, own["chunks"].default) == ("auto", None)
        assert inspect.getdoc(getattr(module, name))


@pytest.mark.parametrize("halo", ["strips", "blocks", "reload"])
def test_halos_give_the_same_bits(halo: str) -> None:
    import dask
    import dask.array as da

    import xpconv.dask as module

    draw = Draw(11)
    for _ in range(40):
        drawn = draw.call()
        chunks = {name: draw.chunks(array.shape) for name, array in drawn.arrays.items()}

        def convert(name: str, array: np.ndarray) -> Any:
            if name in ("w", "b"):
                return array
            if halo == "reload":
                return Stored(array, tuple(max(c[0], 1) for c in chunks[name]))  # noqa: B023
            return da.from_array(array, chunks=chunks[name])  # noqa: B023

        found = dask.compute(*drawn.run(convert, module, halo=halo), scheduler="synchronous")
        for got, want in zip(found, drawn.run(), strict=True):
            assert same(drawn, got, want), (drawn.name, drawn.options, chunks)


def test_a_stored_array_is_read_by_each_task() -> None:
    """No task depends on another, and none reads more than its windows."""
    import xpconv.dask as module

    x, w = whole_numbers((1, 64, 64, 2)), whole_numbers((3, 3, 2, 4))
    stored = Stored(x, (1, 16, 16, 2))
    z = module.conv(stored, w, padding="same")
    assert z.chunks == ((1,), (16,) * 4, (16,) * 4, (4,))
    names = {key[0] for key in z.__dask_graph__()}
    graph = dict(z.__dask_graph__())
    blocks = [graph[key] for key in graph if key[0] == z.name]
    assert len(blocks) == 16
    assert all(len(set(block.dependencies)) == 2 for block in blocks)  # the store and the weight
    assert not any("halo" in name for name in names)
    np.testing.assert_array_equal(z.compute(scheduler="synchronous"), xc.conv(x, w, padding="same"))
    assert stored.largest <= 18 * 18 * 2 * 4


def test_chunks_of_the_result_are_those_asked_for() -> None:
    import dask.array as da

    import xpconv.dask as module

    x, w = whole_numbers((2, 30, 20, 4)), whole_numbers((3, 3, 4, 6))
    lazy = da.from_array(x, chunks=(1, 7, 20, 2))
    z = module.conv(lazy, w, padding="same", chunks=(2, 10, 5, 3))
    assert z.chunks == ((2,), (10, 10, 10), (5,) * 4, (3, 3))
    np.testing.assert_array_equal(z.compute(scheduler="synchronous"), xc.conv(x, w, padding="same"))
    pooled, places = module.max_pool(lazy, 2, return_indices=True, chunks=(1, 5, 10, 4))
    assert pooled.chunks == places.chunks == ((1, 1), (5, 5, 5), (10,), (4,))
    with pytest.raises(ValueError, match="a chunk has all taps of its windows"):
        module.unfold(lazy, 2, chunks=1)


def test_bad_halos_are_refused() -> None:
    import dask.array as da

    import xpconv.dask as module

    lazy, w = da.zeros((1, 8, 8, 1), chunks=4), np.ones((3, 3, 1, 1))
    with pytest.raises(ValueError, match=r"^conv: halo is one of 'auto', .*; got halo='some'"):
        module.conv(lazy, w, halo="some")
    with pytest.raises(ValueError, match=r"^conv: halo 'reload' reads an array in a store; got a lazy array for x"):
        module.conv(lazy, w, halo="reload")


LAYERS = {
    "strides": (
        nn.Conv(6, 5, stride=2, padding="same"),
        nn.ReLU(),
        nn.MaxPool(3, 2, padding=1, ceil_mode=True),
        nn.Conv(2, 3),
    ),
    "paddings": (
        nn.Conv(3, 3, padding=2, padding_mode="reflect"),
        nn.AvgPool(2, padding=1),
        nn.Conv(2, (3, 2), padding="causal", padding_mode="circular"),
        nn.Conv(2, 3, padding="same", padding_mode="replicate", dilation=2),
    ),
    "classifier": (nn.Conv(3, 3), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(4)),
}


@pytest.mark.parametrize("halo", ["strips", "blocks", "reload"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_network_in_blocks_gives_the_whole_image(name: str, halo: str) -> None:
    import dask.array as da

    import xpconv.dask as module

    x, model = whole_numbers((3, 26, 31, 2)), nn.Sequential(LAYERS[name])
    parameters = {
        key: np.random.default_rng(1).integers(-2, 3, value.shape).astype("float32")
        for key, value in model.init(np.random.default_rng(0), x.shape[1:]).items()
    }
    images = Stored(x, (2, 7, 9, 2)) if halo == "reload" else da.from_array(x, chunks=(2, 7, 9, 1))
    found = module.predict(model, parameters, images, halo=halo)
    want = model.predict(parameters, x)
    assert found.shape == want.shape
    blocks = 2 if name == "classifier" else math.prod(found.numblocks)
    assert sum(key[0] == found.name for key in found.__dask_graph__()) == blocks
    assert name == "classifier" or math.prod(found.numblocks) > 8
    np.testing.assert_array_equal(found.compute(scheduler="synchronous"), want)


def test_a_network_on_random_numbers_is_that_of_the_whole_image() -> None:
    import dask.array as da

    import xpconv.dask as module

    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 40, 44, 3)).astype("float32")
    model = nn.Sequential(LAYERS["strides"])
    parameters = model.init(rng, x.shape[1:])
    found = module.predict(model, parameters, da.from_array(x, chunks=(1, 16, 11, 3))).compute(scheduler="synchronous")
    np.testing.assert_array_equal(found, model.predict(parameters, x), strict=True)


def test_what_an_operation_takes_is_told() -> None:
    import dask.array as da

    import xpconv.dask as module

    x, w = da.zeros((1, 64, 64, 1), chunks=(1, 16, 16, 1), dtype="float32"), np.ones((5, 5, 1, 1), "float32")
    strips = module.explain("conv", x, w, padding="same")
    assert (strips.blocks, strips.halo, strips.chunks) == (16, "strips", (x.chunks,))
    # along each of three borders two strips of 2 rows go each way, with the corners beside them
    edges, corners = 2 * 2 * 3 * 2 * 64, 2 * 2 * 4 * 9
    assert strips.halo_bytes == 4 * (edges + corners)
    assert strips.tasks == len(module.conv(x, w, padding="same").__dask_graph__()) - 16
    blocks = module.explain(module.conv, x, w, padding="same", halo="blocks")
    assert blocks.tasks < strips.tasks
    assert blocks.halo_bytes > strips.halo_bytes
    assert strips.worker_bytes > 64 * 2**20
    assert "conv, halo 'strips'" in str(strips)
    assert module.explain(xc.conv_vjp, x, x, w, padding="same").blocks == 16 + 1 + 1
    with pytest.raises(ValueError, match=r"^explain: operation is one of .*; got 'convolve'"):
        module.explain("convolve", x, w)


def test_the_gradients_of_a_layer_are_trees_whose_shape_the_chunks_decide() -> None:
    """A layer's own gradients on chunks are those of `conv_vjp`; that of the images is not computed."""
    import dask
    import dask.array as da

    rng, layer = np.random.default_rng(0), nn.Conv(5, 3, padding=1)
    x, dy = rng.standard_normal((2, 20, 24, 3)), rng.standard_normal((2, 20, 24, 5))
    lazy, grads = (da.from_array(array, chunks=(1, 7, 8, array.shape[-1])) for array in (x, dy))
    params = layer.init(rng, x.shape[1:], "float64")
    found = layer.gradients(params, lazy, grads)
    _, dw, db = xc.conv_vjp(grads, lazy, params["weight"], padding=1)
    own = dask.compute(found["weight"], found["bias"], scheduler="synchronous")
    for got, want in zip(own, dask.compute(dw, db, scheduler="threads"), strict=True):
        assert got.tobytes() == want.tobytes()
    np.testing.assert_allclose(own[1], dy.sum((0, 1, 2)))
