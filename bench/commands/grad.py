"""``python -m bench grad``: the input gradient and the weight gradient, each alone, beside PyTorch's."""

from __future__ import annotations

import argparse

from bench.arguments import add_common, add_layers, add_set
from bench.contest.check import FLOAT32, agree
from bench.contest.contest import contests
from bench.contest.session import Session, opened
from bench.layers import INPUT, WEIGHT, Layer, draw
from bench.measure.measurement import Measurement
from bench.report import charts
from bench.report.columns import RATIO, lay_out, times
from bench.report.report import Report, deliver
from bench.sets import SETS

HELP = "time the two gradients of convolutions, each alone, beside PyTorch"
NOTES = (
    "PyTorch: aten.convolution_backward with a mask of one output, the faster of channels_last and contiguous "
    "(* contiguous); padding that differs between the sides is applied to its input beforehand, for nothing",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_layers(parser)
    add_common(parser)
    add_set(parser, SETS)


def measure(session: Session, layer: Layer) -> list[Measurement]:
    """Compare a layer's gradients with PyTorch's, then time them."""
    entries = session.enter(layer, draw(layer), (INPUT, WEIGHT))
    agree(layer.name, entries, "torch contiguous", (FLOAT32,))
    return session.hold(contests(layer.name, entries, session.rivals))


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    wanted = SETS[options.set]
    layers = wanted.choose(options.quick, options.layers)
    found: list[Measurement] = []
    with opened(options, "grad", ("torch",)) as session:
        for layer in session.each(layers):
            found += measure(session, layer)
        shown = [*times(session.titles), RATIO]
        title = "Time of xpconv ÷ time of PyTorch (less is better)"
        panel = charts.Bars(title, charts.ratios(found), "as fast as PyTorch")
        facts = {"set": options.set}
        table = lay_out(found, shown)
        return deliver(
            session, Report(found, [table], shown, NOTES, (), facts, lambda caption: charts.bars([panel], caption))
        )
