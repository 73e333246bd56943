"""The command ``xpconv completion``: a script that completes commands, options and files in a shell."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable, Sequence

from xpconv._tools import terminal
from xpconv._tools.arguments import Parser, choice

PROGRAM = "xpconv completion"
SHELLS = ("bash", "zsh", "tcsh")
FILES, FOLDERS = ("FILE", "MODULE"), ("DIR",)  # how the placeholders of such values begin


def parser() -> Parser:
    """Build the parser of this command."""
    parser = Parser(
        prog=PROGRAM,
        description="Print a script that completes commands, options and files in a shell.",
        epilog='Try it with: eval "$(xpconv completion bash)"; to keep it, put that line into ~/.bashrc.',
    )
    parser.add_argument("shell", type=choice(*SHELLS), choices=SHELLS, metavar="SHELL", help=f"{', '.join(SHELLS)}")
    return parser


def main(argv: Sequence[str], whole: Callable[[], Parser]) -> int:
    """Print the script for a shell; `whole` builds the parser that has every command. Gives the exit status."""
    shell = parser().parse_args(argv).shell
    if importlib.util.find_spec("shtab") is None:
        remedy = "python -m pip install 'xpconv[cli]'"
        return terminal.complain(PROGRAM, f"the package shtab is not installed: {remedy}", 2)
    shtab = importlib.import_module("shtab")
    everything = whole()
    _mark(everything, shtab)
    print(shtab.complete(everything, shell))
    return 0


def _mark(parser: argparse.ArgumentParser, shtab: object) -> None:
    """Say which values are files and folders."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _mark(command, shtab)
        elif isinstance(action.metavar, str) and action.metavar.startswith((*FILES, *FOLDERS)):
            kind = "DIRECTORY" if action.metavar.startswith(FOLDERS) else "FILE"
            action.complete = getattr(shtab, kind)  # type: ignore[attr-defined]
