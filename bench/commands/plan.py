"""``python -m bench plan``: how well the plan chooses, and the constants that it chooses by.

Random convolutions are run with every algorithm that serves them. The regret of a choice is its time over that of the
fastest algorithm. With ``--fit`` the constants of the cost model are fitted to the times, each weighed by its inverse,
so that relative errors count.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import xpconv as xc
from bench.arguments import add_files, positive_int
from bench.contest.session import opened
from bench.inside import CONSTANTS, candidates, counted, planned
from bench.layers import FORWARD, INPUT, WEIGHT, Layer
from bench.measure.measurement import Measurement, by_pass
from bench.measure.timing import Timing
from bench.report.numbers import milliseconds
from bench.report.report import Report, deliver
from bench.report.table import Table

HELP = "random layers with every algorithm: the regret of the plan's choice, and its constants fitted anew"
MOST_MADDS = 1e9  # so that a layer takes a fraction of a second
MOST_SLOW = 20.0  # an algorithm that is predicted to be so many times slower is not run
QUICK_COUNT = 6
WORST = 8  # that are listed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--count", type=positive_int, default=200, help="random layers (default: 200)")
    parser.add_argument("--rounds", type=positive_int, default=3, help="runs of each, of which the fastest counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fit", action="store_true", help="fit the constants to the times and print them")
    parser.add_argument("--quick", action="store_true", help="a few tiny layers, to see that it runs")
    add_files(parser, ("json", "markdown"))
    parser.set_defaults(threads=1, without=())


def draw(rng: random.Random, quick: bool) -> Layer:
    """Draw a layer as networks have them, and some that they do not."""
    most = 2e5 if quick else MOST_MADDS
    while True:
        kernel = rng.choice((1, 1, 3, 3, 3, 3, 5, 7, 9, 15, 31))
        size = rng.choice((4, 7, 8, 14, 16, 28, 32, 56, 64, 112, 224, 512))
        groups = 1
        channels, filters = (rng.choice((1, 3, 4, 8, 16, 32, 64, 96, 128, 256, 512)) for _ in range(2))
        if channels > 1 and rng.random() < 0.2:
            groups = filters = channels
        batch = rng.choice((1, 1, 2, 4, 8, 16, 32))
        stride = rng.choice((1, 1, 1, 2)) if kernel > 1 else 1
        dilation = rng.choice((1,) * 9 + (2,)) if kernel == 3 else 1
        madds = batch * (size // stride) ** 2 * kernel**2 * channels * filters / groups
        if size + 2 * (kernel // 2) >= dilation * (kernel - 1) + 1 and most / 1e5 <= madds <= most:
            padding = dilation * (kernel // 2)
            return Layer(batch, size, size, channels, filters, kernel, stride, padding, groups, dilation)


def calls(layer: Layer) -> dict[str, Callable[[str], Any]]:
    """Make the three passes, each a function of the algorithm's name."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(layer.x_shape, np.float32), rng.standard_normal(layer.w_shape, np.float32)
    dz, options = np.ones(layer.output_shape, np.float32), layer.keywords
    return {
        FORWARD: lambda algorithm: xc.conv(x, w, algorithm=algorithm, **options),
        INPUT: lambda algorithm: xc.conv_input_grad(dz, w, layer.x_shape, algorithm=algorithm, **options),
        WEIGHT: lambda algorithm: xc.conv_weight_grad(dz, x, layer.w_shape, algorithm=algorithm, **options),
    }


def measure(layers: Sequence[Layer], rounds: int) -> list[Measurement]:
    """Time every algorithm on every pass of every layer."""
    found = []
    for count, layer in enumerate(layers, 1):
        print(f"\r[{count}/{len(layers)}] {layer.name:60.60}", end="", file=sys.stderr, flush=True)
        found += [_measured(layer, passes, call, rounds) for passes, call in calls(layer).items()]
    print(file=sys.stderr)
    return found


def _measured(layer: Layer, passes: str, call: Callable[[str], Any], rounds: int) -> Measurement:
    """Time what is predicted to be worth it, the fastest of some runs; what the plan chose is held against the best."""
    every = candidates(layer, passes)
    least = min(candidate.seconds for candidate in every)
    best = {}
    for candidate in every:
        if candidate.seconds <= MOST_SLOW * least:
            try:
                call(candidate.algorithm)
            except ValueError:  # a stride phase that it does not serve
                continue
            best[candidate.algorithm] = math.inf
    for _ in range(rounds):
        for name in best:
            start = time.perf_counter()
            call(name)
            best[name] = min(best[name], time.perf_counter() - start)
    timings = {name: Timing(1, samples=[seconds]) for name, seconds in best.items()}
    facts = {"counts": {name: counted(layer, passes, name) for name in best}}
    return Measurement(layer.name, passes, timings, facts, planned(layer, passes).algorithm, tuple(best))


def regrets(found: Sequence[Measurement]) -> list[float]:
    """List the chosen times over the best, where the choice was run."""
    return [one.ratio for one in found if one.ratio is not None]


def chosen_by(found: Sequence[Measurement], constants: Sequence[float]) -> list[Measurement]:
    """Choose anew, by these constants."""
    again = []
    for one in found:
        price = {name: float(np.dot(counts, constants)) for name, counts in one.facts["counts"].items()}
        again.append(replace(one, own=min(price, key=price.__getitem__)))
    return again


def fit(found: Sequence[Measurement], steps: int = 20_000) -> list[float]:
    """Fit the constants, none negative: least squares of predicted over measured time against 1."""
    rows = [
        np.array(counts) / one.timings[name].seconds for one in found for name, counts in one.facts["counts"].items()
    ]
    matrix = np.array(rows)
    scale = np.abs(matrix).max(axis=0)
    scale[scale == 0] = 1
    matrix = matrix / scale
    gram, target = matrix.T @ matrix, matrix.sum(axis=0)
    result = np.zeros(len(scale))
    for step in range(steps):  # coordinate descent, which keeps each within its bound
        i = step % len(result)
        if gram[i, i] > 0:
            result[i] = max(result[i] + (target[i] - gram[i] @ result) / gram[i, i], 0.0)
    return [float(constant) for constant in result / scale]


def tabled(found: Sequence[Measurement]) -> Table:
    """Lay the regrets out by pass."""

    def row(name: str, values: Sequence[float]) -> tuple[str, ...]:
        taken = sum(value == 1 for value in values) / len(values)
        return (name, str(len(values)), f"{statistics.fmean(values):.3f}", f"{max(values):.2f}", f"{taken:.0%}")

    table = Table(["pass", "layers", "mean regret", "worst", "best taken"])
    table.rows += [row(passes, values) for passes, one in by_pass(found).items() if (values := regrets(one))]
    table.summary.append(row("all", regrets(found)))
    return table


def worst(found: Sequence[Measurement]) -> list[str]:
    """List the choices that cost most."""
    ranked = sorted((one for one in found if one.ratio is not None), key=lambda one: -(one.ratio or 0))
    lines = []
    for one in ranked[:WORST]:
        times = ", ".join(f"{name} {milliseconds(timing.seconds)} ms" for name, timing in one.timings.items())
        lines.append(f"regret {one.ratio:.2f}: {one.passes}, {one.case}: took {one.own}; {times}")
    return lines


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    rng = random.Random(options.seed)
    layers = [draw(rng, options.quick) for _ in range(QUICK_COUNT if options.quick else options.count)]
    with opened(options, "plan") as session:
        found = measure(layers, options.rounds)
        notes = worst(found)
        facts: dict[str, Any] = {"constants": CONSTANTS, "mean_regret": statistics.fmean(regrets(found))}
        if options.fit:
            facts["fitted"] = fit(found)
            again = regrets(chosen_by(found, facts["fitted"]))
            listed = ", ".join(f"{name} {value:.3g}" for name, value in zip(CONSTANTS, facts["fitted"], strict=True))
            mean = statistics.fmean(again)
            notes.append(f"fitted: {listed}")
            notes.append(f"mean regret with these on the same layers: {mean:.3f}, worst {max(again):.2f}")
        return deliver(session, Report(found, [tabled(found)], notes=notes, facts=facts))
