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
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

import xpconv as xc
from bench.arguments import positive_int
from bench.machine import describe, machine_line
from bench.report import Table, number, to_json, write
from xpconv import _options
from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.call import Call
from xpconv._arrays.space import numpy_space
from xpconv._plan.choose import choose
from xpconv._plan.rates import Rates, counts
from xpconv._shapes import read
from xpconv._shapes.geometry import Geometry
from xpconv.algorithms import REGISTRY

HELP = "random layers with every algorithm: the regret of the plan's choice, and its constants fitted anew"
PASSES = ("forward", "input gradient", "weight gradient")
CONSTANTS = [field.name for field in fields(Rates) if field.name != "measured"]
MOST_MADDS = 1e9  # so that a layer takes a fraction of a second
MOST_SLOW = 20.0  # an algorithm that is predicted to be so many times slower is not run


@dataclass(frozen=True)
class Sample:
    """One algorithm on one pass of one layer."""

    layer: int
    passes: str
    algorithm: str
    counts: tuple[float, ...]
    seconds: float
    chosen: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    from pathlib import Path

    parser.add_argument("--count", type=positive_int, default=200, help="random layers (default: 200)")
    parser.add_argument("--rounds", type=positive_int, default=3, help="runs of each, of which the fastest counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fit", action="store_true", help="fit the constants to the times and print them")
    parser.add_argument("--quick", action="store_true", help="a few tiny layers, to see that it runs")
    parser.add_argument("--json", type=Path, help="write the samples to this file")


def draw(rng: random.Random, quick: bool) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Draw the shapes and keywords of a layer as networks have them, and some that they do not."""
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
            options = {"stride": stride, "padding": dilation * (kernel // 2), "dilation": dilation, "groups": groups}
            return (batch, size, size, channels), (kernel, kernel, channels // groups, filters), options


def calls(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], options: dict[str, Any]
) -> dict[str, Callable[[str], Any]]:
    """Give the three passes, each a function of the algorithm's name."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(x_shape, np.float32), rng.standard_normal(w_shape, np.float32)
    dz = np.ones_like(xc.conv(x, w, **options))
    return {
        "forward": lambda algorithm: xc.conv(x, w, algorithm=algorithm, **options),
        "input gradient": lambda algorithm: xc.conv_input_grad(dz, w, x_shape, algorithm=algorithm, **options),
        "weight gradient": lambda algorithm: xc.conv_weight_grad(dz, x, w_shape, algorithm=algorithm, **options),
    }


def _planned(geometry: Geometry, gradient: bool, algorithm: str) -> Any:
    space, dtype = numpy_space(), np.dtype(np.float32)
    arithmetic = Arithmetic.of(space.xp, dtype, dtype, double=True)
    call = Call("bench", space, arithmetic, "channels_last", _options.current())
    return choose(call, geometry, algorithm, gradient=gradient)


def _counted(geometry: Geometry, passes: str, algorithm: str) -> tuple[float, ...]:
    """Count what a pass does; those of several stride phases together."""
    gradient = passes == "weight gradient"
    parts = [geometry] if passes != "input gradient" else [p.geometry for p in geometry.phases if p.geometry]
    total = np.zeros(len(CONSTANTS))
    for part in parts:
        plan = _planned(part, gradient, algorithm)
        found = REGISTRY[plan.algorithm]
        work = found.weight_grad_work(part) if gradient else found.forward_work(part)
        total += counts(work, part, 4, plan.tile, plan.single_taps)
    return tuple(total)


def measure(options: argparse.Namespace) -> tuple[list[Sample], list[str]]:
    """Time every algorithm on every layer, with one thread."""
    rng, samples, names = random.Random(options.seed), [], []
    count = 6 if options.quick else options.count
    for layer in range(count):
        x_shape, w_shape, keywords = draw(rng, options.quick)
        geometry = read.conv("bench", x_shape, w_shape, read.Windowing(**keywords))
        names.append(f"{'×'.join(map(str, x_shape))}→{w_shape[-1]} {w_shape[0]}×{w_shape[1]} {keywords}")
        print(f"\r[{layer + 1}/{count}] {names[-1]:100.100}", end="", file=sys.stderr, flush=True)
        for passes, call in calls(x_shape, w_shape, keywords).items():
            samples += _times(layer, passes, call, geometry, options.rounds)
    print(file=sys.stderr)
    return samples, names


def _times(layer: int, passes: str, call: Callable[[str], Any], geometry: Geometry, rounds: int) -> list[Sample]:
    plan = _planned(geometry, passes == "weight gradient", "auto")
    least = min(c.seconds for c in plan.candidates)
    ready = []
    for candidate in plan.candidates:
        if candidate.seconds <= MOST_SLOW * least:
            try:
                call(candidate.algorithm)
            except ValueError:  # a stride phase that it does not serve
                continue
            ready.append(candidate.algorithm)
    best = dict.fromkeys(ready, math.inf)
    for _ in range(rounds):
        for name in ready:
            start = time.perf_counter()
            call(name)
            best[name] = min(best[name], time.perf_counter() - start)
    # every stride phase of an input gradient is planned for itself; its choice is timed as the caller would see it
    counted = {name: _counted(geometry, passes, name) for name in ready}
    chosen = plan.algorithm
    if passes == "input gradient":
        chosen = _planned(max((p.geometry for p in geometry.phases if p.geometry), key=lambda g: g.flops), False,
                          "auto").algorithm  # fmt: skip
    return [Sample(layer, passes, name, counted[name], best[name], name == chosen) for name in ready]


def regrets(samples: list[Sample], price: Callable[[Sample], float] | None = None) -> list[tuple[float, Sample]]:
    """Give for each pass of each layer the chosen time over the best, with the sample that was chosen.

    With a price the cheapest counts as chosen, otherwise what the plan chose.
    """
    cases: dict[tuple[int, str], list[Sample]] = {}
    for sample in samples:
        cases.setdefault((sample.layer, sample.passes), []).append(sample)
    found = []
    for case in cases.values():
        taken = [s for s in case if s.chosen] if price is None else [min(case, key=price)]
        if taken:
            found.append((taken[0].seconds / min(s.seconds for s in case), taken[0]))
    return found


def fit(samples: list[Sample], steps: int = 20_000) -> np.ndarray[Any, Any]:
    """Fit the constants, none negative: least squares of predicted over measured time against 1."""
    matrix = np.array([s.counts for s in samples]) / np.array([[s.seconds] for s in samples])
    scale = np.abs(matrix).max(axis=0)
    scale[scale == 0] = 1
    matrix = matrix / scale
    gram, target = matrix.T @ matrix, matrix.sum(axis=0)
    found = np.zeros(len(scale))
    for step in range(steps):  # coordinate descent, which keeps each within its bound
        i = step % len(found)
        if gram[i, i] > 0:
            found[i] = max(found[i] + (target[i] - gram[i] @ found) / gram[i, i], 0.0)
    constants: np.ndarray[Any, Any] = found / scale
    return constants


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    with xc.set_options(threads=1):
        machine = describe(_options.current().threads, None)
        print(machine_line(machine), flush=True)
        samples, names = measure(options)
    found = regrets(samples)
    table = Table(["pass", "layers", "mean regret", "worst", "best taken"])
    for passes in PASSES:
        values = [value for value, sample in found if sample.passes == passes]
        share = sum(value == 1 for value in values) / len(values)
        table.rows.append(
            (passes, str(len(values)), f"{statistics.fmean(values):.3f}", f"{max(values):.2f}", f"{share:.0%}")
        )
    every = [value for value, _ in found]
    table.summary.append(
        ("all", str(len(every)), f"{statistics.fmean(every):.3f}", f"{max(every):.2f}",
         f"{sum(v == 1 for v in every) / len(every):.0%}")
    )  # fmt: skip
    table.show()
    print("worst:")
    for value, sample in sorted(found, key=lambda pair: -pair[0])[:8]:
        times = ", ".join(
            f"{s.algorithm} {number(1e3 * s.seconds)} ms"
            for s in samples if (s.layer, s.passes) == (sample.layer, sample.passes)
        )  # fmt: skip
        print(f"  {value:.2f}  {sample.passes}, {names[sample.layer]}: took {sample.algorithm}; {times}")
    if options.fit:
        constants = fit(samples)
        print("fitted:", ", ".join(f"{name} {value:.3g}" for name, value in zip(CONSTANTS, constants, strict=True)))
        again = [value for value, _ in regrets(samples, lambda s: float(np.dot(s.counts, constants)))]
        print(f"mean regret with these on the same layers: {statistics.fmean(again):.3f}, worst {max(again):.2f}")
    if options.json is not None:
        record = {
            "benchmark": "plan", "machine": machine, "layers": names, "constants": CONSTANTS,
            "samples": [s.__dict__ for s in samples], "mean_regret": statistics.fmean(every),
        }  # fmt: skip
        write(options.json, to_json(record))
    return 0
