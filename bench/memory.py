"""``python -m bench memory``: the greatest work memory of a call, over batches and image sizes."""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import xpconv as xc
from bench import plot, targets
from bench.arguments import add_common, positive_int
from bench.layers import Layer
from bench.report import Table, number
from bench.session import opened
from xpconv import _options
from xpconv._work.memory import pool as buffers

HELP = "measure the work memory of calls over batches and image sizes (NumPy)"
MIB = 2**20
IM2COL, LIMIT = "im2col of unfold", "max_workspace"
BATCHES = tuple(Layer(2**k, 56, 56, 32, 32, 3, padding=1) for k in range(9))
IMAGES = tuple(Layer(1, 2**k, 2**k, 4, 8, 3, padding=1) for k in range(5, 13))
QUICK_BATCHES = tuple(Layer(n, 8, 8, 2, 2, 3, padding=1) for n in (1, 2))
QUICK_IMAGES = tuple(Layer(1, n, n, 2, 2, 3, padding=1) for n in (8, 16))


@dataclass(frozen=True)
class Peak:
    """Bytes that one call took beside its inputs and results."""

    case: str
    over: str  # "batch" or "image"
    size: int
    call: str
    bytes: int
    im2col: int  # what PyTorch's unfold would hold for this layer, batch and all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_common(parser, layers=False)
    parser.add_argument(
        "--seconds", type=positive_int, default=120, metavar="N", help="begin no new case after so long (default: 120)"
    )


def extra(call: Callable[[], Any]) -> int:
    """Give the greatest number of bytes that a call held at once, without what it gave back.

    Memory that earlier calls kept for later ones is let go of first, so that all the call uses is counted.
    """
    buffers.clear()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    given: int = sum(array.nbytes for array in (result if isinstance(result, tuple) else (result,)))
    return max(0, peak - before - given)


def calls(layer: Layer) -> dict[str, Callable[[], Any]]:
    """Give the calls whose memory is looked at."""
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
    """Bytes of the whole matrix of windows, in float32."""
    _, height, width, _ = layer.output_shape
    return 4 * layer.batch * height * width * layer.kernel**2 * layer.channels


def measure(over: str, layers: tuple[Layer, ...], until: float) -> tuple[list[Peak], list[str]]:
    """Measure layers until the time is up; also give the names of those that were left out."""
    found: list[Peak] = []
    for place, layer in enumerate(layers):
        if time.perf_counter() > until:
            return found, [late.name for late in layers[place:]]
        print(f"[{over} {place + 1}/{len(layers)}] {layer.name}", file=sys.stderr, flush=True)
        size = layer.batch if over == "batch" else layer.height
        for name, call in calls(layer).items():
            call()  # plans and modules that a first call loads are not its work memory
            found.append(Peak(layer.name, over, size, name, extra(call), im2col(layer)))
    return found, []


def picture(peaks: list[Peak], limit: int, caption: str) -> bytes:
    """Draw the curves."""
    panels: dict[str, tuple[str, str, plot.Curves]] = {}
    for over, label in (("batch", "images in a batch"), ("image", "pixels on a side")):
        chosen = [peak for peak in peaks if peak.over == over]
        sizes = sorted({peak.size for peak in chosen})
        lines = {
            call: (sizes, [max(peak.bytes, 1) / MIB for peak in chosen if peak.call == call])
            for call in dict.fromkeys(peak.call for peak in chosen)
        }
        lines[IM2COL] = (sizes, [peak.im2col / MIB for peak in chosen if peak.call == "conv"])
        lines[LIMIT] = (sizes, [limit / MIB] * len(sizes))
        panels[f"Work memory over the {over}"] = (label, "MiB beside inputs and results", lines)
    return plot.curves(panels, caption, (IM2COL, LIMIT))


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    with opened(options, "memory", ()) as session:
        limit, until = _options.current().max_workspace, time.perf_counter() + options.seconds
        peaks: list[Peak] = []
        late: list[str] = []
        for over, layers in (
            ("batch", QUICK_BATCHES if options.quick else BATCHES),
            ("image", QUICK_IMAGES if options.quick else IMAGES),
        ):
            found, missing = measure(over, layers, until)
            peaks, late = peaks + found, late + missing
        names = list(dict.fromkeys(peak.call for peak in peaks))
        table = Table(["layer", *(f"{name}\nMiB" for name in names), "im2col\nMiB"])
        for case in dict.fromkeys(peak.case for peak in peaks):
            chosen = {peak.call: peak for peak in peaks if peak.case == case}
            cells = [number(chosen[name].bytes / MIB) for name in names]
            table.rows.append((case, *cells, number(chosen[names[0]].im2col / MIB)))
        goal = targets.Goal("work memory of every call, over max_workspace", worst=1.0)
        shares: dict[str, float | None] = {f"{p.call}, {p.case}": max(p.bytes, 1) / limit for p in peaks}
        notes = [
            "work memory: peak of tracemalloc in a call, less the results and with what it keeps for the next one, "
            f"max_workspace {limit // MIB} MiB; im2col: the matrix of windows that PyTorch's unfold makes of the batch"
        ]
        if late:
            notes.append(f"left out after {options.seconds} s: {'; '.join(late)}")
        drawn = None if options.png is None else picture(peaks, limit, session.caption)
        record = {"max_workspace": limit, "peaks": [asdict(peak) for peak in peaks], "left_out": late}
        return session.finish(table, record, notes, [targets.judge(goal, shares, not late)], drawn)
