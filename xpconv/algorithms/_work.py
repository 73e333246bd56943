"""What an algorithm costs, counted per output pixel; the plan turns it into bytes and seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Counts for one output pixel (of all channels), and for one whole call."""

    elements: int  # of work arrays, alive at once
    multiply_adds: float  # in matrix products, rounded up to what a kernel of a BLAS spends on thin matrices
    moved: int  # elements read or written outside matrix products
    runs: int  # contiguous pieces that the moves fall into
    weight_copy: bool = False  # the prepared weight is a copy


def padded_products(rows: int, inner: int, columns: int) -> int:
    """Multiply-adds that a matrix product is charged with: no side counts less than a register tile."""
    return rows * max(inner, 8) * max(columns, 4)
