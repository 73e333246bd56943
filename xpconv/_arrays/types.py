"""Names for what type checkers cannot know, and what a library can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# Any to a type checker: a protocol that NumPy's, CuPy's, PyTorch's and JAX's arrays all satisfy would hide from it, in
# every result, what the caller's own library can do with it. What each name stands for: docs/reference/types.md.
Array = Any
Namespace = Any
DType = Any
Device = Any
Chunks = Any
HostArray = np.ndarray[Any, Any]

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Traits:
    """What a library can do on one kind of device, as far as the plan and the driver care."""

    name: str
    mutable: bool = False  # results are allocated first and written tile by tile
    strided: bool = False  # overlapping windows can be had as a view
    threads: bool = False  # array calls let other Python threads run
    buffers: bool = False  # work arrays are written with out= and used again
    outs: bool = False  # array functions write with out=
    casts: bool = False  # ... into arrays of another dtype, too
    overlaps: bool = False  # matrices given by strides are multiplied where they lie, overlapping or not
    cache: int | None = None  # bytes that a tile's working set should fit; None: as large as the workspace allows
    kind: str = "cpu"
    looks: bool = False  # a value can be looked at without waiting for a device, and is no trace
    lazy: bool = False  # arrays may be cut into chunks, along which nothing can be transformed or put in place
    indexed: bool = False  # values can be put at places that arrays of indices give
    plans: bool = False  # its Fourier transforms keep plans that have work areas
    keeps: bool = False  # what comes from the host is kept on the device
    in_order: bool = False  # and that along an axis in order, one after another
