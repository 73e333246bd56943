"""Tables of measurements: a row for each, and columns that say what they show of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measure.measurement import Measurement, by_pass
from bench.report.numbers import geometric_mean, milliseconds, number
from bench.report.table import Table

Value = Callable[[Measurement], Any]


@dataclass(frozen=True)
class Column:
    """What is shown of each measurement; a column without any value is left away."""

    title: str
    value: Value
    cell: Callable[[Measurement], str] | None = None  # how it is written; None: as a number
    mean: str = ""  # name of the geometric mean that stands below it, for a column of ratios
    needs: str = ""  # a competitor without whose times it says nothing new

    def text(self, one: Measurement) -> str:
        """Write a cell."""
        return self.cell(one) if self.cell is not None else number(self.value(one))

    def shown(self, measurements: Sequence[Measurement]) -> bool:
        """Whether there is anything to show."""
        if self.needs and all(one.best(self.needs) is None for one in measurements):
            return False
        return any(self.value(one) is not None for one in measurements)


@dataclass(frozen=True)
class Labels:
    """The first columns of a table."""

    titles: tuple[str, ...]
    row: Callable[[Measurement, bool], tuple[str, ...]]  # told whether the case is that of the row above
    mean: Callable[[str, bool], tuple[str, ...]]  # of a pass; told whether it is the first


def over_fastest(*names: str) -> Value:
    """Divide the time of further columns of ours by that of the fastest rival."""

    def ratio(one: Measurement) -> float | None:
        ours, theirs = one.seconds(*names), one.seconds(*one.rivals) if one.rivals else None
        return None if ours is None or theirs is None else ours / theirs

    return ratio


COMPILED = (
    Column("fast ÷\nfastest", over_fastest("fast"), mean="fast_to_fastest"),
    Column("prepared ÷\nfastest", over_fastest("prepared"), mean="prepared_to_fastest"),
)


WITH_BACKWARD = "  with backward"
BY_PASS = Labels(
    ("case", "pass"),
    lambda one, same: ("  same" if same else one.case, one.passes),
    lambda passes, first: ("geometric mean", passes),
)
BY_LAYER = Labels(
    ("layer",),
    lambda one, same: (WITH_BACKWARD if same else one.case,),
    lambda passes, first: ("geometric mean" if first else WITH_BACKWARD,),
)


def lay_out(measurements: Sequence[Measurement], columns: Sequence[Column], labels: Labels = BY_PASS) -> Table:
    """Lay measurements out, and the geometric means of ratios below, by pass."""
    shown = [column for column in columns if column.shown(measurements)]
    result = Table([*labels.titles, *(column.title for column in shown)])
    before = None
    for one in measurements:
        result.rows.append((*labels.row(one, one.case == before), *(column.text(one) for column in shown)))
        before = one.case
    if any(column.mean for column in shown):
        for place, (passes, found) in enumerate(means(measurements, shown).items()):
            cells = (number(found[column.mean]) if column.mean else "–" for column in shown)
            result.summary.append((*labels.mean(passes, not place), *cells))
    return result


def means(measurements: Sequence[Measurement], columns: Sequence[Column]) -> dict[str, dict[str, float | None]]:
    """Average the columns of ratios, by pass and the mean's name."""
    named = {column.mean: column.value for column in columns if column.mean}
    return {
        passes: {name: geometric_mean(map(value, chosen)) for name, value in named.items()}
        for passes, chosen in by_pass(measurements).items()
    }


def time(name: str, title: str) -> Column:
    """Show the time of the fastest competitor of a name; PyTorch's contiguous memory format is marked."""

    def cell(one: Measurement) -> str:
        best = one.best(name)
        mark = "*" if best is not None and best.endswith(" contiguous") else ""
        return milliseconds(one.seconds(name)) + mark

    return Column(f"{title}\nms", lambda one: one.seconds(name), cell)


def times(titles: Mapping[str, str]) -> list[Column]:
    """Show the times of competitors, by the beginnings of their names."""
    return [time(name, title) for name, title in titles.items()]


RATIO = Column("ratio", lambda one: one.ratio, mean="ratio")


def fact(name: str, title: str, form: str = "") -> Column:
    """Show what was found beside the times, in a format of `format`, or as a number."""

    def cell(one: Measurement) -> str:
        value = one.facts.get(name)
        return "–" if value is None else format(value, form)

    return Column(title, lambda one: one.facts.get(name), cell if form else None)
