"""Shapes and options of one call, a class for each kind of operation."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np

from xpconv.verify.definition import reference
from xpconv.verify.definition.reference import Ints, Windows

Array = Any

SIZES = ("batch", "size", "out", "channels", "filters", "kernel", "window")  # in the order in which they are lessened


class Setup:
    """Shapes and options of one call; what all kinds share."""

    layout: str
    core: bool  # one of the few that together have every feature once
    real: bool  # small enough for the bound tier, whose definition runs in Python integers
    only: tuple[str, ...] = ()  # dtypes, if not all
    NOT_KEYWORDS: ClassVar[tuple[str, ...]]

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

    def kernel_last(self, w: Array) -> Array:
        """(F, C/G, *kernel) -> (*kernel, C/G, F)."""
        return w if self.layout == "channels_last" else np.moveaxis(w, (0, 1), (-1, -2))

    def kernel_back(self, w: Array) -> Array:
        """(*kernel, C/G, F) -> (F, C/G, *kernel)."""
        return w if self.layout == "channels_last" else np.moveaxis(w, (-1, -2), (0, 1))


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
    padding_mode: str = "zeros"
    layout: str = "channels_last"
    dtype: str | None = None
    bias: bool = True
    core: bool = False
    real: bool = True
    only: tuple[str, ...] = ()

    NOT_KEYWORDS = ("size", "kernel", "batch", "channels", "filters", "bias", "core", "real", "only")

    @cached_property
    def windows(self) -> Windows:
        """Which pixels the windows look at."""
        return reference.windows(
            self.size, self.kernel, self.stride, self.padding, self.dilation, mode=self.padding_mode
        )

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


@dataclass(frozen=True)
class Transpose(Setup):
    """A transposed convolution, from `channels` to `filters`."""

    size: Ints
    kernel: Ints
    batch: int = 2
    channels: int = 3
    filters: int = 2
    stride: Any = 1
    padding: Any = 0
    output_padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    layout: str = "channels_last"
    bias: bool = True
    core: bool = False
    real: bool = True

    NOT_KEYWORDS = ("size", "kernel", "batch", "channels", "filters", "bias", "core", "real")

    @cached_property
    def windows(self) -> Windows:
        """Which pixels of the result the windows of the transposed convolution look at."""
        return reference.transposed_windows(
            self.size, self.kernel, self.stride, self.padding, self.output_padding, self.dilation
        )

    @property
    def adjoint(self) -> bool:
        """An empty batch proves nothing."""
        return self.batch > 0

    def shape(self, role: str) -> Ints:
        """Give the shape of x, w, b or dz."""
        depth = self.filters // self.groups
        first = (self.channels, depth, *self.kernel)
        return {
            "x": self.images(self.batch, self.size, self.channels),
            "w": first if self.layout == "channels_first" else (*self.kernel, depth, self.channels),
            "b": (self.filters,),
            "dz": self.images(self.batch, self.windows.size, self.filters),
        }[role]


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
    mode: str = "zeros"
    layout: str = "channels_last"
    core: bool = False
    real: bool = True

    NOT_KEYWORDS = ("size", "padding", "batch", "channels", "core", "real")

    @cached_property
    def windows(self) -> Windows:
        """Which pixel each padded pixel is."""
        return reference.windows(self.size, 1, 1, self.padding, 1, mode=self.mode)

    @property
    def adjoint(self) -> bool:
        """An empty batch proves nothing."""
        return self.batch > 0

    def shape(self, role: str) -> Ints:
        """Give the shape of x or dy."""
        return self.images(self.batch, self.size if role == "x" else self.windows.out, self.channels)


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


@dataclass(frozen=True)
class Cut(Setup):
    """An adaptive pooling."""

    size: Ints
    out: Any
    batch: int = 2
    channels: int = 2
    layout: str = "channels_last"
    core: bool = False
    real: bool = True

    NOT_KEYWORDS = ("size", "out", "batch", "channels", "core", "real")

    @cached_property
    def windows(self) -> Windows:
        """Which pixels the windows look at."""
        return reference.parts(self.size, self.out)

    @property
    def adjoint(self) -> bool:
        """An empty batch proves nothing."""
        return self.batch > 0

    def shape(self, role: str) -> Ints:
        """Give the shape of x or dy."""
        return self.images(self.batch, self.size if role == "x" else self.windows.out, self.channels)


@dataclass(frozen=True)
class Unpool(Setup):
    """A max unpooling of pooled images of `size` into images of `out`."""

    size: Ints
    out: Any
    batch: int = 2
    channels: int = 2
    layout: str = "channels_last"
    core: bool = False
    real: bool = True

    NOT_KEYWORDS = ("size", "out", "batch", "channels", "core", "real")

    def shape(self, role: str) -> Ints:
        """Give the shape of y, the indices or the result x."""
        out = reference.per_axis(self.out, len(self.size))
        return self.images(self.batch, out if role == "x" else self.size, self.channels)


@dataclass(frozen=True)
class Columns(Setup):
    """Windows as an array."""

    size: Ints
    window: Any
    batch: int = 2
    channels: int = 2
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    layout: str = "channels_last"
    core: bool = False
    real: bool = True

    NOT_KEYWORDS = ("size", "window", "batch", "channels", "core", "real")

    @cached_property
    def windows(self) -> Windows:
        """Which pixels the windows look at."""
        return reference.windows(self.size, self.window, self.stride, self.padding, self.dilation)

    @property
    def adjoint(self) -> bool:
        """An empty batch proves nothing."""
        return self.batch > 0

    def shape(self, role: str) -> Ints:
        """Give the shape of x or of the windows."""
        at, n, c = self.windows, self.batch, self.channels
        if role == "x":
            return self.images(n, self.size, c)
        return (n, *at.out, *at.kernel, c) if self.layout == "channels_last" else (n, c, *at.kernel, *at.out)

    def windows_last(self, cols: Array) -> Array:
        """(N, C, *window, *out) -> (N, *out, *window, C)."""
        rank = len(self.size)
        order = (0, *range(rank + 2, 2 * rank + 2), *range(2, rank + 2), 1)
        return cols if self.layout == "channels_last" else np.transpose(cols, order)

    def windows_back(self, cols: Array) -> Array:
        """(N, *out, *window, C) -> (N, C, *window, *out)."""
        rank = len(self.size)
        order = (0, 2 * rank + 1, *range(rank + 1, 2 * rank + 1), *range(1, rank + 1))
        return cols if self.layout == "channels_last" else np.transpose(cols, order)


@cache
def resized(setup: Any, text: str) -> Any:
    """Give a setup with other sizes: ``batch=1,size=3x2``; ValueError if they are unfit."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in SIZES or not re.fullmatch(r"\d+(x\d+)*", value):
            raise ValueError(f"draw: sizes are {', '.join(SIZES)}, as in batch=1,size=3x2; got {part!r}")
        numbers = tuple(map(int, value.split("x")))
        found[name] = numbers if isinstance(getattr(setup, name), tuple) else numbers[0]
    return replace(setup, **found)
