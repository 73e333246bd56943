"""``python -m bench device``: what every operation asks of a GPU, counted on the stand-in for CuPy.

Kernels, waits, copies from the host and bytes are counted, none of which depends on a device; times are modelled.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

import xpconv as xc
from bench.arguments import add_files
from bench.contest.session import opened
from bench.errors import UsageError
from bench.layers import FORWARD, INPUT, WEIGHT, Layer
from bench.measure.measurement import Measurement
from bench.measure.model import H200
from bench.report.columns import Labels, fact, lay_out
from bench.report.goals import Goal, judge
from bench.report.numbers import number
from bench.report.report import Report, deliver
from bench.report.table import Table
from bench.sets import QUICK, resnet50
from tests import standin
from tests.standin.operations import OPERATIONS, Given

HELP = "count the kernels, waits and bytes of every operation on CuPy's stand-in, and model ResNet-50 on a GPU"
BATCH = 32
PASSES = (FORWARD, INPUT, WEIGHT)
LABELS = Labels(("operation",), lambda one, same: (one.case,), lambda passes, first: ())
COUNTS = (
    fact("kernels", "kernels", "d"),
    fact("waits", "waits", "d"),
    fact("transfers", "copies from the host", "d"),
    fact("bytes_over_least", "bytes over the least"),
)
MOST = {  # kernels
    "conv, depthwise": 20,
    "max_pool_vjp": 12,
    "max_pool_vjp, padded": 24,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--quick", action="store_true", help="a few small layers, to see that it runs")
    add_files(parser, ("json", "markdown"))
    parser.set_defaults(rounds=None, threads=1, without=())


def watched(call: Callable[[], Any], arrays: Callable[[], Sequence[Any]]) -> tuple[Any, dict[str, Any]]:
    """Run a call twice and note what the second one asks of the device; constants, plans and memory are there then."""
    call()
    with standin.watch() as seen:
        found = call()
    results = found if isinstance(found, tuple) else (found,)
    least = sum(one.nbytes for one in (*arrays(), *results))
    return seen, {
        "kernels": len(seen.kernels),
        "waits": len(seen.waits),
        "transfers": sum(one.direction == "to device" for one in seen.transfers),
        "allocations": len(seen.allocations),
        "bytes": seen.moved,
        "bytes_over_least": seen.moved / least,
    }


def operations() -> list[Measurement]:
    """Count what each operation does, on small arrays of float32."""
    import cupy

    found = []
    for name, operation in OPERATIONS.items():
        given = Given(cupy.asarray)
        _, facts = watched(lambda run=operation, a=given: run(a), lambda a=given: a.made.values())  # type: ignore[misc]
        found.append(Measurement(name, "", facts=facts))
    return found


def convolutions(layers: Sequence[Layer]) -> list[Measurement]:
    """Count what each distinct layer does in each pass, and model its time; kernels are counted, not run."""
    found = []
    with standin.counting():
        for layer, times in Counter(layers).items():
            for passes, (call, arrays) in _calls(layer).items():
                seen, facts = watched(call, lambda a=arrays: a)  # type: ignore[misc]
                plan = xc.explain(layer.x_shape, layer.w_shape, **layer.keywords, of=OF[passes], device="cuda")
                facts |= {"times": times, "algorithm": plan.algorithm, "flops": seen.flops}
                facts["microseconds"] = 1e6 * H200.call_of(seen.kernels)
                found.append(Measurement(layer.name, passes, facts=facts))
    return found


OF: dict[str, Literal["conv", "input_grad", "weight_grad"]] = {
    FORWARD: "conv",
    INPUT: "input_grad",
    WEIGHT: "weight_grad",
}


def _calls(layer: Layer) -> dict[str, tuple[Callable[[], Any], tuple[Any, ...]]]:
    import cupy

    shapes = layer.x_shape, layer.w_shape, (layer.filters,), layer.output_shape
    x, w, b, dz = (cupy.empty(shape, np.float32) for shape in shapes)
    return {
        FORWARD: (lambda: xc.conv(x, w, b, **layer.keywords), (x, w, b)),
        INPUT: (lambda: xc.conv_input_grad(dz, w, layer.x_shape, **layer.keywords), (dz, w)),
        WEIGHT: (lambda: xc.conv_weight_grad(dz, x, layer.w_shape, **layer.keywords), (dz, x)),
    }


def by_layer(found: Sequence[Measurement]) -> Table:
    """Lay out a row for each layer: the algorithm, the kernels and the modelled time of each pass."""
    short = {FORWARD: "forward", INPUT: "to x", WEIGHT: "to w"}
    columns = [f"{short[passes]}{what}" for passes in PASSES for what in ("", "\nkernels", "\nµs")]
    table = Table(["layer", "times", *columns])
    for layer in dict.fromkeys(one.case for one in found):
        facts = [one.facts for one in found if one.case == layer]
        cells = ((one["algorithm"], str(one["kernels"]), number(one["microseconds"])) for one in facts)
        table.rows.append((layer, str(facts[0]["times"]), *(cell for three in cells for cell in three)))
    return table


def total(found: Sequence[Measurement], fact: str, *passes: str) -> float:
    """Add up over all layers, those that are alike as often as there are such."""
    chosen = (one.facts for one in found if one.passes in (passes or PASSES))
    return float(sum(facts["times"] * facts[fact] for facts in chosen))


def budgets(small: Sequence[Measurement], network: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Hold the counts against what they may be."""
    found = [
        judge(Goal(f"kernels of {one.case}", worst=MOST[one.case]), {one.case: one.facts["kernels"]})
        for one in small
        if one.case in MOST
    ]
    calm = sum(one.facts["waits"] == one.facts["transfers"] == 0 for one in small)
    goal = Goal("operations that neither wait nor copy from the host", least=100, unit=" %")
    found.append(judge(goal, {"share": 100 * max(calm / len(small), 1e-9)}))  # a mean of zeros has no logarithm
    forward = {one.case: one.facts["kernels"] for one in network if one.passes == FORWARD}
    found.append(judge(Goal("kernels of a convolution of ResNet-50, forward", worst=8), forward))
    for text, passes, kernels, milliseconds in (("forward", (FORWARD,), 220, 8), ("in all passes", PASSES, 660, 24)):
        head = f"ResNet-50 {text}, batch {BATCH}"
        found.append(judge(Goal(f"{head}: kernels", worst=kernels), {text: total(network, "kernels", *passes)}))
        modelled = total(network, "microseconds", *passes) / 1e3
        found.append(judge(Goal(f"{head}: modelled", worst=milliseconds, unit=" ms"), {text: modelled}))
    return found


def run(options: argparse.Namespace) -> int:
    """Count, print, write."""
    if not standin.install():
        raise UsageError("counts on the stand-in for CuPy, where CuPy itself has no device")
    with opened(options, "device") as session:
        small = operations()
        network = convolutions(QUICK if options.quick else resnet50(BATCH))
        notes = [
            f"counted in a second call, on {standin.describe()}",
            "bytes that kernels read and write, over those of the arguments and results",
            H200.assumptions(),
        ]
        notes += [
            f"ResNet-50, {passes}: {total(network, 'kernels', passes):.0f} kernels, "
            f"{total(network, 'microseconds', passes) / 1e3:.2f} ms modelled"
            for passes in PASSES
        ]
        tables = [lay_out(small, COUNTS, LABELS), by_layer(network)]
        goals = budgets(small, network)
        return deliver(session, Report([*small, *network], tables, notes=notes, goals=goals))
