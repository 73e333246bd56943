"""The oracle against PyTorch and ONNX Runtime, where they have the operation, and against a few results by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests import oracle
from tests.cases import CONV, POOL, Conv, Pool
from tests.oracle import by_slices


def conv_arguments(case: Conv) -> tuple[Conv, dict[str, np.ndarray]]:
    """The case channels first, as PyTorch and ONNX want it, with float64 data of whole numbers."""
    first = replace(case, layout="channels_first")
    return first, first.data("float64", seed=3)


def by_torch(case: Conv, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Convolve with PyTorch: pad by hand, so that every padding form is covered, then differentiate."""
    torch = pytest.importorskip("torch")
    x, w, dz = (torch.tensor(arrays[name], requires_grad=name != "dz") for name in ("x", "w", "dz"))
    b = None if arrays["b"] is None else torch.tensor(arrays["b"], requires_grad=True)
    pads = [side for pair in reversed(case.sites.pads) for side in pair]
    padded = torch.nn.functional.pad(x, pads)
    function = getattr(torch.nn.functional, f"conv{len(case.kernel)}d")
    z = function(padded, w, b, stride=case.stride, dilation=case.dilation, groups=case.groups)
    z.backward(dz)
    db = dz.sum((0, *range(2, dz.ndim))) if b is None else b.grad
    return tuple(a.detach().numpy() for a in (z, x.grad, w.grad, db))


@pytest.mark.parametrize("name", [name for name in CONV if not name.endswith("-first")])
def test_convolution_is_pytorchs(name: str) -> None:
    case, arrays = conv_arguments(CONV[name])
    z, dx, dw, db = by_torch(case, arrays)
    np.testing.assert_array_equal(oracle.conv(arrays["x"], arrays["w"], arrays["b"], **case.options), z)
    for mine, theirs in zip(
        oracle.conv_vjp(arrays["dz"], arrays["x"], arrays["w"], **case.options), (dx, dw, db), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_complex_gradients_are_pytorchs() -> None:
    case = replace(CONV["strides-differ"], layout="channels_first")
    arrays = case.data("complex128", whole=False)
    z, dx, dw, db = by_torch(case, arrays)
    np.testing.assert_allclose(oracle.conv(arrays["x"], arrays["w"], arrays["b"], **case.options), z, rtol=1e-12)
    for mine, theirs in zip(
        oracle.conv_vjp(arrays["dz"], arrays["x"], arrays["w"], **case.options), (dx, dw, db), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def by_onnx(operator: str, inputs: list[np.ndarray], **attributes: Any) -> np.ndarray:
    """Run one operator in ONNX Runtime, on float32, and give its first result."""
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
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


@pytest.mark.parametrize("name", ["even-kernel-same", "even-kernel-same-lower", "stride-2-same-odd", "1d-depthwise"])
def test_same_is_onnxs_auto_pad(name: str) -> None:
    case, arrays = conv_arguments(replace(CONV[name], bias=False))
    rank = len(case.size)
    z = by_onnx(
        "Conv",
        [arrays["x"], arrays["w"]],
        auto_pad=AUTO_PAD[case.padding],
        strides=oracle.per_axis(case.stride, rank),
        group=case.groups,
    )
    np.testing.assert_array_equal(oracle.conv(arrays["x"], arrays["w"], **case.options), z)


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
    return all(lo == hi and lo <= k // 2 for (lo, hi), k in zip(case.sites.pads, window, strict=True))


SYMMETRIC = [name for name, case in POOL.items() if symmetric(case) and not name.endswith("-first") and case.batch]


@pytest.mark.parametrize("name", SYMMETRIC)
def test_max_pooling_is_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    case = replace(POOL[name], layout="channels_first")
    arrays = case.data("float64")  # whole numbers: many ties
    arrays["x"].flat[5] = np.nan
    x = torch.tensor(arrays["x"], requires_grad=True)
    options = {k: v for k, v in case.options.items() if k not in ("layout", "padding")}
    y, indices = getattr(torch.nn.functional, f"max_pool{len(case.size)}d")(
        x, case.window, padding=[lo for lo, _ in case.sites.pads], return_indices=True, **options
    )
    mine, at = oracle.max_pool(arrays["x"], case.window, **case.options)
    np.testing.assert_array_equal(mine, y.detach().numpy())
    np.testing.assert_array_equal(at, indices.numpy())
    y.backward(torch.tensor(arrays["dy"]))
    np.testing.assert_array_equal(
        oracle.max_pool_vjp(arrays["dy"], arrays["x"], case.window, **case.options), x.grad.numpy()
    )


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("name", [name for name in SYMMETRIC if POOL[name].dilation == 1])
def test_average_pooling_is_pytorchs(name: str, count_include_pad: bool) -> None:
    torch = pytest.importorskip("torch")
    case = replace(POOL[name], layout="channels_first", count_include_pad=count_include_pad)
    arrays = case.data("float64")
    x = torch.tensor(arrays["x"], requires_grad=True)
    y = getattr(torch.nn.functional, f"avg_pool{len(case.size)}d")(
        x,
        case.window,
        stride=case.stride,
        padding=[lo for lo, _ in case.sites.pads],
        ceil_mode=case.ceil_mode,
        count_include_pad=count_include_pad,
    )
    np.testing.assert_allclose(oracle.avg_pool(arrays["x"], case.window, **case.avg_options), y.detach(), rtol=1e-14)
    y.backward(torch.tensor(arrays["dy"]))
    dx = oracle.avg_pool_vjp(arrays["dy"], case.x_shape, case.window, **case.avg_options)
    np.testing.assert_allclose(dx, x.grad, rtol=1e-14, atol=1e-15)


# ONNX Runtime knows unequal padding; its ceil_mode is left to PyTorch, whose rule is the contract's
ONNX = [name for name, case in POOL.items() if not case.ceil_mode and case.batch and not name.endswith("-first")]


@pytest.mark.parametrize("name", [name for name in ONNX if name != "no-tap-inside"])
def test_pooling_with_unequal_padding_is_onnxs(name: str) -> None:
    case = replace(POOL[name], layout="channels_first")
    x = case.data("float32")["x"]
    rank = len(case.size)
    attributes = {
        "kernel_shape": oracle.per_axis(case.window, rank),
        "strides": oracle.per_axis(case.window if case.stride is None else case.stride, rank),
        "dilations": oracle.per_axis(case.dilation, rank),
        "pads": [side for sides in zip(*case.sites.pads, strict=True) for side in sides],
    }
    y = by_onnx("MaxPool", [x], **attributes)
    np.testing.assert_array_equal(oracle.max_pool(x, case.window, **case.options)[0], y)
    for count_include_pad in (False, True):
        y = by_onnx("AveragePool", [x], count_include_pad=int(count_include_pad), **attributes)
        mine = oracle.avg_pool(x, case.window, **{**case.avg_options, "count_include_pad": count_include_pad})
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


@pytest.mark.parametrize("name", [name for name in CONV if not name.endswith("-first")])
def test_convolution_by_slices_is_the_oracles(name: str) -> None:
    case = replace(CONV[name], bias=False)
    arrays, expected = case.data(), case.expected()
    options = {k: v for k, v in case.options.items() if k != "layout"}
    for got, key in zip(
        by_slices.conv(arrays["dz"], arrays["x"], arrays["w"], **options), ("z", "dx", "dw"), strict=True
    ):
        np.testing.assert_array_equal(got, expected[key])


@pytest.mark.parametrize("name", [name for name in POOL if not name.endswith("-first")])
def test_pooling_by_slices_is_the_oracles(name: str) -> None:
    case = POOL[name]
    x, dy = case.data().values()
    options = {k: v for k, v in case.options.items() if k != "layout"}
    y, indices, dx = by_slices.max_pool(dy, x, case.window, **options)
    expected, at = oracle.max_pool(x, case.window, **options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, at)
    np.testing.assert_array_equal(dx, oracle.max_pool_vjp(dy, x, case.window, **options))
    for count_include_pad in (True, False):
        y, dx = by_slices.avg_pool(dy, x, case.window, count_include_pad, **options)
        more = {**options, "count_include_pad": count_include_pad}
        np.testing.assert_allclose(y, oracle.avg_pool(x, case.window, **more), rtol=1e-14)
        np.testing.assert_allclose(dx, oracle.avg_pool_vjp(dy, x.shape, case.window, **more), rtol=1e-14, atol=1e-15)
