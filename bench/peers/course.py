"""The course's convolution, in loops as the course describes it, over all of the output or a part of it.

For each example, row, column and channel of the output: cut the window, multiply, sum. The layers measured here would
take minutes to hours, so the benchmark runs a part and scales its time by the number of products.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from bench.layers import BOTH, FORWARD, Array, Case, Data, Layer
from bench.peers.peer import Entry, Peer, Where

LEAST_ELEMENTS = 512


@dataclass(frozen=True)
class Part:
    """A block of the output: some rows and columns of some examples, all channels."""

    examples: range
    rows: range
    columns: range
    channels: range

    @property
    def elements(self) -> int:
        """How many numbers of the output the part holds."""
        return len(self.examples) * len(self.rows) * len(self.columns) * len(self.channels)

    @property
    def index(self) -> tuple[slice, ...]:
        """The part as an index of the output."""
        return tuple(slice(r.start, r.stop) for r in (self.examples, self.rows, self.columns, self.channels))


def middle(layer: Layer) -> Part:
    """Choose a few hundred numbers in the middle of the first example."""
    _, height, width, filters = layer.output_shape
    pixels = -(-LEAST_ELEMENTS // filters)
    columns = min(width, pixels)
    rows = min(height, -(-pixels // columns))
    top, left = (height - rows) // 2, (width - columns) // 2
    return Part(range(1), range(top, top + rows), range(left, left + columns), range(filters))


def scale(layer: Layer, part: Part) -> float:
    """Products of the whole layer for each product of the part."""
    return prod(layer.output_shape) / part.elements


def single_step(window: Array, weights: Array, bias: Array) -> float:
    """Apply one filter to one window: multiply, sum, add the bias."""
    products = np.multiply(window, weights)
    return float(np.sum(products) + bias.item())


class CourseLoops:
    """The loops on one layer's data, padded beforehand, so that only the loops are timed."""

    def __init__(self, layer: Layer, data: Data, part: Part, dtype: Any = np.float32) -> None:
        self.layer, self.part = layer, part
        self.x = np.pad(data.x.astype(dtype), ((0, 0), *layer.pads, (0, 0)))
        self.w, self.b, self.dz = (array.astype(dtype) for array in (data.w, data.b.reshape(1, 1, 1, -1), data.dz))
        self.z: Array = np.zeros(layer.output_shape, dtype)
        depth = layer.channels // layer.groups
        groups = (channel * layer.groups // layer.filters for channel in range(layer.filters))
        self.seen = [slice(group * depth, (group + 1) * depth) for group in groups]  # input channels, by output channel
        self.dx, self.dw, self.db = np.zeros_like(self.x), np.zeros_like(self.w), np.zeros_like(self.b)

    def forward(self) -> Array:
        """Fill the part of z and return it."""
        stride, span, step = self.layer.stride, self.layer.span, self.layer.dilation
        for i in self.part.examples:
            image = self.x[i]
            for row in self.part.rows:
                top = row * stride
                for column in self.part.columns:
                    left = column * stride
                    for channel in self.part.channels:
                        window = image[top : top + span : step, left : left + span : step, self.seen[channel]]
                        weights, bias = self.w[:, :, :, channel], self.b[:, :, :, channel]
                        self.z[i, row, column, channel] = single_step(window, weights, bias)
        return self.z[self.part.index]

    def backward(self) -> None:
        """Add what the part of dz gives to the gradients."""
        stride, span, step = self.layer.stride, self.layer.span, self.layer.dilation
        for i in self.part.examples:
            image, image_grad = self.x[i], self.dx[i]
            for row in self.part.rows:
                top = row * stride
                for column in self.part.columns:
                    left = column * stride
                    for channel in self.part.channels:
                        dz = self.dz[i, row, column, channel]
                        seen = self.seen[channel]
                        window = image[top : top + span : step, left : left + span : step, seen]
                        image_grad[top : top + span : step, left : left + span : step, seen] += (
                            self.w[:, :, :, channel] * dz
                        )
                        self.dw[:, :, :, channel] += window * dz
                        self.db[:, :, :, channel] += dz

    def both(self) -> None:
        """Run the part forward and backward."""
        self.forward()
        self.backward()

    def gradients(self) -> tuple[Array, Array, Array]:
        """Read dx without its padding, dw and db, as `backward` has left them."""
        (top, _), (left, _) = self.layer.pads
        height, width = self.layer.x_shape[1:3]
        return self.dx[:, top : top + height, left : left + width], self.dw, self.db.reshape(-1)


class Course(Peer):
    """The loops on a part of the output."""

    titles: ClassVar[Mapping[str, str]] = {"course": "course"}
    notes: ClassVar[Mapping[type[Case], str]] = {
        Layer: "course: float32 too, timed in each round on a few hundred numbers of the output and scaled by the "
        "number of products; its padding and allocations are left out"
    }

    def conv(self, layer: Layer, data: Data, where: Where) -> list[Entry]:
        """Run the loops on the middle of the first example."""
        part = middle(layer)
        loops = CourseLoops(layer, data, part, where.dtype)
        times = scale(layer, part)
        return [
            Entry("course", FORWARD, loops.forward, scale=times),
            Entry("course", BOTH, loops.both, scale=times),
        ]


PEER = Course
