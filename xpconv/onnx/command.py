"""The command ``xpconv run``: run an ONNX model, say what came out, and where the time went."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from xpconv._tools import terminal
from xpconv._tools.arguments import Parser
from xpconv.onnx import feeds
from xpconv.onnx.evaluator import Evaluator, evaluator
from xpconv.onnx.feeds import FeedError
from xpconv.onnx.profile import NodeError, Row, Watch, missing

PROGRAM = "xpconv run"
Array = Any


class ModelError(ValueError):
    """A model cannot be run; the message is one line."""


def parser() -> Parser:
    """Build the parser of the arguments after ``xpconv run``."""
    parser = Parser(
        prog=PROGRAM,
        description="Run an ONNX model on NumPy with ONNX's reference evaluator and xpconv's convolutions, pools and "
        "pads.",
    )
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument(
        "--input", metavar="FILE.npz", help="an array for each input, by its name (default: drawn, the same each time)"
    )
    parser.add_argument("--output", metavar="FILE.npz", help="write the outputs, by their names")
    parser.add_argument("--profile", action="store_true", help="say which operators took how long")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run a model and give the exit status.

    Parameters
    ----------
    argv : sequence of str
        The arguments after ``xpconv run``.

    Returns
    -------
    int
        0, 1 if a node failed, 2 for bad input.

    """
    options = parser().parse_args(argv)
    try:
        model = _load(Path(options.model))
        runner = _evaluator(model, options.model)
        inputs = feeds.wanted(model.graph)
        given = feeds.check(inputs, _read(options.input)) if options.input else feeds.draw(inputs)
    except (ModelError, FeedError, OSError) as error:
        return terminal.complain(PROGRAM, error, 2)
    _announce(options.model, model, given, drawn=not options.input)
    try:
        with _progress(len(model.graph.node)) as done:
            watch = Watch(runner, done)
            start = time.perf_counter()
            results = dict(zip(runner.output_names, runner.run(None, given), strict=True))
            seconds = time.perf_counter() - start
    except NodeError as error:
        guessed = ", ".join(one.name for one in inputs if one.open and not options.input)
        hint = f"; sizes that the model leaves open were drawn as 1: give {guessed} with --input" if guessed else ""
        return terminal.complain(PROGRAM, f"{error}{hint}", 1)
    for name, value in results.items():
        print(f"output   {name}: {_describe(value)}")
    print(f"ran      {len(model.graph.node)} nodes in {seconds:.3g} s")
    if options.profile:
        _show(watch.rows(), seconds)
    if options.output:
        try:
            _write(Path(options.output), results)
        except (OSError, ModelError) as error:
            return terminal.complain(PROGRAM, error, 2)
        print(f"written  {options.output}")
    return 0


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
    except OSError:
        raise
    except Exception as error:  # protobuf's own, and what is wrong with files beside the model
        raise ModelError(f"{path} is no ONNX model: {error}") from error
    if not model.graph.node:
        raise ModelError(f"{path} is no ONNX model: it has no nodes")
    return model


def _evaluator(model: onnx.ModelProto, path: str) -> Evaluator:
    try:
        return evaluator(model)
    except Exception as error:  # for an operator that is missing there is more than one kind
        absent = missing(model)
        if absent:
            raise ModelError(f"{path} needs what ONNX's reference evaluator has not: {', '.join(absent)}") from error
        raise ModelError(f"{path}: {error}") from error


def _read(name: str) -> dict[str, Array]:
    try:
        found = np.load(name)
        if not isinstance(found, np.lib.npyio.NpzFile):
            raise FeedError(f"{name} is one array; an .npz file has one for each input, by its name")
        with found:
            return dict(found)
    except OSError:
        raise
    except ValueError as error:
        raise FeedError(f"{name}: {error}") from error


def _announce(path: str, model: onnx.ModelProto, given: dict[str, Array], drawn: bool) -> None:
    opsets = ", ".join(f"{one.domain or 'ONNX'} {one.version}" for one in model.opset_import)
    print(f"model    {path}: {len(model.graph.node)} nodes, opset {opsets}")
    for name, array in given.items():
        print(f"input    {name}: {array.dtype} {array.shape}{', drawn' if drawn else ''}", flush=True)


def _describe(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return f"{type(value).__name__} of {len(value)}"
    text = f"{value.dtype} {value.shape}"
    if value.size and (value.dtype.kind in "biuf" or feeds.is_foreign(value.dtype)):
        numbers = value.astype(np.float64)
        text += f", {numbers.min():.6g} to {numbers.max():.6g}, mean {numbers.mean():.6g}"
    return text


@contextlib.contextmanager
def _progress(nodes: int) -> Iterator[Callable[[str], None]]:
    """Give what is called after each node: on a terminal it moves a bar."""
    if not terminal.rich_draws():
        yield lambda _: None
        return
    progress = terminal.rich("progress")
    columns = progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn()
    with progress.Progress(*columns, transient=True) as bar:
        task = bar.add_task("", total=nodes)
        yield lambda operator: bar.update(task, advance=1, description=operator)


def _show(rows: list[Row], seconds: float) -> None:
    width = max(len("operator"), *(len(row.operator) for row in rows))
    print(f"\n{'operator':{width}}  by      nodes   seconds   share")
    for row in rows:
        share = row.seconds / seconds
        print(f"{row.operator:{width}}  {row.whose:6}  {row.nodes:5}  {row.seconds:8.4f}  {share:6.1%}")


def _write(path: Path, results: dict[str, Any]) -> None:
    lists = [name for name, value in results.items() if not isinstance(value, np.ndarray)]
    if lists:
        raise ModelError(f"an .npz file holds arrays, and the output {', '.join(lists)} is none")
    with path.open("wb") as file:  # as it is named, without a second ending
        np.savez(file, **{name: feeds.storable(value) for name, value in results.items()})
