"""Tables on the terminal and in Markdown."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Table:
    """Rows of text, the first column aligned left, the others right; a column's name may have two lines."""

    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    summary: list[Sequence[str]] = field(default_factory=list)

    def plain(self) -> Iterator[str]:
        """Write the lines for a file or a narrow terminal."""
        names = [name.split("\n") for name in self.columns]
        height = max(map(len, names))
        header = list(zip(*([""] * (height - len(lines)) + lines for lines in names), strict=True))
        every = [*header, *self.rows, *self.summary]
        widths = [max(map(len, column)) for column in zip(*every, strict=True)]
        rules = {height, len(every) - len(self.summary)}
        for number, row in enumerate(every):
            if number in rules:
                yield "  ".join("-" * width for width in widths)
            aligned = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
            yield "  ".join([row[0].ljust(widths[0]), *aligned[1:]]).rstrip()

    def markdown(self) -> Iterator[str]:
        """Write the lines of a Markdown table."""
        yield _markdown_row([name.replace("\n", " ") for name in self.columns])
        yield _markdown_row(["---", *["---:"] * (len(self.columns) - 1)])
        for row in self.rows:
            yield _markdown_row(row)
        for row in self.summary:
            yield _markdown_row([f"**{cell.strip()}**" if cell.strip("–") else cell for cell in row])

    def show(self) -> None:
        """Print with rich on a terminal that is wide enough, otherwise as plain text."""
        if sys.stdout.isatty() and importlib.util.find_spec("rich") is not None:
            console = importlib.import_module("rich.console").Console()
            table = self._rich()
            unlimited = console.options.update(width=1000)
            if console.measure(table, options=unlimited).maximum <= console.width:
                console.print(table)
                return
        print("\n".join(self.plain()))

    def _rich(self) -> Any:
        box = importlib.import_module("rich.box").SIMPLE_HEAD
        table = importlib.import_module("rich.table").Table(
            box=box, header_style="bold", collapse_padding=True, pad_edge=False
        )
        for place, name in enumerate(self.columns):
            table.add_column(name, justify="right" if place else "left", vertical="bottom")
        for row in self.rows:
            table.add_row(*row)
        table.add_section()
        for row in self.summary:
            table.add_row(*row, style="bold")
        return table


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.strip() for cell in cells)} |"
