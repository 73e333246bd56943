"""Data: the same bits on every machine, and known exactly as whole numbers over a power of two.

Numbers come from the raw stream of NumPy's PCG64, which is fixed for good, and are made by exact operations only;
NumPy's distributions may change between versions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from xpconv.verify.catalogue.dtypes import DIGITS, host, kind, part
from xpconv.verify.definition.gauss import Gauss
from xpconv.verify.definition.windows import Array

SPREAD = {"float16": 4, "bfloat16": 16, "float32": 24, "float64": 100}  # powers of two between magnitudes in "wide"
WHOLE = 3  # largest whole number of the exact tier

EXACT_KINDS = ("whole", "nan", "equal", "infinite", "full")
REAL_KINDS = ("signed", "positive", "wide")


@dataclass(frozen=True)
class Drawn:
    """An array as a backend gets it, in its dtype, and exactly: ``values == numerators / one``.

    Where there is a NaN or an infinity, `numerators` are None.
    """

    values: Array
    numerators: Array
    one: int


def draw(key: str, shape: tuple[int, ...], sort: str, dtype: str, seed: int, unit: int = 1) -> Drawn:
    """Draw an array; the bits follow from the arguments alone.

    Sorts: "whole" (whole numbers from -3 to 3 but 0, times `unit`), "nan" (the same with NaN), "equal" (one value
    everywhere), "infinite" (few values, infinities among them), "full" (the whole range of an integer dtype); in
    (-1, 1) and with every digit of the significand in use "signed", "positive" and "wide" (many magnitudes). The parts
    of a complex number are drawn one after the other.
    """
    if kind(dtype) == "complex":
        parts = [draw(f"{key}/{name}", shape, sort, part(dtype), seed, unit) for name in ("real", "imag")]
        real, imag = (drawn.values.astype(dtype) for drawn in parts)
        numerators = np.frompyfunc(Gauss, 2, 1)(*(drawn.numerators.astype(object) for drawn in parts))
        return Drawn(real + imag * np.array(1j, dtype), numerators, parts[0].one)
    first, second = words(f"{key}/{sort}" if sort in EXACT_KINDS else f"{key}/{sort}/{dtype}", shape, seed)
    if kind(dtype) == "integer":
        return _integers(first, second, sort, dtype)
    if sort in EXACT_KINDS:
        return _whole(first, second, sort, dtype, unit)
    return _real(first, second, sort, dtype)


def words(name: str, shape: tuple[int, ...], seed: int) -> tuple[Array, Array]:
    """Draw two arrays of random 64-bit words."""
    digest = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4")
    stream = np.random.PCG64(np.random.SeedSequence([seed, *digest.tolist()]))
    count = int(np.prod(shape))
    first, second = (stream.random_raw(count).astype(np.uint64).reshape(shape) for _ in range(2))
    return first, second


def places(key: str, batch: int, channels: int, count: int, room: int, seed: int) -> Array:
    """Draw for each plane (N, C) `count` different indices below `room`; about one in five is -1 instead."""
    first, second = words(f"{key}/places", (batch, channels, room), seed)
    chosen = np.argsort(first, axis=-1, kind="stable")[..., :count].astype(np.int64)
    return np.where(second[..., :count] % np.uint64(5) == 0, -1, chosen)


def _integers(first: Array, second: Array, sort: str, dtype: str) -> Drawn:
    if sort == "full":
        values = first.astype(dtype)  # the low bits
    else:
        values = _whole(first, second, sort, "float64", 1).values
        values = (abs(values) if dtype.startswith("u") else values).astype(dtype)
    return Drawn(values, values.astype(object), 1)


def _whole(first: Array, second: Array, sort: str, dtype: str, unit: int) -> Drawn:
    numbers = (first % np.uint64(WHOLE)).astype(np.int64) + 1
    numbers = np.where(second & np.uint64(1) == 1, -numbers, numbers)
    held = host(dtype)
    if sort == "nan":
        values = np.where((second >> np.uint64(1)) % np.uint64(5) == 0, np.nan, numbers * float(unit))
        return Drawn(values.astype(held), None, 1)
    if sort == "infinite":
        table = np.array([-np.inf, -np.inf, -np.inf, -np.inf, -1.0, np.inf])
        return Drawn(table[(first % np.uint64(6)).astype(np.int64)].astype(held), None, 1)
    if sort == "equal":
        numbers = np.full_like(numbers, -1)  # below the zeros of a wrong padding
    return Drawn((numbers * unit).astype(held), numbers * unit, 1)


def _real(first: Array, second: Array, sort: str, dtype: str) -> Drawn:
    digits, spread = DIGITS[dtype], SPREAD[dtype] if sort == "wide" else 0
    numbers = (first >> np.uint64(64 - digits)).astype(np.int64) | 1
    if sort != "positive":
        numbers = np.where(second & np.uint64(1) == 1, -numbers, numbers)
    powers = ((second >> np.uint64(1)) % np.uint64(spread + 1)).astype(np.int64)
    values = np.ldexp(numbers.astype(np.float64), powers - (digits + spread))
    numerators = numbers.astype(object) * np.frompyfunc(lambda p: 1 << p, 1, 1)(powers)
    return Drawn(values.astype(host(dtype)), numerators, 1 << (digits + spread))
