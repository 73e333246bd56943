"""ONNX Runtime on the CPU: models of one operator, channels first, with the kernels as constants."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.layers import Array, Data, Layer

OPSET, IR_VERSION = 17, 10  # old enough for any runtime of the last years


class OnnxPeer:
    """A session of one node; `forward` runs it."""

    def __init__(
        self, runtime: Any, threads: int, operator: str, x: Array, constants: dict[str, Array], **attributes: Any
    ) -> None:
        helper, numbers = (importlib.import_module(f"onnx.{name}") for name in ("helper", "numpy_helper"))
        self.x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))  # (N, H, W, C) -> (N, C, H, W)
        kind = helper.np_dtype_to_tensor_dtype(self.x.dtype)
        graph = helper.make_graph(
            [helper.make_node(operator, ["x", *constants], ["z"], **attributes)],
            "layer",
            [helper.make_tensor_value_info("x", kind, self.x.shape)],
            [helper.make_tensor_value_info("z", kind, [None] * 4)],
            [numbers.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        self.session = runtime.InferenceSession(model.SerializeToString(), options, providers=providers)

    def forward(self) -> Array:
        """Run the node."""
        result: Array = self.session.run(None, {"x": self.x})[0]
        return result

    def result(self) -> Array:
        """Give z in xpconv's layout."""
        return self.forward().transpose(0, 2, 3, 1)


def _pads(pads: tuple[tuple[int, int], ...]) -> list[int]:
    return [*(before for before, _ in pads), *(after for _, after in pads)]


def conv(runtime: Any, threads: int, layer: Layer, data: Data) -> OnnxPeer:
    """Give a layer's convolution."""
    constants = {"w": data.w.transpose(3, 2, 0, 1), "b": data.b}  # (K, K, C/G, F) -> (F, C/G, K, K)
    return OnnxPeer(
        runtime, threads, "Conv", data.x, constants, kernel_shape=[layer.kernel] * 2, strides=[layer.stride] * 2,
        pads=_pads(layer.pads), group=layer.groups,
    )  # fmt: skip


def pool(runtime: Any, threads: int, x: Array, kind: str, window: int, stride: int, padding: int) -> Callable[[], Any]:
    """Give the call of a pooling; one over the whole image is the global operator."""
    name = {"max": "MaxPool", "average": "AveragePool"}[kind]
    if x.shape[1:3] == (window, window) and not padding:
        return OnnxPeer(runtime, threads, "Global" + name, x, {}).forward
    extra = {"count_include_pad": 1} if kind == "average" else {}
    return OnnxPeer(
        runtime, threads, name, x, {}, kernel_shape=[window] * 2, strides=[stride] * 2,
        pads=_pads(((padding,) * 2,) * 2), **extra,
    ).forward  # fmt: skip
