"""`xpconv.dask.predict` gives the bits of the whole image, on random numbers too: drawn networks in drawn chunks."""

import importlib
import math
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import sizes as run_size
from tests.chunks.drawn import Draw
from tests.memory import litter
from xpconv import nn
from xpconv._chunks.tasks import Block
from xpconv._compiled import build
from xpconv._convolution import inside
from xpconv._plan.tiles import LONGEST

pytestmark = pytest.mark.needs("dask")

MODES = ("zeros", "zeros", "reflect", "replicate", "circular")
ALGORITHMS = ("auto", "auto", "gemm", "direct", "toeplitz", "winograd", "fft")


def layer_of(rng: np.random.Generator, shape: tuple[int, ...], layout: str) -> Any:
    """Draw a layer for images (*spatial, C); some are refused."""
    size, rank = min(shape[:-1]), len(shape) - 1
    kind = rng.choice(["conv", "conv", "conv", "pool", "mean", "relu"])
    if kind == "relu":
        return nn.ReLU()
    window, stride = int(rng.integers(1, min(5, size) + 1)), int(rng.integers(1, 3))
    pad = int(rng.integers(0, window // 2 + 1))
    if kind != "conv":
        pool = nn.MaxPool if kind == "pool" else nn.AvgPool
        return pool(window, stride, pad, ceil_mode=bool(rng.integers(2)), layout=layout)
    return nn.Conv(
        int(rng.choice([1, 2, 3, 8, 24])) if shape[-1] % 2 else int(rng.choice([2, 4, 16])),
        (window,) * rank,
        stride=stride,
        padding=pad if rng.integers(2) else "same",
        dilation=int(rng.integers(1, 3)),
        groups=1 if shape[-1] % 2 else int(rng.choice([1, 1, 2])),
        padding_mode=str(rng.choice(MODES)),
        layout=layout,
        algorithm=str(rng.choice(ALGORITHMS)),
    )


def network(rng: np.random.Generator, shape: tuple[int, ...], layout: str) -> tuple[Any, Any]:
    """Draw a network and its parameters for images of a shape in a layout."""
    layers: list[Any] = []
    inner = shape[1:] if layout == "channels_last" else (*shape[2:], shape[1])
    dtype, count = str(rng.choice(["float32", "float32", "float64"])), int(rng.integers(1, 5))
    while len(layers) < count:
        model = nn.Sequential((*layers, layer_of(rng, inner, layout)))
        try:
            parameters = model.init(rng, shape[1:], dtype=dtype)
            found = model.predict(parameters, np.zeros((1, *shape[1:]), dtype))
        except ValueError:
            continue
        layers = list(model.layers)
        inner = found.shape[1:] if layout == "channels_last" else (*found.shape[2:], found.shape[1])
    model = nn.Sequential(layers)
    parameters = {name: rng.standard_normal(a.shape).astype(dtype) for name, a in model.init(rng, shape[1:]).items()}
    return model, parameters


def check(seed: int, sizes: tuple[int, int]) -> str:
    """Compare a network by blocks with the network as a whole; say what was compared."""
    import dask.array as da

    import xpconv.dask as module

    rng, draw = np.random.default_rng(seed), Draw(seed)
    rank, layout = int(rng.integers(1, 4)), str(rng.choice(["channels_last", "channels_first"]))
    side = sizes[0] if rank == 3 else sizes[1]
    spatial = tuple(int(n) for n in rng.integers(6, side, rank))
    images, channels = int(rng.integers(1, 4)), int(rng.choice([1, 2, 3, 8, 16]))
    shape = (images, *spatial, channels) if layout == "channels_last" else (images, channels, *spatial)
    model, parameters = network(rng, shape, layout)
    if not any(isinstance(layer, (nn.Conv, nn.MaxPool, nn.AvgPool)) for layer in model.layers):
        return ""
    x = rng.standard_normal(shape).astype(next(iter(parameters.values())).dtype if parameters else "float32")
    chunks = draw.chunks(shape)
    found = module.predict(model, parameters, da.from_array(x, chunks=chunks))
    want = model.predict(parameters, x)
    got = found.compute(scheduler="synchronous")
    said = f"seed {seed}: {model.layers} on {shape} {x.dtype} in {chunks}"
    assert got.dtype == want.dtype, said
    np.testing.assert_array_equal(got, want, said, strict=True)
    return said


@pytest.mark.parametrize("first", range(0, 45, 15))
def test_random_networks_have_the_bits_of_the_whole_image(first: int) -> None:
    assert sum(bool(check(seed, (12, 40))) for seed in range(first, first + 15)) > 7


@pytest.mark.needs("numba")
def test_random_networks_in_compiled_loops_have_the_bits_of_the_whole_image() -> None:
    """In the other padding modes too, whose pixels a block finds beside its own."""
    with xc.set_options(compiled=True):
        for seed in range(60):
            check(seed, (8, 30))


# channels, filters, taps along an axis, stride: other loops take the least time of 60×60 pixels than of a third of them
OTHERWISE = [
    *((1, 4, 3, 1), (2, 1, 5, 1), (2, 5, 5, 1), (4, 7, 7, 1)),
    *((3, 2, 5, 2), (8, 6, 3, 2), (12, 8, 5, 2), (16, 4, 3, 2)),
]


@pytest.mark.needs("numba")
@pytest.mark.parametrize(("channels", "filters", "taps", "stride"), OTHERWISE)
def test_blocks_take_the_loops_of_the_whole(channels: int, filters: int, taps: int, stride: int) -> None:
    """Which sum in other orders."""
    import dask.array as da

    import xpconv.dask as module

    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 60, 60, channels)).astype("float32")
    model = nn.Sequential((nn.Conv(filters, taps, stride=stride, padding=taps // 2, algorithm="compiled"),))
    parameters = model.init(rng, x.shape[1:])
    found = module.predict(model, parameters, da.from_array(x, chunks=(1, 20, 20, channels)))
    np.testing.assert_array_equal(found.compute(scheduler="synchronous"), model.predict(parameters, x))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "padding"), [(1, 0), (3, 1), (2, 0)])
@pytest.mark.parametrize("filters", [2, 5, 18])
def test_loops_of_many_channels_have_room_for_parts_of_an_image(
    filters: int, kernel: int, padding: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In plain Python, where a number beyond the work memory is an error."""
    import dask.array as da

    import xpconv.dask as module

    def loop(name: str, dtype: str) -> Any:
        place, function, _ = build._KERNELS[name]
        return getattr(importlib.import_module(f"xpconv._compiled.{place}"), function)

    monkeypatch.setattr(build, "get", loop)
    monkeypatch.setattr(build, "installed", lambda: True)
    monkeypatch.setattr("xpconv._options.find_spec", lambda name: True)
    litter(monkeypatch)
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Conv(filters, kernel, stride=stride, padding=padding, algorithm="compiled"))
    x = rng.integers(-3, 4, (1, 13, 12, 16)).astype("float32")
    parameters = model.init(rng, x.shape[1:], nn.load_library("numpy"))
    with xc.set_options(compiled=True):
        found = module.predict(model, parameters, da.from_array(x, chunks=(1, 5, 4, 16))).compute(scheduler="sync")
        np.testing.assert_array_equal(found, model.predict(parameters, x))


@pytest.mark.parametrize(("spatial", "chunk"), [((16,), 3), ((11, 21), 5), ((9, 8, 6), 4)])
def test_one_channel_in_either_layout_has_the_bits_of_the_whole(spatial: tuple[int, ...], chunk: int) -> None:
    """The stride of an axis of length 1 says nothing of where numbers lie, and no sum may depend on it."""
    import dask.array as da

    import xpconv.dask as module

    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 1, *spatial))
    w, b = rng.standard_normal((1, 1, *(5,) * len(spatial))), np.ones(1)
    model = nn.Sequential((nn.Conv(1, 5, layout="channels_first", algorithm="direct"),))
    parameters = {"conv1.weight": w, "conv1.bias": b}
    found = module.predict(model, parameters, da.from_array(x, chunks=(1, 1, *(chunk,) * len(spatial))))
    want = model.predict(parameters, x)
    np.testing.assert_array_equal(found.compute(scheduler="synchronous"), want)
    last = xc.conv(x[:, 0, ..., None].copy(), w[0, 0, ..., None, None], b, algorithm="direct")
    np.testing.assert_array_equal(want, np.moveaxis(last, -1, 1))


@pytest.mark.slow
def test_many_random_networks_have_the_bits_of_the_whole_image() -> None:
    for seed in range(10_000, 10_000 + run_size.count(0, 100, 2_000)):
        check(seed, (20, 90))


WIDE = {
    "thin": ((nn.Conv(6, 3, padding=1), nn.ReLU(), nn.MaxPool(2), nn.Conv(3, 5, padding="same")), 1),
    "transforms": ((nn.Conv(16, 3, padding=1, algorithm="winograd"), nn.Conv(4, 9, algorithm="fft")), 8),
    "strides": ((nn.Conv(9, 7, stride=2, padding=3, padding_mode="reflect"), nn.AvgPool(3, 2), nn.Conv(24, 3)), 3),
}


@pytest.mark.parametrize("name", WIDE)
def test_long_rows_are_taken_in_compact_tiles_by_predict(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tile reaches from one end of a wide image to the other, so blocks compute little beyond themselves."""
    import dask.array as da

    import xpconv.dask as module

    layers, channels = WIDE[name]
    rng, model = np.random.default_rng(0), nn.Sequential(layers)
    shape = (1, 300, 1100, channels)
    parameters, x = model.init(rng, shape[1:]), rng.standard_normal(shape).astype("float32")
    computed = []
    spots = inside.spots
    monkeypatch.setattr("xpconv._chunks.chain.spots", lambda *a: computed.append(spots(*a)) or computed[-1])
    found = module.predict(model, parameters, da.from_array(x, chunks=(1, 256, 256, channels)))
    np.testing.assert_array_equal(found.compute(scheduler="synchronous"), model.predict(parameters, x))
    assert max(spot.extent for parts in computed for spot in parts) <= 256 + 2 * LONGEST


def test_predict_without_much_workspace_has_the_bits_of_the_whole() -> None:
    """Filters are taken in blocks, which have tiles of their own."""
    import dask.array as da

    import xpconv.dask as module

    rng, model = np.random.default_rng(0), nn.Sequential(nn.Conv(256, 3, padding=1, algorithm="winograd"))
    shape = (1, 30, 34, 128)
    parameters, x = model.init(rng, shape[1:]), rng.standard_normal(shape).astype("float32")
    with xc.set_options(max_workspace=6 << 20):
        found = module.predict(model, parameters, da.from_array(x, chunks=(1, 11, 16, 64)))
        got, want = found.compute(scheduler="synchronous"), model.predict(parameters, x)
    np.testing.assert_array_equal(got, want)
    assert math.prod(found.numblocks) > 4


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular"])
def test_blocks_with_large_results_between_their_layers_go_band_by_band(mode: Any, layout: Any) -> None:
    import dask.array as da

    import xpconv.dask as module

    model = nn.Sequential(
        nn.ReLU(),
        nn.Conv(24, 5, stride=2, padding=2, padding_mode=mode, layout=layout),
        nn.ReLU(),
        nn.MaxPool(3, 2, padding=1, layout=layout),
        nn.AvgPool(2, 1, layout=layout),
        nn.Conv(3, 3, padding=1, padding_mode=mode, layout=layout),
    )
    shape, chunks = (2, 290, 310, 3), (2, 200, 256, 3)
    if layout == "channels_first":
        shape, chunks = (2, 3, 290, 310), (2, 3, 200, 256)
    rng = np.random.default_rng(1)
    parameters, x = model.init(rng, shape[1:]), rng.standard_normal(shape).astype("float32")
    given = x.copy()
    with xc.set_options(max_workspace=1 << 20):
        found = module.predict(model, parameters, da.from_array(x, chunks=chunks))
        got, want = found.compute(scheduler="synchronous"), model.predict(parameters, x)
        explained = module.explain("predict", model, parameters, da.from_array(x, chunks=chunks))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(x, given)
    blocks = [getattr(task, "func", None) for task in dict(found.__dask_graph__()).values()]
    bands = [block.settings["bands"] for block in blocks if isinstance(block, Block) and block.settings]
    assert max(map(len, bands)) > 3
    between = max(band.between for those in bands for band in those)
    # halos of ten rows of some bands' fifteen; at the border circular windows span the image
    assert 1 << 18 < between < (3 << 20 if mode != "circular" else 7 << 20)
    assert explained.worker_bytes > between + x[:, :200, :256].nbytes
