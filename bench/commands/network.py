"""``python -m bench network``: the convolutions and pools of whole networks, for one image."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import xpconv as xc
from bench.arguments import add_common, names_of
from bench.contest.check import FLOAT32, agree
from bench.contest.contest import Contest
from bench.contest.session import Session, opened
from bench.contest.turns import Call
from bench.layers import FORWARD, Layer, Pool, draw
from bench.measure.measurement import XPCONV, Measurement
from bench.networks import NAMES, QUICK, Network, read
from bench.peers.fast import FAST, PREPARED
from bench.peers.peer import Entry
from bench.report import charts, goals
from bench.report.columns import BY_LAYER, COMPILED, RATIO, fact, lay_out, times
from bench.report.report import Report, deliver

HELP = "time the convolutions and pools of whole networks beside ONNX Runtime and PyTorch"
GOAL = (1.1, 1.6)
RUNTIME, TORCH = "onnx", "torch contiguous"
NOTES = (
    "float32, one image, the models that the package onnx ships. xpconv: their convolutions and pools one by one, "
    "channels last, each on arrays of its own; fast: with compiled kernels; prepared: the convolutions by prepare_conv",
    "PyTorch: the same layers, in the faster of its memory formats (* contiguous); ONNX Runtime: the whole model, its "
    "other operators as well",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "--networks", type=names_of(NAMES), metavar="NAME,...", help=f"only these, of {', '.join(NAMES)}"
    )
    add_common(parser)


def in_turn(calls: Sequence[Call], compiled: bool | None) -> Call:
    """Make one call of many, with compiled kernels or without."""

    def run() -> Any:
        with xc.set_options(compiled=compiled):
            for call in calls:
                call()

    return run


def measure(session: Session, network: Network) -> list[Measurement]:
    """Hold each layer's results against PyTorch's, then time all of them in a row, and the model in ONNX Runtime."""
    steps: list[dict[str, Entry]] = []
    runtime = session.peer(RUNTIME)
    peers = [peer for peer in session.peers if peer is not runtime]
    for case in network.cases:
        data = draw(case)
        entries = [entry for peer in peers for entry in peer.enter(case, data, (FORWARD,), session.where)]
        agree(f"{network.name}: {case.name}", entries, TORCH, (FLOAT32,))
        steps.append({entry.name: entry for entry in entries})
    calls: dict[str, Call] = {}
    for name in steps[0]:
        # a pool is not prepared
        chosen = [step.get(name) or step[FAST] for step in steps]
        calls[name] = in_turn([entry.call for entry in chosen], name in (FAST, PREPARED))
    if runtime is not None:
        calls = {RUNTIME: runtime.whole(network.path, session.where), **calls}
    facts = {
        "gflop": network.gflop,
        "convolutions": network.count(Layer),
        "pools": network.count(Pool),
    }
    own = PREPARED if PREPARED in calls else XPCONV
    return session.hold([Contest(network.name, FORWARD, calls, facts, own, session.rivals)])


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    names = options.networks or (QUICK if options.quick else NAMES)
    networks = [read(name) for name in names]
    found: list[Measurement] = []
    with opened(options, "network", ("torch", "onnx", "fast")) as session:
        for network in session.each(networks):
            found += measure(session, network)
        shown = [
            fact("gflop", "GFLOP", ".3g"),
            fact("convolutions", "convo-\nlutions"),
            fact("pools", "pools"),
            *times(session.titles),
            *COMPILED,
            RATIO,
        ]
        ratios = charts.ratios(found)
        goal = goals.Goal("networks of one image, against the faster of PyTorch and ONNX Runtime", *GOAL)
        judged = [goals.judge(goal, values, names == NAMES) for values in ratios.values()]
        panel = charts.Bars("Networks: time of ours ÷ time of the fastest rival", ratios, "as fast as the fastest")
        return deliver(
            session,
            Report(
                found,
                [lay_out(found, shown, BY_LAYER)],
                shown,
                NOTES,
                judged,
                {},
                lambda caption: charts.bars([panel], caption),
            ),
        )
