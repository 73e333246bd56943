"""Every operation on the package's catalogue and on the cases beside it, on every backend, by the verifier's judge.

What is right is the verifier's definition, which `tests/verify/test_reference.py` holds against the tests' own oracle.
"""

import functools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests import backends, cases
from tests.definition import ORACLE
from tests.sizes import FULL, NIGHTLY, share
from xpconv.algorithms import EVERYWHERE, REGISTRY
from xpconv.verify.catalogue import cases as catalogue
from xpconv.verify.catalogue.data import REAL_KINDS
from xpconv.verify.catalogue.dtypes import DTYPES
from xpconv.verify.catalogue.tasks import EXACT, OPERATIONS, Task, tasks
from xpconv.verify.catalogue.tasks import NAMES as OPERATION_NAMES
from xpconv.verify.judge.bench import Bench

SUMMING = ("toeplitz",)  # exact on whole floating numbers; "auto" takes no transform on images as small as these
# what a library compiles or plans anew for each shape takes turns: in how many parts
PARTS = {"jax": 32, "jax-jit": 8, "jax-x64": 64, "dask": 1 if FULL else 8}
COMPILED = ("max_pool", "max_pool_vjp", "avg_pool", "pool_forward", "pool_backward", "conv_forward", "conv_backward")
# what conv and conv_vjp do, by other names and in parts
REPEATS = ("conv_input_grad", "conv_weight_grad", "prepare_conv")
FEW = 4  # cases of a test
LARGE = ("many-tiles", "large")  # seconds of the definition; seams between tiles are looked at by slices as well
TURNS = ("strict", "cupy", "dpnp")
GUISES = ("numpy-readonly", "strict-device1", "strict-no-float64")  # for what the library itself does not show
MORE = (
    (catalogue.CONV, cases.MORE_CONV),
    (catalogue.TRANSPOSE, cases.MORE_TRANSPOSE),
    (catalogue.POOL, cases.MORE_POOL),
    (catalogue.PAD, cases.MORE_PAD),
    (catalogue.CUT, cases.MORE_CUT),
    (catalogue.COLUMNS, cases.MORE_COLUMNS),
)


def more() -> Iterator[Task]:
    """Give the checks of the cases that the catalogue has not."""
    for operation in OPERATIONS:
        for table, extra in MORE:
            if operation.table is not table:
                continue
            for case, setup in extra.items():
                kinds, tier = (operation.kinds, "exact") if operation.exact(setup) else (("signed",), "bound")
                for kind in kinds:
                    for algorithm in EXACT if operation.algorithms else ("",):
                        yield Task(replace(operation, table=extra), case, kind, "float32", algorithm, tier)


def unnamed(found: list[Task]) -> list[Task]:
    """Give the exact checks again with "auto" and with the algorithm that sums in another order."""
    return [
        replace(task, algorithm=algorithm)
        for task in found
        if task.algorithm == "gemm" and task.tier == "exact" and task.dtype == "float32"
        for algorithm in ("auto", *SUMMING)
    ]


def compiled(dtypes: list[str]) -> list[Task]:
    """Give all that compiled kernels can do: by name where there are algorithms, and what takes them unasked."""
    found = [*tasks(dtypes[:1]), *more()] if FULL else list(tasks(dtypes[:1], core=True))
    found = [task for task in found if task.algorithm in ("", "auto", "gemm")]
    found += tasks([dtype for dtype in dtypes if dtype == "float64"], core=True)
    found = [task for task in found if task.operation.algorithms or task.operation.name in COMPILED]
    # what is converted first is left to the others
    gemm = [task for task in found if task.algorithm == "gemm" and task.result_dtype == task.dtype]
    named = [replace(task, algorithm="compiled") for task in gemm]
    return [task for task in found if task.algorithm in ("", "auto")] + named


def takes_its_turn(task: Task, kinds: tuple[str, ...]) -> bool:
    """Whether a normal run has a check in float32.

    A case of the core is there on one of these kinds of data, another by one of the names, and of the large ones one.
    """
    cases = list(task.operation.table)
    number, large = cases.index(task.case), [case for case in cases if case.startswith(LARGE)]
    if task.case in large:
        return task.case == large[OPERATIONS.index(task.operation) % len(large)]
    if task.tier == "bound" and task.setup.core:
        return task.kind == kinds[number % len(kinds)] or task.kind not in kinds or task.algorithm == "auto"
    return task.operation.name not in REPEATS or task.setup.core or REPEATS[number % 3] == task.operation.name


def chosen(name: str) -> list[Task]:
    """Give the checks of a backend in this run: each case once, and dtypes, libraries and guises in turn."""
    dtypes = [d for d in DTYPES if d not in backends.LACKS.get(name, ()) and (d != "bfloat16" or HAS_BFLOAT16)]
    first, others = dtypes[:1], dtypes[1:]
    exact = [task for task in tasks(dtypes, core=True) if task.tier == "exact"]
    if name == "numpy":
        found = list(tasks(first)) + list(more())
        if not FULL:
            found = [t for t in found if t.tier != "bound" or t.setup.core or not t.operation.exact(t.setup)]
            found = [t for t in found if takes_its_turn(t, REAL_KINDS[1:])]
        return found + unnamed(found) + share(tasks(others, core=not FULL), 0, 2 if FULL else 4)
    if name == "numpy-compiled":
        return compiled(dtypes)
    if name in GUISES:
        return exact if NIGHTLY else [task for task in exact if task.dtype == "float32"]
    if name in PARTS:
        if name == "jax-x64":  # what JAX has in this guise alone
            exact = [task for task in exact if task.dtype in backends.WIDE]
        elif not NIGHTLY:
            exact = [task for task in exact if task.dtype == "float32"]
        return share(exact, list(PARTS).index(name), PARTS[name])
    found = (
        [*tasks(first), *more()] if FULL else [t for t in tasks(first, core=True) if takes_its_turn(t, REAL_KINDS[:2])]
    )
    if not NIGHTLY:
        found = [task for task in found if task.operation.name not in REPEATS or task.setup.core]
    found += share(tasks(others, core=not NIGHTLY), 1, 6 if FULL else 12)
    # arrays that are not written into go one way through the engine, whatever their library: these take turns; and a
    # processor's driver compiles each kernel at its first use, all core cases are in the evidence
    return share(found, TURNS.index(name) % 2, 2) if name in TURNS else found


HAS_BFLOAT16 = backends.usable("ml_dtypes")
NAMES = backends.names()


def groups() -> Iterator[tuple[str, list[Task]]]:
    """Give each backend with the checks of an operation, on NumPy of a few cases; in a row what has one definition."""
    found: dict[tuple[str, str, int], list[Task]] = {}
    for name in NAMES:
        places: dict[tuple[str, str], int] = {}  # of the cases of an operation
        for task in chosen(name):
            operation = task.operation.name
            place = places.setdefault((operation, task.operation.label(task.case)), len(places))
            found.setdefault((name, operation, place // FEW if name == "numpy" else 0), []).append(task)
    for (name, _, _), checks in sorted(found.items(), key=lambda item: OPERATION_NAMES.index(item[0][1])):
        yield name, checks


@functools.cache
def bench(name: str) -> Bench:
    """Give the judge of a backend."""
    return Bench(backends.load(name), ORACLE)  # type: ignore[arg-type]


def title(value: object) -> str:
    """Name a group."""
    if isinstance(value, str):
        return value
    labels = list(dict.fromkeys(task.operation.label(task.case) for task in value))
    return f"{value[0].operation.name}/{','.join(labels) if len(labels) <= FEW else ''}"


@pytest.mark.parametrize(("backend", "found"), list(groups()), ids=title)
def test_operation(backend: str, found: list[Task]) -> None:
    results = [bench(backend).check(task) for task in found]
    failed = [result for result in results if not result.passed]
    lines = [f"{r.task.key}: {r.failure}; expected {r.expected}, got {r.got}\n    {r.line}" for r in failed]
    assert not failed, f"{len(failed)} of {len(results)} checks\n" + "\n".join(lines)


def test_algorithms_are_all_here() -> None:
    """The others do not serve every case, and have a file of their own."""
    assert {name for name, algorithm in REGISTRY.items() if algorithm.exact} == set(EXACT)
    assert {name for name in REGISTRY if REGISTRY[name].clips} == {"compiled", "compiled_winograd"}
    assert {name for name in EVERYWHERE if not REGISTRY[name].transforms} == {*EXACT, *SUMMING}


@pytest.mark.parametrize("backend", NAMES)
def test_a_backend_lacks_what_is_said(backend: str) -> None:
    """So that no dtype is left out unseen."""
    assert set(DTYPES) - set(bench(backend).dtypes) == set(backends.LACKS.get(backend, ()))
