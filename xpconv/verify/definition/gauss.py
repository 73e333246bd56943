"""Exact complex numbers, for arrays of dtype object."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any


class Gauss:
    """A complex number whose parts are integers or fractions."""

    __slots__ = ("imag", "real")

    def __init__(self, real: Any, imag: Any = 0) -> None:
        self.real, self.imag = real, imag

    def __add__(self, other: Any) -> Gauss:
        return Gauss(self.real + other.real, self.imag + other.imag)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Gauss:
        real = self.real * other.real - self.imag * other.imag
        return Gauss(real, self.real * other.imag + self.imag * other.real)

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Gauss, int, Fraction)) and (self.real, self.imag) == (other.real, other.imag)

    def __hash__(self) -> int:
        return hash((self.real, self.imag))

    def conjugate(self) -> Gauss:
        """Change the sign of the imaginary part."""
        return Gauss(self.real, -self.imag)

    def __abs__(self) -> int:
        """Take the modulus, rounded up to a whole number."""
        return math.isqrt(self.real**2 + self.imag**2 - 1) + 1 if self.real or self.imag else 0
