"""The command ``xpconv``: it gathers the subcommands; each reads its own arguments and says what it does."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence

from xpconv._tools.arguments import Parser
from xpconv._version import version

# name -> the module whose `main` takes the arguments after the name, and a line of help
COMMANDS = {
    "info": ("xpconv._tools.info", "versions, backends found, devices, BLAS and threads"),
    "train": ("xpconv._train", "train the course's network on digits or on your images"),
    "verify": ("xpconv.verify", "check every operation on every backend found"),
    "run": ("xpconv.onnx.command", "run an ONNX model"),
}
NEEDS = {"run": ("onnx", "ONNX")}  # name -> an optional package that its module imports, and its name for people


def _parser() -> Parser:
    parser = Parser(
        prog="xpconv",
        description="Convolution and pooling, forward and backward, on any array library.",
        epilog="Each command has a --help of its own: xpconv verify --help",
    )
    parser.add_argument("--version", action="version", version=f"xpconv {version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, line) in COMMANDS.items():
        commands.add_parser(name, help=line)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit status: 0, 1 for a failure, 2 for bad input, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    if not arguments:
        parser.error(f"wants a command, one of {', '.join(COMMANDS)}; see xpconv --help")
    try:
        command = parser.parse_args(arguments[:1]).command
        package, words = NEEDS.get(command, ("", ""))
        if package and importlib.util.find_spec(package) is None:
            parser.error(f"{command} needs {words}, which is not installed: python -m pip install {package}")
        status: int = importlib.import_module(COMMANDS[command][0]).main(arguments[1:])
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("xpconv: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where what is left to print goes
        return 1
