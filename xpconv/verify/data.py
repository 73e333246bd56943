"""Data: the same bits on every machine, and known exactly as whole numbers over a power of two.

Numbers come from the raw stream of NumPy's PCG64, which is fixed for good, and are made by exact operations only;
NumPy's distributions may change between versions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any

DIGITS = {"float16": 11, "float32": 24, "float64": 53}  # of the significand
SPREAD = {"float16": 4, "float32": 24, "float64": 100}  # powers of two between the kinds of magnitude in "wide"
WHOLE = 3  # largest whole number of the exact tier

EXACT_KINDS = ("whole", "nan", "equal", "infinite")
REAL_KINDS = ("signed", "positive", "wide")


@dataclass(frozen=True)
class Drawn:
    """An array as a backend gets it, in its dtype, and exactly: ``values == numerators / one``.

    Where there is a NaN or an infinity, `numerators` are None.
    """

    values: Array
    numerators: Array
    one: int


def draw(key: str, shape: tuple[int, ...], kind: str, dtype: str, seed: int, unit: int = 1) -> Drawn:
    """Draw an array; the bits follow from the arguments alone.

    Kinds: "whole" (whole numbers from -3 to 3 but 0, times `unit`), "nan" (the same with NaN), "equal" (one value
    everywhere), "infinite" (few values, infinities among them); in (-1, 1) and with every digit of the significand in
    use "signed", "positive" and "wide" (many magnitudes).
    """
    name = f"{key}/{kind}" if kind in EXACT_KINDS else f"{key}/{kind}/{dtype}"
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4")
    stream = np.random.PCG64(np.random.SeedSequence([seed, *words.tolist()]))
    count = int(np.prod(shape))
    first, second = (stream.random_raw(count).astype(np.uint64).reshape(shape) for _ in range(2))
    if kind in EXACT_KINDS:
        return _whole(first, second, kind, dtype, unit)
    return _real(first, second, kind, dtype)


def _whole(first: Array, second: Array, kind: str, dtype: str, unit: int) -> Drawn:
    numbers = (first % np.uint64(WHOLE)).astype(np.int64) + 1
    numbers = np.where(second & np.uint64(1) == 1, -numbers, numbers)
    if kind == "nan":
        values = np.where((second >> np.uint64(1)) % np.uint64(5) == 0, np.nan, numbers * float(unit))
        return Drawn(values.astype(dtype), None, 1)
    if kind == "infinite":
        table = np.array([-np.inf, -np.inf, -np.inf, -np.inf, -1.0, np.inf])
        return Drawn(table[(first % np.uint64(6)).astype(np.int64)].astype(dtype), None, 1)
    if kind == "equal":
        numbers = np.full_like(numbers, -1)  # below the zeros of a wrong padding
    return Drawn((numbers * unit).astype(dtype), numbers * unit, 1)


def _real(first: Array, second: Array, kind: str, dtype: str) -> Drawn:
    digits, spread = DIGITS[dtype], SPREAD[dtype] if kind == "wide" else 0
    numbers = (first >> np.uint64(64 - digits)).astype(np.int64) | 1
    if kind != "positive":
        numbers = np.where(second & np.uint64(1) == 1, -numbers, numbers)
    powers = ((second >> np.uint64(1)) % np.uint64(spread + 1)).astype(np.int64)
    values = np.ldexp(numbers.astype(np.float64), powers - (digits + spread))
    numerators = numbers.astype(object) * np.frompyfunc(lambda p: 1 << p, 1, 1)(powers)
    return Drawn(values.astype(dtype), numerators, 1 << (digits + spread))
