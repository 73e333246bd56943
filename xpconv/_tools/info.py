"""The command ``xpconv info``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from xpconv._tools import machine, terminal
from xpconv._tools.arguments import Parser
from xpconv._tools.machine import Rows


def parser() -> Parser:
    """Build the parser of this command."""
    parser = Parser(prog="xpconv info", description="Show versions, backends found, devices, BLAS and threads.")
    parser.add_argument("--json", action="store_true", help="as one JSON object, with plain numbers")
    return parser


def main(argv: Sequence[str]) -> int:
    """Print what this machine and this installation are, and pass the exit status on."""
    options = parser().parse_args(argv)
    if options.json:
        print(json.dumps(machine.record(), indent=1))
        return 0
    sections = machine.sections()
    if terminal.rich_draws():
        _draw(sections)
    else:
        _print(sections)
    return 0


def _print(sections: dict[str, Rows]) -> None:
    for heading, rows in sections.items():
        print(heading)
        for name, value in rows:
            print(f"  {name:18} {value}")


def _draw(sections: dict[str, Rows]) -> None:
    table = terminal.rich("table").Table(box=terminal.rich("box").SIMPLE_HEAD)
    table.add_column("", style="bold")
    table.add_column(f"xpconv {machine.version()}", overflow="fold")
    for heading, rows in sections.items():
        table.add_row(f"[cyan]{heading}[/cyan]", "")
        for name, value in rows:
            table.add_row(f"  {name}", terminal.rich("text").Text(value))
        table.add_section()
    terminal.rich("console").Console().print(table)
