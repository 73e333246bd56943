"""The catalogue in full: each check by its key, operation/case/data/dtype/algorithm/tier, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from xpconv.algorithms import REGISTRY
from xpconv.verify.course import COURSE
from xpconv.verify.data import REAL_KINDS
from xpconv.verify.operation import Operation
from xpconv.verify.operations import CONVOLUTION, PADDING, POOLING

OPERATIONS: tuple[Operation, ...] = (*CONVOLUTION, *POOLING, *PADDING, *COURSE)
NAMES: tuple[str, ...] = tuple(dict.fromkeys(operation.name for operation in OPERATIONS))
DTYPES = ("float32", "float64", "float16")
TIERS = ("exact", "bound", "adjoint")
EXACT = ("direct", "gemm")  # algorithms that are exact on whole numbers, as the library promises


@dataclass(frozen=True)
class Task:
    """One check, of any backend."""

    operation: Operation
    case: str
    kind: str  # of data
    dtype: str
    algorithm: str  # empty for an operation without that keyword
    tier: str

    @property
    def setup(self) -> Any:
        """Shapes and options."""
        return self.operation.table[self.case]

    @property
    def source(self) -> str:
        """Name the data and what the definition says about it: all but the algorithm and the tier."""
        return f"{self.operation.name}/{self.operation.label(self.case)}/{self.kind}/{self.dtype}"

    @property
    def key(self) -> str:
        """Name the check."""
        return "/".join(filter(None, (self.source, self.algorithm, self.tier)))


def tasks(dtypes: Sequence[str] = DTYPES, names: Sequence[str] = NAMES, core: bool = False) -> Iterator[Task]:
    """Give the checks of these dtypes and operations; with `core` each feature once."""
    for operation in OPERATIONS:
        if operation.name not in names:
            continue
        for case, setup in operation.table.items():
            if core and not setup.core:
                continue
            for dtype in dtypes:
                yield from _of(operation, case, setup, dtype, core)


def _of(operation: Operation, case: str, setup: Any, dtype: str, core: bool) -> Iterator[Task]:
    named = tuple(REGISTRY) if operation.algorithms else ("",)
    exact = [name for name in named if not name or name in EXACT]
    if operation.even is None or operation.even(setup):
        for kind in operation.kinds if setup.core else operation.kinds[:1]:
            for algorithm in exact:
                yield Task(operation, case, kind, dtype, algorithm, "exact")
        # float16 holds whole numbers up to 2048 only, too few for some of the sums
        if operation.adjoint is not None and setup.adjoint and dtype != "float16":
            for algorithm in exact:
                yield Task(operation, case, operation.kinds[0], dtype, algorithm, "adjoint")
    if operation.steps is not None and setup.real:
        kinds = REAL_KINDS[:1] if not setup.core else REAL_KINDS[:2] if core else REAL_KINDS
        for kind in kinds:
            for algorithm in named:
                yield Task(operation, case, kind, dtype, algorithm, "bound")
        if operation.algorithms and setup.core:
            yield Task(operation, case, REAL_KINDS[0], dtype, "auto", "bound")


def find(source: str) -> Task:
    """Give a check by the source of its data; ValueError if there is none."""
    for task in tasks(names=source.split("/")[:1]):
        if task.source == source:
            return task
    raise ValueError(f"draw: no case {source!r}; keys are operation/case/data/dtype, as xpconv verify prints them")
