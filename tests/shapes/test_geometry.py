"""Output sizes by hand, every way to say the same padding, and bad input: the same message on two backends."""

import math
import re
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import backends, oracle
from tests.backends import Backend
from tests.cases import values
from xpconv import _options
from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call
from xpconv._arrays.space import described_space
from xpconv._plan.choose import choose
from xpconv._shapes.geometry import Geometry

# n, kernel, stride, dilation, padding -> output, (before, after)
SIZES = [
    (5, 3, 1, 1, 0, 3, (0, 0)),
    (5, 3, 1, 1, "valid", 3, (0, 0)),
    (5, 3, 2, 1, "valid", 2, (0, 0)),
    (6, 3, 2, 1, "valid", 2, (0, 0)),
    (5, 3, 1, 1, 1, 5, (1, 1)),
    (5, 3, 1, 1, ((2, 0),), 5, (2, 0)),
    (5, 3, 3, 2, (1,), 1, (1, 1)),
    (5, 3, 1, 1, "same", 5, (1, 1)),
    (5, 4, 1, 1, "same", 5, (1, 2)),
    (5, 4, 1, 1, "same_lower", 5, (2, 1)),
    (6, 3, 2, 1, "same", 3, (0, 1)),
    (6, 3, 2, 1, "same_lower", 3, (1, 0)),
    (7, 3, 2, 1, "same", 4, (1, 1)),
    (7, 1, 3, 1, "same", 3, (0, 0)),  # nothing is missing
    (5, 3, 1, 3, "same", 5, (3, 3)),
    (5, 2, 2, 3, "same", 3, (1, 2)),
    (5, 3, 1, 2, "causal", 5, (4, 0)),
    (5, 3, 2, 1, "causal", 3, (2, 0)),
    (1, 3, 1, 1, 1, 1, (1, 1)),
    (1, 1, 5, 7, 0, 1, (0, 0)),
]


@pytest.mark.parametrize(("n", "kernel", "stride", "dilation", "padding", "output", "pair"), SIZES)
def test_output_size(n: int, kernel: int, stride: int, dilation: int, padding: Any, output: int, pair: tuple) -> None:
    assert oracle.padding_pairs(padding, (n,), (kernel,), (stride,), (dilation,)) == [pair]
    x, w = values((2, n, 1), 0, "float64", -3, 3), values((kernel, 1, 1), 1, "float64", -3, 3)
    options = {"stride": stride, "dilation": dilation}
    z = xc.conv(x, w, padding=padding, **options)
    assert z.shape == (2, output, 1)
    np.testing.assert_array_equal(z, xc.conv(x, w, padding=(pair,), **options))
    np.testing.assert_array_equal(z, oracle.conv(x, w, padding=padding, **options))
    assert xc.avg_pool(x, kernel, padding=padding, **options).shape == (2, output, 1)
    assert xc.max_pool(x, (kernel,), padding=padding, **options).shape == (2, output, 1)


# n, window, stride, padding, dilation -> output with ceil_mode, and without
CEIL = [
    (5, 2, 2, 0, 1, 3, 2),
    (6, 2, 2, 0, 1, 3, 3),
    (4, 3, 2, 0, 1, 2, 1),
    (3, 2, 3, ((0, 1),), 1, 1, 1),  # a second window would start at 3, beyond the input
    (4, 2, 3, ((0, 1),), 1, 2, 2),  # it starts at 3, inside
    (3, 2, 4, 1, 1, 1, 1),  # it would start at 3 once the leading padding is taken off
    (1, 3, 2, 2, 1, 2, 2),
    (6, 3, 4, ((2, 2),), 1, 2, 2),
    (6, 2, 2, 1, 3, 3, 3),
    (5, 2, 2, 1, 3, 3, 2),
    (2, 3, 2, 0, 1, 1, None),  # without ceil_mode there is no output
]


@pytest.mark.parametrize(("n", "window", "stride", "padding", "dilation", "ceil", "floor"), CEIL)
def test_ceil_mode(n: int, window: int, stride: int, padding: Any, dilation: int, ceil: int, floor: int | None) -> None:
    x = values((1, n, 1), 0, "float64", -3, 3)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    for pool in (xc.max_pool, xc.avg_pool):
        assert pool(x, window, ceil_mode=True, **options).shape == (1, ceil, 1)
        if floor is None:
            with pytest.raises(ValueError, match=f"^{pool.__name__}: the output would be empty"):
                pool(x, window, **options)
        else:
            assert pool(x, window, **options).shape == (1, floor, 1)


def test_numbers_may_come_from_numpy_and_in_lists() -> None:
    x, w = values((2, 6, 7, 2), 0, "float32", -3, 3), values((3, 2, 2, 3), 1, "float32", -3, 3)
    wanted = xc.conv(x, w, stride=(2, 1), padding=((1, 0), (2, 1)), dilation=2)
    got = xc.conv(x, w, stride=[2, np.int64(1)], padding=[[1, 0], (2, np.int64(1))], dilation=np.int32(2))
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(xc.max_pool(x, [2, 3]), xc.max_pool(x, (2, 3)))
    np.testing.assert_array_equal(xc.max_pool(x, np.int64(2), stride=np.uint8(1)), xc.max_pool(x, 2, stride=1))


X = values((2, 5, 6, 4), 0, "float32")
W = values((3, 3, 2, 6), 1, "float32")  # two groups
DZ = values((2, 3, 4, 6), 2, "float32")
Y = values((2, 4, 5, 4), 3, "float32")

G2 = {"groups": 2}
# what is wrong -> (function, arguments, keywords, pattern of the message)
BAD: dict[str, tuple[str, tuple, dict[str, Any], str]] = {
    "channels": (
        "conv",
        (X, W),
        {},
        r"the kernel has 2 input channels, x has 4; got x\.shape=\(2, 5, 6, 4\), w\.shape=",
    ),
    "channels of groups": ("conv", (X, W), {"groups": 4}, r"2 input channels x 4 groups, x has 4"),
    "filters and groups": ("conv", (X, W[..., :5]), G2, r"5 output channels.* 2 groups"),
    "groups 0": ("conv", (X, W), {"groups": 0}, r"groups is a positive integer; .*groups=0"),
    "groups 1.0": ("conv", (X, W), {"groups": 1.0}, r"groups is a positive integer; .*groups=1\.0"),
    "stride 0": ("conv", (X, W), {**G2, "stride": 0}, r"stride is positive; got stride=0"),
    "stride (2, -1)": ("conv", (X, W), {**G2, "stride": (2, -1)}, r"stride is positive; got stride=\(2, -1\)"),
    "stride for 3 axes": ("conv", (X, W), {**G2, "stride": (1, 2, 3)}, r"stride has 3 entries.* 2 spatial axes"),
    "stride 1.5": ("conv", (X, W), {**G2, "stride": 1.5}, r"stride is an integer .*stride=1\.5"),
    "dilation 0": ("conv", (X, W), {**G2, "dilation": (1, 0)}, r"dilation is positive; got dilation=\(1, 0\)"),
    "dilation a word": ("conv", (X, W), {**G2, "dilation": "2"}, r"dilation is an integer .*dilation='2'"),
    "padding negative": ("conv", (X, W), {**G2, "padding": -1}, r"padding is never negative; got padding="),
    "padding a negative pair": ("conv", (X, W), {**G2, "padding": ((0, 0), (1, -1))}, r"padding is never negative"),
    "padding a word": ("conv", (X, W), {**G2, "padding": "full"}, r"padding .*valid.*same.*causal.*'full'"),
    "padding for 3 axes": ("conv", (X, W), {**G2, "padding": (1, 1, 1)}, r"padding .*2 .*padding=\(1, 1, 1\)"),
    "padding mixed": ("conv", (X, W), {**G2, "padding": (1, (1, 2))}, r"padding .*padding=\(1, \(1, 2\)\)"),
    "padding a triple": ("conv", (X, W), {**G2, "padding": ((1, 1, 1), (0, 0, 0))}, r"padding .*\(1, 1, 1\)"),
    "padding 0.5": ("conv", (X, W), {**G2, "padding": 0.5}, r"padding .*0\.5"),
    "padding_mode": ("conv", (X, W), {**G2, "padding_mode": "mirror"}, r"padding_mode is one of 'zeros'.*'mirror'"),
    "layout": ("conv", (X, W), {**G2, "layout": "NHWC"}, r"layout is one of 'channels_last', 'channels_first'.*'NHWC'"),
    "algorithm": (
        "conv",
        (X, W),
        {**G2, "algorithm": "im2col"},
        r"algorithm is one of 'auto', 'direct', 'gemm'.*'im2col'",
    ),
    "no output": ("conv", (X[:, :2], W), G2, r"the output would be empty"),
    "no output, dilated": ("conv", (X, W), {**G2, "dilation": 3}, r"the output would be empty"),
    "empty axis": ("conv", (X[:, :0], W), {**G2, "padding": 3}, r"x\.shape has an empty axis; only the batch"),
    "empty channels": ("conv", (X[..., :0], W), {}, r"x\.shape has an empty axis"),
    "empty kernel": ("conv", (X, W[:0]), G2, r"w\.shape has an empty axis"),
    "rank": ("conv", (X[0], W), G2, r"x\.shape has 3 axes, with 2 spatial axes it has 4"),
    "rank of w": ("conv", (X, W[0, 0]), {}, r"w\.shape has 2 axes"),
    "bias": ("conv", (X, W, X[0, 0, 0]), G2, r"b.*\(4,\).*6|b.*6.*\(4,\)"),
    "dz": ("conv_vjp", (DZ[:, :2], X, W), G2, r"dz.*\(2, 2, 4, 6\)"),
    "dz of input_grad": ("conv_input_grad", (DZ[:1], W, (2, 5, 6, 4)), G2, r"dz.*\(1, 3, 4, 6\)"),
    "input_shape": ("conv_input_grad", (DZ, W, (5, 6, 4)), G2, r"input_shape has 3 axes, with 2 spatial axes it has 4"),
    "input_shape, channels": ("conv_input_grad", (DZ, W, (2, 5, 6, 3)), G2, r"2 input channels x 2 groups.* 3"),
    "kernel_shape": ("conv_weight_grad", (DZ, X, (3, 3)), G2, r"kernel_shape has 2 axes"),
    "kernel_shape, filters": ("conv_weight_grad", (DZ, X, (3, 3, 2, 4)), G2, r"dz.*\(2, 3, 4, 6\)"),
    "window 0": ("max_pool", (X, 0), {}, r"window is positive; got window=0"),
    "window for 3 axes": ("max_pool", (X, (2, 2, 2)), {}, r"window has 3 entries.* 2 spatial axes"),
    "window 2.0": ("max_pool", (X, 2.0), {}, r"window is an integer .*window=2\.0"),
    "pool beyond input": ("max_pool", (X, 6), {}, r"the output would be empty"),
    "pool padding": ("max_pool", (X, 2), {"padding": 2}, r"padding is smaller than the window's span.*padding=2"),
    "pool padding, one side": (
        "avg_pool",
        (X, 3),
        {"padding": ((0, 3), (0, 0))},
        r"padding is smaller than the window",
    ),
    "pool rank": ("avg_pool", (X[0, 0], 2), {}, r"x\.shape has 2 axes"),
    "pool layout": ("avg_pool", (X, 2), {"layout": "last"}, r"layout is one of .*'last'"),
    "ties": (
        "max_pool_vjp",
        (Y, X, 2),
        {"stride": 1, "ties": "last"},
        r"ties is one of 'first', 'all', 'split'.*'last'",
    ),
    "dy": ("max_pool_vjp", (Y, X, 2), {}, r"dy.*\(2, 4, 5, 4\)"),
    "dy of avg_pool": ("avg_pool_vjp", (Y, (2, 5, 6, 4), 2), {}, r"dy.*\(2, 4, 5, 4\)"),
    "dy, input_shape": ("avg_pool_vjp", (Y, (2, 5, 4), 2), {"stride": 1}, r"input_shape|dy"),
    "pad a word": ("pad", (X, "same"), {}, r"padding .*'same'"),
    "pad negative": ("pad", (X, (-1, 0)), {}, r"padding is never negative"),
    "pad for 1 axis": ("pad", (X, ((1, 1),)), {}, r"padding .*padding=\(\(1, 1\),\)"),
    "pad mode": ("pad", (X, 1), {"mode": "wrap"}, r"mode is one of 'zeros'.*'wrap'"),
}


def complaint(backend: Backend, function: str, arguments: tuple, options: dict[str, Any]) -> str:
    """Call, and give the text of the ValueError."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers compare the whole text
        backend.call(getattr(xc, function), *arguments, **options)
    assert type(caught.value) is ValueError
    return str(caught.value)


@pytest.mark.parametrize("other", ["strict-device1", "torch"])
@pytest.mark.parametrize("wrong", BAD)
def test_bad_input(numpy_backend: Backend, wrong: str, other: str) -> None:
    function, arguments, options, pattern = BAD[wrong]
    text = complaint(numpy_backend, function, arguments, options)
    assert re.match(rf"{function}: (.*)", text)
    assert re.search(pattern, text), text
    assert complaint(backends.load(other), function, arguments, options) == text


def test_a_named_algorithm_is_refused_with_the_reason_or_obeyed(numpy_backend: Backend) -> None:
    """Nothing is replaced in silence: an algorithm that cannot serve the case says why."""
    for name in ("winograd", "fft"):
        with pytest.raises(ValueError, match=rf"^conv: .*'?{name}'?.+"):
            numpy_backend.call(xc.conv, X, W, groups=2, stride=2, algorithm=name)
    for name in ("direct", "gemm"):
        assert xc.explain(X.shape, W.shape, groups=2, stride=2, algorithm=name).algorithm == name


def test_only_tiles_shared_among_cores_are_small_for_the_sake_of_many() -> None:
    """On a GPU one tile runs at a time, and its columns may fill a second-level cache."""
    geometry = Geometry(64, 64, 64, 1, (56, 56), (3, 3), (56, 56), (1, 1), (1, 1), ((1, 1), (1, 1)))
    tiles = {}
    for device in ("cpu", "cuda"):
        space, dtype = described_space("conv", device, "float32")
        arithmetic = Arithmetic.of(space.xp, dtype, dtype, double=True)
        call = Call("conv", space, arithmetic, "channels_last", _options.Options(64 << 20, 2))
        tiles[space.traits.name] = choose(call, geometry, "gemm").tile
    bytes_of_columns = {name: 4 * 9 * 64 * math.prod(tile) for name, tile in tiles.items()}
    assert bytes_of_columns["numpy"] < 4 << 20
    assert 12 << 20 < bytes_of_columns["cupy"] < 64 << 20
