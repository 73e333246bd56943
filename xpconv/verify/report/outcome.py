"""What a run found: the record that every report reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from xpconv.verify.catalogue.dtypes import INTEGERS
from xpconv.verify.judge.result import Result
from xpconv.verify.judge.untested import Untested


@dataclass(frozen=True)
class Backend:
    """A library as the run found it."""

    name: str
    version: str
    device: str
    dtypes: tuple[str, ...]
    core: bool  # core cases only
    tf32: str  # how it stood, for a library that may have it

    def __str__(self) -> str:
        integers = [dtype for dtype in self.dtypes if dtype in INTEGERS]
        dtypes = [dtype for dtype in self.dtypes if dtype not in INTEGERS]
        dtypes += [f"{len(integers)} integers"] if len(integers) > 1 else integers
        words = [f"{self.name} {self.version} on {self.device}", ", ".join(dtypes)]
        if self.core:
            words.append("core cases")
        if self.tf32:
            words.append(f"TF32 {self.tf32}")
        return "; ".join(words)


@dataclass
class Outcome:
    """A run: what was asked for, and every result in the catalogue's order, backend after backend."""

    seed: int
    quick: bool
    names: tuple[str, ...]
    versions: dict[str, str]
    backends: list[Backend] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    untested: list[Untested] = field(default_factory=list)
    shrunk: dict[Result, Result] = field(default_factory=dict)  # a failure that is shown -> the smallest one like it
    seconds: float = 0.0

    @property
    def failures(self) -> list[Result]:
        """Pick what failed, in order."""
        return [result for result in self.results if not result.passed]

    @property
    def passed(self) -> bool:
        """Say whether something was checked, and all is well."""
        return bool(self.results) and not self.failures and not self.untested
