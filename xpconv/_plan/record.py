"""What a call will run, as a record that prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from xpconv import _html
from xpconv._shapes.geometry import Geometry, Ints


@dataclass(frozen=True)
class Candidate:
    """One algorithm as the plan saw it."""

    algorithm: str
    seconds: float  # predicted, for one worker
    workspace: int  # bytes
    reason: str  # why it was taken or not
    error: float = math.nan  # bound, for numbers of at most 1 and weights whose absolute values sum up to 1


@dataclass(frozen=True, repr=False)
class Plan:
    """What a convolution or a weight gradient will run."""

    geometry: Geometry
    algorithm: str
    tile: Ints  # output pixels: (n, *output)
    workers: int  # at most so many at once, for the workspace
    workspace: int  # bytes beside the results, at most
    candidates: tuple[Candidate, ...] = field(default=())
    pieces: tuple[int, int] = (1, 1)  # partial sums of the weight gradient; channel blocks
    rates: str = ""
    step: Ints = ()  # outputs of the algorithm's own tiles, of which a tile holds whole ones
    single_taps: bool = False  # each tap's pixels are read by themselves: dilated windows span far more than they read
    panels: int = 0  # columns of the panels that a weight may be laid out in (`panels.repaid` says whether), or 0
    spare: int = 0  # bytes that pieces of a product's sum may take
    areas: int = 0  # bytes of work areas that the plans of a library's transforms may keep
    fallback: Plan | None = None  # what computes again what is not finite, where the algorithm spreads
    # of blocks of filters that are taken one after another, where something of the whole weight takes too much
    parts: tuple[Plan, ...] = ()
    copied: int = 0  # bytes of the weight that are conjugated, or whose groups are laid out anew, before all else

    @property
    def whole(self) -> tuple[Plan, ...]:
        """Give what runs one after another: the parts, or this plan itself."""
        return self.parts or (self,)

    @property
    def flops(self) -> int:
        """Count multiplications and additions, those on padding included."""
        return self.geometry.flops

    @property
    def seconds(self) -> float:
        """Give the time predicted for one worker."""
        return sum(c.seconds for c in self.candidates if c.algorithm == self.algorithm)

    @property
    def head(self) -> str:
        """Give the plan in a line."""
        tile = " x ".join(map(str, self.tile))
        parts = f", filters in {len(self.parts)} blocks" if self.parts else ""
        return (
            f"{self.algorithm}: tiles of {tile} output pixels, {size(self.workspace)} workspace, "
            f"{mflop(self.flops)}{parts}"
        )

    def __repr__(self) -> str:
        return f"<Plan {self.head}>"

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = [("algorithm", "predicted", "workspace", "error", "")]
        for c in self.candidates:
            known = math.isfinite(c.seconds)
            time, room = (f"{c.seconds * 1e3:.3g} ms", size(c.workspace)) if known else ("-", "-")
            rows.append((c.algorithm, time, room, f"{c.error:.1e}" if c.error == c.error else "-", c.reason))
        return rows

    def __str__(self) -> str:
        return "\n".join((self.head, *table(self._rows()), f"constants: {self.rates}"))

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        taken = [i for i, c in enumerate(self.candidates) if c.algorithm == self.algorithm]
        return _html.table(head, rows, caption=f"{self.head}; constants: {self.rates}", strong=taken)


def size(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


def mflop(count: int) -> str:
    """Write a number of operations."""
    return f"{count / 1e6:,.1f} Mflop"


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lay cells out in columns; the last one may be of any width."""
    widths = [*(max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)), 0]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
