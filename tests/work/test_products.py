"""Matrix products in pieces: each element once, whatever the sizes and strides."""

import functools
from collections.abc import Iterator

import numpy as np
import pytest

from xpconv._arrays.arithmetic import Arithmetic
from xpconv._arrays.space import numpy_space
from xpconv._work import products as _products
from xpconv._work.buffered import BufferedWorkspace
from xpconv._work.products import piece, pieces, stack

# a, b: as a whole; rows, columns and both left over; few rows; stacks, one of them shared
SHAPES = {
    "small": ((20, 30), (30, 40)),
    "rows left": ((1003, 64), (64, 64)),
    "columns left": ((256, 300), (300, 333)),
    "both left": ((999, 27), (27, 70)),
    "few rows": ((6, 6), (6, 40_000)),
    "few rows in a stack": ((6, 6), (5, 6, 30_000)),
    "stacks": ((4, 98, 128), (4, 128, 128)),
    "too deep": ((64, 2000), (2000, 64)),
    "deep and narrow": ((400, 2304), (2304, 8)),
    "large": ((32, 600), (600, 4000)),
}
# what is summed, rows and columns: in one stack, in several, with a rest, beyond what is stacked, too few to stack
SUMS = {
    "one stack": (1568, 64, 64),
    "several stacks": (20_000, 128, 64),
    "a rest": (4097, 48, 8),
    "a prime": (1031, 64, 64),
    "tiny results": (100_000, 3, 3),
    "stretches": (1568, 256, 128),
    "wide": (1568, 64, 512),
    "few": (199, 32, 32),
    "nothing to cut": (20, 5, 4),
}


@pytest.fixture(autouse=True)
def with_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take the pieces whatever BLAS there is."""
    monkeypatch.setattr(_products, "has_kernels", lambda: True)
    piece.cache_clear()
    yield
    piece.cache_clear()


@functools.cache
def factors(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw two factors; their product in float64, which holds these sums exactly."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, shape).astype("float64") for shape in SHAPES[name])
    return a, b, np.matmul(a, b)


@pytest.mark.parametrize("transposed", ["neither", "a", "b", "out"])
@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
@pytest.mark.parametrize("name", SHAPES)
def test_each_element_is_written_once(name: str, dtype: str, transposed: str) -> None:
    a, b, wanted = factors(name)
    a, b = a.astype(dtype), b.astype(dtype)
    out = np.full(wanted.shape, 99, dtype)
    if transposed == "a":
        a = np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2)
    if transposed == "b":
        b = np.ascontiguousarray(b.swapaxes(-1, -2)).swapaxes(-1, -2)
    if transposed == "out":
        out = np.full((*out.shape[:-2], out.shape[-1], out.shape[-2]), 99, dtype).swapaxes(-1, -2)
    seen = np.zeros(out.shape, int)
    for x, y, z in pieces(a, b, out):
        assert np.shares_memory(z, out)
        before = out.copy()
        z += 1
        seen += out != before
        np.matmul(x, y, z)
    assert (seen == 1).all()
    assert (out == wanted).all()


def test_sizes_of_pieces() -> None:
    assert piece(98, 128, 128, 4, False) == (98, 64)
    assert piece(400, 2304, 8, 4, False) == (40, 8)
    assert piece(784, 256, 64, 4, True) == (112, 32)  # no rest
    assert piece(64, 64, 64, 4, False) is None  # small as it is
    assert piece(256, 512, 2048, 4, False) is None  # the right-hand matrix is too large
    assert piece(6, 6, 40_000, 4, False) == (6, 27_776)
    for rows, inner, columns in ((98, 128, 128), (500, 1200, 128), (6, 6, 40_000), (20, 1000, 200)):
        height, width = piece(rows, inner, columns, 4, False) or (0, 0)
        assert 0 < height * inner * width <= _products.MOST


def test_other_kernels_get_products_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_products, "has_kernels", lambda: False)
    piece.cache_clear()
    a, b = np.ones((512, 256)), np.ones((256, 256))
    assert len(list(pieces(a, b, np.empty((512, 256))))) == 1
    assert piece(512, 256, 256, 8, False) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SUMS)
def test_long_sums(name: str, dtype: str) -> None:
    """A transposed matrix times another, as a weight gradient has it."""
    inner, rows, columns = SUMS[name]
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, (inner, n)).astype(dtype) for n in (rows, columns))
    work = BufferedWorkspace(numpy_space(), Arithmetic.plain(np, np.dtype(dtype)))
    out = np.full((rows, columns), 99, dtype)
    assert work.matmul("sum", a.T, b, out) is out
    np.testing.assert_array_equal(out, a.T.astype("float64") @ b.astype("float64"))  # exact in any order
    np.testing.assert_array_equal(work.matmul("sum", a.T, b), out)
    work.release()


def test_sizes_of_stacks() -> None:
    """At most 384 KiB in a stack, as the plan counts, of products with at most a million multiply-adds."""
    count = 0
    for inner, rows, columns in SUMS.values():
        a, b = np.empty((inner, rows), "float32").T, np.empty((inner, columns), "float32")
        if (cut := stack(a, b)) is not None:
            matrices, size = cut
            count += 1
            assert 4 * matrices * rows * columns <= _products.stacked(rows * columns, 4) <= 393_216
            assert rows * columns * size <= _products.MOST
            assert 1 <= matrices <= _products.MANY
            assert matrices * size <= inner
    assert count >= 5
    assert stack(np.ones((1568, 64)).T, np.ones((1568, 64))) == (7, 224)
    assert stack(np.ones((64, 1568)), np.ones((1568, 64))) is None, "not transposed"
