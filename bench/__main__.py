"""The command line: one subcommand for each module named in COMMANDS."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from bench.arguments import Parser
from bench.errors import ResultError, UsageError

# each module offers HELP, add_arguments(parser) and run(options) -> exit status
COMMANDS = ("conv", "grad", "pool", "memory", "scale", "train", "gpu", "plan", "points")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and give its exit status: 0, 1 for wrong results, 2 for bad input, 130 after Ctrl-C."""
    parser = Parser(prog="python -m bench", description="Compare xpconv with other libraries.", allow_abbrev=False)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {name: importlib.import_module(f"bench.{name}") for name in COMMANDS}
    for name, module in modules.items():
        subparser = subparsers.add_parser(name, help=module.HELP, description=module.HELP, allow_abbrev=False)
        module.add_arguments(subparser)
    options = parser.parse_args(argv)
    try:
        status: int = modules[options.command].run(options)
        return status
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    except UsageError as error:
        print(f"bench {options.command}: {error}", file=sys.stderr)
        return 2
    except ResultError as error:
        print(f"bench {options.command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
