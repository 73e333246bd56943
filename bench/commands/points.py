"""``python -m bench points``: how far Winograd's minimal filtering is off with these points and with others.

Random tiles of normal numbers are filtered in float32, with the matrices that follow from the points, and compared with
sums in float64.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from typing import Any

import numpy as np

from bench.arguments import add_files, positive_int
from bench.contest.session import opened
from bench.inside import POINTS, exact_matrices
from bench.measure.measurement import Measurement
from bench.report.columns import Labels, fact, lay_out
from bench.report.report import Report, deliver

HELP = "Winograd's points: largest and mean error over the largest output, and what its bound is amplified by"
Array = Any
Points = tuple[Fraction, ...]

# the positive ones; 0, their negatives and infinity come with them
OTHERS: dict[int, tuple[str, ...]] = {
    4: ("1/2", "2"),
    6: ("1 2", "1/2 1", "1/2 2", "3/5 5/3", "3/4 4/3", "4/5 5/4"),
    8: ("1/2 1 2", "1 2 3", "1/2 1 3/2", "3/5 1 5/3", "2/3 1 3/2", "1/2 2/3 3/2"),
}
TAPS = {4: (2, 3), 6: (2, 3, 4, 5), 8: (6, 7)}
LABELS = Labels(("transform", "points"), lambda one, same: (one.case, one.passes), lambda passes, first: ())
COLUMNS = (
    fact("largest", "largest error", ".2g"),
    fact("mean", "mean error", ".2g"),
    fact("magnitudes", "magnitudes", ".3g"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--channels", type=positive_int, default=256, help="summed for each output (default: 256)")
    parser.add_argument("--tiles", type=positive_int, default=256, help="random tiles (default: 256)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few tiles and channels, to see that it runs")
    add_files(parser, ("json", "markdown"))
    parser.set_defaults(rounds=None, threads=1, without=())


def symmetric(positive: str) -> Points:
    """Read the positive points and add 0 and the negative ones."""
    return (Fraction(0), *(s * Fraction(text) for text in positive.split() for s in (1, -1)))


def apply(matrix: Array, data: Array) -> Array:
    """Apply a matrix to the first two axes."""
    return np.einsum(
        "pi,ij...->pj...", matrix, np.einsum("qj,ij...->iq...", matrix, data, optimize=True), optimize=True
    )


def errors(count: int, taps: int, points: Points, tiles: int, channels: int, seed: int) -> dict[str, float]:
    """Measure the largest error, the root of the mean square and what F(m x m, r x r) amplifies, on 16 filters."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, count, tiles, channels)).astype(np.float32)
    w = rng.standard_normal((taps, taps, channels, 16)).astype(np.float32)
    output, weight, pixels = (np.array(m, dtype=float).astype(np.float32) for m in exact_matrices(count, taps, points))
    found = apply(output, np.matmul(apply(pixels, x), apply(weight, w)))
    m = count - taps + 1
    wide, size = (np.zeros((m, m, tiles, 16)) for _ in range(2))
    for i in range(taps):
        for j in range(taps):
            part = x[i : i + m, j : j + m].astype(np.float64)
            wide += part @ w[i, j].astype(np.float64)
            size += abs(part) @ abs(w[i, j]).astype(np.float64)
    wrong = abs(found - wide) / abs(wide).max()
    magnitude = apply(abs(output), np.matmul(apply(abs(pixels), abs(x)), apply(abs(weight), abs(w))))
    return {
        "largest": float(wrong.max()),
        "mean": float(np.sqrt((wrong**2).mean())),
        "magnitudes": float(np.mean(magnitude / size)),
    }


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    tiles, channels = (2, 4) if options.quick else (options.tiles, options.channels)
    found: list[Measurement] = []
    with opened(options, "points") as session:
        for count, taken in POINTS.items():
            sets = [taken, *(points for points in map(symmetric, OTHERS[count]) if set(points) != set(taken))]
            for taps in TAPS[count]:
                for points in sets:
                    name = " ".join(["0", *(f"±{p}" for p in points if p > 0)]) + (
                        " (taken)" if points is taken else ""
                    )
                    facts = errors(count, taps, points, tiles, channels, options.seed)
                    found.append(Measurement(f"F({count - taps + 1}, {taps})", name, facts=facts))
        notes = [f"{channels} channels, {tiles} tiles, float32, seed {options.seed}"]
        return deliver(session, Report(found, [lay_out(found, COLUMNS, LABELS)], notes=notes))
