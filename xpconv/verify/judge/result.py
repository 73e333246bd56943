"""What comes of a check: a result, or on the way to it a finding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpconv.verify.catalogue.tasks import Task


@dataclass(frozen=True, eq=False)
class Result:
    """What came of a check."""

    task: Task
    backend: str
    seconds: float = 0.0
    ratio: float | None = None  # of error and bound, in the bound tier
    digest: str | None = None  # of the results, in the exact tier
    failure: str = ""  # one line; empty where all is well
    expected: str = ""
    got: str = ""
    line: str = ""  # of Python that shows the failure

    @property
    def passed(self) -> bool:
        """Say whether all is well."""
        return not self.failure


class Finding(Exception):
    """Something is wrong with result `number` of an operation, at `index` if it is one element."""

    def __init__(
        self,
        what: str,
        expected: Any,
        got: Any,
        number: int = 0,
        index: tuple[int, ...] | None = None,
        ratio: float = float("inf"),
    ) -> None:
        super().__init__(what)
        self.expected, self.got, self.number, self.index, self.ratio = expected, got, number, index, ratio
