"""The pictures of a training run, drawn with matplotlib's Agg canvas and no global state.

They are as wide as a page, on a ground of their own that stands on a light page as on a dark one; the smallest letters
keep eleven pixels where a page shows a picture 720 pixels wide.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xpconv._arrays.types import HostArray
from xpconv.nn.training import Epoch

INK, QUIET, RULE, TRAIN, HELD_OUT = "#20242c", "#646b78", "#dfe3e8", "#2a6fb0", "#c4571a"
WIDTH = 8.0  # inches
TITLE, TEXT, SMALL = 12, 10, 9  # points
COLUMNS = 8  # filters or channels in a row
FILTERS = 64  # the most filters that are drawn
MISTAKES = 12  # the most that are listed beside a matrix
BESIDE = 16  # the most classes whose matrix has the list beside it
LEAST = 5  # points of a number in a matrix
BARS = 30  # the most classes that are named below bars


def has_matplotlib() -> bool:
    """Say whether the optional package matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def curves(epochs: Sequence[Epoch]) -> bytes:
    """Draw loss and accuracy by epoch, in training and on the held-out part, with their last values; gives a PNG."""
    figure = _figure(3.3)
    numbers = [record.epoch for record in epochs]
    panels = (
        ("Loss", "{:.4f}", [r.loss for r in epochs], [r.held_out_loss for r in epochs]),
        ("Accuracy", "{:.2f} %", [100 * r.accuracy for r in epochs], [100 * r.held_out_accuracy for r in epochs]),
    )
    for axes, (title, form, train, held_out) in zip(figure.subplots(1, 2), panels, strict=True):
        for name, colour, values in (("training", TRAIN, train), ("held out", HELD_OUT, held_out)):
            label = f"{name} {form.format(values[-1])}"
            axes.plot(numbers, values, color=colour, marker="o", markersize=3.5, label=label)
        axes.set_title(title, loc="left", color=INK, fontsize=TITLE, fontweight="bold")
        axes.set_xlabel("epoch", color=INK, fontsize=TEXT)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(QUIET)
        axes.tick_params(colors=INK, length=3, labelsize=SMALL)
        rises = title == "Accuracy" and min(train[-1], held_out[-1]) > 50  # else the room is above the curves
        place = "lower right" if rises else "upper right"
        axes.legend(frameon=False, labelcolor="linecolor", fontsize=TEXT, loc=place, handlelength=1.2)
    loss, accuracy = figure.axes
    if len(epochs) == 1:
        for axes in (loss, accuracy):
            axes.set_xlim(numbers[0] - 0.5, numbers[0] + 0.5)
            axes.set_xticks(numbers)
    loss.set_ylim(0, 1.25 * max(max(panels[0][2]), max(panels[0][3])) or 1)  # room for the legend
    least = min(min(panels[1][2]), min(panels[1][3]))
    accuracy.set_ylim(max(0, least - 0.4 * (100 - least) - 2), 101)
    return _png(figure)


def filters(weight: HostArray) -> bytes:
    """Draw the first layer's filters, of colour images in colour; `weight` is (h, w, C, F); gives a PNG."""
    channels, count = weight.shape[2:]
    coloured = channels in (3, 4)
    seen = weight[:, :, :3] if coloured else weight.mean(axis=2)
    kernels = np.moveaxis(seen, -1, 0)[:FILTERS]
    limit = float(np.abs(kernels).max()) or 1.0
    columns = min(len(kernels), COLUMNS)
    rows = -(-len(kernels) // columns)
    figure = _figure(0.6 + 0.82 * rows)
    shown = f"{len(kernels)} of {count}" if count > FILTERS else f"{count}"
    how = (
        "red, green and blue weights; grey is 0"
        if coloured
        else "red is positive, blue negative" + ("" if channels == 1 else f"; mean of {channels} channels")
    )
    _headline(figure, f"First layer: {shown} filters", how)
    axes = figure.subplots()
    seen = 0.5 + kernels / (2 * limit) if coloured else kernels
    picture = _side_by_side(axes, seen, columns, cmap="RdBu_r", vmin=-limit, vmax=limit)
    if coloured:  # what a colour means is one scale for each of its three parts
        figure.supxlabel(f"black is {-limit:.2g} and white {limit:.2g} in all three", color=QUIET, fontsize=SMALL)
    else:
        _colour_bar(figure, picture, axes)
    return _png(figure)


def features(image: HostArray, outputs: Mapping[str, HostArray], truth: int, prediction: int) -> bytes:
    """Draw an image (H, W, C), what each layer makes of it, (h, w, F), and the classes' shares; gives a PNG.

    The last of `outputs` are the logits, (classes,).
    """
    maps = {name: output for name, output in outputs.items() if output.ndim == 3}
    logits = list(outputs.values())[-1].astype("float64")
    shares = np.exp(logits - logits.max())
    figure = _figure(2.5 + 0.84 * len(maps))
    verdict = "right" if truth == prediction else "wrong"
    _headline(figure, f"One held-out image: label {truth}, prediction {prediction}, {verdict}", "")
    above, below = figure.subfigures(2, 1, height_ratios=(1.7, 0.84 * len(maps)))
    left, right = above.subplots(1, 2, width_ratios=(1, 3))
    _image(left, image)
    _bars(right, 100 * shares / shares.sum(), truth, prediction, list(outputs)[-1])
    lines = below.subplots(len(maps), 1, squeeze=False).flat
    for line, (name, channels) in zip(lines, maps.items(), strict=True):
        height, width, count = channels.shape
        shown = f"{COLUMNS} of {count}" if count > COLUMNS else f"{count}"
        label = f"{name}\n{shown} maps\n{height}×{width}"
        line.set_ylabel(label, rotation=0, ha="right", va="center", color=INK, fontsize=SMALL, labelpad=8)
        seen = channels[..., :COLUMNS]
        top = float(np.abs(seen).max()) or 1.0
        signed = bool(seen.min() < 0)
        scale = {"cmap": "RdBu_r", "vmin": -top, "vmax": top} if signed else {"cmap": "magma", "vmin": 0, "vmax": top}
        picture = _side_by_side(line, np.moveaxis(seen, -1, 0), COLUMNS, **scale)
        _colour_bar(below, picture, line)
    return _png(figure)


def _side_by_side(axes: Any, pictures: HostArray, columns: int, **scale: Any) -> Any:
    """Draw pictures (count, h, w, ...) in rows of one panel; a panel for each takes seconds to lay out."""
    height, width = pictures.shape[1:3]
    gap = 0.16 * max(height, width)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        left, top = column * (width + gap), row * (height + gap)
        right, bottom = left + width, top + height
        shown = axes.imshow(picture, extent=(left, right, bottom, top), **scale)
        axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color=RULE, linewidth=0.8)
    axes.set_xlim(-gap / 2, columns * (width + gap) - gap / 2)
    axes.set_ylim((row + 1) * (height + gap) - gap / 2, -gap / 2)
    _bare(axes)
    axes.spines[:].set_visible(False)
    return shown


def _image(axes: Any, image: HostArray) -> None:
    light = (image - image.min()) / (np.ptp(image) or 1.0)  # colours are shown from 0 to 1
    coloured = image.shape[-1] in (3, 4)
    axes.imshow(light[..., :3] if coloured else light.mean(axis=-1), cmap="gray_r")
    _bare(axes)
    axes.set_xlabel("the image", color=INK, fontsize=SMALL)


def _bars(axes: Any, shares: HostArray, truth: int, prediction: int, name: str) -> None:
    """Draw the classes' shares as bars; that of the label and that of the prediction have a colour."""
    classes = len(shares)
    colours = [TRAIN if one == truth else HELD_OUT if one == prediction else QUIET for one in range(classes)]
    axes.bar(range(classes), shares, color=colours, width=0.8)
    axes.set_title(f"{name}, softmax: how likely each class is (%)", loc="left", color=INK, fontsize=SMALL)
    if classes <= BARS:
        axes.set_xticks(range(classes))
    axes.set_ylim(0, 1.3 * shares.max())  # room for the words
    axes.yaxis.get_major_locator().set_params(nbins=4)
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(colors=INK, length=2, labelsize=SMALL)
    for one, word in ((truth, "label"), (prediction, "prediction")):
        if word == "label" or one != truth:
            side = "left" if one < classes / 10 else "right" if one >= 0.9 * classes else "center"
            # above the bars that the words would cover, where the other words do not stand there already
            reach = classes // 5 if abs(truth - prediction) > classes // 2 or truth == prediction else 0
            height = shares[max(one - reach, 0) : one + reach + 1].max() + 0.03 * shares.max()
            text = axes.text(one, height, f"{word} {shares[one]:.1f}", ha=side, va="bottom")
            text.set(fontsize=SMALL, color=colours[one])


def confusion(matrix: HostArray) -> bytes:
    """Draw a confusion matrix, rows by label and columns by prediction, and list the mistakes; gives a PNG."""
    classes = len(matrix)
    wide = classes > BESIDE  # then the matrix has the width of the page, and the list stands below it
    figure = _figure(8.3 if wide else 5.7)
    parts = figure.subplots(2, 1, height_ratios=(7, 0.9)) if wide else figure.subplots(1, 2, width_ratios=(5, 1.45))
    axes, side = parts
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    right, total = int(np.trace(matrix)), int(matrix.sum())
    title = f"Held out: {right} of {total} right ({right / total:.1%})"
    axes.set_title(title, loc="left", color=INK, fontsize=TITLE, fontweight="bold")
    axes.set_xlabel("prediction", color=INK, fontsize=TEXT)
    axes.set_ylabel("label", color=INK, fontsize=TEXT)
    axes.spines[:].set_color(RULE)
    axes.tick_params(colors=INK, length=0, labelsize=SMALL)
    if classes <= BARS:
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
    cell = 72 * (6.4 if wide else 4.6) / classes  # points
    size = min(TEXT, 0.8 * cell, 1.45 * cell / max(2, len(str(matrix.max()))))
    if size >= LEAST:
        for row, column in np.argwhere(matrix):
            share = shares[row, column]
            colour = "white" if share > 0.5 else INK if row == column or share > 0.2 else HELD_OUT
            text = axes.text(column, row, int(matrix[row, column]), ha="center", va="center", color=colour)
            text.set(fontsize=size, fontweight="normal" if row == column else "bold")
    bar = figure.colorbar(picture, ax=axes, fraction=0.04, pad=0.015, aspect=30)
    bar.outline.set_visible(False)
    bar.set_label("% of the label's images", color=INK, fontsize=SMALL)
    bar.ax.tick_params(colors=INK, length=2, labelsize=SMALL)
    _mistakes(side, matrix, 4 if wide else 1)
    return _png(figure)


def _mistakes(axes: Any, matrix: HostArray, columns: int) -> None:
    """List the pairs that are confused most often, in columns."""
    axes.set_axis_off()
    wrong = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[: MISTAKES - 1 if columns == 1 else 4 * columns - 1]
    pairs = [np.unravel_index(place, wrong.shape) for place in order]
    lines = [f"{row} taken for {column}: {wrong[row, column]}" for row, column in pairs if wrong[row, column]]
    more = int(np.count_nonzero(wrong)) - len(lines)
    lines += [f"and {more} more pairs"] * (more > 0)
    axes.set_title("Mistakes", loc="left", color=INK, fontsize=TEXT, fontweight="bold")
    each = -(-len(lines) // columns) or 1
    for column in range(columns):
        text = "\n".join(lines[column * each : (column + 1) * each])
        axes.text(column / columns, 0.98, text, va="top", color=HELD_OUT, fontsize=SMALL, linespacing=1.6)
    if not lines:
        axes.text(0, 0.98, "none", va="top", color=QUIET, fontsize=SMALL)


def _figure(height: float) -> Any:
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(WIDTH, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    return figure


def _headline(figure: Any, text: str, rest: str) -> None:
    figure.suptitle(text, x=0.012, ha="left", color=INK, fontsize=TITLE, fontweight="bold")
    if rest:
        figure.text(0.988, 0.985, rest, ha="right", va="top", color=QUIET, fontsize=SMALL)


def _colour_bar(figure: Any, picture: Any, axes: Any) -> None:
    bar = figure.colorbar(picture, ax=axes, fraction=0.02, pad=0.01, aspect=12)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, length=2, labelsize=SMALL)
    bar.ax.yaxis.get_major_locator().set_params(nbins=3)


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(RULE)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    canvas = importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    canvas.figure.savefig(buffer, format="png", dpi=160, facecolor="white")
    return buffer.getvalue()
