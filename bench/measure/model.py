"""The time that a program would take on a GPU, reckoned from the kernels that it starts; nothing here was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Kernel(Protocol):
    """A kernel as the stand-in for CuPy notes it."""

    name: str
    read: int
    written: int
    flops: int
    loaded: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Device:
    """What a device's data sheet promises, and the shares of it that are assumed to be reached."""

    name: str
    flops: float  # float32, a second, without tensor cores
    memory: float  # bytes a second
    processors: int
    products: float = 0.78  # of `flops`, in matrix products of whole waves of tiles
    copies: float = 0.75  # of `memory`
    windows: float = 0.5  # of `memory`, where pixels are copied more than once
    cache: float = 12e12  # bytes a second that are read again
    least: float = 2.5e-6  # seconds of the shortest kernel
    host: float = 8e-6  # seconds in which CuPy and this package start a kernel
    call: float = 10e-6  # seconds of a call beside its kernels
    cut: float = 1.5  # times as long, at most, where there are fewer tiles than processors and the sum is cut
    tile: int = 128  # rows and columns of a product that a processor makes at once

    def kernel(self, one: Kernel) -> float:
        """Give the seconds of a kernel."""
        moved = one.read + one.written
        if one.flops:
            *stack, rows, columns = one.shape
            tiles = math.prod(stack) * -(-rows // self.tile) * -(-columns // self.tile)
            # processors without a tile in the last wave
            idle = -(-tiles // self.processors) * self.processors / tiles
            idle = idle if tiles >= self.processors else min(idle, self.cut)
            return max(one.flops * idle / (self.products * self.flops), moved / (self.copies * self.memory), self.least)
        if one.name in ("copy", "astype") and one.loaded > 1.5 * one.read:
            return max(one.written / (self.windows * self.memory), one.loaded / self.cache, self.least)
        return max(moved / (self.copies * self.memory), self.least)

    def call_of(self, kernels: Sequence[Kernel]) -> float:
        """Give the seconds of a call: those of the device or of the host, whichever is slower."""
        return max(sum(map(self.kernel, kernels)), self.host * len(kernels)) + self.call

    def assumptions(self) -> str:
        """Say what is assumed."""
        return (
            f"modelled, not measured: {self.name}, matrix products at {self.products:.0%} of {self.flops / 1e12:g} "
            f"TFLOP/s in tiles of {self.tile}×{self.tile} on {self.processors} processors, copies at {self.copies:.0%} "
            f"of {self.memory / 1e12:g} TB/s, of overlapping windows at {self.windows:.0%}, at least "
            f"{self.least * 1e6:g} µs a kernel; host {self.host * 1e6:g} µs a kernel and {self.call * 1e6:g} µs a "
            "call; a call takes as long as the slower of the two"
        )


H200 = Device("H200", flops=67e12, memory=4.8e12, processors=132)
