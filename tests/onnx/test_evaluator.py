"""The evaluator: functions, branches, operators of one's own, files, dynamic sizes, inputs and outputs left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests.onnx.runtime import packages

pytestmark = pytest.mark.needs("onnx")

FUNCTION = """
<ir_version: 10, opset_import: ["": 21, "own": 1]>
graph (float[N, 1, H, W] x) => (float[N, 1, P, Q] y) { y = own.Half(x) }
<domain: "own", opset_import: ["": 21]>
Half (x) => (y) { y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (x) }
"""
BRANCH = """
<ir_version: 10, opset_import: ["": 21]>
graph (float[1, 1, 4] x, bool largest) => (float[1, 1, 2] y) {
    y = If (largest) <
        then_branch = one () => (float[1, 1, 2] a) { a = MaxPool <kernel_shape = [2], strides = [2]> (x) },
        else_branch = two () => (float[1, 1, 2] b) { b = AveragePool <kernel_shape = [2], strides = [2]> (x) }
    >
}
"""
LEFT_OUT = """
<ir_version: 10, opset_import: ["": 21]>
graph (float[N, C, L] x, float[F, C, 3] w, int64[2] size) => (float[N, F, M] y, float[N, F, L] z, float[A, B, L] p) {
    a = Conv <auto_pad = "SAME_LOWER", strides = [2]> (x, w, "")
    y, "" = MaxPool <kernel_shape = [2]> (a)
    z = ConvTranspose <auto_pad = "SAME_UPPER", strides = [2]> (y, w, )
    p = Pad (x, size, "", axes)
}
"""
X = np.arange(4, dtype=np.float32).reshape(1, 1, 4)


def parse(text: str) -> Any:
    return packages("onnx.parser")[0].parse_model(text)


def evaluator(*arguments: Any, **keywords: Any) -> Any:
    return packages("xpconv.onnx")[0].evaluator(*arguments, **keywords)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pools of xpconv that were called."""
    calls: list[str] = []

    def watch(name: str, pool: Any) -> None:
        def watched(*arguments: Any, **keywords: Any) -> Any:
            calls.append(name)
            return pool(*arguments, **keywords)

        monkeypatch.setattr(xc, name, watched)

    for name in ("max_pool", "avg_pool"):
        watch(name, getattr(xc, name))
    return calls


def test_a_models_functions_use_them(used: list[str]) -> None:
    (y,) = evaluator(parse(FUNCTION)).run(None, {"x": X.reshape(1, 1, 2, 2)})
    assert y.tolist() == [[[[1.5]]]]
    assert used == ["avg_pool"]


@pytest.mark.parametrize(("largest", "wanted", "name"), [(True, [1, 3], "max_pool"), (False, [0.5, 2.5], "avg_pool")])
def test_branches_use_them(used: list[str], largest: bool, wanted: list[float], name: str) -> None:
    (y,) = evaluator(parse(BRANCH)).run(None, {"x": X, "largest": np.array(largest)})
    assert y.ravel().tolist() == wanted
    assert used == [name]


@pytest.mark.parametrize("text", [FUNCTION, BRANCH])
def test_operators_of_ones_own_come_first(text: str) -> None:
    from onnx.reference.op_run import OpRun

    class AveragePool(OpRun):
        op_domain = ""

        def _run(self, x: Any, **_: Any) -> Any:
            return (x[..., :1] * 0 + 7,)

    x = X.reshape(1, 1, 2, 2) if text == FUNCTION else X
    feeds = {"x": x} | ({"largest": np.array(False)} if text == BRANCH else {})
    (y,) = evaluator(parse(text), new_ops=[AveragePool]).run(None, feeds)
    assert set(y.ravel()) == {7}


def test_the_operators_go_into_onnxs_evaluator(used: list[str]) -> None:
    reference, ours = packages("onnx.reference", "xpconv.onnx")
    for operators in (ours.OPERATORS, list(ours.OPERATORS)):
        runner = reference.ReferenceEvaluator(parse(BRANCH), new_ops=operators)
        assert runner.run(None, {"x": X, "largest": np.array(True)})[0].ravel().tolist() == [1, 3]
    assert used == ["max_pool"] * 2


def test_in_onnxs_evaluator_our_conv_comes_before_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, ours = packages("onnx.reference", "xpconv.onnx")
    monkeypatch.setattr(xc, "conv", lambda *_, **__: "ours")
    runner = reference.ReferenceEvaluator(parse(OWN_WEIGHTS.replace(", b)", ")")), new_ops=ours.OPERATORS)
    (node,) = runner.rt_nodes_
    assert node._run(X, X, kernel_shape=[], strides=[], auto_pad="NOTSET", pads=[], dilations=[], group=1) == ("ours",)


def test_any_batch_and_size() -> None:
    runner = evaluator(parse(FUNCTION))
    for shape in ((1, 1, 2, 2), (3, 1, 8, 6), (0, 1, 4, 4)):
        x = np.random.default_rng(0).random(shape, np.float32)
        (y,) = runner.run(None, {"x": x})
        wanted = x.reshape(shape[0], 1, shape[2] // 2, 2, shape[3] // 2, 2).mean((3, 5))
        np.testing.assert_allclose(y, wanted, rtol=1e-6)


def test_inputs_and_outputs_that_are_left_out() -> None:
    """A pool's second output that nobody wants must not become the value of inputs that are left out."""
    model = parse(LEFT_OUT.replace(', "", axes)', ")"))
    x, w = np.ones((2, 1, 8), np.float32), np.ones((1, 1, 3), np.float32)
    y, z, p = evaluator(model).run(None, {"x": x, "w": w, "size": np.array([0, 0, 1, 0, 0, 2])})
    assert y.tolist() == [[[3, 3, 3]]] * 2
    assert z.shape == (2, 1, 6)
    assert p.shape == (2, 1, 11)


def test_paths_bytes_and_weights_beside_the_model(tmp_path: Path) -> None:
    (onnx,) = packages("onnx")
    model = parse(FUNCTION)
    onnx.save(model, tmp_path / "model.onnx")
    x = X.reshape(1, 1, 2, 2)
    for given in (tmp_path / "model.onnx", str(tmp_path / "model.onnx"), model.SerializeToString()):
        assert evaluator(given).run(None, {"x": x})[0].tolist() == [[[[1.5]]]]

    conv = parse(
        '<ir_version: 10, opset_import: ["": 21]> g (float[1, 1, 4] x) => (float[1, 1, 2] y) { y = Conv(x, w) }'
    )
    conv.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 1, 3), np.float32), "w"))
    onnx.save(conv, tmp_path / "beside.onnx", save_as_external_data=True, size_threshold=0)
    assert (tmp_path / "beside.onnx").stat().st_size < 300
    assert evaluator(tmp_path / "beside.onnx").run(None, {"x": X})[0].ravel().tolist() == [3, 6]


OWN_WEIGHTS = """
<ir_version: 10, opset_import: ["": 21]>
graph (float[N, 2, H, W] x, float[3, 2, 3, 3] w) => (float[N, 3, H, W] y) { y = Conv <pads = [1, 1, 1, 1]> (x, w, b) }
"""
WEIGHT_IN_A_NODE = """
<ir_version: 10, opset_import: ["": 21]>
graph (float[N, 1, L] x) => (float[N, 1, M] y) {
    w = Constant <value = float[1, 1, 3] {1, 2, 3}> ()
    y = Conv (x, w)
}
"""


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the images for which a convolution was prepared."""
    shapes: list[tuple[int, ...]] = []
    prepare = xc.prepare_conv

    def watched(*arguments: Any, **keywords: Any) -> Any:
        shapes.append(keywords["input_shape"])
        return prepare(*arguments, **keywords)

    monkeypatch.setattr(xc, "prepare_conv", watched)
    return shapes


def with_own_weights(w: np.ndarray, b: np.ndarray) -> Any:
    (onnx,) = packages("onnx")
    model = parse(OWN_WEIGHTS)
    model.graph.initializer.extend([onnx.numpy_helper.from_array(w, "w"), onnx.numpy_helper.from_array(b, "b")])
    return evaluator(model)


def test_a_models_own_weights_are_prepared_once_for_each_size(prepared: list[tuple[int, ...]]) -> None:
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((3, 2, 3, 3), np.float32), rng.standard_normal(3, np.float32)
    runner = with_own_weights(w, b)
    for shape in ((1, 2, 6, 5), (4, 2, 6, 5), (1, 2, 6, 5), (1, 2, 7, 7)):
        x = rng.standard_normal(shape, np.float32)
        wanted = xc.conv(x, w, b, padding=1, layout="channels_first")
        np.testing.assert_array_equal(runner.run(None, {"x": x})[0], wanted)
    assert prepared == [(1, 6, 5, 2), (1, 7, 7, 2)]  # channels last


def test_weights_that_nodes_of_the_model_hold_are_its_own_as_well(prepared: list[tuple[int, ...]]) -> None:
    model = parse(WEIGHT_IN_A_NODE)
    runner = evaluator(model)
    for _ in range(2):
        (y,) = runner.run(None, {"x": X})
        assert y.ravel().tolist() == [8, 14]
    assert prepared == [(1, 4, 1)]


MADE_WEIGHT = """
<ir_version: 10, opset_import: ["": 21]>
graph (float[N, 1, L] x, float scale) => (float[N, 1, M] y) {
    w = DequantizeLinear (q, scale)
    z = Identity (x)
    y = Conv (z, w)
}
"""


def test_weights_that_are_made_of_the_models_own_are_made_once(prepared: list[tuple[int, ...]]) -> None:
    (onnx,) = packages("onnx")
    model = parse(MADE_WEIGHT)
    quantised, scale = np.array([[[1, 2, 3]]], np.int8), np.array(2, np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(quantised, "q"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(scale, "scale"))
    runner = evaluator(model)
    made = [runner.run(None, {"x": X}, intermediate=True) for _ in range(2)]
    assert made[0]["w"] is made[1]["w"]
    assert made[1]["y"].ravel().tolist() == [16, 28]
    assert prepared == [(1, 4, 1)]
    other = runner.run(None, {"x": X, "scale": scale / 2}, intermediate=True)  # another scale makes another weight
    assert other["y"].ravel().tolist() == [8, 14]
    (again,) = runner.run(None, {"x": 2 * X})
    assert again.ravel().tolist() == [32, 56]
    assert prepared == [(1, 4, 1)]


CHAIN = """
<ir_version: 10, opset_import: ["": 21]>
graph (float[N, 2, H, W] x, float[4, 3, 2, 2] u) => (float[N, 3, I, J] d, float[N, 3, 1, 1] e, float[N, 4, P, Q] z) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    c = Relu (a)
    d = POOL (c)
    e = GLOBAL (d)
    z = Conv (d, u)
}
"""


@pytest.mark.parametrize("size", [(7, 6), (2, 1)])
@pytest.mark.parametrize("kind", ["Max", "Average", "Lp"])
def test_channels_lie_last_in_memory_from_one_operator_to_the_next(kind: str, size: tuple[int, int]) -> None:
    (onnx,) = packages("onnx")
    rng = np.random.default_rng(0)
    x, u = (rng.integers(-4, 5, shape).astype("f") for shape in ((2, 2, *size), (4, 3, 2, 2)))
    w, b = rng.integers(-4, 5, (3, 2, 3, 3)).astype("f"), rng.integers(-9, 9, 3).astype("f")
    pool = f"{kind}Pool <kernel_shape = [2, 2], pads = [1, 1, 0, 1]>"
    model = parse(CHAIN.replace("POOL", pool).replace("GLOBAL", f"Global{kind}Pool"))
    model.graph.initializer.extend([onnx.numpy_helper.from_array(w, "w"), onnx.numpy_helper.from_array(b, "b")])
    values = evaluator(model).run(None, {"x": x, "u": u}, intermediate=True)
    for name in "acd":
        assert values[name].transpose(0, 2, 3, 1).flags.c_contiguous
    first = {"layout": "channels_first"}
    a = xc.conv(x, w, b, padding=1, **first)
    options = {"stride": 1, "padding": ((1, 0), (1, 1)), **first}
    c = np.maximum(a, 0)
    d, e = {
        "Max": lambda: (xc.max_pool(c, 2, **options), values["d"].max((2, 3), keepdims=True)),
        "Average": lambda: (
            xc.avg_pool(c, 2, count_include_pad=False, **options),
            xc.avg_pool(values["d"], values["d"].shape[2:], **first),
        ),
        "Lp": lambda: (xc.lp_pool(c, 2, 2, **options), xc.lp_pool(values["d"], 2, values["d"].shape[2:], **first)),
    }[kind]()
    np.testing.assert_array_equal(values["a"], a)
    np.testing.assert_array_equal(values["d"], d)
    np.testing.assert_allclose(values["e"], e, rtol=1e-6)
    np.testing.assert_array_equal(values["z"], xc.conv(values["d"], u, **first))


def test_images_too_large_to_be_copied_are_read_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    (operators,) = packages("xpconv.onnx.convolution")
    rng = np.random.default_rng(0)
    w, b = rng.standard_normal((3, 2, 3, 3), np.float32), rng.standard_normal(3, np.float32)
    x = rng.standard_normal((2, 2, 6, 5), np.float32)
    copied = with_own_weights(w, b).run(None, {"x": x})[0]
    monkeypatch.setattr(operators, "COPIED", 0)
    monkeypatch.setattr(np, "ascontiguousarray", None)
    np.testing.assert_array_equal(with_own_weights(w, b).run(None, {"x": x})[0], copied)


def test_an_input_that_stands_for_a_weight_is_seen_each_time(prepared: list[tuple[int, ...]]) -> None:
    x, w, b = np.ones((1, 2, 4, 4), np.float32), np.ones((3, 2, 3, 3), np.float32), np.zeros(3, np.float32)
    runner = with_own_weights(w, b)
    given = 2 * w
    assert runner.run(None, {"x": x})[0].max() == 18
    assert runner.run(None, {"x": x, "w": given})[0].max() == 36
    given += 1
    assert runner.run(None, {"x": x, "w": given})[0].max() == 54
    assert runner.run(None, {"x": x})[0].max() == 18
    assert len(prepared) == 1


def test_a_node_keeps_a_few_sizes(prepared: list[tuple[int, ...]]) -> None:
    w, b = np.ones((3, 2, 3, 3), np.float32), np.zeros(3, np.float32)
    runner = with_own_weights(w, b)
    for n in range(3, 15):
        runner.run(None, {"x": np.ones((1, 2, n, n), np.float32)})
    (node,) = runner.rt_nodes_
    assert len(prepared) == 12
    assert len(node._prepared) <= 8
