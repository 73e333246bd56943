"""Any geometry on any chunks gives what one NumPy call gives: whole numbers to the bit."""

import numpy as np
import pytest

from tests import sizes
from tests.chunks.drawn import ROUNDED, Draw, Drawn

COUNT = 20_000 if sizes.NIGHTLY else 300
PARTS = 20 if sizes.NIGHTLY else 5

pytestmark = pytest.mark.needs("dask")


def same(drawn: Drawn, got: np.ndarray, want: np.ndarray) -> bool:
    if got.shape != want.shape or got.dtype != want.dtype:
        return False
    if drawn.name in ROUNDED:
        fine = np.finfo(got.dtype).eps
        return np.allclose(got, want, rtol=16 * fine, atol=64 * fine)
    return np.array_equal(got, want, equal_nan=got.dtype.kind in "fc")


@pytest.mark.parametrize("part", range(PARTS))
def test_chunks_give_what_one_call_gives(part: int) -> None:
    import dask
    import dask.array as da

    draw = Draw(part)
    for number in range(COUNT // PARTS):
        drawn = draw.call()
        want = drawn.run()
        chunks = {name: draw.chunks(array.shape) for name, array in drawn.arrays.items()}
        plain = draw.random.random() < 0.5  # weights as they are

        def lazy(name: str, array: np.ndarray) -> object:
            return array if plain and name in ("w", "b") else da.from_array(array, chunks=chunks[name])  # noqa: B023

        story = f"case {number} of part {part}: {drawn.name} {drawn.options} {drawn.dtype} in {chunks}"
        try:
            results = drawn.run(lazy)
            assert all(isinstance(array, da.Array) for array in results)
            assert [array.dtype for array in results] == [array.dtype for array in want], story
            found = dask.compute(*results, scheduler="synchronous")
        except Exception as error:
            raise AssertionError(story) from error
        for got, right, array in zip(found, want, results, strict=True):
            assert got.shape == array.shape, story
            assert same(drawn, got, right), story
