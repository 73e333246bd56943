"""What checks hold results against: the data, the exact results and their bounds; made once for all backends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from xpconv.bounds.terms import scale_and_floor
from xpconv.verify.catalogue import data
from xpconv.verify.catalogue.data import EXACT_KINDS, Drawn
from xpconv.verify.catalogue.dtypes import STORED, kind, wrap
from xpconv.verify.catalogue.tasks import Task
from xpconv.verify.definition import pooling
from xpconv.verify.definition.gauss import Gauss
from xpconv.verify.definition.windows import Array

ATTEMPTS = 50  # at data whose inner products are not 0
SPECIAL = ("nan", "equal", "infinite")  # kinds of the array that is compared; the arrays that are summed stay whole


@dataclass(frozen=True)
class Exact:
    """An exact result: ``nearest + rest``, both of float64, so twice as precise; `rest` is 0 in the exact tier."""

    nearest: Array
    rest: Array


class Oracle:
    """Draws the data of a check and evaluates the definition, with a memory."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._attempts: dict[str, int] = {}
        self._data: dict[str, dict[str, Drawn]] = {}
        self._exact: dict[str, tuple[Exact, ...]] = {}
        self._bounds: dict[str, tuple[Array, ...]] = {}

    def data(self, task: Task) -> dict[str, Drawn]:
        """Draw the arrays: by their names in the call, then those that only the adjoint identity needs."""
        if task.source not in self._data:
            whole = _exact_source(task)
            self._data[task.source] = self._draw(task, self._attempts.setdefault(whole, 0))
            while self._proves_nothing(task) and self._attempts[whole] < ATTEMPTS:
                del self._exact[whole]
                self._attempts[whole] += 1
                self._data[task.source] = self._draw(task, self._attempts[whole])
        return self._data[task.source]

    def exact(self, task: Task) -> tuple[Exact, ...]:
        """Evaluate the definition."""
        source = _exact_source(task)
        if source not in self._exact:
            self._exact[source] = self._evaluate(task)
        return self._exact[source]

    def bounds(self, task: Task) -> tuple[Array, ...]:
        """Bound the rounding errors of the results.

        A sum of products, each of which goes through at most n roundings with unit roundoff u, is off by at most
        gamma(n) = n u / (1 - n u) times the sum of the absolute values of the products (N. Higham, "Accuracy and
        Stability of Numerical Algorithms", 2nd ed., section 3.1), and that sum is the same operation on absolute
        values. `scale_and_floor` adds what underflow can do, and counts a complex product as three steps. float16 and
        bfloat16 are summed in float32, u = 2**-24, and the result is rounded once more, by at most 2**-11 or 2**-8 of
        its size, or 2**-25 or 2**-134.
        """
        if task.source not in self._bounds:
            sums = task.operation.sums
            if sums is None:
                raise ValueError(f"nothing is rounded in {task.source}")
            rows = zip(self._evaluate(task, absolute=True), sums.steps(task.setup), strict=True)
            self._bounds[task.source] = tuple(
                _bound(abs(magnitude.nearest), count, task.result_dtype) for magnitude, count in rows
            )
        return self._bounds[task.source]

    def _proves_nothing(self, task: Task) -> bool:
        """Say whether both sides of an adjoint identity happen to be 0."""
        adjoint = task.operation.adjoint
        if adjoint is None or not task.setup.adjoint or task.kind != task.operation.kinds[0]:
            return False
        (name, number), *_ = adjoint.pairs
        argument = self._data[task.source][name].numerators
        return not np.sum(np.real(_numbers(argument) * np.conj(self.exact(task)[number].nearest)))

    def _draw(self, task: Task, attempt: int) -> dict[str, Drawn]:
        operation, setup, multiples = task.operation, task.setup, task.operation.multiples
        names = task.call.names()
        if operation.adjoint is not None:
            names = tuple(dict.fromkeys((*names, *operation.adjoint.forward(setup, task.algorithm).names())))
        drawn: dict[str, Drawn] = {}
        before: dict[str, Array] = {}  # by role, channels last
        # x before the gradients: the unit of a gradient may depend on the ties in x
        for name in sorted(names, key=lambda name: operation.role(name) != "x"):
            role = operation.role(name)
            key = f"{operation.name}/{task.case}/{role}" + f"/{attempt}" * (attempt > 0)
            if role == "indices":
                drawn[name] = _places(key, setup, self.seed)
                continue
            if role == "maxima":
                values = setup.back(role, pooling.max_pool(before["x"], setup.windows)[1])
                drawn[name] = Drawn(np.ascontiguousarray(values), values, 1)
                continue
            sort = "whole" if task.kind in SPECIAL and role in operation.factors else task.kind
            unit = 1
            if multiples is not None and role in multiples.roles and sort == "whole":
                unit = multiples.unit(setup, before)
            drawn[name] = data.draw(key, setup.shape(role), sort, task.dtype, self.seed, unit)
            before[role] = setup.last(role, drawn[name].values)
        return {name: drawn[name] for name in names}

    def _evaluate(self, task: Task, absolute: bool = False) -> tuple[Exact, ...]:
        operation, setup = task.operation, task.setup
        arrays: dict[str, Array] = {}
        one = 1
        for name, drawn in self.data(task).items():
            role = operation.role(name)
            if role in operation.factors:
                array = np.abs(drawn.numerators) if absolute else drawn.numerators
                one = drawn.one
            elif kind(task.dtype) == "integer" or role in ("indices", "maxima"):
                array = drawn.numerators
            else:
                array = drawn.values.astype(np.complex128 if kind(task.dtype) == "complex" else np.float64)
            arrays[role] = setup.last(role, array)
        results = operation.define(setup, arrays, one)
        return tuple(
            _wrapped(setup.back(name, result), task)
            if word == "same" and kind(task.dtype) == "integer"
            else _split(setup.back(name, result), one**degree)
            for name, result, degree, word in zip(
                operation.results, results, operation.degrees, operation.dtypes, strict=True
            )
        )


def _exact_source(task: Task) -> str:
    """Name the data of a check; whole numbers are the same in every floating dtype."""
    same = task.kind in EXACT_KINDS and kind(task.dtype) == "float"
    return task.source.rpartition("/")[0] if same else task.source


def _numbers(numerators: Array) -> Array:
    """Take Gaussian integers as complex128, others as they are."""
    if any(isinstance(value, Gauss) for value in numerators.ravel()[:1].tolist()):
        return np.frompyfunc(lambda value: complex(value.real, value.imag), 1, 1)(numerators).astype(np.complex128)
    return numerators


def _places(key: str, setup: Any, seed: int) -> Drawn:
    batch, *out, channels = setup.last("indices", np.empty(setup.shape("indices"))).shape
    room = math.prod(setup.last("x", np.empty(setup.shape("x"))).shape[1:-1])
    planes = data.places(key, batch, channels, math.prod(out), room, seed)
    values = setup.back("indices", np.moveaxis(planes, 1, -1).reshape(batch, *out, channels))
    return Drawn(np.ascontiguousarray(values), values, 1)


def _wrapped(result: Any, task: Task) -> Exact:
    values = wrap(result, task.result_dtype)
    return Exact(values, np.zeros(values.shape))


def _split(result: Any, scale: int) -> Exact:
    result = np.asarray(result, object if scale > 1 else None)
    if result.dtype != object:
        return Exact(result, np.zeros(result.shape))
    if any(isinstance(value, Gauss) for value in result.ravel().tolist()):
        real, imag = (
            _split(np.frompyfunc(lambda value, name=name: getattr(value, name), 1, 1)(result), scale)
            for name in ("real", "imag")
        )
        return Exact(real.nearest + 1j * imag.nearest, real.rest + 1j * imag.rest)
    pairs = np.array([_twice(value, scale) for value in result.ravel().tolist()], float).reshape(*result.shape, 2)
    return Exact(pairs[..., 0].copy(), pairs[..., 1].copy())


def _twice(value: int | Fraction, scale: int) -> tuple[float, float]:
    """Round ``value / scale`` to the nearest float64, and what is left; quotients of whole numbers are rounded once."""
    numerator, denominator = value.as_integer_ratio()
    denominator *= scale
    nearest = numerator / denominator
    n, d = nearest.as_integer_ratio()
    return nearest, (numerator * d - n * denominator) / (denominator * d)


def _bound(magnitude: Array, count: int, dtype: str) -> Array:
    relative, floor = scale_and_floor(np, np.dtype("float32" if dtype in STORED else dtype), count)
    bound = magnitude * relative + floor
    half, least = STORED.get(dtype, (0.0, 0.0))
    return bound + (magnitude + bound) * half + least
