"""The command ``xpconv verify``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from xpconv._tools import libraries, machine
from xpconv._tools.arguments import Parser, names, names_of, natural
from xpconv._tools.arguments import path as path_of
from xpconv._tools.libraries import Library, LibraryError
from xpconv._tools.terminal import complain, said
from xpconv.verify import selftest
from xpconv.verify.catalogue import cases
from xpconv.verify.catalogue.tasks import NAMES
from xpconv.verify.report import against
from xpconv.verify.report import files as report
from xpconv.verify.report.against import EvidenceError
from xpconv.verify.report.screen import Screen, screen, tell
from xpconv.verify.run import run
from xpconv.verify.target import files as target_files
from xpconv.verify.target import report as target_report
from xpconv.verify.target import run as target

MAX_SECONDS = 86_400


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, up to {MAX_SECONDS}; got {text!r}")
    return number


def parser() -> Parser:
    """Build the parser of this command."""
    parser = Parser(
        prog="xpconv verify",
        description="Check convolution, pooling, padding and the course's functions, forward and backward, on every "
        "backend found, against the definition in exact arithmetic: bit for bit on whole numbers, within derived "
        "bounds on real ones.",
        epilog="Exit status: 0 if all is well, 1 if a check failed, 2 for bad arguments or targets.",
    )
    parser.add_argument(
        "--backends",
        type=names,
        metavar="NAME,...",
        help=f"of {', '.join(libraries.MODULES)}; one that cannot be used is an error (default: all that work here)",
    )
    parser.add_argument(
        "--operations", type=names_of("operation", NAMES), metavar="NAME,...", help="only these (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="the core cases only, which have every feature once")
    parser.add_argument("--seed", type=natural, metavar="N", help="of the data (default: 0, or that of --against)")
    parser.add_argument(
        "--report",
        action="append",
        type=lambda text: Path(path_of(text)),
        default=[],
        metavar="FILE",
        help="write a report: .json, .xml (JUnit) or .md, with --target .json, .md or .html; may be "
        "given more than once",
    )
    parser.add_argument(
        "--against",
        type=lambda text: Path(path_of(text)),
        metavar="FILE.json",
        help="hold the exact results against a report made elsewhere, on a CUDA machine say",
    )
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="plant faults in the library and fail unless the checks catch every one",
    )
    parser.add_argument(
        "--target",
        action="extend",
        nargs="+",
        type=path_of,
        metavar="MODULE[:NAME]",
        help="judge somebody else's functions of the course's names, in any number of notebooks (.ipynb), .py "
        "files and importable modules; NAME is one function, or an object that holds them",
    )
    parser.add_argument(
        "--time-limit",
        type=_seconds,
        metavar="SECONDS",
        help="how long one function of --target, or one statement of its file, may take "
        f"(default: {target.TIME_LIMIT:g})",
    )
    return parser


def _conflict(options: argparse.Namespace) -> str:
    """Say which options do not go together; empty if all do."""
    given = [f"--{name.replace('_', '-')}" for name, value in vars(options).items() if value not in (None, False, [])]
    for mode, partners in (("--self-test", ("--seed",)), ("--target", ("--seed", "--time-limit", "--report"))):
        if mode in given and (others := [name for name in given if name not in (mode, *partners)]):
            return f"{mode} does not go with {', '.join(others)}"
    return "" if options.target is not None or options.time_limit is None else "--time-limit goes with --target only"


def main(argv: Sequence[str] | None = None) -> int:
    """Verify and give the exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after ``xpconv verify`` (those of the process).

    Returns
    -------
    int
        0 if all is well, 1 if a check failed or a report differs, 2 for bad arguments.

    """
    try:
        options = parser().parse_args(argv)
    except SystemExit as end:
        return int(end.code or 0)
    if conflict := _conflict(options):
        return _fail(conflict)
    if options.self_test:
        return selftest.main(options.seed or 0)
    return _judge_targets(options) if options.target is not None else _check_library(options)


def _judge_targets(options: argparse.Namespace) -> int:
    for path in options.report:
        if trouble := report.trouble(path, target_files.WRITERS):
            return _fail(trouble)
    shown, found = screen(), []
    for name in dict.fromkeys(options.target):
        outcome = target.check(name, options.time_limit or target.TIME_LIMIT, options.seed or 0)
        found.append(outcome)
        if outcome.refused:
            _fail(f"--target: {outcome.refused}")
        else:
            target_report.tell(shown, outcome)
    if len(found) > 1:
        shown.line("")
        target_report.tell_score(shown, found)
    return _write(shown, options.report, lambda path: target_files.write(path, found)) or target_report.status(found)


def _check_library(options: argparse.Namespace) -> int:
    for path in options.report:
        if trouble := report.trouble(path):
            return _fail(trouble)
    try:
        evidence = against.load(options.against) if options.against else None
        chosen = _load(options.backends)
    except (EvidenceError, LibraryError) as error:
        return _fail(str(error), getattr(error, "status", 2))
    seed = options.seed if options.seed is not None else evidence.seed if evidence else 0
    if evidence and seed != evidence.seed:
        return _fail(f"--against: {evidence.path} was made with --seed {evidence.seed}, not {seed}")

    shown = screen()
    which = "core cases" if options.quick else "all cases"
    shown.line(f"xpconv {machine.version()} verify: catalogue {cases.VERSION}, {which}, seed {seed}")
    try:
        outcome = run(chosen, options.operations or NAMES, options.quick, seed, shown)
    finally:
        shown.finish()
    tell(shown, outcome)
    passed = outcome.passed
    if evidence:
        comparison = against.compare(outcome, evidence)
        passed = passed and comparison.passed
        first, *rest = comparison.lines()
        shown.line(first, good=comparison.passed)
        for text in rest:
            shown.line(text)
    return _write(shown, options.report, lambda path: report.write(path, outcome)) or int(not passed)


def _load(names: tuple[str, ...] | None) -> list[Library]:
    if names is None:
        return libraries.found()
    if not names:
        raise LibraryError("--backends must name a backend; it names no backend")
    return [libraries.load(name) for name in names]


def _write(shown: Screen, paths: list[Path], write: Callable[[Path], None]) -> int:
    for path in paths:
        try:
            write(path)
        except OSError as error:
            return _fail(f"--report cannot be written: {said(error)}")
        shown.line(f"written {path}")
    return 0


def _fail(message: str, status: int = 2) -> int:
    return complain("xpconv verify", message, status)
