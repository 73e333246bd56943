"""Cases and their sets."""

import numpy as np
import pytest

import xpconv as xc
from bench.layers import Layer, Pool, draw, select
from bench.networks import read
from bench.peers.course import middle, scale
from bench.sets import COURSE, FIRST, LARGE, MOBILENETV2, POOL_SETS, POOLS, QUICK, QUICK_GROUPED, QUICK_POOLS, RESNET50
from bench.sets import SETS as EVERY

NAMES = [layer.name for layer in FIRST]
DILATED = Layer(2, 9, 8, 4, 6, 3, stride=2, padding="same", groups=2, dilation=2)
LAYERS = (*EVERY["all"].cases, *QUICK, *QUICK_GROUPED, DILATED)


def test_the_layers_are_the_ones_named():
    assert NAMES == [
        "8×56×56×64→64 3×3",
        "8×28×28×128→128 3×3",
        "8×56×56×64→256 1×1",
        "32×64×64×3→8 4×4",
        "8×224×224×3→64 7×7 stride 2",
    ]
    assert FIRST[0].gflop == pytest.approx(2e-9 * 8 * 56 * 56 * 64 * 64 * 9)
    assert FIRST[3].pads == ((1, 2), (1, 2))
    assert [layer.name for layer in select(FIRST, "3x3")] == NAMES[:2]
    assert select(FIRST, "->") == FIRST
    assert DILATED.name == "2×9×8×4→6 3×3 2 groups stride 2 dilation 2"


def test_the_sets_are_the_networks():
    assert {name: len(one.cases) for name, one in EVERY.items()} == {
        "first": 5,
        "resnet50": 23,
        "lenet5": 3,
        "course": 5,
        "mobilenetv2": 10,
        "convnext": 4,
        "large": 4,
        "thin": 19,
        "single": 30,
        "all": 87,
    }
    assert [name for name, one in EVERY.items() if one.loops] == ["first", "course"]
    assert sum(layer.kernel == 3 and layer.stride == 2 for layer in RESNET50) == 3
    assert all(layer.output_shape[1] == -(-layer.height // layer.stride) for layer in RESNET50)
    assert MOBILENETV2[1].name == "8×112×112×96→96 3×3 depthwise stride 2"
    assert LARGE[0].gflop == pytest.approx(2e-9 * 2 * 56 * 56 * 64 * 31 * 31)
    assert EVERY["course"].cases == COURSE
    assert len(POOLS) == 11
    assert POOL_SETS["pools"].choose(True, "MAX") == QUICK_POOLS[:1]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layers_have_the_shape_that_xpconv_gives(layer):
    assert xc.explain(layer.x_shape, layer.w_shape, **layer.keywords).flops == round(1e9 * layer.gflop)
    part = middle(layer)
    whole = part.elements * layer.batch == np.prod(layer.output_shape)
    assert 512 <= part.elements <= max(1200, layer.filters) or whole
    assert scale(layer, part) * part.elements == pytest.approx(np.prod(layer.output_shape))
    assert np.empty(layer.output_shape, bool)[part.index].size == part.elements


@pytest.mark.parametrize(
    "pool",
    [*QUICK_POOLS, Pool("max", 1, 9, 8, 3, 3, 2), Pool("max", 1, 9, 8, 3, 3, 2, more=1)],
    ids=lambda pool: pool.name,
)
def test_poolings_have_the_shape_that_xpconv_gives(pool):
    data = draw(pool)
    assert xc.max_pool(data.x, pool.window, **pool.keywords).shape == pool.output_shape == data.dz.shape


def test_the_same_arrays_are_drawn_each_time():
    for case in (QUICK[0], QUICK_POOLS[0]):
        assert np.array_equal(draw(case).x, draw(case).x)
    assert 0.5 < np.std(xc.conv(draw(QUICK[1]).x, draw(QUICK[1]).w, **QUICK[1].keywords)) < 2


@pytest.mark.needs("onnx")
def test_networks_are_read_as_the_runtime_sees_them():
    network = read("squeezenet")
    first, pool = network.cases[:2]
    assert first == Layer(1, 224, 224, 3, 64, 3, stride=2)
    assert pool == Pool("max", 1, 111, 111, 64, 3, 2)
    assert (network.count(Layer), network.count(Pool)) == (26, 4)
    assert network.cases[-1] == Pool("average", 1, 13, 13, 1000, 13, 1)
    assert network.gflop == pytest.approx(sum(case.gflop for case in network.cases if isinstance(case, Layer)))
    grouped = [case for case in read("bvlc_alexnet").cases if isinstance(case, Layer) and case.groups == 2]
    assert [case.kernel for case in grouped] == [5, 3, 3]
    assert Pool("max", 1, 12, 12, 256, 3, 2, more=1) in read("bvlc_alexnet").cases
