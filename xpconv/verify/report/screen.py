"""The run on the screen: a table and a bar by rich on a terminal, aligned text elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from xpconv._tools.terminal import rich, rich_draws
from xpconv.verify.judge.result import Result
from xpconv.verify.report.outcome import Backend, Outcome
from xpconv.verify.report.summary import HEADINGS, Row, rows
from xpconv.verify.report.table import aligned, rich_table

LEFT = 2  # columns of words; the rest are numbers
WIDTHS = (8, 23, 6, 11, 14, 11, 7)


class Screen(Protocol):
    """What a run tells while it goes."""

    def start(self, total: int) -> None:
        """Begin with so many checks ahead."""

    def begin(self, backend: Backend) -> None:
        """Begin with a backend."""

    def step(self, result: Result) -> None:
        """Note a check that is done."""

    def done(self, backend: Backend, results: Sequence[Result]) -> None:
        """Note a backend that is done."""

    def finish(self) -> None:
        """End the part that moves."""

    def line(self, text: str, good: bool | None = None) -> None:
        """Print a line; `good` says whether it is good news, if it is news at all."""


class Silence:
    """Nothing: who asks in Python reads the outcome."""

    def start(self, total: int) -> None: ...  # noqa: D102
    def begin(self, backend: Backend) -> None: ...  # noqa: D102
    def step(self, result: Result) -> None: ...  # noqa: D102
    def done(self, backend: Backend, results: Sequence[Result]) -> None: ...  # noqa: D102
    def finish(self) -> None: ...  # noqa: D102
    def line(self, text: str, good: bool | None = None) -> None: ...  # noqa: D102


class PlainScreen:
    """Text without colours; an operation's row appears as soon as it is done."""

    def __init__(self) -> None:
        self._waiting: list[Result] = []

    def start(self, total: int) -> None:
        """Say nothing."""

    def begin(self, backend: Backend) -> None:
        """Print the headings of a backend."""
        self.line(f"\n{backend}\n{aligned(HEADINGS, WIDTHS, LEFT)}")

    def step(self, result: Result) -> None:
        """Print the row of the operation before this one."""
        if self._waiting and self._waiting[0].task.operation.name != result.task.operation.name:
            self._print()
        self._waiting.append(result)

    def done(self, backend: Backend, results: Sequence[Result]) -> None:
        """Print the last row of a backend."""
        self._print()

    def _print(self) -> None:
        for row in rows(self._waiting):
            self.line(aligned(row.cells(), WIDTHS, LEFT))
        self._waiting = []

    def finish(self) -> None:
        """Say nothing more."""

    def line(self, text: str, good: bool | None = None) -> None:
        """Print a line."""
        print(text, flush=True)


class RichScreen:
    """A bar while the run goes, then one table."""

    def __init__(self) -> None:
        progress = rich("progress")
        self.console: Any = rich("console").Console()
        self.bar: Any = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=None),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[failed]}", style="bold red"),
            progress.TimeRemainingColumn(compact=True),
            console=self.console,
            expand=True,
            transient=True,
        )
        self.table: Any = rich_table()
        for number, heading in enumerate(HEADINGS):
            self.table.add_column(heading, justify="left" if number < LEFT else "right", no_wrap=True)
        self._failed = 0

    def start(self, total: int) -> None:
        """Show the bar."""
        self.bar.start()
        self.task = self.bar.add_task("", total=total, failed="")

    def begin(self, backend: Backend) -> None:
        """Say nothing: the bar names the backend."""

    def step(self, result: Result) -> None:
        """Move the bar."""
        self._failed += not result.passed
        failed = f"{self._failed:,} failed" if self._failed else ""
        self.bar.update(
            self.task, advance=1, description=f"{result.backend:7}{result.task.operation.name:24}", failed=failed
        )

    def done(self, backend: Backend, results: Sequence[Result]) -> None:
        """Add a backend to the table."""
        self.bar.console.print(str(backend), markup=False, highlight=False)
        self._add(rows(results))

    def _add(self, found: Iterable[Row]) -> None:
        text = rich("text").Text
        for number, row in enumerate(found):
            cells = list(row.cells())
            cells[0] = "" if number else cells[0]
            self.table.add_row(*(text(cell, style=_style(cell, place, row)) for place, cell in enumerate(cells)))
        self.table.add_section()

    def finish(self) -> None:
        """Take the bar away and print the table."""
        self.bar.stop()
        if self.table.row_count:
            self.console.print(self.table)

    def line(self, text: str, good: bool | None = None) -> None:
        """Print a line, unbroken, so that it can be copied."""
        style = {True: "bold green", False: "bold red", None: None}[good]
        self.console.print(text, markup=False, highlight=False, soft_wrap=True, style=style)


def _style(cell: str, place: int, row: Row) -> str:
    if "FAILED" in cell:
        return "bold red"
    if place < LEFT:
        return "bold" if place == 0 else "red" if not row.passed else ""
    return "green" if cell == "ok" else "dim" if cell == "-" or place == len(HEADINGS) - 1 else ""


def screen() -> Screen:
    """Choose rich on a terminal where it is installed."""
    return RichScreen() if rich_draws() else PlainScreen()


def tell(shown: Screen, outcome: Outcome) -> None:
    """Print what failed, each with a line that shows it again, and the verdict."""
    for first, *rest in outcome.told():
        shown.line("")
        shown.line(first, good=False)
        for text in rest:
            shown.line(text)
    for found in outcome.untested:
        shown.line("")
        shown.line(f"UNTESTED {found}", good=False)
    shown.line("")
    shown.line(outcome.verdict, good=outcome.passed)
