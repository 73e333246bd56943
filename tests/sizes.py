"""How much a run tests: `XPCONV_TEST_SIZE` is "normal" (what people wait for), "ci" or "nightly"."""

import os
from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")

SIZES = ("normal", "ci", "nightly")
SIZE = os.environ.get("XPCONV_TEST_SIZE", "normal")
FULL = SIZE != "normal"
NIGHTLY = SIZE == "nightly"


def count(normal: int, ci: int, nightly: int) -> int:
    """How many examples this run draws."""
    return {"normal": normal, "ci": ci, "nightly": nightly}.get(SIZE, normal)


def compiles(backend: Any) -> bool:
    """Whether a backend compiles for each shape, as JAX does: shapes take turns there, except in "nightly"."""
    return str(backend).startswith("jax") and not NIGHTLY


def full_on(backend: Any) -> bool:
    """Whether this run has everything on a backend."""
    return FULL and not compiles(backend)


def full(items: Iterable[T], few: Iterable[Any]) -> list[T]:
    """All items in "ci" and "nightly"; in a normal run those that are among a few."""
    items, few = list(items), list(few)
    assert all(item in items for item in few), "the few are among all"
    return items if FULL else [item for item in items if item in few]


def share(items: Iterable[T], part: int, parts: int) -> list[T]:
    """Every so manieth item, so that several parts take turns; all of them in "nightly"."""
    items = list(items)
    return items if NIGHTLY else items[part % parts :: parts]
