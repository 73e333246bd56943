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

OPERATORS: tuple[type[Any], ...] = (
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
)
