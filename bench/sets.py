"""The sets of layers that are measured; a further one is an entry of SETS or POOL_SETS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from bench.layers import Chosen, Layer, Pool, select

BATCH = 8


def depthwise(size: int, channels: int, kernel: int, stride: int = 1, batch: int = BATCH) -> Layer:
    """Describe a depthwise layer whose output has the input's size, or that over the stride."""
    return Layer(batch, size, size, channels, channels, kernel, stride, kernel // 2, channels)


def bottlenecks(batch: int, size: int, channels: int, width: int, blocks: int) -> tuple[Layer, ...]:
    """List the convolutions of a stage of ResNet-50; it halves its input of this size, the first does not."""
    first = channels == width
    stride, out = (1, size) if first else (2, size // 2)
    return (
        Layer(batch, size, size, channels, width, 1),
        Layer(batch, size, size, width, width, 3, stride, 1),  # v1.5: the 3×3 one strides
        Layer(batch, out, out, width, 4 * width, 1),
        Layer(batch, size, size, channels, 4 * width, 1, stride),
        *(blocks - 1)
        * (
            Layer(batch, out, out, 4 * width, width, 1),
            Layer(batch, out, out, width, width, 3, 1, 1),
            Layer(batch, out, out, width, 4 * width, 1),
        ),
    )


def resnet50(batch: int) -> tuple[Layer, ...]:
    """List the 53 convolutions of ResNet-50 for images of 224×224, as in torchvision."""
    stages = ((56, 64, 64, 3), (56, 256, 128, 4), (28, 512, 256, 6), (14, 1024, 512, 3))
    return (
        Layer(batch, 224, 224, 3, 64, 7, 2, 3),
        *(layer for stage in stages for layer in bottlenecks(batch, *stage)),
    )


EXAMPLE = Layer(2, 5, 7, 4, 8, 3, stride=2, padding=1)  # the course's own
FIRST = (
    Layer(8, 56, 56, 64, 64, 3, padding=1),
    Layer(8, 28, 28, 128, 128, 3, padding=1),
    Layer(8, 56, 56, 64, 256, 1),
    Layer(32, 64, 64, 3, 8, 4, padding="same"),
    Layer(8, 224, 224, 3, 64, 7, stride=2, padding=3),
)
RESNET50 = tuple(dict.fromkeys(resnet50(BATCH)))
LENET5 = (Layer(32, 32, 32, 1, 6, 5), Layer(32, 14, 14, 6, 16, 5), Layer(32, 5, 5, 16, 120, 5))
COURSE = (
    EXAMPLE,
    Layer(32, 64, 64, 3, 8, 4, padding="same"),
    Layer(32, 8, 8, 8, 16, 2, padding="same"),
    Layer(32, 64, 64, 3, 32, 3, padding="same"),
    Layer(32, 32, 32, 32, 64, 3, padding="same"),
)
MOBILENETV2 = (
    depthwise(112, 32, 3),
    depthwise(112, 96, 3, 2),
    depthwise(56, 144, 3),
    depthwise(56, 144, 3, 2),
    depthwise(28, 192, 3),
    depthwise(28, 192, 3, 2),
    depthwise(14, 384, 3),
    depthwise(14, 576, 3),
    depthwise(14, 576, 3, 2),
    depthwise(7, 960, 3),
)
CONVNEXT = tuple(depthwise(size, channels, 7) for size, channels in ((56, 96), (28, 192), (14, 384), (7, 768)))
LARGE = (
    depthwise(56, 64, 31, batch=2),
    depthwise(28, 128, 31, batch=2),
    Layer(1, 256, 256, 3, 8, 31, padding=15),
    Layer(1, 512, 512, 1, 1, 63, padding=31),
)

FEW_CHANNELS = (
    Layer(8, 112, 112, 3, 32, 3, stride=2, padding=1),
    Layer(8, 112, 112, 3, 64, 3, padding=1),
    Layer(8, 224, 224, 3, 64, 7, stride=2, padding=3),
    LENET5[0],
    LENET5[1],
    Layer(32, 64, 64, 3, 8, 4, padding="same"),
    Layer(32, 64, 64, 3, 32, 3, padding="same"),
)
GROUPED = (
    Layer(8, 56, 56, 128, 128, 3, padding=1, groups=32),  # ResNeXt's 32x4d
    Layer(8, 28, 28, 256, 256, 3, padding=1, groups=32),
    Layer(8, 14, 14, 512, 512, 3, padding=1, groups=32),
    Layer(8, 28, 28, 240, 240, 3, padding=1, groups=60),
)
THIN = (
    *FEW_CHANNELS,
    *(depthwise(*case) for case in ((112, 32, 3), (112, 96, 3, 2), (28, 192, 3), (14, 576, 3, 2), (7, 960, 3))),
    depthwise(28, 192, 7),
    *GROUPED,
    Layer(8, 56, 56, 24, 144, 1),
    Layer(8, 28, 28, 192, 32, 1),
)
SINGLE = (
    *(layer for layer in dict.fromkeys(resnet50(1)) if layer.height <= 56),  # ResNet-50
    *(depthwise(*case, batch=1) for case in ((112, 32, 3), (56, 144, 3), (28, 192, 3), (14, 576, 3))),  # MobileNetV2
    Layer(1, 55, 55, 16, 64, 3, padding=1),  # SqueezeNet
    Layer(1, 13, 13, 64, 256, 3, padding=1),
    depthwise(28, 58, 3, batch=1),  # ShuffleNetV2
    depthwise(14, 116, 3, batch=1),
)
# one image, which is what people run ONNX's reference evaluator on
EVALUATED = (
    Layer(1, 64, 64, 1, 1, 3),  # onnx#5069
    Layer(1, 192, 192, 2, 32, 1),  # onnxscript#3003
    Layer(1, 28, 28, 1, 8, 5, padding="same"),  # MNIST
    Layer(1, 14, 14, 8, 16, 5, padding="same"),
    Layer(1, 224, 224, 3, 64, 7, 2, 3),  # ResNet-50
    Layer(1, 56, 56, 64, 64, 3, padding=1),
    Layer(1, 56, 56, 64, 256, 1),
    Layer(1, 14, 14, 256, 256, 3, padding=1),
    Layer(1, 13, 13, 64, 256, 3, padding=1),  # SqueezeNet
    depthwise(28, 192, 3, batch=1),  # MobileNetV2
)

# the same kinds of layer as the first ones, each done in well under a millisecond
QUICK = (
    Layer(2, 8, 8, 4, 4, 3, padding=1),
    Layer(2, 6, 6, 8, 8, 3, padding=1),
    Layer(2, 8, 8, 4, 16, 1),
    Layer(2, 8, 8, 3, 4, 4, padding="same"),
    Layer(2, 16, 16, 3, 8, 7, stride=2, padding=3),
)
QUICK_GROUPED = (Layer(2, 8, 8, 4, 4, 3, padding=1, groups=4), Layer(1, 9, 9, 4, 6, 3, stride=2, groups=2))


@dataclass(frozen=True)
class CaseSet(Generic[Chosen]):
    """Cases that are measured together, and what stands for them in a quick run."""

    cases: tuple[Chosen, ...]
    quick: tuple[Chosen, ...]
    loops: bool = False  # the course's loops are timed beside them

    def choose(self, quick: bool, text: str) -> tuple[Chosen, ...]:
        """Keep the cases whose name holds the text."""
        return select(self.quick if quick else self.cases, text)


SETS = {
    "first": CaseSet(FIRST, QUICK, loops=True),
    "resnet50": CaseSet(RESNET50, QUICK_GROUPED),
    "lenet5": CaseSet(LENET5, QUICK_GROUPED),
    "course": CaseSet(COURSE, QUICK, loops=True),
    "mobilenetv2": CaseSet(MOBILENETV2, QUICK_GROUPED),
    "convnext": CaseSet(CONVNEXT, QUICK_GROUPED),
    "large": CaseSet(LARGE, QUICK_GROUPED),
    "thin": CaseSet(THIN, QUICK_GROUPED),
    "single": CaseSet(SINGLE, QUICK_GROUPED),
}
SETS["all"] = CaseSet(tuple(dict.fromkeys(layer for one in SETS.values() for layer in one.cases)), QUICK_GROUPED)

_TYPICAL = ((8, 112, 112, 64, 3, 2, 1), (8, 56, 56, 64, 2, 2), (8, 28, 28, 256, 3, 1, 1), (32, 64, 64, 8, 4, 4))
POOLS = (
    *(Pool(kind, *case) for kind in ("max", "average") for case in _TYPICAL),
    Pool("average", 8, 7, 7, 2048, 7, 7),
    Pool("max", 32, 7, 7, 512, 7, 7),
    Pool("max", 32, 64, 64, 8, 8, 8, 4),
)
QUICK_POOLS = (
    Pool("max", 2, 8, 8, 4, 3, 2, 1),
    Pool("average", 2, 8, 8, 4, 3, 1, 1),
    Pool("average", 2, 4, 4, 8, 4, 4),
)
EVALUATOR = CaseSet(EVALUATED, QUICK_GROUPED)
POOL_SETS = {"pools": CaseSet(POOLS, QUICK_POOLS)}
