"""``python -m bench pool``: max and average pooling, forward and forward with backward."""

from __future__ import annotations

import argparse
from dataclasses import replace

from bench.arguments import add_common, add_layers
from bench.contest.check import agree
from bench.contest.contest import contests
from bench.contest.session import Session, opened
from bench.layers import BOTH, FORWARD, Pool, draw
from bench.measure.measurement import Measurement
from bench.report import charts, goals
from bench.report.columns import COMPILED, RATIO, lay_out, times
from bench.report.report import Report, deliver
from bench.sets import POOL_SETS, POOLS

HELP = "time max and average pooling beside PyTorch, ONNX Runtime and JAX"
PASSES = (FORWARD, BOTH)
GOAL = (1.2, 2.0)
TOLERANCE = 1e-5
NOTE = "ratio: time of xpconv over that of the faster of PyTorch and ONNX Runtime, with backward of PyTorch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_layers(parser)
    add_common(parser)


def measure(session: Session, pool: Pool) -> list[Measurement]:
    """Compare the results, then time both passes."""
    entries = session.enter(pool, draw(pool), PASSES, replace(session.where, formats=("channels_last",)))
    agree(pool.name, entries, "torch channels_last", (TOLERANCE,))
    return session.hold(contests(pool.name, entries, session.rivals))


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    pools = POOL_SETS["pools"].choose(options.quick, options.layers)
    found: list[Measurement] = []
    with opened(options, "pool", ("torch", "onnx", "jax", "fast")) as session:
        for pool in session.each(pools):
            found += measure(session, pool)
        ratios = charts.ratios(found)
        judged = [
            goals.judge(goals.Goal(f"pooling, {passes}", *GOAL), values, pools == POOLS)
            for passes, values in ratios.items()
        ]
        shown = [*times(session.titles), RATIO, *COMPILED]
        title = "Pooling: time of xpconv ÷ time of the fastest rival (less is better)"
        panel = charts.Bars(title, ratios, "as fast as the fastest")
        table, notes = lay_out(found, shown), [*session.notes(Pool), NOTE]
        return deliver(
            session, Report(found, [table], shown, notes, judged, {}, lambda caption: charts.bars([panel], caption))
        )
