"""Plant faults and demand that the checks catch every one: a verifier that cannot fail proves nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from xpconv._tools import libraries
from xpconv._tools.libraries import LibraryError
from xpconv._tools.terminal import rich, rich_draws
from xpconv.verify.catalogue.dtypes import DTYPES
from xpconv.verify.catalogue.tasks import Task, tasks
from xpconv.verify.faults import COURSE, LIBRARY
from xpconv.verify.faults.fault import Fault, planted
from xpconv.verify.judge.bench import Bench
from xpconv.verify.judge.oracle import Oracle
from xpconv.verify.report.table import aligned, rich_table

FAULTS: tuple[Fault, ...] = (*COURSE, *LIBRARY)
HEADINGS = ("fault", "planted in", "caught by")
SURVIVED = "SURVIVED: "
WIDTHS = (35, 33, 0)


@dataclass(frozen=True)
class Verdict:
    """What became of a fault: the check that caught it, or why none did, or why it was not run."""

    fault: Fault
    check: str = ""
    failure: str = ""
    survived: str = ""
    not_run: str = ""

    def cells(self) -> tuple[str, str, str]:
        """Write the row's texts, as HEADINGS has them."""
        if self.not_run:
            return self.fault.name, self.fault.where, f"not run: {self.not_run}"
        failure = self.failure.partition(", the ")[0]
        return self.fault.name, self.fault.where, f"{self.check}: {failure}" if self.check else SURVIVED + self.survived


class SelfTest:
    """The benches on which all faults are tried."""

    def __init__(self, seed: int) -> None:
        self.oracle = Oracle(seed)
        self._benches: dict[tuple[str, str | None], Bench] = {}
        self._sound: dict[tuple[str, str], bool] = {}

    def run(self, faults: Iterable[Fault] = FAULTS) -> Iterator[Verdict]:
        """Plant one fault after another."""
        for fault in faults:
            if missing := [dtype for dtype in fault.dtypes if dtype not in DTYPES]:
                yield Verdict(fault, not_run=f"the catalogue has no {missing[0]}")
                continue
            try:
                bench = self._bench(fault)
            except LibraryError as error:
                yield Verdict(fault, not_run=str(error))
            else:
                yield self._catch(fault, bench)

    def _catch(self, fault: Fault, bench: Bench) -> Verdict:
        other = ""
        for task in _cheapest_first(fault):
            with planted(fault):
                result = bench.check(task)
            if result.passed:
                continue
            if not re.search(fault.sign, result.failure):
                other = other or f"only seen as {result.failure}"
            elif self._passes_without(task, bench):
                return Verdict(fault, task.key, result.failure)
            else:
                return Verdict(fault, survived=f"{task.key} fails without it too")
        return Verdict(fault, survived=other or "no check failed")

    def _bench(self, fault: Fault) -> Bench:
        where = (fault.library, fault.device)
        if where not in self._benches:
            self._benches[where] = Bench(libraries.load(*where), self.oracle)
        return self._benches[where]

    def _passes_without(self, task: Task, bench: Bench) -> bool:
        key = (bench.library.name, task.key)
        if key not in self._sound:
            self._sound[key] = bench.check(task).passed
        return self._sound[key]


def _cheapest_first(fault: Fault) -> Sequence[Task]:
    found = list(tasks(fault.dtypes, fault.operations, fault.core))
    # whole numbers first, whose definition is quick; a stable sort keeps the catalogue's order
    return sorted(found, key=lambda task: task.tier == "bound")


# --- on the screen --------------------------------------------------------------------------------


Told = tuple[Callable[[Verdict], None], Callable[[], None]]  # what prints a row, and what ends the table


def _plain() -> Told:
    def row(verdict: Verdict) -> None:
        print(aligned(verdict.cells(), WIDTHS, len(WIDTHS)), flush=True)

    print(aligned(HEADINGS, WIDTHS, len(WIDTHS)))
    return row, lambda: None


def _rich() -> Told:
    text, table, console = rich("text").Text, rich_table(*HEADINGS), rich("console").Console()

    def row(verdict: Verdict) -> None:
        style = "dim" if verdict.not_run else "bold red" if verdict.survived else "green"
        name, where, found = verdict.cells()
        table.add_row(text(name), text(where, style="dim"), text(found, style=style))

    return row, lambda: console.print(table)


def main(seed: int, faults: Sequence[Fault] = FAULTS) -> int:
    """Print what became of each fault; the exit status is 1 if one survives."""
    row, finish = _rich() if rich_draws() else _plain()
    start = time.perf_counter()
    found: list[Verdict] = []
    try:
        for verdict in SelfTest(seed).run(faults):
            found.append(verdict)
            row(verdict)
    finally:
        finish()
    seconds = time.perf_counter() - start
    survivors = [f"{verdict.fault.name} ({verdict.fault.where})" for verdict in found if verdict.survived]
    skipped = sum(bool(verdict.not_run) for verdict in found)
    rest = f", {skipped} not run" if skipped else ""
    caught = len(found) - skipped - len(survivors)
    print(f"\n{caught} of {len(found)} planted faults caught{rest} in {seconds:.1f} s")
    if survivors:
        print(SURVIVED + ", ".join(survivors))
    return int(bool(survivors) or not caught)
