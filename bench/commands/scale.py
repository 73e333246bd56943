"""``python -m bench scale``: time over batch, pixels and threads; both layouts; float64 beside PyTorch's."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.arguments import add_common
from bench.contest.contest import Contest, contests
from bench.contest.session import Session, opened
from bench.layers import BOTH, FORWARD, Data, Layer, draw
from bench.measure.machine import threads_set
from bench.measure.measurement import XPCONV, Measurement, by_pass
from bench.peers.fast import FAST
from bench.peers.peer import Entry, Where
from bench.report import charts, goals
from bench.report.columns import RATIO, lay_out, means, times
from bench.report.numbers import milliseconds, number
from bench.report.report import Report, deliver
from bench.report.table import Table
from bench.sets import FIRST, QUICK

HELP = "time over batch, pixels and threads; both layouts; float64 beside PyTorch"
PASSES = (FORWARD, BOTH)
BASE = Layer(8, 28, 28, 64, 64, 3, padding=1)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIDES = (14, 28, 56, 112, 224)
THREADS, FAST_THREADS = "threads", "threads, fast"
LABELS = {"batch": "images in a batch", "pixels": "pixels of one image"}
EACH = {"batch": ("Time of one image in a batch", "ms", 1e3), "pixels": ("Time of one pixel of an image", "ns", 1e9)}
SPEED_UP, FAST_SPEED_UP = 1.7, 1.6  # of two threads
LARGEST = 3
FIRST_LAYOUT, LAST_LAYOUT = "channels_first", "channels_last"
NOTES = (
    f"slope: exponent of time over size by least squares on logarithms, on the greatest {LARGEST} sizes; 1 is linear",
    "layouts: the same images channels_first and channels_last, each given and got in its layout",
    "float64: against the faster memory format of PyTorch's float64",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_common(parser)


@dataclass(frozen=True)
class Curve:
    """Times of both passes of a layer over sizes."""

    over: str
    case: str
    points: Sequence[Measurement]
    name: str = XPCONV  # or with compiled kernels

    def seconds(self, passes: str) -> dict[int, float]:
        """List the times of a pass by size."""
        return {p.facts["size"]: p.timings[self.name].seconds for p in self.points if p.passes == passes}


def own(session: Session, layer: Layer, data: Data, where: Where | None = None, name: str = XPCONV) -> list[Entry]:
    """Enter both passes of xpconv."""
    found = session.peer(name).enter(layer, data, PASSES, where or session.where)
    return [entry for entry in found if entry.name == name]


def point(session: Session, layer: Layer, over: str, size: int, name: str = XPCONV) -> list[Contest]:
    """Make a point of a curve."""
    facts = {passes: {"over": over, "size": size} for passes in PASSES}
    found = contests(layer.name, own(session, layer, draw(layer), name=name), (), facts)
    return [replace(one, own=name) for one in found]


def over_sizes(session: Session, over: str, layers: Mapping[int, Layer], name: str) -> Curve:
    """Time both passes of layers in the same rounds."""
    every = [contest for size, layer in layers.items() for contest in point(session, layer, over, size)]
    return Curve(over, name, session.hold(every))


def over_threads(session: Session, layer: Layer, over: str = THREADS) -> Curve:
    """Time both passes with each number of threads, which a call sets before it runs."""
    name = FAST if over == FAST_THREADS else XPCONV
    torch = session.peer("torch")
    points: list[Measurement] = []
    for count in thread_counts(session.threads):
        # not in the same rounds: a change of threads in a round would be timed with it
        with threads_set(count, None if torch is None else torch.module):
            points += session.hold(point(session, layer, over, count, name))
    return Curve(over, layer.name, points, name)


def slope(seconds: Mapping[int, float]) -> float:
    """Fit the exponent of time over size, on the greatest sizes: on small ones a call's own cost counts."""
    sizes = sorted(seconds)[-LARGEST:]
    if len(sizes) < 2:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log([seconds[size] for size in sizes]), 1)[0])


def thread_counts(most: int) -> list[int]:
    """List 1, 2, 4 and so on, and the greatest number."""
    return sorted({*(2**k for k in range(most.bit_length()) if 2**k <= most), most})


def channels_first(data: Data) -> Data:
    """Lay the same data out channels first."""
    # (N, H, W, C) -> (N, C, H, W), (K, K, C/G, F) -> (F, C/G, K, K)
    x, dz = (np.ascontiguousarray(array.transpose(0, 3, 1, 2)) for array in (data.x, data.dz))
    return Data(x, np.ascontiguousarray(data.w.transpose(3, 2, 0, 1)), data.b, dz)


def layouts(session: Session, layer: Layer) -> list[Contest]:
    """Hold channels_first against channels_last."""
    data = draw(layer)
    first = own(session, layer, channels_first(data), replace(session.where, layout=FIRST_LAYOUT))
    named = [
        *(replace(entry, name=LAST_LAYOUT) for entry in own(session, layer, data)),
        *(replace(entry, name=FIRST_LAYOUT) for entry in first),
    ]
    return [replace(one, own=FIRST_LAYOUT) for one in contests(layer.name, named, (LAST_LAYOUT,))]


def doubles(session: Session, layer: Layer) -> list[Contest]:
    """Hold float64 against PyTorch's."""
    entries = session.enter(layer, draw(layer), PASSES, replace(session.where, dtype="float64"))
    return contests(layer.name, entries, session.rivals)


def tabled(curves: Sequence[Curve]) -> Table:
    """Lay the ends of curves out, and their slopes or speed-ups."""
    table = Table(["over", "pass", "sizes", "least\nms", "greatest\nms", "slope or\nspeed-up"])
    for curve in curves:
        for passes in PASSES:
            seconds = curve.seconds(passes)
            first, last = seconds[min(seconds)], seconds[max(seconds)]
            figure = f"{number(first / last)} times" if curve.over not in LABELS else f"{slope(seconds):.2f}"
            sizes = f"{min(seconds)} to {max(seconds)}"
            cells = (milliseconds(first), milliseconds(last), figure)
            table.rows.append((f"{curve.over}: {curve.case}", passes, sizes, *cells))
    return table


def judged(name: str, mean: float, values: Mapping[str, Mapping[str, float | None]]) -> list[dict[str, Any]]:
    """Judge a target of both passes, by pass and case."""
    return [goals.judge(goals.Goal(f"{name}, {passes}", mean), values.get(passes, {})) for passes in PASSES]


def second_thread(curves: Sequence[Curve]) -> dict[str, dict[str, float | None]]:
    """Divide the time with two threads by that with one, by pass and case."""
    found: dict[str, dict[str, float | None]] = {passes: {} for passes in PASSES}
    for curve in curves:
        for passes in PASSES:
            seconds = curve.seconds(passes)
            found[passes][curve.case] = seconds[2] / seconds[1] if 2 in seconds else None
    return found


def chart(curves: Sequence[Curve], caption: str) -> bytes:
    """Draw what one image and one pixel cost in calls of every size, and what more threads save on each layer."""
    panels = [
        charts.Curves(
            title,
            LABELS[curve.over],
            unit,
            {passes: _each(curve.seconds(passes), factor) for passes in by_pass(curve.points)},
        )
        for curve in curves
        if curve.over in LABELS
        for title, unit, factor in [EACH[curve.over]]
    ]
    gained = [[curve for curve in curves if curve.over == over] for over in (THREADS, FAST_THREADS)]
    return charts.curves(panels, caption, [_gains(those) for those in gained if those])


def _each(seconds: Mapping[int, float], factor: float) -> tuple[list[int], list[float]]:
    """Divide times by sizes."""
    return list(seconds), [factor * value / size for size, value in seconds.items()]


def _gains(curves: Sequence[Curve]) -> charts.Bars:
    """Divide the time with one thread by that with the most, by pass and case."""
    most = max((size for curve in curves for size in curve.seconds(FORWARD)), default=1)
    series: dict[str, dict[str, float | None]] = {passes: {} for passes in PASSES}
    for curve in curves:
        for passes in PASSES:
            seconds = curve.seconds(passes)
            series[passes][curve.case] = seconds[1] / seconds[most]
    title = f"Times faster with {most} threads" + ", compiled" * (curves[0].over == FAST_THREADS)
    return charts.Bars(title, series, "no gain", first="most")


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    base, layers = (QUICK[0], QUICK[:1]) if options.quick else (BASE, FIRST)
    batches, sides = ((1, 2), (8, 16)) if options.quick else (BATCHES, SIDES)
    sized = {
        "batch": {n: replace(base, batch=n) for n in batches},
        "pixels": {n * n: replace(base, batch=1, height=n, width=n) for n in sides},
    }
    with opened(options, "scale", ("torch", "fast")) as session:
        curves = [over_sizes(session, over, chosen, base.name) for over, chosen in sized.items()]
        ways = [THREADS, FAST_THREADS] if session.peer(FAST) else [THREADS]
        each = session.each(tuple(dict.fromkeys((base, *layers))))
        threads = [over_threads(session, layer, over) for layer in each for over in ways]
        gained = {over: second_thread([curve for curve in threads if curve.over == over]) for over in ways}
        first: list[Measurement] = []
        wide: list[Measurement] = []
        for layer in session.each(layers):
            first += session.hold(layouts(session, layer))
            wide += session.hold(doubles(session, layer))
        both = [*times({LAST_LAYOUT: LAST_LAYOUT, FIRST_LAYOUT: FIRST_LAYOUT}), RATIO]
        doubled = [*times({name: f"{title} float64" for name, title in session.titles.items()}), RATIO]
        facts = {
            "slopes": {curve.over: {passes: slope(curve.seconds(passes)) for passes in PASSES} for curve in curves},
            "layouts": {"measurements": [one.record() for one in first], "geometric_means": means(first, both)},
            "float64": {"measurements": [one.record() for one in wide], "geometric_means": means(wide, doubled)},
        }
        return deliver(
            session,
            Report(
                [one for curve in (*curves, *threads) for one in curve.points],
                [tabled([*curves, *threads]), lay_out(first, both), lay_out(wide, doubled)],
                notes=NOTES,
                goals=[
                    *judged("channels_first over channels_last", 1.3, charts.ratios(first)),
                    *judged("float64 against PyTorch's float64", 1.2, charts.ratios(wide)),
                    *judged("two threads over one", 1 / SPEED_UP, gained[THREADS]),
                    *judged("two threads over one, fast", 1 / FAST_SPEED_UP, gained.get(FAST_THREADS, {})),
                ],
                facts=facts,
                chart=lambda caption: chart([*curves, *threads], caption),
            ),
        )
