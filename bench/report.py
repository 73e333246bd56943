"""Tables on the terminal and in Markdown, and JSON."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UsageError


@dataclass
class Table:
    """Rows of text, the first column aligned left, the others right; a column's name may have two lines."""

    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    summary: list[Sequence[str]] = field(default_factory=list)

    def plain(self) -> Iterator[str]:
        """Give the lines for a file or a narrow terminal."""
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
        """Give the lines of a Markdown table."""
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


def number(value: float | None) -> str:
    """Write three significant digits, thousands apart; a dash for what was not measured."""
    if value is None or not math.isfinite(value):
        return "–"
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{digits}f}"


def geometric_mean(values: Sequence[float | None]) -> float | None:
    """Give the mean of ratios; None if one is missing."""
    known = [value for value in values if value is not None]
    return math.exp(math.fsum(map(math.log, known)) / len(known)) if known and len(known) == len(values) else None


def write(path: Path, content: str | bytes) -> None:
    """Write a file, or say in one line why not."""
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def to_json(record: dict[str, Any]) -> str:
    """Write a record as JSON."""
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
