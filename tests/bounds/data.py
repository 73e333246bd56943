"""Numbers of every kind that a bound has to hold for, and how an error is held against it."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tests.backends import Backend
from tests.oracle.longdouble import FINER, ratio
from tests.sizes import compiles, full

Array = np.ndarray
Rng = np.random.Generator
Attack = Callable[[Any, str, Backend | None], dict[Any, float]]


def one_sign(rng: Rng, shape: tuple[int, ...], factor: str) -> np.ndarray:
    """Nothing cancels, so the sums grow and every rounding counts."""
    return rng.uniform(1, 2, shape)


def cancelling(rng: Rng, shape: tuple[int, ...], factor: str) -> np.ndarray:
    """Neighbours of two signs, a few units of the last place apart."""
    signs = 1 - 2 * (np.indices(shape).sum(axis=0) % 2)
    return signs * (1 + rng.integers(0, 8, shape) * 2.0**-20)


def exponents(rng: Rng, shape: tuple[int, ...], factor: str) -> np.ndarray:
    """Numbers of every size."""
    return rng.standard_normal(shape) * 2.0 ** rng.integers(-30, 30, shape)


def near_overflow(rng: Rng, shape: tuple[int, ...], factor: str) -> np.ndarray:
    """Some sums overflow and some do not."""
    return rng.standard_normal(shape) * (2.0**63 if factor == "x" else 2.0**60)


def huge_pixels(rng: Rng, shape: tuple[int, ...], factor: str) -> np.ndarray:
    """A transform of the pixels overflows where no result does."""
    return rng.uniform(-1, 1, shape) * (2.0**127 if factor == "x" else 2.0**-20)


def denormals(rng: Rng, shape: tuple[int, ...], factor: str) -> np.ndarray:
    """Factors below the smallest normal number, times large ones."""
    return rng.standard_normal(shape) * (2.0**-130 if factor == "x" else 2.0**90)


def vanishing(rng: Rng, shape: tuple[int, ...], factor: str) -> np.ndarray:
    """Products below it."""
    return rng.standard_normal(shape) * 2.0**-68


def powers_of_two(rng: Rng, shape: tuple[int, ...], factor: str) -> np.ndarray:
    """Products are exact, sums are not."""
    return rng.choice([-1, 1], shape) * 2.0 ** rng.integers(-12, 12, shape)


def channels(rng: Rng, shape: tuple[int, ...], factor: str) -> np.ndarray:
    """Large and small channels in turn."""
    size = np.where(np.arange(shape[-1]) % 2, 2.0**20, 2.0**-20)
    return rng.standard_normal(shape) * (size if factor != "w" or shape[-2] == 1 else size.mean())


def blocks(rng: Rng, shape: tuple[int, ...], factor: str) -> np.ndarray:
    """A bright corner in a dark image: what spreads over a tile is large beside what is there."""
    values = rng.standard_normal(shape)
    if factor == "x":
        values[:, : shape[1] // 3] *= 2.0**24
    return values


DATA: tuple[Callable[[Rng, tuple[int, ...], str], np.ndarray], ...] = (
    one_sign,
    cancelling,
    exponents,
    near_overflow,
    huge_pixels,
    denormals,
    vanishing,
    powers_of_two,
    channels,
    blocks,
)
MILD = (one_sign, cancelling, channels, blocks)  # what float16 holds
# JAX compiles each small step anew
LIBRARIES = full(["strict", "torch", "cupy", "dpnp", "jax"], ["strict", "torch", "cupy", "dpnp"])


def elsewhere(names: Iterable[str]) -> list[tuple[str, str]]:
    """Give each library with all names, one that compiles with the first alone."""
    names = list(names)
    return [(library, name) for library in LIBRARIES for name in (names[:1] if compiles(library) else names)]


# long double is no finer than float64 on every machine
REAL = ("float32", "float16", *["float64"] * FINER)
COMPLEX = ("complex64", *["complex128"] * FINER)


def draw(data: Any, shape: tuple[int, ...], factor: str, dtype: str, seed: int = 0) -> Array:
    """Draw data of a kind."""
    rng = np.random.default_rng([seed, len(shape), DATA.index(data)])
    found = data(rng, shape, factor)
    return (found + 1j * data(rng, shape, factor) if dtype[0] == "c" else found).astype(dtype)


def tried(
    operation: Any, bound: Any, exact: Array, arrays: list[Array], *given: Any, backend: Backend | None, **options: Any
) -> float:
    """Give the largest error over its bound."""
    if backend is not None:
        arrays = [backend.asarray(array) for array in arrays]
    got, most = (function(*arrays, *given, **options) for function in (operation, bound))
    if backend is not None:
        got, most = backend.to_numpy(got), backend.to_numpy(most)
    return ratio(got, exact, most)


def demand_bounds(attack: Attack, name: str, dtype: str) -> None:
    """Demand of every kind of data that no error is beyond its bound, and that the bound is not idle."""
    found = {
        (data.__name__, key): value
        for data in (MILD if dtype == "float16" else DATA)
        for key, value in attack(data, dtype, None).items()
    }
    place = max(found, key=found.__getitem__)
    print(f"{name} {dtype}: largest error over bound {found[place]:.3g}, {place}")
    assert found[place] <= 1, place
    assert found[place] > 0.001, "the bound is idle"


def demand_bounds_elsewhere(attack: Attack, backend: Backend) -> None:
    """Demand of another library, which may flush denormal numbers, that no error is beyond its bound."""
    for data in (one_sign, exponents, near_overflow, denormals, vanishing):
        found = attack(data, "float32", backend)
        assert max(found.values()) <= 1, (data.__name__, found)
