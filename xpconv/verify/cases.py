"""The catalogue: shapes and options by name, no data. A change here changes VERSION, and old reports are stale then."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from xpconv.verify import reference
from xpconv.verify.reference import Ints, Windows

VERSION = 1
Array = Any


class Setup:
    """Shapes and options of one call; what all kinds share."""

    layout: str
    core: bool  # one of the few that together have every feature once
    real: bool  # small enough for the bound tier, whose definition runs in Python integers
    NOT_KEYWORDS: tuple[str, ...]

    @property
    def adjoint(self) -> bool:
        """Say whether inner products prove something: neither empty nor infinite."""
        return True

    def shape(self, role: str) -> Ints:
        """Give the shape of an array by its role in the definition (x, w, b, dz, y, …)."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Give the keywords that are not at their defaults."""
        given = ((field.name, getattr(self, field.name), field.default) for field in fields(self))  # type: ignore[arg-type]
        return {name: value for name, value, default in given if name not in self.NOT_KEYWORDS and value != default}

    def images(self, batch: int, size: Ints, channels: int) -> Ints:
        """Give the shape of a batch of images in the layout."""
        return (batch, *size, channels) if self.layout == "channels_last" else (batch, channels, *size)

    def last(self, images: Array) -> Array:
        """(N, C, *spatial) -> (N, *spatial, C)."""
        return images if self.layout == "channels_last" else np.moveaxis(images, 1, -1)

    def back(self, images: Array) -> Array:
        """(N, *spatial, C) -> (N, C, *spatial)."""
        return images if self.layout == "channels_last" else np.moveaxis(images, -1, 1)


@dataclass(frozen=True)
class Conv(Setup):
    """A convolution."""

    size: Ints
    kernel: Ints
    batch: int = 2
    channels: int = 2
    filters: int = 3
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    layout: str = "channels_last"
    bias: bool = True
    core: bool = False
    real: bool = True

    NOT_KEYWORDS = ("size", "kernel", "batch", "channels", "filters", "bias", "core", "real")

    @cached_property
    def windows(self) -> Windows:
        """Which pixels the windows look at."""
        return reference.windows(self.size, self.kernel, self.stride, self.padding, self.dilation)

    @cached_property
    def positions(self) -> int:
        """Count the output pixels of the batch."""
        return self.batch * math.prod(self.windows.out)

    @property
    def adjoint(self) -> bool:
        """An empty batch proves nothing."""
        return self.batch > 0

    def shape(self, role: str) -> Ints:
        """Give the shape of x, w, b, b4 (the course's bias) or dz."""
        depth = self.channels // self.groups
        first = (self.filters, depth, *self.kernel)
        return {
            "x": self.images(self.batch, self.size, self.channels),
            "w": first if self.layout == "channels_first" else (*self.kernel, depth, self.filters),
            "b": (self.filters,),
            "b4": (1, 1, 1, self.filters),
            "dz": self.images(self.batch, self.windows.out, self.filters),
        }[role]

    def kernel_last(self, w: Array) -> Array:
        """(F, C/G, *kernel) -> (*kernel, C/G, F)."""
        return w if self.layout == "channels_last" else np.moveaxis(w, (0, 1), (-1, -2))

    def kernel_back(self, w: Array) -> Array:
        """(*kernel, C/G, F) -> (F, C/G, *kernel)."""
        return w if self.layout == "channels_last" else np.moveaxis(w, (-1, -2), (0, 1))


@dataclass(frozen=True)
class Pool(Setup):
    """A pooling, max or average."""

    size: Ints
    window: Any
    batch: int = 2
    channels: int = 2
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False
    layout: str = "channels_last"
    core: bool = False
    real: bool = True

    NOT_KEYWORDS = ("size", "window", "batch", "channels", "core", "real")

    @cached_property
    def windows(self) -> Windows:
        """Which pixels the windows look at."""
        stride = self.window if self.stride is None else self.stride
        return reference.windows(self.size, self.window, stride, self.padding, self.dilation, self.ceil_mode)

    @cached_property
    def adjoint(self) -> bool:
        """The maximum of a window outside the input is minus infinity."""
        return self.batch > 0 and all(any(self.windows.inside(o)) for o in self.windows.places())

    def shape(self, role: str) -> Ints:
        """Give the shape of x or dy."""
        return self.images(self.batch, self.size if role == "x" else self.windows.out, self.channels)


@dataclass(frozen=True)
class Pad(Setup):
    """A padding."""

    size: Ints
    padding: Any
    batch: int = 2
    channels: int = 2
    layout: str = "channels_last"
    core: bool = False
    real: bool = True

    NOT_KEYWORDS = ("size", "padding", "batch", "channels", "core", "real")

    @cached_property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The (before, after) pairs."""
        return reference.windows(self.size, 1, 1, self.padding, 1).pads

    def shape(self, role: str) -> Ints:
        """Give the shape of x."""
        return self.images(self.batch, self.size, self.channels)


@dataclass(frozen=True)
class Window(Setup):
    """One window of the course's step-by-step functions."""

    size: Ints
    layout: str = "channels_last"
    core: bool = True
    real: bool = True

    NOT_KEYWORDS = ("size", "layout", "core", "real")

    def shape(self, role: str) -> Ints:
        """Give the shape of the window x, the filter w, the bias b4 or the number dz."""
        return {"b4": (1, 1, 1), "dz": (1, 1)}.get(role, self.size)


CONV: dict[str, Conv] = {
    "1x1": Conv((4, 5), (1, 1), core=True),
    "1x1-stride-2": Conv((5, 4), (1, 1), stride=2),
    "3x3": Conv((5, 6), (3, 3)),
    "no-bias": Conv((5, 4), (3, 3), bias=False),
    "one-window": Conv((3, 4), (3, 4), batch=1),
    "one-pixel": Conv((1, 1), (1, 1), batch=1, channels=1, filters=1),
    "rectangular": Conv((5, 7), (2, 4), padding=(1, 2)),
    "pairs": Conv((4, 5), (3, 2), padding=((2, 0), (1, 3)), core=True),
    "padding-beyond-kernel": Conv((3, 2), (2, 2), padding=(3, 4)),
    "valid": Conv((5, 4), (3, 2), padding="valid"),
    "same": Conv((5, 4), (3, 3), padding="same", core=True),
    "same-even-kernel": Conv((5, 5), (2, 4), padding="same"),
    "same-stride-2": Conv((7, 4), (3, 3), stride=2, padding="same"),
    "same-lower": Conv((5, 5), (2, 4), padding="same_lower"),
    "same-lower-stride-2": Conv((6, 4), (3, 3), stride=2, padding="same_lower"),
    "causal": Conv((5, 4), (3, 2), padding="causal", dilation=(2, 1)),
    "stride-2": Conv((7, 6), (3, 3), stride=2, padding=1),
    "stride-leaves-a-rest": Conv((8, 9), (3, 3), stride=3),
    "stride-beyond-kernel": Conv((7, 8), (1, 2), stride=(3, 4)),
    "strides-differ": Conv((7, 9), (3, 2), stride=(1, 3), padding=(0, 1), core=True),
    "dilation-2": Conv((7, 8), (3, 3), dilation=2, padding=2),
    "dilation-3-stride-2": Conv((9, 10), (3, 2), dilation=(3, 2), stride=2, padding=(3, 1), core=True),
    "dilation-4-stride-6": Conv((13, 12), (3, 3), dilation=4, stride=6, padding=4, batch=1),
    "dilation-beyond-input": Conv((3, 4), (3, 2), dilation=(4, 5), padding=(4, 3)),
    "groups-2": Conv((5, 4), (3, 3), channels=4, filters=6, groups=2, padding=1, core=True),
    "wide-groups": Conv((4, 4), (3, 3), channels=12, filters=4, groups=2, padding=1),
    "depthwise": Conv((5, 6), (3, 3), channels=3, filters=3, groups=3, padding=1),
    "depthwise-multiplier": Conv((6, 5), (3, 2), channels=2, filters=4, groups=2, stride=2, padding=1, core=True),
    "many-channels": Conv((5, 5), (3, 3), channels=16, filters=16, padding=1),
    "one-channel": Conv((6, 6), (5, 5), channels=1, filters=1, padding=2),
    "empty-batch": Conv((4, 5), (3, 3), batch=0, padding=1, real=False),
    "1d": Conv((9,), (3,), stride=2, padding=((1, 2),), core=True),
    "1d-causal-dilated": Conv((7,), (2,), padding="causal", dilation=3),
    "1d-depthwise": Conv((8,), (4,), channels=3, filters=3, groups=3, padding="same"),
    "3d": Conv((3, 4, 3), (2, 3, 2), padding=1),
    "3d-stride-dilation": Conv(
        (5, 4, 3), (2, 1, 2), stride=(2, 3, 1), dilation=(2, 1, 2), padding=((1, 0), (0, 1), (1, 1)), core=True
    ),
    "3d-groups": Conv((3, 2, 3), (2, 2, 1), channels=4, filters=2, groups=2, batch=1),
    "many-tiles": Conv((64, 64), (3, 3), channels=8, filters=8, padding=1, real=False),
    "many-tiles-stride-2": Conv((97, 63), (3, 3), channels=8, filters=16, stride=2, padding="same", real=False),
}
FIRST_CONV = (
    "same", "pairs", "strides-differ", "dilation-3-stride-2", "depthwise-multiplier", "1d", "3d-groups", "many-tiles",
)  # fmt: skip
CONV |= {f"{n}-first": replace(CONV[n], layout="channels_first", core=n == "strides-differ") for n in FIRST_CONV}

POOL: dict[str, Pool] = {
    "2": Pool((4, 6), 2),
    "2-rest": Pool((5, 7), 2, core=True),
    "2-rest-ceil": Pool((5, 7), 2, ceil_mode=True),
    "one-window": Pool((3, 4), (3, 4), batch=1),
    "3-stride-2": Pool((7, 6), 3, stride=2),
    "3-stride-2-padded": Pool((7, 6), 3, stride=2, padding=1),
    "3-stride-2-padded-ceil": Pool((6, 8), 3, stride=2, padding=1, ceil_mode=True, core=True),
    "3-overlapping": Pool((5, 5), 3, stride=1, padding=1, core=True),
    "2-overlapping": Pool((5, 5), 2, stride=1, padding=1),
    "2-stride-3-padded-ceil": Pool((6, 8), 2, stride=3, padding=((1, 0), (0, 1)), ceil_mode=True),
    "4-stride-1": Pool((6, 5), (4, 2), stride=1),
    "padding-beyond-half": Pool((4, 5), 3, stride=1, padding=2),
    "pairs": Pool((5, 4), (3, 2), stride=(2, 1), padding=((2, 0), (0, 1))),
    "valid": Pool((5, 4), (3, 2), stride=1, padding="valid"),
    "same": Pool((5, 6), (3, 2), stride=(2, 1), padding="same"),
    "same-lower": Pool((5, 6), (3, 2), stride=(2, 1), padding="same_lower"),
    "causal": Pool((5, 4), (3, 2), stride=1, padding="causal"),
    "rectangular": Pool((5, 8), (1, 4), stride=(2, 3)),
    "stride-beyond-window": Pool((7, 8), 2, stride=(3, 5), core=True),
    "ceil-drops-last": Pool((3, 6), 2, stride=3, padding=((0, 1), (0, 1)), ceil_mode=True),
    "ceil-starts-in-leading-padding": Pool((1, 2), 3, stride=2, padding=2, ceil_mode=True),
    "ceil-window-beyond-input": Pool((2, 3), 3, stride=2, ceil_mode=True),
    "dilated": Pool((6, 7), 2, stride=1, dilation=(3, 2)),
    "dilated-padded": Pool((5, 6), (3, 2), stride=2, dilation=2, padding=(2, 1), core=True),
    "2-dilated-padded": Pool((6, 7), 2, stride=2, dilation=3, padding=(2, 1)),
    "dilated-ceil": Pool((6, 5), 2, stride=2, dilation=(2, 3), padding=1, ceil_mode=True),
    "windows-outside": Pool((2, 3), 2, stride=1, dilation=(4, 3), padding=((2, 3), (1, 2)), core=True),
    "empty-batch": Pool((4, 5), 2, batch=0, real=False),
    "1d": Pool((9,), 3, stride=2, padding=((1, 2),), core=True),
    "1d-ceil": Pool((8,), 3, stride=2, ceil_mode=True),
    "3d": Pool((4, 3, 4), (2, 1, 2), stride=(2, 1, 1)),
    "3d-ceil-padded": Pool((3, 4, 5), 2, padding=(1, 0, 1), ceil_mode=True, batch=1, core=True),
    "many-tiles": Pool((64, 48), 3, stride=2, padding=1, channels=16, real=False),
    "many-tiles-2": Pool((49, 64), 2, padding=(1, 0), channels=16, real=False),
}
FIRST_POOL = ("2-rest-ceil", "pairs", "3-stride-2-padded", "dilated-padded", "1d", "3d-ceil-padded", "many-tiles")
POOL |= {f"{n}-first": replace(POOL[n], layout="channels_first", core=n == "pairs") for n in FIRST_POOL}

PAD: dict[str, Pad] = {
    "none": Pad((3, 4), 0),
    "valid": Pad((3, 4), "valid"),
    "one": Pad((3, 4), 1, core=True),
    "per-axis": Pad((3, 4), (2, 0)),
    "pairs": Pad((3, 4), ((0, 2), (3, 1)), core=True),
    "pairs-first": Pad((3, 4), ((0, 2), (3, 1)), layout="channels_first", core=True),
    "empty-batch": Pad((3, 4), 1, batch=0),
    "1d": Pad((5,), ((1, 2),), core=True),
    "3d": Pad((2, 3, 2), ((1, 0), (0, 2), (1, 1))),
    "large": Pad((70, 50), (3, 5), channels=16),
}

COURSE_CONV: dict[str, Conv] = {
    "f-2-pad-2-stride-2": Conv((4, 4), (2, 2), channels=3, filters=8, stride=2, padding=2, core=True),
    "f-3-pad-1-stride-2": Conv((5, 7), (3, 3), channels=4, filters=8, stride=2, padding=1),
    "f-3-pad-0": Conv((5, 4), (3, 3), core=True),
    "f-1-pad-1": Conv((3, 4), (1, 1), padding=1),
    "f-4-stride-3": Conv((8, 9), (4, 4), channels=1, filters=2, stride=3),
    "f-3-pad-3": Conv((2, 3), (3, 3), padding=3),
}
COURSE_POOL: dict[str, Pool] = {
    "f-2-stride-2": Pool((4, 6), 2, stride=2, core=True),
    "f-2-stride-1": Pool((5, 3), 2, stride=1, core=True),
    "f-3-stride-1": Pool((5, 5), 3, stride=1),
    "f-3-stride-2-rest": Pool((6, 4), 3, stride=2),
    "f-2-stride-3": Pool((7, 6), 2, stride=3),
    "f-1-stride-1": Pool((3, 2), 1, stride=1),
}
COURSE_PAD: dict[str, Pad] = {f"pad-{n}": Pad((3, 4), n, core=n == 2) for n in (0, 1, 2, 5)}
COURSE_WINDOW: dict[str, Window] = {
    "1": Window((1, 1, 1)),
    "3x3x2": Window((3, 3, 2)),
    "4x4x3": Window((4, 4, 3)),
    "5x5x32": Window((5, 5, 32)),
}
COURSE_SHARE: dict[str, Window] = {f"{h}x{w}": Window((h, w)) for h, w in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 7))}


def fingerprint() -> str:
    """Digest the catalogue, so that a change of it without a change of VERSION is seen."""
    tables = (CONV, POOL, PAD, COURSE_CONV, COURSE_POOL, COURSE_PAD, COURSE_WINDOW, COURSE_SHARE)
    lines = [f"{name}: {setup!r}" for table in tables for name, setup in table.items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
