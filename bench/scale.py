"""``python -m bench scale``: time over batch, pixels and threads; both layouts; float64 beside PyTorch's."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import xpconv as xc
from bench import contest, plot, targets
from bench.arguments import add_common
from bench.contest import XPCONV, Contest, Outcome
from bench.conv_report import BOTH, FORWARD
from bench.layers import LAYERS, QUICK, Array, Data, Layer, draw
from bench.machine import threads_set
from bench.report import Table, number
from bench.session import Session, opened
from bench.timing import Call
from bench.torch_peer import FORMATS, TorchPeer

HELP = "time over batch, pixels and threads; both layouts; float64 beside PyTorch"
BASE = Layer(8, 28, 28, 64, 64, 3, padding=1)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
LINEAR = {passes: f"{passes}, linear" for passes in (FORWARD, BOTH)}
SIDES = (14, 28, 56, 112, 224)
SPEED_UP = 1.7  # of two threads
LARGEST = 3
NOTES = (
    f"slope: exponent of time over size by least squares on logarithms, on the greatest {LARGEST} sizes; 1 is linear",
    "layouts: the same images channels_first and channels_last, each given and got in its layout",
    "float64: against the faster memory format of PyTorch's float64",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_common(parser, layers=False)


def calls(layer: Layer, data: Data, **options: Any) -> dict[str, Call]:
    """Give xpconv's two passes."""
    keywords = layer.keywords | options

    def forward() -> Any:
        return xc.conv(data.x, data.w, data.b, **keywords)

    def both() -> Any:
        return forward(), xc.conv_vjp(data.dz, data.x, data.w, **keywords)

    return {FORWARD: forward, BOTH: both}


def over_sizes(session: Session, layers: Mapping[int, Layer]) -> dict[str, dict[int, float]]:
    """Time both passes of layers in the same rounds; seconds by pass and size."""
    every = {size: calls(layer, draw(layer)) for size, layer in layers.items()}
    found = session.time({f"{p}|{size}": call for size, passes in every.items() for p, call in passes.items()})
    return {p: {size: found[f"{p}|{size}"].median for size in layers} for p in (FORWARD, BOTH)}


def slope(seconds: Mapping[int, float]) -> float:
    """Fit the exponent of time over size, on the greatest sizes: on small ones a call's own cost counts."""
    sizes = sorted(seconds)[-LARGEST:]
    if len(sizes) < 2:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log([seconds[size] for size in sizes]), 1)[0])


def thread_counts(most: int) -> list[int]:
    """Give 1, 2, 4 and so on, and the greatest number."""
    return sorted({*(2**k for k in range(most.bit_length()) if 2**k <= most), most})


def over_threads(session: Session, layer: Layer) -> dict[str, dict[int, float]]:
    """Time both passes with each number of threads, which a call sets before it runs."""
    data, wanted = draw(layer), thread_counts(session.threads)
    result: dict[str, dict[int, float]] = {FORWARD: {}, BOTH: {}}
    for count in wanted:  # not in the same rounds: a change of threads in a round would be timed with it
        with threads_set(count, session.peers.torch):
            found = session.time(calls(layer, data))
        for passes, seconds in result.items():
            seconds[count] = found[passes].median
    return result


def channels_first(data: Data) -> Data:
    """Give the same data channels first."""
    # (N, H, W, C) -> (N, C, H, W), (K, K, C/G, F) -> (F, C/G, K, K)
    x, dz = (np.ascontiguousarray(array.transpose(0, 3, 1, 2)) for array in (data.x, data.dz))
    return Data(x, np.ascontiguousarray(data.w.transpose(3, 2, 0, 1)), data.b, dz)


def layouts(session: Session, layer: Layer) -> list[Outcome]:
    """Time channels_first, as xpconv, beside channels_last, as its rival."""
    data = draw(layer)
    last, first = calls(layer, data), calls(layer, channels_first(data), layout="channels_first")
    names = {"channels_last": last, XPCONV: first}
    contests = [
        Contest(layer.name, p, {name: found[p] for name, found in names.items()}, ("channels_last",))
        for p in (FORWARD, BOTH)
    ]
    return contest.hold(session, contests)


def doubles(session: Session, layer: Layer) -> list[Outcome]:
    """Time float64 beside PyTorch's."""
    data = draw(layer)

    def wide(array: Array) -> Array:
        return array.astype(np.float64)

    own = calls(layer, Data(*map(wide, (data.x, data.w, data.b, data.dz))))
    torch = session.peers.torch
    peers = {} if torch is None else {form: TorchPeer(torch, layer, data, form, "float64") for form in FORMATS}
    contests = []
    for passes in (FORWARD, BOTH):
        rivals = {f"torch {f}": peer.forward if passes == FORWARD else peer.both for f, peer in peers.items()}
        contests.append(Contest(layer.name, passes, {**rivals, XPCONV: own[passes]}))
    return contest.hold(session, contests)


def _curve_rows(table: Table, what: str, found: Mapping[str, Mapping[int, float]], threads: bool = False) -> None:
    for passes, seconds in found.items():
        first, last = seconds[min(seconds)], seconds[max(seconds)]
        figure = f"{number(first / last)} times" if threads else f"{slope(seconds):.2f}"
        sizes = f"{min(seconds)} to {max(seconds)}"
        table.rows.append((what, passes, sizes, number(1e3 * first), number(1e3 * last), figure))


def _judged(name: str, mean: float, found: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [
        targets.judge(targets.Goal(f"{name}, {passes}", mean), contest.ratios(found, passes))
        for passes in (FORWARD, BOTH)
    ]


def _second_thread(found: Mapping[str, Mapping[str, Mapping[int, float]]]) -> list[dict[str, Any]]:
    """Judge the time with two threads over that with one."""
    return [
        targets.judge(
            targets.Goal(f"two threads over one, {passes}", 1 / SPEED_UP),
            {
                name: curves[passes][2] / curves[passes][1] if 2 in curves[passes] else None
                for name, curves in found.items()
            },
        )
        for passes in (FORWARD, BOTH)
    ]


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    with opened(options, "scale", ("torch",)) as session:
        base = QUICK[0] if options.quick else BASE
        layers = QUICK[:1] if options.quick else LAYERS
        batches, sides = ((1, 2), (8, 16)) if options.quick else (BATCHES, SIDES)
        found: dict[str, dict[str, dict[int, float]]] = {}
        session.progress(1, 5, f"batches of {base.name}")
        found["batch"] = over_sizes(session, {n: replace(base, batch=n) for n in batches})
        session.progress(2, 5, f"pixels of {base.name}")
        found["pixels"] = over_sizes(session, {n * n: replace(base, batch=1, height=n, width=n) for n in sides})
        session.progress(3, 5, f"threads on {base.name}")
        found["threads"] = over_threads(session, base)
        threads = {base.name: found["threads"]}
        threads |= {layer.name: over_threads(session, layer) for layer in layers if layer.name not in threads}
        first: list[Outcome] = []
        wide: list[Outcome] = []
        for layer in layers:
            session.progress(4, 5, f"layouts, {layer.name}")
            first += layouts(session, layer)
            session.progress(5, 5, f"float64, {layer.name}")
            wide += doubles(session, layer)
        table = Table(["over", "pass", "sizes", "least\nms", "greatest\nms", "slope or\nspeed-up"])
        for what, curves in found.items():
            if what != "threads":
                _curve_rows(table, f"{what}: {base.name}", curves)
        for name, curves in threads.items():
            _curve_rows(table, f"threads: {name}", curves, True)
        both = contest.table(first, {"channels_last": "channels_last", XPCONV: "channels_first"})
        doubled = contest.table(wide, {"torch": "PyTorch float64", XPCONV: "xpconv float64"})
        judged = [*_judged("channels_first over channels_last", 1.3, first),
                  *_judged("float64 against PyTorch's float64", 1.2, wide), *_second_thread(threads)]  # fmt: skip
        record = {
            "seconds": found, "threads": threads,
            "slopes": {w: {p: slope(s) for p, s in found[w].items()} for w in ("batch", "pixels")},
            "layouts": contest.records(first), "float64": contest.records(wide),
        }  # fmt: skip
        return session.finish(table, record, NOTES, judged, _picture(session, found), (both, doubled))


def _picture(session: Session, found: Mapping[str, Mapping[str, Mapping[int, float]]]) -> bytes | None:
    if session.options.png is None:
        return None
    labels = {"batch": "images in a batch", "pixels": "pixels of one image", "threads": "threads"}
    panels: dict[str, tuple[str, str, plot.Curves]] = {}
    for what, curves in found.items():
        lines = {p: (list(s), [1e3 * value for value in s.values()]) for p, s in curves.items()}
        for passes, (sizes, values) in list(lines.items()):
            sign = -1 if what == "threads" else 1
            lines[LINEAR[passes]] = (sizes, [values[-1] * (n / sizes[-1]) ** sign for n in sizes])
        panels[f"Time over {what}"] = (labels[what], "ms", lines)
    return plot.curves(panels, session.caption, tuple(LINEAR.values()))
