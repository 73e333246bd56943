"""Pictures without a display, as wide as a page and on a ground of their own: grouped bars of ratios, and curves."""

from __future__ import annotations

import importlib
import io
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measure.measurement import Measurement, by_pass
from bench.report.numbers import geometric_mean, number

INK, FAINT = "#222222", "#6b6b6b"
PALETTE = ("#2b6cb0", "#dd8a2b", "#3a8f5c", "#a33f6f", "#6b5bb5", "#7a6a55")
DASHED, DOTTED = (0, (4, 3)), (0, (1, 2))
DPI = 150
WIDTH = 8.0  # inches, of a panel of bars or two of curves
TITLE, TEXT, SMALL = 11, 9, 8  # points


@dataclass(frozen=True)
class Bars:
    """A panel of ratios, ``{series: {case: ratio}}``, with a line."""

    title: str
    series: Mapping[str, Mapping[str, float | None]]
    text: str = ""  # at the line
    line: float = 1.0
    logarithmic: bool = False
    first: str = "least"  # which cases come first: the "least" ratios, the "most", or "" as they are given

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
    """Draw panels of bars side by side, the best cases first; those without a value are left away."""
    panels = [panel for panel in panels if panel.known]
    if not panels:
        return _png(_figure(6.6, 2.0), f"nothing to compare with; {caption}")
    drawn = _figure(3.0 + (WIDTH - 3.0) * len(panels), _height(panels))
    _bar_panels(drawn, panels)
    return _png(drawn, caption)


def _bar_panels(drawn: Any, panels: Sequence[Bars]) -> None:
    cases = _cases(panels)
    every = drawn.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, panel in zip(every, panels, strict=True):
        _bar_panel(axes, panel, cases)
    every[0].set_yticks(range(len(cases)), cases)
    every[0].set_ylim(len(cases) - 0.4, -0.6)
    most = max(panels, key=lambda panel: len(panel.series))
    if len(most.series) > 1:
        handles, names = every[0].get_legend_handles_labels()
        if most.first and len(panels) == 1:
            names = [f"{name}: geometric mean {number(_mean(most.series[name].values()))}" for name in names]
        drawn.legend(handles, names, loc="outside upper right", ncols=4, frameon=False, fontsize=TEXT)


def _height(panels: Sequence[Bars]) -> float:
    most = max(len(panel.series) for panel in panels)
    return 1.6 + len(_cases(panels)) * (0.12 + 0.16 * most)


def _cases(panels: Sequence[Bars]) -> list[str]:
    """List the cases in the order in which they are drawn, the best of the first panel first."""
    cases = list(dict.fromkeys(case for panel in panels for series in panel.series.values() for case in series))
    means = {case: _mean(series.get(case) for series in panels[0].series.values()) for case in cases}
    sign = {"least": 1, "most": -1, "": 0}[panels[0].first]
    return sorted(cases, key=lambda case: math.inf if (mean := means[case]) is None else sign * mean)


def _mean(values: Iterable[float | None]) -> float | None:
    """Average what was measured."""
    known = [value for value in values if value is not None]
    return geometric_mean(known) if known and min(known) > 0 else None


def _bar_panel(axes: Any, panel: Bars, cases: Sequence[str]) -> None:
    thick = 0.8 / max(1, len(panel.series))
    for place, (name, series) in enumerate(panel.series.items()):
        heights = [position + (place - (len(panel.series) - 1) / 2) * thick for position in range(len(cases))]
        widths = [series.get(case) or 0.0 for case in cases]
        drawn = axes.barh(heights, widths, 0.9 * thick, color=PALETTE[place % len(PALETTE)], label=name)
        labels = [number(width) if width else "" for width in widths]
        for label in axes.bar_label(drawn, labels, padding=3, fontsize=SMALL, color=INK, zorder=4):
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
    axes.set_title(panel.title, fontsize=TITLE, loc="left", pad=16)
    where = {"xycoords": ("data", "axes fraction"), "xytext": (4, 2), "textcoords": "offset points"}
    axes.annotate(panel.text, (panel.line, 1.0), **where, fontsize=SMALL, color=INK, va="bottom")


def curves(panels: Sequence[Curves], caption: str, below: Sequence[Bars] = ()) -> bytes:
    """Draw panels of curves, two side by side, and bars below them."""
    rows = -(-len(panels) // 2)
    below = [panel for panel in below if panel.known]
    heights = [3.9 * rows, *([_height(below)] if below else [])]
    drawn = _figure(WIDTH * 1.3, sum(heights))
    parts = drawn.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    grid = parts[0].subplots(rows, min(2, len(panels)), squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _curve_panel(axes, panel)
    if below:
        _bar_panels(parts[1], below)
    return _png(drawn, caption)


def _curve_panel(axes: Any, panel: Curves) -> None:
    for place, (name, (x, y)) in enumerate(panel.lines.items()):
        style: dict[str, Any] = {"marker": "o", "markersize": 3.5, "color": PALETTE[place % len(PALETTE)]}
        if name in panel.guides:
            style = {"color": FAINT, "linestyle": (DASHED, DOTTED)[panel.guides.index(name) % 2]}
        axes.plot(x, y, label=name, linewidth=1.6, **style)
    ticker = importlib.import_module("matplotlib.ticker")
    for axis, base in ((axes.xaxis, 2), (axes.yaxis, 10)):
        scale = axes.set_xscale if base == 2 else axes.set_yscale
        scale("log", base=base)
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, place: f"{value:,.10g}"))
    wide = max(max(x) / min(x) for x, _ in panel.lines.values()) > 2**7
    axes.xaxis.set_major_locator(ticker.LogLocator(base=4 if wide else 2))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_locator(ticker.LogLocator(base=10, subs=(1, 2, 5)))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel(panel.x_label, fontsize=TEXT)
    axes.set_ylabel(panel.y_label, fontsize=TEXT)
    axes.set_title(panel.title, fontsize=TITLE, loc="left")
    axes.legend(frameon=False, fontsize=TEXT)
    _tidy(axes, "both")


def _figure(width: float, height: float) -> Any:
    """Make an empty figure that draws into memory."""
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure


def _png(drawn: Any, caption: str) -> bytes:
    """Write a figure, with the machine below it."""
    drawn.supxlabel(textwrap.fill(caption, int(10.5 * drawn.get_figwidth())), fontsize=SMALL, color=FAINT)
    picture = io.BytesIO()
    drawn.savefig(picture, format="png", facecolor="white")
    return picture.getvalue()


def _tidy(axes: Any, grid: str) -> None:
    """Leave away what says nothing."""
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=TEXT, which="both")
