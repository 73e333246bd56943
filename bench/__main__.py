"""The command line: one subcommand for each file of `bench.commands`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bench import commands
from bench.arguments import Parser
from bench.errors import ResultError, UsageError
from bench.report import files

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and give its exit status: 0, 1 for wrong results, 2 for bad input, 130 after Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    known = commands.names()
    # the others are not imported: one of them needs no xpconv, and installs what xpconv needs
    wanted = [argv[0]] if argv and argv[0] in known else known
    modules = {name: commands.load(name) for name in wanted}
    parser = Parser(prog="python -m bench", description="Compare xpconv with other libraries.", allow_abbrev=False)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in modules.items():
        subparser = subparsers.add_parser(name, help=module.HELP, description=module.HELP, allow_abbrev=False)
        module.add_arguments(subparser)
    options = parser.parse_args(argv)
    try:
        files.check(options)
        status: int = modules[options.command].run(options)
        return status
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return INTERRUPTED
    except UsageError as error:
        print(f"bench {options.command}: {error}", file=sys.stderr)
        return 2
    except ResultError as error:
        print(f"bench {options.command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
