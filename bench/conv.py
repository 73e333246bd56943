"""``python -m bench conv``: xpconv beside PyTorch, ONNX Runtime, JAX and the course's loops, on sets of layers."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from typing import Any

import xpconv as xc
from bench import chart, jax_peer, onnx_peer, plot
from bench import conv_goals as goals
from bench import conv_report as report
from bench.arguments import add_common
from bench.check import Errors, check
from bench.conv_report import BOTH, FORWARD, Row
from bench.course_loops import CourseLoops, middle, scale
from bench.layers import BY_LOOPS, LAYERS, QUICK, QUICK_GROUPED, SETS, Data, Layer, draw, select
from bench.machine import machine_line
from bench.report import to_json, write
from bench.session import QUICK_NOTE, Session, opened
from bench.targets import line as goal_line
from bench.targets import unmeasured
from bench.timing import Call, Timing
from bench.torch_peer import FORMATS, TorchPeer

HELP = "time convolutions beside PyTorch, ONNX Runtime, JAX and the course's loops"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_common(parser)
    add_set(parser)


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a set of layers."""
    parser.add_argument("--set", choices=tuple(SETS), default="first", help="set of layers (default: first)")


def chosen_layers(options: argparse.Namespace) -> tuple[Layer, ...]:
    """Give the layers of the set whose names hold the text."""
    quick = QUICK if options.set in BY_LOOPS else QUICK_GROUPED
    return select(quick if options.quick else SETS[options.set], options.layers)


@dataclass(frozen=True)
class Measured:
    """All that one layer gave; timings by pass and competitor."""

    layer: Layer
    errors: Errors
    elements: int  # of the output, on which the course's loops ran
    scale: float  # products of the layer for each that the loops did
    timings: dict[str, dict[str, Timing]]


def competitors(
    layer: Layer, data: Data, session: Session, onnx: onnx_peer.OnnxPeer | None, loops: bool
) -> dict[tuple[str, str], Call]:
    """Give the calls of a round, in order, by pass and name."""
    x, w, b, dz, keywords = data.x, data.w, data.b, data.dz, layer.keywords
    torch, jax = session.peers.torch, session.peers.jax
    course = CourseLoops(layer, data, middle(layer)) if loops else None

    def forward() -> Any:
        return xc.conv(x, w, b, **keywords)

    def both() -> Any:
        return xc.conv(x, w, b, **keywords), xc.conv_vjp(dz, x, w, **keywords)

    peers = {} if torch is None else {form: TorchPeer(torch, layer, data, form) for form in FORMATS}
    calls: dict[tuple[str, str], Call] = {}
    if course is not None:
        calls[FORWARD, "course"] = course.forward
    calls |= {(FORWARD, f"torch {form}"): peer.forward for form, peer in peers.items()}
    if onnx is not None:
        calls[FORWARD, "onnx"] = onnx.forward
    if jax is not None:
        calls[FORWARD, "jax"] = jax_peer.conv(jax, layer, data)
    calls[FORWARD, "xpconv"] = forward
    if course is not None:
        calls[BOTH, "course"] = course.both
    calls |= {(BOTH, f"torch {form}"): peer.both for form, peer in peers.items()}
    calls[BOTH, "xpconv"] = both
    return calls


def measure(layer: Layer, session: Session, loops: bool) -> Measured:
    """Check a layer's results, then time it."""
    data, part = draw(layer), middle(layer)
    runtime = session.peers.onnx
    onnx = None if runtime is None else onnx_peer.conv(runtime, session.threads, layer, data)
    errors = check(layer, data, part, session.peers.torch, onnx)
    calls = competitors(layer, data, session, onnx, loops)
    found = session.time({f"{passes}|{name}": call for (passes, name), call in calls.items()})
    timings: dict[str, dict[str, Timing]] = {FORWARD: {}, BOTH: {}}
    for passes, name in calls:
        timings[passes][name] = found[f"{passes}|{name}"]
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
                course=timings["course"].median * measured.scale if "course" in timings else None,
                torch=None if fastest is None else peers[fastest],
                torch_format=None if fastest is None else fastest.removeprefix("torch "),
                onnx=timings["onnx"].median if "onnx" in timings else None,
                jax=timings["jax"].median if "jax" in timings else None,
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
        "rows": [
            {**asdict(row), "ratio": row.ratio, "speedup": row.speedup, "to_fastest": row.to_fastest}
            for row in rows(measured)
        ],
    }


def _picture(every: list[Row], caption: str, loops: bool) -> bytes:
    if loops:
        return chart.ratios(every, caption)
    values = {
        FORWARD: {row.layer: row.to_fastest for row in every if row.passes == FORWARD},
        BOTH: {row.layer: row.ratio for row in every if row.passes == BOTH},
    }
    title = "Time of xpconv ÷ time of the fastest rival (less is better)"
    return plot.bars({title: values}, "as fast as the fastest", caption)


def run(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    layers, measured = chosen_layers(options), []
    with opened(options, "conv") as session:
        for count, layer in enumerate(layers, 1):
            session.progress(count, len(layers), layer.name)
            measured.append(measure(layer, session, options.set in BY_LOOPS))
        layer_records = [_layer_record(one) for one in measured]
    every = [row for one in measured for row in rows(one)]
    table = report.table(every)
    targets = report.targets(every, [layer.name for layer in LAYERS]) if options.set == "first" else []
    judged = goals.judged([one.layer for one in measured], every)
    if options.quick:
        judged = [unmeasured(found) for found in judged]
    notes = report.notes(session.settings, session.peers, options.set in BY_LOOPS)
    if options.quick:
        notes.insert(0, QUICK_NOTE)
    lines = [
        session.control.line(),
        *session.after_pause(),
        *notes,
        *map(report.target_line, targets),
        *map(goal_line, judged),
    ]
    table.show()
    print("\n".join(lines), flush=True)
    if options.json is not None:
        record = {
            "benchmark": "conv",
            "set": options.set,
            "machine": session.machine,
            "dtype": "float32",
            "layout": "channels_last",
            "quick": options.quick,
            "settings": asdict(session.settings),
            "control": {"operations": 2 * session.control.size**3, "seconds": session.control.samples},
            "layers": layer_records,
            "geometric_means": report.means(every),
            "targets": [*targets, *judged],
        }
        write(options.json, to_json(record))
    if options.markdown is not None:
        listed = [f"- {line}" for line in (machine_line(session.machine), *lines)]
        write(options.markdown, "\n".join([*table.markdown(), "", *listed]) + "\n")
    if options.png is not None:
        write(options.png, _picture(every, session.caption, options.set in BY_LOOPS))
    return 0
