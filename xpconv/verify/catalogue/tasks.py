"""The catalogue in full: each check by its key, operation/case/data/dtype/algorithm/tier, in a fixed order."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from xpconv import explain
from xpconv.algorithms import EVERYWHERE
from xpconv.verify.catalogue.convolution import CONVOLUTION, TRANSPOSED
from xpconv.verify.catalogue.copies import COLUMNWISE, PADDING
from xpconv.verify.catalogue.course import COURSE
from xpconv.verify.catalogue.data import REAL_KINDS
from xpconv.verify.catalogue.dtypes import DTYPES, FLOATS, STORED, host, kind
from xpconv.verify.catalogue.operation import Call, Operation, keywords
from xpconv.verify.catalogue.pooling import ADAPTIVE, LP, POOLING, UNPOOLING
from xpconv.verify.catalogue.setups import resized

_ALL = (*CONVOLUTION, *TRANSPOSED, *POOLING, *LP, *ADAPTIVE, *UNPOOLING, *COLUMNWISE, *PADDING, *COURSE)
NAMES: tuple[str, ...] = tuple(dict.fromkeys(operation.name for operation in _ALL))
OPERATIONS: tuple[Operation, ...] = tuple(sorted(_ALL, key=lambda operation: NAMES.index(operation.name)))
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
        case, _, extents = self.case.partition("@")
        return resized(self.operation.table[case], extents) if extents else self.operation.table[case]

    @property
    def call(self) -> Call:
        """The call, with its arrays by name."""
        return self.operation.call(self.setup, self.algorithm)

    @property
    def elements(self) -> int:
        """How many numbers the arrays of the call hold."""
        return sum(math.prod(self.setup.shape(self.operation.role(name))) for name in self.call.names())

    @property
    def result_dtype(self) -> str:
        """The dtype of the results that are not indices or masks."""
        return self.setup.dtype or self.dtype

    @property
    def source(self) -> str:
        """Name the data and what the definition says about it: all but the algorithm and the tier."""
        return f"{self.operation.name}/{self.operation.label(self.case)}/{self.kind}/{self.dtype}"

    @property
    def key(self) -> str:
        """Name the check."""
        return "/".join(filter(None, (self.source, self.algorithm, self.tier)))


def tasks(dtypes: Sequence[str] = DTYPES, names: Sequence[str] = NAMES, core: bool = False) -> Iterator[Task]:
    """Go through the checks of these dtypes and operations; with `core` each feature once."""
    for operation in OPERATIONS:
        if operation.name not in names:
            continue
        for case, setup in operation.table.items():
            if core and not setup.core:
                continue
            for dtype in dtypes:
                yield from _of(operation, case, setup, dtype, core)


def _of(operation: Operation, case: str, setup: Any, dtype: str, core: bool) -> Iterator[Task]:
    sort = kind(dtype)
    if sort not in operation.takes or (setup.only and dtype not in setup.only):
        return
    if dtype not in FLOATS and not setup.core:
        return
    named = EVERYWHERE if operation.algorithms else ("",)
    exact = [name for name in named if not name or name in EXACT]
    kinds = operation.kinds if dtype in FLOATS and setup.core else operation.kinds[:1]
    if operation.exact(setup):
        for data in ("full",) if sort == "integer" else kinds:
            for algorithm in exact:
                yield Task(operation, case, data, dtype, algorithm, "exact")
        # float16 holds whole numbers up to 2048 only, too few for some of the sums; integers wrap
        if operation.adjoint is not None and setup.adjoint and dtype not in STORED and sort != "integer":
            for algorithm in exact:
                yield Task(operation, case, operation.kinds[0], dtype, algorithm, "adjoint")
    unfolded = dtype not in STORED or "dx" not in operation.results or not _folds(setup)
    if operation.sums is not None and setup.real and sort != "integer" and unfolded:
        yield from _real(operation, case, setup, dtype, core)


def _folds(setup: Any) -> bool:
    """Say whether a gradient of padding is added up, which xpconv does not yet do in float32 for the 16-bit dtypes."""
    return str(getattr(setup, "padding_mode", getattr(setup, "mode", "zeros"))) != "zeros"


def _real(operation: Operation, case: str, setup: Any, dtype: str, core: bool) -> Iterator[Task]:
    few = 1 if not setup.core or dtype not in FLOATS else 2 if core else len(REAL_KINDS)
    for data in REAL_KINDS[:few]:
        for algorithm in _serving(operation, setup, dtype):
            yield Task(operation, case, data, dtype, algorithm, "bound")
    if operation.algorithms and setup.core:
        yield Task(operation, case, REAL_KINDS[0], dtype, "auto", "bound")


def _serving(operation: Operation, setup: Any, dtype: str) -> Iterator[str]:
    """Go through the algorithms that serve a convolution."""
    if not operation.algorithms:
        yield ""
        return
    for name in EVERYWHERE:
        if name in EXACT or serves(name, setup, dtype):
            yield name


@cache
def serves(name: str, setup: Any, dtype: str) -> bool:
    """Say whether an algorithm takes a convolution rather than refuses it."""
    options = keywords(setup, name) | {"dtype": host(dtype)}
    try:
        explain(setup.shape("x"), setup.shape("w"), **options)
    except ValueError:
        return False
    return True


def find(source: str) -> Task:
    """Find a check by the source of its data; ValueError if there is none."""
    head, at, rest = source.partition("@")
    extents = re.match(r"[^+/]*", rest)
    known = head + rest[extents.end() :] if extents else head
    for task in tasks(names=source.split("/")[:1]):
        if task.source == known:
            return replace(task, case=f"{task.case}@{extents.group()}") if at and extents else task
    raise ValueError(f"draw: no case {source!r}; keys are operation/case/data/dtype, as xpconv verify prints them")
