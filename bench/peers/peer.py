"""What every peer is: something that runs cases, and is left out of what it cannot do."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bench.layers import Array, Case, Data, Layer, Pool

Call = Callable[[], Any]
FORMATS = ("channels_last", "contiguous")  # memory formats of PyTorch


@dataclass(frozen=True)
class Where:
    """Where a case runs, and how its arrays are to be."""

    xp: Any = np  # the library of our arrays
    device: str = "cpu"  # PyTorch's name of it
    dtype: str = "float32"
    layout: str = "channels_last"  # of our arrays; the others have theirs
    formats: tuple[str, ...] = FORMATS
    threads: int = 1

    def put(self, array: Array) -> Any:
        """Move an array there."""
        return self.xp.asarray(array).astype(self.dtype, copy=False)


@dataclass(frozen=True)
class Entry:
    """What a competitor runs in a pass of a case."""

    name: str  # of a column, and after a space of a variant: of several the fastest counts
    passes: str
    call: Call
    arrays: Callable[[Any], Sequence[Any]] | None = None  # what the call gives, in xpconv's layout; None: a part of it
    scale: float = 1.0  # what the case takes over what the call does

    def results(self) -> Sequence[Any]:
        """Run it and give its arrays."""
        assert self.arrays is not None
        return self.arrays(self.call())


class Peer:
    """A library; it enters into the passes that it has."""

    titles: ClassVar[Mapping[str, str]]  # of its columns, by the names of its entries
    library: ClassVar[str] = ""  # its name in a sentence
    packages: ClassVar[tuple[str, ...]] = ()  # that are imported; the last one does the work
    notes: ClassVar[Mapping[type[Case], str]] = {}  # said below a table
    rival: ClassVar[bool] = False  # whether we are held against it, if it is the fastest
    rotates: ClassVar[bool] = True  # whether it runs on several sets of inputs in turn

    def __init__(self, module: Any = None) -> None:
        self.module = module

    @classmethod
    def modules(cls) -> list[Any] | None:
        """Import the packages; None where one is not installed."""
        try:
            return [importlib.import_module(package) for package in cls.packages]
        except ImportError:
            return None

    @property
    def versions(self) -> dict[str, str]:
        """Versions, by the library's name."""
        return {package: str(self.module.__version__) for package in self.packages[-1:]}

    def enter(self, case: Case, data: Data, passes: Sequence[str], where: Where) -> list[Entry]:
        """Make the entries in some passes of a case."""
        made = self.conv(case, data, where) if isinstance(case, Layer) else self.pool(case, data, where)
        return [entry for entry in made if entry.passes in passes]

    def conv(self, layer: Layer, data: Data, where: Where) -> list[Entry]:
        """Make the entries of a convolution."""
        return []

    def pool(self, pool: Pool, data: Data, where: Where) -> list[Entry]:
        """Make the entries of a pooling."""
        return []
