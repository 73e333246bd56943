"""The nine networks that the package onnx brings, with its published outputs and with ONNX Runtime, layer by layer.

Their weights are constants, made by the models themselves, and so are most of their outputs: 1,000 times 0.001. What
shows a wrong convolution is the second test, which gives every layer random numbers.

The reference evaluator takes BatchNormalization of opset 9 for one that trains, so that its DenseNet differs from the
published output; the test gives it that operator as the opset has it. In SqueezeNet it takes Softmax over an axis of
size 1, which makes every output 1; and the softmax that is meant is one of numbers near 1e10, whose rounding errors are
in the hundreds: what the published output says of them is that they are equal.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpconv as xc
from bench.networks import LIGHT, NAMES
from tests.onnx.runtime import by_runtime, by_us, packages
from xpconv.testing import assert_within_bound

pytestmark = pytest.mark.needs("onnx")


def path(name: str) -> Path:
    (onnx,) = packages("onnx")
    return Path(onnx.__file__).parent / LIGHT / f"light_{name}.onnx"


def image(model: Any) -> dict[str, np.ndarray]:
    """The input of ONNX's own test: the numbers from 0 to 1 in order."""
    own = {tensor.name for tensor in model.graph.initializer}
    (value,) = (value for value in model.graph.input if value.name not in own)
    shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
    size = int(np.prod(shape))
    return {value.name: (np.arange(size).reshape(shape) / size).astype(np.float32)}


def batch_normalization_of_opset_9() -> Any:
    (op_run,) = packages("onnx.reference.op_run")

    class BatchNormalization(op_run.OpRun):
        op_domain = ""

        def _run(self, x: Any, *others: Any, epsilon: float = 1e-5, **_: Any) -> Any:
            scale, bias, mean, variance = (a.reshape(-1, 1, 1) for a in others)
            return ((scale * (x - mean) / np.sqrt(variance + epsilon) + bias).astype(x.dtype),)

    return BatchNormalization


QUICK = [
    pytest.param(name, marks=pytest.mark.slow) if name == "vgg19" else name for name in NAMES if name != "squeezenet"
]


@pytest.mark.parametrize("name", QUICK)
def test_published_output(name: str) -> None:
    onnx, ours = packages("onnx", "xpconv.onnx")
    model = onnx.load(path(name))
    (y,) = ours.evaluator(model, new_ops=[batch_normalization_of_opset_9()]).run(None, image(model))
    published = path(name).with_name(f"light_{name}_output_0.pb").read_bytes()
    wanted = onnx.numpy_helper.to_array(onnx.TensorProto.FromString(published))
    assert y.dtype == wanted.dtype
    np.testing.assert_allclose(y, wanted, rtol=2e-3 if name == "densenet121" else 1e-3, atol=1e-7)  # ONNX's own


def test_squeezenet_up_to_its_softmax() -> None:
    onnx, ours = packages("onnx", "xpconv.onnx")
    model = onnx.load(path("squeezenet"))
    values = ours.evaluator(model).run(None, image(model), intermediate=True)
    *_, last = model.graph.node
    assert last.op_type == "Softmax"
    logits = values[last.input[0]]
    assert logits.shape == (1, 1000, 1, 1)
    np.testing.assert_allclose(logits, logits.max(), rtol=1e-6)


@pytest.mark.parametrize("name", ["shufflenet", "squeezenet", "bvlc_alexnet"])
@pytest.mark.slow
def test_plain_reference(name: str) -> None:
    """Every value within the model is the same as with ONNX's own operators."""
    onnx, reference, ours = packages("onnx", "onnx.reference", "xpconv.onnx")
    model = onnx.load(path(name))
    plain = reference.ReferenceEvaluator(model).run(None, image(model), intermediate=True)
    found = ours.evaluator(model).run(None, image(model), intermediate=True)
    assert found.keys() == plain.keys()
    for key in filter(None, found):
        np.testing.assert_allclose(found[key], plain[key], rtol=1e-5, atol=1e-5 * np.abs(plain[key]).max())


SLIDING = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool")


def layers(name: str) -> list[tuple[str, tuple[tuple[int, ...], ...], dict[str, Any]]]:
    """Every different layer of a network that slides a window: operator, shapes, attributes."""
    onnx, ours = packages("onnx", "xpconv.onnx")
    model = onnx.load(path(name))
    shapes = {k: v.shape for k, v in ours.evaluator(model).run(None, image(model), intermediate=True).items() if k}
    found = {}
    for node in model.graph.node:
        if node.op_type in SLIDING:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            layer = node.op_type, tuple(shapes[name] for name in node.input), attributes
            found[repr(layer)] = layer
    return list(found.values())


@pytest.mark.needs("onnxruntime")
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_layer_on_random_numbers(name: str) -> None:
    """Two results that are each within the bound of the exact one are within twice the bound of each other."""
    found = layers(name)
    assert len(found) >= 7
    rng = np.random.default_rng(0)
    for operator, shapes, attributes in found:
        arrays = [rng.standard_normal(shape, np.float32) for shape in shapes]
        ours, theirs = (by(operator, *arrays, opset=9, **attributes) for by in (by_us, by_runtime))
        if operator == "MaxPool":
            np.testing.assert_array_equal(ours, theirs)
        elif operator == "Conv":
            rank = arrays[0].ndim - 2
            pads = attributes.get("pads", [0] * 2 * rank)
            bound = xc.error_bound(
                *arrays,
                stride=tuple(attributes.get("strides", [1] * rank)),
                padding=tuple(zip(pads[:rank], pads[rank:], strict=True)),
                groups=attributes.get("group", 1),
                layout="channels_first",
            )
            assert_within_bound(ours, theirs, 2 * bound)
        else:
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
