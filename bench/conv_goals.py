"""The targets of convolutions, by kind of layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.conv_report import BOTH, FORWARD, Row
from bench.layers import RESNET50, Layer
from bench.targets import Goal, judge

Kind = Callable[[Layer], bool]


def _three_by_three(layer: Layer) -> bool:
    return layer.kernel == 3 and layer.stride == 1 and layer.groups == 1 and min(layer.channels, layer.filters) >= 64


def _depthwise(layer: Layer) -> bool:
    return layer.depthwise and layer.kernel in (3, 7)


# kind of layer, which, and the greatest mean and worst ratio of a pass
GOALS: tuple[tuple[str, Kind, dict[str, tuple[float, float]]], ...] = (
    ("3×3, stride 1, 64 channels and more", _three_by_three, {FORWARD: (0.70, 1.0), BOTH: (0.65, 1.0)}),
    ("every convolution of ResNet-50", lambda layer: layer in RESNET50, {FORWARD: (0.90, 1.4), BOTH: (0.85, 1.3)}),
    ("depthwise 3×3 and 7×7", _depthwise, {FORWARD: (2.0, 3.0), BOTH: (2.0, 3.0)}),
    ("kernels of 31 and more", lambda layer: layer.kernel >= 31, {FORWARD: (0.3, 1.0), BOTH: (0.3, 1.0)}),
)


def judged(layers: Sequence[Layer], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Judge each target that a measured layer falls under; forward against the fastest, with backward against PyTorch.

    The one of ResNet-50 is judged only when all of its layers were measured.
    """
    ratios = {
        (row.layer, row.passes): row.to_fastest if row.passes == FORWARD else row.ratio for row in rows
    }  # fmt: skip
    found = []
    for text, kind, limits in GOALS:
        chosen = [layer for layer in layers if kind(layer)]
        if not chosen or ("ResNet" in text and len(chosen) < len(RESNET50)):
            continue
        for passes, (mean, worst) in limits.items():
            against = "the faster of PyTorch and ONNX Runtime" if passes == FORWARD else "PyTorch"
            goal = Goal(f"{text}, {passes}, against {against}", mean, worst)
            found.append(judge(goal, {layer.name: ratios[layer.name, passes] for layer in chosen}))
    return found
