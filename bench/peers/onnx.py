"""ONNX Runtime on the CPU: models of one operator, channels first, with the kernels as constants."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.layers import FORWARD, Array, Case, Data, Layer, Pool
from bench.peers.peer import Call, Entry, Peer, Where

OPSET, IR_VERSION = 17, 10  # old enough for any runtime of the last years
NOTE = "ONNX Runtime: channels first, the kernels as constants, forward only"


class Onnx(Peer):
    """Sessions of one node."""

    titles: ClassVar[Mapping[str, str]] = {"onnx": "ONNX R."}
    library = "ONNX Runtime"
    packages = ("onnx", "onnxruntime")
    notes: ClassVar[Mapping[type[Case], str]] = {Layer: NOTE, Pool: "ONNX Runtime: channels first, forward only"}
    rival = True

    def conv(self, layer: Layer, data: Data, where: Where) -> list[Entry]:
        """Run `Conv`."""
        return [self._entry("Conv", data.x, *of_layer(layer, data), where)]

    def pool(self, pool: Pool, data: Data, where: Where) -> list[Entry]:
        """Run `MaxPool` or `AveragePool`; one over the whole image is the global operator."""
        name = {"max": "MaxPool", "average": "AveragePool"}[pool.kind]
        if pool.whole:
            return [self._entry("Global" + name, data.x, {}, {}, where)]
        attributes: dict[str, Any] = {
            "kernel_shape": [pool.window] * 2,
            "strides": [pool.stride] * 2,
            "pads": [*[pool.padding] * 2, *[pool.padding + pool.more] * 2],
        }
        if pool.kind == "average":
            attributes["count_include_pad"] = 1
        return [self._entry(name, data.x, {}, attributes, where)]

    def _entry(
        self, operator: str, images: Array, constants: Mapping[str, Array], attributes: Mapping[str, Any], where: Where
    ) -> Entry:
        x = first(images)
        session = self._session(single(operator, x, constants, attributes), where)

        def forward() -> Any:
            return session.run(None, {"x": x})[0]

        return Entry("onnx", FORWARD, forward, lambda found: [found.transpose(0, 2, 3, 1)])

    def whole(self, path: Path, where: Where) -> Call:
        """Run a model of one input, on numbers from 0 to 1."""
        session = self._session(str(path), where)
        (wanted,) = session.get_inputs()
        feed = {wanted.name: np.random.default_rng(1).random(wanted.shape, np.float32)}
        return lambda: session.run(None, feed)

    def _session(self, model: str | bytes, where: Where) -> Any:
        options = self.module.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = where.threads, 1
        options.log_severity_level = 3
        return self.module.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def first(images: Array) -> Array:
    """Copy images to channels first."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))  # (N, H, W, C) -> (N, C, H, W)


def of_layer(layer: Layer, data: Data) -> tuple[dict[str, Array], dict[str, Any]]:
    """Give the constants and the attributes of a layer's `Conv`."""
    constants = {"w": data.w.transpose(3, 2, 0, 1), "b": data.b}  # (K, K, C/G, F) -> (F, C/G, K, K)
    attributes = {
        "kernel_shape": [layer.kernel] * 2,
        "strides": [layer.stride] * 2,
        "dilations": [layer.dilation] * 2,
        "pads": [*(before for before, _ in layer.pads), *(after for _, after in layer.pads)],
        "group": layer.groups,
    }
    return constants, attributes


def single(operator: str, x: Array, constants: Mapping[str, Array], attributes: Mapping[str, Any]) -> bytes:
    """Make a model of one operator, whose input is x and whose output is z."""
    helper, numbers = (importlib.import_module(f"onnx.{name}") for name in ("helper", "numpy_helper"))
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *constants], ["z"], **attributes)],
        "layer",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("z", kind, [None] * 4)],
        [numbers.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    return model


PEER = Onnx
