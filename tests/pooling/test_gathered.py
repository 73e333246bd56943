"""Adaptive max pooling on a device, in few kernels: the bits of the way that other libraries go, and its memory."""

from typing import Any

import numpy as np
import pytest

import xpconv as xc
from tests import standin
from xpconv._pooling import gathered

# images, parts: three axes and one, more parts than pixels, an axis in one part, no images
CUTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "two axes": ((2, 12, 11, 6), (5, 3)),
    "one axis": ((1, 7, 3), (5,)),
    "more parts than pixels": ((2, 4, 3, 2), (9, 8)),
    "three axes": ((2, 5, 6, 7, 3), (2, 4, 3)),
    "an axis in one part": ((3, 1, 5, 1), (1, 3)),
    "no images": ((0, 5, 5, 2), (3, 2)),
}


@pytest.fixture
def cp() -> Any:
    if not standin.is_installed():
        pytest.skip("CuPy itself is here, on a device")
    import cupy

    return cupy


def four(x: Any, dy: Any, parts: tuple[int, ...]) -> list[Any]:
    """Every function that takes this way."""
    y, indices = xc.adaptive_max_pool(x, parts, return_indices=True)
    dx = xc.adaptive_max_pool_vjp(dy, x, parts)
    known = xc.adaptive_max_pool_vjp(dy, x, parts, indices=indices)
    return [dx, known, indices, y, xc.adaptive_max_pool(x, parts)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8"])
@pytest.mark.parametrize("cut", CUTS)
def test_bits_are_those_of_other_ways(cp: Any, monkeypatch: pytest.MonkeyPatch, cut: str, dtype: str) -> None:
    shape, parts = CUTS[cut]
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, shape).astype(dtype)
    if x.dtype.kind == "f":
        x[rng.random(shape) < 0.1] = np.nan
        x[rng.random(shape) < 0.1] = -0.0
    dy = (10 * rng.standard_normal((shape[0], *parts, shape[-1]))).astype(dtype)
    given = cp.asarray(x), cp.asarray(dy)
    found = [one.get() for one in four(*given, parts)]
    with standin.watch() as few:
        xc.adaptive_max_pool_vjp(given[1], given[0], parts)
    monkeypatch.setattr(gathered, "_serves", lambda call, windows: False)
    expected = [one.get() for one in four(*given, parts)]
    with standin.watch() as many:
        xc.adaptive_max_pool_vjp(given[1], given[0], parts)
    for one, other in zip(found[:3], expected[:3], strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
    for one, other in zip(found[3:], expected[3:], strict=True):  # a maximum may be either zero
        np.testing.assert_array_equal(one, other, strict=True)
    assert len(few.kernels) < len(many.kernels) or not shape[0]


@pytest.mark.parametrize("mebibytes", [1, 8])
@pytest.mark.parametrize("size", [(4, 45, 38, 32), (1, 150, 13, 8), (2, 12, 18, 14, 16)], ids=str)
def test_memory_stays_below_the_limit(cp: Any, size: tuple[int, ...], mebibytes: int) -> None:
    for parts in ((7,) * (len(size) - 2), tuple(n + 1 for n in size[1:-1])):
        x = cp.asarray(np.random.default_rng(0).standard_normal(size, np.float32))
        dy = cp.ones((size[0], *parts, size[-1]), np.float32)
        programs = (
            lambda x=x, parts=parts: xc.adaptive_max_pool(x, parts, return_indices=True),
            lambda x=x, parts=parts, dy=dy: xc.adaptive_max_pool_vjp(dy, x, parts),
        )
        for program in programs:
            with xc.set_options(max_workspace=mebibytes << 20):
                program()  # indices stay
                with standin.watch() as seen:
                    found = program()
            results = found if isinstance(found, tuple) else (found,)
            assert seen.peak - sum(one.nbytes for one in results) <= mebibytes << 20
