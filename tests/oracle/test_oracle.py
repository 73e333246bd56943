"""The oracle against PyTorch and ONNX Runtime, where they have the operation, and against a few results by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests import cases, oracle
from tests.cases import CONV, POOL, arrays, sites
from tests.oracle import by_slices
from xpconv.verify.catalogue.setups import Conv, Pool

# small enough for loops, in one layout
CONVS = {
    name: case
    for name, case in CONV.items()
    if case.layout == "channels_last" and case.padding_mode == "zeros" and case.dtype is None and case.filters < 8
}
POOLS = {name: case for name, case in POOL.items() if case.layout == "channels_last" and case.channels < 16}


def conv_arguments(case: Conv) -> tuple[Conv, dict[str, np.ndarray]]:
    """The case channels first, as PyTorch and ONNX want it, with float64 data of whole numbers."""
    first = replace(case, layout="channels_first")
    return first, arrays(first, "float64", seed=3)


def by_torch(case: Conv, a: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Convolve with PyTorch: pad by hand, so that every padding form is covered, then differentiate."""
    import torch

    x, w, dz = (torch.tensor(a[name], requires_grad=name != "dz") for name in ("x", "w", "dz"))
    b = None if a["b"] is None else torch.tensor(a["b"], requires_grad=True)
    pads = [side for pair in reversed(sites(case).pads) for side in pair]
    padded = torch.nn.functional.pad(x, pads)
    function = getattr(torch.nn.functional, f"conv{len(case.kernel)}d")
    z = function(padded, w, b, stride=case.stride, dilation=case.dilation, groups=case.groups)
    z.backward(dz)
    db = dz.sum((0, *range(2, dz.ndim))) if b is None else b.grad
    return tuple(found.detach().numpy() for found in (z, x.grad, w.grad, db))


@pytest.mark.needs("torch")
@pytest.mark.parametrize("name", CONVS)
def test_convolution_is_pytorchs(name: str) -> None:
    case, a = conv_arguments(CONVS[name])
    z, dx, dw, db = by_torch(case, a)
    np.testing.assert_array_equal(oracle.conv(a["x"], a["w"], a["b"], **case.options()), z)
    for mine, theirs in zip(oracle.conv_vjp(a["dz"], a["x"], a["w"], **case.options()), (dx, dw, db), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.needs("torch")
def test_complex_gradients_are_pytorchs() -> None:
    case = replace(CONV["strides-differ"], layout="channels_first")
    a = arrays(case, "complex128", exact=False)
    z, dx, dw, db = by_torch(case, a)
    np.testing.assert_allclose(oracle.conv(a["x"], a["w"], a["b"], **case.options()), z, rtol=1e-12)
    for mine, theirs in zip(oracle.conv_vjp(a["dz"], a["x"], a["w"], **case.options()), (dx, dw, db), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def by_onnx(operator: str, inputs: list[np.ndarray], **attributes: Any) -> np.ndarray:
    """Run one operator in ONNX Runtime, on float32, and give its first result."""
    import onnx
    import onnxruntime as runtime

    kind = onnx.TensorProto.FLOAT
    names = [f"in{i}" for i in range(len(inputs))]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, names, ["out"], **attributes)],
        "graph",
        [
            onnx.helper.make_tensor_value_info(name, kind, array.shape)
            for name, array in zip(names, inputs, strict=True)
        ],
        [onnx.helper.make_tensor_value_info("out", kind, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {n: a.astype(np.float32) for n, a in zip(names, inputs, strict=True)})[0]


AUTO_PAD = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER"}


@pytest.mark.needs("onnx", "onnxruntime")
@pytest.mark.parametrize("name", ["same-even-kernel", "same-lower", "same-stride-2", "1d-depthwise"])
def test_same_is_onnxs_auto_pad(name: str) -> None:
    case, a = conv_arguments(replace(CONV[name], bias=False))
    rank = len(case.size)
    z = by_onnx(
        "Conv",
        [a["x"], a["w"]],
        auto_pad=AUTO_PAD[case.padding],
        strides=oracle.per_axis(case.stride, rank),
        group=case.groups,
    )
    np.testing.assert_array_equal(oracle.conv(a["x"], a["w"], **case.options()), z)


def test_stride_2_same_lower_by_hand() -> None:
    """Of one missing pixel, the leading side gets it."""
    x = np.arange(1.0, 7.0).reshape(1, 6, 1)
    w = np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)
    lower = oracle.conv(x, w, stride=2, padding="same_lower").ravel()
    upper = oracle.conv(x, w, stride=2, padding="same").ravel()
    assert lower.tolist() == [210.0, 432.0, 654.0]
    assert upper.tolist() == [321.0, 543.0, 65.0]


def symmetric(case: Pool) -> bool:
    """Whether PyTorch can express the padding: the same on both sides, at most half of the window."""
    window = oracle.per_axis(case.window, len(case.size))
    return all(lo == hi and lo <= k // 2 for (lo, hi), k in zip(sites(case).pads, window, strict=True))


SYMMETRIC = [name for name, case in POOLS.items() if symmetric(case) and case.batch]


@pytest.mark.needs("torch")
@pytest.mark.parametrize("name", SYMMETRIC)
def test_max_pooling_is_pytorchs(name: str) -> None:
    import torch

    case = replace(POOLS[name], layout="channels_first")
    a, options = arrays(case, "float64"), case.options()  # whole numbers: many ties
    a["x"].flat[5] = np.nan
    x = torch.tensor(a["x"], requires_grad=True)
    theirs = {k: v for k, v in options.items() if k not in ("layout", "padding")}
    y, indices = getattr(torch.nn.functional, f"max_pool{len(case.size)}d")(
        x, case.window, padding=[lo for lo, _ in sites(case).pads], return_indices=True, **theirs
    )
    mine, at = oracle.max_pool(a["x"], case.window, **options)
    np.testing.assert_array_equal(mine, y.detach().numpy())
    np.testing.assert_array_equal(at, indices.numpy())
    y.backward(torch.tensor(a["dy"]))
    np.testing.assert_array_equal(oracle.max_pool_vjp(a["dy"], a["x"], case.window, **options), x.grad.numpy())


@pytest.mark.needs("torch")
@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("name", [name for name in SYMMETRIC if POOLS[name].dilation == 1])
def test_average_pooling_is_pytorchs(name: str, count_include_pad: bool) -> None:
    import torch

    case = replace(POOLS[name], layout="channels_first")
    a, options = arrays(case, "float64"), {**case.options(), "count_include_pad": count_include_pad}
    x = torch.tensor(a["x"], requires_grad=True)
    y = getattr(torch.nn.functional, f"avg_pool{len(case.size)}d")(
        x,
        case.window,
        stride=case.stride,
        padding=[lo for lo, _ in sites(case).pads],
        ceil_mode=case.ceil_mode,
        count_include_pad=count_include_pad,
    )
    np.testing.assert_allclose(oracle.avg_pool(a["x"], case.window, **options), y.detach(), rtol=1e-14)
    y.backward(torch.tensor(a["dy"]))
    dx = oracle.avg_pool_vjp(a["dy"], a["x"].shape, case.window, **options)
    np.testing.assert_allclose(dx, x.grad, rtol=1e-14, atol=1e-15)


def onnxs(case: Pool) -> bool:
    """Whether ONNX Runtime takes the padding, which is below its kernel; ceil_mode's rule is PyTorch's."""
    window = oracle.per_axis(case.window, len(case.size))
    narrow = all(max(pair) < k for pair, k in zip(sites(case).pads, window, strict=True))
    return narrow and not case.ceil_mode and case.batch > 0


@pytest.mark.needs("onnx", "onnxruntime")
@pytest.mark.parametrize("name", [name for name, case in POOLS.items() if onnxs(case)])
def test_pooling_with_unequal_padding_is_onnxs(name: str) -> None:
    case = replace(POOLS[name], layout="channels_first")
    x, options, rank = arrays(case)["x"], case.options(), len(case.size)
    attributes = {
        "kernel_shape": oracle.per_axis(case.window, rank),
        "strides": oracle.per_axis(case.window if case.stride is None else case.stride, rank),
        "dilations": oracle.per_axis(case.dilation, rank),
        "pads": [side for sides in zip(*sites(case).pads, strict=True) for side in sides],
    }
    y = by_onnx("MaxPool", [x], **attributes)
    np.testing.assert_array_equal(oracle.max_pool(x, case.window, **options)[0], y)
    for count_include_pad in (False, True):
        y = by_onnx("AveragePool", [x], count_include_pad=int(count_include_pad), **attributes)
        mine = oracle.avg_pool(x, case.window, count_include_pad=count_include_pad, **options)
        np.testing.assert_allclose(mine, y, rtol=2.0**-22, atol=2.0**-22)


def test_ties_by_hand() -> None:
    x = np.array([[3.0, 3.0], [1.0, 3.0]]).reshape(1, 2, 2, 1)
    dy = np.array(6.0).reshape(1, 1, 1, 1)
    for ties, expected in {"first": [6, 0, 0, 0], "all": [6, 6, 0, 6], "split": [2, 2, 0, 2]}.items():
        assert oracle.max_pool_vjp(dy, x, 2, ties=ties).ravel().tolist() == expected
        with_nan = np.array([[3.0, np.nan], [np.nan, 3.0]]).reshape(1, 2, 2, 1)
        assert oracle.max_pool_vjp(dy, with_nan, 2, ties=ties).ravel().tolist() == [0, 6, 0, 0]


def test_window_without_a_tap_by_hand() -> None:
    """Size 1, padding 2, window 2, dilation 2: the window at 1 looks at -1 and 1, both outside."""
    x = np.full((1, 1, 1), 5.0)
    options = {"stride": 1, "padding": 2, "dilation": 2}
    y, indices = oracle.max_pool(x, 2, **options)
    assert y.ravel().tolist() == [5.0, -np.inf, 5.0]
    assert indices.ravel().tolist() == [0, -1, 0]
    assert oracle.max_pool(x.astype(np.int8), 2, **options)[0].ravel().tolist() == [5, -128, 5]
    assert oracle.avg_pool(x, 2, count_include_pad=False, **options).ravel().tolist() == [5.0, 0.0, 5.0]
    assert oracle.avg_pool(x, 2, **options).ravel().tolist() == [2.5, 0.0, 2.5]


def test_integers_do_not_overflow() -> None:
    x = np.full((1, 4, 1), 100, np.int8)
    assert oracle.conv(x, np.full((4, 1, 1), 100, np.int8)).tolist() == [[[40_000]]]


def test_pad_by_hand() -> None:
    x = np.array([[1, 2], [3, 4]]).reshape(1, 2, 2, 1)
    assert oracle.pad(x, ((1, 0), (0, 2)))[0, ..., 0].tolist() == [[0, 0, 0, 0], [1, 2, 0, 0], [3, 4, 0, 0]]
    assert oracle.pad(oracle.to_first(x), 1, layout="channels_first").shape == (1, 1, 4, 4)


@pytest.mark.parametrize("name", CONVS)
def test_convolution_by_slices_is_the_oracles(name: str) -> None:
    case = CONVS[name]
    a, wanted = arrays(case), cases.expected(replace(case, bias=False))
    for got, key in zip(by_slices.conv(a["dz"], a["x"], a["w"], **case.options()), ("z", "dx", "dw"), strict=True):
        np.testing.assert_array_equal(got, wanted[key])


@pytest.mark.parametrize("name", POOLS)
def test_pooling_by_slices_is_the_oracles(name: str) -> None:
    case = POOLS[name]
    options = case.options()
    x, dy = arrays(case).values()
    y, indices, dx = by_slices.max_pool(dy, x, case.window, **options)
    wanted, at = oracle.max_pool(x, case.window, **options)
    np.testing.assert_array_equal(y, wanted)
    np.testing.assert_array_equal(indices, at)
    np.testing.assert_array_equal(dx, oracle.max_pool_vjp(dy, x, case.window, **options))
    for count_include_pad in (True, False):
        y, dx = by_slices.avg_pool(dy, x, case.window, count_include_pad, **options)
        more = {**options, "count_include_pad": count_include_pad}
        np.testing.assert_allclose(y, oracle.avg_pool(x, case.window, **more), rtol=1e-14)
        np.testing.assert_allclose(dx, oracle.avg_pool_vjp(dy, x.shape, case.window, **more), rtol=1e-14, atol=1e-15)
