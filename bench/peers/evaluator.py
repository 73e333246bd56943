"""ONNX's reference evaluator with its own operators and with xpconv's: a layer as a model, or a network's nodes."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, ClassVar

import xpconv as xc
from bench.layers import FORWARD, Array, Case, Data, Layer
from bench.peers.onnx import first, of_layer, single
from bench.peers.peer import Call, Entry, Peer, Where

PLAIN, THEIRS, OURS, OURS_FAST = "plain", "theirs", "ours", "ours_fast"
LOOPS = 60_000  # steps of the plain operator's innermost loop that are timed; each takes some microseconds
SLIDING = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool")


class Evaluator(Peer):
    """Evaluators of a model, whose weights are a part of it; xpconv's twice, with compiled kernels and without."""

    titles: ClassVar[Mapping[str, str]] = {
        PLAIN: "onnx\nplain",
        THEIRS: "onnx",
        OURS: "xpconv",
        OURS_FAST: "xpconv\nfast",
    }
    library = "ONNX"
    packages = ("onnx",)
    notes: ClassVar[Mapping[type[Case], str]] = {
        Layer: "onnx, xpconv: models of one Conv in onnx's reference evaluator, as it is and with xpconv's operators; "
        "plain: with optimized=False, which onnx has up to version 1.22, timed on a few filters and scaled"
    }

    def conv(self, layer: Layer, data: Data, where: Where) -> list[Entry]:
        """Run `Conv` of each kind."""
        model = single("Conv", first(data.x), *of_layer(layer, data))
        feeds = {"x": first(data.x)}
        found = [
            Entry(name, FORWARD, _runs(runner, feeds, name == OURS_FAST), _channels_last)
            for name, runner in self._evaluators(model).items()
        ]
        if importlib.util.find_spec("onnx.reference.ops_optimized") is None:
            return found
        part = _part(layer)
        few = replace(data, x=data.x[..., : part.channels], w=data.w[..., : part.filters], b=data.b[: part.filters])
        feeds = {"x": first(few.x)}
        plain = self._onnx(single("Conv", feeds["x"], *of_layer(part, few)), optimized=False)
        return [Entry(PLAIN, FORWARD, _runs(plain, feeds, False), scale=layer.filters / part.filters), *found]

    def nodes(self, model: Any, feeds: Mapping[str, Array]) -> list[Entry]:
        """Run a model's convolutions and pools one after another, each on what it gets in the model."""
        found: list[Entry] = []
        values: Mapping[str, Any] = {}
        for name, runner in reversed(self._evaluators(model).items()):
            if not values:  # the first run prepares convolutions, with compiled kernels or without
                with xc.set_options(compiled=name == OURS_FAST):
                    values = runner.run(None, feeds, intermediate=True)
            calls = [
                _node(node, [values[given] for given in node.input])
                for node in runner.rt_nodes_
                if node.op_type in SLIDING
            ]
            found.insert(0, Entry(name, FORWARD, *_in_turn(calls, name == OURS_FAST)))
        return found

    def _evaluators(self, model: Any) -> dict[str, Any]:
        ours = importlib.import_module("xpconv.onnx")
        names = [OURS] + [OURS_FAST] * (importlib.util.find_spec("numba") is not None)
        return {THEIRS: self._onnx(model), **{name: ours.evaluator(model) for name in names}}

    def _onnx(self, model: Any, **options: Any) -> Any:
        return importlib.import_module("onnx.reference").ReferenceEvaluator(model, **options)


def _part(layer: Layer) -> Layer:
    """Cut a layer down to one group and so few of its filters that plain loops take seconds at most."""
    channels = layer.channels // layer.groups
    steps = layer.batch * channels * prod(layer.output_shape[1:3])  # for a filter
    filters = max(1, min(layer.filters // layer.groups, LOOPS // steps))
    return replace(layer, channels=channels, filters=filters, groups=1)


def _runs(runner: Any, feeds: Mapping[str, Array], compiled: bool) -> Call:
    def run() -> Any:
        with xc.set_options(compiled=compiled):
            return runner.run(None, feeds)[0]

    return run


def _node(node: Any, values: Sequence[Array | None]) -> Call:
    return lambda: node.run(*values)


def _in_turn(calls: Sequence[Call], compiled: bool) -> tuple[Call, Callable[[Any], Sequence[Array]]]:
    """Give what makes the calls and keeps nothing, so that memory is used again, and what gives the results."""

    def run() -> None:
        with xc.set_options(compiled=compiled):
            for call in calls:
                call()

    def results(_: Any) -> Sequence[Array]:
        with xc.set_options(compiled=compiled):
            return [call()[0] for call in calls]

    return run, results


def _channels_last(found: Array) -> Sequence[Array]:
    return [found.transpose(0, 2, 3, 1)]


PEER = Evaluator
