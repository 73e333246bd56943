"""Arguments that every subcommand has, and the check that its files can be written."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import NoReturn

from bench import peers
from bench.errors import UsageError


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line and exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, without the usage."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


MOST_THREADS = 512


def positive_int(text: str) -> int:
    """Read an integer of at least 1."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wants an integer of at least 1; got {text!r}")
    return int(text)


def thread_count(text: str) -> int:
    """Read a number of threads."""
    count = positive_int(text)
    if count > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"wants at most {MOST_THREADS}; got {text!r}")
    return count


def add_common(parser: argparse.ArgumentParser, layers: bool = True) -> None:
    """Add the rounds, the threads, the choice of layers and peers, and the files to write."""
    parser.add_argument("--rounds", type=positive_int, metavar="N", help="measured rounds (default 15; 2 with --quick)")
    parser.add_argument(
        "--threads", type=thread_count, metavar="N", help="threads of each library (default: the available cores)"
    )
    if layers:
        parser.add_argument(
            "--layers", default="", metavar="TEXT", help="only layers whose name holds TEXT, such as 3x3"
        )
    parser.add_argument(
        "--without", type=peers.names, default=(), metavar="NAME,...", help=f"leave out, of {', '.join(peers.NAMES)}"
    )
    parser.add_argument("--quick", action="store_true", help="tiny cases, to see that the benchmark runs")
    add_files(parser)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the files to write."""
    for kind, what in {"json": "everything measured", "markdown": "the table", "png": "a chart"}.items():
        parser.add_argument(f"--{kind}", type=Path, metavar="FILE", help=f"write {what}")


def check_files(options: argparse.Namespace) -> None:
    """Refuse, before any time is spent, files that could not be written afterwards."""
    for kind in ("json", "markdown", "png"):
        path: Path | None = getattr(options, kind)
        if path is None:
            continue
        if path.is_dir():
            raise UsageError(f"--{kind} wants a file; {path} is a folder")
        if not path.parent.is_dir():
            raise UsageError(f"--{kind} {path}: there is no folder {path.parent}")
    if options.png is not None and importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--png needs matplotlib; install it with: python -m pip install '.[bench]'")
