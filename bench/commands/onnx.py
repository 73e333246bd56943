"""``python -m bench onnx``: xpconv's operators in ONNX's reference evaluator, beside onnx's own and ONNX Runtime."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.arguments import add_common, add_layers, names_of
from bench.contest.check import FLOAT32, agree
from bench.contest.contest import Contest
from bench.contest.session import Session, opened
from bench.contest.turns import Call
from bench.errors import UsageError
from bench.layers import FORWARD, Layer, draw
from bench.measure.measurement import XPCONV, Measurement
from bench.networks import NAMES, QUICK, Network, image, read, weighted
from bench.peers.evaluator import OURS, OURS_FAST, PLAIN, THEIRS
from bench.peers.peer import Entry
from bench.report import charts, goals
from bench.report.columns import BY_LAYER, Column, lay_out, over_fastest, times
from bench.report.report import Report, deliver
from bench.sets import EVALUATOR

HELP = "time xpconv's operators in ONNX's reference evaluator beside onnx's own and ONNX Runtime"
RUNTIME, EVALUATORS = "onnx", "evaluator"
LAYERS, NETWORKS = "layers", "networks"
LEAST_TIMES = {PLAIN: 200.0, THEIRS: 20.0}
MOST_TIMES_RUNTIME = 1.5
NOTE = (
    "networks: one image, drawn weights; onnx, xpconv: the model's convolutions and pools in the evaluator, one after "
    "another; ONNX Runtime: the whole model, its other operators as well"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--only", choices=(LAYERS, NETWORKS), help="measure only these (default: both)")
    add_layers(parser)
    parser.add_argument(
        "--networks", type=names_of(NAMES), metavar="NAME,...", help=f"only these, of {', '.join(NAMES)}"
    )
    add_common(parser)


def measure(session: Session, case: str, entries: Sequence[Entry], more: Mapping[str, Call]) -> list[Measurement]:
    """Hold results against each other, then time the evaluators, and what computes more than they do."""
    agree(case, entries, OURS, (FLOAT32,) * 1000)
    calls = {**more, **{entry.name: entry.call for entry in entries}}
    scales = {entry.name: entry.scale for entry in entries}
    return session.hold([Contest(case, FORWARD, calls, {}, OURS, (RUNTIME,), scales)])


def measure_layer(session: Session, layer: Layer) -> list[Measurement]:
    """Time one convolution."""
    entries = session.enter(layer, draw(layer), (FORWARD,))
    return measure(session, layer.name, [entry for entry in entries if entry.name != XPCONV], {})


def measure_network(session: Session, network: Network) -> list[Measurement]:
    """Time the convolutions and pools of a model."""
    model = weighted(network)
    runtime = session.peer(RUNTIME)
    more = {} if runtime is None else {RUNTIME: runtime.whole(network.path, session.where)}
    return measure(session, network.name, session.peer(OURS).nodes(model, image(model)), more)


def times_faster(name: str) -> Callable[[Measurement], float | None]:
    """Divide the time of one of onnx's operators by ours."""

    def ratio(one: Measurement) -> float | None:
        over = one.over(name)
        return None if over is None else 1 / over

    return ratio


def columns(session: Session) -> list[Column]:
    """List what is shown of a layer or a network."""
    return [
        *times({name: title for name, title in session.titles.items() if name != XPCONV}),
        Column("plain ÷\nxpconv", times_faster(PLAIN), mean="plain"),
        Column("onnx ÷\nxpconv", times_faster(THEIRS), mean="theirs"),
        Column("xpconv ÷\nONNX R.", lambda one: one.ratio, mean="ratio"),
        Column("fast ÷\nONNX R.", over_fastest(OURS_FAST), mean="fast"),
    ]


def judged(
    found: Sequence[Measurement], value: Callable[[Measurement], float | None], goal: goals.Goal, complete: bool
) -> list[dict[str, Any]]:
    """Judge some measurements, if there are any."""
    return [goals.judge(goal, {one.case: value(one) for one in found}, complete)] if found else []


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    layers = () if options.only == NETWORKS else EVALUATOR.choose(options.quick, options.layers)
    names = () if options.only == LAYERS else options.networks or (QUICK if options.quick else NAMES)
    alone: list[Measurement] = []
    whole: list[Measurement] = []
    with opened(options, "onnx", (RUNTIME, EVALUATORS)) as session:
        if session.peer(OURS) is None:
            raise UsageError("wants the package onnx: python -m pip install onnx")
        for layer in session.each(layers):
            alone += measure_layer(session, layer)
        for network in session.each([read(name) for name in names]):
            whole += measure_network(session, network)
        shown = columns(session)
        complete = {LAYERS: layers == EVALUATOR.cases, NETWORKS: names == NAMES}
        targets = [
            goal
            for name, text in ((PLAIN, "its plain Conv"), (THEIRS, "its Conv"))
            for goal in judged(
                alone,
                times_faster(name),
                goals.Goal(f"layers in onnx's evaluator, times faster than with {text}", least=LEAST_TIMES[name]),
                complete[LAYERS],
            )
        ]
        faster = goals.Goal("networks in onnx's evaluator, times faster than with its own", least=LEAST_TIMES[THEIRS])
        targets += judged(whole, times_faster(THEIRS), faster, complete[NETWORKS])
        limit = goals.Goal("convolutions and pools of networks, to ONNX Runtime's whole run", mean=MOST_TIMES_RUNTIME)
        targets += judged(whole, lambda one: one.ratio, limit, complete[NETWORKS])
        every = [*alone, *whole]
        panel = charts.Bars(
            "Time with onnx's own operators ÷ time with xpconv's (more is better)",
            charts.ratios(every, times_faster(THEIRS)),
            "as fast",
            logarithmic=True,
            first="most",
        )
        tables = [lay_out(found, shown, BY_LAYER) for found in (alone, whole) if found]
        notes = [*session.notes(Layer), *([NOTE] if whole else [])]
        return deliver(
            session, Report(every, tables, shown, notes, targets, {}, lambda caption: charts.bars([panel], caption))
        )
