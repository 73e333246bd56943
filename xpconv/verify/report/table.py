"""What tables on the screen have in common: text in columns, and rich where it can be used."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any


def aligned(cells: Sequence[str], widths: Sequence[int], words: int) -> str:
    """Put cells into columns: the first `words` of them to the left, numbers to the right."""
    columns = enumerate(zip(cells, widths, strict=True))
    return " ".join(cell.ljust(width) if n < words else cell.rjust(width) for n, (cell, width) in columns).rstrip()


def colours() -> bool:
    """Say whether this is a terminal, and rich is installed."""
    return sys.stdout.isatty() and importlib.util.find_spec("rich") is not None


def rich(name: str) -> Any:
    """Import a module of rich."""
    return importlib.import_module(f"rich.{name}")


def rich_table(*headings: str) -> Any:
    """Make a table of rich as plain as the text elsewhere."""
    return rich("table").Table(*headings, box=rich("box").SIMPLE_HEAD, header_style="bold", pad_edge=False)
