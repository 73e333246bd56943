"""Shapes and options of one call, a class for each kind of operation.

Their `repr` is what the fingerprint of the catalogue digests: another name or order of fields makes every report stale.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np

from xpconv.verify.definition.windows import Array, Ints, Windows, parts, per_axis, transposed_windows, windows

EXTENTS = ("batch", "size", "out", "channels", "filters", "kernel", "window")  # in the order in which they are lessened


class Setup:
    """Shapes and options of one call; what all kinds have in common."""

    layout: str
    core: bool  # one of the few that together have every feature once
    real: bool  # small enough for the bound tier, whose definition runs in Python integers
    dtype: str | None = None  # the keyword, if there is one
    only: tuple[str, ...] = ()  # dtypes, if not all
    NOT_KEYWORDS: ClassVar[tuple[str, ...]] = (*EXTENTS, "bias", "core", "real", "only")

    @property
    def adjoint(self) -> bool:
        """Say whether inner products prove something: neither empty nor infinite."""
        return getattr(self, "batch", 1) > 0

    def shape(self, role: str) -> Ints:
        """Tell the shape of an array by its role in the definition (x, w, b, dz, y, …), in the layout."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Gather the keywords that are not at their defaults."""
        given = ((field.name, getattr(self, field.name), field.default) for field in fields(self))  # type: ignore[arg-type]
        return {name: value for name, value, default in given if name not in self.NOT_KEYWORDS and value != default}

    def images(self, batch: int, size: Ints, channels: int) -> Ints:
        """Tell the shape of a batch of images in the layout."""
        return (batch, *size, channels) if self.layout == "channels_last" else (batch, channels, *size)

    def last(self, role: str, array: Array) -> Array:
        """Bring an array from the layout to channels last, which is the definition's."""
        return array if self.layout == "channels_last" else np.transpose(array, self._axes(role, array.ndim))

    def back(self, role: str, array: Array) -> Array:
        """Bring an array from channels last to the layout."""
        if self.layout == "channels_last":
            return array
        return np.transpose(array, np.argsort(self._axes(role, array.ndim)))

    def _axes(self, role: str, ndim: int) -> Ints:
        if role in ("b", "db"):
            return (0,)
        if role in ("w", "dw"):
            return (*range(2, ndim), 1, 0)  # (F, C/G, *kernel) -> (*kernel, C/G, F)
        return (0, *range(2, ndim), 1)  # (N, C, *spatial) -> (N, *spatial, C)


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

    @cached_property
    def windows(self) -> Windows:
        """Which pixels the windows look at."""
        return windows(self.size, self.kernel, self.stride, self.padding, self.dilation, mode=self.padding_mode)

    @cached_property
    def positions(self) -> int:
        """Count the output pixels of the batch."""
        return self.batch * math.prod(self.windows.out)

    def shape(self, role: str) -> Ints:
        """Tell the shape of x, w, b, b4 (the course's bias) or dz."""
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

    @cached_property
    def windows(self) -> Windows:
        """Which pixels of the result the windows of the transposed convolution look at."""
        return transposed_windows(self.size, self.kernel, self.stride, self.padding, self.output_padding, self.dilation)

    def shape(self, role: str) -> Ints:
        """Tell the shape of x, w, b or dz."""
        depth = self.filters // self.groups
        first = (self.channels, depth, *self.kernel)
        return {
            "x": self.images(self.batch, self.size, self.channels),
            "w": first if self.layout == "channels_first" else (*self.kernel, depth, self.channels),
            "b": (self.filters,),
            "dz": self.images(self.batch, self.windows.size, self.filters),
        }[role]


class Images(Setup):
    """Windows over a batch of images that keep their channels."""

    size: Ints
    batch: int
    channels: int

    @property
    def windows(self) -> Windows:
        """Which pixels the windows look at."""
        raise NotImplementedError

    def shape(self, role: str) -> Ints:
        """Tell the shape of x, or of y and dy."""
        return self.images(self.batch, self.size if role == "x" else self.windows.out, self.channels)


@dataclass(frozen=True)
class Pool(Images):
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

    @cached_property
    def windows(self) -> Windows:
        """Which pixels the windows look at."""
        stride = self.window if self.stride is None else self.stride
        return windows(self.size, self.window, stride, self.padding, self.dilation, self.ceil_mode)

    @cached_property
    def adjoint(self) -> bool:
        """The maximum of a window outside the input is minus infinity."""
        return self.batch > 0 and all(any(self.windows.inside(o)) for o in self.windows.places())


@dataclass(frozen=True)
class Pad(Images):
    """A padding."""

    size: Ints
    padding: Any
    batch: int = 2
    channels: int = 2
    mode: str = "zeros"
    layout: str = "channels_last"
    core: bool = False
    real: bool = True

    NOT_KEYWORDS = (*Setup.NOT_KEYWORDS, "padding")

    @cached_property
    def windows(self) -> Windows:
        """Which pixel each padded pixel is."""
        return windows(self.size, 1, 1, self.padding, 1, mode=self.mode)


@dataclass(frozen=True)
class Window(Setup):
    """One window of the course's step-by-step functions."""

    size: Ints
    layout: str = "channels_last"
    core: bool = True
    real: bool = True

    NOT_KEYWORDS = (*Setup.NOT_KEYWORDS, "layout")

    def shape(self, role: str) -> Ints:
        """Tell the shape of the window x, the filter w, the bias b4 or the number dz."""
        return {"b4": (1, 1, 1), "dz": (1, 1)}.get(role, self.size)


@dataclass(frozen=True)
class Cut(Images):
    """An adaptive pooling."""

    size: Ints
    out: Any
    batch: int = 2
    channels: int = 2
    layout: str = "channels_last"
    core: bool = False
    real: bool = True

    @cached_property
    def windows(self) -> Windows:
        """Which pixels the windows look at."""
        return parts(self.size, self.out)


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

    @property
    def plane(self) -> Ints:
        """The size of the result's images."""
        return per_axis(self.out, len(self.size))

    def shape(self, role: str) -> Ints:
        """Tell the shape of y, the indices or the result x."""
        return self.images(self.batch, self.plane if role == "x" else self.size, self.channels)


@dataclass(frozen=True)
class Columns(Images):
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

    @cached_property
    def windows(self) -> Windows:
        """Which pixels the windows look at."""
        return windows(self.size, self.window, self.stride, self.padding, self.dilation)

    def shape(self, role: str) -> Ints:
        """Tell the shape of x or of the windows."""
        at, n, c = self.windows, self.batch, self.channels
        if role == "x":
            return self.images(n, self.size, c)
        return (n, *at.out, *at.kernel, c) if self.layout == "channels_last" else (n, c, *at.kernel, *at.out)

    def _axes(self, role: str, ndim: int) -> Ints:
        if role != "cols":
            return super()._axes(role, ndim)
        middle = 2 + len(self.size)
        return (0, *range(middle, ndim), *range(2, middle), 1)  # (N, C, *window, *out) -> (N, *out, *window, C)


@cache
def resized(setup: Any, text: str) -> Any:
    """Make a setup with other extents: ``batch=1,size=3x2``; ValueError if they are unfit."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in EXTENTS or not re.fullmatch(r"\d+(x\d+)*", value):
            raise ValueError(f"draw: sizes are {', '.join(EXTENTS)}, as in batch=1,size=3x2; got {part!r}")
        numbers = tuple(map(int, value.split("x")))
        found[name] = numbers if isinstance(getattr(setup, name), tuple) else numbers[0]
    return replace(setup, **found)
