"""The operators that ONNX's reference evaluator takes from here."""

from __future__ import annotations

from typing import Any

from xpconv.onnx.convolution import Conv, ConvInteger, ConvTranspose, QLinearConv
from xpconv.onnx.pooling import (
    AveragePool,
    GlobalAveragePool,
    GlobalLpPool,
    GlobalMaxPool,
    LpPool,
    MaxPool,
    MaxUnpool,
)
from xpconv.onnx.rearrangement import Col2Im, Pad

# a list: until version 1.22 onnx appends its own Conv, which comes too late to be used
OPERATORS: list[type[Any]] = [
    Conv,
    ConvTranspose,
    ConvInteger,
    QLinearConv,
    MaxPool,
    AveragePool,
    LpPool,
    GlobalMaxPool,
    GlobalAveragePool,
    GlobalLpPool,
    MaxUnpool,
    Col2Im,
    Pad,
]
