"""The pictures of a training run, drawn with matplotlib's Agg canvas and no global state."""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from xpconv.nn.training import Epoch, HostArray

INK, QUIET, TRAIN, HELD_OUT = "#20242c", "#8a919e", "#2a6fb0", "#d9692b"
COLUMNS = 16  # filters or channels in a row
FILTERS = 64  # the most filters that are drawn


def has_matplotlib() -> bool:
    """Say whether the optional package matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def curves(epochs: Sequence[Epoch]) -> bytes:
    """Draw loss and accuracy by epoch, in training and on the held-out part; gives a PNG."""
    figure = _figure(9.6, 3.9)
    numbers = [record.epoch for record in epochs]
    panels = (
        ("Loss", [r.loss for r in epochs], [r.held_out_loss for r in epochs]),
        ("Accuracy (%)", [100 * r.accuracy for r in epochs], [100 * r.held_out_accuracy for r in epochs]),
    )
    for axes, (title, train, held_out) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.plot(numbers, train, color=TRAIN, marker="o", markersize=3.5, label="training")
        axes.plot(numbers, held_out, color=HELD_OUT, marker="o", markersize=3.5, label="held out")
        axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold")
        axes.set_xlabel("epoch", color=INK)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color="#e4e7ec", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(QUIET)
        axes.tick_params(colors=INK, length=3)
        axes.legend(frameon=False, labelcolor=INK)
    figure.axes[0].set_ylim(bottom=0)
    figure.axes[1].set_ylim(top=100.5)
    return _png(figure)


def filters(weight: HostArray) -> bytes:
    """Draw the first layer's filters, averaged over input channels; `weight` is (h, w, C, F); gives a PNG."""
    kernels = np.moveaxis(weight.mean(axis=2), -1, 0)[:FILTERS]
    limit = np.abs(kernels).max() or 1.0
    rows = -(-len(kernels) // COLUMNS)
    figure = _figure(0.5 + 0.62 * COLUMNS, 0.4 + 0.62 * rows)
    shown = f"{len(kernels)} of {weight.shape[-1]}" if weight.shape[-1] > FILTERS else f"{len(kernels)}"
    _headline(figure, f"First layer: {shown} filters, red for positive and blue for negative weights")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for number, axes in enumerate(grid.flat):
        if number < len(kernels):
            picture = axes.imshow(kernels[number], cmap="RdBu_r", vmin=-limit, vmax=limit)
        _bare(axes, visible=number < len(kernels))
    bar = figure.colorbar(picture, ax=grid, fraction=0.015, pad=0.01)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, length=2, labelsize=8)
    return _png(figure)


def features(image: HostArray, activations: dict[str, HostArray], truth: int, prediction: int) -> bytes:
    """Draw one image (H, W, C) and the channels (h, w, F) of each layer in `activations`; gives a PNG."""
    rows = len(activations)
    columns = max(min(maps.shape[-1], COLUMNS) for maps in activations.values())
    figure = _figure(2.6 + 0.62 * columns, 0.5 + 0.86 * rows)
    _headline(figure, f"Feature maps of one held-out image: label {truth}, prediction {prediction}")
    left, right = figure.subfigures(1, 2, width_ratios=(2.4, 0.2 + 0.62 * columns))
    axes = left.subplots()
    light = (image - image.min()) / (np.ptp(image) or 1.0)  # colours are shown from 0 to 1
    axes.imshow(light if image.shape[-1] == 3 else light.mean(axis=-1), cmap="gray_r")
    _bare(axes)
    grid = right.subplots(rows, columns, squeeze=False)
    for line, (name, maps) in zip(grid, activations.items(), strict=True):
        height, width, channels = maps.shape
        shown = f"{columns} of {channels}" if channels > columns else f"{channels}"
        top = maps[..., :columns].max() or 1.0
        for channel, axes in enumerate(line):
            if channel < channels:
                axes.imshow(maps[..., channel], cmap="magma", vmin=0, vmax=top)
            _bare(axes, visible=channel < channels)
        line[0].set_title(" ", fontsize=9, pad=3)  # keeps the room; a long title would widen the column
        label = f"{name}: {shown} maps of {height}×{width}"
        text = line[0].annotate(label, (0, 1), (0, 4), textcoords="offset points", xycoords="axes fraction")
        text.set(color=INK, fontsize=9, in_layout=False)
    return _png(figure)


def confusion(matrix: HostArray) -> bytes:
    """Draw a confusion matrix, rows by label and columns by prediction; gives a PNG."""
    classes = len(matrix)
    figure = _figure(5.6, 5.2)
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    right, total = int(np.trace(matrix)), int(matrix.sum())
    title = f"Held out: {right} of {total} right ({right / total:.1%})"
    axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold")
    axes.set_xlabel("prediction", color=INK)
    axes.set_ylabel("label", color=INK)
    axes.spines[:].set_color("#c9ced6")
    axes.tick_params(colors=INK, length=0)
    if classes <= 25:
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
        for row, column in np.argwhere(matrix):
            colour = "white" if shares[row, column] > 0.5 else INK if row == column else HELD_OUT
            text = axes.text(column, row, int(matrix[row, column]), ha="center", va="center", color=colour)
            text.set(fontsize=9, fontweight="normal" if row == column else "bold")
    return _png(figure)


def _figure(width: float, height: float) -> Any:
    return importlib.import_module("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def _headline(figure: Any, text: str) -> None:
    figure.suptitle(text, x=0.005, ha="left", color=INK, fontsize=11, fontweight="bold")


def _bare(axes: Any, *, visible: bool = True) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_visible(visible)
    axes.spines[:].set_color("#c9ced6")


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    canvas = importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    canvas.figure.savefig(buffer, format="png", dpi=160, facecolor="white")
    return buffer.getvalue()
