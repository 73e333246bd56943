"""What older releases of NumPy took and newer ones refuse, so that a verdict does not depend on the one installed."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

NUMBER = (
    "NumPy 2.4 and newer refuse float() of an array that has axes, and such an array where one number belongs: "
    "write b.item() for float(b)"
)
GONE = (
    "newer releases of NumPy lack a name that is used here: write int for np.int, float for np.float, np.float64 for "
    "np.float_, np.prod for np.product"
)
REMOVED: dict[str, Any] = {
    "int": int,
    "float": float,
    "complex": complex,
    "object": object,
    "str": str,
    "bool": bool,
    "float_": np.float64,
    "int_": np.int64,
    "Inf": np.inf,
    "NaN": np.nan,
    "product": np.prod,
    "cumproduct": np.cumprod,
    "alltrue": np.all,
    "sometrue": np.any,
    "asfarray": lambda array: np.asarray(array, np.float64),
    "row_stack": np.vstack,
}
# what an exception of a newer NumPy says -> what to tell
SAYS = {
    "only 0-dimensional arrays can be converted": NUMBER,
    "only length-1 arrays can be converted": NUMBER,
    "setting an array element with a sequence": NUMBER,
    "module 'numpy' has no attribute": GONE,
    "was removed in the NumPy 2.0 release": GONE,
}
WARNS = "Conversion of an array with ndim > 0 to a scalar"


class Lenient(np.ndarray):
    """An array of one number that is taken for that number, whatever its axes."""

    def __float__(self) -> float:
        """Take the number."""
        return float(self.item())

    def __int__(self) -> int:
        """Take the number, cut off."""
        return int(self.item())


def refusal(text: str) -> str:
    """Say what an exception means, if a newer NumPy raises it for what an older one took; empty otherwise."""
    return next((meaning for words, meaning in SAYS.items() if words in text), "")


@contextlib.contextmanager
def names() -> Iterator[None]:
    """Let NumPy have the names that it has lost, within the block."""
    lost = {name: value for name, value in REMOVED.items() if name not in vars(np)}
    for name, value in lost.items():
        setattr(np, name, value)
    try:
        yield
    finally:
        for name in lost:
            delattr(np, name)


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """Note within the block what an older NumPy only warns of."""
    heard: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield heard
        if any(WARNS in str(one.message) for one in caught):
            heard.append(NUMBER)
