"""A table as HTML, for what shows itself in a notebook; without colours of its own, so that it suits light and dark."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "", strong: Collection[int] = ()
) -> str:
    """Write a table: a line above it, its columns' names, its rows, of which some may stand out."""
    lines = ["<table>"]
    if caption:
        lines.append(f'<caption style="text-align: left; caption-side: top">{escape(caption)}</caption>')
    lines.append(f"<thead><tr>{''.join(_cell('th', name) for name in head)}</tr></thead><tbody>")
    for place, row in enumerate(rows):
        cells = "".join(_cell("td", text, bold=place in strong) for text in row)
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def _cell(tag: str, text: str, *, bold: bool = False) -> str:
    inner = f"<strong>{escape(text)}</strong>" if bold and text else escape(text)
    return f'<{tag} style="text-align: left; padding: 0.2em 0.6em">{inner}</{tag}>'
