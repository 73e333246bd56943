"""``python -m bench trees OLD NEW``: two checkouts of xpconv in one run, which take turns on each layer.

Each has a process of its own, which imports xpconv from its folder and the benchmark from here.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.arguments import add_common, add_layers, add_set, names_of
from bench.contest.contest import Contest
from bench.contest.session import Session, opened
from bench.contest.trees import There, Tree, enter
from bench.layers import BOTH, FORWARD, INPUT, WEIGHT, Case
from bench.measure.measurement import Measurement
from bench.report import charts
from bench.report.columns import Column, lay_out, times
from bench.report.numbers import geometric_mean, number
from bench.report.report import Report, deliver
from bench.sets import EXAMPLE, POOL_SETS, SETS, CaseSet

HELP = "time two checkouts of xpconv, in turns on each layer"
OLD, NEW = "old", "new"
PASSES = {"forward": FORWARD, "both": BOTH, "input": INPUT, "weight": WEIGHT}
EVERY: Mapping[str, CaseSet[Any]] = {**SETS, **POOL_SETS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    for name in (OLD, NEW):
        parser.add_argument(name, type=Path, metavar=name.upper(), help=f"folder of the {name} checkout")
    add_set(parser, EVERY)
    add_layers(parser)
    parser.add_argument(
        "--passes",
        type=names_of(PASSES),
        default=("forward", "both"),
        metavar="NAME,...",
        help=f"of {', '.join(PASSES)}, of which poolings have the first two (default: forward,both)",
    )
    add_common(parser, peers=False)


def measure(session: Session, trees: Sequence[Tree], case: Case, passes: Sequence[str]) -> list[Measurement]:
    """Compare the results of both trees, then time them."""
    contests = []
    for name, difference in enter(trees, case, passes).items():
        calls = {tree.name: There(tree, name, session.settings) for tree in trees}
        contests.append(Contest(case.name, name, calls, {"difference": difference}, NEW, (OLD,)))
    return session.hold(contests)


def bits(one: Measurement) -> str:
    """Say whether the results are the same."""
    difference: float = one.facts["difference"]
    return f"{difference:.1e}" if difference else "same"


def least(one: Measurement) -> float:
    """Divide the fastest rounds: what others take from the machine only ever adds to a time."""
    return one.timings[NEW].least / one.timings[OLD].least


COLUMNS = (
    *times({OLD: OLD, NEW: NEW}),
    Column("new ÷\nold", lambda one: one.ratio, mean="ratio"),
    Column("least ÷\nleast", least, mean="least_ratio"),
    Column("bits", lambda one: one.facts["difference"], bits),
)


def summary(found: Sequence[Measurement]) -> list[str]:
    """Say the mean and the worst of each pass."""
    lines = []
    for title, value in (("new ÷ old", lambda one: one.ratio), ("least new ÷ least old", least)):
        for passes, ratios in charts.ratios(found, value).items():
            worst = max(ratios, key=lambda case: ratios[case] or 0.0)
            mean = geometric_mean(ratios.values())
            lines.append(
                f"{title}, {passes}: geometric mean {number(mean)}, worst {number(ratios[worst])}: {worst}, "
                f"{len(ratios)} cases"
            )
    return lines


def example_line(found: Sequence[Measurement]) -> str:
    """Say what one call of the course's example takes."""
    (one,) = found
    listed = ", ".join(f"{name} {1e6 * timing.seconds:.1f} µs" for name, timing in one.timings.items())
    return f"the course's (2, 5, 7, 4) example, {one.passes}: {listed}, new ÷ old {number(one.ratio)}"


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    cases = EVERY[options.set].choose(options.quick, options.layers)
    passes = [PASSES[name] for name in options.passes]
    found: list[Measurement] = []
    with ExitStack() as stack:
        session = stack.enter_context(opened(options, "trees"))
        folders = {OLD: options.old, NEW: options.new}
        trees = [stack.enter_context(Tree(name, folder, session.threads)) for name, folder in folders.items()]
        versions = {tree.name: tree.version for tree in trees}
        for case in session.each(cases):
            found += measure(session, trees, case, passes)
        example = measure(session, trees, EXAMPLE, [FORWARD])
        title = "Time of the new tree ÷ time of the old one (less is better)"
        panel = charts.Bars(title, charts.ratios(found), "as fast as before")
        notes = [
            f"old: {versions[OLD]}; new: {versions[NEW]}; two processes, one of which waits",
            "least: the fastest of the rounds, where the rest of the machine took least",
            "bits: whether all results are the same, otherwise the largest difference over the largest value",
            *summary(found),
            example_line(example),
        ]
        facts = {"set": options.set, "trees": versions, "example": [one.record() for one in example]}
        table = lay_out(found, COLUMNS)
        return deliver(
            session, Report(found, [table], COLUMNS, notes, (), facts, lambda caption: charts.bars([panel], caption))
        )
