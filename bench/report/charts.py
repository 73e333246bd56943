"""Pictures without a display: grouped bars of ratios, and curves."""

from __future__ import annotations

import importlib
import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measure.measurement import Measurement, by_pass
from bench.report.numbers import number

INK, FAINT = "#222222", "#8a8a8a"
PALETTE = ("#2b6cb0", "#dd8a2b", "#3a8f5c", "#a33f6f", "#6b5bb5", "#7a6a55")
DASHED, DOTTED = (0, (4, 3)), (0, (1, 2))
DPI = 150


@dataclass(frozen=True)
class Bars:
    """A panel of ratios, ``{series: {case: ratio}}``, with a line."""

    title: str
    series: Mapping[str, Mapping[str, float | None]]
    text: str = ""  # at the line
    line: float = 1.0
    logarithmic: bool = False

    @property
    def known(self) -> list[float]:
        """The ratios that were measured."""
        return [value for series in self.series.values() for value in series.values() if value is not None]


@dataclass(frozen=True)
class Curves:
    """A panel of curves on logarithmic axes, ``{name: (x, y)}``; guides are dashed."""

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    guides: Sequence[str] = ()


def ratios(
    measurements: Sequence[Measurement], value: Callable[[Measurement], float | None] = lambda one: one.ratio
) -> dict[str, dict[str, float | None]]:
    """Sort ratios by pass and case."""
    return {passes: {one.case: value(one) for one in chosen} for passes, chosen in by_pass(measurements).items()}


def bars(panels: Sequence[Bars], caption: str) -> bytes:
    """Draw panels of bars side by side; those without a value are left away."""
    panels = [panel for panel in panels if panel.known]
    if not panels:
        return _png(_figure(6.6, 2.0), f"nothing to compare with; {caption}")
    cases = list(dict.fromkeys(case for panel in panels for series in panel.series.values() for case in series))
    most = max(len(panel.series) for panel in panels)
    drawn = _figure(3.0 + 5.0 * len(panels), 1.6 + len(cases) * (0.12 + 0.16 * most))
    every = drawn.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, panel in zip(every, panels, strict=True):
        _bar_panel(axes, panel, cases)
    every[0].set_yticks(range(len(cases)), cases)
    every[0].set_ylim(len(cases) - 0.4, -0.6)
    if most > 1:
        handles = every[0].get_legend_handles_labels()
        drawn.legend(*handles, loc="outside upper right", ncols=4, frameon=False, fontsize=8)
    return _png(drawn, caption)


def _bar_panel(axes: Any, panel: Bars, cases: Sequence[str]) -> None:
    thick = 0.8 / max(1, len(panel.series))
    for place, (name, series) in enumerate(panel.series.items()):
        heights = [position + (place - (len(panel.series) - 1) / 2) * thick for position in range(len(cases))]
        widths = [series.get(case) or 0.0 for case in cases]
        drawn = axes.barh(heights, widths, 0.9 * thick, color=PALETTE[place % len(PALETTE)], label=name)
        labels = [number(width) if width else "" for width in widths]
        for label in axes.bar_label(drawn, labels, padding=3, fontsize=7, color=INK, zorder=4):
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.4})  # legible where the line passes
    _tidy(axes, "x")
    if panel.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter(importlib.import_module("matplotlib.ticker").NullFormatter())
        axes.set_xlim(min(panel.line / 10, *panel.known) / 2, 4 * max(2 * panel.line, *panel.known))
    else:
        axes.set_xlim(0, 1.14 * max(1.2 * panel.line, *panel.known))
    axes.axvline(panel.line, color=INK, linewidth=1, linestyle=DASHED, zorder=3)
    axes.set_title(panel.title, fontsize=10, loc="left", pad=16)
    where = {"xycoords": ("data", "axes fraction"), "xytext": (4, 2), "textcoords": "offset points"}
    axes.annotate(panel.text, (panel.line, 1.0), **where, fontsize=7, color=INK, va="bottom")


def curves(panels: Sequence[Curves], caption: str) -> bytes:
    """Draw panels of curves side by side."""
    drawn = _figure(5.2 * len(panels), 4.2)
    for axes, panel in zip(drawn.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for place, (name, (x, y)) in enumerate(panel.lines.items()):
            style: dict[str, Any] = {"marker": "o", "markersize": 3, "color": PALETTE[place % len(PALETTE)]}
            if name in panel.guides:
                style = {"color": FAINT, "linestyle": (DASHED, DOTTED)[panel.guides.index(name) % 2]}
            axes.plot(x, y, label=name, linewidth=1.4, **style)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel(panel.x_label, fontsize=8)
        axes.set_ylabel(panel.y_label, fontsize=8)
        axes.set_title(panel.title, fontsize=10, loc="left")
        axes.legend(frameon=False, fontsize=7)
        _tidy(axes, "both")
    return _png(drawn, caption)


def _figure(width: float, height: float) -> Any:
    """Make an empty figure that draws into memory."""
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure


def _png(drawn: Any, caption: str) -> bytes:
    """Write a figure, with the machine below it."""
    drawn.supxlabel(textwrap.fill(caption, int(12 * drawn.get_figwidth())), fontsize=7, color=FAINT)
    picture = io.BytesIO()
    drawn.savefig(picture, format="png")
    return picture.getvalue()


def _tidy(axes: Any, grid: str) -> None:
    """Leave away what says nothing."""
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, which="both")
