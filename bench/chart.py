"""Charts of ratios, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.conv_report import BOTH, FORWARD, LEAST_TIMES_COURSE, PASSES, Row
from bench.plot import FAINT, INK, figure, png
from bench.report import number

COLOURS = {FORWARD: "#2b6cb0", BOTH: "#dd8a2b"}
LABELS = {FORWARD: "forward", BOTH: "forward and backward"}
BAR = 0.36


def ratios(rows: Sequence[Row], caption: str) -> bytes:
    """Draw xpconv ÷ PyTorch and course ÷ xpconv for each layer, and give the PNG."""
    layers = list(dict.fromkeys(row.layer for row in rows))
    panels: list[Any] = []
    if all(row.ratio is not None for row in rows):
        panels.append(_beside_torch)
    if all(row.speedup is not None for row in rows):
        panels.append(_beside_course)
    drawn = figure(1.2 + 5.4 * max(1, len(panels)), 2.0 + 0.72 * len(layers))
    if not panels:
        return png(drawn, f"nothing to compare with; {caption}")
    axes = drawn.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for panel, one in zip(panels, axes, strict=True):
        panel(one, rows, layers)
        one.set_yticks(range(len(layers)), layers)
        one.set_axisbelow(True)
        one.grid(axis="x", color="#e6e6e6", linewidth=0.8)
        one.spines[["top", "right", "left"]].set_visible(False)
        one.tick_params(axis="y", length=0, labelsize=10)
        one.tick_params(axis="x", colors=FAINT, labelsize=8)
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    return png(drawn, caption)


def _bars(axes: Any, rows: Sequence[Row], layers: Sequence[str], values: dict[tuple[str, str], float]) -> None:
    for place, passes in enumerate(PASSES):
        heights = [position + (place - 0.5) * (BAR + 0.02) for position in range(len(layers))]
        widths = [values[layer, passes] for layer in layers]
        bars = axes.barh(heights, widths, BAR, color=COLOURS[passes], label=LABELS[passes])
        labels = axes.bar_label(bars, [number(width) for width in widths], padding=4, fontsize=9, color=INK, zorder=4)
        for label in labels:  # legible where the line of the limit passes
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})


def _line(axes: Any, value: float, text: str) -> None:
    axes.axvline(value, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=3)
    axes.annotate(
        text, (value, 1.0), xycoords=("data", "axes fraction"), xytext=(4, 2), textcoords="offset points",
        fontsize=8, color=INK, va="bottom",
    )  # fmt: skip


def _beside_torch(axes: Any, rows: Sequence[Row], layers: Sequence[str]) -> None:
    values = {(row.layer, row.passes): row.ratio for row in rows if row.ratio is not None}
    _bars(axes, rows, layers, values)
    axes.set_title("Time of xpconv ÷ time of PyTorch (less is better)", fontsize=11, loc="left", pad=18)
    axes.set_xlim(0, 1.15 * max(1.3, *values.values()))
    _line(axes, 1.0, "as fast as PyTorch")


def _beside_course(axes: Any, rows: Sequence[Row], layers: Sequence[str]) -> None:
    from matplotlib.ticker import NullFormatter

    values = {(row.layer, row.passes): row.speedup for row in rows if row.speedup is not None}
    _bars(axes, rows, layers, values)
    axes.set_title("Time of the course's loops ÷ time of xpconv (more is better)", fontsize=11, loc="left", pad=18)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(min(100.0, *values.values()) / 2, 4 * max(2 * LEAST_TIMES_COURSE, *values.values()))
    _line(axes, LEAST_TIMES_COURSE, f"{LEAST_TIMES_COURSE:,.0f} times")
