"""What the tables on the screen have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpconv._tools.terminal import rich


def aligned(cells: Sequence[str], widths: Sequence[int], words: int) -> str:
    """Put cells into columns: the first `words` of them to the left, numbers to the right."""
    columns = enumerate(zip(cells, widths, strict=True))
    return " ".join(cell.ljust(width) if n < words else cell.rjust(width) for n, (cell, width) in columns).rstrip()


def table(rows: Sequence[Sequence[str]], words: int = 2) -> list[str]:
    """Lay rows out in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [aligned(row, widths, words) for row in rows]


def rich_table(*headings: str) -> Any:
    """Make a table of rich as plain as the text elsewhere."""
    return rich("table").Table(*headings, box=rich("box").SIMPLE_HEAD, header_style="bold", pad_edge=False)
