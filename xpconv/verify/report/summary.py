"""A run in rows: one for each backend and operation, and one line for each failure that says something new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xpconv.verify.judge.result import Result

HEADINGS = ("backend", "operation", "checks", "exact", "error / bound", "adjoint", "seconds")


@dataclass(frozen=True)
class Row:
    """Everything about one operation on one backend."""

    backend: str
    operation: str
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Say whether all is well."""
        return all(result.passed for result in self.results)

    @property
    def seconds(self) -> float:
        """Add up the time, that of the definition included."""
        return sum(result.seconds for result in self.results)

    def of(self, tier: str) -> list[Result]:
        """Pick the results of a tier."""
        return [result for result in self.results if result.task.tier == tier]

    def worst(self) -> float | None:
        """Find the largest error over its bound; None without a bound tier."""
        return max((result.ratio for result in self.results if result.ratio is not None), default=None)

    def cell(self, tier: str) -> str:
        """Put a tier in a word or two."""
        results = self.of(tier)
        if not results:
            return "-"
        failed = sum(not result.passed for result in results)
        if tier == "bound":
            worst = self.worst()
            number = "-" if worst is None else f"{worst:.3f}" if worst < 1000 else f"{worst:.1e}"
            return f"{number} FAILED" if failed else number
        return f"{failed} FAILED" if failed else "ok"

    def cells(self) -> tuple[str, ...]:
        """Write the row's texts, as HEADINGS has them."""
        tiers = (self.cell("exact"), self.cell("bound"), self.cell("adjoint"))
        return (self.backend, self.operation, f"{len(self.results):,}", *tiers, f"{self.seconds:.2f}")


def rows(results: Iterable[Result]) -> list[Row]:
    """Gather results by backend and operation, in the order in which they first appear."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.backend, result.task.operation.name), []).append(result)
    return [Row(backend, operation, tuple(found)) for (backend, operation), found in groups.items()]


def failures(results: Iterable[Result]) -> list[tuple[Result, int]]:
    """Pick for each backend and operation the failure with the smallest input, and count the others."""
    found = []
    for row in rows(results):
        failed = [result for result in row.results if not result.passed]
        if failed:
            found.append((min(failed, key=lambda result: result.task.elements), len(failed) - 1))
    return found


def describe(result: Result, more: int = 0, shrunk: Result | None = None) -> list[str]:
    """Say in lines what failed and how to see it again, where possible on a smaller case."""
    lines = [f"FAILED {result.backend} {result.task.key}: {result.failure}"]
    if shrunk is not None and shrunk is not result:
        lines.append(f"  so does {shrunk.task.key}: {shrunk.failure}")
        result = shrunk
    lines += [f"  expected {result.expected}", f"  got      {result.got}", f"  {result.line}"]
    if more:
        lines.append(f"  and {more:,} more of {result.task.operation.name} on {result.backend}")
    return lines


def verdict(results: Sequence[Result], seconds: float, untested: int = 0) -> str:
    """Put the run in one line."""
    if untested:
        return f"{verdict(results, seconds)}; {untested:,} keywords untested"
    failed = sum(not result.passed for result in results)
    backends = ", ".join(dict.fromkeys(result.backend for result in results))
    if failed:
        return f"{failed:,} of {len(results):,} checks failed on {backends} in {seconds:.1f} s"
    return f"all {len(results):,} checks passed on {backends} in {seconds:.1f} s"
