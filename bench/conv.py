"""``python -m bench conv``: the course's loops, PyTorch on the CPU and xpconv, forward and forward with backward."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from typing import Any

import xpconv as xc
from bench import conv_report as report
from bench import torch_peer
from bench.arguments import add_common, check_files
from bench.check import Errors, check
from bench.conv_report import BOTH, FORWARD, Row
from bench.course_loops import CourseLoops, middle, scale
from bench.layers import LAYERS, QUICK, Data, Layer, draw, select
from bench.machine import available_cores, describe, machine_line, pause, threads_set
from bench.report import to_json, write
from bench.timing import CONTROL, Call, Control, Settings, Timing, interleave
from bench.torch_peer import FORMATS, TorchPeer

HELP = "time convolutions beside PyTorch on the CPU and the course's loops"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_common(parser)


@dataclass(frozen=True)
class Measured:
    """All that one layer gave; timings by pass and competitor."""

    layer: Layer
    errors: Errors
    elements: int  # of the output, on which the course's loops were timed
    scale: float  # products of the layer for each that the loops did
    timings: dict[str, dict[str, Timing]]


def competitors(layer: Layer, data: Data, control: Call, torch: Any) -> dict[tuple[str, str], Call]:
    """Give the calls of a round, in order, by pass and name; the control comes first."""
    loops = CourseLoops(layer, data, middle(layer))
    x, w, b, dz, keywords = data.x, data.w, data.b, data.dz, layer.keywords

    def forward() -> Any:
        return xc.conv(x, w, b, **keywords)

    def both() -> Any:
        return xc.conv(x, w, b, **keywords), xc.conv_vjp(dz, x, w, **keywords)

    peers = {} if torch is None else {form: TorchPeer(torch, layer, data, form) for form in FORMATS}
    calls: dict[tuple[str, str], Call] = {(CONTROL, CONTROL): control}
    calls[FORWARD, "course"] = loops.forward
    calls |= {(FORWARD, f"torch {form}"): peer.forward for form, peer in peers.items()}
    calls[FORWARD, "xpconv"] = forward
    calls[BOTH, "course"] = loops.both
    calls |= {(BOTH, f"torch {form}"): peer.both for form, peer in peers.items()}
    calls[BOTH, "xpconv"] = both
    return calls


def measure(layer: Layer, settings: Settings, control: Control, torch: Any) -> Measured:
    """Check a layer's results, then time it."""
    data, part = draw(layer), middle(layer)
    errors = check(layer, data, part, torch)
    calls = competitors(layer, data, control, torch)
    found = interleave(calls, settings)
    control.samples += found.pop((CONTROL, CONTROL)).samples
    timings: dict[str, dict[str, Timing]] = {FORWARD: {}, BOTH: {}}
    for (passes, name), timing in found.items():
        timings[passes][name] = timing
    return Measured(layer, errors, part.elements, scale(layer, part), timings)


def rows(measured: Measured) -> list[Row]:
    """Sum a layer up: one row for each pass."""
    result = []
    for passes, timings in measured.timings.items():
        errors = measured.errors.forward if passes == FORWARD else measured.errors.both
        peers = {name: timing.median for name, timing in timings.items() if name.startswith("torch ")}
        fastest = min(peers, key=peers.__getitem__, default=None)
        result.append(
            Row(
                layer=measured.layer.name,
                passes=passes,
                gflop=measured.layer.gflop * (1 if passes == FORWARD else 3),
                course=timings["course"].median * measured.scale,
                torch=None if fastest is None else peers[fastest],
                torch_format=None if fastest is None else fastest.removeprefix("torch "),
                xpconv=timings["xpconv"].median,
                error=errors["xpconv"],
                torch_error=errors.get("torch"),
                over_bound=measured.errors.over_bound if passes == FORWARD else None,
            )
        )
    return result


def _layer_record(measured: Measured) -> dict[str, Any]:
    layer = measured.layer
    plan = xc.explain(layer.x_shape, layer.w_shape, **layer.keywords)
    return {
        "name": layer.name,
        **asdict(layer),
        "output_shape": layer.output_shape,
        "gflop_forward": layer.gflop,
        "algorithm": plan.algorithm,
        "errors": asdict(measured.errors),
        "course_elements": measured.elements,
        "course_scale": measured.scale,
        "seconds": {p: {name: t.record() for name, t in timings.items()} for p, timings in measured.timings.items()},
        "rows": [{**asdict(row), "ratio": row.ratio, "speedup": row.speedup} for row in rows(measured)],
    }


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    check_files(options)
    layers = select(QUICK if options.quick else LAYERS, options.layers)
    rounds = options.rounds or (2 if options.quick else 15)
    threads = options.threads or available_cores()
    torch = torch_peer.load()
    settings = Settings.quick(rounds) if options.quick else Settings(rounds, pause())
    if torch is None:
        print("PyTorch is not installed: comparing with the rest (python -m pip install torch)")
    control, measured = Control(settings.control_size), []
    with threads_set(threads, torch):
        machine = describe(threads, torch)
        print(machine_line(machine), flush=True)
        for count, layer in enumerate(layers, 1):
            print(f"[{count}/{len(layers)}] {layer.name}, {rounds} rounds", file=sys.stderr, flush=True)
            measured.append(measure(layer, settings, control, torch))
        layer_records = [_layer_record(one) for one in measured]
    every = [row for one in measured for row in rows(one)]
    table = report.table(every)
    targets = report.targets(every, [layer.name for layer in LAYERS])
    notes = report.notes(settings, torch is not None)
    if options.quick:
        notes.insert(0, "quick: tiny layers, to see that the benchmark runs; the times mean nothing")
    table.show()
    print("\n".join([control.line(), *notes, *map(report.target_line, targets)]), flush=True)
    if options.json is not None:
        record = {
            "benchmark": "conv",
            "machine": machine,
            "dtype": "float32",
            "layout": "channels_last",
            "quick": options.quick,
            "settings": asdict(settings),
            "control": {"operations": 2 * control.size**3, "seconds": control.samples},
            "layers": layer_records,
            "geometric_means": report.means(every),
            "targets": targets,
        }
        write(options.json, to_json(record))
    if options.markdown is not None:
        lines = [*table.markdown(), "", *(f"- {line}" for line in (machine_line(machine), control.line(), *notes))]
        write(options.markdown, "\n".join([*lines, *(f"- {report.target_line(t)}" for t in targets)]) + "\n")
    if options.png is not None:
        from bench.chart import ratios

        write(options.png, ratios(every, machine_line(machine)))
    return 0
