"""What an algorithm costs, counted per output pixel; the plan turns it into bytes and seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Counts for one output pixel (of all channels), and for one whole call."""

    elements: int  # of work arrays, alive at once
    multiply_adds: float  # in matrix products, with what thin ones cost more
    moved: int  # elements read or written outside matrix products
    runs: float  # contiguous pieces that the moves fall into
    fused: float = 0.0  # multiply-adds element by element
    calls: int = 5  # of array functions, for each tile and for each call
    prepared: int = 0  # elements of the prepared weight, if that is a copy
    domain: int = 0  # elements of the sum that a weight gradient is taken in, if that is not the result
    fixed_multiply_adds: float = 0.0  # a call, whatever the number of pixels
    fixed_moved: int = 0
    points: float = 0.0  # of Fourier transforms, times the binary logarithm of their length
    fixed_points: float = 0.0
    area: int = 0  # elements of a transform's largest work area, where a library's plans have such
    fixed_area: int = 0  # ... for the weight, a call
    step: tuple[int, ...] = ()  # tiles along each spatial axis are whole multiples of this
    read: int = 0  # elements of work arrays for each pixel that a tile reads, beside the pixel itself
    pays: int = 0  # flops of a tile that is not made smaller for the sake of many workers, if other than most
    strip: int = 0  # elements of work memory that a worker takes, whatever the tile
    thick: int = 0  # output pixels in a tile, at least, if there are so many


def charged_products(rows: int, inner: int, columns: int) -> int:
    """Multiply-adds that a matrix product is charged with: as if it had 3 columns more, and 8 summed at least.

    A thin product runs at a fraction of the rate. Measured on one core, in 10^9 multiply-adds a second: 18 to 24 with 3
    columns, 30 to 37 with 8, 50 with 64; the formula gives 24, 35 and 46.
    """
    return rows * max(inner, 8) * (columns + 3)
