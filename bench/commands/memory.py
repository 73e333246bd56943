"""``python -m bench memory``: the greatest work memory of a call, over batches and image sizes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import xpconv as xc
from bench.arguments import add_common, add_seconds
from bench.contest.session import opened
from bench.layers import Layer
from bench.measure.measurement import Measurement
from bench.measure.memory import extra
from bench.report import charts, goals
from bench.report.numbers import number
from bench.report.report import Report, deliver
from bench.report.table import Table

HELP = "measure the work memory of calls over batches and image sizes (NumPy)"
MIB = 2**20
MAX_WORKSPACE = 64 * MIB  # that at the start of a process
IM2COL, LIMIT = "im2col of unfold", "max_workspace"
LABELS = {"batch": "images in a batch", "image": "pixels on a side"}
LAYERS = {
    "batch": tuple(Layer(2**k, 56, 56, 32, 32, 3, padding=1) for k in range(9)),
    "image": tuple(Layer(1, 2**k, 2**k, 4, 8, 3, padding=1) for k in range(5, 13)),
}
QUICK_LAYERS = {
    "batch": tuple(Layer(n, 8, 8, 2, 2, 3, padding=1) for n in (1, 2)),
    "image": tuple(Layer(1, n, n, 2, 2, 3, padding=1) for n in (8, 16)),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_common(parser, peers=False)
    add_seconds(parser, 120)


def calls(layer: Layer) -> dict[str, Callable[[], Any]]:
    """List the calls whose memory is looked at."""
    x, w = np.ones(layer.x_shape, np.float32), np.ones(layer.w_shape, np.float32)
    dz = np.ones(layer.output_shape, np.float32)
    dy = np.ones((layer.batch, layer.height // 2, layer.width // 2, layer.channels), np.float32)
    return {
        "conv": lambda: xc.conv(x, w, **layer.keywords),
        "conv_input_grad": lambda: xc.conv_input_grad(dz, w, layer.x_shape, **layer.keywords),
        "conv_weight_grad": lambda: xc.conv_weight_grad(dz, x, layer.w_shape, **layer.keywords),
        "max_pool": lambda: xc.max_pool(x, 2),
        "max_pool_vjp": lambda: xc.max_pool_vjp(dy, x, 2),
    }


def im2col(layer: Layer) -> int:
    """Count the bytes of the whole matrix of windows, in float32."""
    _, height, width, _ = layer.output_shape
    return 4 * layer.batch * height * width * layer.kernel**2 * layer.channels


def measure(over: str, layers: Sequence[Layer], until: float) -> tuple[list[Measurement], list[str]]:
    """Measure layers until the time is up; also list the names of those that were left out."""
    found: list[Measurement] = []
    for place, layer in enumerate(layers):
        if time.perf_counter() > until:
            return found, [late.name for late in layers[place:]]
        print(f"[{over} {place + 1}/{len(layers)}] {layer.name}", file=sys.stderr, flush=True)
        size = layer.batch if over == "batch" else layer.height
        for name, call in calls(layer).items():
            call()  # plans and modules that a first call loads are not its work memory
            facts = {"over": over, "size": size, "bytes": extra(call), "im2col": im2col(layer)}
            found.append(Measurement(layer.name, name, facts=facts))
    return found, []


def tabled(found: Sequence[Measurement]) -> Table:
    """Lay the bytes out: a row for each layer, a column for each call."""
    names = list(dict.fromkeys(one.passes for one in found))
    table = Table(["layer", *(f"{name}\nMiB" for name in names), "im2col\nMiB"])
    for case in dict.fromkeys(one.case for one in found):
        chosen = {one.passes: one.facts for one in found if one.case == case}
        cells = (number(chosen[name]["bytes"] / MIB) for name in names)
        table.rows.append((case, *cells, number(chosen[names[0]]["im2col"] / MIB)))
    return table


def chart(found: Sequence[Measurement], caption: str) -> bytes:
    """Draw the bytes over the sizes, beside the limit and the whole matrix."""
    panels = []
    for over, label in LABELS.items():
        chosen = [one for one in found if one.facts["over"] == over]
        sizes = sorted({one.facts["size"] for one in chosen})
        lines = {
            name: (sizes, [max(one.facts["bytes"], 1) / MIB for one in chosen if one.passes == name])
            for name in dict.fromkeys(one.passes for one in chosen)
        }
        lines[IM2COL] = (sizes, [one.facts["im2col"] / MIB for one in chosen if one.passes == "conv"])
        lines[LIMIT] = (sizes, [MAX_WORKSPACE / MIB] * len(sizes))
        title = f"Work memory over the {over}"
        panels.append(charts.Curves(title, label, "MiB beside inputs and results", lines, (IM2COL, LIMIT)))
    return charts.curves(panels, caption)


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    with opened(options, "memory") as session, xc.set_options(max_workspace=MAX_WORKSPACE):
        until = time.perf_counter() + options.seconds
        found: list[Measurement] = []
        late: list[str] = []
        for over, layers in (QUICK_LAYERS if options.quick else LAYERS).items():
            measured, missing = measure(over, layers, until)
            found, late = found + measured, late + missing
        goal = goals.Goal("work memory of every call, over max_workspace", worst=1.0)
        shares = {f"{one.passes}, {one.case}": max(one.facts["bytes"], 1) / MAX_WORKSPACE for one in found}
        notes = [
            "work memory: peak of tracemalloc in a call, less the results and with what it keeps for the next one, "
            f"max_workspace {MAX_WORKSPACE // MIB} MiB; im2col: the matrix of windows that PyTorch's unfold makes of "
            "the batch"
        ]
        if late:
            notes.append(f"left out after {options.seconds} s: {'; '.join(late)}")
        return deliver(
            session,
            Report(
                found,
                [tabled(found)] if found else [],
                notes=notes,
                goals=[goals.judge(goal, shares, not late)],
                facts={"max_workspace": MAX_WORKSPACE, "left_out": late},
                chart=lambda caption: chart(found, caption),
            ),
        )
