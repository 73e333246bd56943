"""What the stand-in sees: kernels, waits, transfers, allocations, and mistakes that a GPU would pass over."""

from __future__ import annotations

import collections
import math
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

HERE = os.path.dirname(__file__) + os.sep
BETWEEN = ("array_api_compat", "array_api_extra", "cupy", "cupyx", "numpy")  # never the caller that is meant


class ForbiddenError(RuntimeError):
    """Something happened that the watch forbids."""


class MistakeError(RuntimeError):
    """A mistake that a GPU would answer with wrong numbers, if at all."""


@dataclass(frozen=True)
class Kernel:
    """One launch: bytes of distinct elements that it reads, bytes that it writes, operations of a matrix product.

    `loaded` counts an element as often as it is read; `shape` is that of what is written.
    """

    name: str
    site: str
    read: int
    written: int
    flops: int
    device: int
    loaded: int = 0
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Wait:
    """The host stood still until the device was done."""

    what: str
    site: str


@dataclass(frozen=True)
class Transfer:
    """Bytes that went between the host and a device, "to device" or "to host"."""

    what: str
    direction: str
    nbytes: int
    site: str


@dataclass(frozen=True)
class Allocation:
    """Bytes that the memory pool gave out; `grown` if it had to ask the driver for them."""

    nbytes: int
    grown: bool
    site: str


@dataclass(frozen=True)
class Mistake:
    """What a GPU would not have said."""

    kind: str
    text: str
    site: str


@dataclass(eq=False)
class Watch:
    """Everything that happened in a `with watch()`.

    `forbid` names what raises at once: "kernels", "waits", "transfers", "allocations". With `collect`, mistakes are
    only written down. `peak` is the most bytes that were in use at one time, beyond those in use at the start.
    """

    forbid: frozenset[str] = frozenset()
    collect: bool = False
    kernels: list[Kernel] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    allocations: list[Allocation] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[Mistake] = field(default_factory=list)
    start: int = 0
    peak: int = 0

    @property
    def moved(self) -> int:
        """Bytes that the kernels read and wrote."""
        return sum(k.read + k.written for k in self.kernels)

    @property
    def flops(self) -> int:
        """Operations of the matrix products."""
        return sum(k.flops for k in self.kernels)

    def transferred(self, direction: str | None = None) -> int:
        """Count the bytes that went between host and device, in both directions or in one."""
        return sum(t.nbytes for t in self.transfers if direction in (None, t.direction))

    def __str__(self) -> str:
        lines = [
            f"{len(self.kernels)} kernels ({self.moved} B, {self.flops} flops), {len(self.waits)} waits, "
            f"{len(self.transfers)} transfers ({self.transferred()} B), {len(self.allocations)} allocations "
            f"(peak {self.peak} B)"
        ]
        for title, found in (("kernel", self.kernels), ("wait", self.waits), ("transfer", self.transfers)):
            counted = collections.Counter(
                (getattr(one, "name", None) or getattr(one, "what", ""), one.site) for one in found
            )
            lines += [f"  {count} x {title} {what} at {place}" for (what, place), count in counted.most_common()]
        lines += [f"  {one.kind}: {one.text}, at {one.site}" for one in (*self.mistakes, *self.notes)]
        return "\n".join(lines)


ACTIVE: list[Watch] = []


def site() -> str:
    """Name the nearest line of xpconv on the stack; without one, the nearest that is not in between."""
    frame: Any = sys._getframe(1)
    nearest = None
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if module.partition(".")[0] == "xpconv":
            return _line(frame)
        if nearest is None and module.partition(".")[0] not in BETWEEN:
            nearest = frame
        frame = frame.f_back
    return "?" if nearest is None else _line(nearest)


def _line(frame: Any) -> str:
    parts = frame.f_code.co_filename.split(os.sep)
    root = parts.index("xpconv", len(parts) - 1 - parts[::-1].index("xpconv")) if "xpconv" in parts else -1
    return f"{'/'.join(parts[root:])}:{frame.f_lineno} {frame.f_code.co_qualname}"


def distinct(array: np.ndarray[Any, Any]) -> int:
    """Count the bytes of different elements of a view."""
    if array.size == 0:
        return 0
    steps = list(zip(array.shape, array.strides, strict=True))
    extent = array.itemsize + sum((n - 1) * abs(step) for n, step in steps)
    return min(math.prod(n for n, step in steps if step) * array.itemsize, extent)


def _write(kind: str, record: Any) -> None:
    for watch in ACTIVE:
        getattr(watch, kind).append(record)
    for watch in ACTIVE:
        if kind in watch.forbid:
            raise ForbiddenError(f"forbidden here: {record}")


def kernel(name: str, reads: Iterable[Any], writes: Iterable[Any], flops: int, device: int) -> None:
    """Note a launch on NumPy's views of the arrays."""
    if ACTIVE:
        sources, targets = list(reads), list(writes)
        read, written = sum(map(distinct, sources)), sum(a.nbytes for a in targets)
        loaded, shape = sum(a.nbytes for a in sources), targets[0].shape if targets else ()
        _write("kernels", Kernel(name, site(), read, written, flops, device, loaded, shape))


def wait(what: str) -> None:
    """Note that the host waits."""
    if ACTIVE:
        _write("waits", Wait(what, site()))


def transfer(what: str, direction: str, nbytes: int) -> None:
    """Note a copy between host and device."""
    if ACTIVE:
        _write("transfers", Transfer(what, direction, nbytes, site()))


def allocation(nbytes: int, grown: bool, in_use: int) -> None:
    """Note what the pool gave out; `in_use` counts the bytes of all devices afterwards."""
    if ACTIVE:
        for watch in ACTIVE:
            watch.peak = max(watch.peak, in_use - watch.start)
        _write("allocations", Allocation(nbytes, grown, site()))


def mistake(kind: str, text: str) -> None:
    """Note a mistake, and raise it unless the innermost watch collects."""
    record = Mistake(kind, text, site())
    for watch in ACTIVE:
        watch.mistakes.append(record)
    if not (ACTIVE and ACTIVE[-1].collect):
        raise MistakeError(f"{kind}: {text}, at {record.site}")


def note(kind: str, text: str) -> None:
    """Note what is allowed and rarely meant."""
    for watch in ACTIVE:
        watch.notes.append(Mistake(kind, text, site()))
