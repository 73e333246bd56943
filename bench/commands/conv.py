"""``python -m bench conv``: xpconv beside PyTorch, ONNX Runtime, JAX and the course's loops, on sets of layers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import xpconv as xc
from bench.arguments import add_common, add_layers, add_set
from bench.contest.check import check
from bench.contest.contest import contests
from bench.contest.session import Session, opened
from bench.layers import BOTH, FORWARD, Layer, draw
from bench.measure.measurement import Measurement
from bench.peers.fast import FAST
from bench.report import charts, goals
from bench.report.columns import BY_LAYER, COMPILED, Column, fact, lay_out, over_fastest, times
from bench.report.numbers import number
from bench.report.report import Report, deliver
from bench.sets import FEW_CHANNELS, FIRST, RESNET50, SETS

HELP = "time convolutions beside PyTorch, ONNX Runtime, JAX and the course's loops"
PASSES = (FORWARD, BOTH)
PEERS = ("torch", "onnx", "jax", "fast")
MOST_TIMES_PYTORCH = 1.6
LEAST_TIMES_COURSE = 1000.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_layers(parser)
    add_common(parser)
    add_set(parser, SETS)


def to_torch(one: Measurement) -> float | None:
    """Divide our time by PyTorch's."""
    return one.over("torch")


def speed_up(one: Measurement) -> float | None:
    """Divide the course's time by ours."""
    ratio = one.over("course")
    return None if ratio is None else 1 / ratio


def columns(session: Session) -> list[Column]:
    """List what is shown of each layer and pass."""
    return [
        fact("gflop", "GFLOP", ".3g"),
        *times(session.titles),
        Column("xpconv ÷\nPyTorch", to_torch, mean="ratio"),
        Column("xpconv ÷\nfastest", lambda one: one.ratio, mean="to_fastest", needs="onnx"),
        *COMPILED,
        Column("course ÷\nxpconv", speed_up, mean="speedup"),
        fact("error", "error", ".1e"),
        fact("over_bound", "error ÷\nbound", ".2g"),
    ]


def measure(session: Session, layer: Layer) -> tuple[list[Measurement], dict[str, Any]]:
    """Check a layer's results, then time it; also list what is known of it."""
    data = draw(layer)
    entries = session.enter(layer, data, PASSES)
    errors = check(session, layer, data, entries)
    facts: dict[str, dict[str, Any]] = {
        passes: {"gflop": layer.gflop * times, "error": errors.of[passes]["xpconv"], "errors": errors.of[passes]}
        for passes, times in ((FORWARD, 1), (BOTH, 3))
    }
    facts[FORWARD]["over_bound"] = errors.over_bound
    plan = xc.explain(layer.x_shape, layer.w_shape, **layer.keywords)
    about = {
        **asdict(layer),
        "output_shape": layer.output_shape,
        "algorithm": plan.algorithm,
        "compared_with": errors.exact,
    }
    return session.hold(contests(layer.name, entries, session.rivals, facts)), about


@dataclass(frozen=True)
class Kind:
    """A kind of layer with its targets: the greatest mean and worst ratio of a pass, to the fastest rival."""

    text: str
    of: Callable[[Layer], bool]
    limits: Mapping[str, tuple[float, float]]
    fast: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # those with compiled kernels
    all_of: tuple[Layer, ...] = ()  # judged only when these were measured


KINDS = (
    Kind(
        "3×3, stride 1, 64 channels and more",
        lambda one: (one.kernel, one.stride, one.groups) == (3, 1, 1) and min(one.channels, one.filters) >= 64,
        {FORWARD: (0.70, 1.0), BOTH: (0.65, 1.0)},
        {FORWARD: (0.60, 1.0), BOTH: (0.60, 1.0)},
    ),
    Kind(
        "every convolution of ResNet-50",
        lambda one: one in RESNET50,
        {FORWARD: (0.90, 1.4), BOTH: (0.85, 1.3)},
        {FORWARD: (0.85, 1.2), BOTH: (0.85, 1.2)},
        RESNET50,
    ),
    Kind(
        "depthwise 3×3 and 7×7",
        lambda one: one.depthwise and one.kernel in (3, 7),
        {FORWARD: (2.0, 3.0), BOTH: (2.0, 3.0)},
        {FORWARD: (1.3, 2.0), BOTH: (1.0, 1.5)},
    ),
    Kind(
        "grouped",
        lambda one: one.groups > 1 and not one.depthwise,
        {FORWARD: (3.0, 4.0), BOTH: (2.0, 3.0)},
        {FORWARD: (1.5, 2.0), BOTH: (1.2, 1.5)},
    ),
    Kind(
        "few channels",
        lambda one: one in FEW_CHANNELS,
        {FORWARD: (1.5, 1.8), BOTH: (1.2, 1.5)},
        {FORWARD: (1.2, 1.6), BOTH: (1.0, 1.4)},
        FEW_CHANNELS,
    ),
    Kind("kernels of 31 and more", lambda one: one.kernel >= 31, {FORWARD: (0.3, 1.0), BOTH: (0.3, 1.0)}),
)


_fast = over_fastest(FAST)


def _own(one: Measurement) -> float | None:
    return one.ratio


def judged(layers: Sequence[Layer], found: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Judge each target that a measured layer falls under."""
    result = []
    for kind in KINDS:
        names = [layer.name for layer in layers if kind.of(layer)]
        if not names or not set(kind.all_of) <= set(layers):
            continue
        timed = any(one.best(FAST) is not None for one in found)
        for title, limits, ratio in (("", kind.limits, _own), (", fast", kind.fast if timed else {}, _fast)):
            for passes, (mean, worst) in limits.items():
                against = "the faster of PyTorch and ONNX Runtime" if passes == FORWARD else "PyTorch"
                values = {one.case: ratio(one) for one in found if one.passes == passes and one.case in names}
                goal = goals.Goal(f"{kind.text}{title}, {passes}, against {against}", mean, worst)
                result.append(goals.judge(goal, values))
    return result


def judged_first(found: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Judge the targets of the first layers; one of which a layer was not measured is not judged."""
    result = []
    near, fast = charts.ratios(found, to_torch), charts.ratios(found, speed_up)
    for passes in PASSES:
        goal = goals.Goal(f"first three layers, {passes}, against PyTorch", worst=MOST_TIMES_PYTORCH)
        result.append(goals.judge(goal, {layer.name: near[passes].get(layer.name) for layer in FIRST[:3]}))
    for passes in PASSES:
        goal = goals.Goal(f"times faster than the course's loops, {passes}", least=LEAST_TIMES_COURSE)
        result.append(goals.judge(goal, {layer.name: fast[passes].get(layer.name) for layer in FIRST}))
    return result


def chart(found: Sequence[Measurement], loops: bool, caption: str) -> bytes:
    """Draw the ratios, beside the course's loops too if they were run."""
    fastest = charts.Bars(
        "Time of xpconv ÷ time of the fastest rival (less is better)", charts.ratios(found), "as fast as the fastest"
    )
    torch = charts.Bars(
        "Time of xpconv ÷ time of PyTorch (less is better)", charts.ratios(found, to_torch), "as fast as PyTorch"
    )
    course = charts.Bars(
        "Time of the course's loops ÷ time of xpconv (more is better)",
        charts.ratios(found, speed_up),
        f"{number(LEAST_TIMES_COURSE)} times",
        LEAST_TIMES_COURSE,
        logarithmic=True,
        first="most",
    )
    return charts.bars([torch, course] if loops else [fastest], caption)


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    wanted = SETS[options.set]
    layers = wanted.choose(options.quick, options.layers)
    found: list[Measurement] = []
    about: dict[str, Any] = {}
    with opened(options, "conv", [*(["course"] if wanted.loops else []), *PEERS]) as session:
        for layer in session.each(layers):
            measured, about[layer.name] = measure(session, layer)
            found += measured
        shown = columns(session)
        exact = next(iter(about.values()))["compared_with"]
        error = f"error: largest error over the largest value, of z and, with backward, of dx, dw or db, beside {exact}"
        return deliver(
            session,
            Report(
                found,
                [lay_out(found, shown, BY_LAYER)],
                shown,
                ["float32, channels last", *session.notes(Layer), error],
                [*(judged_first(found) if options.set == "first" else []), *judged(layers, found)],
                {"set": options.set, "dtype": "float32", "layout": "channels_last", "layers": about},
                lambda caption: chart(found, wanted.loops, caption),
            ),
        )
