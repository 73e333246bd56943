"""What a run found: the record that every report reads, and that shows itself in a notebook."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from html import escape

from xpconv import _html
from xpconv.verify.catalogue import cases
from xpconv.verify.catalogue.dtypes import INTEGERS
from xpconv.verify.judge.result import Result
from xpconv.verify.judge.untested import Untested
from xpconv.verify.report.summary import HEADINGS, describe, failures, rows, verdict
from xpconv.verify.report.table import table


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

    @property
    def verdict(self) -> str:
        """The run in one line."""
        if not self.results:
            return "nothing was checked"
        return verdict(self.results, self.seconds, len(self.untested))

    @property
    def circumstances(self) -> str:
        """What was run, and where."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        size = "core cases" if self.quick else "all cases"
        on = f"{platform.system()} {platform.machine()}"
        return f"Catalogue {cases.VERSION}, {size}, seed {self.seed}, on {on}; {versions}."

    def told(self) -> list[list[str]]:
        """Say what failed, in lines: the smallest failure of each operation on each backend."""
        found = failures(self.results)
        return [describe(result, more, self.shrunk.get(result)) for result, more in found]

    def __str__(self) -> str:
        """Say it in lines."""
        cells = table([HEADINGS, *(row.cells() for row in rows(self.results))])
        wrong = [line for lines in self.told() for line in ("", *lines)]
        return "\n".join([*map(str, self.backends), *cells, *wrong, *self._untested(), "", self.verdict])

    __repr__ = __str__

    def _untested(self) -> list[str]:
        return [f"untested: {found}" for found in self.untested]

    def _repr_html_(self) -> str:
        found = rows(self.results)
        failed = [place for place, row in enumerate(found) if not row.passed]
        parts = [
            f"<p><strong>{escape(self.verdict)}</strong></p>",
            f"<p>{escape(self.circumstances)}</p>",
            f"<ul>{''.join(f'<li>{escape(str(backend))}</li>' for backend in self.backends)}</ul>",
            _html.table(HEADINGS, [row.cells() for row in found], strong=failed),
            *(f"<pre>{escape(chr(10).join(lines))}</pre>" for lines in self.told()),
            *(f"<p>{escape(line)}</p>" for line in self._untested()),
        ]
        return "\n".join(parts)
