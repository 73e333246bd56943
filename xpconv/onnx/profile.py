"""Where the time of a run goes, and which operators of a model nobody has."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import onnx

from xpconv.onnx.evaluator import Evaluator
from xpconv.onnx.operators import OPERATORS

OURS = frozenset(operator.__name__ for operator in OPERATORS)


class Row(NamedTuple):
    """The nodes of one operator."""

    operator: str
    nodes: int
    seconds: float

    @property
    def whose(self) -> str:
        """Whose code ran."""
        return "xpconv" if self.operator in OURS else "onnx"


class NodeError(RuntimeError):
    """A node failed; the message says which, and why."""


class Watch:
    """Count and time the nodes of an evaluator's graph; what runs inside a loop or a function counts as that."""

    def __init__(self, evaluator: Evaluator, done: Callable[[str], None] = lambda _: None) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.done = done
        for node in evaluator.rt_nodes_:
            node.run = self._watched(node, node.run)

    def _watched(self, node: Any, run: Callable[..., Any]) -> Callable[..., Any]:
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type

        def watched(*arguments: Any, **keywords: Any) -> Any:
            start = time.perf_counter()
            try:
                outputs = run(*arguments, **keywords)
            except Exception as error:
                name = node.onnx_node.name or ", ".join(node.output)
                raise NodeError(f"node {name} ({operator}): {error.__cause__ or error}") from error
            self.seconds[operator] += time.perf_counter() - start
            self.counts[operator] += 1
            self.done(operator)
            return outputs

        return watched

    def rows(self) -> list[Row]:
        """List the operators, the slowest first."""
        rows = [Row(operator, self.counts[operator], seconds) for operator, seconds in self.seconds.items()]
        return sorted(rows, key=lambda row: -row.seconds)


def missing(model: onnx.ModelProto) -> list[str]:
    """Name each operator that neither xpconv nor ONNX's reference evaluator has, with its first node."""
    local = {(function.domain, function.name) for function in model.functions}
    found: dict[tuple[str, str], str] = {}
    for node in _nodes(model.graph):
        key = node.domain, node.op_type
        if key not in local and key not in found and not _has(model, node):
            found[key] = node.name or ", ".join(node.output)
    return [
        f"{domain + '.' if domain else ''}{operator} (node {name})"
        for (domain, operator), name in sorted(found.items())
    ]


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Walk over the nodes of a graph and of the graphs inside its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _has(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """Whether a node can be made on its own; what depends on the types of its inputs counts as such."""
    bare = onnx.NodeProto()
    bare.CopyFrom(node)
    for attribute in bare.attribute:
        attribute.ClearField("g")  # its nodes are asked one by one
    graph = onnx.helper.make_graph([bare], "one", [], [])
    alone = onnx.helper.make_model(graph, opset_imports=model.opset_import, functions=model.functions)
    try:
        Evaluator(alone)
    except onnx.reference.op_run.RuntimeContextError:
        return True
    except Exception:  # each kind of absence has an error of its own
        return False
    return True
