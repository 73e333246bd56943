"""What the benchmark of convolutions prints: the table, the notes, and whether the targets are met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench import jax_peer
from bench.peers import Peers
from bench.report import Table, geometric_mean, number
from bench.timing import Settings

FORWARD, BOTH = "forward", "forward + backward"
PASSES = (FORWARD, BOTH)
WITH_BACKWARD = "  with backward"
MOST_TIMES_PYTORCH = 1.6
LEAST_TIMES_COURSE = 1000.0


@dataclass(frozen=True)
class Row:
    """Medians in seconds of one layer and pass; PyTorch's is that of its faster memory format."""

    layer: str
    passes: str
    gflop: float
    course: float | None
    torch: float | None
    torch_format: str | None
    onnx: float | None
    jax: float | None
    xpconv: float
    error: float
    torch_error: float | None
    over_bound: float | None

    @property
    def ratio(self) -> float | None:
        """Time of xpconv over that of PyTorch."""
        return None if self.torch is None else self.xpconv / self.torch

    @property
    def to_fastest(self) -> float | None:
        """Time of xpconv over that of the faster of PyTorch and ONNX Runtime, which runs forward only."""
        rivals = [time for time in (self.torch, self.onnx) if time is not None]
        return self.xpconv / min(rivals) if rivals else None

    @property
    def speedup(self) -> float | None:
        """Time of the course's loops over that of xpconv."""
        return None if self.course is None else self.course / self.xpconv


def means(rows: Sequence[Row]) -> dict[str, dict[str, float | None]]:
    """Give the geometric means of the ratios, by pass."""
    result = {}
    for passes in PASSES:
        chosen = [row for row in rows if row.passes == passes]
        result[passes] = {
            "ratio": geometric_mean([row.ratio for row in chosen]),
            "to_fastest": geometric_mean([row.to_fastest for row in chosen]),
            "speedup": geometric_mean([row.speedup for row in chosen]),
        }
    return result


def _milliseconds(seconds: float | None) -> str:
    return number(None if seconds is None else 1e3 * seconds)


def table(rows: Sequence[Row]) -> Table:
    """Lay the rows out, two for each layer, and the geometric means below; what nobody measured has no column."""
    times = {
        "course": "course\nms",
        "torch": "PyTorch\nms",
        "onnx": "ONNX R.\nms",
        "jax": "JAX\nms",
        "xpconv": "xpconv\nms",
    }
    optional = {name for name in ("course", "onnx", "jax") if all(getattr(row, name) is None for row in rows)}
    shown = [name for name in times if name not in optional]
    ratios = {"ratio": "xpconv ÷\nPyTorch", "to_fastest": "xpconv ÷\nfastest", "speedup": "course ÷\nxpconv"}
    if "onnx" in optional:
        del ratios["to_fastest"]
    if "course" in optional:
        del ratios["speedup"]
    result = Table(["layer", "GFLOP", *(times[n] for n in shown), *ratios.values(), "error", "error ÷\nbound"])
    for row in rows:
        marks = {"torch": "*" if row.torch_format == "contiguous" else ""}
        cells = [_milliseconds(getattr(row, name)) + marks.get(name, "") for name in shown]
        bound = "–" if row.over_bound is None else f"{row.over_bound:.2g}"
        label = row.layer if row.passes == FORWARD else WITH_BACKWARD
        found = [number(getattr(row, name)) for name in ratios]
        result.rows.append((label, f"{row.gflop:.3g}", *cells, *found, f"{row.error:.1e}", bound))
    for passes, mean in means(rows).items():
        label = "geometric mean" if passes == FORWARD else WITH_BACKWARD
        dashes = ["–"] * (1 + len(shown))
        result.summary.append((label, *dashes, *(number(mean[name]) for name in ratios), *["–"] * 2))
    return result


def notes(settings: Settings, peers: Peers, loops: bool) -> list[str]:
    """Say how the figures came about."""
    with_torch = peers.torch is not None
    exact = "PyTorch's in float64" if with_torch else "that of the course's loops in float64, on their part"
    lines = [
        f"times: float32, channels last, one process, medians of {settings.rounds} interleaved rounds; each turn is a "
        f"pause of {1e3 * settings.pause:.0f} ms, the same for all (idle BLAS and OpenMP threads spin for a while), "
        f"{1e3 * settings.warm:.0f} ms of unmeasured calls, then the measured ones"
    ]
    if with_torch:
        lines.append("PyTorch: the faster of its channels_last and contiguous memory formats (* contiguous)")
    if peers.onnx is not None:
        lines.append("ONNX Runtime: channels first, the kernels as constants, forward only")
    if peers.jax is not None:
        lines.append(f"{jax_peer.NOTE}; forward only")
    if loops:
        lines.append(
            "course: float32 too, timed in each round on a few hundred numbers of the output and scaled by the number "
            "of products; its padding and allocations are left out"
        )
    error = "error: largest error over the largest value, of z and, with backward, of dx, dw or db, compared with "
    return [*lines, error + exact]


def targets(rows: Sequence[Row], names: Sequence[str]) -> list[dict[str, Any]]:
    """Judge the targets over the rows, by pass; `names` are all layers, in the order of the table.

    ``met`` is None where a layer that the target is about was not measured.
    """
    chosen = [row for row in rows if row.layer in names]
    result = []
    for passes in PASSES:
        near = {row.layer: row.ratio for row in chosen if row.passes == passes and row.ratio is not None}
        text = f"first three layers within {MOST_TIMES_PYTORCH} times PyTorch"
        result.append(_target(text, passes, near, names[:3], MOST_TIMES_PYTORCH, above=False))
    for passes in PASSES:
        fast = {row.layer: row.speedup for row in chosen if row.passes == passes and row.speedup is not None}
        text = f"{LEAST_TIMES_COURSE:,.0f} times faster than the course's loops"
        result.append(_target(text, passes, fast, names, LEAST_TIMES_COURSE, above=True))
    return result


def _target(
    text: str, passes: str, found: dict[str, float], names: Sequence[str], limit: float, above: bool
) -> dict[str, Any]:
    values = {name: found[name] for name in names if name in found}
    result: dict[str, Any] = {"target": f"{text}, {passes}", "limit": limit, "met": None}
    if len(values) < len(names):
        return result
    name = (min if above else max)(values, key=values.__getitem__)
    met = values[name] >= limit if above else values[name] <= limit
    return result | {"met": met, "worst": values[name], "layer": name, "mean": geometric_mean(list(values.values()))}


def target_line(target: dict[str, Any]) -> str:
    """Say whether a target is met, by the worst layer and in the mean."""
    if target["met"] is None:
        return f"target: {target['target']}: not measured in this run"
    verdict = "met" if target["met"] else "not met"
    figures = f"worst {number(target['worst'])}, {target['layer']}; geometric mean {number(target['mean'])}"
    return f"target: {target['target']}: {verdict} ({figures})"
