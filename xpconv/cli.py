"""The command ``xpconv``: it gathers the subcommands; each reads its own arguments and says what it does."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence

from xpconv._tools import completion, terminal
from xpconv._tools.arguments import Parser, unknown
from xpconv._version import version

PROGRAM = "xpconv"
# name -> the module whose `main` takes the arguments after the name, and a line of help
COMMANDS = {
    "info": ("xpconv._tools.info", "versions, backends found, devices, BLAS and threads"),
    "train": ("xpconv._train", "train the course's network on digits or on your images"),
    "verify": ("xpconv.verify", "check every operation on every backend found"),
    "run": ("xpconv.onnx.command", "run an ONNX model"),
    "completion": ("xpconv._tools.completion", "print a script that completes all this in a shell"),
}
NEEDS = {"run": ("onnx", "ONNX")}  # name -> the extra of an optional package that its module imports, and its name


def parser(*, whole: bool = False) -> Parser:
    """Build the parser of the commands' names, or the `whole` one, with the options of each."""
    parser = Parser(
        prog=PROGRAM,
        description="Convolution and pooling, forward and backward, on any array library.",
        epilog="Each command has a --help of its own: xpconv verify --help",
    )
    parser.add_argument("--version", action="version", version=f"xpconv {version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND [OPTIONS]")
    for name, (module, line) in COMMANDS.items():
        own = [_parser_of(module)] if whole and not _missing(name) else []
        commands.add_parser(name, help=line, parents=own, add_help=not own)
    return parser


def _missing(name: str) -> str:
    """Say what a command needs and is not installed; empty if nothing."""
    package, words = NEEDS.get(name, ("", ""))
    if not package or importlib.util.find_spec(package) is not None:
        return ""
    return f'{words}, which is not installed: python -m pip install "xpconv[{package}]"'


def _parser_of(module: str) -> Parser:
    found = importlib.import_module(module)
    own: Parser = getattr(found, "command", found).parser()  # a folder keeps it in its file `command`
    return own


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit status: 0, 1 for a failure, 2 for bad input, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return terminal.complain(PROGRAM, "interrupted", 130)
    except BrokenPipeError:  # whoever read the output has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where what is left to print goes
        return 1


def _run(arguments: Sequence[str]) -> int:
    if not arguments:
        parser().print_help()
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        if not name.startswith("-"):
            return terminal.complain(PROGRAM, unknown(name, COMMANDS, PROGRAM), 2)
        parser().parse_args(arguments[:1])
        return terminal.complain(PROGRAM, f"a command must come first, one of {', '.join(COMMANDS)}", 2)
    if name == "completion":
        return completion.main(rest, lambda: parser(whole=True))
    if missing := _missing(name):
        return terminal.complain(PROGRAM, f"{name} needs {missing}", 2)
    status: int = importlib.import_module(COMMANDS[name][0]).main(rest)
    return status
