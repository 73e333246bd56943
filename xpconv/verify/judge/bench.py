"""Run one check on one backend: the kind of the result first, then its values, then whether an argument has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import array_api_compat as compat
import numpy as np

from xpconv._arrays.dtypes import native
from xpconv._tools.libraries import Library
from xpconv.testing import Mismatch, assert_adjoint, assert_exact, assert_within_bound, max_ratio
from xpconv.verify.catalogue.dtypes import DTYPES, host, nearest
from xpconv.verify.catalogue.operation import Arrays, Call, Operation
from xpconv.verify.catalogue.tasks import Task
from xpconv.verify.definition.windows import Array
from xpconv.verify.judge import reproduce
from xpconv.verify.judge.digest import digest
from xpconv.verify.judge.oracle import Exact, Oracle
from xpconv.verify.judge.result import Finding, Result
from xpconv.verify.judge.spread import promises, spreads

LOOSE = 4  # a promised bound may be so many times the verifier's own


class Bench:
    """A backend, ready for checks."""

    def __init__(self, library: Library, oracle: Oracle) -> None:
        self.library, self.oracle = library, oracle
        self.dtypes = tuple(dtype for dtype in DTYPES if _has(library, dtype))
        self._compiled: dict[str, Callable[..., tuple[Array, ...]]] = {}

    def check(self, task: Task) -> Result:
        """Run a check; whatever goes wrong becomes its failure."""
        start = time.perf_counter()
        ratio, mark, fault = None, None, None
        try:
            if task.tier == "exact":
                mark = self._exact(task)
            elif task.tier == "bound":
                ratio = self._bound(task)
            else:
                self._adjoint(task)
        except Finding as found:
            fault = found
        except Exception as error:  # what the operation raises is a finding, not the end of the run
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            fault = Finding(f"raised {text}", "a result", text)
        seconds = time.perf_counter() - start
        if fault is None:
            return Result(task, self.library.name, seconds, ratio, mark)
        line = reproduce.line(task, self.library.name, self.oracle.seed, fault.number, fault.index)
        return Result(
            task,
            self.library.name,
            seconds,
            ratio=fault.ratio if task.tier == "bound" else None,
            failure=str(fault),
            expected=str(fault.expected),
            got=str(fault.got),
            line=line,
        )

    # --- the tiers ---

    def _exact(self, task: Task) -> str:
        results = self._results(task)
        for number, (got, wanted) in enumerate(zip(results, self.oracle.exact(task), strict=True)):
            try:
                # a whole number beyond float16's 2048 is summed exactly in float32 and rounded once
                rounded = got.dtype.kind == "f" and task.result_dtype == "bfloat16"
                assert_exact(got, nearest(wanted.nearest, "bfloat16" if rounded else got.dtype.name))
            except Mismatch as fault:
                what = f"{task.operation.results[number]}: {fault.what}"
                raise Finding(what, fault.expected, fault.got, number, fault.index) from None
        return digest(results)

    def _bound(self, task: Task) -> float:
        results, exact, bounds = self._results(task), self.oracle.exact(task), self.oracle.bounds(task)
        spreading = spreads(task)
        if spreading:
            calls = promises(task)
            bounds = tuple(
                self._promised(task, calls[name]) if name in calls else bound
                for name, bound in zip(task.operation.results, bounds, strict=True)
            )
        worst = [
            _demand_bound(task.operation.results[number], number, *row)
            for number, row in enumerate(zip(results, exact, bounds, strict=True))
        ]
        if task.operation.promise is not None:
            call = task.operation.promise(task.setup, task.algorithm)
            promised = self._promised(task, call)
            _demand_bound(f"{task.operation.results[0]}, by {call.function}", 0, results[0], exact[0], promised)
            loose = max_ratio(promised, np.zeros(promised.shape), LOOSE * bounds[0])
            if loose > 1 and not spreading:
                raise Finding(
                    f"{call.function} promises less than it could", "a bound", f"{LOOSE * loose:.3g} times it"
                )
        return max(worst)

    def _promised(self, task: Task, call: Call) -> Array:
        """Ask the library for its own bound of a result."""
        arrays = self._move(task, call.names())
        return self.library.to_numpy(self._call(call, None, arrays)[0]).astype(np.float64)

    def _adjoint(self, task: Task) -> None:
        operation, adjoint = task.operation, task.operation.adjoint
        if adjoint is None:
            raise ValueError(f"{operation.name} has no adjoint identity")
        data = {name: drawn.values for name, drawn in self.oracle.data(task).items()}
        results = self._results(task)
        arrays = self._move(task, data)
        forward = self._call(adjoint.forward(task.setup, task.algorithm), None, arrays)
        pairs = [(data[name], results[number]) for name, number in adjoint.pairs]
        try:
            assert_adjoint(self.library.to_numpy(forward[0]), data[adjoint.gradient], *pairs)
        except Mismatch as fault:
            raise Finding(fault.what, fault.expected, fault.got) from None

    # --- a call and what every result is held to ---

    def _move(self, task: Task, names: Iterable[str]) -> Arrays:
        data = self.oracle.data(task)
        dtypes = {name: None if data[name].values.dtype.name != host(task.dtype) else task.dtype for name in names}
        return {name: self.library.asarray(data[name].values, dtype) for name, dtype in dtypes.items()}

    def _results(self, task: Task) -> tuple[Array, ...]:
        """Call the operation and bring its results to the host, if they are of the right kind."""
        operation = task.operation
        call = task.call
        data = {name: drawn.values for name, drawn in self.oracle.data(task).items()}
        arrays = self._move(task, call.names())
        before = str(call)
        results = self._call(call, operation, arrays)
        model = next(iter(arrays.values()))  # no operation takes indices first
        wanted = [exact.nearest.shape for exact in self.oracle.exact(task)]
        for number, (result, shape) in enumerate(zip(results, wanted, strict=True)):
            self._demand_kind(task, number, result, shape, model)
        host = tuple(self.library.to_numpy(result) for result in results)
        for name, array in arrays.items():
            after = self.library.to_numpy(array)  # indices may be int32 here
            if after.tobytes() != data[name].astype(after.dtype).tobytes():
                raise Finding(f"the argument {name} was changed", "the same bytes", "others")
            if isinstance(array, np.ndarray) and any(np.may_share_memory(array, result) for result in results):
                raise Finding(f"a result shares memory with the argument {name}", "a new array", "a view")
        if str(call) != before:
            raise Finding("an option was changed", before, str(call))
        return host

    def _call(self, call: Call, operation: Operation | None, arrays: Arrays) -> tuple[Array, ...]:
        names = call.names()
        key = str(call)
        if key not in self._compiled:

            def function(*given: Array) -> tuple[Array, ...]:
                named = dict(zip(names, given, strict=True))
                return _unpack(operation, call, named, call.run(named))

            self._compiled[key] = self.library.compiled(function)
        return self._compiled[key](*(arrays[name] for name in names))

    def _demand_kind(self, task: Task, number: int, result: Array, shape: tuple[int, ...], like: Array) -> None:
        operation = task.operation
        name = operation.results[number]
        if not compat.is_array_api_obj(result):
            raise Finding(f"{name} is no array", type(like).__name__, type(result).__name__, number)
        wanted, found = (compat.array_namespace(array).__name__ for array in (like, result))
        if wanted != found:
            raise Finding(f"{name} is of another library", wanted, found, number)
        if tuple(result.shape) != shape:
            raise Finding(f"{name} has the wrong shape", shape, tuple(result.shape), number)
        model = {"bool": "bool", "index": "int64"}.get(operation.dtypes[number], task.setup.dtype)
        dtype = native(like.dtype if model is None else self.library.asarray(np.zeros(1, model)).dtype)
        if result.dtype != dtype:
            raise Finding(f"{name} has the wrong dtype", dtype, result.dtype, number)
        wanted, found = compat.device(like), compat.device(result)
        if wanted != found:
            raise Finding(f"{name} is on the wrong device", wanted, found, number)


def _demand_bound(name: str, number: int, got: Array, exact: Exact, bound: Array) -> float:
    """Demand abs(got - exact) <= bound; the largest ratio."""
    # the difference from the nearest float64 is as good as exact, so the error is known to twice the digits
    error = got.astype(np.complex128 if got.dtype.kind == "c" else np.float64) - exact.nearest
    try:
        assert_within_bound(error, exact.rest, bound)
    except Mismatch as fault:
        index = fault.index or ()
        what = f"{name}: {fault.what}"
        raise Finding(what, exact.nearest[index], got[index], number, index, fault.ratio) from None
    return max_ratio(error, exact.rest, bound)


def _has(library: Library, dtype: str) -> bool:
    """Say whether a library keeps a dtype: some refuse it, some make something narrower of it."""
    try:
        array = library.asarray(np.ones(1, host(dtype)), dtype)
        return dtype in str(array.dtype) and library.to_numpy(array + array).dtype == host(dtype)
    except (TypeError, ValueError, AttributeError, ImportError, RuntimeError):
        return False


def _unpack(operation: Operation | None, call: Call, arrays: Arrays, raw: Any) -> tuple[Array, ...]:
    """Take the results as a tuple, without the cache, which holds the arguments themselves."""
    if operation is None:
        return (raw,)
    if operation.cached:
        if not isinstance(raw, tuple) or len(raw) != 2:
            raise Finding("gives (result, cache)", "a pair", type(raw).__name__)
        raw, cache = raw
        given = [
            arrays.get(argument, argument) if isinstance(argument, str) else argument for argument in call.arguments
        ]
        if len(cache) != len(given) or any(kept is not one for kept, one in zip(cache, given, strict=True)):
            raise Finding(
                "the cache does not hold the arguments", ", ".join(map(repr, call.arguments)), "something else"
            )
    if len(operation.results) == 1:
        return (raw,)
    if not isinstance(raw, tuple) or len(raw) != len(operation.results):
        raise Finding("gives a tuple", f"{len(operation.results)} results", type(raw).__name__)
    return raw
