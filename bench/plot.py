"""Pictures without a display: grouped bars of ratios, and curves."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from bench.report import number

INK, FAINT = "#222222", "#8a8a8a"
PALETTE = ("#2b6cb0", "#dd8a2b", "#3a8f5c", "#a33f6f", "#6b5bb5", "#7a6a55")


def figure(width: float, height: float) -> Any:
    """Give an empty figure that draws into memory."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    result = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(result)
    return result


def png(drawn: Any, caption: str) -> bytes:
    """Give a figure's bytes, with the machine below it."""
    drawn.supxlabel(textwrap.fill(caption, int(12 * drawn.get_figwidth())), fontsize=7, color=FAINT)
    picture = io.BytesIO()
    drawn.savefig(picture, format="png")
    return picture.getvalue()


def tidy(axes: Any, grid: str) -> None:
    """Leave away what says nothing."""
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, which="both")


Bars = Mapping[str, Mapping[str, float | None]]


def bars(panels: Mapping[str, Bars], line: str, caption: str) -> bytes:
    """Draw panels of ratios as bars, ``{title: {series: {case: ratio}}}``, each with a line at 1."""
    cases = list(dict.fromkeys(case for one in panels.values() for series in one.values() for case in series))
    most = max(len(one) for one in panels.values())
    drawn = figure(3.0 + 5.0 * len(panels), 1.6 + len(cases) * (0.12 + 0.16 * most))
    every = drawn.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, values) in zip(every, panels.items(), strict=True):
        _bar_panel(axes, values, cases)
        axes.set_title(title, fontsize=10, loc="left", pad=16)
        axes.annotate(line, (1.0, 1.0), xycoords=("data", "axes fraction"), xytext=(4, 2),
                      textcoords="offset points", fontsize=7, color=INK, va="bottom")  # fmt: skip
    every[0].set_yticks(range(len(cases)), cases)
    every[0].set_ylim(len(cases) - 0.4, -0.6)
    if most > 1:
        handles = every[0].get_legend_handles_labels()
        drawn.legend(*handles, loc="outside upper right", ncols=4, frameon=False, fontsize=8)
    return png(drawn, caption)


def _bar_panel(axes: Any, values: Bars, cases: Sequence[str]) -> None:
    thick = 0.8 / max(1, len(values))
    for place, (name, series) in enumerate(values.items()):
        heights = [position + (place - (len(values) - 1) / 2) * thick for position in range(len(cases))]
        widths = [series.get(case) or 0.0 for case in cases]
        drawn_bars = axes.barh(heights, widths, 0.9 * thick, color=PALETTE[place % len(PALETTE)], label=name)
        labels = [number(w) if w else "" for w in widths]
        for label in axes.bar_label(drawn_bars, labels, padding=3, fontsize=7, color=INK, zorder=4):
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.4})
    tidy(axes, "x")
    widest = max([1.2, *(v for series in values.values() for v in series.values() if v is not None)])
    axes.set_xlim(0, 1.14 * widest)
    axes.axvline(1.0, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=3)


Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def curves(panels: Mapping[str, tuple[str, str, Curves]], caption: str, guides: Sequence[str] = ()) -> bytes:
    """Draw panels of curves on logarithmic axes, ``{title: (x label, y label, {name: (x, y)})}``; guides are dashed."""
    drawn = figure(5.2 * len(panels), 4.2)
    for axes, (title, (x_label, y_label, lines)) in zip(
        drawn.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for place, (name, (x, y)) in enumerate(lines.items()):
            style: dict[str, Any] = {"marker": "o", "markersize": 3, "color": PALETTE[place % len(PALETTE)]}
            if name in guides:
                style = {"color": FAINT, "linestyle": ((0, (4, 3)), (0, (1, 2)))[guides.index(name) % 2]}
            axes.plot(x, y, label=name, linewidth=1.4, **style)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel(x_label, fontsize=8)
        axes.set_ylabel(y_label, fontsize=8)
        axes.set_title(title, fontsize=10, loc="left")
        axes.legend(frameon=False, fontsize=7)
        tidy(axes, "both")
    return png(drawn, caption)
