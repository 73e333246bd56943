"""The parser, what it reads, and the arguments that several subcommands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NoReturn

from bench.peers import OTHERS

MOST_THREADS = 512
FILES = {"json": "everything measured", "markdown": "the table", "png": "a chart"}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line and exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, without the usage."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


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


def names_of(known: Collection[str], none: bool = False) -> Callable[[str], tuple[str, ...]]:
    """Make a reader of names separated by commas, whatever their case; `none`: there may be none."""
    folded = {name.casefold(): name for name in known}

    def read(text: str) -> tuple[str, ...]:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        for part in parts if parts or none else [text]:
            if part.casefold() not in folded:
                raise argparse.ArgumentTypeError(f"wants names of {', '.join(known)}; got {part!r}")
        return tuple(dict.fromkeys(folded[part.casefold()] for part in parts))

    return read


def add_common(parser: argparse.ArgumentParser, peers: bool = True) -> None:
    """Add the rounds, the threads, the choice of peers if there is one, and the files to write."""
    parser.add_argument("--rounds", type=positive_int, metavar="N", help="measured rounds (default 15; 2 with --quick)")
    parser.add_argument(
        "--threads", type=thread_count, metavar="N", help="threads of each library (default: the available cores)"
    )
    if peers:
        add_without(parser)
    else:
        parser.set_defaults(without=())
    parser.add_argument("--quick", action="store_true", help="tiny cases, to see that the benchmark runs")
    add_files(parser)


def add_without(parser: argparse.ArgumentParser) -> None:
    """Add the peers that are left out."""
    parser.add_argument(
        "--without",
        type=names_of(OTHERS, none=True),
        default=(),
        metavar="NAME,...",
        help=f"leave out, of {', '.join(OTHERS)}",
    )


def add_layers(parser: argparse.ArgumentParser) -> None:
    """Add the choice of layers by their names."""
    parser.add_argument("--layers", default="", metavar="TEXT", help="only layers whose name holds TEXT, such as 3x3")


def add_set(parser: argparse.ArgumentParser, sets: Collection[str]) -> None:
    """Add the choice of a set of layers."""
    parser.add_argument("--set", choices=tuple(sets), default="first", help="set of layers (default: first)")


def add_seconds(parser: argparse.ArgumentParser, default: int) -> None:
    """Add the time after which no new case is begun."""
    parser.add_argument(
        "--seconds",
        type=positive_int,
        default=default,
        metavar="N",
        help=f"begin no new case after so long (default: {default})",
    )


def add_files(parser: argparse.ArgumentParser, kinds: Collection[str] = tuple(FILES)) -> None:
    """Add the files to write."""
    for kind in kinds:
        parser.add_argument(f"--{kind}", type=Path, metavar="FILE", help=f"write {FILES[kind]}")
