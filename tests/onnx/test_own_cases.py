"""ONNX's own test cases of every operator, which the package onnx brings, all of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.onnx.runtime import packages

pytestmark = pytest.mark.needs("onnx")

# operator -> how many cases onnx 1.17 has, so that none are lost on the way; newer releases have more
NODES = {
    "Conv": 6,
    "ConvTranspose": 9,
    "ConvInteger": 2,
    "QLinearConv": 1,
    "MaxPool": 18,
    "AveragePool": 18,
    "LpPool": 8,
    "GlobalMaxPool": 2,
    "GlobalAveragePool": 2,
    "MaxUnpool": 2,
    "Col2Im": 5,
    "Pad": 6,
}


def check(model: Any, inputs: list[Any], wanted: list[Any], tolerances: dict[str, float]) -> None:
    evaluator = packages("xpconv.onnx")[0].evaluator(model)
    found = evaluator.run(None, dict(zip(evaluator.input_names, map(array, inputs), strict=False)))
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, map(array, wanted), strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_allclose(ours, theirs, **tolerances)


def array(value: Any) -> np.ndarray:
    """Give an array; cases of types that NumPy lacks hold tensors."""
    (numpy_helper,) = packages("onnx.numpy_helper")
    return value if isinstance(value, (np.ndarray, np.generic)) else numpy_helper.to_array(value)


@pytest.mark.parametrize("operator", NODES)
def test_nodes(operator: str) -> None:
    node, _ = packages("onnx.backend.test.case.node", f"onnx.backend.test.case.node.{operator.lower()}")
    cases = [case for case in node._NodeTestCases if case.model.graph.node[0].op_type == operator]
    assert len(cases) >= NODES[operator]
    for case in cases:
        for inputs, outputs in case.data_sets:
            check(case.model, inputs, outputs, {"rtol": case.rtol, "atol": case.atol, "err_msg": case.name})


@pytest.mark.parametrize("kind", ["pytorch-converted", "pytorch-operator"])
def test_saved_models(kind: str) -> None:
    """Every saved model that has one of the operators, of opsets 6 to 9."""
    onnx, ours, numpy_helper = packages("onnx", "xpconv.onnx", "onnx.numpy_helper")
    names = {operator.__name__ for operator in ours.OPERATORS}

    def tensors(folder: Path, word: str) -> list[np.ndarray]:
        files = [folder / f"{word}_{i}.pb" for i in range(len(list(folder.glob(f"{word}_*.pb"))))]
        return [numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes())) for file in files]

    ran = 0
    for path in sorted((Path(onnx.__file__).parent / "backend/test/data" / kind).glob("*/model.onnx")):
        model = onnx.load(path)
        if {node.op_type for node in model.graph.node} & names:
            for folder in path.parent.glob("test_data_set_*"):
                tolerances = {"rtol": 1e-3, "atol": 1e-6, "err_msg": path.parent.name}
                check(model, tensors(folder, "input"), tensors(folder, "output"), tolerances)
                ran += 1
    assert ran >= {"pytorch-converted": 40, "pytorch-operator": 4}[kind]
