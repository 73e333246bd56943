"""One operator as a model, run by ONNX Runtime or by ONNX's reference evaluator with xpconv's operators."""

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

NEWEST_OF_RUNTIME = 22  # an opset that ONNX Runtime has had for long


def packages(*names: str) -> list[Any]:
    """Import ONNX's packages, which warn of what is their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [importlib.import_module(name) for name in names]


def model(
    operator: str, arrays: Sequence[np.ndarray | None], outputs: Sequence[Any], opset: int, attributes: dict[str, Any]
) -> Any:
    """Make a model of one node; an array that is None is an input left out, outputs are their types."""
    (onnx,) = packages("onnx")
    helper = onnx.helper
    names = ["" if array is None else f"x{i}" for i, array in enumerate(arrays)]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in zip(names, arrays, strict=True)
        if array is not None
    ]
    found = [helper.make_tensor_value_info(f"y{i}", kind, None) for i, kind in enumerate(outputs)]
    node = helper.make_node(operator, names, [value.name for value in found], **attributes)
    graph = helper.make_graph([node], "case", inputs, found)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def feeds(arrays: Sequence[np.ndarray | None]) -> dict[str, np.ndarray]:
    return {f"x{i}": array for i, array in enumerate(arrays) if array is not None}


def by_runtime(
    operator: str,
    *arrays: np.ndarray | None,
    outputs: int = 1,
    opset: int = NEWEST_OF_RUNTIME,
    kind: Any = None,
    **attributes: Any,
) -> Any:
    """Run one operator by ONNX Runtime on the CPU; of more than one output a list."""
    onnx, runtime = packages("onnx", "onnxruntime")
    first = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind or arrays[0].dtype))
    made = model(operator, arrays, [first, onnx.TensorProto.INT64][:outputs], opset, attributes)
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # a refusal is tested, not printed
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(None, feeds(arrays))
    return found if outputs > 1 else found[0]


def by_us(
    operator: str,
    *arrays: np.ndarray | None,
    outputs: int = 1,
    opset: int = NEWEST_OF_RUNTIME,
    kind: Any = None,
    **attributes: Any,
) -> Any:
    """Run one operator by xpconv's class, in ONNX's reference evaluator; of more than one output a list."""
    onnx, ours = packages("onnx", "xpconv.onnx")
    first = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind or arrays[0].dtype))
    made = model(operator, arrays, [first, onnx.TensorProto.INT64][:outputs], opset, attributes)
    found = ours.evaluator(made).run(None, feeds(arrays))
    return found if outputs > 1 else found[0]
