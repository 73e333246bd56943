"""Whole networks: the convolutions and pools of the nine models that the package onnx ships, for one image."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UsageError
from bench.layers import Case, Layer, Pool

LIGHT = Path("backend/test/data/light")
NAMES = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
QUICK = ("squeezenet",)
POOLS = {"MaxPool": "max", "AveragePool": "average", "GlobalAveragePool": "average"}


@dataclass(frozen=True)
class Network:
    """A model and what slides windows in it, in the order in which it runs."""

    name: str
    path: Path
    cases: tuple[Case, ...]

    @property
    def gflop(self) -> float:
        """Two operations for each product of its convolutions."""
        return sum(case.gflop for case in self.cases if isinstance(case, Layer))

    def count(self, kind: type[Case]) -> int:
        """Count its layers of a kind."""
        return sum(isinstance(case, kind) for case in self.cases)


def read(name: str) -> Network:
    """Read a model of the package onnx; averages count their padding here, whatever the model says."""
    try:
        onnx = importlib.import_module("onnx")
    except ImportError as error:
        raise UsageError("wants the package onnx, which ships the models: python -m pip install onnx") from error
    path = Path(str(onnx.__file__)).parent / LIGHT / f"light_{name}.onnx"
    graph = onnx.shape_inference.infer_shapes(onnx.load(path), data_prop=True).graph
    shapes = {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info)
    }
    nodes = [node for node in graph.node if node.op_type == "Conv" or node.op_type in POOLS]
    return Network(name, path, tuple(_case(onnx, node, shapes) for node in nodes))


def weighted(network: Network) -> Any:
    """Load a model with drawn weights of its convolutions, which the file makes of one number in each run."""
    onnx = importlib.import_module("onnx")
    model = onnx.load(network.path)
    shapes = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    wanted = {name for node in model.graph.node if node.op_type == "Conv" for name in node.input[1:]}
    rng = np.random.default_rng(1)
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.output[0] not in wanted:
            kept.append(node)
            continue
        shape = tuple(map(int, shapes[node.input[0]]))
        weight = rng.standard_normal(shape, np.float32) / np.float32(max(1, prod(shape[1:])) ** 0.5)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def image(model: Any) -> dict[str, Any]:
    """Draw the one input of a model that is not a weight, of numbers from 0 to 1."""
    weights = {one.name for one in model.graph.initializer}
    (wanted,) = (one for one in model.graph.input if one.name not in weights)
    shape = [size.dim_value for size in wanted.type.tensor_type.shape.dim]
    return {wanted.name: np.random.default_rng(1).random(shape, np.float32)}


def _case(onnx: Any, node: Any, shapes: dict[str, tuple[int, ...]]) -> Case:
    """Describe a node; kernels, windows, strides and dilations are square, and the padding before both axes equal."""
    given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    batch, channels, height, width = shapes[node.input[0]]
    before, _, after, _ = given.get("pads", (0, 0, 0, 0))
    stride = given.get("strides", (1, 1))[0]
    if node.op_type == "Conv":
        filters, _, kernel, _ = shapes[node.input[1]]
        return Layer(batch, height, width, channels, filters, kernel, stride, before, given.get("group", 1))
    window = given["kernel_shape"][0] if "kernel_shape" in given else height
    return Pool(POOLS[node.op_type], batch, height, width, channels, window, stride, before, after - before)
